import pytest
import torch
from torch import nn

from orchestrator.study.training_options.optimizer_options import AdamwOptions, SgdOptions
from orchestrator.training.nested import copy_nested
from orchestrator.training.optimizers.adamw import Adamw
from orchestrator.training.optimizers.sgd import Sgd


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2))


INPUTS = torch.randn(6, 20, 5, generator=torch.Generator().manual_seed(1))


def train(model, update):
    for inputs in INPUTS:

        def gradient(inputs=inputs):
            loss = model(inputs).square().mean()
            loss.backward()
            return loss

        update(gradient)
    return [parameter.detach().clone() for parameter in model.parameters()]


def train_flat(model, optimizer, factors=(1.0, 0.5, 0.25, 1.0, 2.0, 0.1)):
    remaining = iter(factors)

    def update(gradient):
        optimizer.zero_gradients()
        optimizer.update(gradient, next(remaining))

    return train(model, update)


def train_pytorch(model, optimizer, factors=(1.0, 0.5, 0.25, 1.0, 2.0, 0.1)):
    remaining, learning_rate = iter(factors), optimizer.param_groups[0]["lr"]

    def update(gradient):
        optimizer.zero_grad()
        optimizer.param_groups[0]["lr"] = learning_rate * next(remaining)
        gradient()
        optimizer.step()

    return train(model, update)


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd_is_pytorchs_to_the_last_bit(momentum, nesterov, weight_decay):
    options = {"momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
    model = network()
    found = train_flat(model, Sgd(SgdOptions(**options), model, 0.1))
    model = network()
    expected = train_pytorch(
        model, torch.optim.SGD(model.parameters(), lr=0.1, foreach=False, **options)
    )
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adamw_is_pytorchs_to_the_last_bit(weight_decay):
    model = network()
    found = train_flat(
        model,
        Adamw(
            AdamwOptions(
                name="adamw", beta1=0.8, beta2=0.99, epsilon=1e-6, weight_decay=weight_decay
            ),
            model,
            0.01,
        ),
    )
    model = network()
    reference = torch.optim.AdamW(
        model.parameters(),
        lr=0.01,
        betas=(0.8, 0.99),
        eps=1e-6,
        weight_decay=weight_decay,
        foreach=False,
        fused=False,
    )
    assert all(map(torch.equal, found, train_pytorch(model, reference)))


@pytest.mark.parametrize("kind", ["sgd", "momentum", "adamw"])
def test_state_goes_on_and_is_not_changed_by_going_on(kind):
    model = network()
    if kind == "adamw":
        optimizer = Adamw(AdamwOptions(name="adamw", weight_decay=0.0), model, 0.1)
    else:
        optimizer = Sgd(SgdOptions(momentum=0.9 if kind == "momentum" else 0.0), model, 0.1)
    flat = optimizer.parameters
    train_flat(model, optimizer)
    values, state = flat.values.clone(), copy_nested(optimizer.state())
    first = train_flat(model, optimizer)
    flat.values.copy_(values)
    optimizer.load_state(state)
    assert all(map(torch.equal, train_flat(model, optimizer), first))
    flat.values.copy_(values)
    optimizer.load_state(state)
    assert all(map(torch.equal, train_flat(model, optimizer), first))
