"""The driver is killed at ten moments of its work, drawn by a seed, and started again each time."""

import os
import random
import signal

import pytest

from .comparison import assert_equal_results
from .test_interruption import LONGER, finish, start, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1800)]

KILLS = 10
STORED = ("trials/*.parquet", "snapshots/*/*.json", "measures/*.parquet", "epochs/*.parquet")


def stored(folder):
    """How much is stored: grows with all that a run does, and says how far it is."""
    return sum(1 for pattern in STORED for _ in folder.glob(pattern))


def test_ten_kills_of_the_driver_change_no_table(small_study, tmp_path):
    study = small_study(**LONGER)
    disturbed, undisturbed = tmp_path / "disturbed", tmp_path / "undisturbed"
    finish(start(study, undisturbed))
    # From before anything is stored (planning) to when only measures are missing (draining).
    moments = random.Random(0)
    shares = sorted(moments.random() for _ in range(KILLS))
    for share in shares:
        process = start(study, disturbed)
        moment = int(share * stored(undisturbed))
        wait_until(
            lambda moment=moment: disturbed.is_dir() and stored(disturbed) >= moment, process
        )
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    finish(start(study, disturbed))
    assert_equal_results(disturbed, undisturbed)
