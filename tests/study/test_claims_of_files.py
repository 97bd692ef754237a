"""Claims that no run could judge are refused where the file says them."""

import pytest
from pydantic import TypeAdapter

import orchestrator
from orchestrator.checked_study import checked_study
from orchestrator.errors import StudyFileError
from orchestrator.measures import build_measure
from orchestrator.study.measure_options import MeasureRequest
from orchestrator.study.measured_columns import VALUES_OF, measures_filling

STUDY = """\
study: small
data: {{name: digits}}
model: {{name: "nets:Own"}}
training: {{stop: {{epochs: 1}}}}
sweep: {{model.n: [1, 2], "model.λ": [0.5]}}
measures: [{measures}]
claims:
  - mine: {{statement: It is so, {claim}, above: 0}}
seeds: 2
"""


def study(tmp_path, claim, measures="margin, hessian_trace"):
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.format(claim=claim, measures=measures), "utf-8")
    return path


@pytest.mark.parametrize(
    "claim",
    [
        "x: margin_mean, y: hessian_trace",
        "x: margin_mean_spectral_test, y: loss_gap, where: train_error <= 0.1 AND n = 1",
        "x: Margin_Mean, y: error_gap, given: [n, model_lambda, batch_size]",
        "x: n, statistic: mean, query: 'SELECT trial_id, condition_id, n FROM final'",
        "x: a, statistic: mean, query: 'SELECT *, margin_mean AS a FROM wide;'",
        "x: tau, statistic: median, query: 'SELECT trial_id, condition_id, 1 AS tau FROM trials'",
    ],
)
def test_claims_on_measured_values_raise_no_warning(tmp_path, claim):
    _, warnings = checked_study(study(tmp_path, claim))
    assert warnings == []


@pytest.mark.parametrize(
    ("claim", "column", "text", "mended"),
    [
        ("x: margn_mean, y: loss_gap", 36, "margn_mean", "x: margin_mean, y: loss_gap"),
        ("x: margin_mean, y: los_gap", 52, "los_gap", "x: margin_mean, y: loss_gap"),
        (
            "x: margin_mean, y: loss_gap, where: train_eror < 1",
            69,
            "train_eror",
            "x: margin_mean, y: loss_gap, where: train_error < 1",
        ),
        ("x: margin_mean, y: loss_gap, where: train_error <", 69, "syntax error", None),
        ("x: margin_mean, y: loss_gap, given: [nn]", 70, "nn", None),
        ("x: n, statistic: mean, query: 'SELEC 1'", 63, "syntax error", None),
        ("x: n, statistic: mean, query: 'DROP TABLE trials'", 63, "only reads", None),
        ("x: n, statistic: mean, query: 'SELECT trial_id FROM final'", 36, "no column 'n'", None),
        ("x: n, statistic: mean, query: 'SELECT n FROM nowhere'", 63, "nowhere", None),
        ("x: n, statistic: mean, query: 'FROM read_parquet([''x''])'", 63, "disabled", None),
        ("x: sam, statistic: mean, where: \"read_text('/etc/passwd') = ''\"", 36, "sam", None),
    ],
)
def test_claims_that_cannot_be_judged_are_refused_at_their_place(
    tmp_path, claim, column, text, mended
):
    with pytest.raises(StudyFileError) as caught:
        orchestrator.load_study(study(tmp_path, claim))
    problem = caught.value.problems[0]
    assert problem.where.endswith(f"study.yaml:8:{column}"), problem
    assert text in problem.what
    if mended is not None:  # As its hint says.
        name = mended.partition(text[:3])[0]
        assert problem.hint.startswith("did you mean")
        assert claim.replace(text, problem.hint.split("'")[1]) == mended, name
        orchestrator.load_study(study(tmp_path, mended))


def test_claims_on_unmeasured_values_raise_a_warning(tmp_path):
    path = study(tmp_path, "x: sam_sharpness, y: margin_mean", "margin")
    _, (warning,) = checked_study(path)
    assert "sam_sharpness" in warning.what
    assert warning.where.endswith("study.yaml:8:36")
    text = path.read_text("utf-8")
    path.write_text(text.replace("seeds", "  - flatness_tracks_margin\nseeds"), "utf-8")
    assert [one.hint[:17] for one in checked_study(path)[1]] == [
        "add sam_sharpness",
        "add hessian_trace",
    ]


def test_unknown_values_are_accepted_if_a_custom_measure_could_provide_them(tmp_path):
    claim = "x: my_own, statistic: mean"
    _, (warning,) = checked_study(study(tmp_path, claim, '"own:measure"'))
    assert "'my_own' exists only if a custom measure provides it" in warning.what
    with pytest.raises(StudyFileError):
        checked_study(study(tmp_path, claim))


def test_every_value_of_every_measure_is_known():
    more = [
        {"name": "hessian_spectrum", "top": 7},
        {"name": "margin", "normalizations": ["calibrated"]},
    ]
    adapter = TypeAdapter(MeasureRequest)
    for options in [*({"name": name} for name in VALUES_OF), *more]:
        measure = build_measure(adapter.validate_python(options))
        names = {entry.measure for entry in measure.entries}
        values = {name for name in names if options["name"] in measures_filling(name)}
        assert values
        # What fills no column is a curve.
        assert (values < names) == (measure.curves != "never")
