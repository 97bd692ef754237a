"""Trust checks: names, consequences and findings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Check = Literal[
    "outputs_fit",
    "data_unchanged",
    "state_restores",
    "measuring_precision",
    "repeatable",
    "examples_separate",
    "parameter_gradients",
    "input_gradients",
    "second_derivatives",
]
CHECKS: tuple[Check, ...] = get_args(Check)
"""Checks in execution order; a check may presuppose earlier ones."""
Status = Literal["passed", "failed", "undecided"]

SPOILS_TRAINING: frozenset[Check] = frozenset({"outputs_fit", "data_unchanged", "state_restores"})
"""Checks whose failure prevents training. If another check fails, some measures have no value."""

# Checks required by measures, grouped by the quantities these compute.
PASSES: frozenset[Check] = frozenset(
    {"data_unchanged", "measuring_precision", "repeatable", "examples_separate"}
)
PARAMETER_GRADIENTS: frozenset[Check] = PASSES | {"parameter_gradients"}
INPUT_GRADIENTS: frozenset[Check] = PASSES | {"input_gradients"}
SECOND_DERIVATIVES: frozenset[Check] = PARAMETER_GRADIENTS | {"second_derivatives"}

UNTRUSTED = "trust check "
"""Prefix of the reason in rows of measures without a value because of a failed check."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check for one shape of network.

    Attributes:
        check: Name of the check.
        status: ``passed``, ``failed``, or ``undecided`` if the check was not possible.
        reason: Why it did not pass.
        hint: How to fix the problem.
    """

    check: Check
    status: Status = "passed"
    reason: str | None = None
    hint: str | None = None

    @property
    def spoils_training(self) -> bool:
        """Whether the network must not be trained."""
        return self.status == "failed" and self.check in SPOILS_TRAINING


Findings = Mapping[Check, Finding]


def objection(required: Collection[Check], findings: Findings) -> str | None:
    """Return why a measure has no value: its first required check that failed, or None."""
    for check in CHECKS:
        finding = findings.get(check)
        if check in required and finding is not None and finding.status == "failed":
            hint = "" if finding.hint is None else f"\n  hint: {finding.hint}"
            return f"{UNTRUSTED}{check} failed: {finding.reason}{hint}"
    return None
