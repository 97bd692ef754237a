from __future__ import annotations

import pytest
from torch import nn

from orchestrator.models import build_model
from orchestrator.models.input_writers import may_write_into_inputs
from orchestrator.study.model_options import CnnOptions, MlpOptions, ResnetOptions, VggOptions
from tests.measures.odd_networks import DATA_WRITER, WRITERS, seeded


@pytest.mark.parametrize(
    "options",
    [
        MlpOptions(name="mlp"),
        CnnOptions(name="cnn"),
        ResnetOptions(name="resnet"),
        VggOptions(name="vgg"),
    ],
    ids=lambda options: options.name,
)
def test_built_in_networks_need_no_copies_of_inputs(options) -> None:
    assert not may_write_into_inputs(build_model(options, (1, 32, 32), 3, 0))


@pytest.mark.parametrize("pair", [*WRITERS, DATA_WRITER], ids=lambda pair: pair.name)
def test_networks_that_write_into_inputs_are_recognized(pair) -> None:
    assert may_write_into_inputs(seeded(pair.odd))


def test_hooks_count_as_possible_writers() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    assert not may_write_into_inputs(model)
    handle = model[0].register_forward_pre_hook(lambda module, inputs: None)
    assert may_write_into_inputs(model)
    handle.remove()
    handle = nn.modules.module.register_module_forward_pre_hook(lambda module, inputs: None)
    try:
        assert may_write_into_inputs(model)
    finally:
        handle.remove()
    model[0].forward = model[0].forward
    assert may_write_into_inputs(model)
