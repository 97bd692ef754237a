"""Making text safe to print: control characters from files, and terminals without UTF-8."""

from __future__ import annotations

import codecs
import sys

_LOOKALIKES = str.maketrans(
    {"×": "x", "−": "-", "–": "-", "·": "-", "…": "...", "≤": "<=", "≥": ">=", "→": "->", "─": "-"}
    | {"━": "#", "│": "|", "●": "#", "◐": "+", "○": "-", "✗": "x", "“": '"', "”": '"', "’": "'"}
)


def replace_unknown_characters() -> None:
    """Make standard output and error print lookalikes of characters that they cannot encode."""
    codecs.register_error("lookalikes", _lookalike)
    for stream in (sys.stdout, sys.stderr):
        encoding = codecs.lookup(getattr(stream, "encoding", None) or "utf-8").name
        if encoding != "utf-8" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="lookalikes")


def _lookalike(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    unknown = error.object[error.start : error.end].translate(_LOOKALIKES)
    return unknown.encode("ascii", "replace").decode("ascii"), error.end


def printable(text: str) -> str:
    """Return ``text`` with tabs expanded and control characters except line feeds escaped.

    Names, reasons and source lines come from files that others may have written. An escape
    sequence in them could move the cursor, hide output or change the keyboard.
    """
    return "".join(
        character if character.isprintable() or character == "\n" else _escaped(character)
        for character in text.expandtabs(4)
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
