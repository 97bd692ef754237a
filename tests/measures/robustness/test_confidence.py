from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from orchestrator.measures import MeasureContext
from orchestrator.measures.base import Curve
from orchestrator.measures.robustness.confidence import Confidence
from orchestrator.study.measure_options.robustness import ConfidenceOptions
from tests.measures.robustness.cases import context_of


def logits_as_inputs(p: Tensor, labels: list[int]) -> MeasureContext:
    """A network whose predicted probabilities are these."""
    model = nn.Linear(3, 3, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.eye(3))
    return context_of(model, p.log(), torch.tensor(labels))


PROBABILITIES = torch.tensor(
    [[0.9, 0.05, 0.05], [0.5, 0.45, 0.05], [0.2, 0.7, 0.1], [0.05, 0.04, 0.91]]
)


def test_confidence_values_equal_those_worked_out_by_hand() -> None:
    context = logits_as_inputs(PROBABILITIES, [0, 1, 1, 0])
    options = ConfidenceOptions(name="confidence", bins=5)
    found = [row for row in Confidence(options).compute(context) if row.split == "train"]
    values = {row.measure: row.value for row in found if not isinstance(row, Curve)}
    assert values["confidence_mean"] == pytest.approx((0.9 + 0.5 + 0.7 + 0.91) / 4)
    # Bins [0.4, 0.6): wrong at 0.5. [0.6, 0.8): right at 0.7. [0.8, 1]: one of two at 0.905.
    assert values["calibration_error"] == pytest.approx((0.5 + 0.3 + 2 * 0.405) / 4, abs=1e-6)
    assert values["near_boundary_share"] == 0.25
    (curve,) = [row for row in found if isinstance(row, Curve)]
    assert list(curve.x) == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])
    assert list(curve.values) == pytest.approx([0, 0, 1.25, 1.25, 2.5])
    assert sum(curve.values) / 5 == pytest.approx(1)


def test_full_confidence_falls_into_the_last_bin() -> None:
    context = logits_as_inputs(torch.tensor([[1.0, 1e-30, 1e-30]]), [0])
    found = list(Confidence(ConfidenceOptions(name="confidence", bins=4)).compute(context))
    (curve, _) = [row for row in found if isinstance(row, Curve)]
    assert list(curve.values) == [0, 0, 0, 4]
