"""The checks of one network: before a study trains its shape, and before a notebook measures it."""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch

from orchestrator.data.dataset import Dataset
from orchestrator.errors import ModelError, named_error
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.memory import is_out_of_memory
from orchestrator.measures.trust.checked_network import Subject, sampled
from orchestrator.measures.trust.finding import (
    CHECKS,
    SPOILS_TRAINING,
    Check,
    Finding,
    Findings,
)
from orchestrator.measures.trust.finite_differences import input_gradients, parameter_gradients
from orchestrator.measures.trust.fit import random_state_kept
from orchestrator.measures.trust.passes import (
    data_unchanged,
    examples_separate,
    measuring_precision,
    repeatable,
)
from orchestrator.measures.trust.second_derivatives import second_derivatives
from orchestrator.measures.trust.trainability import SEED, training_findings
from orchestrator.models import build_model
from orchestrator.models.wrappers import eagerly
from orchestrator.study.measure_options import MeasuringOptions
from orchestrator.study.spec import TrialConfig
from orchestrator.training import build_loss

_OF_MEASURES: dict[Check, Callable[[Subject], Finding]] = {
    "measuring_precision": measuring_precision,
    "data_unchanged": data_unchanged,
    "repeatable": repeatable,
    "examples_separate": examples_separate,
    "parameter_gradients": parameter_gradients,
    "input_gradients": input_gradients,
    "second_derivatives": second_derivatives,
}
_FIRST: tuple[Check, ...] = (
    "measuring_precision",
    "data_unchanged",
    "repeatable",
    "examples_separate",
)
"""Where one of these fails, the later ones would only repeat it."""


def context_findings(context: MeasureContext, checks: Collection[Check]) -> Findings:
    """Check the network of a context for what its measures require.

    Each check looks at a copy of the network and of at most a hundred examples, and is made once
    for a context.

    Args:
        context: Is left as it is.
        checks: Which checks.
    """
    found: dict[Check, Finding] = context.shared("trust_checks", dict)
    missing = [check for check in _OF_MEASURES if check in checks and check not in found]
    if missing:
        found |= _made(context, missing, found)
    return {check: found[check] for check in found if check in checks}


def _made(context: MeasureContext, checks: Collection[Check], known: Findings) -> Findings:
    found: dict[Check, Finding] = dict(known)
    with random_state_kept(context.device), eagerly():
        subject = Subject.of(context)
        for check in checks:
            stopped = next((c for c in _FIRST if c in found and found[c].status == "failed"), None)
            if stopped is not None:
                found[check] = Finding(check, "undecided", f"{stopped} failed")
                continue
            found[check] = _attempted(check, subject)
    return found


def _attempted(check: Check, subject: Subject) -> Finding:
    try:
        return _OF_MEASURES[check](subject)
    except Exception as error:
        reason = named_error(error).splitlines()[0]
        status = "undecided" if is_out_of_memory(error) else "failed"
        return Finding(check, status, f"raised {reason}")  # type: ignore[arg-type]


def network_findings(
    config: TrialConfig,
    dataset: Dataset,
    settings: MeasuringOptions,
    checks: Collection[Check],
    device: str | torch.device = "cpu",
) -> Findings:
    """Check a shape of network: train it for two updates, then check what its measures require.

    The result depends on nothing but the arguments.

    Args:
        config: Of any trial of the shape.
        dataset: Its data, on any device; a few examples are copied.
        settings: How the study measures.
        checks: What the study's measures require.
        device: Where to compute.

    Returns:
        The findings by check, in the order of :data:`CHECKS`.
    """
    found: dict[Check, Finding] = {}
    try:
        with random_state_kept(torch.device(device)):
            for finding in training_findings(config, dataset, device):
                found[finding.check] = finding
    except Exception as error:
        reason = named_error(error).splitlines()[0]
        for check in SPOILS_TRAINING - found.keys():
            found[check] = Finding(check, "undecided", f"raised {reason}")
    if not any(finding.spoils_training for finding in found.values()):
        small = sampled(dataset)
        try:
            context = MeasureContext(
                build_model(
                    config.model,
                    dataset.input_shape,
                    dataset.classes,
                    SEED,
                    dataset.train_x.dtype,
                ),
                small,
                build_loss(config.training.loss),
                device=device,
                dtype=getattr(torch, settings.dtype),
                examples_per_pass=settings.examples_per_pass,
            )
        except Exception as error:
            reason = named_error(error).splitlines()[0]
            made = {check: Finding(check, "undecided", f"raised {reason}") for check in checks}
        else:
            made = dict(context_findings(context, checks))
        for check, finding in made.items():
            # What training decided counts, unless measuring shows a fault.
            if check not in found or finding.status == "failed":
                found[check] = finding
    return {check: found[check] for check in CHECKS if check in found}


def refuse_spoiled(config: TrialConfig, findings: Findings) -> None:
    """Refuse a network that cannot be trained.

    Raises:
        ModelError: If a check failed that spoils training.
    """
    for finding in findings.values():
        if finding.spoils_training:
            raise ModelError(
                f"model {config.model.name!r}, {finding.check.replace('_', ' ')}: {finding.reason}",
                finding.hint,
            )
