"""The common base of all parts of a study file: strict, immutable, named options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class HintedError(ValueError):
    """An invalid value, with a hint.

    Args:
        what: The problem.
        hint: How to fix it.
    """

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


class Options(BaseModel):
    """Base of all options: unknown keys are errors, and values are immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse ``batch_size: true``, which Python treats as 1."""
        items = value if isinstance(value, list | tuple) else (value,)
        wrong = [item for item in items if isinstance(item, bool)]
        field = cls.model_fields[info.field_name or ""]
        if wrong and not _takes_truth(field.annotation):
            raise ValueError(f"should not be a boolean, got {str(wrong[0]).lower()}")
        return value


def _takes_truth(annotation: Any) -> bool:
    return annotation in (bool, Any) or any(map(_takes_truth, get_args(annotation)))


class CustomOptions(Options):
    """A user-defined component, named by import path or entry point.

    All other keys are passed to it as keyword arguments.
    """

    # Infinite arguments stay infinite in the stored study.
    model_config = ConfigDict(
        frozen=True, extra="allow", allow_inf_nan=False, ser_json_inf_nan="constants"
    )

    name: str

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for the user's callable."""
        return dict(self.model_extra or {})


def is_import_path(name: str) -> bool:
    """Return whether ``name`` has the form ``package.module:attribute``."""
    return _IMPORT_PATH.fullmatch(name) is not None


@lru_cache  # Searching all installed packages takes a tenth of a second.
def installed_components(kind: str) -> frozenset[str]:
    """Return the names that installed packages provide in the group ``orchestrator.<kind>``."""
    return frozenset(entry.name for entry in entry_points(group=f"orchestrator.{kind}"))


def component_tag(value: Any, kind: str, key: str = "name") -> str | None:
    """Return the union tag of the options in ``value``: a built-in name or ``custom``.

    Args:
        value: The raw mapping, or an already validated object.
        kind: ``models``, ``datasets``, ``losses``, ``optimizers`` or ``measures``.
        key: The key that contains the name.

    Returns:
        ``"custom"`` for import paths and entry points, the name itself otherwise,
        None without a name.
    """
    name = value.get(key) if isinstance(value, Mapping) else getattr(value, key, None)
    if not isinstance(name, str):
        return None
    if is_import_path(name) or name in installed_components(kind):
        return "custom"
    return name


def name_to_mapping(value: Any, key: str = "name") -> Any:
    """Expand the short form ``mlp`` to ``{name: mlp}``."""
    return {key: value} if isinstance(value, str) else value
