from __future__ import annotations

import pytest
import torch
from torch import nn

from orchestrator.errors import ModelError
from orchestrator.models.wrappers import named_as, refuse_scripted, unwrapped
from tests.measures.odd_networks import WRAPPED, Pair, some


@pytest.mark.parametrize("pair", some(WRAPPED))
def test_states_of_wrapped_networks_load_into_the_network_inside(pair: Pair) -> None:
    wrapped, plain = pair.models()
    state = wrapped.state_dict()
    inside = unwrapped(wrapped)
    assert not [m for m in inside.modules() if "torch._dynamo" in type(m).__module__]
    assert inside.state_dict().keys() == plain.state_dict().keys()
    found = named_as(inside.state_dict(), state)
    assert found.keys() == plain.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in plain.state_dict().items())


def test_states_of_other_networks_keep_their_names() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    assert named_as(model.state_dict(), {"module.1.weight": torch.ones(1)}).keys() == {
        "module.1.weight"
    }


def test_a_submodule_called_module_is_not_taken_for_a_wrapper() -> None:
    model = nn.Sequential()
    model.module = nn.Linear(2, 2)
    assert named_as(model.state_dict(), model.state_dict()).keys() == model.state_dict().keys()


def test_submodules_compiled_by_jit_are_refused() -> None:
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        scripted = torch.jit.script(nn.Linear(2, 2))
    refuse_scripted(nn.Sequential(nn.Linear(2, 2)), "it")
    for model, part in ((scripted, "it"), (nn.Sequential(nn.ReLU(), scripted), "its part '1'")):
        with pytest.raises(ModelError, match=rf"^it: {part} is a \w+, compiled by torch.jit"):
            refuse_scripted(model, "it")
