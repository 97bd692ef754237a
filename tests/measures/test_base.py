from __future__ import annotations

from typing import Any

import pytest

from orchestrator.measures.base import Curve


@pytest.mark.parametrize(
    "columns",
    [{"values": [1.0]}, {"values": [1.0, 2.0], "y": [1.0]}],
    ids=["values", "y"],
)
def test_all_columns_of_a_curve_must_have_equal_lengths(columns: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"has 1 points, x has 2"):
        Curve("slice", [0.0, 1.0], **columns)
