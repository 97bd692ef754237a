"""What `validate` prints, letter by letter, and that one round is enough."""

import json

import pytest

from orchestrator.errors import Problem
from orchestrator.screens.findings import findings_json, findings_of

WRONG = """\
study: mine
data: {name: mnist1d}
model: {name: mpl, width: -8}
training:
  optimizer: {name: sgd, momentun: 0.9}
  stop: {epohcs: 60}
sweep:
  training.optimizer.wieght_decay: [0, 0.0001]
  training.batch_size: [16, x, -4]
seeds: 1
measures: [margn, large_batch_needs_time, {sam_sharpness: {roh: 0.1}}]
claims: [flatness_tracks_margin]
"""
RIGHT = (
    WRONG.replace("mpl, width: -8", "mlp")
    .replace("momentun", "momentum")
    .replace("epohcs", "epochs")
    .replace("wieght", "weight")
    .replace(", x, -4", "")
    .replace("[margn, large_batch_needs_time,", "[margin,")
    .replace("roh", "rho")
)

SCREEN = """\
error[unknown-key]: training.optimizer.lerning_rate: optimizer 'sgd' has no key 'lerning_rate'
 --> --set training.optimizer.lerning_rate=0.01
                              ^^^^^^^^^^^^ did you mean 'learning_rate'?

error[unknown-name]: model.name: there is no model 'mpl'
 --> mine.yaml:3:15
3 | model: {name: mpl, width: -8}
  |               ^^^ did you mean 'mlp'?

error[out-of-range]: model.width: should be greater than 0, got -8
 --> mine.yaml:3:27
3 | model: {name: mpl, width: -8}
  |                           ^^

error[unknown-key]: training.optimizer.momentun: optimizer 'sgd' has no key 'momentun'
 --> mine.yaml:5:26
5 |   optimizer: {name: sgd, momentun: 0.9}
  |                          ^^^^^^^^ did you mean 'momentum'?

error[unknown-key]: training.stop.epohcs: stop has no key 'epohcs'
 --> mine.yaml:6:10
6 |   stop: {epohcs: 60}
  |          ^^^^^^ did you mean 'epochs'?

error[unknown-key]: sweep.training.optimizer.wieght_decay: optimizer 'sgd' has no key 'wieght_decay'
 --> mine.yaml:8:22
8 |   training.optimizer.wieght_decay: [0, 0.0001]
  |                      ^^^^^^^^^^^^ did you mean 'weight_decay'?

error[wrong-type]: sweep.training.batch_size.1: expected a whole number, got 'x'
 --> mine.yaml:9:29
9 |   training.batch_size: [16, x, -4]
  |                             ^

error[out-of-range]: sweep.training.batch_size.2: should be greater than 0, got -4
 --> mine.yaml:9:32
9 |   training.batch_size: [16, x, -4]
  |                                ^^

error[unknown-name]: measures.0: there is no measure 'margn'
 --> mine.yaml:11:12
11 | measures: [margn, large_batch_needs_time, {sam_sharpness: {roh: 0.1}}]
   |            ^^^^^ did you mean 'margin'?

error[unknown-name]: measures.1: there is no measure 'large_batch_needs_time'
 --> mine.yaml:11:19
11 | measures: [margn, large_batch_needs_time, {sam_sharpness: {roh: 0.1}}]
   |                   ^^^^^^^^^^^^^^^^^^^^^^
  = help: that is a claim: move it under `claims:`

error[unknown-key]: measures.2.sam_sharpness.roh: sam_sharpness has no key 'roh'
 --> mine.yaml:11:60
11 | measures: [margn, large_batch_needs_time, {sam_sharpness: {roh: 0.1}}]
   |                                                            ^^^ did you mean 'rho'?

mine.yaml: 11 errors, 0 warnings"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    def write(text):
        (tmp_path / "mine.yaml").write_text(text, "utf-8")
        return "mine.yaml"

    monkeypatch.chdir(tmp_path)
    return write


def test_one_round_shows_every_error_under_its_wrong_text(mine):
    assert findings_of(mine(WRONG), ["training.optimizer.lerning_rate=0.01"]).text() == SCREEN


def test_what_every_error_suggests_leaves_only_warnings(mine):
    found = findings_of(mine(RIGHT), ["training.optimizer.learning_rate=0.01"])
    assert found.study is not None
    assert found.text() == (
        "warning[one-seed]: seeds: 2 conditions with one seed: too few networks to decide a claim\n"
        " --> mine.yaml:10:1\n"
        "10 | seeds: 1\n"
        "   | ^^^^^\n"
        "  = help: sweep 6 conditions or more, or draw them with sweep.random\n"
        "\n"
        "warning[not-measured]: claims.0.name: claim flatness_tracks_margin: hessian_trace is not "
        "measured in this study\n"
        " --> mine.yaml:12:10\n"
        "12 | claims: [flatness_tracks_margin]\n"
        "   |          ^^^^^^^^^^^^^^^^^^^^^^\n"
        "  = help: add hessian_trace to measures; it can also be measured later\n"
        "\n"
        "mine.yaml: 2 trials (2 conditions × 1 seed), 2 measures, 1 claim: no errors, 2 warnings"
    )


def test_editors_read_one_line_per_finding(mine):
    lines = findings_of(mine(WRONG)).concise().splitlines()
    assert len(lines) == 10
    assert lines[0] == (
        "mine.yaml:3:15: unknown-name: model.name: there is no model 'mpl'; did you mean 'mlp'?"
    )
    warnings = findings_of(mine(RIGHT)).concise().splitlines()
    assert warnings[0].startswith("mine.yaml:10:1: warning: one-seed: seeds: 2 conditions")


def test_programs_read_json(mine):
    content = json.loads(findings_json([findings_of(mine(WRONG)), findings_of("none.yaml")]))
    assert (content["schema"], content["valid"]) == (1, False)
    first, other = content["files"]
    assert first["findings"][0] == {
        "kind": "error",
        "code": "unknown-name",
        "where": "mine.yaml:3:15",
        "line": 3,
        "column": 15,
        "width": 3,
        "path": "model.name",
        "what": "there is no model 'mpl'",
        "hint": "did you mean 'mlp'?",
    }
    assert [finding["code"] for finding in other["findings"]] == ["file"]


def test_columns_of_claims_are_checked_in_the_same_round(mine):
    text = WRONG.partition("sweep:")[0] + (
        "measures: [margin]\n"
        "claims: [{own: {statement: s, statistic: mean, x: loss_gp, above: 0}}]\n"
    )
    codes = [problem.code for problem in findings_of(mine(text)).problems]
    assert codes == ["unknown-name", "out-of-range", "unknown-key", "unknown-key", "unknown-column"]


def test_long_lines_are_cut_around_the_caret():
    problem = Problem("f:1:201", "", "x", None, "a" * 200 + "wrong" + "b" * 200, 201, width=5)
    _, _, line, caret = problem.text().splitlines()
    assert len(line) < 100
    start = caret.index("^")
    assert line[start : start + caret.count("^")] == "wrong"


def test_carets_stand_under_the_wrong_text_of_long_options():
    option = "--set " + "a" * 200 + "=wrong"
    problem = Problem(option, "", "x", None, option, option.index("wrong") + 1, width=5)
    _, place, caret = problem.text().splitlines()
    assert place[caret.index("^") :] == "wrong"
    assert caret.endswith(" ^^^^^")


def test_carets_stand_under_wide_characters():
    problem = Problem("f:1:5", "", "x", None, "日本: 値段", 5, width=2)
    *_, caret = problem.text().splitlines()
    assert caret == "  | " + " " * 6 + "^^^^"
