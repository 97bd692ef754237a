import pytest
import ray

from orchestrator.cluster.processes.session import (
    ask_a_worker,
    capacity,
    distinct_needs,
    local_cpus,
    ray_session,
    slots,
)
from orchestrator.errors import ResourcesError, ResultsError
from orchestrator.results import ResultsFolder
from orchestrator.study.resource_options import ResourcesOptions
from orchestrator.study.spec import Study
from orchestrator.study.trials import expand_trials
from tests.cluster.conftest import SMALL_STUDY

STUDY = Study.model_validate(
    {
        "study": "any",
        "data": {"name": "digits"},
        "model": {"name": "mlp"},
        "training": {"optimizer": {"name": "sgd", "learning_rate": 0.1}, "stop": {"epochs": 1}},
    }
)


def resources(**content):
    return ResourcesOptions.model_validate(content)


def test_on_two_cores_trials_use_both_and_share_them_with_the_measurer():
    found = slots({"CPU": 2.0}, resources())
    assert (found.trials, found.measurers, found.most_measurers) == (2, 1, 2)
    assert found.measurer_cpus == 0


@pytest.mark.parametrize("cpus", [1, 3, 4, 64])
def test_the_cpus_declared_locally_suffice_for_one_trial(cpus):
    asked = resources(trial={"cpus": cpus})
    declared = local_cpus(asked, [asked.trial], 2)
    assert slots({"CPU": float(declared)}, asked).trials >= 1


def test_with_more_cores_the_measurer_has_one_of_its_own():
    found = slots({"CPU": 8.0}, resources())
    assert (found.trials, found.measurers, found.most_measurers) == (7, 1, 8)
    assert found.measurer_cpus == 1


def test_gpus_are_shared_as_requested():
    asked = resources(trial={"gpus": 0.4}, measurer={"gpus": 0.2, "cpus": 1})
    found = slots({"CPU": 16.0, "GPU": 1.0}, asked)
    assert found.trials == 2
    assert found.most_measurers == 5


def test_requests_that_can_never_fit_are_refused_with_the_available_resources():
    asked = resources(trial={"gpus": 1}, measurer={"gpus": 0.2})
    with pytest.raises(ResourcesError, match=r"1 GPU.*0\.2 GPU each.*the 1 GPU available") as error:
        slots({"CPU": 8.0, "GPU": 1.0}, asked)
    assert "gpus: 0.8" in error.value.hint


def test_a_trial_with_more_cores_than_available_is_refused():
    with pytest.raises(ResourcesError, match=r"64 CPU"):
        slots({"CPU": 2.0}, resources(trial={"cpus": 64}))


def test_measurers_are_placed_where_their_custom_resource_is():
    asked = resources(trial={"gpus": 1}, measurer={"cpus": 2, "custom": {"measure": 2}})
    found = slots({"CPU": 80.0, "GPU": 6.0, "measure": 32.0}, asked)
    assert (found.trials, found.most_measurers) == (6, 16)


def test_a_custom_resource_that_no_node_has_is_refused():
    asked = resources(trial={"custom": {"large_memory": 1}})
    with pytest.raises(ResourcesError, match=r"1 large_memory.*the 0 large_memory") as error:
        slots({"CPU": 8.0}, asked)
    assert "custom: {large_memory: 0}}}" in error.value.hint


def test_names_of_rays_own_resources_are_not_custom_resources():
    with pytest.raises(ValueError, match="GPU is not a custom resource"):
        resources(trial={"custom": {"GPU": 1}})


def test_an_autoscaling_cluster_counts_with_its_largest_size(monkeypatch):
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 16.0, "memory": 1.0})
    state = ray._private.state.GlobalState
    most = {"CPU": 80, "GPU": 8}
    monkeypatch.setattr(state, "get_max_resources_from_cluster_config", lambda self: most)
    assert capacity() == {"CPU": 80, "GPU": 8, "memory": 1.0}
    monkeypatch.setattr(state, "get_max_resources_from_cluster_config", lambda self: None)
    assert capacity() == {"CPU": 16.0, "memory": 1.0}


def test_a_machine_too_busy_to_start_ray_is_reported_in_one_sentence(monkeypatch, tmp_path):
    def never(**options):
        raise Exception("The current node timed out during startup. This could happen because …")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", never)
    folder = ResultsFolder(tmp_path)
    with pytest.raises(ResourcesError, match="did not start"), ray_session(None, STUDY, [], folder):
        pass


def test_every_kind_of_trial_must_fit_and_the_smallest_sets_their_number():
    study = Study.model_validate(
        {
            **SMALL_STUDY,
            "sweep": {"model.width": [16, 512]},
            "resources": {"trial": {"overrides": [{"where": {"model.width": 512}, "gpus": 1}]}},
        }
    )
    needs = distinct_needs(study, expand_trials(study))
    assert sorted((need.cpus, need.gpus) for need in needs) == [(1, 0), (1, 1)]
    assert slots({"CPU": 8.0, "GPU": 1.0}, study.resources, needs).trials == 7
    with pytest.raises(ResourcesError, match=r"one trial \(1 GPU\)"):
        slots({"CPU": 8.0}, study.resources, needs)


@pytest.mark.ray
@pytest.mark.slow
def test_workers_that_cannot_reach_the_results_are_found_before_training(local_ray, tmp_path):
    nowhere = ResultsFolder(tmp_path / "of one machine only")
    with pytest.raises(
        ResultsError, match=r"worker .* cannot reach the results: .*not exist"
    ) as no:
        ask_a_worker(STUDY, nowhere, 1.0)
    assert "mount the results folder at the same path" in no.value.hint
    unreachable = ResultsFolder("s3://results/x?endpoint_override=http://127.0.0.1:9")
    with pytest.raises(ResultsError, match=r"cannot reach the results: .*Failed to connect"):
        ask_a_worker(STUDY, unreachable, 1.0)
