"""Subsets that keep the shares of the classes, smaller ones being parts of larger ones."""

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
    """``count`` random 64-bit integers that never change.

    They come from the bit stream of PCG64, which NumPy promises to keep; its permutations
    and samples may change between versions, and with them would every subset.
    """
    return np.random.PCG64(stream_seed(seed, purpose)).random_raw(count)


def stratified_order(labels: Tensor, seed: int) -> Tensor:
    """A random order of the examples in which every beginning is stratified.

    Among the first m examples, each class occurs less than one time more or less often than
    m times its share of all. That is the best bound there is for every m at once: the j-th of
    the n_c examples of class c among n may stand from position ⌊(j−1)·n/n_c⌋ + 1 to ⌈j·n/n_c⌉,
    and serving the earliest of these deadlines first never misses one (Steiner and Yeomans,
    "Level schedules for mixed-model, just-in-time processes", Management Science 39(6), 1993).
    Which example of a class comes when, and which class among equals, is random.

    Args:
        labels: Shape ``(n,)``, integers.
        seed: Chooses the order.

    Returns:
        A permutation of ``0 … n−1``, shape ``(n,)``, int64.
    """
    values = labels.cpu().numpy()
    total = len(values)
    shuffled = np.argsort(random_keys(seed, "subset", total), kind="stable")
    # Other numbers than those sorted by, or the same classes would keep coming first.
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
    """A fixed stratified part of both splits, to measure on.

    Depends on nothing but the labels and the number, so every snapshot is measured on the
    same examples. They keep the data set's order; nothing is standardized anew.

    Args:
        dataset: The whole data set.
        examples: How many of each split; a split with fewer is taken whole.

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
