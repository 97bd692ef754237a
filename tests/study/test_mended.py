"""No error that only follows from another is reported beside it."""

import pytest

from orchestrator.study.study_file import examine

GOOD = """\
study: good
data: {name: mnist1d}
model: {name: mlp, width: 8}
training:
  optimizer: {name: sgd, learning_rate: 0.1, momentum: 0.9}
  stop: {epochs: 3}
sweep:
  training.optimizer.nesterov: [true, false]
  model.width: [8, 16]
checkpoints: {epochs: {log_spaced: 3}}
measures: [margin, "own.module:measure"]
claims: [{own: {statement: s, statistic: mean, x: my_own_column, above: 0}}]
"""


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("study: good\n", "", "study"),
        ("study: good", "study: 'a b'", "study"),
        ("data: {name: mnist1d}\n", "", "data"),
        ("{epochs: 3}", "{epohcs: 3}", "training.stop.epohcs"),
        ("name: mlp", "name: zzz", "model.name"),
        ("name: sgd", "name: zzz", "training.optimizer.name"),
        ("name: sgd", "name: sdg", "training.optimizer.name"),
        ("{name: mlp, width: 8}", "3", "model"),
        ("[margin, ", "[zzz, ", "measures.0"),
        ("[margin, ", "[{margin: {zzz: 1}}, ", "measures.0.margin.zzz"),
        ("{log_spaced: 3}", "{log_spaced: x}", "checkpoints.epochs"),
        ("width: 8}", "width: 0}", "model.width"),
        ("[8, 16]", "{a: 1}", "sweep.model.width"),
    ],
)
def test_a_single_mistake_gives_a_single_error(tmp_path, old, new, path):
    file = tmp_path / "study.yaml"
    assert old in GOOD
    file.write_text(GOOD)
    assert examine(file).problems == []
    file.write_text(GOOD.replace(old, new, 1))
    assert [problem.path for problem in examine(file).problems] == [path]
