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
    │   ├── ResultsError          a results folder that cannot be used
    │   │   ├── NoResultsError    … that is missing, or is no results folder
    │   │   ├── InUseError        … that another process is writing to
    │   │   └── OtherStudyError   … that contains another study, or contradicts this one
    │   ├── QueryError            SQL that cannot be run
    │   └── ExportError           an export that cannot be made as requested
    ├── StorageError              results cannot be written: disk full, read-only …; exit code 3
    └── StudyIncomplete           the study ended with failures; exit code 1

Any other exception is a defect of this package: the command line saves its traceback and exits with
code 70. Each class, and each problem in a study file, has a stable code, which the command line
prints as ``error[code]``; ``docs/troubleshooting.md`` explains them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from unicodedata import east_asian_width


class OrchestratorError(Exception):
    """Base of all errors meant for the user.

    Args:
        message: One sentence: the problem, its place, and the values found and expected.
        hint: How to fix it, if known.
    """

    exit_code = 1
    code = "failed"

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  hint: {self.hint}"

    def __reduce__(self) -> tuple[type[OrchestratorError], tuple[str, str | None]]:
        # Errors cross process boundaries; the default would call ``cls(str(self))``.
        return type(self), (self.message, self.hint)

    def text(self) -> str:
        """Return the error as the command line prints it: code, message, and how to fix it."""
        more = "" if self.hint is None else _help(self.hint)
        return f"error[{self.code}]: {self.message}{more}"


def _help(hint: str) -> str:
    return "\n  = help: " + hint.replace("\n", "\n          ")


class UserError(OrchestratorError):
    """Invalid input. The command line exits with code 2."""

    exit_code = 2
    code = "input"


MOST_SHOWN = 88
"""Characters of a source line that an error shows; longer lines are cut around the caret."""


@dataclass(frozen=True)
class Problem:
    """One problem in a study file.

    Attributes:
        where: ``file:line:column``, or the ``--set`` option that caused it.
        path: Dotted path inside the study, for example ``training.batch_size``.
        what: The problem, with the values found and expected.
        hint: How to fix it, for example "did you mean …".
        source: The offending line of the file, or the ``--set`` option, if any.
        column: 1-based column of the wrong text in ``source``.
        code: Kind of problem, for example ``unknown-key``. Codes never change.
        width: Number of characters of the wrong text in ``source``.
    """

    where: str
    path: str
    what: str
    hint: str | None = None
    source: str | None = None
    column: int | None = None
    code: str = "invalid"
    width: int = 1

    def __str__(self) -> str:
        return self.text()

    def text(self, kind: str = "error") -> str:
        """Return the problem with its line, the wrong text underlined, and the hint.

        Args:
            kind: ``error`` or ``warning``.
        """
        lines = [f"{kind}[{self.code}]: {self._what}", f" --> {self.where}"]
        if self.source is not None and self.column is not None:
            number = self.line
            shown, start = self.source.rstrip().replace("\t", " "), self.column - 1
            if number is not None:
                shown, start = _cut(shown, start)
            wrong = shown[start : start + self.width]
            caret = " " * _columns(shown[:start]) + "^" * max(1, _columns(wrong))
            if number is None:  # An option; the line above shows it.
                lines.append("     " + caret)
            else:
                lines += [f"{number} | {shown}", f"{' ' * len(str(number))} | {caret}"]
            if self.hint is not None and self.hint.startswith("did you mean"):
                lines[-1] += f" {self.hint}"
                return "\n".join(lines)
        return "\n".join(lines) + ("" if self.hint is None else _help(self.hint))

    def concise(self, kind: str = "error") -> str:
        """Return the problem as one line, as editors read it: place, code, what is wrong."""
        severity = "" if kind == "error" else f"{kind}: "
        text = f"{self.where}: {severity}{self.code}: {self._what}"
        return text if self.hint is None else f"{text}; {' '.join(self.hint.split())}"

    def to_dict(self, kind: str = "error") -> dict[str, Any]:
        """Return the problem as JSON-serializable values."""
        return {
            "kind": kind,
            "code": self.code,
            "where": self.where,
            "line": self.line,
            "column": None if self.line is None else self.column,
            "width": self.width,
            "path": self.path,
            "what": self.what,
            "hint": self.hint,
        }

    @property
    def line(self) -> int | None:
        """The 1-based line in the file; None for an option of the command line."""
        place = re.search(r":(\d+):\d+$", self.where)
        return int(place[1]) if place and not self.where.startswith("--set ") else None

    @property
    def _what(self) -> str:
        return f"{self.path}: {self.what}" if self.path else self.what


def _columns(text: str) -> int:
    """Return the columns of a terminal that ``text`` takes; a Chinese character takes two."""
    return sum(1 + (east_asian_width(character) in "WF") for character in text)


def _cut(line: str, start: int) -> tuple[str, int]:
    """Return the part of a long line around its wrong text, and where that starts in it."""
    if len(line) <= MOST_SHOWN:
        return line, start
    first = max(0, min(start - MOST_SHOWN // 3, len(line) - MOST_SHOWN))
    shown = line[first : first + MOST_SHOWN]
    before = "…" if first else ""
    after = "…" if first + MOST_SHOWN < len(line) else ""
    return f"{before}{shown}{after}", start - first + len(before)


class StudyFileError(UserError):
    """An invalid study file or ``--set`` option; lists every problem."""

    code = "study"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type[StudyFileError], tuple[tuple[Problem, ...]]]:  # type: ignore[override]
        return type(self), (self.problems,)

    def text(self) -> str:
        """Return every problem; each states its code."""
        return self.message


class ImportPathError(UserError):
    """An import path or entry point that cannot be imported or is not callable."""

    code = "import"


class DataError(UserError):
    """A data set that is missing, malformed or inconsistent."""

    code = "data"


class ModelError(UserError):
    """A model that cannot be built from its options for this data."""

    code = "model"


class MeasureError(UserError):
    """A measure that cannot be computed on this network or with these options."""

    code = "measure"


class ResourcesError(UserError):
    """A request for more resources than the machine or cluster can ever provide."""

    code = "cannot-place"


class ResultsError(UserError):
    """A results folder that cannot be used, for example because a newer version wrote it."""

    code = "results"


class NoResultsError(ResultsError):
    """A path that is not a results folder."""

    code = "no-results"


class InUseError(ResultsError):
    """A results folder that another process is writing to."""

    code = "in-use"


class OtherStudyError(ResultsError):
    """A results folder of another study, or whose finished trials contradict this one."""

    code = "other-study"


class QueryError(UserError):
    """SQL that cannot be run over the results."""

    code = "sql"


class FilesGoneError(QueryError):
    """Files that disappeared while being read, because the results were compacted."""


class ExportError(UserError):
    """The requested figure or format does not exist, or the destination is not writable."""

    code = "export"


class StorageError(OrchestratorError):
    """Results cannot currently be written: disk full, read-only or gone. Not tied to one trial."""

    exit_code = 3
    code = "storage"


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
