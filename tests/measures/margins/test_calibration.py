from __future__ import annotations

import pytest
import torch

from orchestrator.data import Dataset
from orchestrator.errors import MeasureError
from orchestrator.measures import MeasureContext, best_temperature, calibration, margins
from orchestrator.measures.margins.output_margins import Margin
from orchestrator.study.measure_options.margins import MarginOptions
from tests.measures.cases import CROSS_ENTROPY, mlp


def noisy(n: int = 400, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and labels drawn from their own softmax: calibrated as they are."""
    generator = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(n, 4, generator=generator, dtype=torch.float64)
    return z, torch.multinomial(z.softmax(1), 1, generator=generator)[:, 0]


def test_the_best_temperature_minimizes_cross_entropy() -> None:
    z, y = noisy()
    found = best_temperature(3 * z, y)

    def loss(temperature: float) -> float:
        return torch.nn.functional.cross_entropy(3 * z / temperature, y).item()

    assert found == pytest.approx(3, rel=0.15)
    assert loss(found) < min(loss(found * 1.01), loss(found / 1.01))


def test_the_best_temperature_scales_with_the_logits() -> None:
    z, y = noisy()
    assert best_temperature(5 * z, y) == pytest.approx(5 * best_temperature(z, y), rel=1e-9)


def test_logits_without_a_best_temperature_give_a_reason() -> None:
    z, y = noisy()
    with pytest.raises(MeasureError, match="all classified correctly"):
        best_temperature(z, z.argmax(dim=1))
    with pytest.raises(MeasureError, match="held-out examples no better than chance"):
        best_temperature(z, z.argmin(dim=1))
    with pytest.raises(MeasureError, match="not finite"):
        best_temperature(z / 0, y)


def context_of(**options: object) -> MeasureContext:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = mlp(5, 8, 3)
    x = torch.randn(230, 5, generator=torch.Generator().manual_seed(0))
    y = torch.multinomial((9 * model(x)).softmax(1), 1, generator=torch.Generator().manual_seed(0))[
        :, 0
    ]
    data = Dataset("own", x[:30], y[:30], x[30:], y[30:], 3, "hash")
    return MeasureContext(model, data, CROSS_ENTROPY, **options)  # type: ignore[arg-type]


def test_calibration_and_summary_use_different_examples() -> None:
    context = context_of()
    found = calibration(context)
    assert len(found.others) == 100
    measure = Margin(MarginOptions(name="margin", normalizations=("raw", "calibrated")))
    rows = {(row.measure, row.variant, row.split): row for row in measure.compute(context)}
    test = margins(context.logits("test"), context.data.labels("test"))[found.others]
    mean = rows["margin_mean", "calibrated", "test"]
    assert mean.value == pytest.approx(test.mean().item() / found.temperature)
    assert mean.n_examples == 100
    on_train = rows["margin_mean", "calibrated", "train"]
    raw = rows["margin_mean", "raw", "train"].value
    assert on_train.value == pytest.approx(raw / found.temperature)
    temperature = rows["calibration_temperature", "", "test"]
    assert (temperature.value, temperature.n_examples) == (found.temperature, 100)
    fitted = torch.tensor(sorted(set(range(200)) - set(found.others.tolist())))
    expected = best_temperature(context.logits("test")[fitted], context.data.labels("test")[fitted])
    assert found.temperature == pytest.approx(expected)


def test_margins_without_a_temperature_give_a_reason() -> None:
    model = torch.nn.Linear(5, 3)
    x = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    y = model(x).argmax(dim=1)
    context = MeasureContext(model, Dataset("own", x, y, x, y, 3, "hash"), CROSS_ENTROPY)
    measure = Margin(MarginOptions(name="margin", normalizations=("calibrated",)))
    for row in measure.compute(context):
        assert row.value != row.value
        assert row.reason == "calibration: the held-out examples are all classified correctly"
