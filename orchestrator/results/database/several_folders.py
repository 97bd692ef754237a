"""Several results folders as one database: every table and view, told apart by study.

Each folder's views are made as for that folder alone, in a database of its own (``study_1``,
``study_2`` …): trials of two studies may well have the same identity, so nothing may be joined
across them by accident. The views over all of them are unions.
"""

# ruff: noqa: S608 - names in the SQL are this package's own; labels are quoted.

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from orchestrator.errors import ResultsError
from orchestrator.results.database.table_views import quote
from orchestrator.results.folder.results_folder import ResultsFolder
from orchestrator.results.store.store_path import StorePath

Result = str | Path | StorePath | ResultsFolder
Results = Result | Sequence[Result]
"""One results folder or its address, or several."""

# Of a trial, but not chosen by who planned it.
_NO_HYPERPARAMETERS = """
    study, trial_id, condition_id, seed, status, stop_reason, error, attempt, epochs, updates,
    examples_seen, train_seconds, evaluation_seconds, n_parameters, params_json, dataset_hash,
    host, device, python_version, torch_version, orchestrator_version, written_at
"""

DIFFERENCES = f"""
CREATE VIEW differing_hyperparameters AS
WITH settings AS (
    UNPIVOT (
        SELECT study, COLUMNS(* EXCLUDE ({_NO_HYPERPARAMETERS}))::VARCHAR FROM trials
    ) ON COLUMNS(* EXCLUDE (study)) INTO NAME hyperparameter VALUE setting
),
taken AS (
    SELECT study, hyperparameter,
        string_agg(DISTINCT setting, ', ' ORDER BY try_cast(setting AS DOUBLE), setting) AS settings
    FROM settings GROUP BY study, hyperparameter
)
SELECT study, hyperparameter, coalesce(settings, 'none') AS settings
FROM (SELECT DISTINCT study FROM trials)
CROSS JOIN (SELECT DISTINCT hyperparameter FROM taken)
LEFT JOIN taken USING (study, hyperparameter)
WINDOW same AS (PARTITION BY hyperparameter)
QUALIFY min(coalesce(settings, '')) OVER same <> max(coalesce(settings, '')) OVER same
"""
"""What the settings of each study are, of the hyperparameters in which studies differ."""


def database_of(number: int) -> str:
    """Name of the database of one of several folders, counted from 1."""
    return f"study_{number}"


def union_view(view: str, labels: Sequence[str], *, with_study: bool) -> str:
    """SQL that makes one view of those of all studies, by name of column.

    Args:
        view: Its name, the same in every study's database.
        labels: What each study is called.
        with_study: Whether it has a column ``study`` already, which the label replaces.
    """
    others = "* EXCLUDE (study)" if with_study else "*"
    parts = [
        f"SELECT {quote(label)} AS study, {others} FROM {database_of(number)}.main.{view}"
        for number, label in enumerate(labels, start=1)
    ]
    return f"CREATE VIEW {view} AS {' UNION ALL BY NAME '.join(parts)}"


def open_folders(paths: Results) -> list[ResultsFolder]:
    """The results folders at ``paths``, which may be a single one.

    Raises:
        ResultsError: If there is none, one is given twice, or one holds no results.
    """
    if isinstance(paths, str | Path | StorePath | ResultsFolder):
        paths = [paths]
    if not paths:
        raise ResultsError("no results folder is named", "name at least one")
    folders = [p if isinstance(p, ResultsFolder) else ResultsFolder.open(p) for p in paths]
    for path, count in Counter(folder.path for folder in folders).items():
        if count > 1:
            raise ResultsError(f"{path}: given {count} times", "name each results folder once")
    return folders


def study_labels(folders: Sequence[ResultsFolder]) -> list[str]:
    """What each study is called: its name, with its folder after it where names are equal.

    >>> study_labels([])
    []
    """
    labels = [folder.study_name for folder in folders]
    deepest = max((len(folder.path.parts) for folder in folders), default=0)
    for depth in range(1, deepest + 1):
        counts = Counter(labels)
        if max(counts.values()) == 1:
            break
        labels = [
            f"{folder.study_name} ({Path(*folder.path.parts[-depth:])})"
            if counts[label] > 1
            else label
            for folder, label in zip(folders, labels, strict=True)
        ]
    return labels
