"""Options of ``sweep``: values listed per path, and conditions drawn at random."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeInt,
    PositiveInt,
    SerializerFunctionWrapHandler,
    Tag,
    field_validator,
    model_serializer,
)

from orchestrator.random_streams import stream_seed
from orchestrator.study import quantiles
from orchestrator.study.options import HintedError, Options
from orchestrator.study.problems import short

RANDOM = "random"
"""The only key of ``sweep`` that is not a path."""
_EXAMPLE = "random: {conditions: 12, of: {training.optimizer.learning_rate: {log: [0.001, 1]}}}"
_PAIR = "two numbers, the smaller first: [0.001, 1]"

Pair = TypeVar("Pair", tuple[float, float], tuple[int, int])


def axis_paths(key: str) -> tuple[str, ...]:
    """Return the dotted paths of a sweep's key; ``"a, b"`` couples two."""
    return tuple(part.strip() for part in key.split(","))


def by_path(key: str, value: Any) -> dict[str, Any]:
    """Return one value of a sweep's key as dotted path → value.

    Raises:
        ValueError: If the key couples paths and ``value`` is not a list of one value per path.
    """
    paths = axis_paths(key)
    row = tuple(value) if len(paths) > 1 and isinstance(value, list | tuple) else (value,)
    if len(row) != len(paths):
        raise ValueError(f"{key}: expected {len(paths)} values, got {value!r}")
    return dict(zip(paths, row, strict=True))


def _two(value: Any) -> Any:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise HintedError(f"expected a list of two numbers, got {short(value)}", f"write {_PAIR}")
    return value


def _ascending(pair: Pair) -> Pair:
    if pair[0] >= pair[1]:
        raise HintedError(f"expected increasing numbers, got {short(pair)}", f"write {_PAIR}")
    return pair


def _positive(pair: Pair) -> Pair:
    if pair[0] <= 0:
        hint = "start above 0, or use uniform or integer"
        raise HintedError(f"a log scale needs numbers above 0, got {short(pair)}", hint)
    return pair


Numbers = Annotated[tuple[float, float], BeforeValidator(_two), AfterValidator(_ascending)]
Integers = Annotated[tuple[int, int], BeforeValidator(_two), AfterValidator(_ascending)]


class Log(Options):
    """``{log: [0.001, 1]}``: log-uniform between two numbers, six significant digits."""

    log: Annotated[Numbers, AfterValidator(_positive)]

    def quantile(self, fraction: Decimal) -> float:
        """Return the value below which ``fraction`` of all draws lie."""
        return quantiles.log_uniform(*self.log, fraction)


class Uniform(Options):
    """``{uniform: [0, 0.5]}``: uniform between two numbers, six significant digits."""

    uniform: Numbers

    def quantile(self, fraction: Decimal) -> float:
        """Return the value below which ``fraction`` of all draws lie."""
        return quantiles.uniform(*self.uniform, fraction)


class Integer(Options):
    """``{integer: [1, 4]}``: a uniform integer, both ends included."""

    integer: Integers

    def quantile(self, fraction: Decimal) -> int:
        """Return the value below which ``fraction`` of all draws lie."""
        return quantiles.integer(*self.integer, fraction)


class LogInteger(Options):
    """``{log_integer: [16, 512]}``: a log-uniform integer, both ends included."""

    log_integer: Annotated[Integers, AfterValidator(_positive)]

    def quantile(self, fraction: Decimal) -> int:
        """Return the value below which ``fraction`` of all draws lie."""
        return quantiles.log_integer(*self.log_integer, fraction)


