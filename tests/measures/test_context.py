from __future__ import annotations

import pytest
import torch
from torch import nn

from orchestrator.data import Dataset
from orchestrator.errors import MeasureError
from orchestrator.measures.context import MeasureContext
from orchestrator.random_streams import stream_seed
from tests.measures.cases import (
    CASES,
    CROSS_ENTROPY,
    Case,
    Residual,
    case,
    mlp,
    random_dataset,
)
from tests.measures.references import dense_gradient, dense_hessian, loss_of

SPLITS = ("train", "test")


@pytest.mark.parametrize("subject", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize(("examples_per_pass", "graph_bytes"), [(1000, 0), (5, 2**29), (5, 0)])
def test_the_context_agrees_with_brute_force(
    subject: Case, examples_per_pass: int, graph_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.measures.loss_surface.GRAPH_BYTES", graph_bytes)
    context = subject.context(examples_per_pass=examples_per_pass)
    hessian = dense_hessian(context)
    theta = context.parameter_vector()
    for split in SPLITS:
        torch.testing.assert_close(
            context.loss_value(split), loss_of(context, theta, split).item(), rtol=1e-12, atol=0
        )
        torch.testing.assert_close(
            context.gradient(split), dense_gradient(context, split), rtol=1e-9, atol=1e-12
        )
    for index in range(2):
        vector = context.probe(index, "gaussian")
        torch.testing.assert_close(
            context.hessian_vector_product(vector), hessian @ vector, rtol=1e-9, atol=1e-10
        )


@pytest.mark.parametrize("name", ["mlp", "cnn", "residual_batch_norm"])
def test_single_precision_agrees_with_double_within_its_precision(name: str) -> None:
    double, single = case(name).context(), case(name).context(dtype=torch.float32)
    vector = double.probe(0)
    assert single.logits("train").dtype == torch.float32
    torch.testing.assert_close(
        single.hessian_vector_product(vector.float()).double(),
        double.hessian_vector_product(vector),
        rtol=1e-4,
        atol=1e-5,
    )
    assert single.loss_value("train") == pytest.approx(double.loss_value("train"), rel=1e-6)


@pytest.mark.parametrize("name", ["mlp", "cnn", "residual_batch_norm", "tied"])
def test_the_hessian_in_another_precision_is_that_of_the_converted_network(name: str) -> None:
    double, single = case(name).context(), case(name).context(dtype=torch.float32)
    operator = double.hessian_in(torch.float32)
    vector = single.probe(0)
    assert (operator.dtype, operator.size) == (torch.float32, double.n_parameters)
    torch.testing.assert_close(operator @ vector, single.hessian @ vector, rtol=1e-4, atol=1e-5)
    back = single.hessian_in(torch.float64)
    torch.testing.assert_close(back @ double.probe(0), double.hessian @ double.probe(0))
    assert double.gradient("train").dtype == torch.float64


def test_the_network_is_converted_once_and_dropped_with_the_shared_results() -> None:
    context = case("mlp").context()
    assert context.hessian_in(torch.float64).product == context.hessian.product
    first, second = (context.hessian_in(torch.float32).product.__self__ for _ in range(2))
    assert first is second
    assert context.shrink_passes()
    third = context.hessian_in(torch.float32).product.__self__
    assert third is not first
    assert third.data.examples_per_pass == context.data.examples_per_pass < 1000


class Double(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x + torch.zeros(5, dtype=torch.float64))


def test_a_network_that_runs_in_one_precision_only_has_no_hessian_in_another() -> None:
    context = MeasureContext(Double(), random_dataset((5,), 9, 3), CROSS_ENTROPY)
    with pytest.raises(MeasureError, match="float32"):
        context.hessian_in(torch.float32)


@pytest.mark.parametrize("name", ["mlp", "cnn", "unused_parameter"])
def test_the_loss_at_a_displacement_agrees_with_brute_force(name: str) -> None:
    context = case(name).context(examples_per_pass=4)
    delta = 0.1 * context.probe(0, "gaussian")
    expected = loss_of(context, context.parameter_vector() + delta, "test").item()
    assert context.loss_at(delta, "test") == pytest.approx(expected, rel=1e-12)
    assert context.loss_at(torch.zeros_like(delta)) == context.loss_value("train")


def test_passes_of_unequal_size_weigh_every_example_equally() -> None:
    subject = Case("many", lambda: mlp(5, 6, 3), examples=70)
    whole, divided = subject.context(), subject.context(examples_per_pass=64)
    assert [len(y) for _, y in divided.data.batches("train")] == [64, 6]
    torch.testing.assert_close(whole.gradient("train"), divided.gradient("train"))
    vector = whole.probe(0)
    torch.testing.assert_close(
        whole.hessian_vector_product(vector), divided.hessian_vector_product(vector)
    )
    torch.testing.assert_close(whole.logits("train"), divided.logits("train"))


def test_duplicating_the_data_changes_nothing() -> None:
    subject = case("mlp")
    data = subject.dataset()
    twice = Dataset(
        "twice",
        data.train_x.repeat(2, 1),
        data.train_y.repeat(2),
        data.test_x,
        data.test_y,
        data.classes,
        "hash",
    )
    once = subject.context()
    doubled = MeasureContext(subject.model(), twice, subject.loss)
    assert doubled.loss_value("train") == pytest.approx(once.loss_value("train"), rel=1e-13)
    torch.testing.assert_close(doubled.gradient("train"), once.gradient("train"))
    torch.testing.assert_close(
        doubled.hessian_vector_product(once.probe(0)), once.hessian_vector_product(once.probe(0))
    )


def test_the_given_network_stays_unchanged() -> None:
    subject = case("residual_batch_norm")
    model = subject.model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    context = MeasureContext(model, subject.dataset(), subject.loss)
    context.gradient("train")
    context.hessian_vector_product(context.probe(0))
    context.loss_at(context.probe(0))
    assert model.training
    for name, value in model.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in context.model.parameters())


def test_dropout_is_off_and_frozen_parameters_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(5, 6), nn.Dropout(0.5), nn.Linear(6, 3))
    model[0].bias.requires_grad_(False)
    context = MeasureContext(model, random_dataset((5,), 9, 3), CROSS_ENTROPY)
    assert list(context.parameters) == ["0.weight", "2.weight", "2.bias"]
    assert context.n_parameters == 30 + 18 + 3
    again = MeasureContext(model, random_dataset((5,), 9, 3), CROSS_ENTROPY)
    assert torch.equal(context.logits("train"), again.logits("train"))


