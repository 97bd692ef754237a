import math

import pytest
import torch
from torch import nn

from orchestrator.data import Dataset
from orchestrator.errors import MeasureError
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.hessian_krylov import extreme_eigenvalues
from orchestrator.measures.curvature.hessian_spectrum import RATIO, HessianSpectrum
from orchestrator.study.measure_options.curvature import HessianSpectrumOptions
from tests.measures.cases import CASES, CROSS_ENTROPY, case, mlp, random_dataset, regression_context
from tests.measures.curvature.learned import learned_context
from tests.measures.references import dense_hessian


def options_of(**options):
    return HessianSpectrumOptions(name="hessian_spectrum", **options)


def spectrum_of(context, **options):
    """The eigenvalues: all but the ratio of two of them."""
    values = HessianSpectrum(options_of(**options)).compute(context)
    return [value for value in values if value.measure != RATIO]


def ratio_of(context, **options):
    (*_, value) = HessianSpectrum(options_of(**options)).compute(context)
    assert value.measure == RATIO
    return value


OFTEN = {"cnn", "residual_batch_norm", "tied", "tanh", "mse", "certain", "one_example"}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=[] if case.name in OFTEN else pytest.mark.slow)
        for case in CASES
    ],
)
def test_eigenvalues_equal_the_dense_spectrum(case):
    context = case.context()
    expected = torch.linalg.eigvalsh(dense_hessian(context)).flip(0)
    scale = expected.abs().max().item()
    top = min(4, len(expected))
    values = spectrum_of(context, top=top, iterations=200, tolerance=1e-7)
    names = [f"hessian_eigenvalue_{rank}" for rank in range(1, top + 1)]
    assert [value.measure for value in values] == [*names, "hessian_eigenvalue_min"]
    found = [value.value for value in values]
    assert found == pytest.approx([*expected[:top].tolist(), expected[-1].item()], abs=1e-6 * scale)
    for value in values:
        assert (value.variant, value.standard_error, value.reason) == ("", None, None)


class Negated:
    """Minus the cross-entropy: turns the spectrum around."""

    def per_example(self, logits, labels):
        return -CROSS_ENTROPY.per_example(logits, labels)


def test_negating_the_loss_mirrors_the_spectrum():
    """PyHessian's power method gives the largest magnitude instead."""
    model, data = mlp(8, 12, 3), random_dataset((8,), 20, 3)
    plus, minus = (
        spectrum_of(MeasureContext(model, data, loss), top=1, iterations=90, tolerance=1e-6)
        for loss in (CROSS_ENTROPY, Negated())
    )
    assert minus[0].value == pytest.approx(-plus[1].value, abs=1e-6 * plus[0].value)
    assert minus[1].value == pytest.approx(-plus[0].value, rel=1e-6)
    assert abs(minus[1].value) > minus[0].value > 0


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (2.0, 0.5), (4.0, 0.25)])
def test_a_two_layer_scalar_linear_network_has_known_eigenvalues(a, b):
    """At a minimum ab = c of mean (abx − cx)² the eigenvalues are 0 and 2 s² (a² + b²)."""
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        network[0].weight.fill_(a)
        network[1].weight.fill_(b)

    class ToInputs:
        def per_example(self, logits, labels):
            return (logits[:, 0] - labels).square()

    x = torch.tensor([[1.0], [2.0], [-3.0]])
    data = Dataset("line", x, x[:, 0].long(), x, x[:, 0].long(), 1, "")
    values = spectrum_of(regression_context(network, data, ToInputs()), top=2)
    expected = 2 * (14 / 3) * (a**2 + b**2)
    assert [value.value for value in values] == pytest.approx([expected, 0, 0], abs=1e-10)


def test_unconverged_values_are_marked_and_explained():
    model, data = mlp(20, 20, 5), random_dataset((20,), 60, 5)
    context = MeasureContext(model, data, CROSS_ENTROPY)
    values = spectrum_of(context, top=3, iterations=5, tolerance=1e-6)
    unconverged = [value for value in values if value.variant == "unconverged"]
    assert unconverged
    for value in unconverged:
        side = "upper" if value.measure == "hessian_eigenvalue_min" else "lower"
        assert value.reason.startswith(f"{side} bound: the eigenvalue may be ")
        assert "after 5 products" in value.reason
    exact = torch.linalg.eigvalsh(dense_hessian(context)).flip(0)
    for value, bound in zip(values[:3], exact, strict=False):
        assert value.value <= bound + 1e-12


