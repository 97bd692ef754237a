"""One study, one result: whatever the number of workers, and whenever it is measured."""

import pytest

import orchestrator
from tests.cluster.comparison import assert_equal_results
from tests.cluster.conftest import TWO_TRIALS

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_two_workers_that_measure_during_training_give_the_tables_of_one_process(
    local_ray, undisturbed, small_study, tmp_path
):
    # Two trials and two measurers side by side, as a run does by itself on two cores.
    study = small_study(**TWO_TRIALS, resources={})
    assert orchestrator.run(study, tmp_path / "results", quiet=True).complete
    assert_equal_results(tmp_path / "results", undisturbed)


def test_one_worker_that_measures_after_training_gives_the_same_tables(
    local_ray, undisturbed, small_study, tmp_path
):
    folder = tmp_path / "Ergebnisse, später gemessen"
    # The measurer takes one of the two cores, so that trials follow one another.
    alone = {"resources": {"measurer": {"cpus": 1}}}
    study = small_study(**{**TWO_TRIALS, **alone, "measures": ["margin"]})
    assert orchestrator.run(study, folder, quiet=True).complete
    assert not orchestrator.measure(folder, ["norms"], quiet=True).failed_measures
    assert_equal_results(folder, undisturbed)
