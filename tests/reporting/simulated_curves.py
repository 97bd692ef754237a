"""Curves and examples beside the simulated results: numbers whose pictures are known.

Each is a ``change`` of :func:`tests.reporting.simulated.simulate`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.reporting.simulated import NOW, Rows, study_content

MEASURES = [
    {"name": "margin_distribution"},
    {"name": "hessian_spectral_density"},
    {"name": "loss_slice", "dimensions": 1},
    {"name": "loss_slice", "dimensions": 2},
]
DATA = {"name": "mnist1d", "seed": 0}


def curve_study(**changes: Any) -> dict[str, Any]:
    """The simulated study, with the requests of the curves."""
    content = study_content(**changes)
    return content | {"measures": [*content["measures"], *MEASURES]}


def with_curves(rows: Rows) -> None:
    """Every curve on every snapshot, and the examples as signals of 40 numbers."""
    rows["curves"] = []
    for trial in rows["trials"]:
        params = {**json.loads(trial["params_json"]), "data": DATA, "model": {}}
        trial["params_json"] = json.dumps(params, sort_keys=True)
    of_trial = {trial["trial_id"]: trial for trial in rows["trials"]}
    for checkpoint in rows["checkpoints"]:
        trial = of_trial[checkpoint["trial_id"]]
        rows["curves"] += _curves(checkpoint, trial["seed"], trial["batch_size"])
    with_examples((40,))(rows)


def with_examples(shape: Sequence[int]) -> Any:
    """A change that stores ten examples of this shape; example i counts up from i."""

    def change(rows: Rows) -> None:
        numbers = int(np.prod(shape))
        rows["examples"] = [
            {
                "data": json.dumps(DATA),
                "dataset_hash": "ab" * 32,
                "split": "train",
                "example": example,
                "label": example % 3,
                "shape": "x".join(map(str, shape)),
                "inputs": [float(example + i) for i in range(numbers)],
                "written_at": NOW,
            }
            for example in range(10)
        ]

    return change


def _curves(checkpoint: dict[str, Any], seed: int, batch_size: int) -> list[dict[str, Any]]:
    end = 10.0 * (1 + seed)
    grid = np.linspace(-1, end, 31)
    line = np.linspace(-1, 1, 5)
    y, x = (axis.ravel() for axis in np.meshgrid(line, line, indexing="ij"))
    shares = np.linspace(0, 1, 11)
    epoch = checkpoint["epoch"]
    examples = [0.0, 1.0, 2.0 + seed]
    found = [
        # A triangle: linear between its points, so interpolation is exact.
        ("hessian_spectral_density", "", grid, None, 2 * (end - grid) / (end + 1) ** 2),
        ("loss_slice", "dimensions=1", line, None, 0.1 * (1 + seed) * (1 + line**2)),
        ("loss_slice", "dimensions=2", x, y, 0.1 * batch_size * (1 + x**2 + 2 * y**2)),
        ("margin_quantiles", "raw", shares, None, epoch * (shares - 0.2) + seed),
        ("smallest_margins", "raw", examples, None, [-3.0, -2.0, -1.0]),
        ("smallest_margin_predictions", "raw", examples, None, [1.0, float(seed > 0), 2.0]),
    ]
    requests = {
        "loss_slicedimensions=2": "loss_slice(dimensions=2)",
        "loss_slicedimensions=1": "loss_slice",
        "hessian_spectral_density": "hessian_spectral_density",
    }
    return [
        {
            "trial_id": checkpoint["trial_id"],
            "checkpoint_id": checkpoint["checkpoint_id"],
            "step": checkpoint["step"],
            "request": requests.get(curve + variant, "margin_distribution"),
            "curve": curve,
            "variant": variant,
            "split": "train",
            "x": [float(value) for value in one],
            "y": None if other is None else [float(value) for value in other],
            "value": [float(value) for value in values],
            "status": "ok",
            "written_at": NOW,
        }
        for curve, variant, one, other, values in found
    ]
