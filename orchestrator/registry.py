"""The code of built-in parts, by the options that select them.

Options are read without torch, in ``study/``. The code that they select is a function or class in
a file of its own, decorated with :func:`builds`. No other list of parts exists.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from orchestrator.study.options import BuiltIn, names_of

Selected = TypeVar("Selected", bound=BuiltIn)
Arguments = ParamSpec("Arguments")
Part = TypeVar("Part")

_BUILDERS: dict[tuple[type[BuiltIn], str], Callable[..., Any]] = {}


def builds(
    options: type[Selected], *names: str
) -> Callable[
    [Callable[Concatenate[Selected, Arguments], Part]],
    Callable[Concatenate[Selected, Arguments], Part],
]:
    """Register a function or class that makes a part from its options, its first argument.

    Args:
        options: Class of the options.
        names: Names for which it is used, if the class of the options has several.
    """

    def register(
        builder: Callable[Concatenate[Selected, Arguments], Part],
    ) -> Callable[Concatenate[Selected, Arguments], Part]:
        _BUILDERS.update({(options, name): builder for name in names or names_of(options)})
        return builder

    return register


def builder_of(options: BuiltIn) -> Callable[..., Any]:
    """Return the function or class that makes the part that ``options`` select.

    Its file must have been imported, see :func:`import_files`.
    """
    return _BUILDERS[type(options), options.name]


def import_files(package: str) -> None:
    """Import every file of a package, so that each registers its parts."""
    for file in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
        importlib.import_module(file.name)
