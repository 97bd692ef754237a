"""What a measure is, and what it yields."""

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
"""What is shared and too large to keep when no measure needs it any more."""
Direction = Literal["higher", "lower", "neutral"]


@dataclass(frozen=True)
class CatalogEntry:
    """What a reader must know of one measure; one row of the table ``measure_catalog``.

    Attributes:
        measure: Name, as in the column ``measures.measure``.
        family: ``margin``, ``flatness``, ``norm`` …
        symbol: Short mathematical notation, plain text.
        unit: Unit of the value, ``"1"`` if it has none.
        direction: Whether ``higher`` or ``lower`` values mean larger margins, flatter minima or
            lower complexity, and so are expected to generalize better; ``neutral`` otherwise.
        citation: Paper, with arXiv id and equation where there is one.
        cost: In forward passes (F) and gradients (G) over the examples measured.
        invariances: Which changes of the weights are known to leave the value as it is:
            ``layer rescaling`` (α and 1/α on successive ReLU layers, so that the function stays)
            and ``logit scale`` (the last layer times c), with a condition in brackets where it
            is not always so; or ``none``.
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
    """One number that a measure found.

    Attributes:
        measure: Name of the measure, as in the catalog.
        value: The number; infinities and NaN are allowed and recorded as ``nonfinite``.
        standard_error: Of a stochastic value; None if the value is exact.
        variant: Canonical short text of what distinguishes it, for example ``spectral``.
        split: Which examples it was computed on; None if the value is free of data.
        n_examples: How many of them; None means all measured examples of ``split``, if any.
        reason: Why the value isn't finite or not to be trusted, where that is known.
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
    """A function that a measure found, at some points: a density, or a slice of the loss.

    It is one row of the table ``curves``.

    Attributes:
        curve: Name, as in the catalog.
        x: Where the function was evaluated.
        values: The function there, as long as ``x``; non-finite values are kept as they are.
        y: Second coordinate of each point, of a function of two variables.
        standard_errors: Of each value, where they are stochastic.
        variant: As of :class:`Value`.
        split: As of :class:`Value`.
        n_examples: As of :class:`Value`.
        reason: What a reader must know of values that are not finite.

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
    """Something that can be computed of a network and its data.

    A subclass takes its parameters (an options object of the study file) in its constructor. A
    built-in one names the class of these options, by which it is found:
    ``class Margin(Measure, options=MarginOptions)``.

    Attributes:
        entries: One for each measure it can yield; where these depend on its parameters, its
            constructor sets them.
        version: Raised when a change of the code changes values; snapshots are then measured
            again.
        needs: The large things it shares with others; they are kept until the last measure of
            the snapshot that needs them, and such measures come one after the other. One's own
            measure that calls ``gradient`` or ``hessian_vector_product`` of the context needs
            ``gradient_graph``; where it doesn't say so, the graph may be built once more.
        requires: The trust checks that the network must not fail for the values to mean what they
            say, as :mod:`orchestrator.measures.trust.finding` groups them; by default those of
            forward passes.
        curves: When it yields curves: never, whenever it does not fail, or whenever one of its
            values is finite. Where they are lost, the snapshot is measured again.
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
        """Yield the values, at least one, and curves if it has any.

        Whatever several measures need comes from ``context``.
        """


BUILT_IN: dict[type[MeasureOptions], Callable[[Any], Measure]] = {}
"""Built-in measures that have been imported, by the class of their options."""
