"""The common base of all measure options."""

from __future__ import annotations

import json
from typing import ClassVar

from orchestrator.study.options import CustomOptions, Options


class MeasureOptions(Options):
    """Base of every measure's options.

    Attributes:
        values: Names of the values that the measure yields, which become columns of ``wide``; ``#``
            stands for a number. Listed here, they are known without importing torch.
        takes_subset: Whether the measure uses a stratified subset of ``examples`` per split.
    """

    name: str
    values: ClassVar[tuple[str, ...]] = ()
    takes_subset: ClassVar[bool] = False

    @property
    def request(self) -> str:
        """Canonical text of the request, ``name`` or ``name(option=value, …)``.

        Options at their defaults are omitted, so that a later release can add options
        without making existing results look unmeasured.
        """
        given = self.model_dump(mode="json", exclude_defaults=True)
        given.pop("name", None)
        arguments = ", ".join(
            f"{key}={json.dumps(value, sort_keys=True)}" for key, value in sorted(given.items())
        )
        return f"{self.name}({arguments})" if arguments else self.name


class CustomMeasure(MeasureOptions, CustomOptions):
    """A user-defined measure, named by import path or entry point."""
