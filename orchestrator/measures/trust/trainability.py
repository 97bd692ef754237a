"""Check, in two updates on a few examples, that a network can be trained, stored and rebuilt."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from orchestrator.data.dataset import Dataset
from orchestrator.errors import ImportPathError, ModelError, UserError, named_error
from orchestrator.measures.trust.checked_network import sampled
from orchestrator.measures.trust.finding import Finding
from orchestrator.measures.trust.fit import random_state_kept
from orchestrator.measures.trust.passes import same, same_pass
from orchestrator.models import build_model, named_as
from orchestrator.models.shared_tensors import copy_with_ties
from orchestrator.random_streams import stream_seed
from orchestrator.study.options import CustomOptions
from orchestrator.study.spec import TrialConfig
from orchestrator.study.training_options import StopOptions
from orchestrator.training import build_loss
from orchestrator.training.evaluation import evaluate
from orchestrator.training.learner import Learner

SEED = 0
_UPDATES = 2


def training_findings(
    config: TrialConfig, dataset: Dataset, device: str | torch.device
) -> Iterator[Finding]:
    """Train a network of this configuration for two updates, store it and rebuild it.

    Failures of training itself (memory, an exception in an update) are reported by the trials.
    Checks that they prevent are ``undecided``.

    Args:
        config: Configuration of any trial of the shape.
        dataset: Its data; a few examples are copied.
        device: Device to train on.

    Yields:
        The findings ``outputs_fit``, ``data_unchanged`` and ``state_restores``.
    """
    try:
        model = build_model(
            config.model, dataset.input_shape, dataset.classes, SEED, dataset.train_x.dtype
        )
    except ModelError as error:
        if not isinstance(config.model, CustomOptions):
            raise
        reason = error.message.removeprefix(f"model {config.model.name!r}: ")
        yield Finding("outputs_fit", "failed", reason, error.hint)
        return
    small = sampled(dataset).to(device)
    unfit = _unfit(config, model.to(device), small)
    yield unfit or Finding("outputs_fit")
    if unfit is not None and unfit.status == "failed":
        return
    before = [tensor.clone() for tensor in _tensors(small)]
    learner = Learner(_shortened(config, len(small.train_y)), SEED, small, torch.device(device))
    for epoch in range(1, _UPDATES + 1):
        learner.begin_epoch(epoch)
        learner.train_until(min(_UPDATES, epoch * learner.updates_per_epoch))
    for split in ("train", "test"):
        learner.evaluate(split)
    changed = not all(map(same, _tensors(small), before))
    if changed:
        yield Finding(
            "data_unchanged",
            "failed",
            "training modified the data set, which other trials share",
            "the network writes into its input: use x = (x - mean) / std, not x.sub_(mean)",
        )
    elif _loss_writes(config, small):
        yield Finding(
            "data_unchanged",
            "failed",
            "the loss modifies the logits, from which errors are computed later",
            "make the loss work on a copy: logits = logits.clone()",
        )
    else:
        yield Finding("data_unchanged")
    yield _state_restores(config, learner, small)


def _unfit(config: TrialConfig, model: nn.Module, small: Dataset) -> Finding | None:
    classes, x, y = small.classes, small.train_x, small.train_y
    labels = torch.cat([small.train_y, small.test_y])
    if int(labels.min()) < 0 or int(labels.max()) >= classes or classes < 2:
        return Finding(
            "outputs_fit",
            "failed",
            f"labels range from {int(labels.min())} to {int(labels.max())}, expected 0 to "
            f"{classes - 1} and at least two classes",
        )
    with random_state_kept(x.device), torch.no_grad():
        logits = model.eval()(x.clone())
    expected = f"expected floating-point logits of shape ({len(x)}, {classes})"
    if not isinstance(logits, Tensor):
        return Finding("outputs_fit", "failed", f"returned a {type(logits).__name__}, {expected}")
    if tuple(logits.shape) != (len(x), classes) or not logits.is_floating_point():
        got = f"{logits.dtype} of shape {tuple(logits.shape)}"
        return Finding("outputs_fit", "failed", f"returned {got}, {expected}")
    try:
        build_loss(config.training.loss).per_example(logits.clone(), y)
    except ImportPathError:
        raise
    except UserError as error:  # The loss is not one number per example.
        return Finding("outputs_fit", "failed", error.message, error.hint)
    return None


def _shortened(config: TrialConfig, examples: int) -> TrialConfig:
    """Return the configuration with two updates and no batch of a single example."""
    batch = min(config.training.batch_size, examples)
    batch = max(size for size in range(1, batch + 1) if examples % size != 1 or size == 1)
    changes = {"batch_size": batch, "stop": StopOptions(updates=_UPDATES)}
    return config.model_copy(update={"training": config.training.model_copy(update=changes)})


def _tensors(dataset: Dataset) -> list[Tensor]:
    return [dataset.train_x, dataset.train_y, dataset.test_x, dataset.test_y]


class _Fixed(nn.Module):
    """Network that returns the same logits for any input."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, inputs: Tensor) -> Tensor:
        return self.logits[: len(inputs)].clone()


def _loss_writes(config: TrialConfig, small: Dataset) -> bool:
    """Whether evaluation reports a different error than that of the logits."""
    labels = small.train_y
    logits = torch.nn.functional.one_hot((labels + 1) % small.classes, small.classes)
    generator = torch.Generator().manual_seed(SEED)
    noise = torch.randn(logits.shape, generator=generator).to(labels.device)
    half = logits.to(noise) * 0.5 + noise
    found = evaluate(_Fixed(half), small.train_x, labels, build_loss(config.training.loss))
    return found.error != (half.argmax(dim=1) != labels).double().mean().item()


def _state_restores(config: TrialConfig, learner: Learner, small: Dataset) -> Finding:
    """Check that the stored state, in a rebuilt network, gives the trained network's logits."""

    def failed(reason: str) -> Finding:
        return Finding(
            "state_restores",
            "failed",
            reason,
            "store everything that training changes in parameters or persistent buffers "
            "(register_buffer) of fixed shape, not in plain attributes",
        )

    try:
        state = learner.snapshot()
        rebuilt = build_model(
            config.model, small.input_shape, small.classes, SEED, small.train_x.dtype
        )
        rebuilt.load_state_dict(named_as(rebuilt.state_dict(), state))
        rebuilt = rebuilt.to(small.train_x.device)
        copied = copy_with_ties(rebuilt, "the network")
    except ModelError as error:
        return failed(error.message)
    except Exception as error:
        return failed(f"raised {named_error(error)}")
    trained = _logits(learner.model, small.train_x)
    for network, what in ((rebuilt, "newly built network"), (copied, "deep copy of one")):
        if not same_pass(trained, _logits(network, small.train_x)):
            return failed(
                f"after {learner.step} updates, the state dict in a {what} gives different logits "
                "than the trained network"
            )
    return Finding("state_restores")


def _logits(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return logits in eval mode, with fixed random numbers for networks that draw any."""
    with random_state_kept(inputs.device), torch.no_grad():
        torch.manual_seed(stream_seed(SEED, "trust_checks", "evaluation"))
        logits: Tensor = model.eval()(inputs.clone())
    return logits
