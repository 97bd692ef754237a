"""The driver is killed at moments drawn by a seed, and started again each time."""

import random
import time

import pytest

from tests.cluster.comparison import assert_equal_results
from tests.cluster.leftovers import nothing_left
from tests.cluster.test_interruption import LONGER, finish, start

pytestmark = [pytest.mark.ray, pytest.mark.full, pytest.mark.timeout(1800)]

KILLS = 10

STORED = ("trials/*.parquet", "snapshots/*/*.json", "measures/*.parquet", "epochs/*.parquet")


def stored(folder):
    """How much is stored: grows with all that a run does, and says how far it is."""
    return sum(1 for pattern in STORED for _ in folder.glob(pattern)) if folder.is_dir() else -1


def test_killing_the_driver_changes_no_table_and_leaves_nothing_behind(
    made_once, small_study, tmp_path, monkeypatch
):
    study, undisturbed = small_study(**LONGER), made_once(**LONGER)
    disturbed = tmp_path / "disturbed"
    temporary = tmp_path / "t"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    # From before anything is stored (planning) to when only measures are missing (draining).
    moments = random.Random(0)
    shares = sorted(moments.random() for _ in range(KILLS))
    with nothing_left():
        for share in shares:
            process = start(study, disturbed)
            moment = int(share * stored(undisturbed))
            while process.poll() is None and stored(disturbed) < moment:
                time.sleep(0.05)
            # A fast machine may be done before it was looked at.
            assert process.poll() in (None, 0)
            process.kill()
            process.communicate()
        finish(start(study, disturbed))
        assert_equal_results(disturbed, undisturbed)
    # Ray keeps its logs, there and only there.
    assert {path.name for path in temporary.iterdir()} <= {"ray"}
