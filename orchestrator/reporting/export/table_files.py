"""Tables as CSV, for programs, and as Markdown, for people."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

from orchestrator.reporting.figures import Table, cell
from orchestrator.results.database.formats import distinct, plain

# Characters that Markdown needs escaped by a backslash; underscores inside words need none.
_SPECIAL = re.compile(r"[\\`*\[\]|~$#]|(?<!\w)_|_(?!\w)")
_ENTITIES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"))


def csv_table(table: Table) -> str:
    """Format all rows in full precision, as RFC 4180 but with LF; missing values are empty.

    Columns with the same name get the suffixes ``_1``, ``_2`` …
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(distinct(table.columns))
    writer.writerows([plain(value) for value in row] for row in table.rows)
    return text.getvalue()


def markdown_table(table: Table, title: str, caption: str) -> str:
    """Format all rows, rounded as in the report, below a heading and a caption."""
    heads = [markdown_text(column) for column in table.columns]
    rules = ["---:" if right else "---" for right in numeric_columns(table)]
    rows = [
        [markdown_text(cell(value, table.digits, table.smallest)) for value in row]
        for row in table.rows
    ]
    lines = ["| " + " | ".join(cells) + " |" for cells in (heads, rules, *rows)]
    parts = [f"# {markdown_text(title)}", markdown_text(caption), "\n".join(lines)]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_text(text: str) -> str:
    """Escape text so that Markdown and HTML show it unchanged, on one line."""
    for character, entity in _ENTITIES:
        text = text.replace(character, entity)
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", " ".join(text.split()))


def numeric_columns(table: Table) -> list[bool]:
    """Return which columns contain only numbers and empty cells, and so are right-aligned."""
    columns = zip(*table.rows, strict=True) if table.rows else ((),) * len(table.columns)
    return [_is_numeric(values) for values in columns]


def _is_numeric(values: tuple[Any, ...]) -> bool:
    present = [value for value in values if value not in (None, "")]
    return bool(present) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in present
    )
