import csv
import io
import math

from orchestrator.reporting.export.table_files import csv_table, markdown_table, markdown_text
from orchestrator.reporting.figures import Table


def test_csv_has_full_precision_and_every_row():
    third = 1 / 3
    table = Table.of(("a", "b", "a"), [(third, 'x, "y"\nz', None)] * 100 + [(math.inf, "é", True)])
    rows = list(csv.reader(io.StringIO(csv_table(table))))
    assert rows[0] == ["a", "b", "a_1"]
    assert len(rows) == 102
    assert float(rows[1][0]) == third
    assert rows[1][1:] == ['x, "y"\nz', ""]
    assert rows[-1] == ["inf", "é", "true"]
    assert "\r" not in csv_table(table)


def test_markdown_is_rounded_and_aligned():
    table = Table.of(("50%_x", "r"), [("<b>", -1 / 3), ("", None), ("c", 0.00001)], smallest=0.001)
    assert markdown_table(table, "A_title", "What | it is.") == (
        "# A_title\n\n"
        "What \\| it is.\n\n"
        "| 50%\\_x | r |\n"
        "| --- | ---: |\n"
        "| &lt;b&gt; | −0.3333 |\n"
        "| – | – |\n"
        "| c | 0 |\n"
    )
    assert markdown_table(table, "t", "").startswith("# t\n\n| 50")


def test_markdown_shows_text_literally():
    assert markdown_text("<script>alert(1)</script> & _x_ hessian_trace") == (
        "&lt;script&gt;alert(1)&lt;/script&gt; &amp; \\_x\\_ hessian_trace"
    )
    assert markdown_text("a|b\n*c* `d` [e](f) ~~g~~ $h$ \\i") == (
        "a\\|b \\*c\\* \\`d\\` \\[e\\](f) \\~\\~g\\~\\~ \\$h\\$ \\\\i"
    )


def test_tables_without_rows_have_a_header():
    assert csv_table(Table.of(("a", "b"), [])) == "a,b\n"
    assert markdown_table(Table.of(("a", "b"), []), "t", "") == "# t\n\n| a | b |\n| --- | --- |\n"
