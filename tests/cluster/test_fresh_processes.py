"""Which processes Tune may use for another trial."""

from types import SimpleNamespace

import pytest

from orchestrator.cluster.fresh_processes import FreshProcesses
from orchestrator.cluster.trainable import SPOILT


@pytest.mark.parametrize(
    ("result", "kept"),
    [({SPOILT: None}, True), ({}, True), ({SPOILT: "a thread that still runs"}, False)],
)
def test_a_process_that_a_trial_spoilt_is_not_kept(result, kept):
    tune = SimpleNamespace(_trial_to_actor={"trial": "process"}, _started_actors={"process"})
    FreshProcesses().on_trial_complete(tune, "trial", result)
    assert (tune._started_actors == {"process"}) == kept


def test_a_trial_that_has_no_process_any_more_has_none_to_lose():
    tune = SimpleNamespace(_trial_to_actor={}, _started_actors=set())
    FreshProcesses().on_trial_complete(tune, "trial", {SPOILT: "it"})
