"""What the trust checks are called, what each of them spoils, and what one found."""

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
"""In the order in which they are made: a check may presuppose those before it."""
Status = Literal["passed", "failed", "undecided"]

SPOILS_TRAINING: frozenset[Check] = frozenset({"outputs_fit", "data_unchanged", "state_restores"})
"""If one of these fails, nothing is trained. If another fails, some measures have no value."""

# What measures require, by what they compute.
PASSES: frozenset[Check] = frozenset(
    {"data_unchanged", "measuring_precision", "repeatable", "examples_separate"}
)
PARAMETER_GRADIENTS: frozenset[Check] = PASSES | {"parameter_gradients"}
INPUT_GRADIENTS: frozenset[Check] = PASSES | {"input_gradients"}
SECOND_DERIVATIVES: frozenset[Check] = PARAMETER_GRADIENTS | {"second_derivatives"}

UNTRUSTED = "trust check "
"""How the reason begins in the rows of measures that a failed check leaves without a value."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check for one shape of network.

    Attributes:
        check: Which check.
        status: ``passed``, ``failed``, or ``undecided`` if the check could not be made.
        reason: Why it did not pass.
        hint: How to mend it.
    """

    check: Check
    status: Status = "passed"
    reason: str | None = None
    hint: str | None = None

    @property
    def spoils_training(self) -> bool:
        """Whether nothing may be trained."""
        return self.status == "failed" and self.check in SPOILS_TRAINING


Findings = Mapping[Check, Finding]


def objection(required: Collection[Check], findings: Findings) -> str | None:
    """Why a measure has no value: the first of its required checks that failed, if any."""
    for check in CHECKS:
        finding = findings.get(check)
        if check in required and finding is not None and finding.status == "failed":
            hint = "" if finding.hint is None else f"\n  hint: {finding.hint}"
            return f"{UNTRUSTED}{check} failed: {finding.reason}{hint}"
    return None
