import math

import pytest

from orchestrator.report.page import cell


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        ("", "–"),
        ("mlp", "mlp"),
        (True, "True"),
        (1024, "1024"),
        (23050, "23,050"),
        (-0.123456, "−0.1235"),
        (1e-7, "1e−07"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (math.nan, "NaN"),
    ],
)
def test_cells_read_as_text(value, text):
    assert cell(value) == text
