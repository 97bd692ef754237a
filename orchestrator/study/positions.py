"""Expanding ``[1, 2, 5]``, ``{every: 10}`` and ``{log_spaced: 8}`` into integers."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.study.spec import Every, LogSpaced, Positions


def planned_steps(positions: Positions, end: int) -> Sequence[int]:
    """Return the distinct positions up to ``end``, sorted.

    Args:
        positions: A list (0 is the untrained network), ``every`` n, or n ``log_spaced`` ones
            from 1 to ``end``, rounded, so that neighbors may coincide.
        end: The last possible epoch or update.

    >>> planned_steps(LogSpaced(log_spaced=4), 60)
    (1, 4, 15, 60)
    """
    if isinstance(positions, Every):
        return range(positions.every, end + 1, positions.every)
    if isinstance(positions, LogSpaced):
        count = positions.log_spaced
        if end < 1:
            return ()
        if count == 1:
            return (end,)
        return tuple(sorted({round(end ** (i / (count - 1))) for i in range(count)}))
    return tuple(sorted({position for position in positions if position <= end}))
