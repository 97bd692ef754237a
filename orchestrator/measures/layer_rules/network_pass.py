"""Products of Hessian and Gauss-Newton matrix with several vectors, on one pass of examples.

Hessian-vector products differentiate the gradient's own computation along a vector (Pearlmutter
1994, 10.1162/neco.1994.6.1.147). Everything that does not depend on the vector, activations and
gradients at each layer, is computed once and kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, fx

from orchestrator.errors import MeasureError
from orchestrator.measures.curvature.loss_hessian import loss_hessian_product
from orchestrator.measures.derivatives import gradients
from orchestrator.measures.layer_rules.layer_call import Parts
from orchestrator.measures.layer_rules.layer_network import LayerNetwork
from orchestrator.measures.precise_loss import PerExampleLoss
from orchestrator.measures.shared_results import version

BLOCK_BYTES = 2**26
"""Maximum memory of the tangents of directions that are multiplied together, about."""


class NetworkPass:
    """One pass of examples through a network, differentiated layer by layer.

    All results are contributions to means over a split: sums over the pass, divided by ``n``.

    Args:
        network: The network.
        inputs: Shape ``(examples, *input_shape)``; not modified.
        labels: Shape ``(examples,)``.
        loss: Loss of each example.
        n: Number of examples of the split.

    Attributes:
        gradient: Flat gradient of the mean loss, shape ``(n_parameters,)``.
        kept_bytes: Memory that the pass occupies, about.

    Raises:
        UnknownLayerError: If a layer's rule does not apply.
        MeasureError: If the loss has no derivative.
    """

    def __init__(
        self,
        network: LayerNetwork,
        inputs: Tensor,
        labels: Tensor,
        loss: PerExampleLoss,
        n: int,
    ) -> None:
        self._shapes, self._labels, self._loss, self._n = network.shapes, labels, loss, n
        with torch.no_grad():
            self._steps, self._output, self.logits = network.run(inputs)
            logits = self.logits.detach().requires_grad_()
            with torch.enable_grad():
                (arriving,) = gradients(
                    [loss.per_example(logits, labels).sum() / n], None, [logits]
                )
            rows = arriving.new_zeros(1, sum(shape.numel() for shape in network.shapes))
            reached = self._pull_back(arriving[None], self._parts(rows), first=True)
        self._steps = [step for step in self._steps if step.node in reached]
        self._weights, self._versions = network.weights, _versions(network.weights)
        self.gradient = rows[0]
        self.kept_bytes = sum(step.call.kept_bytes for step in self._steps)

    def hessian(self, rows: Tensor) -> Tensor:
        """Return H v for each row v of ``rows``, shape ``(k, n_parameters)``.

        Raises:
            MeasureError: If the network's weights have changed.
        """
        return self._products(rows, curved=True)

    def gauss_newton(self, rows: Tensor) -> Tensor:
        """Return G v for each row v of ``rows``, shape ``(k, n_parameters)``.

        Raises:
            MeasureError: If the network's weights have changed.
        """
        return self._products(rows, curved=False)

    @torch.no_grad()
    def _products(self, rows: Tensor, *, curved: bool) -> Tensor:
        if _versions(self._weights) != self._versions:
            raise MeasureError(
                "the network's weights have changed since its passes were differentiated",
                "move the weights of a copy, as a LossSurface of its own",
            )
        products = torch.zeros_like(rows)
        together = max(1, BLOCK_BYTES // max(1, self.kept_bytes))
        for block, into in zip(*(torch.split(t, together) for t in (rows, products)), strict=True):
            directions, sums = self._parts(block), self._parts(into)
            changes: dict[fx.Node, Tensor] = {}
            for node, inputs, call in self._steps:
                changes[node] = call.tangent([changes.get(place) for place in inputs], directions)
            change = changes[self._output]
            arriving = loss_hessian_product(self._loss, self.logits, self._labels, change) / self._n
            self._pull_back(
                arriving, sums, directions=directions, changes=changes if curved else None
            )
        return products

    def _pull_back(
        self,
        delta: Tensor,
        gradients: Parts,
        *,
        directions: Parts = (),
        changes: dict[fx.Node, Tensor] | None = None,
        first: bool = False,
    ) -> set[fx.Node]:
        """Propagate gradients at the logits to all parameters; return the layers they reach.

        Args:
            delta: Shape ``(k, examples, classes)``.
            gradients: Receives the sums.
            directions: Of the tangents.
            changes: Tangents of the activations; None if ``delta`` itself is the only change.
            first: Whether ``delta`` is the gradient of the loss, which layers note.
        """
        arriving = {self._output: delta}
        reached = set()
        for node, inputs, call in reversed(self._steps):
            delta_here = arriving.pop(node, None)
            if delta_here is None:
                continue
            reached.add(node)
            if first:
                call.arrive(delta_here[0])
            terms = [call.transposed(delta_here, gradients)]
            if changes is not None:
                del changes[node]  # All calls that use it are done.
                tangents = [changes.get(place) for place in inputs]
                terms += [found] if (found := call.second(tangents, directions, gradients)) else []
            for parts in terms:
                for place, needed, part in zip(inputs, call.needed, parts, strict=True):
                    if needed and part is not None:
                        before = arriving.get(place)
                        arriving[place] = part if before is None else before + part
        return reached

    def _parts(self, rows: Tensor) -> list[Tensor]:
        """Return views of ``(k, n_parameters)`` by parameter, each ``(k, *shape)``."""
        parts = torch.split(rows, [shape.numel() for shape in self._shapes], dim=1)
        return [
            part.view(len(rows), *shape) for part, shape in zip(parts, self._shapes, strict=True)
        ]


def _versions(tensors: Sequence[Tensor]) -> list[int]:
    return [version(tensor) for tensor in tensors]
