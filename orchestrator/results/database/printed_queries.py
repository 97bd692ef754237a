"""Queries whose results the commands ``audit`` and ``connectivity`` print."""

from __future__ import annotations

from pathlib import Path

from orchestrator.results.database.table_views import identifier
from orchestrator.results.folder.results_folder import ResultsFolder
from orchestrator.results.folder.stored_study import read_study
from orchestrator.results.store.store_path import Location
from orchestrator.study.columns import path_columns

# Two digits distinguish a change from rounding, and the table fits on a screen.
FRAGILITY = """
    SELECT measure, variant, split, COLUMNS(
        * EXCLUDE (measure, variant, split, snapshots, excluded)
    )::DECIMAL(9, 2)
    FROM fragility ORDER BY measure, variant, split
"""


def barriers_query(results: str | Path | Location) -> str:
    """Return SQL for all barriers in a folder: swept values, both seeds, split and quantity.

    Args:
        results: The results folder.

    Raises:
        ResultsError: If the folder contains no results.
    """
    study = read_study(ResultsFolder.open(results))
    names = dict.fromkeys(path_columns(study.sweep.paths).values())
    swept = "".join(f"one.{identifier(name)}, " for name in names)
    return f"""
        SELECT {swept}one.seed, other.seed AS other_seed, split, quantity, barrier
        FROM connectivity
        JOIN trials AS one USING (trial_id)
        JOIN trials AS other ON other.trial_id = connectivity.other_trial_id
        ORDER BY ALL
    """  # noqa: S608 - identifiers are quoted
