import pytest
from pydantic import TypeAdapter
from torch import nn

from orchestrator.study.training_options import OptimizerOptions
from orchestrator.training.optimizers import build_optimizer
from orchestrator.training.optimizers.adamw import Adamw
from orchestrator.training.optimizers.asam import Asam
from orchestrator.training.optimizers.custom_optimizer import UserOptimizer
from orchestrator.training.optimizers.sam import Sam
from orchestrator.training.optimizers.sgd import Sgd


def built(**options):
    validated = TypeAdapter(OptimizerOptions).validate_python(options)
    return build_optimizer(validated, nn.Linear(3, 2), 0.25)


def test_sgd():
    made = built(name="sgd", momentum=0.9, nesterov=True, weight_decay=0.01)
    assert type(made) is Sgd
    assert (made.learning_rate, made.momentum, made.nesterov, made.weight_decay) == (
        0.25,
        0.9,
        True,
        0.01,
    )


def test_adamw():
    made = built(name="adamw", beta1=0.8, beta2=0.9, epsilon=1e-4, weight_decay=0.02)
    assert type(made) is Adamw
    assert (made.learning_rate, made.beta1, made.beta2) == (0.25, 0.8, 0.9)
    assert (made.epsilon, made.weight_decay) == (1e-4, 0.02)


@pytest.mark.parametrize(("name", "kind"), [("sam", Sam), ("asam", Asam)])
def test_sam_and_asam(name, kind):
    options = {"eta": 0.02} if name == "asam" else {}
    made = built(name=name, rho=0.3, momentum=0.5, nesterov=True, weight_decay=0.03, **options)
    assert type(made) is kind
    assert (made.rho, getattr(made, "eta", None)) == (0.3, options.get("eta"))
    assert (made.base.learning_rate, made.base.momentum, made.base.nesterov) == (0.25, 0.5, True)
    assert made.base.weight_decay == 0.03


def test_own():
    assert type(built(name="torch.optim:RMSprop", alpha=0.9)) is UserOptimizer
