from orchestrator.reporting import check_claims, write_report
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.figures import cell
from orchestrator.reporting.text.fragility import describe_fragility
from orchestrator.results import ResultsFolder, write_part
from tests.reporting.simulated import draw_only, simulate, study_content


def row(checkpoint, measure, change, relative_change, **columns):
    return {
        "trial_id": "a",
        "checkpoint_id": checkpoint,
        "change": change,
        "request": measure,
        "measure": measure,
        "split": "train",
        "relative_change": relative_change,
        "status": "ok",
    } | columns


def audited(path, **options):
    results = simulate(path, **options)
    rows = [
        row("a-1", "hessian_trace", "layer_rescaling", 0.3),
        row("a-2", "hessian_trace", "layer_rescaling", 0.4),
        row("a-1", "hessian_trace", "float32", 1e-7),
        row("a-1", "hessian_trace", "probe_seed", None, status="nonfinite"),
        row("a-1", "margin_mean", "layer_rescaling", 0.0, variant="spectral"),
        row("a-1", "margin_mean", "layer_rescaling", 0.9, variant="spectral", split="test"),
    ]
    write_part(ResultsFolder.open(results), "audit", rows, "audit")
    return results


def test_without_an_audit_the_section_gives_a_reason(source):
    section = describe_fragility(source)
    assert section.table is None
    assert section.missing == "No network has been audited yet."


def test_each_value_has_a_row_and_each_transformation_a_column(tmp_path):
    with open_source(audited(tmp_path / "r")) as source:
        told = describe_fragility(source)
    columns = told.table.columns
    trace, margin = (dict(zip(columns, values, strict=True)) for values in told.table.rows)
    assert (trace["measure"], trace["layers rescaled"], trace["float32"]) == (
        "hessian_trace",
        0.35,
        1e-7,
    )
    assert cell(trace["float32"], told.table.digits, told.table.smallest) == "0"
    assert (margin["measure"], margin["layers rescaled"], margin["float32"]) == (
        "margin_mean, spectral",
        0,
        None,
    )
    assert told.explanation.startswith("2 networks remeasured")
    assert "1 value could not be compared" in told.explanation


def test_the_page_contains_the_section(tmp_path, monkeypatch):
    draw_only(monkeypatch)
    results = audited(tmp_path / "r")
    page = write_report(results).read_text(encoding="utf-8")
    assert (
        page.index('id="limitations"') < page.index('id="fragility"') < page.index('id="methods"')
    )
    assert "FROM fragility" in page


def test_the_claim_is_judged_from_the_audit(tmp_path, monkeypatch):
    draw_only(monkeypatch)
    study = study_content(claims=["flatness_depends_on_parametrization"])
    results = simulate(tmp_path / "r", study=study)
    (before,) = check_claims(results)
    assert (before.verdict, before.estimate.n) == ("unclear", 0)
    assert "No network has been audited yet" in before.explanation
    assert 'id="fragility"' not in write_report(results).read_text(encoding="utf-8")

    rows = []
    for number, change in enumerate((0.31, 0.3, 0.29, None)):
        of = {"trial_id": f"trial{number:03d}"}
        name, status = f"trial{number:03d}-9", "ok" if change else "nonfinite"
        rows += [
            row(name, "hessian_trace", "layer_rescaling", change, status=status, **of),
            row(name, "hessian_trace", "unit_permutation", 1e-15, **of),
            row(name, "hessian_trace", "float32", 0.9, **of),
            row(name, "margin_mean", "layer_rescaling", 1e-14, variant="raw", **of),
            row(name, "margin_mean", "layer_rescaling", 0.2, variant="spectral", **of),
            row(name, "margin_mean", "logit_scale", 0.5, variant="raw", **of),
            row(name, "hessian_eigenvalue_1", "layer_rescaling", 0.6, **of),
        ]
    write_part(ResultsFolder.open(results), "audit", rows, "audit")
    (claim,) = check_claims(results)
    assert claim.verdict == "holds"
    assert (claim.estimate.value, claim.estimate.n, claim.estimate.n_excluded) == (0.3, 3, 1)
    assert "hessian_eigenvalue_1: 60 %; margin_mean, spectral: 20 %" in claim.explanation
    page = write_report(results).read_text(encoding="utf-8")
    assert page.index('id="claim-flatness') < page.index('id="fragility"') < page.index('id="limit')
    assert "The reparametrization check passes" in page
