import pytest
import torch
from torch import nn

from orchestrator.errors import ImportPathError, UserError
from orchestrator.study.training_options import CustomOptimizer
from orchestrator.training.nested import copy_nested
from orchestrator.training.optimizers.custom_optimizer import UserOptimizer
from tests.training.cases import HERE

INPUTS = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))


def network():
    model = nn.Linear(3, 2, bias=False)
    nn.init.constant_(model.weight, 0.5)
    return model


def user_optimizer(model, name="torch.optim:Adagrad", **arguments):
    return UserOptimizer(CustomOptimizer(name=name, **arguments), model, 0.2)


def gradient_of(model, optimizer):
    def gradient():
        optimizer.zero_gradients()
        loss = model(INPUTS).square().mean()
        loss.backward()
        return loss

    return gradient


def test_it_is_called_as_pytorch_would():
    model, reference = network(), network()
    optimizer = user_optimizer(model, lr_decay=0.1)
    plain = torch.optim.Adagrad(reference.parameters(), lr=0.2, lr_decay=0.1)
    for factor in (1.0, 0.5, 0.5):
        optimizer.update(gradient_of(model, optimizer), factor)
        plain.param_groups[0]["lr"] = 0.2 * factor
        plain.zero_grad()
        reference(INPUTS).square().mean().backward()
        plain.step()
    assert torch.equal(model.weight, reference.weight)


def test_one_that_computes_several_gradients_per_update():
    model = network()
    optimizer = user_optimizer(model, "torch.optim:LBFGS", max_iter=20)
    before = gradient_of(model, optimizer)().item()
    optimizer.update(gradient_of(model, optimizer), 1.0)
    assert gradient_of(model, optimizer)().item() < 0.01 * before


def test_going_on_leaves_the_state_as_it_was():
    model = network()
    optimizer = user_optimizer(model)
    optimizer.update(gradient_of(model, optimizer), 1.0)
    state, values = copy_nested(optimizer.state()), model.weight.detach().clone()
    results = []
    for _ in range(3):
        optimizer.load_state(state)
        with torch.no_grad():
            model.weight.copy_(values)
        optimizer.update(gradient_of(model, optimizer), 1.0)
        results.append(model.weight.detach().clone())
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert not torch.equal(results[0], values)


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("torch.optim:Adagrad", {"speed": 3}, UserError, "Adagrad.*TypeError.*speed"),
        (f"{HERE}:no_optimizer", {}, UserError, "returned a str, expected a torch.optim"),
        ("torch.optim:Adagrid", {}, ImportPathError, "did you mean 'Adagrad'"),
    ],
)
def test_mistakes(name, arguments, error, message):
    with pytest.raises(error, match=message):
        user_optimizer(network(), name, **arguments)
