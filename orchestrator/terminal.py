"""Making text from files and data safe to print on a terminal."""

from __future__ import annotations


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
