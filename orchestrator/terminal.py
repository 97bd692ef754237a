"""Text from files and data, made fit for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """``text`` without what a terminal obeys: control characters but line feeds, as escapes.

    Names, reasons and source lines come from files that others may have written; an escape
    sequence in one could move the cursor, hide what was printed or change the keyboard.
    """
    return "".join(
        character if character.isprintable() or character == "\n" else _escaped(character)
        for character in text.expandtabs(4)
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
