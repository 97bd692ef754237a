import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from orchestrator.errors import ImportPathError, UserError
from orchestrator.study.training_options import LossOptions
from orchestrator.training.losses import Loss, build_loss, loss_of_module
from tests.training.cases import HERE

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 3.0]], dtype=torch.float64)
LABELS = torch.tensor([0, 1])


def loss(options) -> Loss:
    return build_loss(TypeAdapter(LossOptions).validate_python(options))


def per_example(options) -> list[float]:
    return loss(options).per_example(LOGITS, LABELS).tolist()


def test_cross_entropy_equals_the_value_worked_out_by_hand():
    expected = [
        math.log(math.exp(2) + math.exp(-1) + math.exp(0.5)) - 2,
        math.log(1 + 1 + math.exp(3)) - 0,
    ]
    assert per_example("cross_entropy") == pytest.approx(expected, rel=1e-14)


@given(st.floats(0, 0.99))
def test_label_smoothing_mixes_the_label_with_the_uniform_distribution(smoothing):
    log_p = LOGITS.log_softmax(1)
    target = (1 - smoothing) * F.one_hot(LABELS, 3).double() + smoothing / 3
    expected = (-(target * log_p).sum(1)).tolist()
    found = per_example({"name": "cross_entropy", "label_smoothing": smoothing})
    assert found == pytest.approx(expected, rel=1e-12)


def test_mse_equals_the_value_worked_out_by_hand():
    expected = [((2 - 1) ** 2 + 1 + 0.25) / 3, (0 + 1 + 9) / 3]
    assert per_example("mse") == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("margin", [0.5, 1.0, 4.0])
def test_multi_margin_equals_brute_force(p, margin):
    expected = []
    for logits, label in zip(LOGITS.tolist(), LABELS.tolist(), strict=True):
        others = [z for j, z in enumerate(logits) if j != label]
        expected.append(sum(max(0, margin - logits[label] + z) ** p for z in others) / 3)
    found = per_example({"name": "multi_margin", "margin": margin, "p": p})
    assert found == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    "options",
    [
        "cross_entropy",
        {"name": "cross_entropy", "label_smoothing": 0.1},
        "mse",
        {"name": "multi_margin", "p": 2},
        f"{HERE}:hinge",
    ],
)
def test_a_loss_is_the_mean_over_its_examples(options):
    built = loss(options)
    mean = built(LOGITS, LABELS)
    assert mean.shape == ()
    assert mean.item() == pytest.approx(built.per_example(LOGITS, LABELS).mean().item(), rel=1e-14)


def test_a_custom_loss_receives_its_arguments():
    assert per_example({"name": f"{HERE}:hinge", "width": 3.0}) == [1.0, 3.0]


def test_a_custom_loss_must_return_one_value_per_example():
    with pytest.raises(UserError, match=r"averaged.*returned \(\), expected .* shape \(2,\)"):
        loss(f"{HERE}:averaged")(LOGITS, LABELS)


def test_a_custom_loss_must_exist():
    with pytest.raises(ImportPathError, match="did you mean 'hinge'"):
        loss(f"{HERE}:hing")


@pytest.mark.parametrize(
    ("name", "arguments", "function"),
    [
        ("torch.nn:CrossEntropyLoss", {"label_smoothing": 0.1}, F.cross_entropy),
        ("torch.nn:MultiMarginLoss", {"margin": 2.0}, F.multi_margin_loss),
        ("torch.nn:NLLLoss", {}, F.nll_loss),
    ],
)
def test_a_module_class_can_be_a_loss(name, arguments, function):
    given = loss({"name": name, **arguments})
    logits = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 1, 0])
    expected = function(logits, labels, reduction="none", **arguments)
    torch.testing.assert_close(given.per_example(logits, labels), expected)
    torch.testing.assert_close(given(logits, labels), expected.mean())


def test_a_loss_class_that_cannot_be_constructed_is_explained():
    with pytest.raises(UserError, match=r"CrossEntropyLoss.*called with smoothing"):
        loss({"name": "torch.nn:CrossEntropyLoss", "smoothing": 0.1})


def test_a_loss_converts_its_weights_to_the_type_of_the_logits():
    module = torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]))
    logits, labels = torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 2])
    found = loss_of_module(module).per_example(logits, labels)
    torch.testing.assert_close(
        found, F.cross_entropy(logits, labels, weight=module.weight.double(), reduction="none")
    )
    assert (module.reduction, module.weight.dtype) == ("mean", torch.float32)
