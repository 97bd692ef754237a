"""Draws rows as a table for terminals, in which a Chinese character takes two places."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from rich.cells import cell_len, set_cell_size

from orchestrator.terminal import printable

LONGEST_CELL = 60
SHORTEST_PART = 24  # A column is left out if less than this fits.
_GAP = "  "


def draw_table(
    names: Sequence[str],
    numeric: Sequence[bool],
    rows: Iterable[Sequence[Any]],
    *,
    width: int | None,
    most_rows: int,
) -> tuple[list[str], int]:
    """Draw the first rows, and count all rows.

    Columns that do not fit are named below the table; long cells are cut with ``…``.

    Args:
        names: Names of the columns.
        numeric: Whether each column is numeric, and so right-aligned.
        rows: All rows.
        width: Maximum characters per line; None for any number.
        most_rows: Maximum number of rows to draw.

    Returns:
        The lines, and the number of rows.
    """
    names = [printable(name).replace("\n", " ") for name in names]
    iterator = iter(rows)
    cells = [[_cell(value) for value in row] for row in islice(iterator, most_rows)]
    count = len(cells) + sum(1 for _ in iterator)
    sizes = [
        max(map(cell_len, [name, *(line for row in cells for line in row[index])]))
        for index, name in enumerate(names)
    ]
    shown = _fitting(sizes, width)
    columns = list(zip(range(shown), sizes, numeric, strict=False))
    lines = [
        _line([names[index] for index in range(shown)], columns),
        _GAP.join("─" * size for _, size, _ in columns),
    ]
    for row in cells:
        for part in range(max((len(row[index]) for index, _, _ in columns), default=0)):
            lines.append(
                _line([row[i][part] if part < len(row[i]) else "" for i, _, _ in columns], columns)
            )
    lines = [line if width is None else _cut(line, width) for line in lines]
    rows_text = f"{count:,} row" + ("" if count == 1 else "s")
    lines.append(rows_text if count <= most_rows else f"first {most_rows} of {rows_text}")
    if shown < len(names):
        lines.append(f"{len(names) - shown} more columns: {', '.join(names[shown:])}")
    return lines, count


def _fitting(sizes: Sequence[int], width: int | None) -> int:
    """Return the number of columns shown, the last perhaps in part; at least one."""
    if width is None:
        return len(sizes)
    left, shown = width, 0
    for size in sizes:
        if left < min(size, SHORTEST_PART):
            break
        left -= size + len(_GAP)
        shown += 1
    return max(shown, 1)


def _line(cells: Sequence[str], columns: Sequence[tuple[int, int, bool]]) -> str:
    padded = []
    for cell, (_, size, right) in zip(cells, columns, strict=True):
        space = " " * (size - cell_len(cell))
        padded.append(space + cell if right else cell + space)
    return _GAP.join(padded).rstrip()


def _cell(value: Any) -> list[str]:
    """Return the lines of one cell; only a plan of EXPLAIN has several."""
    if value is None:
        return ["NULL"]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, float):
        return [f"{value:.6g}"]
    if isinstance(value, list | dict):
        return [_cut(json.dumps(value, default=str), LONGEST_CELL)]
    lines = [printable(line) for line in str(value).splitlines()] or [""]
    return lines if len(lines) > 1 else [_cut(lines[0], LONGEST_CELL)]


def _cut(text: str, length: int) -> str:
    return text if cell_len(text) <= length else set_cell_size(text, max(length - 1, 0)) + "…"
