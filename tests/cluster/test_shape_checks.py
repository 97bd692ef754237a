"""How shapes of networks are handed to measurers to be checked, with measurers that pretend to."""

from itertools import count, pairwise
from types import SimpleNamespace

import pytest
import ray

from orchestrator.cluster.snapshots import trust_checks as trust
from orchestrator.cluster.snapshots.dispatcher import Dispatcher
from orchestrator.cluster.snapshots.measurer_pool import MeasurerPool
from orchestrator.cluster.snapshots.trust_checks import check_shapes
from orchestrator.errors import ModelError
from orchestrator.results import ResultsFolder
from orchestrator.study.shapes import measuring_shape
from orchestrator.study.spec import TrialConfig
from tests.cluster.pretended import Checks
from tests.cluster.snapshots.test_dispatcher import item

pytestmark = [pytest.mark.ray, pytest.mark.slow]
HANGS, DIES, SPOILS, REFUSED = 1, 2, 3, 4


def config(width):
    return TrialConfig.model_validate(
        {
            "data": {"name": "digits"},
            "model": {"name": "mlp", "width": width},
            "training": {"batch_size": 8, "stop": {"epochs": 1}},
        }
    )


def checked(tmp_path, widths, measured=()):
    """Check, then measure two snapshots; the log of the checks and what could not be checked."""
    actor = ray.remote(num_cpus=0)(Checks)
    listed = iter([[item("a"), item("b")]])
    pool = MeasurerPool(lambda: actor.remote(tmp_path / "log"), most=1)
    dispatcher = Dispatcher(
        ResultsFolder(tmp_path), lambda: next(listed, []), pool, reserved=1, timeout=60.0
    )
    unchecked = {}

    def check(measurers):
        configs = map(config, widths), map(config, measured)
        unchecked.update(check_shapes(measurers, dispatcher.replaced, *configs, 60.0))

    try:
        dispatcher.start(check)
        dispatcher.drain()
    finally:
        dispatcher.stop()
        pool.end_all()
    assert dispatcher.measured == 2
    assert dispatcher.failures == []
    log = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    return [(int(width), pid) for width, pid in log], unchecked


def test_all_shapes_are_checked_whatever_each_does_to_its_process(
    local_ray, tmp_path, monkeypatch, caplog
):
    minutes = count()

    def monotonic():
        """A minute later at each look, while the check that hangs is the last that began."""
        log = tmp_path / "log"
        hangs = log.exists() and log.read_text().splitlines()[-1].startswith(f"{HANGS} ")
        return 61.0 * next(minutes) if hangs else 0.0

    monkeypatch.setattr(trust, "time", SimpleNamespace(monotonic=monotonic))
    widths = [HANGS, 8, DIES, 9, SPOILS, 10]
    log, unchecked = checked(tmp_path, widths)
    assert [width for width, _ in log] == widths  # each once, by the one measurer
    pids = [pid for _, pid in log]
    # What hangs, dies or spoils its process is the last that this process checks.
    assert len(set(pids)) == 4
    assert [a == b for a, b in pairwise(pids)] == [
        False, True, False, True, False,
    ]  # fmt: skip
    assert unchecked == {
        measuring_shape(config(HANGS)): "the checks took longer than 60 s",
        measuring_shape(config(DIES)): "the process that ran the checks died",
    }
    assert "attempt" not in caplog.text  # no snapshot is charged


def test_equal_shapes_are_checked_once(local_ray, tmp_path):
    log, unchecked = checked(tmp_path, [8, 8, 9])
    assert [width for width, _ in log] == [8, 9]
    assert unchecked == {}


def test_shapes_that_are_only_measured_are_checked_but_not_refused(local_ray, tmp_path):
    log, unchecked = checked(tmp_path, [8], measured=[REFUSED, DIES, 8])
    assert sorted(width for width, _ in log) == [DIES, REFUSED, 8]
    assert list(unchecked) == [measuring_shape(config(DIES))]


def test_a_refusal_counts_after_shapes_that_spoil_their_process(local_ray, tmp_path):
    with pytest.raises(ModelError, match="writes into the data; nothing was trained"):
        checked(tmp_path, [SPOILS, REFUSED])
