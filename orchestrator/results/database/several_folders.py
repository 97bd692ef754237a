"""Several results folders as one database: every table and view has a column ``study``.

Each folder's views are created as for that folder alone, in its own database (``study_1``,
``study_2`` …). Trials of two studies may have the same id, so rows must not be joined across
studies by accident. The views over all folders are unions.
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

# Columns of a trial that its author does not choose.
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
"""Settings of each study for the hyperparameters in which the studies differ."""


def database_of(number: int) -> str:
    """Return the name of the database of a folder, counted from 1."""
    return f"study_{number}"


def union_view(view: str, labels: Sequence[str], *, with_study: bool) -> str:
    """Return SQL that unites the same view of all studies, matching columns by name.

    Args:
        view: Name of the view, the same in every study's database.
        labels: Label of each study.
        with_study: Whether the view already has a column ``study``, which the label replaces.
    """
    others = "* EXCLUDE (study)" if with_study else "*"
    parts = [
        f"SELECT {quote(label)} AS study, {others} FROM {database_of(number)}.main.{view}"
        for number, label in enumerate(labels, start=1)
    ]
    return f"CREATE VIEW {view} AS {' UNION ALL BY NAME '.join(parts)}"


def open_folders(paths: Results) -> list[ResultsFolder]:
    """Open the results folders at ``paths``, which may be a single path.

    Raises:
        ResultsError: If ``paths`` is empty, or a folder is given twice or contains no results.
    """
    if isinstance(paths, str | Path | StorePath | ResultsFolder):
        paths = [paths]
    if not paths:
        raise ResultsError("no results folder given", "give at least one")
    folders = [p if isinstance(p, ResultsFolder) else ResultsFolder.open(p) for p in paths]
    for path, count in Counter(folder.path for folder in folders).items():
        if count > 1:
            raise ResultsError(f"{path}: given {count} times", "give each results folder once")
    return folders


def study_labels(folders: Sequence[ResultsFolder]) -> list[str]:
    """Return a label per study: its name, followed by its folder where names are equal.

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
