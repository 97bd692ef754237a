"""Are forward passes what measures take them for: pure, repeatable, one result per example?"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from orchestrator.errors import named_error
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.network import WrongPrecision
from orchestrator.measures.trust.checked_network import Subject, inputs_pass, stream
from orchestrator.measures.trust.finding import Finding

_AGREEMENT = 1e-2
"""Relative deviation between precisions of a typical example; float32 rounding gives 1e-6."""
_ALONE = 8  # Examples that are passed alone, beside the most extreme ones.
_MOVE = 1e-2  # Length of the displacement of the weights after which a pass is repeated.


def data_unchanged(subject: Subject) -> Finding:
    """Passes and losses write into nothing that they are handed."""
    context = subject.measured
    logits = context.logits("train")
    kept = logits.clone()
    context.loss_value("train")
    inputs, labels = context.data("train")
    if not (same(inputs, subject.dataset.train_x) and same(labels, subject.dataset.train_y)):
        return Finding(
            "data_unchanged",
            "failed",
            "a forward pass changed the data that it was given",
            "the network writes into its input: use x = (x - mean) / std, not x.sub_(mean)",
        )
    if not same(logits, kept):
        return Finding(
            "data_unchanged",
            "failed",
            "the loss changed the logits that it was given",
            "let the loss work on a copy: logits = logits.clone()",
        )
    return Finding("data_unchanged")


def measuring_precision(subject: Subject) -> Finding:
    """The network runs in the precision of its measures, with much the same logits in another."""
    context, logits = subject.measured, subject.logits
    wanted = _name(context.dtype)
    if logits is None:
        error = subject.raised
        if isinstance(error, WrongPrecision):
            return Finding("measuring_precision", "failed", error.message, error.hint)
        raised = "an error" if error is None else named_error(error).splitlines()[0]
        return Finding(
            "measuring_precision",
            "failed",
            f"in {wanted} the network raises {raised}",
        )
    other = torch.float32 if context.dtype == torch.float64 else torch.float64
    if not same_pass(logits, context.logits("train")):
        return Finding("measuring_precision")  # The check ``repeatable`` tells.
    try:
        single = inputs_pass(_in(subject, other))
    except Exception:
        return Finding("measuring_precision")  # The other precision is not asked for.
    deviations = (logits.double() - single.double()).abs().amax(dim=1) / _scale(logits)
    typical = deviations.nanmedian().item()
    if typical > _AGREEMENT:
        return Finding(
            "measuring_precision",
            "failed",
            f"logits in {wanted} and in {_name(other)} differ by {typical:.2g} of the largest "
            "logit in the median over examples",
            "something in forward() depends on the type of its input, or loses nearly all digits",
        )
    return Finding("measuring_precision")


def repeatable(subject: Subject) -> Finding:
    """Two passes over the same examples give the same bits, also after weights were moved."""
    context = subject.measured
    first, second = subject.first_pass(), context.logits("train")
    random = "it is random or changes its state"
    hint = (
        "give F.dropout training=self.training, and draw noise or update state only if "
        "self.training"
    )
    if not same_pass(first, second):
        return Finding(
            "repeatable",
            "failed",
            "two passes in eval mode over the same examples gave logits that differ by up to "
            f"{_largest_difference(first, second):.2g}: {random}",
            hint,
        )
    direction = torch.randn(context.n_parameters, generator=stream("repeatable"))
    context.loss_at(_MOVE * (direction / direction.norm()).to(context.parameter_vector()))
    third = inputs_pass(context)
    if not same_pass(first, third):
        return Finding(
            "repeatable",
            "failed",
            "after a pass with other weights the network gave logits that differ by up to "
            f"{_largest_difference(first, third):.2g}: it kept some of those weights",
            "look for a module that is registered under two names, and for weights that forward() "
            "stores",
        )
    return Finding("repeatable")


def examples_separate(subject: Subject) -> Finding:
    """The logits of an example do not depend on the others of its pass, beyond rounding."""
    context = subject.double or subject.measured
    whole = subject.first_pass() if context is subject.measured else inputs_pass(context)
    n = len(whole)
    if n < 2:
        return Finding("examples_separate", "undecided", "there is a single example")
    inputs, _ = next(context.batches("train"))
    tolerance = torch.finfo(whole.dtype).eps ** 0.5
    for places in _partial_passes(inputs, whole):
        with torch.no_grad():
            part = context.forward(inputs[places].clone())
        off = (part - whole[places]).abs().amax(dim=1) / _scale(whole)
        if bool((off > tolerance).any()):
            return Finding(
                "examples_separate",
                "failed",
                f"{int((off > tolerance).sum())} of {len(off)} examples have other logits in a "
                f"pass of {len(off)} examples than in one of {n}, by up to {off.max():.2g} of the "
                "largest logit",
                "something is computed over the first axis, which counts the examples: batch norm "
                "without running statistics, pooling or attention over it, or batch_first=False",
            )
    return Finding("examples_separate")


def _partial_passes(inputs: Tensor, logits: Tensor) -> Iterator[Tensor]:
    """Positions of the examples of passes that differ from the whole as much as passes can.

    Both ends in two sizes, neither that of the whole, for code that guesses an axis by its length.
    The smallest and the largest, by inputs and by logits, and single examples, for code that
    branches on an average of a pass.
    """
    n, third = len(logits), max(1, len(logits) // 3)
    places = torch.arange(n, device=logits.device)
    yield from (places[: n - n // 3], places[n - third :])
    alone = places[:: max(1, n // _ALONE)][:_ALONE].tolist()
    for size in (inputs.flatten(1).double().mean(1), logits.double().amax(1)):
        order = size.argsort()
        yield from (order[:third], order[-third:])
        alone += [int(order[0]), int(order[-1])]
    yield from (places[place : place + 1] for place in dict.fromkeys(alone))


def same(one: Tensor, other: Tensor) -> bool:
    """Equal bit for bit, where NaN equals NaN."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(((one == other) | (one.isnan() & other.isnan())).all())


def same_pass(one: Tensor, other: Tensor) -> bool:
    """Equal as two passes are: bit for bit on a CPU, up to rounding elsewhere."""
    if one.device.type == "cpu":
        return same(one, other)
    tolerance = 10 * torch.finfo(one.dtype).eps ** 0.5
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True)


def _in(subject: Subject, dtype: torch.dtype) -> MeasureContext:
    like = subject.measured
    return MeasureContext(like.model, subject.dataset, like.loss, device=like.device, dtype=dtype)


def _scale(logits: Tensor) -> Tensor:
    found = logits.detach().double().abs()
    finite = found[found.isfinite()]
    largest = finite.max() if finite.numel() else found.new_ones(())
    return largest.clamp_min(torch.finfo(torch.float64).tiny)


def _largest_difference(one: Tensor, other: Tensor) -> float:
    return (one.double() - other.double()).abs().nan_to_num(nan=torch.inf).max().item()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
