"""Nested stratified subsets: each smaller subset is contained in every larger one."""

from __future__ import annotations

import heapq
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from orchestrator.data.dataset import Dataset
from orchestrator.errors import DataError
from orchestrator.random_streams import stream_seed

_MEASURING_SEED = 0


def random_keys(seed: int, purpose: str, count: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Return ``count`` random 64-bit integers that never change.

    They come from the bit stream of PCG64, which NumPy guarantees to keep. NumPy's permutations
    and samples may change between versions, and would change every subset with them.
    """
    return np.random.PCG64(stream_seed(seed, purpose)).random_raw(count)


def stratified_order(labels: Tensor, seed: int) -> Tensor:
    """Return a random order of the examples in which every prefix is stratified.

    Among the first m examples, the count of each class differs by less than one from m times its
    overall share. This is the best possible bound for all m simultaneously. The j-th of the n_c
    examples of class c among n may occupy positions ⌊(j−1)·n/n_c⌋ + 1 to ⌈j·n/n_c⌉, and
    scheduling the earliest deadline first never misses one (Steiner and Yeomans, "Level schedules
    for mixed-model, just-in-time processes", Management Science 39(6), 1993). The order within
    each class is random, as are ties between classes.

    Args:
        labels: Shape ``(n,)``, integers.
        seed: Seed of the order.

    Returns:
        A permutation of ``0 … n−1``, shape ``(n,)``, int64.
    """
    values = labels.cpu().numpy()
    total = len(values)
    shuffled = np.argsort(random_keys(seed, "subset", total), kind="stable")
    # Not the keys used for sorting, or the same classes would keep coming first.
    precedence = random_keys(seed, "subset_precedence", total)
    jobs: list[tuple[int, int, int, int]] = []
    for value in np.unique(values):
        members = shuffled[values[shuffled] == value]
        before = np.arange(len(members)) * total
        release = before // len(members)
        deadline = -(-(before + total) // len(members))
        columns = (release, deadline, precedence[members], members)
        jobs.extend(zip(*(column.tolist() for column in columns), strict=True))
    jobs.sort()
    order: list[int] = []
    waiting: list[tuple[int, int, int]] = []
    arrived = 0
    for position in range(total):
        while arrived < total and jobs[arrived][0] <= position:
            heapq.heappush(waiting, jobs[arrived][1:])
            arrived += 1
        order.append(heapq.heappop(waiting)[2])
    return torch.tensor(order, dtype=torch.int64)


def subset(dataset: Dataset, examples: int) -> Dataset:
    """Return a fixed stratified subset of both splits for measuring.

    The subset depends only on the labels and the number of examples, so every snapshot is measured
    on the same examples. They keep the data set's order and are not standardized again.

    Args:
        dataset: The whole data set.
        examples: Number of examples per split; a smaller split is used in full.

    Raises:
        DataError: If ``examples`` is not positive.
    """
    if examples < 1:
        raise DataError(f"subset: got {examples} examples, expected at least 1")
    train, test = (
        stratified_order(labels, _MEASURING_SEED)[:examples].sort().values
        if examples < len(labels)
        else torch.arange(len(labels))
        for labels in (dataset.train_y, dataset.test_y)
    )
    return replace(
        dataset,
        train_x=dataset.train_x[train.to(dataset.train_x.device)],
        train_y=dataset.train_y[train.to(dataset.train_y.device)],
        test_x=dataset.test_x[test.to(dataset.test_x.device)],
        test_y=dataset.test_y[test.to(dataset.test_y.device)],
    )
