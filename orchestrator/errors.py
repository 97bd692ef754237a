"""Every error that the user can cause or mend, in one tree.

::

    OrchestratorError
    ├── UserError                 the input is wrong; exit code 2
    │   ├── StudyFileError        the study file, with every problem located
    │   ├── ImportPathError       a ``package.module:attribute`` that cannot be used
    │   ├── DataError             a data set that is missing or malformed
    │   ├── ModelError            a model that does not fit its data or options
    │   ├── MeasureError          a measure that cannot be computed as asked
    │   ├── ResourcesError        more CPUs or GPUs asked for than there are
    │   ├── ResultsError          a results folder that is missing, foreign, in use or newer
    │   ├── QueryError            SQL that cannot be run
    │   └── ExportError           an export that cannot be made as asked
    ├── StorageError              results cannot be written: disk full, read-only …; exit code 3
    └── StudyIncomplete           the study ended, with failures; exit code 1

Anything else that escapes is a defect of this package and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class OrchestratorError(Exception):
    """Base of all errors meant for the user.

    Args:
        message: What happened: what, where, got, expected. One sentence.
        hint: How to mend it, if that is known.
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
    """The input is wrong. The command line ends with exit code 2."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a study file.

    Attributes:
        where: ``file:line:column``, or the ``--set`` option that caused it.
        path: Dotted path inside the study, for example ``training.batch_size``.
        what: What was got and what was expected.
        hint: How to mend it, for example "did you mean …".
        source: The offending line of the file, if there is one.
        column: 1-based column of the mistake in ``source``.
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
    """A study file (or ``--set``) that does not describe a study; lists every problem."""

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
    """More resources were asked for than the machine or cluster can ever give."""


class ResultsError(UserError):
    """A results folder that is missing, belongs to another study, is in use, or is newer."""


class QueryError(UserError):
    """SQL that cannot be run over the results."""


class FilesGoneError(QueryError):
    """Files that were being read are gone: the results were compacted meanwhile."""


class ExportError(UserError):
    """An export of what there is not, or to where nothing can be written."""


class StorageError(OrchestratorError):
    """Results cannot be written, now: the disk is full, read-only, gone. Of no single trial."""

    exit_code = 3


class StudyIncomplete(OrchestratorError):
    """The study ended, but some trials or measures failed."""


def error_text(error: BaseException) -> str:
    """What an error says, or its class where it says nothing."""
    return str(error).strip() or type(error).__name__


def named_error(error: BaseException) -> str:
    """An error's class and, where it says anything, what that is: ``ValueError: too large``."""
    name, text = type(error).__name__, str(error).strip()
    return f"{name}: {text}" if text else name


def error_line(error: BaseException) -> str:
    """One line, never empty: this package's errors in their own words, others by their class."""
    text = error_text(error) if isinstance(error, OrchestratorError) else named_error(error)
    return text.splitlines()[0]
