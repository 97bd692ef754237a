"""All errors that the user can cause or fix, in one hierarchy.

::

    OrchestratorError
    ├── UserError                 the input is invalid; exit code 2
    │   ├── StudyFileError        an invalid study file; locates every problem
    │   ├── ImportPathError       a ``package.module:attribute`` that cannot be used
    │   ├── DataError             a data set that is missing or malformed
    │   ├── ModelError            a model that does not fit its data or options
    │   ├── MeasureError          a measure that cannot be computed as requested
    │   ├── ResourcesError        more CPUs or GPUs requested than available
    │   ├── ResultsError          a results folder that is missing, foreign, in use or newer
    │   ├── QueryError            SQL that cannot be run
    │   └── ExportError           an export that cannot be made as requested
    ├── StorageError              results cannot be written: disk full, read-only …; exit code 3
    └── StudyIncomplete           the study ended with failures; exit code 1

Any other exception is a bug in this package and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class OrchestratorError(Exception):
    """Base of all errors meant for the user.

    Args:
        message: One sentence: the problem, its place, and the values found and expected.
        hint: How to fix it, if known.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  hint: {self.hint}"

    def __reduce__(self) -> tuple[type[OrchestratorError], tuple[str, str | None]]:
        # Errors cross process boundaries; the default would call ``cls(str(self))``.
        return type(self), (self.message, self.hint)


class UserError(OrchestratorError):
    """Invalid input. The command line exits with code 2."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One problem in a study file.

    Attributes:
        where: ``file:line:column``, or the ``--set`` option that caused it.
        path: Dotted path inside the study, for example ``training.batch_size``.
        what: The problem, with the values found and expected.
        hint: How to fix it, for example "did you mean …".
        source: The offending line of the file, if any.
        column: 1-based column of the problem in ``source``.
    """

    where: str
    path: str
    what: str
    hint: str | None = None
    source: str | None = None
    column: int | None = None

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.path + ': ' if self.path else ''}{self.what}"]
        if self.source is not None and self.column is not None:
            lines += [f"    {self.source.rstrip()}", "    " + " " * (self.column - 1) + "^"]
        if self.hint is not None:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class StudyFileError(UserError):
    """An invalid study file or ``--set`` option; lists every problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type[StudyFileError], tuple[tuple[Problem, ...]]]:  # type: ignore[override]
        return type(self), (self.problems,)


class ImportPathError(UserError):
    """An import path or entry point that cannot be imported or is not callable."""


class DataError(UserError):
    """A data set that is missing, malformed or inconsistent."""


class ModelError(UserError):
    """A model that cannot be built from its options for this data."""


class MeasureError(UserError):
    """A measure that cannot be computed on this network or with these options."""


class ResourcesError(UserError):
    """A request for more resources than the machine or cluster can ever provide."""


class ResultsError(UserError):
    """A results folder that is missing, belongs to another study, is in use, or is newer."""


class QueryError(UserError):
    """SQL that cannot be run over the results."""


class FilesGoneError(QueryError):
    """Files that disappeared while being read, because the results were compacted."""


class ExportError(UserError):
    """The requested figure or format does not exist, or the destination is not writable."""


class StorageError(OrchestratorError):
    """Results cannot currently be written: disk full, read-only or gone. Not tied to one trial."""

    exit_code = 3


class StudyIncomplete(OrchestratorError):
    """The study ended, but some trials or measures failed."""


def error_text(error: BaseException) -> str:
    """Return an error's message, or its class name if the message is empty."""
    return str(error).strip() or type(error).__name__


def named_error(error: BaseException) -> str:
    """Return an error's class and its message, if any, such as ``ValueError: too large``."""
    name, text = type(error).__name__, str(error).strip()
    return f"{name}: {text}" if text else name


def error_line(error: BaseException) -> str:
    """Return the first line of an error, never empty; the class is included for foreign errors."""
    text = error_text(error) if isinstance(error, OrchestratorError) else named_error(error)
    return text.splitlines()[0]
