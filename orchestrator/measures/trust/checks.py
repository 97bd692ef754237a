"""Trust checks of one network, before a study trains its shape or a notebook measures it."""

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
"""If one of these fails, later checks would only repeat its failure."""


def context_findings(context: MeasureContext, checks: Collection[Check]) -> Findings:
    """Check the network of a context for what its measures require.

    Each check uses a copy of the network and of at most 100 examples, and runs once per context.

    Args:
        context: The context; its network and data are not modified.
        checks: Names of the checks.
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
    """Check a network shape: train it for two updates, then check what its measures require.

    The result depends only on the arguments.

    Args:
        config: Configuration of any trial of the shape.
        dataset: Its data, on any device; a few examples are copied.
        settings: Measuring options of the study.
        checks: Checks required by the study's measures.
        device: Device to compute on.

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
            # Findings from training take precedence, unless measuring fails a check.
            if check not in found or finding.status == "failed":
                found[check] = finding
    return {check: found[check] for check in CHECKS if check in found}


def refuse_spoiled(config: TrialConfig, findings: Findings) -> None:
    """Refuse a network that cannot be trained.

    Raises:
        ModelError: If a check failed whose failure prevents training.
    """
    for finding in findings.values():
        if finding.spoils_training:
            raise ModelError(
                f"model {config.model.name!r}, {finding.check.replace('_', ' ')}: {finding.reason}",
                finding.hint,
            )
