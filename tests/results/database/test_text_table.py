from __future__ import annotations

from typing import Any

from orchestrator.results.database.text_table import draw_table


def draw(
    names: list[str], rows: list[tuple[Any, ...]], width: int | None = None, most_rows: int = 9
) -> list[str]:
    numeric = [bool(rows) and isinstance(value, int | float) for value in rows[0]]
    lines, count = draw_table(names, numeric, rows, width=width, most_rows=most_rows)
    assert count == len(rows)
    return lines


def test_columns_are_aligned_numbers_to_the_right() -> None:
    rows = [("relu", 16, 0.123456789), ("leaky", 1024, float("nan")), (None, None, 1e-9)]
    assert draw(["activation", "n", "error"], rows) == [
        "activation     n     error",
        "──────────  ────  ────────",
        "relu          16  0.123457",
        "leaky       1024       nan",
        "NULL        NULL     1e-09",
        "3 rows",
    ]


def test_rows_are_cut_and_counted() -> None:
    assert draw(["n"], [(n,) for n in range(1200)], most_rows=2) == [
        "n",
        "─",
        "0",
        "1",
        "first 2 of 1,200 rows",
    ]
    assert draw(["n"], [(7,)]) == ["n", "─", "7", "1 row"]


def test_columns_that_do_not_fit_are_named() -> None:
    lines = draw(["aaaa", "bbbb", "cccc"], [("1", "2", "3")], width=10)
    assert lines == ["aaaa  bbbb", "────  ────", "1     2", "1 row", "1 more columns: cccc"]
    assert draw(["a" * 20, "b"], [("1", "2")], width=10)[:2] == ["aaaaaaaaa…", "─────────…"]


def test_long_cells_are_cut() -> None:
    (_, _, line, _) = draw(["a", "b"], [("x" * 100, [1] * 100)])
    first, second = line.split("  ")
    assert first == "x" * 59 + "…"
    assert (len(second), second[-1]) == (60, "…")


def test_lines_of_a_cell_stay_below_each_other() -> None:
    assert draw(["plan", "n"], [("scan\n  filter", 1)])[2:4] == ["scan      1", "  filter"]


def test_truth_lists_and_control_characters() -> None:
    assert draw(["a", "b", "c"], [(True, {"x": None}, "\x1b[2J")])[2] == (
        'true  {"x": null}  \\x1b[2J'
    )


def test_names_of_columns_cannot_move_the_cursor() -> None:
    lines = draw(["a\x1b[2J\nb", "\x9b31m", "c"], [("x", "y", 1)], width=25)
    assert lines[0].startswith("a\\x1b[2J b  \\x9b31m")
    assert not any(letter in "\n".join(lines) for letter in "\x1b\x9b")


def test_wide_and_combining_characters_keep_columns_aligned() -> None:
    rows = [("汉字", 1), ("e\u0301te\u0301", 22), ("plain", 3)]
    assert draw(["name", "n"], rows)[:5] == [
        "name    n",
        "─────  ──",
        "汉字    1",
        "e\u0301te\u0301    22",
        "plain   3",
    ]


def test_wide_characters_are_cut_to_the_width_of_the_terminal() -> None:
    assert draw(["a"], [("汉" * 40,)])[2] == "汉" * 29 + " …"
    assert draw(["a"], [("汉" * 20,)], width=10)[:3] == ["a", "─────────…", "汉汉汉汉 …"]
