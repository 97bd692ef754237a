"""Measuring networks trained outside a study, from PyTorch data, losses and devices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from orchestrator.data.dataset import Dataset
from orchestrator.data.found_files import check_inputs, check_labels
from orchestrator.errors import DataError, MeasureError
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.runner import Row, measure_snapshot
from orchestrator.models.shared_tensors import copy_with_ties
from orchestrator.study.measure_options import MeasureOptions, MeasureRequest
from orchestrator.study.problems import Source, describe
from orchestrator.training.losses import Loss, loss_of_module

Examples = (
    tuple[Any, Any] | DataLoader[Any] | TorchDataset[Any]
)  # Arrays or tensors, batches, or pairs of one input and one label.
Request = str | Mapping[str, Any] | MeasureOptions
TorchLoss = nn.Module | Loss | Callable[[Tensor, Tensor], Tensor]

_REQUEST: TypeAdapter[MeasureOptions] = TypeAdapter(MeasureRequest)
_BATCH = 1000


def measure_plain(
    model: nn.Module,
    train: Examples,
    test: Examples,
    measures: Iterable[Request],
    *,
    loss: TorchLoss | None = None,
    **settings: Any,
) -> list[Row]:
    """Return the rows of :func:`measure_snapshot` for a PyTorch network and PyTorch data.

    Args:
        model: Maps inputs ``(n, *input_shape)`` to logits ``(n, classes)``; it is copied.
        train: Training data: a pair of inputs and labels, or a data set or ``DataLoader`` of such
            pairs. Inputs reach the network unchanged, except that real ones are in ``dtype``.
        test: Test data, in the same form.
        measures: Names as in a study file, mappings with options, or option objects.
        loss: Training loss; cross-entropy by default. A ``reduction`` to the mean is changed to
            per-example values. A loss without ``reduction`` must return one number per example.
        **settings: Keyword arguments of :class:`MeasureContext`.

    Raises:
        DataError: If inputs or labels are unsuitable for measuring a classifier.
        MeasureError: If a measure is unknown, or model, loss and data are incompatible.
    """
    requests = {options.request: options for options in map(_options, measures)}
    if not requests:
        raise MeasureError("no measure selected", 'name one, such as measures=["margin"]')
    train_x, train_y = _tensors(train, "train")
    test_x, test_y = _tensors(test, "test")
    if train_x.shape[1:] != test_x.shape[1:] or train_x.dtype != test_x.dtype:
        raise DataError(
            f"examples in train have {train_x.dtype} and shape {tuple(train_x.shape[1:])}, but "
            f"examples in test have {test_x.dtype} and shape {tuple(test_x.shape[1:])}"
        )
    dataset = Dataset(
        name="own",
        train_x=train_x,
        train_y=train_y,
        test_x=test_x,
        test_y=test_y,
        classes=_classes(model, train_x, (train_y, test_y)),
        content_hash="",
    )
    context = MeasureContext(model, dataset, _loss(loss), **settings)
    return list(measure_snapshot(context, requests))


def _options(request: Request) -> MeasureOptions:
    if isinstance(request, MeasureOptions):
        return request
    try:
        return _REQUEST.validate_python(request)
    except ValidationError as error:
        content = {"measures": [request]}
        found = describe(Source("measures", "", content), error, MeasureOptions)
        raise MeasureError("; ".join(problem.what for problem in found), found[0].hint) from None


def _loss(loss: TorchLoss | None) -> Loss:
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, nn.Module):
        return loss_of_module(loss)
    return loss_of_module(nn.CrossEntropyLoss()) if loss is None else Loss(loss)


def _tensors(examples: Examples, split: str) -> tuple[Tensor, Tensor]:
    """Return all inputs and labels of a split in the dtypes of a data set."""
    if isinstance(examples, TorchDataset):
        examples = DataLoader(examples, batch_size=_BATCH)
    if isinstance(examples, DataLoader):
        batches = [_pair(batch, split) for batch in examples]
        if not batches:
            raise DataError(f"{split}: got no batches")
        inputs = torch.cat([torch.as_tensor(x) for x, _ in batches])
        labels = torch.cat([torch.as_tensor(y) for _, y in batches])
    else:
        inputs, labels = (_as_tensor(part) for part in _pair(examples, split))
    check_inputs(inputs.detach().cpu().numpy(), f"inputs of {split}")
    check_labels(labels.detach().cpu().numpy(), f"labels of {split}")
    if len(inputs) != len(labels):
        raise DataError(f"{split}: got {len(inputs)} inputs but {len(labels)} labels")
    whole = not (inputs.is_floating_point() or inputs.dtype is torch.bool)
    kind = torch.int64 if whole else torch.float32
    return inputs.detach().to(kind), labels.detach().to(torch.int64)


def _as_tensor(part: Any) -> Tensor:
    return part if isinstance(part, Tensor) else torch.from_numpy(np.asarray(part))


def _pair(batch: Any, split: str) -> Sequence[Any]:
    if isinstance(batch, tuple | list) and len(batch) == 2:
        return batch
    size = f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
    raise DataError(
        f"{split}: got a {type(batch).__name__}{size}, expected a pair of inputs and labels, or a "
        "DataLoader of such pairs"
    )


def _classes(model: nn.Module, inputs: Tensor, labels: Sequence[Tensor]) -> int:
    """Return the number of classes of the logits; the context checks that they fit the data."""
    parameter = next(model.parameters(), None)
    network = copy_with_ties(model, "the network").eval()  # The user's modules keep their modes.
    try:
        with torch.no_grad():
            few = inputs[:2] if parameter is None else inputs[:2].to(parameter.device)
            logits = network(few.clone())
    except Exception as error:
        raise MeasureError(
            f"{type(model).__name__}: raised {type(error).__name__} on inputs of shape "
            f"{tuple(inputs[:2].shape)}: {error}"
        ) from error
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise MeasureError(f"{type(model).__name__}: returned {got}, expected logits (n, classes)")
    most = max(int(part.max()) for part in labels)
    if most >= logits.shape[1]:
        raise DataError(f"got label {most}, but logits of {logits.shape[1]} classes (from 0)")
    return int(logits.shape[1])