@pytest.mark.parametrize("seeds", [range(3), pytest.param(range(3, 8), marks=pytest.mark.slow)])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_the_probe_seed_does_not_change_converged_eigenvalues(activation, seeds):
    """Even where |λ_min| is far below λ_1."""
    tolerance = 1e-3
    context = learned_context(activation)
    exact = torch.linalg.eigvalsh(dense_hessian(context)).flip(0)
    assert 0 < -exact[-1] < 0.05 * exact[0]
    for seed in seeds:
        context = learned_context(activation, seed=seed)
        iterations = context.n_parameters - 1  # one more would be exact in any case
        values = spectrum_of(context, top=2, iterations=iterations, tolerance=tolerance)
        found = extreme_eigenvalues(context, options_of(top=2, iterations=iterations))
        assert found.products < 80
        for value, expected in zip(values, [*exact[:2].tolist(), exact[-1].item()], strict=True):
            assert not value.variant
            assert value.value == pytest.approx(expected, rel=tolerance)


def test_the_ratio_of_eigenvalues_equals_the_dense_one():
    context = case("cnn").context()
    exact = torch.linalg.eigvalsh(dense_hessian(context)).flip(0)
    found = ratio_of(context, top=3, iterations=200)
    assert found.value == pytest.approx((exact[0] / exact[2]).item(), rel=1e-6)
    assert (found.variant, found.reason) == ("", None)
    rough = ratio_of(case("cnn").context(), top=3, iterations=6, tolerance=1e-8)
    assert rough.variant == "unconverged"
    assert "bound" in rough.reason


def test_a_ratio_to_a_possible_zero_is_undefined():
    low_rank = MeasureContext(nn.Linear(5, 2), random_dataset((5,), 2, 2), CROSS_ENTROPY)
    found = ratio_of(low_rank, top=4)
    assert math.isnan(found.value)
    assert found.reason == "λ_4 does not exceed zero by more than rounding"
    small = MeasureContext(nn.Linear(2, 2, bias=False), random_dataset((2,), 9, 2), CROSS_ENTROPY)
    found = ratio_of(small, top=5)
    assert math.isnan(found.value)
    assert found.reason == "the Hessian has fewer than 5 eigenvalues"


def test_eigenvalues_beyond_the_number_of_parameters_give_a_reason():
    context = MeasureContext(nn.Linear(2, 2, bias=False), random_dataset((2,), 9, 2), CROSS_ENTROPY)
    values = spectrum_of(context, top=10, iterations=10)
    expected = torch.linalg.eigvalsh(dense_hessian(context)).flip(0)
    assert len(values) == 5
    assert [v.value for v in values[:4]] == pytest.approx(expected.tolist(), abs=1e-12)
    assert values[4].value == pytest.approx(expected[-1].item(), abs=1e-12)


def test_eigenvalues_in_single_precision_agree_with_double():
    double, single = (
        spectrum_of(case("cnn").context(dtype=dtype), top=2)
        for dtype in (torch.float64, torch.float32)
    )
    for one, other in zip(double, single, strict=True):
        assert other.value == pytest.approx(one.value, abs=1e-5 * double[0].value)


def test_equal_requests_share_one_lanczos_run():
    context = case("mlp").context()
    products = []
    multiply = context.hessian_products
    context.hessian_products = lambda rows: products.extend(rows) or multiply(rows)
    first = spectrum_of(context, top=2)
    count = len(products)
    assert spectrum_of(context, top=2) == first
    assert len(products) == count == extreme_eigenvalues(context, options_of(top=2)).products


def test_a_network_that_diverged_gives_a_reason():
    network = mlp(5, 4, 3)
    with torch.no_grad():
        network[0].bias[0] = math.nan
    values = spectrum_of(MeasureContext(network, random_dataset((5,), 6, 3), CROSS_ENTROPY), top=2)
    assert [value.measure for value in values] == [
        "hessian_eigenvalue_1",
        "hessian_eigenvalue_2",
        "hessian_eigenvalue_min",
    ]
    assert all(math.isnan(value.value) and "finite" in value.reason for value in values)


def test_entries_name_every_eigenvalue():
    entries = HessianSpectrum(options_of(top=7)).entries
    assert [entry.measure for entry in entries] == [
        *(f"hessian_eigenvalue_{rank}" for rank in range(1, 8)),
        "hessian_eigenvalue_min",
        "hessian_eigenvalue_ratio",
    ]
    assert [entry.measure for entry in HessianSpectrum(options_of(top=1)).entries] == [
        "hessian_eigenvalue_1",
        "hessian_eigenvalue_min",
    ]


def test_fewer_iterations_than_eigenvalues_are_refused():
    with pytest.raises(MeasureError, match="3 iterations cannot give the 5 largest"):
        HessianSpectrum(options_of(top=5, iterations=3))


def test_without_the_smallest_eigenvalue_the_largest_are_the_same():
    def found(smallest):
        context = learned_context()
        return {one.measure: one.value for one in spectrum_of(context, top=2, smallest=smallest)}

    both, largest = found(True), found(False)
    assert set(both) - set(largest) == {"hessian_eigenvalue_min"}
    for name, value in largest.items():
        assert value == pytest.approx(both[name], rel=2e-3)
    entries = HessianSpectrum(options_of(top=2, smallest=False)).entries
    assert [entry.measure for entry in entries] == [*largest, RATIO]
