"""How often verdicts are wrong, and how often they find what is true: simulated worlds.

A wrong verdict, "holds" where the claim is false or "fails" where it is true, comes in at most 5 %
of studies, also where the truth lies just on the threshold. ``python -m tests.full verdicts``
simulates each world a thousand times and checks the table of the report.
"""

import pytest

from tests.binomial import assert_at_least, assert_at_most
from tests.statistics.claims.every_world import EVERY_WORLD
from tests.statistics.claims.rates import rates

WRONG = 0.05
SLICED = [world for world in EVERY_WORLD if world.sliced]


def judge(world, simulations):
    holds, fails = rates(world, simulations)
    if world.truth is not True:
        assert_at_most(WRONG, holds, simulations, f"{world.name}: false holds")
    if world.truth is not False:
        assert_at_most(WRONG, fails, simulations, f"{world.name}: false fails")
    if world.power:
        found = holds if world.truth else fails
        assert_at_least(world.power, found, simulations, f"{world.name}: power")


@pytest.mark.parametrize("world", SLICED, ids=lambda world: f"{world.claim}-{world.name}")
def test_verdicts_are_rarely_wrong_and_usually_find_the_truth(world):
    judge(world, 40)


@pytest.mark.full
@pytest.mark.parametrize("world", EVERY_WORLD, ids=lambda world: f"{world.claim}-{world.name}")
def test_verdicts_are_rarely_wrong_in_a_thousand_studies(world):
    judge(world, 1000)
