"""Durations, as people read and write them."""

from __future__ import annotations

import re

from orchestrator.errors import UserError

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_UNITS = {"s": 1, "min": _MINUTE, "h": _HOUR, "d": _DAY}
_WRITTEN = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-z]+)\s*")


def duration(seconds: float) -> str:
    """Format a duration with at most two units, ``3 min 05 s``.

    >>> [duration(seconds) for seconds in (4.2, 185, 59.7, 7190, 270_000)]
    ['4 s', '3 min 05 s', '1 min 00 s', '2 h 00 min', '3 d 3 h']
    """
    # Round to whole units of the smaller one first, so that no part reads 60.
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < _DAY:
        minutes = round(seconds / _MINUTE)
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / _HOUR)
    return f"{hours // 24} d {hours % 24} h"


def seconds_in(text: str, where: str) -> float:
    """Return the seconds in a duration that a user wrote, such as ``8h``.

    >>> [seconds_in(text, "--for") for text in ("45s", "90 min", "1.5h", "2d")]
    [45.0, 5400.0, 5400.0, 172800.0]

    Args:
        text: A number and one of the units s, min, h and d.
        where: Name of the option, for the error.

    Raises:
        UserError: If the text is something else, or the duration is zero.
    """
    found = _WRITTEN.fullmatch(text)
    seconds = float(found[1]) * _UNITS.get(found[2], 0) if found else 0.0
    if not 0.0 < seconds < float("inf"):
        raise UserError(
            f"{where}: found {text!r}, expected a number above 0 and a unit: s, min, h or d",
            "write it as 90min, 8h or 1.5d",
        )
    return seconds
