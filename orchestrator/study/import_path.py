"""User-defined components: resolving import paths and entry points to callables."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from orchestrator.errors import ImportPathError, named_error

# Environment variables and path entries that each user module added when imported. A process is
# reset between its users, and Python imports a module only once.
_ENVIRONMENT_SET: dict[str, dict[str, str]] = {}
_PATH_ADDED: dict[str, list[str]] = {}


class CalledExit(Exception):
    """User code called ``sys.exit``; the command must not exit as if it had succeeded."""


@contextmanager
def own_code() -> Iterator[None]:
    """Run user code, and turn ``SystemExit`` into an ordinary exception.

    Raises:
        CalledExit: If the code raises ``SystemExit``.
    """
    try:
        yield
    except SystemExit as stop:
        raise CalledExit(
            f"the code called sys.exit({'' if stop.code is None else stop.code})"
        ) from stop


def resolve_import_path(name: str, kind: str) -> Callable[..., Any]:
    """Import ``package.module:attribute``, or the entry point ``name`` of a group.

    The working directory is searched too, as ``python -m`` does. Importing runs the module's
    code, so a study file that names a module must be trusted like code.

    Args:
        name: The import path or the entry point's name.
        kind: ``models``, ``datasets``, ``losses``, ``optimizers`` or ``measures``; entry points
            come from the group ``orchestrator.<kind>``.

    Raises:
        ImportPathError: If the import fails or the imported object is not callable.
    """
    if ":" in name:
        component = _import(name, name)
    else:
        found = list(entry_points(group=f"orchestrator.{kind}", name=name))
        if not found:
            raise ImportPathError(
                f"{name!r}: no installed package provides this name in orchestrator.{kind}",
                "write your own as package.module:attribute",
            )
        component = _import(found[0].value.partition("[")[0].strip(), name)
    if not callable(component):
        raise ImportPathError(f"{name!r}: is a {type(component).__name__}, expected a callable")
    return component  # type: ignore[no-any-return]


def _import(path: str, name: str) -> Any:
    module_name, _, attributes = path.partition(":")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        target: Any = _imported(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise ImportPathError(
                f"{name!r}: its import needs the module {error.name!r}, which is not installed"
            ) from error
        raise ImportPathError(
            f"{name!r}: no module named {error.name!r}",
            f"install its package, or run from the folder that contains it (now: {here})",
        ) from error
    except Exception as error:
        raise ImportPathError(
            f"{name!r}: importing {module_name} failed: {named_error(error)}"
        ) from error
    for attribute in filter(None, attributes.split(".")):
        if not hasattr(target, attribute):
            close = get_close_matches(attribute, dir(target), 1)
            raise ImportPathError(
                f"{name!r}: {module_name} has no attribute {attribute!r}",
                f"did you mean {close[0]!r}?" if close else None,
            )
        target = getattr(target, attribute)
    return target


def _imported(name: str) -> ModuleType:
    """Import a module, with the environment and ``sys.path`` as its first import left them."""
    environment, path = dict(os.environ), list(sys.path)
    try:
        with own_code():
            return importlib.import_module(name)
    finally:
        if name not in _PATH_ADDED:
            _PATH_ADDED[name] = [entry for entry in sys.path if entry not in path]
            _ENVIRONMENT_SET[name] = dict(os.environ.items() - environment.items())
        os.environ.update(_ENVIRONMENT_SET[name])
        sys.path += [entry for entry in _PATH_ADDED[name] if entry not in sys.path]
