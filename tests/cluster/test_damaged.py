"""Snapshots, resume states and parts that are damaged or gone: made again, and told of."""

import shutil

import pytest

import orchestrator
from tests.cluster.comparison import assert_equal_results
from tests.cluster.conftest import TWO_TRIALS
from tests.cluster.in_process import run_in_process


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)


def test_what_is_damaged_is_kept_aside_and_made_again(undisturbed, small_study, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "results")
    one, other = sorted(path.name for path in (folder / "snapshots").iterdir())

    def parts(table, name):
        found = sorted((folder / table).glob(f"{name}*.parquet"))
        assert found, name
        return found

    # One trial's last row and its resume state; of the other, rows of epochs, a snapshot that is
    # not measured any more, and one that is gone.
    (completed,) = parts("trials", f"{one}-0001-completed")
    truncate(completed)
    (folder / "resume" / f"{one}.safetensors").write_bytes(b"no resume state")
    truncate(parts("epochs", other)[0])
    for step, harm in ((10, flip), (20, lambda path: path.unlink())):
        harm(folder / "snapshots" / other / f"{step}.safetensors")
        for part in parts("measures", f"{other}-{step}-"):
            flip(part)

    summary = run_in_process(small_study(**TWO_TRIALS), folder)
    assert summary.complete
    assert summary.trained == 2
    assert_equal_results(folder, undisturbed)
    kept = "\n".join(summary.set_aside)
    for name in (
        completed.name,
        f"resume-{one}.safetensors",
        f"epochs-{other}",
        f"snapshots-{other}-10.safetensors",
        f"measures-{other}-10",
        f"measures-{other}-20",
    ):
        assert name in kept
    assert f"damaged, set aside and recomputed: {summary.set_aside[0]}" in summary.text()
    assert all(path.startswith(str(folder / "damaged")) for path in summary.set_aside)


@pytest.mark.slow
@pytest.mark.ray
def test_a_snapshot_that_is_gone_is_missed_only_if_it_is_needed(undisturbed, small_study, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "results")
    gone = next((folder / "snapshots").glob("*/10.safetensors"))
    gone.unlink()
    again = orchestrator.run(small_study(**TWO_TRIALS), folder, quiet=True)
    assert again.complete
    assert (again.trained, again.measured) == (0, 0)

    measured = orchestrator.measure(folder, ["gradient_norm"], quiet=True)
    assert measured.failed_measures == [
        f"{gone.parent.name}-10: its snapshot is gone; `run` retrains the network"
    ]
    measures = [*TWO_TRIALS["measures"], "gradient_norm"]
    trained = orchestrator.run(small_study(**{**TWO_TRIALS, "measures": measures}), folder)
    assert trained.complete
    assert trained.trained == 1
