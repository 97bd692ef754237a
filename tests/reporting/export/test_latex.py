import math
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.reporting.export.latex import MOST_ON_A_PAGE, latex_table, latex_text
from orchestrator.reporting.figures import Table

NASTY = '<script>\\input{x}</script> 50%_x & #1 ~^{}$ "a" `b` |c| [d] *e -- –\nf\x00\u202e'


def problems(text):
    """What TeX would take as more than text, in what should be text alone."""
    found, depth, mathematics = [], 0, False
    for token in re.findall(r"\\[A-Za-z]+|\\.|.", text, flags=re.DOTALL):
        if token == "$":
            mathematics = not mathematics
        elif token == "{":
            depth += 1
        elif token == "}":
            depth -= 1
        elif token in ("%", "&", "#", "~", "\n", "\r") or (token in "^_" and not mathematics):
            found.append(token)
        if depth < 0:
            found.append("}")
    return found + ["open"] * (depth != 0) + ["$"] * mathematics


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50%_x & #1", r"50\%\_x \& \#1"),
        ("\\~^{}$", r"\textbackslash{}\textasciitilde{}\textasciicircum{}\{\}\$"),
        ("<script>", r"\textless{}script\textgreater{}"),
        ("−0.5 [−0.6, −0.4]", r"$-$0.5 {[}$-$0.6, $-$0.4{]}"),
        ("tr ∇²L(θ)", r"tr $\nabla$$^{2}$L($\theta$)"),
        ("λ₁ ≤ 2·10⁻³", r"$\lambda$$_{1}$ $\leq$ 2$\cdot$10$^{-}$$^{3}$"),
        ("Kendall’s τ_b – a--b", r"Kendall's $\tau$\_b -- a-{}-b"),
        ("two\nlines\x00\u202e", "two lines"),
        ("Müller", "Müller"),
        ("", ""),
    ],
)
def test_special_characters_are_escaped(text, expected):
    assert latex_text(text) == expected
    assert problems(expected) == []


@given(st.text())
def test_any_text_is_escaped_completely(text):
    escaped = latex_text(text)
    assert problems(escaped) == []
    assert "\n" not in escaped


def test_tables_have_rules_and_aligned_numbers():
    table = Table.of(
        ("50%_x", "r", "n"),
        [
            ("<b>", -0.123456, 23_050),
            (None, 1.5e-7, None),
            ("*", math.inf, 1),
            ("[0]", math.nan, 2),
        ],
    )
    assert latex_table(table, "A % title\n\\end", "Of γ.") == (
        "% A % title \\end\n"
        "% Needs \\usepackage{booktabs}\n"
        "% \\caption{Of $\\gamma$.}\n"
        "\\begingroup\\small\\setlength{\\tabcolsep}{3pt}\n"
        "\\begin{tabular}{lrr}\n"
        "\\toprule\n"
        "50\\%\\_x & r & n \\\\\n"
        "\\midrule\n"
        "\\textless{}b\\textgreater{} & $-0.1235$ & 23,050 \\\\\n"
        "-- & $1.5\\times10^{-7}$ & -- \\\\\n"
        "{*} & $\\infty$ & 1 \\\\\n"
        "{[}0{]} & NaN & 2 \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
        "\\endgroup\n"
    )


def test_negative_infinity_and_large_numbers_are_typeset():
    (row,) = re.findall(
        r"^.*∞?\\\\$",
        latex_table(Table.of(("a", "b"), [(-math.inf, -2.5e12)]), "", "").split("midrule")[1],
        flags=re.MULTILINE,
    )
    assert row == r"$-\infty$ & $-2.5\times10^{12}$ \\"


def test_long_tables_break_and_long_texts_wrap():
    rows = [("word " * 20, number) for number in range(MOST_ON_A_PAGE + 1)]
    table = Table.of(("a", "b"), rows)
    text = latex_table(table, "t", "")
    assert r"\begin{longtable}{p{0.3\linewidth}r}" in text
    assert "\\midrule\n\\endhead\n" in text
    assert "booktabs,longtable" in text
    assert text.count(r"word word") > MOST_ON_A_PAGE


def test_columns_without_room_on_a_page_become_comments():
    rows = [("a", 0.5, 12, "why " * 60), ("b", 0.7, 12, "")]
    text = latex_table(Table.of(("x", "r", "n", "explanation"), rows), "t", "")
    assert "% The same in all rows: n: 12\n" in text
    assert "% Too long for a column: explanation\n" in text
    assert "\nx & r \\\\\n" in text
    assert "why" not in text
    alone = latex_table(Table.of(("x", "n"), [("a", 1), ("a", 1)]), "t", "")
    assert "\na \\\\\n" in alone


def test_both_ends_of_an_interval_share_a_column():
    heads = ("x", "r", "r from", "r to", "from", "to", "from")
    text = latex_table(Table.of(heads, [("a", 0.5, -0.25, None, 1, 2, "there")]), "t", "")
    assert "\nx & r & r {[}from, to{]} & {[}from, to{]} & from \\\\\n" in text
    assert "\na & 0.5 & {[}$-$0.25, --{]} & {[}1, 2{]} & there \\\\\n" in text


def test_wide_tables_are_set_smaller_or_suggest_a_sideways_page():
    def table(columns):
        heads = [f"a column {number}" for number in range(columns)]
        rows = [range(columns), range(1, columns + 1)]
        return latex_table(Table.of(heads, rows), "t", "")

    assert r"\begingroup\small" in table(3)
    assert r"\begingroup\scriptsize" in table(11)
    assert "sideways" not in table(11)
    assert "sideways" in table(20)


def test_characters_that_pdflatex_lacks_are_named():
    text = latex_table(Table.of(("漢 γ é",), [("a",)]), "t", "")
    assert "a font that has 漢\n" in text
    assert "XeLaTeX" not in latex_table(Table.of(("γ é",), [("a",)]), "t", "")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
def test_pdflatex_typesets_the_most_hostile_table(tmp_path):
    tables = [
        latex_table(Table.of((NASTY, "γ₁"), [(NASTY, -1.5e-7)] * rows), NASTY, NASTY)
        for rows in (3, MOST_ON_A_PAGE + 1)
    ]
    document = tmp_path / "d.tex"
    document.write_text(
        "\\documentclass{article}\\usepackage{booktabs,longtable}\\begin{document}\n"
        + "\n".join(tables)
        + "\\end{document}\n",
        encoding="utf-8",
    )
    command = ["pdflatex", "-interaction=batchmode", "-halt-on-error", "-no-shell-escape", "d.tex"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
