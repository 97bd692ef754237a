import pytest

from orchestrator.errors import MeasureError, error_line, error_text, named_error


@pytest.mark.parametrize(
    ("error", "text", "named", "line"),
    [
        (ValueError("too large"), "too large", "ValueError: too large", "ValueError: too large"),
        (ValueError(), "ValueError", "ValueError", "ValueError"),
        (ValueError("\n "), "ValueError", "ValueError", "ValueError"),
        (AssertionError("\na\nb"), "a\nb", "AssertionError: a\nb", "AssertionError: a"),
        (MeasureError("no", "ask"), "no\n  hint: ask", "MeasureError: no\n  hint: ask", "no"),
        (MeasureError(""), "MeasureError", "MeasureError", "MeasureError"),
    ],
)
def test_errors_without_text_are_named_by_their_class(error, text, named, line):
    assert (error_text(error), named_error(error), error_line(error)) == (text, named, line)