class Choice(Options):
    """``{choice: [sgd, adamw]}``: one of the listed values, all equally probable."""

    choice: tuple[Any, ...]

    @field_validator("choice")
    @classmethod
    def _different(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if not values:
            raise HintedError("is an empty list: nothing to choose from", "list at least one value")
        seen = set()
        for value in values:
            text = _comparable(value)
            if text in seen:
                what = f"expected distinct values, got {short(value)} twice"
                raise HintedError(what, "remove one; all values are equally probable")
            seen.add(text)
        return values

    def quantile(self, fraction: Decimal) -> Any:
        """Return the value below which ``fraction`` of all draws lie, in the order of the list."""
        return self.choice[quantiles.integer(0, len(self.choice) - 1, fraction)]


def _comparable(value: Any) -> str:
    """Return text that is equal for values that count as equal, such as 16 and 16.0."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return repr(float(value)) if number else json.dumps(value, sort_keys=True, default=str)


_KINDS: dict[str, type[Options]] = {
    "log": Log,
    "uniform": Uniform,
    "integer": Integer,
    "log_integer": LogInteger,
    "choice": Choice,
}
KINDS = tuple(_KINDS)
"""Each distribution is a mapping with one of these keys."""


def _kind(value: Any) -> str | None:
    if isinstance(value, Options):
        return type(value).__name__
    named = [kind for kind in KINDS if isinstance(value, Mapping) and kind in value]
    return _KINDS[named[0]].__name__ if len(named) == 1 else None


Distribution = Annotated[
    Annotated[Log, Tag("Log")]
    | Annotated[Uniform, Tag("Uniform")]
    | Annotated[Integer, Tag("Integer")]
    | Annotated[LogInteger, Tag("LogInteger")]
    | Annotated[Choice, Tag("Choice")],
    Discriminator(
        _kind,
        custom_error_type="distribution",
        custom_error_message="expected one of {log: [a, b]}, {uniform: [a, b]}, "
        "{integer: [a, b]}, {log_integer: [a, b]} and {choice: […]}",
    ),
]


class RandomSearch(Options):
    """Conditions drawn at random, each with one value per path in ``of``.

    Values depend only on ``seed``, the condition's index and the path. Raising ``conditions``
    therefore keeps the existing ones, and the order of paths does not matter.
    """

    conditions: PositiveInt = Field(description="Number of conditions to draw.")
    seed: NonNegativeInt = Field(0, description="Another seed draws other conditions.")
    of: dict[str, Distribution] = Field(
        description="Dotted path → its distribution; 'a, b' couples two paths, drawn from pairs."
    )

    @field_validator("of")
    @classmethod
    def _not_empty(cls, of: dict[str, Distribution]) -> dict[str, Distribution]:
        if not of:
            raise HintedError("is empty: nothing to draw", f"for example {_EXAMPLE}")
        return of

    @property
    def paths(self) -> tuple[str, ...]:
        """Dotted paths that each condition draws."""
        return tuple(path for key in self.of for path in axis_paths(key))

    def condition(self, index: int) -> dict[str, Any]:
        """Return the condition with this 0-based index, as dotted path → value."""
        values: dict[str, Any] = {}
        for key, distribution in self.of.items():
            bits = stream_seed(self.seed, "random search", index, *axis_paths(key))
            values |= by_path(key, distribution.quantile(quantiles.fraction_of(bits)))
        return values


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping):
        meant = {"conditions", "of"} & value.keys()
        hint = "did you mean 'random'?" if meant else f"to draw values at random: {_EXAMPLE}"
        raise HintedError(f"expected a list of values, got {short(value)}", hint)
    return value


class Sweep(Options):
    """The axes of a study: each key is a dotted path with its values, or ``random``."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[tuple[Any, ...], BeforeValidator(_listed)]]

    random: RandomSearch | None = Field(
        None, description="Conditions drawn at random; together they form one axis."
    )

    @field_validator("random", mode="before")
    @classmethod
    def _not_null(cls, value: Any) -> Any:
        if value is None:
            raise HintedError("is empty: nothing to draw", f"for example {_EXAMPLE}")
        return value

    @model_serializer(mode="wrap")
    def _without_null(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = serialize(self)
        if self.random is None:
            content.pop("random", None)
        return content

    @property
    def paths(self) -> tuple[str, ...]:
        """All swept dotted paths, those drawn at random first."""
        drawn = self.random.paths if self.random is not None else ()
        return drawn + tuple(path for key in self.listed for path in axis_paths(key))

    @property
    def listed(self) -> dict[str, tuple[Any, ...]]:
        """Dotted path, or several coupled paths → the values of a listed axis."""
        return self.__pydantic_extra__ or {}
