"""The common base of all parts of a study file: strict, immutable, named options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from importlib.metadata import entry_points
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    GetCoreSchemaHandler,
    Tag,
    ValidationInfo,
    field_validator,
)
from pydantic_core import CoreSchema

_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


Kind = TypeVar("Kind", bound="Options")


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


class BuiltIn(Options):
    """Base of the options of built-in parts, which a study file selects by name.

    Each kind of part has a class below this one, without a name. Each part has a class directly
    below its kind; the type of its field ``name`` is a ``Literal`` with the part's name or names.
    No other list of parts exists: see :func:`parts_of` and :class:`OneOf`.
    """

    if TYPE_CHECKING:
        name: str


def parts_of(kind: type[Kind]) -> tuple[type[Kind], ...]:
    """Return the options of every part of a kind, in the order of their definition.

    Args:
        kind: A class directly below :class:`BuiltIn`. Any other class is a part by itself.
    """
    if issubclass(kind, BuiltIn) and "name" not in kind.model_fields:
        return tuple(kind.__subclasses__())
    return (kind,)


def names_of(options: type[Options]) -> tuple[str, ...]:
    """Return the names that select a part: those in its ``Literal``, else ``custom``."""
    return get_args(options.model_fields["name"].annotation) or ("custom",)


@dataclass(frozen=True)
class OneOf:
    """Annotation of a kind of part: a field then takes any part of that kind, selected by name.

    The parts are read off the annotated classes when the class that has the field is created, so
    they may be defined later than the annotated type, but in the same file.

    Args:
        components: Group of entry points with users' own parts, as for :func:`component_tag`; None
            if a part must be built in.
    """

    components: str | None = None

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return the schema of the tagged union of all parts."""

        def tag(value: Any) -> str | None:  # pydantic wants a function with a name.
            return component_tag(value, self.components)

        parts = [part for kind in get_args(source) or (source,) for part in parts_of(kind)]
        tagged = [Annotated[part, Tag(name)] for part in parts for name in names_of(part)]
        return handler.generate_schema(
            Annotated[
                reduce(or_, tagged),
                Discriminator(tag),
                BeforeValidator(name_to_mapping),
            ]
        )


def is_import_path(name: str) -> bool:
    """Return whether ``name`` has the form ``package.module:attribute``."""
    return _IMPORT_PATH.fullmatch(name) is not None


@lru_cache  # Searching all installed packages takes a tenth of a second.
def installed_components(kind: str) -> frozenset[str]:
    """Return the names that installed packages provide in the group ``orchestrator.<kind>``."""
    return frozenset(entry.name for entry in entry_points(group=f"orchestrator.{kind}"))


def component_tag(value: Any, kind: str | None, key: str = "name") -> str | None:
    """Return the union tag of the options in ``value``: a built-in name or ``custom``.

    Args:
        value: The raw mapping, or an already validated object.
        kind: ``models``, ``datasets``, ``losses``, ``optimizers`` or ``measures``; None if users
            cannot define their own.
        key: The key that contains the name.

    Returns:
        ``"custom"`` for import paths and entry points, the name itself otherwise,
        None without a name.
    """
    name = value.get(key) if isinstance(value, Mapping) else getattr(value, key, None)
    if not isinstance(name, str):
        return None
    if kind is not None and (is_import_path(name) or name in installed_components(kind)):
        return "custom"
    return name


def name_to_mapping(value: Any, key: str = "name") -> Any:
    """Expand the short form ``mlp`` to ``{name: mlp}``."""
    return {key: value} if isinstance(value, str) else value
