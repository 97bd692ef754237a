"""Measures: base class, values, curves and catalog entries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from orchestrator.data.dataset import Split
from orchestrator.measures.trust.finding import PASSES, Check
from orchestrator.study.measure_options import MeasureOptions

if TYPE_CHECKING:
    from orchestrator.measures.context import MeasureContext

Need = Literal["gradient_graph", "krylov_space"]
"""Shared results that are too large to keep once no remaining measure needs them."""
Direction = Literal["higher", "lower", "neutral"]


@dataclass(frozen=True)
class CatalogEntry:
    """Description of one measure; one row of the table ``measure_catalog``.

    Attributes:
        measure: Name, as in the column ``measures.measure``.
        family: ``margin``, ``flatness``, ``norm`` …
        symbol: Short mathematical notation, plain text.
        unit: Unit of the value; ``"1"`` if dimensionless.
        direction: Whether ``higher`` or ``lower`` values mean larger margins, flatter minima or
            lower complexity, and are thus expected to generalize better; ``neutral`` otherwise.
        citation: Paper, with arXiv id and equation if available.
        cost: Cost in forward passes (F) and gradients (G) over the measured examples.
        invariances: Changes of the weights known to leave the value unchanged:
            ``layer rescaling`` (α and 1/α on successive ReLU layers, which preserves the
            function) and ``logit scale`` (the last layer times c), each followed by its
            condition in brackets, if any; or ``none``.
    """

    measure: str
    family: str
    symbol: str
    unit: str
    direction: Direction
    citation: str
    cost: str
    invariances: str = "none"


@dataclass(frozen=True)
class Value:
    """One number computed by a measure.

    Attributes:
        measure: Name of the measure, as in the catalog.
        value: The number; infinities and NaN are allowed and recorded as ``nonfinite``.
        standard_error: Standard error of a stochastic value; None if exact.
        variant: Short canonical text that identifies the variant, for example ``spectral``.
        split: Split of the examples used; None if the value is data-free.
        n_examples: Number of examples used; None means all measured examples of ``split``, if any.
        reason: Why the value is not finite or cannot be trusted, if known.
    """

    measure: str
    value: float
    standard_error: float | None = None
    variant: str = ""
    split: Split | None = "train"
    n_examples: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Curve:
    """A function evaluated at some points, such as a density or a slice of the loss.

    It is one row of the table ``curves``.

    Attributes:
        curve: Name, as in the catalog.
        x: Points at which the function was evaluated.
        values: Function values, as long as ``x``; non-finite values are kept unchanged.
        y: Second coordinate of each point, for a function of two variables.
        standard_errors: Standard error of each value, if stochastic.
        variant: As in :class:`Value`.
        split: As in :class:`Value`.
        n_examples: As in :class:`Value`.
        reason: Explanation of non-finite values.

    Raises:
        ValueError: If the sequences differ in length.
    """

    curve: str
    x: Sequence[float]
    values: Sequence[float]
    y: Sequence[float] | None = None
    standard_errors: Sequence[float] | None = None
    variant: str = ""
    split: Split | None = "train"
    n_examples: int | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        columns = {"values": self.values, "y": self.y, "standard_errors": self.standard_errors}
        for name, column in columns.items():
            if column is not None and len(column) != len(self.x):
                raise ValueError(
                    f"curve {self.curve!r}: {name} has {len(column)} points, x has {len(self.x)}"
                )


class Measure(ABC):
    """A quantity computed from a network and its data.

    A subclass takes its parameters (an options object of the study file) in its constructor. A
    built-in measure is registered under the class of its options:
    ``class Margin(Measure, options=MarginOptions)``.

    Attributes:
        entries: One catalog entry per measure it can yield. The constructor sets them if they
            depend on the parameters.
        version: Version of the code. Increase it when a change affects values; snapshots are
            then remeasured.
        needs: Large results shared with other measures. Measures with a common need run
            consecutively, and the result is released after the last of them. A custom measure
            that uses ``gradient`` or ``hessian`` of the context needs
            ``gradient_graph``; if it does not declare this, the graph may be built twice.
        requires: Trust checks that the network must pass for the values to be meaningful, grouped
            as in :mod:`orchestrator.measures.trust.finding`. By default, those of forward passes.
        curves: When it yields curves: never, whenever it does not fail, or whenever one of its
            values is finite. If stored curves are lost, the snapshot is remeasured.
    """

    entries: tuple[CatalogEntry, ...]
    version: ClassVar[int] = 1
    needs: ClassVar[frozenset[Need]] = frozenset()
    requires: ClassVar[frozenset[Check]] = PASSES
    curves: ClassVar[Literal["never", "always", "if finite"]] = "never"

    def __init_subclass__(cls, *, options: type[MeasureOptions] | None = None, **more: Any) -> None:
        super().__init_subclass__(**more)
        if options is not None:
            BUILT_IN[options] = cls

    @abstractmethod
    def compute(self, context: MeasureContext) -> Iterable[Value | Curve]:
        """Yield at least one value, and any curves.

        Get results that several measures share from ``context``.
        """


BUILT_IN: dict[type[MeasureOptions], Callable[[Any], Measure]] = {}
"""Imported built-in measures, by the class of their options."""
