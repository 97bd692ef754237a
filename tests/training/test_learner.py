import pytest
import torch
from torch import nn

from orchestrator.errors import DataError, ModelError
from orchestrator.training.learner import Learner
from tests.training.cases import HERE, assert_same_tensors, blobs, configuration

CPU = torch.device("cpu")
OPTIMIZERS = [
    {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
    {"name": "adamw"},
    {"name": "sam", "momentum": 0.5},
    {"name": "torch.optim:RMSprop", "learning_rate": 0.01, "momentum": 0.5},
]


def learner(model=None, dataset=None, **options):
    made = Learner(configuration(model, **options), 0, dataset or blobs(), CPU)
    made.begin_epoch(1)
    return made


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda options: options["name"])
@pytest.mark.parametrize("model", [None, f"{HERE}:peculiar"], ids=["mlp", "peculiar"])
def test_retraining_from_a_moment_gives_the_same_bits(model, optimizer):
    made = learner(model, optimizer=optimizer)
    made.train_until(1)
    moment = made.moment()
    made.train_until(3)
    expected, metrics = made.snapshot(), made.evaluate("train")
    for _ in range(2):
        made.go_back(moment)
        assert made.step == 1
        made.train_until(3)
        assert_same_tensors(made.snapshot(), expected)
        assert made.evaluate("train") == metrics


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda options: options["name"])
def test_a_state_resumes_in_another_learner(optimizer):
    made = learner(f"{HERE}:peculiar", optimizer=optimizer)
    made.train_until(4)
    network, state = made.state()
    made.begin_epoch(2)
    made.train_until(6)
    other = Learner(configuration(f"{HERE}:peculiar", optimizer=optimizer), 0, blobs(), CPU)
    other.load_state(4, network, state)
    other.begin_epoch(2)
    other.train_until(6)
    assert_same_tensors(other.snapshot(), made.snapshot())
    assert torch.equal(other.model.scale, made.model.scale)


def test_snapshots_are_copies_of_the_state_dict():
    made = learner()
    snapshot = made.snapshot()
    assert snapshot.keys() == made.model.state_dict().keys()
    first = {name: value.clone() for name, value in snapshot.items()}
    made.train_until(4)
    assert_same_tensors(snapshot, first)
    storages = {value.untyped_storage().data_ptr() for value in snapshot.values()}
    assert len(storages) == len(snapshot)


def test_a_snapshot_of_anything_but_tensors_is_refused(monkeypatch):
    made = learner()
    monkeypatch.setattr(made.model, "get_extra_state", lambda: {"a": 1}, raising=False)
    monkeypatch.setattr(type(made.model), "get_extra_state", lambda self: {"a": 1})
    with pytest.raises(ModelError, match="contains a dict as '_extra_state'"):
        made.snapshot()


def test_evaluations_do_not_affect_training():
    plain, watched = learner(f"{HERE}:peculiar"), learner(f"{HERE}:peculiar")
    for step in (1, 2, 3, 4):
        plain.train_until(step)
        watched.train_until(step)
        watched.evaluate("train")
        watched.evaluate("test")
        torch.rand(3)
    assert_same_tensors(plain.snapshot(), watched.snapshot())


def test_evaluations_of_a_noisy_network_repeat_and_keep_the_global_random_state():
    made = learner(f"{HERE}:noisy")
    before = torch.get_rng_state()
    first = made.evaluate("train")
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert made.evaluate("train") == first


def test_the_learning_rate_is_scaled_and_scheduled():
    made = learner(
        batch_size=15,
        learning_rate_scaling="linear",
        reference_batch_size=30,
        schedule={"name": "step", "epochs": [0.5], "factor": 0.1},
    )
    rates = [made.learning_rate()]
    for step in (1, 2, 3):
        made.train_until(step)
        rates.append(made.learning_rate())
    assert rates == pytest.approx([0.05, 0.05, 0.05, 0.005])


def test_training_stops_after_the_given_seconds():
    made = learner()
    made.train_until(4, seconds=0.0)
    assert made.step == 1


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ({"epochs": 3}, 12),
        ({"updates": 5}, 5),
        ({"epochs": 2, "updates": 5}, 5),
        ({"epochs": 1, "updates": 5}, 4),
        ({"seconds": 1.0}, float("inf")),
    ],
)
def test_the_last_step_is_the_earliest_limit_of_stop(stop, expected):
    assert learner(stop=stop).last_step == expected


def test_infinite_parameters_are_noticed():
    made = learner()
    assert made.is_finite()
    with torch.no_grad():
        next(made.model.parameters())[0] = float("inf")
    assert not made.is_finite()


def test_augmentation_of_flat_inputs_is_refused():
    with pytest.raises(DataError, match=r"needs images .* shape \(8,\)"):
        learner(augmentation=["flip"])


def test_batch_normalization_of_a_single_example_is_explained():
    made = learner({"name": "mlp", "normalization": "batch"}, blobs(n=33))
    with pytest.raises(ModelError, match=r"33 examples with training\.batch_size 16"):
        made.train_until(3)


def test_other_value_errors_are_raised_unchanged(monkeypatch):
    made = learner()

    class Broken(nn.Module):
        def forward(self, inputs):
            raise ValueError("Expected more than 1 value per channel")

    monkeypatch.setattr(made, "model", Broken())
    with pytest.raises(ValueError, match=r"^Expected more"):
        made.train_until(1)
