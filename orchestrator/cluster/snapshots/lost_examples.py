"""Recovery of examples and subsets that were lost with a part, from the data sets alone."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.cluster.snapshots.kept_examples import CURVE, data_key, keep_examples, keep_subset
from orchestrator.data import load_dataset
from orchestrator.data.dataset import Dataset, Split
from orchestrator.errors import OrchestratorError
from orchestrator.measures.measured_examples import measured_positions, moved_places
from orchestrator.results import IS_FINAL, ResultsFolder, connect, damaged_files
from orchestrator.study.data_options import DataOptions
from orchestrator.study.spec import Study
from orchestrator.study.trials import Trial

logger = logging.getLogger(__name__)

_NAMED = f"""
    SELECT DISTINCT curves.trial_id, unnest(x) FROM curves JOIN checkpoints USING (checkpoint_id)
    WHERE curve = '{CURVE}' AND {IS_FINAL}
"""  # noqa: S608 - a constant of this package.
_TAKEN = """
    SELECT DISTINCT trial_id, request, split, n_examples FROM measures
    WHERE split IS NOT NULL AND n_examples IS NOT NULL
"""


@dataclass
class _Needed:
    """The examples and subsets that the stored rows name, for the trials of one data set."""

    options: DataOptions
    examples: set[int] = field(default_factory=set)
    subsets: set[tuple[Split, int]] = field(default_factory=set)


def restore_examples(folder: ResultsFolder, study: Study, trials: Mapping[str, Trial]) -> None:
    """Store the examples and subsets that rows of ``trials`` name and that are not stored.

    A data set for which nothing was ever stored, such as one with large examples, is skipped
    unless a damaged part was set aside. A data set that can no longer be read is logged.

    Args:
        folder: Results folder of the study, locked, after all measuring is done.
        study: The study.
        trials: Trials of the study, by id.
    """
    for needed in _missing(folder, study, trials):
        try:
            dataset = load_dataset(needed.options)
        except OrchestratorError as error:
            logger.warning(
                "cannot restore lost examples of %s: %s", needed.options.name, error.message
            )
            continue
        rows = [{"curve": CURVE, "x": sorted(needed.examples)}]
        keep_examples(folder, needed.options, dataset, rows)
        for split, count in sorted(needed.subsets):
            _restore_subset(folder, study, needed.options, dataset, split, count)


def _missing(folder: ResultsFolder, study: Study, trials: Mapping[str, Trial]) -> Iterable[_Needed]:
    chosen = {
        request: options.examples
        for request, options in study.requests.items()
        if options.takes_subset
    }
    by_data: dict[str, _Needed] = {}
    of_trial: dict[str, _Needed] = {}
    for trial_id, trial in trials.items():
        options = trial.config.data
        of_trial[trial_id] = by_data.setdefault(data_key(options)[0], _Needed(options))
    with connect(folder, measure_columns=False) as database:

        def rows(sql: str) -> list[tuple[Any, ...]]:
            found: list[tuple[Any, ...]] = database.execute(sql).fetchall()
            return found

        for trial_id, place in rows(_NAMED):
            if trial_id in of_trial:
                of_trial[trial_id].examples.add(int(place))
        for trial_id, request, split, count in rows(_TAKEN):
            if trial_id in of_trial and count in (chosen.get(request), study.measuring.examples):
                of_trial[trial_id].subsets.add((split, count))
        examples = rows("SELECT data, example FROM examples WHERE split = 'train'")
        subsets = rows("SELECT data, split, n_examples FROM example_subsets")
    damaged = [path.name for path in damaged_files(folder)]
    for data, needed in by_data.items():
        known = {row[1] for row in examples if row[0] == data}
        there = {row[1:] for row in subsets if row[0] == data}
        if not (known or any("-examples-" in name for name in damaged)):
            needed.examples.clear()
        if not (there or any("-example_subsets-" in name for name in damaged)):
            needed.subsets.clear()
        needed.examples -= known
        needed.subsets -= there
        if needed.examples or needed.subsets:
            yield needed


def _restore_subset(
    folder: ResultsFolder,
    study: Study,
    options: DataOptions,
    dataset: Dataset,
    split: Split,
    count: int,
) -> None:
    labels = dataset.split(split)[1]
    positions = measured_positions(dataset, split, study.measuring.examples)
    measured = len(labels) if positions is None else len(positions)
    if count < measured:
        own = labels if positions is None else labels[positions]
        places = moved_places(own, split, count)
        places = places if positions is None else positions[places]
    elif positions is not None:
        places = positions
    else:
        return  # The whole split: not a subset.
    keep_subset(folder, options, dataset, split, measured, places)
