from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.data.label_noise import noisy_labels
from orchestrator.data.stratification import stratified_order


@settings(deadline=None)
@given(
    st.integers(2, 6),
    st.integers(1, 80),
    st.floats(0, 1, allow_subnormal=False),
    st.integers(0, 2**31),
)
def test_every_prefix_has_exactly_its_share_of_wrong_labels(
    classes: int, total: int, share: float, seed: int
) -> None:
    labels = torch.arange(total) % classes
    before = labels.clone()
    order = stratified_order(labels, seed)
    noisy = noisy_labels(labels, classes, share, order, seed)
    assert torch.equal(labels, before)
    assert 0 <= int(noisy.min()) <= int(noisy.max()) < classes
    wrong = (noisy != labels)[order].cumsum(0).tolist()
    assert wrong == [round(share * size) for size in range(1, total + 1)]


def test_a_noise_of_1_makes_every_label_wrong() -> None:
    labels = torch.arange(50) % 10
    noisy = noisy_labels(labels, 10, 1.0, torch.arange(50), 0)
    assert not (noisy == labels).any()


def test_wrong_labels_are_uniform_among_the_other_classes() -> None:
    labels = torch.zeros(6000, dtype=torch.int64)
    counts = torch.bincount(noisy_labels(labels, 4, 1.0, torch.arange(6000), 3), minlength=4)
    assert counts[0] == 0
    # Three classes of about 2,000, whose standard deviation is 36.5.
    assert ((counts[1:] - 2000).abs() < 150).all()


def test_label_noise_affects_all_classes_equally() -> None:
    # A tenth of ten equal classes: along an order in which they took turns in a fixed
    # sequence, every tenth example would be of the same class.
    labels = torch.arange(5000) % 10
    noisy = noisy_labels(labels, 10, 0.1, stratified_order(labels, 0), 0)
    hit = torch.bincount(labels[noisy != labels], minlength=10)
    assert hit.sum() == 500
    assert ((hit - 50).abs() < 30).all()


def test_label_noise_depends_on_the_seed() -> None:
    labels = torch.arange(100) % 10
    order = torch.arange(100)
    first, second = (noisy_labels(labels, 10, 0.5, order, seed) for seed in (0, 1))
    assert torch.equal(first, noisy_labels(labels, 10, 0.5, order, 0))
    assert not torch.equal(first, second)
