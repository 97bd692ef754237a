import re

import pytest

from orchestrator.errors import ExportError, ResultsError
from orchestrator.reporting import check_claims, write_comparison, write_report
from orchestrator.reporting.page.several_studies import compare
from tests.reporting.page.test_report import ATTACK, Parsed, without_scripts
from tests.reporting.simulated import simulate, study_content


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another study: other claims, another learning rate, no traces."""
    claims = ["margin_is_cheaper", "flatness_depends_on_parametrization"]
    study = study_content(study="other", claims=claims, seeds=2)
    path = tmp_path_factory.mktemp("other") / "r"
    return simulate(path, study=study, learning_rates=[0.1], seeds=2, requests=["margin", "norms"])


@pytest.fixture(scope="module")
def comparison(simulated, other):
    return compare([simulated, other])


def test_every_claim_has_the_verdict_and_number_of_each_study(comparison, simulated, other):
    assert [claim.name for claim in comparison.claims] == [
        "flatness_tracks_margin",
        "margin_is_cheaper",
        "large_batch_needs_time",
        "flatness_depends_on_parametrization",
    ]
    for name, path in (("simulated", simulated), ("other", other)):
        alone = {claim.name: claim for claim in check_claims(path)}
        for compared in comparison.claims:
            (row,) = (row for row in compared.table.rows if row[0] == name)
            if compared.name in alone:
                claim = alone[compared.name]
                estimate = claim.estimate
                assert row[1:5] == (claim.reads, estimate.value, estimate.low, estimate.high)
                assert compared.explanations[name] == claim.explanation
            else:
                assert row == (name, "not claimed", *[None] * 6)
                assert name not in compared.explanations


def test_claims_of_one_name_with_different_statistics_are_kept_apart(tmp_path):
    claims = [
        {
            **{"name": "mine", "statement": "Margins go with gaps", "statistic": statistic},
            **{"x": "margin_mean", "y": "loss_gap", "above": 0},
        }
        for statistic in ("pearson", "kendall")
    ]
    paths = [
        simulate(tmp_path / study, study=study_content(study=study, claims=[claim]))
        for study, claim in zip("ab", claims, strict=True)
    ]
    compared = compare(paths).claims
    assert [claim.name for claim in compared] == ["mine", "mine"]
    assert [claim.anchor for claim in compared] == ["claim-mine", "claim-mine-2"]
    assert len({claim.statistic for claim in compared}) == 2
    (one, other), (a, b) = compared, ({row[0]: row for row in c.table.rows} for c in compared)
    assert (a["b"][1], b["a"][1]) == ("another claim", "another claim")
    assert (list(one.explanations), list(other.explanations)) == (["a"], ["b"])
    assert a["a"][2] != b["b"][2]


def test_only_hyperparameters_that_differ_are_shown(comparison):
    assert comparison.differing.columns == ("hyperparameter", "simulated", "other")
    assert comparison.differing.rows == (("learning_rate", "0.05", "0.1"),)


def test_the_comparison_page_is_complete_and_loads_nothing(simulated, other, tmp_path):
    page = write_comparison([simulated, other], tmp_path / "new" / "c.html").read_text("utf-8")
    parsed = Parsed(page)
    assert parsed.problems == parsed.open == parsed.loads == []
    assert len(parsed.ids) == len(set(parsed.ids))
    assert Parsed(without_scripts(page)).tags.count("svg") == 1
    for part in (
        "<h1>simulated, other</h1>",
        "other is not finished: ",
        "<h3>simulated</h3>",
        "c0ffee",
        "differing_hyperparameters",
    ):
        assert part in page
    assert page.count("<dt>Code</dt>") == 2


def test_the_comparison_is_written_beside_the_first_folder(tmp_path):
    paths = [
        simulate(tmp_path / "here" / name, batch_sizes=[], study=study_content(claims=[]))
        for name in ("a", "b")
    ]
    path = write_comparison(paths)
    assert path == tmp_path / "here" / "comparison.html"
    page = path.read_text("utf-8")
    assert "<h1>simulated (a), simulated (b)</h1>" in page
    assert "None of these studies states a claim" in page
    assert "do not differ in any hyperparameter" in page
    assert "Figure not available" in page


def test_names_of_studies_are_escaped(tmp_path):
    paths = [
        simulate(tmp_path / name, study=study_content(study=f"{name}{ATTACK}"), batch_sizes=[64])
        for name in ("a", "b")
    ]
    page = write_comparison(paths).read_text("utf-8")
    parsed = Parsed(page)
    assert parsed.problems == []
    assert "img" not in parsed.tags
    assert parsed.tags.count("script") == 3
    scripts = "".join(re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL))
    assert "alert(" not in scripts


def test_repeated_and_missing_folders_and_unwritable_files_are_refused(simulated, empty, tmp_path):
    with pytest.raises(ResultsError, match="given 2 times"):
        write_comparison([simulated, simulated])
    with pytest.raises(ResultsError, match="does not exist"):
        write_comparison([simulated, tmp_path / "none"])
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot be written"):
        write_report(empty, tmp_path / "file" / "report.html")
