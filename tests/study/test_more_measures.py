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


def test_measures_are_added_in_order_and_once():
    more = with_measures(STUDY, ["norms", "{sam_sharpness: {rho: 0.1}}", "margin", "norms"])
    assert list(more.requests) == [
        "margin [dtype=float32]",
        "norms [dtype=float32]",
        "sam_sharpness(rho=0.1) [dtype=float32]",
    ]
    assert more.model_copy(update={"measures": STUDY.measures}) == STUDY


def test_nothing_added_is_the_same_study():
    assert with_measures(STUDY, []) == STUDY


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hessian_trce", "did you mean 'hessian_trace'"),
        ("{sam_sharpness: {rh: 0.1}}", "rh: unknown key 'rh'"),
        ("{sam_sharpness: {rho: -1}}", "rho: should be greater than 0, got -1"),
        ("[a, b", "is not valid YAML"),
        ("", "needs a name"),
        ("3", "needs a name, got 3"),
    ],
)
def test_what_names_no_measure_is_refused(text, message):
    with pytest.raises(StudyFileError) as refused:
        with_measures(STUDY, ["norms", text])
    assert f"measure {text!r}" in str(refused.value)
    assert message in str(refused.value)


def test_all_that_is_wrong_is_said_at_once():
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


def test_a_measure_is_of_every_snapshot_or_of_final_ones():
    content = STUDY.model_dump(mode="json") | {"final_measures": ["norms", {"margin": {}}]}
    with pytest.raises(
        ValueError, match="margin is also in 'measures', which cover every snapshot"
    ):
        Study.model_validate(content)
