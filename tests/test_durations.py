import pytest

from orchestrator.durations import duration, seconds_in
from orchestrator.errors import UserError


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (41.6, "42 s"),
        (59.7, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7800, "2 h 10 min"),
        (86_399, "24 h 00 min"),
        (86_400, "1 d 0 h"),
        (273_600, "3 d 4 h"),
    ],
)
def test_durations_have_at_most_two_units(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("90min", 5400), ("1.5h", 5400), (".5 h", 1800), (" 2 d ", 172_800)],
)
def test_written_durations_have_a_number_and_a_unit(text, seconds):
    assert seconds_in(text, "--for") == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("", "8", "h", "8 hours", "8m", "8H", "1h30min", "-1h", "+1h", "1e3s", "1_0s", "٨h"),
        *("0s", "0.0h", "nan s", "inf h", "1.5.2h", "8h\n8h", f"{'9' * 400}s"),
    ],
)
def test_a_wrong_duration_is_refused_with_what_was_expected(text):
    with pytest.raises(UserError) as refused:
        seconds_in(text, "--for")
    assert f"--for: found {text!r}, expected a number above 0 and a unit" in refused.value.message
    assert "8h" in refused.value.hint
