"""Simulate every world, and write the table of rates that reports show.

python -m tests.statistics.claims.rates [STUDIES]
"""

import csv
import sys
from pathlib import Path

import numpy as np

import orchestrator
from tests.statistics.claims.worlds import WORLDS

TABLE = Path(orchestrator.__file__).parent / "report" / "verdict_rates.csv"
HEADS = ("claim", "world", "truth", "studies", "holds", "fails")
TRUTHS = {True: "true", False: "false", None: "neither"}
STUDIES = 1000


def rates(world, studies):
    """Studies in which the claim holds, and in which it fails."""
    generator = np.random.default_rng(1)
    claims = [world.draw(generator) for _ in range(studies)]
    found = [claim.verdict for claim in claims if claim is not None]
    return found.count("holds"), found.count("fails")


def rows(studies):
    """A row of the table for each world, as it is simulated."""
    for world in WORLDS:
        yield (world.claim, world.name, TRUTHS[world.truth], studies, *rates(world, studies))


def main():
    """Write the table."""
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else STUDIES
    found = []
    for row in rows(studies):
        print(*row, sep=", ", flush=True)
        found.append(row)
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([HEADS, *found])


if __name__ == "__main__":
    main()
