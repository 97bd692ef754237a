"""Judge a simulated rate by a one-sided binomial test at 1 % against the stated rate.

A fixed tolerance around a rate fails by chance with few simulations and misses errors with many.
Seeds are fixed beforehand: a test that fails is not repeated with other seeds.
"""

from __future__ import annotations

import pytest
from scipy import stats

LEVEL = 0.01
WIDEST = 0.98
"""95 % intervals that cover more often than this are too wide to be useful."""


def with_simulations(few: int, many: int) -> pytest.MarkDecorator:
    """Parametrize a test with ``simulations``: a slice by default, all that it needs in *full*.

    Args:
        few: Number of simulations in the slice.
        many: Number of simulations with the marker ``full``; at least 1,000.
    """
    assert few < many >= 1000
    return pytest.mark.parametrize(
        "simulations",
        [pytest.param(few, id="slice"), pytest.param(many, id="full", marks=pytest.mark.full)],
    )


def assert_at_least(stated: float, hits: int, simulations: int, what: str = "rate") -> None:
    """Fail if a rate of at least ``stated`` is refuted."""
    _judge(hits, simulations, stated, "less", f"{what} refutes at least {stated:.3g}")


def assert_at_most(stated: float, hits: int, simulations: int, what: str = "rate") -> None:
    """Fail if a rate of at most ``stated`` is refuted."""
    _judge(hits, simulations, stated, "greater", f"{what} refutes at most {stated:.3g}")


def assert_below(stated: float, hits: int, simulations: int, what: str = "rate") -> None:
    """Fail unless a rate of at least ``stated`` is refuted."""
    found = stats.binomtest(int(hits), simulations, stated, alternative="less").pvalue
    assert found < LEVEL, (
        f"{what} does not refute {stated:.3g} or more: {hits} of {simulations}, p = {found:.2g}"
    )


def assert_covers(
    hits: int,
    simulations: int,
    stated: float = 0.95,
    widest: float = WIDEST,
    what: str = "coverage",
) -> None:
    """Fail if intervals cover the truth less often than stated, or nearly always.

    Args:
        hits: Number of intervals that cover the truth.
        simulations: Number of all intervals.
        stated: Their confidence level.
        widest: The largest coverage that does not count as too wide.
        what: Name of the claim in the message.
    """
    assert_at_least(stated, hits, simulations, what)
    assert_at_most(widest, hits, simulations, what)


def _judge(hits: int, simulations: int, stated: float, alternative: str, message: str) -> None:
    found = stats.binomtest(int(hits), simulations, stated, alternative=alternative).pvalue
    assert found >= LEVEL, f"{message}: {hits} of {simulations}, p = {found:.2g}"
