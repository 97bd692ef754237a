from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.data import Dataset, stratified_order, subset
from orchestrator.data.stratification import random_keys
from orchestrator.errors import DataError

label_lists = st.lists(st.integers(0, 6), min_size=1, max_size=60)
seeds = st.integers(0, 2**31)


@settings(deadline=None)
@given(label_lists, seeds)
def test_every_prefix_of_the_order_is_stratified(labels: list[int], seed: int) -> None:
    order = stratified_order(torch.tensor(labels), seed)
    values = np.array(labels)
    assert sorted(order.tolist()) == list(range(len(labels)))
    one_hot = values[order.numpy()][:, None] == np.arange(7)
    counts = one_hot.cumsum(axis=0)
    shares = np.bincount(values, minlength=7) / len(values)
    ideal = np.arange(1, len(values) + 1)[:, None] * shares
    assert np.abs(counts - ideal).max() < 1


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 8), seeds)
def test_classes_of_equal_size_take_turns(classes: int, rounds: int, seed: int) -> None:
    labels = torch.arange(classes).repeat(rounds)
    taken = labels[stratified_order(labels, seed)].view(rounds, classes)
    assert (taken.sort(dim=1).values == torch.arange(classes)).all()


def test_the_order_depends_only_on_the_seed() -> None:
    labels = torch.arange(500) % 10
    torch.manual_seed(1)
    first = stratified_order(labels, 0)
    torch.manual_seed(2)
    assert torch.equal(first, stratified_order(labels, 0))
    assert not torch.equal(first, stratified_order(labels, 1))


def test_the_first_example_of_a_class_is_random() -> None:
    labels = torch.arange(40) % 2
    first = {int(stratified_order(labels, seed)[0]) for seed in range(60)}
    assert len(first) > 20


def test_the_order_for_a_seed_is_pinned() -> None:
    assert random_keys(0, "subset", 2).tolist() == [1859476199215493591, 6566354705829148052]
    order = stratified_order(torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 2, 2]), 0)
    assert order.tolist() == [8, 2, 4, 0, 7, 9, 3, 1, 6, 5]


def make_dataset(train: int, test: int) -> Dataset:
    return Dataset(
        name="counting",
        train_x=torch.arange(train, dtype=torch.float32)[:, None],
        train_y=torch.arange(train) % 4,
        test_x=-torch.arange(test, dtype=torch.float32)[:, None],
        test_y=torch.arange(test) % 4,
        classes=4,
        content_hash="0" * 64,
    )


def test_subsets_are_stratified_nested_and_in_order() -> None:
    dataset = make_dataset(100, 60)
    smaller, larger = subset(dataset, 8), subset(dataset, 20)
    for part, size in ((smaller, 8), (larger, 20)):
        for x, y in (part.split("train"), part.split("test")):
            assert torch.bincount(y).tolist() == [size // 4] * 4
            assert (x.abs().diff(dim=0) > 0).all()
        assert torch.equal(part.train_x[:, 0].long() % 4, part.train_y)
        assert torch.equal(-part.test_x[:, 0].long() % 4, part.test_y)
    assert set(smaller.train_x[:, 0].tolist()) < set(larger.train_x[:, 0].tolist())
    assert (smaller.name, smaller.classes, smaller.content_hash) == ("counting", 4, "0" * 64)


def test_a_split_smaller_than_the_subset_is_used_whole() -> None:
    part = subset(make_dataset(100, 60), 80)
    assert len(part.train_y) == 80
    assert torch.equal(part.test_x, make_dataset(100, 60).test_x)


def test_an_empty_subset_is_refused() -> None:
    with pytest.raises(DataError, match="got 0 examples, expected at least 1"):
        subset(make_dataset(10, 10), 0)