def test_a_loss_that_is_linear_in_the_parameters_has_no_curvature() -> None:
    class Linear:
        def per_example(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return logits.gather(1, labels[:, None])[:, 0]

    context = MeasureContext(nn.Linear(5, 3), random_dataset((5,), 9, 3), Linear())
    product = context.hessian_vector_product(context.probe(0))
    assert torch.equal(product, torch.zeros(18, dtype=torch.float64))
    assert context.gradient("train").norm() > 0


def test_shared_values_are_computed_once() -> None:
    context = case("mlp").context()
    calls = []
    for _ in range(3):
        assert context.shared("key", lambda: calls.append(1) or "found") == "found"
    assert len(calls) == 1
    passes = []
    context.model.register_forward_hook(lambda *_: passes.append(1))
    for _ in range(3):
        context.logits("train")
        context.loss_value("train")
    assert len(passes) == 1
    for index in range(3):
        context.gradient("train")
        context.hessian_vector_product(context.probe(index))
    assert len(passes) == 2


@pytest.mark.parametrize(("kept", "passes"), [(2**29, 5), (0, 15)])
def test_graphs_are_kept_between_products_if_they_are_small(
    kept: int, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.measures.loss_surface.GRAPH_BYTES", kept)
    context = Case("many", lambda: mlp(5, 6, 3), examples=40).context(examples_per_pass=8)
    sizes = []
    context.model.register_forward_hook(lambda _, inputs, output: sizes.append(len(inputs[0])))
    products = [context.hessian_vector_product(context.probe(0)) for _ in range(3)]
    assert [size for size in sizes if size == 8] == [8] * passes
    assert torch.equal(products[0], products[1])
    assert torch.equal(products[0], products[2])


def test_keeping_graphs_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Case("many", Residual, (1, 6, 6), examples=20)
    keeping = subject.context(examples_per_pass=8)
    found = [keeping.hessian_vector_product(keeping.probe(0)), keeping.gradient("train")]
    monkeypatch.setattr("orchestrator.measures.loss_surface.GRAPH_BYTES", 0)
    frugal = subject.context(examples_per_pass=8)
    again = [frugal.hessian_vector_product(frugal.probe(0)), frugal.gradient("train")]
    assert torch.equal(found[0], again[0])
    assert torch.equal(found[1], again[1])


@pytest.mark.parametrize("distribution", ["rademacher", "gaussian"])
def test_every_checkpoint_uses_the_same_probes_for_an_index_and_seed(distribution: str) -> None:
    subject = case("mlp")
    early = subject.context(seed=3)
    late = MeasureContext(subject.model(1), subject.dataset(), early.loss, seed=3)
    assert torch.equal(early.probe(0, distribution), late.probe(0, distribution))
    assert not torch.equal(early.probe(0, distribution), early.probe(1, distribution))
    other = subject.context(seed=4)
    assert not torch.equal(early.probe(0, distribution), other.probe(0, distribution))
    single = subject.context(seed=3, dtype=torch.float32)
    assert torch.equal(single.probe(0, distribution), early.probe(0, distribution).float())


def test_trial_generators_differ_between_trials_while_probes_do_not() -> None:
    def drawn(**options: int) -> tuple[float, float]:
        context = case("mlp").context(**options)
        generators = context.trial_generator("order", 1), context.generator("order", 1)
        own, common = (torch.rand((), generator=one).item() for one in generators)
        return own, common

    own, common = drawn(trial_seed=3)
    assert drawn(trial_seed=3) == (own, common)
    assert drawn(trial_seed=4)[0] != own
    assert drawn(trial_seed=4)[1] == common
    assert drawn(trial_seed=3, seed=1)[0] != own
    training = torch.Generator().manual_seed(stream_seed(3, "order", 1))
    assert torch.rand((), generator=training).item() != own


def test_probes_leave_the_global_random_state_alone() -> None:
    context = case("mlp").context()
    before = torch.get_rng_state()
    context.probe(0)
    context.probe(0, "gaussian")
    assert torch.equal(torch.get_rng_state(), before)


def test_probes_have_mean_0_and_variance_1() -> None:
    context = Case("wide", lambda: nn.Linear(100, 100), (100,), classes=100).context()
    assert set(context.probe(0).tolist()) == {-1.0, 1.0}
    for probe in (context.probe(0), context.probe(0, "gaussian")):
        assert probe.mean().abs() < 5 / 100
        assert (probe.square().mean() - 1).abs() < 0.06


def test_a_subset_is_stratified_and_independent_of_the_seed() -> None:
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    x = torch.arange(100.0)[:, None]
    data = Dataset("uneven", x, labels, x[:4], labels[::30], 3, "hash")
    model = nn.Linear(1, 3)
    context = MeasureContext(model, data, CROSS_ENTROPY, seed=0, examples=10)
    assert context.data.labels("train").bincount().tolist() == [6, 3, 1]
    assert context.data.n_examples("train") == 10
    assert context.data.n_examples("test") == 4
    (inputs, _), *_ = context.data.batches("train")
    (same, _), *_ = MeasureContext(model, data, CROSS_ENTROPY, seed=1, examples=10).data.batches(
        "train"
    )
    assert torch.equal(inputs, same)


def test_unmeasurable_networks_data_and_vectors_are_refused() -> None:
    data, loss = random_dataset((5,), 9, 3), CROSS_ENTROPY
    with pytest.raises(MeasureError, match="no trainable parameters"):
        MeasureContext(nn.Flatten(), data, loss)
    empty = Dataset("d", data.train_x, data.train_y, data.test_x[:0], data.test_y[:0], 3, "hash")
    with pytest.raises(MeasureError, match="test split of d has no examples"):
        MeasureContext(nn.Linear(5, 3), empty, loss)
    with pytest.raises(MeasureError, match="examples_per_pass must be at least 1, got 0"):
        MeasureContext(nn.Linear(5, 3), data, loss, examples_per_pass=0)
    squeezed = nn.Sequential(nn.Linear(5, 1), nn.Flatten(0))
    with pytest.raises(MeasureError, match=r"got \(2,\)"):
        MeasureContext(squeezed, data, loss)
    with pytest.raises(MeasureError, match=r"must have shape \(18,\), got \(17,\)"):
        MeasureContext(nn.Linear(5, 3), data, loss).hessian_vector_product(torch.zeros(17))


def test_batch_statistics_make_the_scale_before_them_arbitrary() -> None:
    """Then wᵀHw = 0, and the trace over w falls with 1/α²: fixed statistics are another function.

    So curvature is measured with the fixed ones wherever a network has them.
    """

    def context_of(scale: float, *, fixed: bool) -> MeasureContext:
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(5, 6, bias=False),
            nn.BatchNorm1d(6, eps=1e-300, track_running_stats=fixed),
            nn.Tanh(),
            nn.Linear(6, 3),
        )
        with torch.no_grad():
            model[0].weight.mul_(scale)
        return MeasureContext(model, random_dataset((5,), 14, 3), CROSS_ENTROPY)

    def block(context: MeasureContext) -> torch.Tensor:
        """Of the weights before the normalization."""
        return dense_hessian(context)[:30, :30]

    batch, tripled, fixed = (
        context_of(scale, fixed=kept) for scale, kept in ((1, False), (3, False), (1, True))
    )
    weights = torch.zeros(batch.n_parameters, dtype=torch.float64)
    weights[:30] = batch.parameter_vector()[:30]
    product = batch.hessian_vector_product(weights)
    size = block(batch).norm() * weights.square().sum()
    assert abs(weights @ product) < 1e-12 * size
    torch.testing.assert_close(block(tripled).trace(), block(batch).trace() / 9)
    assert abs(weights @ fixed.hessian_vector_product(weights)) > 1e-3 * size
    assert not torch.isclose(block(fixed).trace(), block(batch).trace(), rtol=0.01)
