"""Simulate every world and write the table of rates that reports and docs/verdicts.md show.

python -m tests.statistics.claims.rates [STUDIES]
"""

import csv
import inspect
import sys
from pathlib import Path

import numpy as np

from orchestrator.reporting.claims.verdict_rates import verdict_rates
from tests.statistics.claims.every_world import EVERY_WORLD

PAGE = Path(__file__).parents[3] / "docs" / "verdicts.md"
MARK = "<!-- rates: written by python -m tests.statistics.claims.rates -->"
TABLE = Path(inspect.getfile(verdict_rates)).with_suffix(".csv")
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
    for world in EVERY_WORLD:
        yield (world.claim, world.name, TRUTHS[world.truth], studies, *rates(world, studies))


def page_with(recorded):
    """The page on verdicts with these rates.

    Args:
        recorded: Rows of the report's table.
    """
    heads = ("claim", "world", "claim is", "studies", "holds", "fails")
    lines = [f"| {' | '.join(heads)} |", "|---|---|---|--:|--:|--:|"]
    lines += [
        f"| {claim} | {world} | {truth} | {studies} | {holds:.1f} % | {fails:.1f} % |"
        for claim, world, truth, studies, holds, fails in recorded
    ]
    above, _, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    return f"{above}{MARK}\n\n" + "\n".join(lines) + "\n"


def main():
    """Write the table and the page."""
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else STUDIES
    found = []
    for row in rows(studies):
        print(*row, sep=", ", flush=True)
        found.append(row)
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([HEADS, *found])
    claims = {claim for claim, *_ in found}
    PAGE.write_text(page_with(verdict_rates(claims).rows), encoding="utf-8")


if __name__ == "__main__":
    main()
