"""Storage of the measured subsets and the named examples, for use without the data sets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from orchestrator.data.dataset import Dataset, Split
from orchestrator.measures import MeasureContext
from orchestrator.results import ResultsFolder, write_part
from orchestrator.study.data_options import DataOptions

CURVE = "smallest_margins"
MOST_NUMBERS = 3 * 64 * 64  # Larger examples are not stored; the report shows only their labels.


def keep_examples(
    folder: ResultsFolder, options: DataOptions, dataset: Dataset, rows: Iterable[Mapping[str, Any]]
) -> None:
    """Store the examples named by curves of ``rows``, each once and in its own part.

    The example that a number refers to depends on subset, noise and seed of the data options.
    These options are therefore part of the key, as JSON equal to ``data`` in
    ``trials.params_json``. Inputs are stored as the network receives them (standardized, channels
    first), with their shape as ``1x28x28``. Examples of more than ``MOST_NUMBERS`` numbers are
    left out.

    Args:
        folder: Results folder.
        options: Options that the data set was loaded from.
        dataset: The data set.
        rows: Measured rows; only those of the curve ``smallest_margins`` count.
    """
    named = {int(place) for row in rows if row.get("curve") == CURVE for place in row["x"]}
    data, digest = data_key(options)
    shape = "x".join(map(str, dataset.input_shape))
    if dataset.train_x[0].numel() > MOST_NUMBERS:
        return
    for place in sorted(named):
        row = {
            "data": data,
            "dataset_hash": dataset.content_hash,
            "split": "train",
            "example": place,
            "label": int(dataset.train_y[place]),
            "shape": shape,
            "inputs": dataset.train_x[place].flatten().tolist(),
        }
        # One part per example: a study names few examples, but each of them many times.
        _write_once(folder, "examples", row, f"{digest}-train-{place}")


def keep_subsets(
    folder: ResultsFolder, options: DataOptions, dataset: Dataset, context: MeasureContext
) -> None:
    """Store which examples the measures of ``context`` used, each subset once.

    Each subset is one row: ``n_examples`` of the ``measured_examples`` of a split, with their
    positions in the split, ascending. If not the whole split is measured, the request ends with
    the number of measured examples.

    Args:
        folder: Results folder.
        options: Options that the data set was loaded from.
        dataset: The data set.
        context: Context after measuring.
    """
    for (split, _), places in context.data.subsets.items():
        keep_subset(folder, options, dataset, split, context.data.n_examples(split), places)


def keep_subset(
    folder: ResultsFolder,
    options: DataOptions,
    dataset: Dataset,
    split: Split,
    measured: int,
    places: Tensor,
) -> None:
    """Store one subset, unless it is already stored.

    Args:
        folder: Results folder.
        options: Options that the data set was loaded from.
        dataset: The data set.
        split: Split of the subset.
        measured: Number of measured examples in the split.
        places: Positions of the subset in the split, ascending.
    """
    data, digest = data_key(options)
    row = {
        "data": data,
        "dataset_hash": dataset.content_hash,
        "split": split,
        "measured_examples": measured,
        "n_examples": len(places),
        "examples": [float(place) for place in places.tolist()],
    }
    _write_once(folder, "example_subsets", row, f"{digest}-{split}-{measured}-{len(places)}")


def data_key(options: DataOptions) -> tuple[str, str]:
    """Return the data options as JSON, and a short name for them."""
    data = json.dumps(options.model_dump(mode="json"), sort_keys=True)
    return data, hashlib.sha256(data.encode()).hexdigest()[:12]


def _write_once(folder: ResultsFolder, table: str, row: Mapping[str, Any], part: str) -> None:
    if not (folder.table(table) / f"{part}.parquet").exists():
        write_part(folder, table, [row], part)
