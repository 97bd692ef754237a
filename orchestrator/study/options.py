"""What every part of a study file has in common: strict, immutable, named options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class HintedError(ValueError):
    """A wrong value.

    Args:
        what: What is wrong.
        hint: How to mend it.
    """

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


class Options(BaseModel):
    """Base of all options: unknown keys are errors, values can't change afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse ``batch_size: true``, which Python takes for 1."""
        items = value if isinstance(value, list | tuple) else (value,)
        wrong = [item for item in items if isinstance(item, bool)]
        field = cls.model_fields[info.field_name or ""]
        if wrong and not _takes_truth(field.annotation):
            raise ValueError(f"should be no truth value, got {str(wrong[0]).lower()}")
        return value


def _takes_truth(annotation: Any) -> bool:
    return annotation in (bool, Any) or any(map(_takes_truth, get_args(annotation)))


class CustomOptions(Options):
    """The user's own component, named by import path or entry point.

    Every further key is handed to it as a keyword argument.
    """

    # An infinite argument stays one in the stored study.
    model_config = ConfigDict(
        frozen=True, extra="allow", allow_inf_nan=False, ser_json_inf_nan="constants"
    )

    name: str

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments for the user's callable."""
        return dict(self.model_extra or {})


def is_import_path(name: str) -> bool:
    """Whether ``name`` reads ``package.module:attribute``."""
    return _IMPORT_PATH.fullmatch(name) is not None


@lru_cache  # Looking through all installed packages takes a tenth of a second.
def installed_components(kind: str) -> frozenset[str]:
    """Names that installed packages offer in the entry point group ``orchestrator.<kind>``."""
    return frozenset(entry.name for entry in entry_points(group=f"orchestrator.{kind}"))


def component_tag(value: Any, kind: str, key: str = "name") -> str | None:
    """Tell which member of a union of options ``value`` means: a built-in name or ``custom``.

    Args:
        value: The raw mapping, or an already validated object.
        kind: ``models``, ``datasets``, ``losses``, ``optimizers`` or ``measures``.
        key: The key that holds the name.

    Returns:
        ``"custom"`` for import paths and entry points, the name itself otherwise,
        None if there is no name at all.
    """
    name = value.get(key) if isinstance(value, Mapping) else getattr(value, key, None)
    if not isinstance(name, str):
        return None
    if is_import_path(name) or name in installed_components(kind):
        return "custom"
    return name


def name_to_mapping(value: Any, key: str = "name") -> Any:
    """Accept the short form ``mlp`` for ``{name: mlp}``."""
    return {key: value} if isinstance(value, str) else value
