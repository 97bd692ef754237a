import numpy as np
import pytest

from orchestrator.statistics.claim import counted, decide, left_out, number, percent, with_interval
from orchestrator.statistics.estimate import Estimate


def estimate(value, low, high, reason=""):
    return Estimate(value, low, high, 0.95, 20, 5, 0, reason)


@pytest.mark.parametrize(
    ("low", "high", "below", "verdict"),
    [
        (-0.95, -0.85, True, "holds"),
        (-0.95, -0.8, True, "holds"),
        (-0.7, -0.5, True, "fails"),
        (-0.9, -0.7, True, "unclear"),
        (None, None, True, "unclear"),
        (-0.7, -0.5, False, "holds"),
        (-0.95, -0.85, False, "fails"),
        (-0.9, -0.7, False, "unclear"),
    ],
)
def test_the_whole_interval_decides(low, high, below, verdict):
    assert decide(estimate(-0.8, low, high), -0.8, below=below) == verdict


def test_numbers_read_as_text():
    assert with_interval(estimate(-0.9421, -0.9612, -0.9149)) == "−0.942 [−0.961, −0.915]"
    assert with_interval(estimate(61.23, 48.9, 1234.0)) == "61.2 [48.9, 1.23e+03]"
    assert with_interval(estimate(0.5, None, None)) == "0.500 (no interval)"
    assert with_interval(estimate(None, None, None, "a column is constant")) == (
        "unknown (a column is constant)"
    )
    assert percent(0.2345) == "23.4 %"
    assert number(-0.5, 1) == "−0.5"
    assert number(-0.001, 2) == "0.00"
    assert (counted(1, "trial"), counted(1200, "trial")) == ("1 trial", "1,200 trials")


def test_what_was_left_out_is_counted_and_named():
    assert left_out(("not positive", np.array([True, True])), ("missing", 0)) == (
        "Left out: 2 not positive."
    )
    assert left_out(("missing", 0)) == ""
