"""Against other packages, where they are installed (the extra ``peers``).

Where one of them is wrong, the test shows it against the dense Hessian.
"""

import contextlib
import importlib
import io
import warnings

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import eigsh
from torch import nn

from orchestrator.measures.curvature.exact_trace import exact_trace
from orchestrator.measures.curvature.gauss_newton import gauss_newton
from orchestrator.measures.curvature.ggn_trace import exact_ggn_trace
from orchestrator.measures.curvature.hessian_spectral_density import spectral_quadratures
from orchestrator.measures.curvature.hessian_spectrum import HessianSpectrum
from orchestrator.measures.curvature.hutchinson import standard_error
from orchestrator.measures.curvature.trace_estimates import controlled_trace
from orchestrator.study.measure_options.curvature import HessianSpectrumOptions
from tests.binomial import assert_at_least
from tests.measures.curvature.learned import learned_context
from tests.measures.references import dense_hessian

# What the peers do, not what is compared with them.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning"),  # BackPACK
    pytest.mark.filterwarnings(
        "ignore:Using backward.. with create_graph:UserWarning"
    ),  # PyHessian
]
ACTIVATIONS = [nn.ReLU, nn.Tanh]


def peer(name):
    """The package, or a skip; its import may warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(name.partition(".")[0])
        return importlib.import_module(name)


def model_and_data(context):
    ((x, y),) = context.data.batches("train")
    return context.model, x, y


def eigenvalues_of(context, **options):
    options = HessianSpectrumOptions(name="hessian_spectrum", tolerance=1e-8, **options)
    return {v.measure: v.value for v in HessianSpectrum(options).compute(context)}


# curvlinops


def operator(context, kind):
    model, x, y = model_and_data(context)
    parameters = list(model.parameters())
    build = getattr(peer("curvlinops"), f"{kind}LinearOperator")
    return build(model, nn.CrossEntropyLoss(), parameters, [(x, y)])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_products_and_traces_equal_curvlinops(activation):
    context = learned_context(activation)
    identity = torch.eye(context.n_parameters, dtype=torch.float64)
    H, G = (operator(context, kind) @ identity for kind in ("Hessian", "GGN"))
    vector = context.probe(0)
    torch.testing.assert_close(context.hessian @ vector, H @ vector)
    torch.testing.assert_close(gauss_newton(context) @ vector, G @ vector)
    assert exact_ggn_trace(context).total == pytest.approx(G.trace().item(), rel=1e-10)
    found = controlled_trace(context, probes=100, relative_error=0).total
    assert abs(found.value - H.trace().item()) <= 4 * found.standard_error + 1e-10
    if activation is nn.ReLU:
        assert exact_trace(context).total == pytest.approx(H.trace().item(), rel=1e-10)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_extreme_eigenvalues_equal_curvlinops(activation):
    context = learned_context(activation)
    found = eigenvalues_of(context, top=3, iterations=70)
    hessian = operator(context, "Hessian").to_scipy()
    largest = eigsh(hessian, k=3, which="LA", return_eigenvectors=False)
    smallest = eigsh(hessian, k=1, which="SA", return_eigenvectors=False)
    expected = [*sorted(largest, reverse=True), *smallest]
    names = [f"hessian_eigenvalue_{rank}" for rank in ("1", "2", "3", "min")]
    assert [found[name] for name in names] == pytest.approx(expected, rel=1e-6)


def test_spectral_moments_agree_with_curvlinops():
    spectrum = peer("curvlinops.papyan2020traces.spectrum")
    context, runs = learned_context(nn.Tanh), 60
    torch.manual_seed(0)
    hessian = operator(context, "Hessian")
    theirs = [spectrum.fast_lanczos(hessian, 10) for _ in range(runs)]
    ours = spectral_quadratures(context, probes=runs, iterations=10)
    for order in (1, 2, 3):
        one = [quadrature.moment(order) for quadrature in ours]
        other = [(vectors[0] ** 2 @ values**order).item() for values, vectors in theirs]
        reach = 4 * np.hypot(standard_error(one), standard_error(other))
        assert abs(np.mean(one) - np.mean(other)) < reach


# PyHessian


def pyhessian(context, loss=None):
    model, x, y = model_and_data(context)
    build = peer("pyhessian").hessian
    return build(model, loss or nn.CrossEntropyLoss(), data=(x, y), cuda=False)


def quiet(function, **options):
    with contextlib.redirect_stdout(io.StringIO()):
        return function(**options)


def test_the_largest_eigenvalue_equals_pyhessian_if_it_dominates():
    context = learned_context()
    torch.manual_seed(0)
    (theirs,), _ = quiet(pyhessian(context).eigenvalues, maxIter=2000, tol=1e-10)
    ours = eigenvalues_of(context, top=1, iterations=70)["hessian_eigenvalue_1"]
    assert ours == pytest.approx(theirs, rel=1e-4)


class Negated:
    def per_example(self, logits, labels):
        return -nn.functional.cross_entropy(logits, labels, reduction="none")


def test_pyhessian_returns_the_largest_magnitude_as_largest_eigenvalue():
    context = learned_context()
    context.loss = Negated()
    dense = torch.linalg.eigvalsh(dense_hessian(context))
    ours = eigenvalues_of(context, top=1, iterations=70)["hessian_eigenvalue_1"]
    assert ours == pytest.approx(dense[-1].item(), rel=1e-6)
    torch.manual_seed(0)
    (theirs,), _ = quiet(
        pyhessian(context, lambda z, y: -nn.functional.cross_entropy(z, y)).eigenvalues,
        maxIter=2000,
        tol=1e-10,
    )
    assert theirs == pytest.approx(dense[0].item(), rel=1e-4)
    assert theirs < 0 < dense[-1]


def test_the_trace_agrees_with_pyhessian_with_many_probes():
    context = learned_context(nn.Tanh)
    torch.manual_seed(0)
    probes = quiet(pyhessian(context).trace, maxIter=300, tol=0)
    ours = controlled_trace(context, probes=100, relative_error=0).total
    reach = 4 * np.hypot(ours.standard_error, standard_error(probes))
    assert abs(ours.value - np.mean(probes)) < reach


def test_pyhessians_stopping_rule_does_not_bound_its_error():
    """It stops when two running means differ by 0.1 %, which they often do by chance."""
    context = learned_context(nn.Tanh)
    dense = dense_hessian(context).trace().item()
    theirs, covered = [], 0
    for seed in range(30):
        torch.manual_seed(seed)
        probes = quiet(pyhessian(context).trace)
        theirs.append(abs(np.mean(probes) / dense - 1))
        context.seed = seed
        context.shared = lambda key, compute: compute()
        found = controlled_trace(context, relative_error=0.02).total
        covered += abs(found.value - dense) <= 2.13 * found.standard_error
    assert np.mean(np.array(theirs) > 20 * 0.001) > 0.3
    assert_at_least(0.95, covered, 30)


def test_pyhessians_density_no_longer_runs():
    """It calls ``torch.eig``, which is gone; when this fails, compare the two densities."""
    with pytest.raises(RuntimeError, match="removed"):
        quiet(pyhessian(learned_context()).density, iter=5)


# BackPACK


def backpack_diagonals(context, *names):
    backpack, extensions = peer("backpack"), peer("backpack.extensions")
    model, x, y = model_and_data(context)
    model, loss = backpack.extend(model), backpack.extend(nn.CrossEntropyLoss())
    with backpack.backpack(*(getattr(extensions, name)() for name in names)):
        loss(model(x), y).backward()
    attributes = {"DiagHessian": "diag_h", "DiagGGNExact": "diag_ggn_exact"}
    return [
        {n: getattr(p, attributes[name]).sum().item() for n, p in model.named_parameters()}
        for name in names
    ]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_traces_of_parameters_agree_with_backpack(activation):
    hessian, gauss_newton = backpack_diagonals(
        learned_context(activation), "DiagHessian", "DiagGGNExact"
    )
    context = learned_context(activation)
    assert exact_ggn_trace(context).per_parameter == pytest.approx(gauss_newton, rel=1e-9)
    if activation is nn.ReLU:
        assert exact_trace(context).per_parameter == pytest.approx(hessian, rel=1e-9)
        return
    estimates = controlled_trace(context, probes=200, relative_error=0).per_parameter
    for name, estimate in estimates.items():
        assert abs(estimate.value - hessian[name]) <= 4 * estimate.standard_error + 1e-10
