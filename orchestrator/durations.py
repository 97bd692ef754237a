"""Durations for readers."""

from __future__ import annotations

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


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
