import pytest
from pydantic import TypeAdapter, ValidationError

from orchestrator.errors import StudyFileError
from orchestrator.study.claim_options import BuiltInClaim, ClaimRequest, StatedClaim
from orchestrator.study.study_file import load_study

CLAIMS = TypeAdapter(tuple[ClaimRequest, ...])
MINE = {"statement": "Larger margins, smaller gaps", "x": "margin_mean", "y": "error_gap"}


def stated(**changes):
    content = {"name": "mine", **MINE, "below": 0} | changes
    (claim,) = CLAIMS.validate_python([{k: v for k, v in content.items() if v is not None}])
    return claim


def test_claims_are_read_from_names_thresholds_and_statements():
    claims = CLAIMS.validate_python(
        [
            "margin_is_cheaper",
            {"flatness_tracks_margin": {"threshold": -0.9}},
            {"mine": MINE | {"above": 1}},
        ]
    )
    assert claims[:2] == (
        BuiltInClaim(name="margin_is_cheaper"),
        BuiltInClaim(name="flatness_tracks_margin", threshold=-0.9),
    )
    assert isinstance(claims[2], StatedClaim)
    assert (claims[2].name, claims[2].threshold) == ("mine", 1)


def test_stored_claims_read_back_unchanged():
    claims = (
        BuiltInClaim(name="margin_is_cheaper"),
        stated(design="matched_loss", log=["x"], x="x"),
    )
    assert CLAIMS.validate_python(CLAIMS.dump_python(claims, mode="json")) == claims
    assert CLAIMS.validate_python(claims) == claims


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"below": None}, "either above or below"),
        ({"above": 1}, "either above or below"),
        ({"y": None}, "kendall needs x and y"),
        ({"statistic": "median"}, "the median uses x alone"),
        ({"statistic": "kendall", "given": ["train_loss"]}, "pearson only"),
        ({"query": "SELECT 1", "where": "true"}, "combined with where or design"),
        ({"query": "SELECT 1", "design": "final"}, "combined with where or design"),
        ({"statistic": "mean", "y": None, "design": "matched_loss"}, "compares two columns"),
        ({"given": ["train_loss"], "design": "matched_epochs"}, "cannot be combined with the"),
        ({"log": ["hessian_trace"]}, "'hessian_trace', which is neither"),
    ],
)
def test_claims_that_contradict_themselves_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        stated(**changes)


@pytest.mark.parametrize(
    ("claims", "place", "message"),
    [
        ("[flatnes_tracks_margin]", "5:10", "did you mean 'flatness_tracks_margin'"),
        (
            "[{margin_is_cheaper: {thresold: 3}}]",
            "claims.0.margin_is_cheaper.thresold",
            "'threshold'",
        ),
        ("[{mine: {x: a, y: b, above: 0}}]", "claims.0.mine.statement", "is missing"),
        ("[{mine: {statement: s, x: a, y: b}}]", "claims.0.mine", "either above or below"),
        ("[large_batch_needs_time, large_batch_needs_time]", "claims", "different names"),
    ],
)
def test_errors_in_claims_state_line_and_column(tmp_path, claims, place, message):
    path = tmp_path / "study.yaml"
    path.write_text(
        "study: s\ndata: digits\nmodel: mlp\n"
        "training: {optimizer: {name: sgd, learning_rate: 1}, stop: {epochs: 1}}\n"
        f"claims: {claims}\n"
    )
    with pytest.raises(StudyFileError) as error:
        load_study(path)
    assert place in str(error.value)
    assert message in str(error.value)


def test_the_default_statistic_is_kendall_or_pearson_with_given_columns():
    assert stated().statistic == "kendall"
    assert stated(given=["train_loss"]).statistic == "pearson"
    assert stated(statistic="spearman").statistic == "spearman"
    with pytest.raises(ValidationError, match="pearson only"):
        stated(given=["train_loss"], statistic="kendall")
