"""Loading the data set that a study file selects, ready for training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from orchestrator.data.dataset import Dataset
from orchestrator.data.found_files import SourceArrays, check_source, holds_integers
from orchestrator.data.label_noise import noisy_labels
from orchestrator.data.own_data import load_custom
from orchestrator.data.standardization import standardize
from orchestrator.data.stratification import stratified_order
from orchestrator.errors import DataError
from orchestrator.registry import builder_of, import_files
from orchestrator.study.data_options import CustomData, NpzData

if TYPE_CHECKING:
    from orchestrator.study.data_options import DataOptions

import_files(__package__)


def load_dataset(options: DataOptions) -> Dataset:
    """Read, generate or download a data set and prepare it.

    First, the source is read and checked. Then labels are replaced along the stratified order
    (``label_noise``), and a prefix of that order is kept (``train_size``). So a smaller training
    split is contained in a larger one, wrong labels included. Finally, both splits are standardized
    with the statistics of the resulting training split.

    Examples stay in the source's order. Integers (``holds_integers``) stay unchanged, as token
    indices must. The test split is always complete and never has label noise.

    Args:
        options: The ``data`` part of a study file.

    Returns:
        The data set, on the CPU, float32 or int64.

    Raises:
        DataError: If the data set cannot be obtained, or is unsuitable for training as requested.
        ImportPathError: If the user's own data set cannot be imported.
    """
    source: SourceArrays = (
        load_custom(options) if isinstance(options, CustomData) else builder_of(options)(options)
    )
    where = options.path if isinstance(options, NpzData) else options.name
    classes = check_source(source, where)
    available = len(source.train_y)
    if options.train_size is not None and options.train_size > available:
        raise DataError(
            f"data.train_size: got {options.train_size}, but {options.name} has "
            f"{available} training examples"
        )
    train_y = torch.from_numpy(source.train_y.astype(np.int64))
    kept = torch.arange(available)
    if options.train_size is not None or options.label_noise > 0:
        order = stratified_order(train_y, options.seed)
        train_y = noisy_labels(train_y, classes, options.label_noise, order, options.seed)
        kept = order[: options.train_size].sort().values
    train_x = _inputs(source.train_x[kept.numpy()], source.scale)
    test_x = _inputs(source.test_x, source.scale)
    if options.standardize and train_x.is_floating_point():
        standardize(train_x, test_x)
    return Dataset(
        name=options.name,
        train_x=train_x,
        train_y=train_y[kept],
        test_x=test_x,
        test_y=torch.from_numpy(source.test_y.astype(np.int64)),
        classes=classes,
        content_hash=source.content_hash(),
    )


def _inputs(array: np.ndarray, scale: float) -> Tensor:
    """Copy an array of any type or memory order into a new tensor, divided by ``scale``."""
    if holds_integers(array):
        return torch.from_numpy(np.array(array, dtype=np.int64, order="C"))
    copied = torch.from_numpy(np.array(array, dtype=np.float32, order="C"))
    return copied if scale == 1.0 else copied.div_(scale)
