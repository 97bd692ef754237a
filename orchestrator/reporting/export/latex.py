"""Tables as LaTeX that compiles with any engine and with any text in them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from orchestrator.reporting.export.table_files import numeric_columns
from orchestrator.reporting.figures import Table, cell

MOST_ON_A_PAGE = 40
"""Longer tables break across pages."""

_LONG_TEXT = 40
_PROSE = 110
"""Columns with longer texts are left out and named in a comment."""
# Font sizes with the number of digits, gaps between columns included, on a line of 16 cm.
_SIZES = ((r"\small", 90), (r"\footnotesize", 102), (r"\scriptsize", 118))
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "%_&#{}$"},
    # In old font encodings these are other characters, or shorthands of babel.
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",
    "`": r"\textasciigrave{}",
    # After the end of a row LaTeX reads these as its options.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
}
_GREEK = (
    r"α\alpha β\beta γ\gamma δ\delta ε\varepsilon ζ\zeta η\eta θ\theta ι\iota κ\kappa "
    r"λ\lambda μ\mu ν\nu ξ\xi π\pi ρ\rho ς\varsigma σ\sigma τ\tau υ\upsilon φ\varphi "
    r"χ\chi ψ\psi ω\omega ϕ\phi ϵ\epsilon µ\mu Γ\Gamma Δ\Delta Θ\Theta Λ\Lambda Ξ\Xi Π\Pi "
    r"Σ\Sigma Υ\Upsilon Φ\Phi Ψ\Psi Ω\Omega"
)
_SIGNS = (
    r"×\times ·\cdot ±\pm ≤\leq ≥\geq ≠\neq ≈\approx ∞\infty ∇\nabla ∂\partial √\surd ∑\sum "
    r"∏\prod ∫\int ‖\Vert ∈\in →\rightarrow ←\leftarrow ↔\leftrightarrow ∝\propto ∼\sim ≪\ll "
    r"≫\gg ⟨\langle ⟩\rangle ⊙\odot ∘\circ ℓ\ell ∪\cup ∩\cap ⊂\subset °^\circ −-"
)
_MATH = {pair[0]: pair[1:] for pair in f"{_GREEK} {_SIGNS}".split()}
_RAISED = {"<super>": "^", "<sub>": "_"}
_LAST_LATIN = "\u017f"  # The last character that every current LaTeX supports without packages.
_EXPONENT = re.compile(r"(−?[\d.]+)e([+−]?)0*(\d+)")


def latex_table(table: Table, title: str, caption: str) -> str:
    """Return all rows, rounded as in the report, as ``tabular``, or ``longtable`` if many.

    Rules are those of booktabs. A page is narrow, so columns with the same value in all rows move
    to a comment. Columns of long prose are only named there; the other formats contain them.
    Comments also give the title, the packages needed, the caption, and the characters that
    pdfLaTeX lacks.
    """
    table, dropped = _narrowed(_with_intervals(table))
    long = len(table.rows) > MOST_ON_A_PAGE
    environment = "longtable" if long else "tabular"
    numeric = numeric_columns(table)
    body = [[_cell(value, table) for value in row] for row in table.rows]
    long_texts = [_is_long([row[number] for row in table.rows]) for number in range(len(numeric))]
    size = _size(table, long_texts)
    columns = "".join(
        "r" if right else (_paragraph(sum(long_texts)) if long_texts[number] else "l")
        for number, right in enumerate(numeric)
    )
    lines = [
        f"% {_one_line(title)}",
        rf"% Needs \usepackage{{booktabs{',longtable' if long else ''}}}",
        *([rf"% \caption{{{latex_text(caption)}}}"] if caption else []),
        *dropped,
        *_foreign([title, caption, *table.columns, *_texts(table)]),
        *([] if size else ["% Wider than a page: print it sideways, or leave out columns."]),
        rf"\begingroup{size or _SIZES[-1][0]}\setlength{{\tabcolsep}}{{3pt}}",
        rf"\begin{{{environment}}}{{{columns}}}",
        r"\toprule",
        _row([latex_text(head) for head in table.columns]),
        r"\midrule",
        *([r"\endhead"] if long else []),
        *map(_row, body),
        r"\bottomrule",
        rf"\end{{{environment}}}",
        r"\endgroup",
    ]
    return "\n".join(lines) + "\n"


def _with_intervals(table: Table) -> Table:
    """Merge both ends of an interval into one column."""
    columns: list[str] = []
    rows: list[list[Any]] = [[] for _ in table.rows]
    number = 0
    while number < len(table.columns):
        head, after = (*table.columns, "")[number : number + 2]
        pair = "from" in head and after == head.replace("from", "to")
        columns.append(head.replace("from", "[from, to]") if pair else head)
        for row, given in zip(rows, table.rows, strict=True):
            ends = [cell(end, table.digits, table.smallest) for end in given[number : number + 2]]
            row.append(f"[{', '.join(ends)}]" if pair else given[number])
        number += 1 + pair
    return Table.of(columns, rows, digits=table.digits, smallest=table.smallest)


def _narrowed(table: Table) -> tuple[Table, list[str]]:
    """Drop columns that are constant or too long, and return comments on them."""
    kept, same, prose = [], [], []
    for number, head in enumerate(table.columns):
        texts = [cell(row[number], table.digits, table.smallest) for row in table.rows]
        if max(map(len, texts), default=0) > _PROSE:
            prose.append(head)
        elif number and len(texts) > 1 and len(set(texts)) == 1:
            same.append(f"{head}: {texts[0]}")
        else:
            kept.append(number)
    comments = [
        f"% {told}: {_one_line('; '.join(columns))}"
        for told, columns in (("The same in all rows", same), ("Too long for a column", prose))
        if columns
    ]
    columns = tuple(table.columns[number] for number in kept)
    rows = tuple(tuple(row[number] for number in kept) for row in table.rows)
    return replace(table, columns=columns, rows=rows), comments


def _size(table: Table, long_texts: Sequence[bool]) -> str | None:
    """Return the largest font size in which the columns fit a page; None if none fits."""
    characters = sum(
        max(len(head), *(len(cell(row[number], table.digits)) for row in table.rows), 0)
        for number, head in enumerate(table.columns)
        if not long_texts[number]
    )
    room = 1 - min(0.3 * sum(long_texts), 0.6)
    return next((size for size, fits in _SIZES if characters <= fits * room), None)


def latex_text(text: str) -> str:
    """Escape text for LaTeX, on one line; Greek letters and signs become mathematics."""
    line = _one_line(text)
    following = f"{line[1:]} "
    return (
        "".join(
            "-{}" if (character, after) == ("-", "-") else _character(character)
            for character, after in zip(line, following, strict=True)
        )
        if line
        else ""
    )


def _character(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if character in _MATH:
        return f"${_MATH[character]}$"
    kind, _, code = unicodedata.decomposition(character).partition(" ")
    if kind in _RAISED and " " not in code:
        base = chr(int(code, 16))
        if base in _MATH or (base.isascii() and base.isprintable()):
            return f"${_RAISED[kind]}{{{_MATH.get(base, base)}}}$"
    return character


def _cell(value: Any, table: Table) -> str:
    text = cell(value, table.digits, table.smallest)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return latex_text(text)
    power = _EXPONENT.fullmatch(text)
    if power:
        sign = "-" if power[2] == "−" else ""
        return rf"${power[1].replace('−', '-')}\times10^{{{sign}{power[3]}}}$"
    if text.startswith("−"):
        return f"${text.replace('−', '-')}$" if text != "−∞" else r"$-\infty$"
    return latex_text(text)


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _is_long(values: Sequence[Any]) -> bool:
    return max((len(str(value)) for value in values), default=0) > _LONG_TEXT


def _paragraph(columns: int) -> str:
    """Return a column type with wrapped text; several share the width left by the others."""
    return rf"p{{{min(0.3, 0.6 / columns):.2g}\linewidth}}"


def _texts(table: Table) -> list[str]:
    return [value for row in table.rows for value in row if isinstance(value, str)]


def _foreign(texts: Sequence[str]) -> list[str]:
    used = set().union(*map(_one_line, texts))
    found = {character for character in used if _character(character) == character > _LAST_LATIN}
    if not found:
        return []
    return [f"% Needs XeLaTeX or LuaLaTeX, and a font that has {' '.join(sorted(found))}"]


def _one_line(text: str) -> str:
    """Remove line breaks, which would end comments and rows, and invisible characters."""
    seen = (c for c in text if c.isspace() or unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
    return " ".join("".join(seen).split())
