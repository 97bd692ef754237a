from __future__ import annotations

from math import isnan, log

import pytest
import torch
from torch import Tensor, nn

from orchestrator.data import Dataset
from orchestrator.measures import MeasureContext, jiang_norms, margins, path_norm, stable_ranks
from orchestrator.measures.norms.jiang_norms import JiangNorms
from orchestrator.measures.reparametrization import rescaled
from orchestrator.study.measure_options.norms import JiangNormsOptions
from tests.measures.cases import CROSS_ENTROPY, case, mlp


def network(seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return mlp(5, 7, 3, bias=False)


def well_classified(model: nn.Module) -> Dataset:
    """Inputs with the labels that the network gives them, so that every margin is positive."""
    x = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
    y = model(x).argmax(dim=1)
    return Dataset("own", x, y, x, y, 3, "hash")


def context_of(model: nn.Module, **options: object) -> MeasureContext:
    return MeasureContext(model, well_classified(model), CROSS_ENTROPY, **options)  # type: ignore[arg-type]


def spectral(weight: Tensor) -> float:
    return torch.linalg.matrix_norm(weight.detach().double(), ord=2).item()


def frobenius(weight: Tensor) -> float:
    return weight.detach().double().norm().item()


def test_every_norm_of_two_layers_equals_its_formula() -> None:
    model, initial = network(0), network(1)
    context = context_of(model, initial_state=initial.state_dict())
    found = jiang_norms(context)
    ws, w0s = list(model.parameters()), list(initial.parameters())
    gamma = torch.quantile(
        margins(context.logits("train"), context.data.labels("train")), 0.1
    ).item()
    spec = spectral(ws[0]) ** 2 * spectral(ws[1]) ** 2
    fro = frobenius(ws[0]) ** 2 * frobenius(ws[1]) ** 2
    ratio = sum(frobenius(w) ** 2 / spectral(w) ** 2 for w in ws)
    pairs = list(zip(ws, w0s, strict=True))
    moved = sum(frobenius(w - w0) ** 2 / spectral(w) ** 2 for w, w0 in pairs)
    expected = {
        "inverse_squared_margin": gamma**-2,
        "log_spectral_initial_bound": log(spec * moved / gamma**2),
        "log_spectral_bound": log(spec * ratio / gamma**2),
        "log_spectral_product_over_margin": log(spec / gamma**2),
        "log_spectral_product": log(spec),
        "frobenius_over_spectral": ratio,
        "log_spectral_sum_over_margin": log(2 * (spec / gamma**2) ** 0.5),
        "log_spectral_sum": log(2 * spec**0.5),
        "log_frobenius_product_over_margin": log(fro / gamma**2),
        "log_frobenius_product": log(fro),
        "log_frobenius_sum_over_margin": log(2 * (fro / gamma**2) ** 0.5),
        "log_frobenius_sum": log(2 * fro**0.5),
        "frobenius_distance_sum": sum(frobenius(w - w0) ** 2 for w, w0 in pairs),
        "spectral_distance_sum": sum(spectral(w - w0) ** 2 for w, w0 in pairs),
        "frobenius_norm_sum": sum(frobenius(w) ** 2 for w in ws),
        "path_norm_over_margin": path_norm(context) / gamma,
    }
    assert found == pytest.approx(expected)
    assert found["frobenius_over_spectral"] == pytest.approx(sum(stable_ranks(context)))


def test_a_margin_that_is_not_positive_is_reported_not_squared() -> None:
    context = case("mlp").context(initial_state=case("mlp").model(1).state_dict())
    rows = {
        row.measure: row
        for row in JiangNorms(JiangNormsOptions(name="jiang_norms")).compute(context)
    }
    assert margins(context.logits("train"), context.data.labels("train")).quantile(0.1) < 0
    for name in ("inverse_squared_margin", "log_spectral_bound", "path_norm_over_margin"):
        assert isnan(rows[name].value)
        assert "not positive" in str(rows[name].reason)
        assert rows[name].split == "train"
    assert rows["log_spectral_product"].value == rows["log_spectral_product"].value
    assert rows["log_spectral_product"].split is None


def test_distances_need_the_weights_before_training() -> None:
    found = jiang_norms(context_of(network(0)))
    for name in ("frobenius_distance_sum", "spectral_distance_sum", "log_spectral_initial_bound"):
        assert found[name] == "the network's weights before training are not known"
    assert isinstance(found["log_spectral_bound"], float)


def test_rescaling_changes_sums_but_not_products() -> None:
    model = network(0).double()
    data = well_classified(network(0))
    other, layers = rescaled(model, data.train_x, 3.0)
    assert layers == 1
    one, two = (
        jiang_norms(MeasureContext(m, data, CROSS_ENTROPY, initial_state=network(1).state_dict()))
        for m in (model, other)
    )
    change = {
        *("frobenius_norm_sum", "frobenius_distance_sum", "spectral_distance_sum"),
        "log_spectral_initial_bound",
    }
    for name, value in one.items():
        assert (two[name] != pytest.approx(value)) == (name in change), name


def test_distances_include_convolutions_as_operators() -> None:
    initial = case("cnn").model(1)
    found = jiang_norms(case("cnn").context(initial_state=initial.state_dict()))
    assert isinstance(found["spectral_distance_sum"], float)
    assert isinstance(found["frobenius_distance_sum"], float)
    assert found["spectral_distance_sum"] > 0


def test_an_unknown_layer_leaves_only_values_that_need_no_layers() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(5))
            self.last = nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(x * self.scale)

    found = jiang_norms(context_of(Scale()))
    assert isinstance(found["inverse_squared_margin"], float)
    assert "undefined for this network" in str(found["log_spectral_product"])
