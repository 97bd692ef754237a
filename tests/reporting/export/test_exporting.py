import csv
import re

import pytest

from orchestrator.errors import ExportError, ResultsError
from orchestrator.reporting.data.hue import choose_hue
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.export import FORMATS, NAMES, write_export
from orchestrator.reporting.figures import FIGURES
from orchestrator.reporting.figures.gaps import gaps_figure
from tests.reporting.simulated import DRAWN, UNASKED, draw_only, simulate, study_content
from tests.reporting.text.test_fragility import audited

LIGHT = ("svg", "csv", "md", "tex")


@pytest.fixture(scope="module")
def exported(simulated, tmp_path_factory):
    return write_export(simulated, tmp_path_factory.mktemp("export"), ppi=72)


def test_every_figure_and_table_is_written(exported):
    assert set(exported.files) == {
        *(f"{key}.{kind}" for key in DRAWN for kind in FORMATS),
        *(f"claims.{kind}" for kind in ("csv", "md", "tex")),
        "queries.sql",
    }
    assert {path.name for path in exported.directory.iterdir()} == set(exported.files)
    assert all((exported.directory / name).stat().st_size for name in exported.files)
    assert exported.missing.keys() == {"fragility", "barriers", *UNASKED}
    assert exported.missing["fragility"] == "No network has been audited yet."


@pytest.mark.parametrize(
    "figures",
    [
        pytest.param(("gaps",), id="one figure"),
        pytest.param(DRAWN, id="all", marks=pytest.mark.slow),
    ],
)
def test_equal_results_give_equal_files(figures, exported, simulated, tmp_path, monkeypatch):
    if figures != DRAWN:  # Others would be prepared though not written.
        draw_only(monkeypatch, lambda source: gaps_figure(source, choose_hue(source)))
    again = write_export(
        simulated,
        tmp_path / "a" / "b",
        figures=(*figures, "claims"),
        formats=(*LIGHT, "png"),
        ppi=72,
    )
    assert set(again.files) == {
        *(f"{key}.{kind}" for key in figures for kind in (*LIGHT, "png")),
        *(f"claims.{kind}" for kind in ("csv", "md", "tex")),
        "queries.sql",
    }
    for name in {*again.files} - ({"queries.sql"} if figures != DRAWN else set()):
        assert (again.directory / name).read_bytes() == (exported.directory / name).read_bytes()


def test_tables_contain_the_unrounded_numbers_of_the_views(exported, source):
    with (exported.directory / "flatness-margin.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    stored = source.connection.sql(
        "SELECT hessian_trace, loss_gap FROM wide WHERE step > 0 ORDER BY trial_id, step"
    ).fetchall()
    assert [(float(row["Hessian trace"]), float(row["loss gap"])) for row in rows] == stored
    assert len(rows) == 96
    with (exported.directory / "claims.csv").open(newline="") as file:
        claims = list(csv.DictReader(file))
    assert [claim["claim"] for claim in claims] == source.study["claims"]
    assert all(
        float(claim["from"]) < float(claim["value"]) < float(claim["to"]) for claim in claims[:2]
    )
    assert {claim["scope"] for claim in claims} == {"in this grid"}
    assert [claim["holds if"] for claim in claims] == [
        *("below −0.8", "above 10", "between 0.8 and 1.2")
    ]


def test_every_exported_query_runs(exported, simulated):
    text = (exported.directory / "queries.sql").read_text(encoding="utf-8")
    queries = [part for part in text.split(";\n") if part.strip()]
    assert len(queries) > 20
    assert all(re.search(r"^-- \w+: .+$", query, flags=re.MULTILINE) for query in queries)
    with open_source(simulated) as source:
        for query in queries:
            source.connection.execute(query)


def test_figures_and_formats_can_be_selected(without_trace, tmp_path):
    some = write_export(without_trace, tmp_path, figures=("claims", "gaps"), formats=("tex", "svg"))
    assert some.files == ("gaps.svg", "gaps.tex", "claims.tex", "queries.sql")
    assert some.missing == {}
    assert some.text() == f"{tmp_path}\n  gaps: svg, tex\n  claims: tex\n  queries: sql"


def test_the_default_export_folder_lies_in_the_results(tmp_path):
    results = audited(tmp_path / "r", batch_sizes=[])
    done = write_export(results, figures=["fragility"])
    assert done.directory == results / "export"
    assert done.files == ("fragility.csv", "fragility.md", "fragility.tex", "queries.sql")
    assert "1e-07" in (done.directory / "fragility.csv").read_text()
    assert "1e" not in (done.directory / "fragility.md").read_text()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"figures": ["treshold"]}, "did you mean 'threshold'"),
        ({"figures": ["zzz"]}, f"available: {', '.join(NAMES)}"),
        ({"figures": []}, "no figure or table selected"),
        ({"formats": ["svg", "pfd"]}, "did you mean 'pdf'"),
        ({"formats": [""]}, f"available: {', '.join(FORMATS)}"),
        ({"ppi": 0}, "expected 1 to 1200"),
        ({"ppi": float("nan")}, "expected 1 to 1200"),
    ],
)
def test_unknown_figures_and_formats_are_refused_before_writing(simulated, tmp_path, asked, told):
    with pytest.raises(ExportError, match=re.escape(told)):
        write_export(simulated, tmp_path / "e", **asked)
    assert not (tmp_path / "e").exists()


def test_an_unwritable_destination_is_reported(empty, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot be written"):
        write_export(empty, tmp_path / "file", figures=["claims"], formats=["csv"])
    with pytest.raises(ResultsError):
        write_export(tmp_path / "none")


def test_missing_figures_are_listed_with_their_reason(without_trace, empty, tmp_path):
    some = write_export(without_trace, tmp_path / "a", formats=["svg"])
    assert "gaps.svg" in some.files
    assert "hessian_trace" in some.missing["flatness-margin"]
    assert "flatness-margin is not available: No snapshot has a hessian_trace" in some.text()
    none = write_export(empty, tmp_path / "b", formats=["svg", "md"])
    assert none.files == ("claims.md", "queries.sql")
    assert set(none.missing) == {*FIGURES, "fragility", "barriers"}


def test_names_from_studies_and_data_are_escaped(tmp_path):
    attack = "<script>50%_x</script>\n\\input{x} & ;"
    study = study_content(study=attack, sweep={"model.name": [attack, "b"]})

    def change(rows):
        for row in rows["trials"]:
            row["model"] = f"{row['seed']}{attack}"
        for row in rows["measures"][:40]:
            row["request"] += attack

    path = simulate(tmp_path / "r", study=study, batch_sizes=[64], change=change)
    done = write_export(path, tmp_path / "e", formats=LIGHT)
    contents = {name: (done.directory / name).read_text(encoding="utf-8") for name in done.files}
    for name, text in contents.items():
        if name.endswith(".tex"):
            text = re.sub(r"^%.*$", "", text, flags=re.MULTILINE)
            assert r"\input" not in text
            assert re.search(r"(?<!\\)%", text) is None
        if name.endswith((".svg", ".md", ".tex")):
            assert "<script" not in text, name
    assert "50\\%\\_x" in contents["flatness-margin.tex"]
    assert "&lt;script&gt;50%\\_x" in contents["flatness-margin.md"]
    assert "study <script>50%_x</script> \\input{x} & ;, on" in contents["queries.sql"]
