import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import DataError
from orchestrator.random_streams import stream_seed
from orchestrator.training.augmentation import Augmentation
from orchestrator.training.batches import EpochBatches, examples_after, updates_per_epoch

sizes = st.integers(1, 40)


def batches(n=10, batch_size=4, seed=0, epoch=1, **options):
    inputs, labels = torch.arange(float(n))[:, None], torch.arange(n)
    return EpochBatches(inputs, labels, batch_size, seed=seed, epoch=epoch, **options)


def order(**options):
    made = batches(**options)
    return [int(label) for index in range(len(made)) for label in made[index][1]]


@given(sizes, sizes)
def test_an_epoch_contains_every_example_once_in_batches_of_the_given_size(n, batch_size):
    made = batches(n, batch_size)
    parts = [made[index] for index in range(len(made))]
    assert len(made) == updates_per_epoch(n, batch_size)
    assert [len(labels) for _, labels in parts[:-1]] == [batch_size] * (len(made) - 1)
    assert sorted(int(label) for _, labels in parts for label in labels) == list(range(n))
    assert all(torch.equal(inputs[:, 0], labels.float()) for inputs, labels in parts)


@given(sizes, sizes, st.integers(0, 100))
def test_examples_after_counts_the_examples_of_all_batches_so_far(n, batch_size, step):
    per_epoch = [len(part) for part in torch.arange(n).split(batch_size)]
    expected = sum(per_epoch[update % len(per_epoch)] for update in range(step))
    assert examples_after(step, n, batch_size) == expected


def test_the_order_depends_only_on_seed_and_epoch():
    assert order(n=50) == order(n=50)
    assert order(n=50) == order(n=50, batch_size=7)
    assert len({tuple(order(n=50, seed=s, epoch=e)) for s in range(3) for e in (1, 2)}) == 6


def test_a_batch_can_be_read_repeatedly():
    made = batches()
    first = made[2]
    made[0]
    assert torch.equal(made[2][0], first[0])


def test_augmentation_has_its_own_random_stream():
    images, labels = torch.rand(20, 1, 4, 4), torch.arange(20)
    plain = EpochBatches(images, labels, 6, seed=0, epoch=1)
    changed = EpochBatches(images, labels, 6, seed=0, epoch=1, augmentation=("flip",))
    for index in range(len(plain)):
        (one, one_labels), (other, other_labels) = plain[index], changed[index]
        assert torch.equal(one_labels, other_labels)
        for image, found in zip(one, other, strict=True):
            assert torch.equal(found, image) or torch.equal(found, image.flip(2))
    assert not torch.equal(plain[0][0], changed[0][0])
    generator = torch.Generator().manual_seed(stream_seed(0, "augmentation", 1))
    expected = Augmentation(("flip",), 20, (1, 4, 4), generator)
    assert torch.equal(changed[2][0], expected(plain[2][0], 12))


def test_augmentation_of_flat_inputs_is_refused():
    with pytest.raises(DataError, match="needs images"):
        batches(augmentation=("crop",))
