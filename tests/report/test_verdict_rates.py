from typing import get_args

import pytest
from scipy import stats

from orchestrator.report.verdict_rates import verdict_rates
from orchestrator.study.claim_options import BuiltInName
from tests.binomial import assert_at_most
from tests.statistics.claims.rates import TRUTHS
from tests.statistics.claims.worlds import WORLDS

WRONG = 0.05
RECORDED = verdict_rates(get_args(BuiltInName))


def test_every_world_has_its_row_in_the_report():
    rows = [(claim, world, truth) for claim, world, truth, *_ in RECORDED.rows]
    assert rows == [(world.claim, world.name, TRUTHS[world.truth]) for world in WORLDS]


def test_recorded_verdicts_are_seldom_wrong():
    for claim, world, truth, studies, holds, fails in RECORDED.rows:
        if truth != "true":
            assert_at_most(WRONG, round(holds * studies / 100), studies, f"{claim}, {world}")
        if truth != "false":
            assert_at_most(WRONG, round(fails * studies / 100), studies, f"{claim}, {world}")


def test_claims_that_a_study_states_itself_have_no_rates():
    assert verdict_rates(["mine"]).rows == ()


@pytest.mark.full
@pytest.mark.parametrize("place", range(len(WORLDS)))
def test_what_is_recorded_is_simulated_again(place):
    """With other seeds, each rate agrees with the one that is shown (Fisher's exact test)."""
    import numpy as np

    world, (*_, studies, holds, fails) = WORLDS[place], RECORDED.rows[place]
    generator = np.random.default_rng(2)
    claims = [world.draw(generator) for _ in range(studies)]
    found = [claim.verdict for claim in claims if claim is not None]
    for shown, count in ((holds, found.count("holds")), (fails, found.count("fails"))):
        recorded = round(shown * studies / 100)
        table = [[recorded, studies - recorded], [count, studies - count]]
        assert stats.fisher_exact(table).pvalue > 0.001
