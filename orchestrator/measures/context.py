"""Everything that a measure gets: the loss surface of a network, and its random numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from orchestrator.data.dataset import Dataset
from orchestrator.measures.loss_surface import LossSurface
from orchestrator.measures.precise_loss import PerExampleLoss
from orchestrator.random_streams import stream_seed
from orchestrator.training.update_rule import UpdateRule


class MeasureContext(LossSurface):
    """One network and its data, with all results that measures share.

    It is the network's :class:`~orchestrator.measures.loss_surface.LossSurface` (``model``,
    ``forward``, ``logits``, ``gradient``, ``hessian`` …), with the examples in ``data``. It adds
    random numbers, and facts of the training that some measures need.

    Args:
        model: Maps inputs ``(n, *input_shape)`` to logits ``(n, classes)``.
        dataset: Train and test split.
        loss: Loss the network was trained with.
        seed: Seed of the probes (:meth:`generator`). A study uses 0 for every snapshot of every
            trial, so that probes cause no differences between snapshots.
        trial_seed: Seed of the trial, for random numbers that differ between trials
            (:meth:`trial_generator`).
        initial_state: State of the network before training, by parameter name.
        update_rule: Rule of the last gradient-descent update; None for other optimizers.
        **settings: ``device``, ``dtype``, ``examples`` and ``examples_per_pass`` of the surface.

    Raises:
        MeasureError: As the surface.
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        loss: PerExampleLoss,
        *,
        seed: int = 0,
        trial_seed: int = 0,
        initial_state: Mapping[str, Tensor] | None = None,
        update_rule: UpdateRule | None = None,
        **settings: Any,
    ) -> None:
        self.seed = seed
        self.trial_seed = trial_seed
        self.initial_state = initial_state
        self.update_rule = update_rule
        super().__init__(model, dataset, loss, **settings)

    def generator(self, purpose: str, *keys: str | int) -> torch.Generator:
        """Return a CPU generator for ``purpose``, the same for all snapshots of all trials."""
        return torch.Generator().manual_seed(stream_seed(self.seed, purpose, *keys))

    def trial_generator(self, purpose: str, *keys: str | int) -> torch.Generator:
        """Return a CPU generator for ``purpose``, shared by a trial's snapshots only.

        Its numbers are independent of those of training and also depend on the probes' seed.
        """
        keys = (self.seed, purpose, *keys)
        return torch.Generator().manual_seed(stream_seed(self.trial_seed, "own_measure", *keys))

    def probe(
        self, index: int, distribution: Literal["rademacher", "gaussian"] = "rademacher"
    ) -> Tensor:
        """Return random flat vector number ``index``, with independent entries of variance 1.

        It depends only on the probes' seed, the index, the distribution and ``n_parameters``.
        It is therefore the same at every checkpoint (common random numbers) and, up to rounding,
        on every device and in every precision.
        """
        generator = self.generator("probes", distribution, index)
        if distribution == "rademacher":
            bits = torch.randint(0, 2, (self.n_parameters,), generator=generator)
            vector = bits.to(torch.float64) * 2 - 1
        else:
            vector = torch.randn(self.n_parameters, generator=generator, dtype=torch.float64)
        return vector.to(device=self.device, dtype=self.dtype)
