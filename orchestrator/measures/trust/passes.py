"""Checks that forward passes are pure, repeatable and independent between examples."""

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
"""Largest typical relative deviation between precisions; float32 rounding causes 1e-6."""
_ALONE = 8  # Number of single-example passes, besides the most extreme examples.
_MOVE = 1e-2  # Length of the weight displacement after which a pass is repeated.


def data_unchanged(subject: Subject) -> Finding:
    """Check that passes and losses do not write into their inputs."""
    context = subject.measured
    logits = context.logits("train")
    kept = logits.clone()
    context.loss_value("train")
    inputs, labels = context.data("train")
    if not (same(inputs, subject.dataset.train_x) and same(labels, subject.dataset.train_y)):
        return Finding(
            "data_unchanged",
            "failed",
            "a forward pass modified its input data",
            "the network writes into its input: use x = (x - mean) / std, not x.sub_(mean)",
        )
    if not same(logits, kept):
        return Finding(
            "data_unchanged",
            "failed",
            "the loss modified its input logits",
            "make the loss work on a copy: logits = logits.clone()",
        )
    return Finding("data_unchanged")


def measuring_precision(subject: Subject) -> Finding:
    """Check that the network runs in the measures' precision and similarly in another one."""
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
        return Finding("measuring_precision")  # The check ``repeatable`` reports it.
    try:
        single = inputs_pass(_in(subject, other))
    except Exception:
        return Finding("measuring_precision")  # The other precision is not required.
    deviations = (logits.double() - single.double()).abs().amax(dim=1) / _scale(logits)
    typical = deviations.nanmedian().item()
    if typical > _AGREEMENT:
        return Finding(
            "measuring_precision",
            "failed",
            f"logits in {wanted} and {_name(other)} differ by {typical:.2g} of the largest logit "
            "(median over examples)",
            "remove operations in forward() that depend on the dtype of the input or lose nearly "
            "all digits",
        )
    return Finding("measuring_precision")


def repeatable(subject: Subject) -> Finding:
    """Check that repeated passes give the same bits, also after a pass with moved weights."""
    context = subject.measured
    first, second = subject.first_pass(), context.logits("train")
    random = "the network is random or changes its state"
    hint = (
        "pass training=self.training to F.dropout; draw noise or update state only if self.training"
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
            "check for a module registered under two names, and for weights stored by forward()",
        )
    return Finding("repeatable")


def examples_separate(subject: Subject) -> Finding:
    """Check that logits do not depend on other examples in the pass, beyond rounding."""
    context = subject.double or subject.measured
    whole = subject.first_pass() if context is subject.measured else inputs_pass(context)
    n = len(whole)
    if n < 2:
        return Finding("examples_separate", "undecided", "only one example is available")
    inputs, _ = next(context.data.batches("train"))
    tolerance = torch.finfo(whole.dtype).eps ** 0.5
    for places in _partial_passes(inputs, whole):
        with torch.no_grad():
            part = context.forward(inputs[places].clone())
        off = (part - whole[places]).abs().amax(dim=1) / _scale(whole)
        if bool((off > tolerance).any()):
            return Finding(
                "examples_separate",
                "failed",
                f"logits of {int((off > tolerance).sum())} of {len(off)} examples differ between "
                f"passes of {len(off)} and of {n} examples, by up to {off.max():.2g} of the "
                "largest logit",
                "check for operations over the first axis (the examples): batch norm without "
                "running statistics, pooling or attention over it, or batch_first=False",
            )
    return Finding("examples_separate")


def _partial_passes(inputs: Tensor, logits: Tensor) -> Iterator[Tensor]:
    """Yield positions of examples for partial passes that differ strongly from the whole.

    Passes of both ends, in two sizes smaller than the whole, detect code that guesses an axis by
    its length. Passes of the smallest and largest examples (by inputs and by logits) and of single
    examples detect code that branches on an average over the pass.
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
    """Whether two tensors are equal bit for bit, where NaN equals NaN."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(((one == other) | (one.isnan() & other.isnan())).all())


def same_pass(one: Tensor, other: Tensor) -> bool:
    """Whether the results of two passes agree: bit for bit on a CPU, up to rounding elsewhere."""
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
