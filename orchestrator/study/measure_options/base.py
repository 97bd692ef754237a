"""What every request for a measure has."""

from __future__ import annotations

import json
from typing import ClassVar

from orchestrator.study.options import CustomOptions, Options


class MeasureOptions(Options):
    """Base of every measure's options.

    Attributes:
        values: Names of the values that the measure yields, which become columns of ``wide``; ``#``
            stands for a number. They are known here without torch.
        takes_subset: Whether the measure takes a stratified subset of ``examples`` of each split.
    """

    name: str
    values: ClassVar[tuple[str, ...]] = ()
    takes_subset: ClassVar[bool] = False

    @property
    def request(self) -> str:
        """Canonical text of what was asked, ``name`` or ``name(parameter=value, …)``.

        Parameters at their defaults are left out, so that a later release can add
        parameters without asking for anything to be measured again.
        """
        given = self.model_dump(mode="json", exclude_defaults=True)
        given.pop("name", None)
        arguments = ", ".join(
            f"{key}={json.dumps(value, sort_keys=True)}" for key, value in sorted(given.items())
        )
        return f"{self.name}({arguments})" if arguments else self.name


class CustomMeasure(MeasureOptions, CustomOptions):
    """The user's own measure, by import path or entry point."""
