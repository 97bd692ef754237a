from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from orchestrator.errors import ModelError
from orchestrator.models.conversion import converted
from orchestrator.models.shared_tensors import (
    call_with,
    copy_with_ties,
    tensor_sites,
    tie_equal_memory,
)
from tests.measures.odd_networks import SHARERS, Pair, seeded, some

of_sharers = pytest.mark.parametrize("pair", some(SHARERS))


def shared_linear() -> nn.Module:
    layer = nn.Linear(3, 3)
    other = nn.Linear(3, 3)
    other.weight = layer.weight
    return nn.Sequential(layer, layer, other)


def test_a_tensor_has_one_site_per_attribute_that_holds_it() -> None:
    sites = tensor_sites(shared_linear())
    assert sites["0.weight"] == sites["1.weight"] == sites["2.weight"] == ("0.weight", "2.weight")
    assert sites["0.bias"] == sites["1.bias"] == ("0.bias",)
    assert sites["2.bias"] == ("2.bias",)


@of_sharers
def test_a_call_with_moved_tensors_equals_a_call_of_a_moved_network(pair: Pair) -> None:
    model, dataset = pair.models()[0].eval(), pair.dataset()
    tie_equal_memory(model, "it")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    objects = dict(model.named_parameters(remove_duplicate=False))
    moved = {name: p.detach() + 0.1 for name, p in model.named_parameters()}
    with torch.no_grad():
        found = call_with(model, tensor_sites(model), moved, dataset.train_x)
        for name, parameter in deepcopy(model).named_parameters():
            assert torch.equal(parameter, before[name]), name
        after = dict(model.named_parameters(remove_duplicate=False))
        assert all(after[name] is objects[name] for name in objects)
        expected = deepcopy(model)
        for parameter in expected.parameters():
            parameter += 0.1
        assert torch.equal(found, expected(dataset.train_x))


def test_a_call_with_moved_tensors_is_differentiable_with_respect_to_them() -> None:
    model = shared_linear()
    weight = model[0].weight.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(
        call_with(model, tensor_sites(model), {"1.weight": weight}, torch.ones(1, 3)).sum(), weight
    )
    (expected,) = torch.autograd.grad(model(torch.ones(1, 3)).sum(), model[0].weight)
    assert torch.equal(gradient, expected)


def test_tensors_in_equal_memory_become_one_tensor() -> None:
    one, other = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    other.weight.data = one.weight.data
    other.running_mean = one.running_mean.view(3)
    model = nn.Sequential(one, other)
    copy = copy_with_ties(model, "it")
    assert model[1].weight is not model[0].weight
    tie_equal_memory(model, "it")
    for network in (model, copy):
        assert network[1].weight is network[0].weight
        assert network[1].running_mean is network[0].running_mean
        assert network[1].bias is not network[0].bias


def test_recurrent_layers_use_the_tied_tensor() -> None:
    one, other = nn.GRU(2, 2), nn.GRU(2, 2)
    other.weight_hh_l0.data = one.weight_hh_l0.data
    model = nn.ModuleList([one, other])
    for network in (copy_with_ties(model, "it"), model):
        tie_equal_memory(network, "it")
        with torch.no_grad():
            network[0].weight_hh_l0.zero_()
            found, _ = network[1](torch.ones(3, 1, 2))
            network[1].weight_hh_l0 = nn.Parameter(torch.zeros(6, 2))
            assert torch.equal(found, network[1](torch.ones(3, 1, 2))[0])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m.register_buffer("view", m[0].weight.detach()),
        lambda m: setattr(m, "view", m[0].weight.detach()[0]),
        lambda m: setattr(m, "views", (None, m[0].weight.detach().t())),
        lambda m: m[2].register_parameter("extra", nn.Parameter(m[0].weight.detach()[1:])),
    ],
    ids=["buffer", "attribute", "in a tuple", "part of a parameter"],
)
def test_other_overlaps_are_refused(spoil) -> None:
    model = shared_linear()
    tie_equal_memory(model, "it")
    spoil(model)
    for act in (tie_equal_memory, copy_with_ties):
        with pytest.raises(ModelError, match=r"^it: .* different tensors in the same memory"):
            act(model, "it")


def test_parts_of_one_tensor_that_do_not_overlap_are_accepted() -> None:
    model = nn.Module()
    whole = torch.zeros(4, 2)
    model.first, model.second = nn.Parameter(whole[:2]), nn.Parameter(whole[2:])
    tie_equal_memory(model, "it")
    assert model.first is not model.second


def test_conversion_keeps_kinds_and_ties() -> None:
    model = shared_linear()
    counts, phases = torch.arange(3), torch.ones(3, dtype=torch.cfloat) * 1j
    for module in (model[0], model[2]):
        module.register_buffer("counts", counts)
        module.register_buffer("phases", phases)
        module.register_buffer("scale", model[0].bias)
    converted(model, dtype=torch.float64)
    assert model[0].weight is model[2].weight
    assert model[0].weight.dtype == torch.float64
    assert model[2].scale is model[0].bias
    assert model[0].counts is model[2].counts
    assert (model[0].counts.dtype, model[0].phases.dtype) == (torch.int64, torch.complex128)
    assert model[0].phases is model[2].phases
    assert torch.equal(model[0].phases.imag, torch.ones(3, dtype=torch.float64))


@of_sharers
def test_copies_compute_the_same_logits(pair: Pair) -> None:
    model, x = pair.models()[0].eval(), pair.dataset().train_x
    copy = copy_with_ties(model, "it").eval()
    with torch.no_grad():
        assert torch.equal(copy(x.clone()), model(x.clone()))
    assert not {id(p) for p in copy.parameters()} & {id(p) for p in model.parameters()}
    assert torch.equal(seeded(pair.odd)(x.clone()), pair.models()[0](x.clone()))


@pytest.mark.parametrize(
    "normalize", [nn.utils.spectral_norm, nn.utils.parametrizations.weight_norm], ids=["old", "new"]
)
@pytest.mark.parametrize("used", [False, True])
def test_normalized_layers_can_be_copied_even_after_training(normalize, used: bool) -> None:
    model = nn.Sequential(normalize(nn.Linear(3, 3)))
    if used:
        model(torch.ones(2, 3)).sum().backward()
    copy = copy_with_ties(model, "it").eval()
    with torch.no_grad():
        assert torch.equal(copy(torch.ones(1, 3)), model.eval()(torch.ones(1, 3)))


def test_tensors_left_behind_by_a_pass_are_copied() -> None:
    model = nn.Linear(3, 3)
    model.last = [model(torch.ones(1, 3))]
    assert torch.equal(copy_with_ties(model, "it").last[0], model.last[0])
