"""Custom measures: functions of the context."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from orchestrator.errors import MeasureError
from orchestrator.measures.base import Curve, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.study.import_path import own_code


def refuse_taken(own: str, names: Iterable[str], taken: Collection[str]) -> None:
    """Refuse values of a custom measure that would be mistaken for built-in ones.

    Args:
        own: Import path or entry point, for the message.
        names: Names of its values and curves.
        taken: Names of the values and curves of built-in measures.

    Raises:
        MeasureError: If a name is taken.
    """
    both = [name for name in names if name in taken]
    if both:
        raise MeasureError(
            f"measure {own!r}: {both[0]!r} is the name of a built-in measure",
            "give its value another name",
        )


class FunctionMeasure(Measure):
    """A callable ``(context, **arguments)`` as a measure.

    It returns or yields :class:`Value` and :class:`Curve` objects, pairs ``(name, value)`` or
    triples ``(name, value, standard_error)``. The split of pairs and triples is unknown.

    Args:
        name: Import path or entry point, for messages.
        function: The callable.
        arguments: Its keyword arguments, from the study file.
        taken: Names that its values and curves must not have.
    """

    entries = ()

    def __init__(
        self,
        name: str,
        function: Callable[..., Iterable[Any]],
        arguments: dict[str, Any],
        taken: Collection[str] = (),
    ) -> None:
        self.name = name
        self.function = function
        self.arguments = arguments
        self.taken = taken

    def compute(self, context: MeasureContext) -> Iterator[Value | Curve]:
        """Yield the function's values and curves.

        Raises:
            MeasureError: If the function returns anything other than values, curves, pairs or
                triples, or uses the name of a built-in measure.
        """
        with own_code():
            found = self.function(context, **self.arguments)
            if isinstance(found, str) or not isinstance(found, Iterable):
                raise self._unusable(found)
            items = list(found)
        for item in items:
            value = item if isinstance(item, Value | Curve) else self._value(item)
            name = value.curve if isinstance(value, Curve) else value.measure
            refuse_taken(self.name, [name], self.taken)
            yield value

    def _value(self, item: Any) -> Value:
        if not isinstance(item, tuple) or len(item) not in (2, 3) or not isinstance(item[0], str):
            raise self._unusable(item)
        name, *numbers = item
        try:
            value, *error = map(float, numbers)
        except (TypeError, ValueError) as problem:
            raise self._unusable(item) from problem
        return Value(name, value, error[0] if error else None, split=None)

    def _unusable(self, got: object) -> MeasureError:
        return MeasureError(
            f"measure {self.name!r}: returned {got!r}, expected (name, value) or "
            f"(name, value, standard_error)",
            'use "yield name, value" in the measure',
        )
