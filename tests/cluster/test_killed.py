"""SIGKILL at the worst moments of a trial and of a measurer; the tables are as without it."""

import pytest

import orchestrator
from tests.cluster.comparison import assert_equal_results
from tests.cluster.conftest import TWO_TRIALS

pytestmark = [pytest.mark.ray, pytest.mark.slow]

# A resume state after every epoch, so that small trials have one to be killed over.
EAGER = {
    "constants": {
        "orchestrator.cluster.trials.trainable.RESUME_SECONDS": 0.0,
        "orchestrator.cluster.trials.trainable.RESUME_SHARE": 1e9,
    }
}
SNAPSHOT = r"snapshots/\w+/\.?10\.safetensors"  # Of the first epoch's end.


def kill(at, file, **more):
    return {"at": at, "file": file, "do": "kill", **more}


@pytest.mark.parametrize(
    "faults",
    [
        # A trial …
        pytest.param(
            [kill("half", SNAPSHOT), kill("half", r"snapshots/\w+/\.?10\.json")],
            id="half a snapshot, and between a snapshot and its commit record",
        ),
        pytest.param(
            [
                kill("renamed", r"snapshots/\w+/10\.json"),
                kill("renamed", r"trials/\w+-\d+-completed"),
            ],
            id="after a commit record, and after the trial's last row",
        ),
        pytest.param(
            [EAGER, kill("half", r"resume/\."), kill("named", r"resume/\w+\.safetensors")],
            id="half a resume state, and before it has its name",
            marks=pytest.mark.full,
        ),
        pytest.param(
            [EAGER, kill("renamed", r"resume/\w+\.previous"), kill("renamed", r"epochs/")],
            id="between two resume states, and between rows and resume state",
            marks=pytest.mark.full,
        ),
        # … and a measurer.
        pytest.param(
            [
                kill("half", r"measures/"),
                kill("named", r"measures/"),
                kill("renamed", r"measures/"),
            ],
            id="half a part of measures, before and after it has its name",
        ),
    ],
)
def test_a_kill_at_the_worst_moment_changes_no_table(
    faults, local_ray, undisturbed, inject, small_study, tmp_path
):
    inject(*faults)
    assert orchestrator.run(small_study(**TWO_TRIALS), tmp_path / "results", quiet=True).complete
    assert_equal_results(tmp_path / "results", undisturbed)
