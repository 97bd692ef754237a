"""The user's own optimizer: any subclass of ``torch.optim.Optimizer``."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from orchestrator.errors import UserError, named_error
from orchestrator.study.import_path import own_code, resolve_import_path
from orchestrator.study.training_options import CustomOptimizer
from orchestrator.training.flat_parameters import trainable_parameters
from orchestrator.training.nested import copy_nested
from orchestrator.training.optimizers.base import Gradient, Optimizer


class UserOptimizer(Optimizer):
    """An optimizer created by calling an import path with the parameters and the learning rate.

    Its ``step`` gets a closure that computes loss and gradients, as PyTorch defines it. The
    learning rate of every parameter group follows the schedule. State that the optimizer keeps
    between updates must be in its ``state_dict``.

    Raises:
        ImportPathError: If it cannot be imported.
        UserError: If it raises, or returns anything but an optimizer.
    """

    def __init__(self, options: CustomOptimizer, model: nn.Module, learning_rate: float) -> None:
        create = resolve_import_path(options.name, kind="optimizers")
        self.values = trainable_parameters(model)
        where = f"optimizer {options.name!r}"
        try:
            with own_code():
                made = create(self.values, lr=learning_rate, **options.arguments)
        except Exception as error:
            given = ", ".join(["parameters", "lr", *options.arguments])
            raise UserError(
                f"{where}: raised {named_error(error)} (called with {given})"
            ) from error
        if not isinstance(made, torch.optim.Optimizer):
            raise UserError(
                f"{where}: returned a {type(made).__name__}, expected a torch.optim.Optimizer"
            )
        self._optimizer = made
        self._learning_rates = [group["lr"] for group in made.param_groups]

    def zero_gradients(self) -> None:
        """Clear the gradients of the previous update."""
        for value in self.values:
            value.grad = None

    def update(self, gradient: Gradient, factor: float) -> None:
        """Make one update, passing the gradient as a closure."""
        groups = self._optimizer.param_groups
        for group, learning_rate in zip(groups, self._learning_rates, strict=True):
            group["lr"] = learning_rate * factor
        self._optimizer.step(gradient)  # type: ignore[arg-type]

    def state(self) -> dict[str, Any]:
        """Return the optimizer's state dict."""
        return self._optimizer.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        """Load the optimizer's state dict."""
        # PyTorch would keep modifying the tensors it is given.
        self._optimizer.load_state_dict(copy_nested(state))
