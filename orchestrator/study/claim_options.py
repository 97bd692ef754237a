"""What a study claims: the claims that are built in, and those stated in the study file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from orchestrator.study.measure_options import short_form
from orchestrator.study.options import Options

BuiltInName = Literal[
    "flatness_tracks_margin",
    "margin_is_cheaper",
    "flatness_depends_on_parametrization",
    "margin_predicts_gap_at_least_as_well",
    "flatness_is_an_epiphenomenon",
    "large_batch_needs_time",
]
Statistic = Literal["pearson", "spearman", "kendall", "mean", "median"]
Design = Literal["snapshots", "final", "matched_loss", "matched_updates", "matched_epochs"]


class BuiltInClaim(Options):
    """A claim of the field, asked for by name."""

    name: BuiltInName
    threshold: float | None = Field(
        None, description="What its interval is compared with; by default the claim's own."
    )
    networks: int | None = Field(
        None,
        ge=1,
        description="Of flatness_depends_on_parametrization: the most networks to audit of each "
        "shape (architecture, data and loss). By default two of each condition.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.networks is not None and self.name != "flatness_depends_on_parametrization":
            raise ValueError(f"{self.name} audits no networks, so leave out networks")
        return self


class StatedClaim(Options):
    """A claim of the study's own: a statistic of one or two columns, and where it has to lie.

    Columns are those of the view ``wide``: measures by their column's name, ``loss_gap``,
    ``error_gap``, ``train_loss`` and so on, or whatever ``query`` returns.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    statement: str = Field(min_length=1, description="What is claimed, in one sentence.")
    x: str = Field(min_length=1, description="A column.")
    y: str = Field("", description="The other column of a correlation.")
    statistic: Statistic = Field(
        "kendall",
        description="Of x and y; mean and median are of x. Pearson where columns are given.",
    )
    log: tuple[str, ...] = Field((), description="Columns of which log10 is taken.")
    given: tuple[str, ...] = Field(
        (), description="Columns held fixed: Pearson's partial correlation."
    )
    design: Design = Field(
        "snapshots",
        description="What is compared: all snapshots, those of the trained networks, or networks "
        "at the same train loss, after the same number of updates, or of epochs.",
    )
    where: str = Field("", description="An SQL condition on wide, such as train_error <= 0.1.")
    query: str = Field(
        "",
        description="Instead of design and where: a SELECT that returns trial_id, condition_id "
        "and the columns named.",
    )
    above: float | None = Field(None, description="The claim is that the number lies above this.")
    below: float | None = Field(None, description="The claim is that the number lies below this.")

    @model_validator(mode="before")
    @classmethod
    def _default_statistic(cls, content: Any) -> Any:
        # Heavy tails mislead Pearson's r; only it can hold columns fixed.
        if isinstance(content, Mapping) and content.get("given") and "statistic" not in content:
            return {**content, "statistic": "pearson"}
        return content

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError("a claim needs either above or below")
        of_one = self.statistic in {"mean", "median"}
        if of_one and (self.y or self.given):
            raise ValueError(f"the {self.statistic} is of x alone, so leave out y and given")
        if not of_one and not self.y:
            raise ValueError(f"{self.statistic} needs x and y")
        if self.given and self.statistic != "pearson":
            raise ValueError("given is for the statistic pearson only")
        if self.query and (self.where or self.design != "snapshots"):
            raise ValueError("a query stands instead of where and design")
        if of_one and self.design.startswith("matched"):
            raise ValueError(f"the design {self.design} compares two columns")
        if self.given and self.design.startswith("matched"):
            raise ValueError(f"given and the design {self.design} exclude each other")
        unknown = [name for name in self.log if name not in {self.x, self.y, *self.given}]
        if unknown:
            raise ValueError(f"log names {unknown[0]!r}, which is neither x, y nor given")
        return self

    @property
    def threshold(self) -> float:
        """What the number's interval is compared with."""
        return self.below if self.above is None else self.above  # type: ignore[return-value]


def _claim_tag(value: Any) -> str | None:
    """A built-in claim's name, or ``stated`` for what says more than a name."""
    named = isinstance(value, Mapping)
    name = value.get("name") if named else getattr(value, "name", None)
    if not isinstance(name, str):
        return None
    more = set(value) - set(BuiltInClaim.model_fields) if named else isinstance(value, StatedClaim)
    return name if name in get_args(BuiltInName) or not more else "stated"


if TYPE_CHECKING:
    ClaimRequest = BuiltInClaim | StatedClaim
else:
    ClaimRequest = Annotated[
        reduce(
            or_,
            [
                *(Annotated[BuiltInClaim, Tag(name)] for name in get_args(BuiltInName)),
                Annotated[StatedClaim, Tag("stated")],
            ],
        ),
        Discriminator(_claim_tag),
        BeforeValidator(short_form),
    ]
    """One entry of ``claims`` in a study file."""
