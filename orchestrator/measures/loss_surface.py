"""The loss of a network on data, as a function of its parameters, and its derivatives."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any, Self, TypeVar, cast, get_args

import torch
from torch import Tensor, nn

from orchestrator.data.dataset import Dataset, Split
from orchestrator.errors import MeasureError
from orchestrator.measures.derivatives import gradients, require_second_derivatives
from orchestrator.measures.kernels import differentiable_kernels, needs_plain_operations
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
"""Maximum memory for training-gradient graphs kept between products."""


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
            graphs = self._gradient_graphs() if split == "train" else None
            for gradient in graphs or self._pass_gradients(split, create_graph=False):
                total += self.flatten([part.detach() for part in gradient])
            return total

        return self.shared(("gradient", split), compute)

    @property
    def hessian(self) -> SymmetricOperator:
        """H of the mean training loss, an operator whose products are exact: ``hessian @ v``."""
        return SymmetricOperator(
            self.hessian_vector_product, self.n_parameters, self.dtype, self.device
        )

    def hessian_in(self, dtype: torch.dtype) -> SymmetricOperator:
        """Return H of the mean training loss, with products computed in another precision.

        In float32, a product takes about half the time of one in float64 and has a relative error
        of about 1e-6, more for confident networks. Suitable for iterations whose result is verified
        or corrected in ``self.dtype``; not for values that are reported as exact. The converted
        copy of the network is shared by all calls.

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
        """Return the exact H v of the mean training loss via ∇⟨∇L, v⟩ (Pearlmutter 1994).

        Gradient graphs are built once and kept if they take at most ``GRAPH_BYTES`` or one pass
        is enough. Otherwise they are rebuilt pass by pass, to the same bits.

        Args:
            vector: Flat vector of length ``n_parameters``.

        Returns:
            Flat vector of the same length, detached.

        Raises:
            MeasureError: If an operation of the network or the loss has no second derivative.
        """
        total = torch.zeros_like(vector)
        graphs = self._gradient_graphs()
        for gradient in graphs or self._pass_gradients("train", create_graph=True):
            total += self._differentiate(gradient, vector, retain_graph=graphs is not None)
        return total

    def _gradient_graphs(self) -> list[list[Tensor]] | None:
        """Return each pass's training gradient with its graph; None if too large to keep."""

        def compute() -> list[list[Tensor]] | None:
            n = self.data.n_examples("train")
            if not self._keep_graphs:
                return None
            if n > self.data.examples_per_pass:
                x, y = next(self.data.batches("train"))
                per_example = graph_bytes_per_example(
                    lambda x, y: self._pass_gradient(x, y, n, create_graph=True), x, y
                )
                if n * per_example > GRAPH_BYTES:
                    return None
            return list(self._pass_gradients("train", create_graph=True))

        return self.shared("gradient_graph", compute)

    def _pass_gradients(self, split: Split, *, create_graph: bool) -> Iterator[list[Tensor]]:
        """Yield each pass's contribution to the gradient of the mean over the split."""
        n = self.data.n_examples(split)
        for x, y in self.data.batches(split):
            yield self._pass_gradient(x, y, n, create_graph=create_graph)

    def _pass_gradient(self, x: Tensor, y: Tensor, n: int, *, create_graph: bool) -> list[Tensor]:
        with torch.enable_grad():
            loss = self.loss.per_example(self.forward(x), y).sum() / n
            return gradients([loss], None, self._tensors(), create_graph=create_graph)

    def _differentiate(
        self, gradient: Sequence[Tensor], vector: Tensor, *, retain_graph: bool
    ) -> Tensor:
        self.shared("second_derivatives", lambda: require_second_derivatives(gradient))
        pairs = zip(gradient, self.unflatten(vector), strict=True)
        used = [(g, v) for g, v in pairs if g.requires_grad]
        products = gradients(
            [g for g, _ in used], [v for _, v in used], self._tensors(), retain_graph=retain_graph
        )
        return self.flatten(products)

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
