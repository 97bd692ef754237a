"""Whatever the user calls arguments and measures, each has a column of its own."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.errors import ResultsError
from orchestrator.reporting.data.hue import varied_columns
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.export import write_export
from orchestrator.results import (
    ResultsFolder,
    ask,
    compact,
    connect,
    read_study,
    refuse_contradictions,
    swept_columns,
    write_part,
)
from orchestrator.results.database.wide import UNNAMED_VARIANTS, wide_columns
from orchestrator.results.table_schemas import TABLES, table_schema
from orchestrator.study.columns import swept_columns as columns_of_sweep
from orchestrator.study.spec import Study
from orchestrator.study.trials import expand_trials, hyperparameters
from tests.results.conftest import checkpoint_row, measure_row, study_json, trial_row

OF_TABLES = sorted({name for table in TABLES for name in table_schema(table).names})
OF_VIEWS = [
    *(
        "n",
        "n_excluded",
        "mean",
        "sd",
        "low",
        "high",
        "quantity",
        "trials",
        "loss_gap",
        "error_gap",
    ),
    *("column_name", "preference", "train_loss_milestone", "point", "settings", "hyperparameter"),
    *("scale", "level", "outcome", "snapshots", "hue", "is_final", "n_snapshots", "networks"),
]
WORDS = ["lambda", "select", "from", "group", "order", "table", "null", "true", "case", "end", "in"]
ODD = [
    *("γ", "σ", "λ_max", "ε_max", "margin>0", "margin<0", "Sharpness", "sharpness", "k", "K"),
    *(
        "quoted\"name'",
        "batch size",
        "",
        "42",
        "é",
        "精度",
        "a;b",
        "$trial_columns",
        "${x}",
        "a--b",
    ),
    *("%s", "{n}", "x" * 3000, "x" * 2999 + "X", "hessian_trace_standard_error", "hessian_trace"),
    *("measure_width", "width", "margin_0", "\u0131", "\u212a", "ſ", "a\nb", "\\", "_", "__"),
]
KNOWN = [*OF_TABLES, *OF_VIEWS, *WORDS, *ODD]
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
NAMES = st.lists(st.sampled_from(KNOWN) | TEXTS, min_size=1, max_size=8, unique=True)
# What a study file can have as a key of a part that takes any: it is one step of a dotted path.
ARGUMENTS = st.lists(
    (st.sampled_from(KNOWN) | TEXTS)
    .map(lambda name: re.sub(r"[.,\s]", "", name))
    .filter(lambda name: name not in ("", "name")),
    min_size=1,
    max_size=8,
    unique=True,
)
KEYS = st.lists(
    st.tuples(
        st.sampled_from(KNOWN) | TEXTS,
        st.sampled_from(["", "raw", "exact", "spectral", "rho=0.1", "rho=0,1", "test"]),
        st.sampled_from([None, "train", "test"]),
    ),
    unique=True,
)


def identity(key: tuple[str, str, str | None]) -> tuple[str, str, str | None]:
    measure, variant, split = key
    return measure, "" if variant in UNNAMED_VARIANTS else variant, split


@given(KEYS, st.sets(st.sampled_from(KNOWN)))
def test_measures_share_a_column_only_if_they_differ_in_method(
    keys: list[tuple[str, str, str | None]], taken: set[str]
) -> None:
    columns = wide_columns(keys, taken)
    assert wide_columns(reversed(keys), taken) == columns
    assert all(re.fullmatch("[a-z_][a-z0-9_]*", name) for name in columns.values())
    assert not {name.lower() for name in taken} & set(columns.values())
    assert len(set(columns.values())) == len(set(map(identity, keys)))
    assert all(
        (columns[one] == columns[other]) == (identity(one) == identity(other))
        for one in keys
        for other in keys
    )


@settings(max_examples=5)
@given(NAMES)
@example(names=["γ", "σ", "λ_max", "ε_max", "margin>0", "margin<0", "Sharpness", "sharpness"])
@example(names=["lambda", "select", "value", "preference", "column_name", "checkpoint_id"])
def test_every_measure_has_a_column_in_wide(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = ResultsFolder.create(Path(place) / "r", study_json(), "", {}, "")
        write_part(folder, "trials", [trial_row("a0")], "a0")
        write_part(folder, "checkpoints", [checkpoint_row("a0", 20)], "a0")
        values = {name: float(number) for number, name in enumerate(names, 1)}
        measured = [measure_row("a0", 20, name, value) for name, value in values.items()]
        write_part(folder, "measures", measured, "a0")
        with connect(folder) as database:
            columns = dict(
                database.execute("SELECT measure, column_name FROM parts.wide_columns").fetchall()
            )
            wide = database.sql("FROM wide")
            row = dict(zip(wide.columns, wide.fetchall()[0], strict=True))
            means = dict(database.sql("SELECT quantity, mean FROM by_condition").fetchall())
    assert {name: row[columns[name]] for name in names} == values
    assert {name: means[columns[name]] for name in names} == values


def study_over(arguments: list[str]) -> Study:
    return Study.model_validate(
        {
            "study": "small",
            "data": {"name": "digits"},
            "model": {"name": "mynets:Net"},
            "training": {"stop": {"epochs": 1}},
            "sweep": {f"model.{name}, data.seed": [[1, 1], [2, 2]] for name in arguments[:1]}
            | {f"model.{name}": [1] for name in arguments[1:]},
        }
    )


@given(ARGUMENTS)
@example(arguments=["n", "mean", "quantity", "low", "trials", "k", "K", "Seed"])
def test_every_swept_argument_has_a_column(arguments: list[str]) -> None:
    study = study_over(arguments)
    columns = columns_of_sweep(study.sweep.paths)
    assert set(columns) == {"data.seed", *(f"model.{name}" for name in arguments)} - {
        f"model.{name}" for name in ("width", "depth", "activation", "normalization", "dropout")
    }
    assert all(re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) for name in columns.values())
    taken = [*table_schema("trials").names, *columns.values()]
    assert len({name.lower() for name in taken}) == len(taken)


def trained(folder: ResultsFolder, study: Study) -> None:
    rows = [hyperparameters(study, trial) for trial in expand_trials(study)]
    for number, row in enumerate(rows):
        row = trial_row("a0") | row | {"written_at": trial_row("a0")["written_at"]}
        write_part(folder, "trials", [row], f"{number}")
        snapshot = checkpoint_row("a0", 20, trial_id=row["trial_id"], checkpoint_id=f"c{number}")
        write_part(folder, "checkpoints", [snapshot], f"{number}")
        measure = measure_row("a0", 20, "margin_mean", float(number))
        measure |= {"trial_id": row["trial_id"], "checkpoint_id": f"c{number}"}
        write_part(folder, "measures", [measure], f"{number}")


def folder_of(place: Path, study: Study) -> ResultsFolder:
    rows = [hyperparameters(study, trial) for trial in expand_trials(study)]
    folder = ResultsFolder.create(
        place, study.model_dump_json(), "", {}, "", swept=swept_columns(rows)
    )
    trained(folder, study)
    return folder


@pytest.mark.slow
@settings(max_examples=5)
@given(ARGUMENTS)
@example(arguments=["n", "mean", "quantity", "low", "trials", "k", "K", "Seed"])
@example(arguments=["step", "trial_step", "value", "x", "epoch", "checkpoint_id", "study"])
def test_every_swept_argument_is_in_the_views(arguments: list[str]) -> None:
    study = study_over(arguments)
    with tempfile.TemporaryDirectory() as place:
        folder = folder_of(Path(place) / "r", study)
        with open_source(folder.path) as source:
            column = columns_of_sweep(study.sweep.paths).get(f"model.{arguments[0]}")
            swept = source.trial_columns[column] if column else "width"
            for view in ("gap", "final", "wide"):
                rows = source.connection.sql(f'SELECT "{swept}" FROM {view} ORDER BY 1').fetchall()
                assert column is None or rows == [(1,), (2,)]
            assert len(source.connection.sql("FROM by_condition").fetchall()) == 2 * 7
            assert column is None or column in varied_columns(source)
        with connect([folder, folder_of(Path(place) / "other", study)]) as both:
            assert len(both.sql("FROM wide").fetchall()) == 4


@pytest.mark.parametrize(
    "argument",
    ["value", *(pytest.param(name, marks=pytest.mark.slow) for name in ("n", "level", "outcome"))],
)
def test_a_study_over_any_name_is_reported_and_exported(tmp_path: Path, argument: str) -> None:
    folder = folder_of(tmp_path / "r", study_over([argument, "Lambda", "λ", "trials"]))
    done = write_export(folder.path, tmp_path / "out", formats=["csv", "md", "tex"])
    assert "queries.sql" in done.files


def test_an_edit_that_would_rename_a_column_is_refused(tmp_path: Path) -> None:
    before = study_over(["K"])
    folder = folder_of(tmp_path / "r", before)
    content = before.model_dump(mode="json")
    for path in ("model.k", "training.optimizer.K"):
        now = content | {"sweep": before.sweep.listed | {path: [1]}}
        now["training"]["optimizer"] = {"name": "mine:optimizer"}
        study = Study.model_validate(now)
        trials = expand_trials(study)
        with pytest.raises(ResultsError, match=r"the column K of model\.K would become model_K"):
            refuse_contradictions(folder, study, trials)
    refuse_contradictions(folder, before, expand_trials(before))


def test_a_column_that_differs_only_in_case_is_refused_before_writing(
    tmp_path: Path,
) -> None:
    folder = folder_of(tmp_path / "r", study_over(["K"]))
    before = read_study(folder)
    with pytest.raises(ResultsError, match="rename the argument"):
        ResultsFolder.create(folder.path, study_json(), "", {}, "", swept={"k": int})
    assert read_study(folder) == before


@pytest.mark.parametrize("name", ["it's", 'a "b"', "$x ${y} %s", "a;b--c", "λ 精度", "-f", "{n}"])
def test_a_folder_can_have_any_name(tmp_path: Path, name: str) -> None:
    study = study_over(["k"])
    folder = folder_of(tmp_path / name / name, study)
    other = folder_of(tmp_path / name / f"{name} other", study)
    assert ask(folder, "SELECT count(*) FROM wide", lambda rows: rows.fetchall()) == [(2,)]
    labels = ask([folder, other], "SELECT DISTINCT study FROM wide", lambda rows: rows.fetchall())
    assert len(labels) == 2
    assert all(name in label for (label,) in labels)
    assert len(compact(folder)) == 3
    with connect(folder) as database:
        assert len(database.sql("FROM wide").fetchall()) == 2
