import numpy as np
import pytest
from scipy import stats

from orchestrator.reporting.claims.verdict_rates import verdict_rates
from orchestrator.study.claim_options import CLAIM_NEEDS
from tests.binomial import assert_at_most
from tests.statistics.claims.every_world import EVERY_WORLD
from tests.statistics.claims.rates import PAGE, TRUTHS, page_with

WRONG = 0.05
RECORDED = verdict_rates({world.claim for world in EVERY_WORLD})


def test_every_simulated_world_has_a_row_in_the_report():
    rows = [(claim, world, truth) for claim, world, truth, *_ in RECORDED.rows]
    assert rows == [(world.claim, world.name, TRUTHS[world.truth]) for world in EVERY_WORLD]


def test_the_documentation_shows_the_same_rates():
    assert PAGE.read_text(encoding="utf-8") == page_with(RECORDED.rows)


def test_every_built_in_claim_but_the_check_has_rates():
    assert set(CLAIM_NEEDS) - {row[0] for row in RECORDED.rows} == {
        "flatness_depends_on_parametrization"
    }


def test_recorded_verdicts_are_rarely_wrong():
    for claim, world, truth, studies, holds, fails in RECORDED.rows:
        if truth != "true":
            assert_at_most(WRONG, round(holds * studies / 100), studies, f"{claim}, {world}")
        if truth != "false":
            assert_at_most(WRONG, round(fails * studies / 100), studies, f"{claim}, {world}")


def test_a_claim_without_simulations_has_no_rates():
    assert verdict_rates(["mine"]).rows == ()


@pytest.mark.full
@pytest.mark.parametrize("place", range(len(EVERY_WORLD)))
def test_recorded_rates_are_reproduced_with_other_seeds(place):
    """With other seeds, each rate agrees with the one that is shown (Fisher's exact test)."""
    world, (*_, studies, holds, fails) = EVERY_WORLD[place], RECORDED.rows[place]
    generator = np.random.default_rng(2)
    claims = [world.draw(generator) for _ in range(studies)]
    found = [claim.verdict for claim in claims if claim is not None]
    for shown, count in ((holds, found.count("holds")), (fails, found.count("fails"))):
        recorded = round(shown * studies / 100)
        table = [[recorded, studies - recorded], [count, studies - count]]
        assert stats.fisher_exact(table).pvalue > 0.001
