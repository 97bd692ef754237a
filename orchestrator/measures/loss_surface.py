"""The loss of a network on data, as a function of its parameters, and its derivatives."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any, Self, TypeVar, cast, get_args

import torch
from torch import Tensor, nn

from orchestrator.data.dataset import Dataset, Split
from orchestrator.errors import MeasureError
from orchestrator.measures.derivatives import gradients
from orchestrator.measures.double_backward import DoubleBackward
from orchestrator.measures.kernels import differentiable_kernels, needs_plain_operations
from orchestrator.measures.layer_rules.layer_network import LayerNetwork
from orchestrator.measures.layer_rules.network_pass import NetworkPass
from orchestrator.measures.layer_rules.verified_network import verified_network
from orchestrator.measures.measured_data import MeasuredData
from orchestrator.measures.memory import graph_bytes_per_example, is_out_of_memory
from orchestrator.measures.network import MeasuredNetwork, in_precision
from orchestrator.measures.network_state import unchanged
from orchestrator.measures.precise_loss import PerExampleLoss, precise_loss
from orchestrator.measures.symmetric_operator import SymmetricOperator
from orchestrator.measures.trust.fit import require_fitting
from orchestrator.training.process_guard import left_as_found

T = TypeVar("T")

GRAPH_BYTES = 2**29
"""Maximum memory for differentiated passes kept between products."""
_FEW = 16


class LossSurface:
    """L(θ), the mean loss over the measured examples of a split, with everything derived from it.

    The network is copied, put into eval mode and converted to ``dtype``; the caller's network is
    never modified. The loss does not depend on the division of examples into passes. Flat vectors
    concatenate the trainable parameters in the order of ``parameters``. Derivatives for a
    parameter that the logits do not depend on are zero. Measures get a
    :class:`~orchestrator.measures.context.MeasureContext`, which adds random numbers.

    Args:
        model: Maps inputs ``(n, *input_shape)`` to logits ``(n, classes)``.
        dataset: Train and test split.
        loss: Loss the network was trained with.
        device: Device to compute on.
        dtype: Precision to compute in, ``torch.float64`` or ``torch.float32``.
        examples: Number of measured examples per split, a stratified subset that is the same
            for every network of that data set; all by default.
        examples_per_pass: Maximum number of examples per forward or backward pass; limits memory.

    Attributes:
        model: The copy, in eval mode.
        parameters: Trainable parameters by name; tied parameters appear once.
        data: The measured examples.
        loss: The loss per example.

    Raises:
        MeasureError: If a split has no examples, the network has no trainable parameters, or
            labels and logits do not match the classes.
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        loss: PerExampleLoss,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float64,
        examples: int | None = None,
        examples_per_pass: int = 1000,
    ) -> None:
        self.device = torch.device(device)
        self.dtype = dtype
        self.loss = precise_loss(loss)
        self.classes = dataset.classes
        self.data = MeasuredData(
            dataset,
            device=self.device,
            dtype=dtype,
            examples=examples,
            examples_per_pass=examples_per_pass,
        )
        self._use_copy_of(model)
        if not self.parameters:
            raise MeasureError("the network has no trainable parameters to measure")
        self._shared: dict[Hashable, Any] = {}
        self._keep_graphs = True
        with left_as_found(functions=False), unchanged(self.model):
            few = in_precision(self.data("train")[0][:2], dtype)
            self._plain_operations = needs_plain_operations(self.model, self.device, few)
            labels = {split: self.data.labels(split) for split in get_args(Split)}
            inputs, _ = next(self.data.batches("train"))
            require_fitting(self.classes, labels, inputs, self.forward)

    def _use_copy_of(self, model: nn.Module) -> None:
        """Set the network to a copy of ``model`` in ``dtype``."""
        sample = self.data("train")[0][:2]
        self._network = MeasuredNetwork(model, self.device, self.dtype, sample)
        self.model = self._network.module
        self.parameters: dict[str, nn.Parameter] = {
            name: parameter
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad
        }

    @property
    def n_parameters(self) -> int:
        """Number of trainable scalars, the length of every flat vector."""
        return sum(parameter.numel() for parameter in self.parameters.values())

    @property
    def logits_dtype(self) -> torch.dtype:
        """Precision of the logits; ``dtype`` unless the network casts them."""
        return self._network.logits_dtype()

    def shared(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return the shared result for ``key``, computing it on the first call only.

        Args:
            key: Identifier of the result among all shared results of this snapshot.
            compute: Function that computes the result; called at most once per key.
        """
        if key not in self._shared:
            self._shared[key] = compute()
        return cast(T, self._shared[key])

    def release(self, key: Hashable) -> None:
        """Drop the cached value for ``key``; the next use recomputes it."""
        self._shared.pop(key, None)

    def shrink_passes(self) -> bool:
        """Quarter the examples per pass and drop shared results after running out of memory.

        From then on gradient graphs are built pass by pass and never kept.

        Returns:
            False, without any change, if passes already consist of single examples.
        """
        if not self.data.shrink_passes():
            return False
        self._keep_graphs = False
        self._shared.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return True

    def forward(self, inputs: Tensor, parameters: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return differentiable logits ``(n, classes)`` of ``inputs``.

        Args:
            inputs: Shape ``(n, *input_shape)``, in ``dtype`` unless integers; not modified.
            parameters: Values that replace the network's own, by name.

        Raises:
            MeasureError: If the network does not return a matrix with one row per example.
        """
        with differentiable_kernels(self.model, self.device, plain=self._plain_operations):
            logits = self._network(inputs, parameters)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(inputs):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise MeasureError(
                f"the network must map {len(inputs)} examples to logits of shape "
                f"({len(inputs)}, classes), got {got}"
            )
        return logits

    def logits(self, split: Split) -> Tensor:
        """Return the logits of all measured examples, shape ``(n, classes)``, without graph."""

        def compute() -> Tensor:
            with torch.no_grad():
                return torch.cat([self.forward(x) for x, _ in self.data.batches(split)])

        return self.shared(("logits", split), compute)

    def loss_value(self, split: Split) -> float:
        """Return the mean loss over ``split``, computed from the shared logits."""

        def compute() -> float:
            total = 0.0
            for z, y in self.data.in_passes(self.logits(split), self.data.labels(split)):
                total += self.loss.per_example(z, y).sum(dtype=torch.float64).item()
            return total / self.data.n_examples(split)

        return self.shared(("loss_value", split), compute)

    def loss_at(self, displacement: Tensor, split: Split = "train") -> float:
        """Return the mean loss at displaced parameters, L(θ + δ).

        Args:
            displacement: Flat vector δ of length ``n_parameters``.
            split: Split of the examples.
        """
        moved = {
            name: parameter.detach() + delta
            for (name, parameter), delta in zip(
                self.parameters.items(), self.unflatten(displacement), strict=True
            )
        }
        total = 0.0
        with torch.no_grad():
            for x, y in self.data.batches(split):
                per_example = self.loss.per_example(self.forward(x, moved), y)
                total += per_example.sum(dtype=torch.float64).item()
        return total / self.data.n_examples(split)

    def gradient(self, split: Split) -> Tensor:
        """Return the flat gradient of the mean loss over ``split``, shape ``(n_parameters,)``."""

        def compute() -> Tensor:
            total = torch.zeros(self.n_parameters, dtype=self.dtype, device=self.device)
            if split == "train" and (self._kept_passes() or self.layer_network()):
                for one in self.training_passes():
                    total += one.gradient
                if bool(total.isfinite().all()):
                    return total
                total.zero_()
            for x, y in self.data.batches(split):
                with torch.enable_grad():
                    loss = self._share_of_loss(x, y, split)
                    total += self.flatten(gradients([loss], None, self._tensors()))
            return total

        return self.shared(("gradient", split), compute)

    @property
    def hessian(self) -> SymmetricOperator:
        """H of the mean training loss, an operator whose products are exact: ``hessian @ V``."""
        return SymmetricOperator(
            self.hessian_vector_product,
            self.n_parameters,
            self.dtype,
            self.device,
            rows=self.hessian_products,
        )

    def hessian_in(self, dtype: torch.dtype) -> SymmetricOperator:
        """Return H of the mean training loss, with products computed in another precision.

        In float32, a product takes about half the time of one in float64 and has a relative error
        of about 1e-6, more for confident networks: not for values that are reported as exact. The
        converted copy of the network is shared by all calls.

        Args:
            dtype: Precision of the vectors and the products, ``torch.float64`` or
                ``torch.float32``.

        Raises:
            MeasureError: If the network does not run in that precision.
        """
        if dtype == self.dtype:
            return self.hessian
        surface = self.shared(("surface", dtype), lambda: self._converted(dtype))
        surface.data.pairs = self.data.pairs  # Users' measures get copies that are replaced.
        return surface.hessian

    def _converted(self, dtype: torch.dtype) -> Self:
        """Return a surface of the same network and examples in another precision."""
        other = copy(self)
        other.dtype, other.data, other._shared = dtype, self.data.in_dtype(dtype), {}
        other._use_copy_of(self.model)
        inputs = in_precision(self.data("train")[0][:2], dtype)
        try:
            with torch.no_grad():
                logits = other.forward(inputs)
        except (RuntimeError, TypeError) as error:
            if isinstance(error, torch.AcceleratorError) or is_out_of_memory(error):
                raise
            raise MeasureError(f"the network does not run in {dtype}: {error}") from error
        if logits.dtype != dtype:
            raise MeasureError(f"the network computes {logits.dtype} from inputs in {dtype}")
        return other

    def hessian_vector_product(self, vector: Tensor) -> Tensor:
        """Return the exact H v of the mean training loss for one flat vector, detached.

        Raises:
            MeasureError: As :meth:`hessian_products`, or for other shapes.
        """
        self.unflatten(vector)  # Refuses other shapes.
        return self.hessian_products(vector[None])[0]

    def hessian_products(self, rows: Tensor) -> Tensor:
        """Return the exact H v of the mean training loss for each row v of ``rows``.

        Networks whose layers all have rules (``layer_network``) are differentiated layer by layer,
        several rows together; all others by ∇⟨∇L, v⟩, one row at a time. A row's product depends
        on the other rows by rounding only, and not at all without rules. What does not depend on v
        is computed once and kept if it takes at most ``GRAPH_BYTES`` or one pass is enough.
        Otherwise it is recomputed pass by pass, to the same bits.

        Args:
            rows: Shape ``(k, n_parameters)``.

        Returns:
            The same shape, detached.

        Raises:
            MeasureError: If an operation of the network or the loss has no second derivative.
        """
        products = torch.zeros_like(rows)
        for one in self.training_passes():
            products += one.hessian(rows)
        if self.layer_network() is not None and not bool(products.isfinite().all()):
            products.zero_()  # Rules multiply by zeros what a network leaves out.
            for one in self._passes(None):
                products += one.hessian(rows)
        return products

    def layer_network(self) -> LayerNetwork | None:
        """Return the network as layers that all have rules, if it is known and verified."""

        def compute() -> LayerNetwork | None:
            x, y = next(self.data.batches("train"))
            if self._plain_operations or not x.is_floating_point():
                return None
            return verified_network(self.model, self.parameters, self.loss, self.forward, x, y)

        return self.shared("layer_network", compute)

    def training_passes(self) -> Iterable[NetworkPass | DoubleBackward]:
        """Return the differentiated passes of the training examples, whose products add up.

        They are instances of ``NetworkPass`` if there is a :meth:`layer_network`.
        """
        kept = self._kept_passes()
        return self._passes(self.layer_network()) if kept is None else kept

    def _kept_passes(self) -> list[NetworkPass | DoubleBackward] | None:
        """Return the differentiated passes; None if too large to keep."""

        def compute() -> list[NetworkPass | DoubleBackward] | None:
            if not self._keep_graphs:
                return None
            n, network = self.data.n_examples("train"), self.layer_network()
            if n > self.data.examples_per_pass:
                x, y = next(self.data.batches("train"))
                if network is not None:
                    few = min(len(y), _FEW)
                    needed = NetworkPass(network, x[:few], y[:few], self.loss, n).kept_bytes / few
                else:
                    needed = graph_bytes_per_example(self._double_backward, x, y)
                if n * needed > GRAPH_BYTES:
                    return None
            return list(self._passes(network))

        return self.shared("gradient_graph", compute)

    def _passes(self, network: LayerNetwork | None) -> Iterator[NetworkPass | DoubleBackward]:
        """Yield each training pass, by rules of layers or with the graph of its gradient."""
        n = self.data.n_examples("train")
        for x, y in self.data.batches("train"):
            if network is None:
                yield self._double_backward(x, y)
            else:
                yield NetworkPass(network, x, y, self.loss, n)

    def _double_backward(self, x: Tensor, y: Tensor) -> DoubleBackward:
        with torch.enable_grad():
            return DoubleBackward(self._share_of_loss(x, y, "train"), self._tensors())

    def _share_of_loss(self, x: Tensor, y: Tensor, split: Split) -> Tensor:
        """Return a pass's contribution to the mean loss over the split, with its graph."""
        return self.loss.per_example(self.forward(x), y).sum() / self.data.n_examples(split)

    def _tensors(self) -> list[Tensor]:
        return list(self.parameters.values())

    def parameter_vector(self) -> Tensor:
        """Return the parameters θ as one detached flat vector."""
        return self.flatten([parameter.detach() for parameter in self._tensors()])

    def flatten(self, tensors: Sequence[Tensor]) -> Tensor:
        """Concatenate one tensor per parameter into a flat vector."""
        return torch.cat([tensor.reshape(-1) for tensor in tensors])

    def unflatten(self, vector: Tensor) -> list[Tensor]:
        """Split a flat vector into views with the parameters' shapes.

        Raises:
            MeasureError: If its length is not ``n_parameters``.
        """
        if vector.shape != (self.n_parameters,):
            raise MeasureError(
                f"a flat vector over the parameters must have shape ({self.n_parameters},), "
                f"got {tuple(vector.shape)}"
            )
        parts = torch.split(vector, [parameter.numel() for parameter in self._tensors()])
        return [part.view_as(p) for part, p in zip(parts, self._tensors(), strict=True)]
