"""Claim options: built-in claims, and claims stated in the study file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from orchestrator.study.measure_options import short_form
from orchestrator.study.options import Options


@dataclass(frozen=True)
class ClaimNeeds:
    """What a built-in claim is judged on.

    Attributes:
        columns: Columns of ``wide``; without one of them the claim stays unclear.
        audit: Whether runs of a study with this claim audit networks.
        hyperparameters: Columns of ``trials`` that the claim is about.
    """

    columns: tuple[str, ...] = ("margin_mean", "hessian_trace")
    audit: bool = False
    hyperparameters: tuple[str, ...] = ()


CLAIM_NEEDS = {
    "flatness_tracks_margin": ClaimNeeds(),
    "margin_is_cheaper": ClaimNeeds(),
    "flatness_depends_on_parametrization": ClaimNeeds(audit=True),
    "margin_predicts_gap_at_least_as_well": ClaimNeeds(),
    "flatness_is_an_epiphenomenon": ClaimNeeds(),
    "large_batch_needs_time": ClaimNeeds(columns=("margin_mean",), hyperparameters=("batch_size",)),
}
"""The name of each built-in claim with its needs; its class is in ``reporting/claims/``."""

if TYPE_CHECKING:
    BuiltInName = str
else:
    BuiltInName = Literal[tuple(CLAIM_NEEDS)]
Statistic = Literal["pearson", "spearman", "kendall", "mean", "median"]
Design = Literal["snapshots", "final", "matched_loss", "matched_updates", "matched_epochs"]


class BuiltInClaim(Options):
    """A claim of the field, selected by name."""

    name: BuiltInName
    threshold: float | None = Field(
        None, description="Threshold for the claim's interval; by default the built-in one."
    )
    networks: int | None = Field(
        None,
        ge=1,
        description="For flatness_depends_on_parametrization: maximum number of networks to audit "
        "per shape (architecture, data and loss). By default two per condition.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.networks is not None and not CLAIM_NEEDS[self.name].audit:
            raise ValueError(f"{self.name} audits no networks; remove the option networks")
        return self


def claim_with_audits(claims: Iterable[BuiltInClaim | StatedClaim]) -> BuiltInClaim | None:
    """Return the first claim that needs audits, or None."""
    for claim in claims:
        if isinstance(claim, BuiltInClaim) and CLAIM_NEEDS[claim.name].audit:
            return claim
    return None


class StatedClaim(Options):
    """A claim stated in the study file: a statistic of one or two columns, and its bound.

    The columns come from the view ``wide`` (measures under their column names, ``loss_gap``,
    ``error_gap``, ``train_loss`` and so on) or from ``query``.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    statement: str = Field(min_length=1, description="The claim, in one sentence.")
    x: str = Field(min_length=1, description="A column.")
    y: str = Field("", description="The other column of a correlation.")
    statistic: Statistic = Field(
        "kendall",
        description="Statistic of x and y, or of x for mean and median. With given, the default "
        "is pearson.",
    )
    log: tuple[str, ...] = Field((), description="Columns to transform by log10.")
    given: tuple[str, ...] = Field(
        (), description="Columns held fixed in Pearson's partial correlation."
    )
    design: Design = Field(
        "snapshots",
        description="Networks to compare: all snapshots, those of final networks, or those with "
        "the same train loss, number of updates or number of epochs.",
    )
    where: str = Field("", description="An SQL condition on wide, such as train_error <= 0.1.")
    query: str = Field(
        "",
        description="A SELECT that replaces design and where; returns trial_id, condition_id and "
        "the named columns.",
    )
    above: float | None = Field(None, description="The claim is that the statistic is above this.")
    below: float | None = Field(None, description="The claim is that the statistic is below this.")

    @model_validator(mode="before")
    @classmethod
    def _default_statistic(cls, content: Any) -> Any:
        # Heavy tails mislead Pearson's r, but only it can hold columns fixed.
        if isinstance(content, Mapping) and content.get("given") and "statistic" not in content:
            return {**content, "statistic": "pearson"}
        return content

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError("a claim needs either above or below")
        of_one = self.statistic in {"mean", "median"}
        if of_one and (self.y or self.given):
            raise ValueError(f"the {self.statistic} uses x alone; remove y and given")
        if not of_one and not self.y:
            raise ValueError(f"{self.statistic} needs x and y")
        if self.given and self.statistic != "pearson":
            raise ValueError("given works with the statistic pearson only")
        if self.query and (self.where or self.design != "snapshots"):
            raise ValueError("query cannot be combined with where or design")
        if of_one and self.design.startswith("matched"):
            raise ValueError(f"the design {self.design} compares two columns")
        if self.given and self.design.startswith("matched"):
            raise ValueError(f"given cannot be combined with the design {self.design}")
        unknown = [name for name in self.log if name not in {self.x, self.y, *self.given}]
        if unknown:
            raise ValueError(f"log names {unknown[0]!r}, which is neither x, y nor given")
        return self

    @property
    def threshold(self) -> float:
        """Bound for the interval of the statistic."""
        return self.below if self.above is None else self.above  # type: ignore[return-value]


def _claim_tag(value: Any) -> str | None:
    """Return a built-in claim's name, or ``stated`` for a claim with keys of its own."""
    named = isinstance(value, Mapping)
    name = value.get("name") if named else getattr(value, "name", None)
    if not isinstance(name, str):
        return None
    more = set(value) - set(BuiltInClaim.model_fields) if named else isinstance(value, StatedClaim)
    return name if name in CLAIM_NEEDS or not more else "stated"


if TYPE_CHECKING:
    ClaimRequest = BuiltInClaim | StatedClaim
else:
    ClaimRequest = Annotated[
        reduce(
            or_,
            [
                *(Annotated[BuiltInClaim, Tag(name)] for name in CLAIM_NEEDS),
                Annotated[StatedClaim, Tag("stated")],
            ],
        ),
        Discriminator(_claim_tag),
        BeforeValidator(short_form),
    ]
    """One entry of ``claims`` in a study file."""
