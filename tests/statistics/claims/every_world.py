"""All simulated worlds: those of the built-in claims, and those of claims that studies state."""

from tests.statistics.claims.stated_worlds import STATED
from tests.statistics.claims.worlds import WORLDS

EVERY_WORLD = [*WORLDS, *STATED]
