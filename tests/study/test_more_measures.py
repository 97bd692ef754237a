"""Further measures of a study that has been run."""

import pytest

from orchestrator.errors import StudyFileError
from orchestrator.study.more_measures import with_measures
from orchestrator.study.spec import Study

STUDY = Study.model_validate(
    {
        "study": "small",
        "data": {"name": "mnist1d"},
        "model": {"name": "mlp"},
        "training": {"stop": {"epochs": 1}},
        "measures": ["margin"],
        "measuring": {"dtype": "float32"},
    }
)


def test_measures_are_added_in_order_without_duplicates():
    more = with_measures(STUDY, ["norms", "{sam_sharpness: {rho: 0.1}}", "margin", "norms"])
    assert list(more.requests) == [
        "margin [dtype=float32]",
        "norms [dtype=float32]",
        "sam_sharpness(rho=0.1) [dtype=float32]",
    ]
    assert more.model_copy(update={"measures": STUDY.measures}) == STUDY


def test_adding_no_measures_leaves_the_study_unchanged():
    assert with_measures(STUDY, []) == STUDY


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hessian_trce", "did you mean 'hessian_trace'"),
        ("{sam_sharpness: {rh: 0.1}}", "measure 'sam_sharpness' has no key 'rh'"),
        ("{sam_sharpness: {rho: -1}}", "rho: should be greater than 0, got -1"),
        ("[a, b", "is not valid YAML"),
        ("", "needs a name"),
        ("3", "needs a name, got 3"),
    ],
)
def test_requests_that_name_no_valid_measure_are_refused(text, message):
    with pytest.raises(StudyFileError) as refused:
        with_measures(STUDY, ["norms", text])
    assert f"measure {text!r}" in str(refused.value)
    assert message in str(refused.value)


def test_all_errors_are_reported_together():
    with pytest.raises(StudyFileError) as refused:
        with_measures(STUDY, ["margn", "norm"])
    assert len(refused.value.problems) == 2


def test_measures_are_added_for_final_networks_or_for_all():
    final = with_measures(STUDY, ["norms", "margin"], final=True)
    assert [options.request for options in final.final_measures] == ["norms"]
    assert final.measures == STUDY.measures  # The margin stays one of every snapshot.
    assert final.wanted[False] == ("margin [dtype=float32]",)
    assert final.wanted[True] == tuple(final.requests)
    assert Study.model_validate(final.model_dump(mode="json")) == final

    of_all = with_measures(final, ["norms"])
    assert (of_all.final_measures, of_all.wanted[False]) == ((), of_all.wanted[True])
    assert with_measures(final, ["norms"], final=True) == final


def test_a_measure_in_both_measures_and_final_measures_is_refused():
    content = STUDY.model_dump(mode="json") | {"final_measures": ["norms", {"margin": {}}]}
    with pytest.raises(
        ValueError, match="margin is also in 'measures', which cover every snapshot"
    ):
        Study.model_validate(content)
