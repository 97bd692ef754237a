"""A network written oddly is measured as the same network written plainly."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from orchestrator.measures import MeasureContext, measure_snapshot
from orchestrator.study.spec import Study
from tests.measures.cases import CROSS_ENTROPY
from tests.measures.odd_networks import DATA_WRITER, PAIRS, WRITERS, Pair

# One of each way of using a network: passes, graphs, vmap, moved parameters, moved inputs.
MEASURES: list[Any] = [
    {"sam_sharpness": {"rho": 0.3}},
    {"margin": {"normalizations": ["raw", "logit_norm"]}},
    "gradient_norm",
    "fisher_rao_norm",
    "ggn_trace",
    "fisher",
    {"hessian_trace": {"method": "hutchinson", "probes": 4}},
    {"average_sharpness": {"draws": 4}},
    {"input_margin": {"examples": 6}},
    {"local_lipschitz": {"examples": 6, "steps": 2}},
    {"robustness": {"examples": 6, "steps": 2, "restarts": 2}},
    {"separation": {"examples": 6}},
    "confidence",
    "gradient_norm",
]
OF_INPUTS = ("input_margin", "local_lipschitz", "robust", "separation")


def values(model: nn.Module, pair: Pair, **options: Any) -> dict[Any, tuple[str, float]]:
    study = Study.model_validate(
        {
            "study": "odd",
            "data": "digits",
            "model": "mlp",
            "training": {
                "loss": "cross_entropy",
                "batch_size": 8,
                "optimizer": {"name": "sgd", "learning_rate": 0.1},
                "stop": {"epochs": 1},
            },
            "measures": MEASURES,
        }
    )
    context = MeasureContext(model, pair.dataset(), CROSS_ENTROPY, **options)
    return {
        (row["request"], row["measure"], row["variant"], row["split"]): (
            row["status"],
            row["value"],
            row["error"],
        )
        for row in measure_snapshot(context, study.requests)
        if "measure" in row
    }


@pytest.mark.parametrize("pair", [*PAIRS, DATA_WRITER], ids=lambda pair: pair.name)
def test_the_values_are_those_of_the_same_network_written_plainly(pair: Pair) -> None:
    odd, plain = (values(model, pair) for model in pair.models())
    assert odd.keys() == plain.keys()
    for key, (status, value, error) in odd.items():
        assert (status, error) == (plain[key][0], plain[key][2]), key
        if value is not None:
            assert value == pytest.approx(plain[key][1], rel=1e-8, abs=1e-12, nan_ok=True), key
        if not pair.vocabulary or key[1] not in OF_INPUTS:
            assert status == "ok" or (value is not None and not math.isfinite(value)), (key, error)
