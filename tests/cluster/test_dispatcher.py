"""The dispatcher by itself, with measurers that only pretend to measure."""

import os
import signal
import time

import pytest
import ray

from orchestrator.cluster import dispatcher as module
from orchestrator.cluster.dispatcher import Dispatcher
from orchestrator.cluster.measurer import Measured, MeasureOrder
from orchestrator.results import ResultsFolder


class DiesOnce:
    """A measurer whose process is killed by the first order that any of them is given."""

    def __init__(self, marker):
        self.marker = marker

    def ready(self):
        return None

    def measure(self, order):
        if not self.marker.exists():
            self.marker.touch()
            time.sleep(0.5)  # Until the next order waits behind this one.
            os.kill(os.getpid(), signal.SIGKILL)
        return Measured(order.checkpoint_id, rows=1, failures=(), pid=os.getpid())


def order(name):
    return MeasureOrder({"checkpoint_id": name, "trial_id": "t", "step": 1}, 0, "{}", ("margin",))


@pytest.mark.timeout(120)
def test_both_orders_of_a_dead_measurer_are_handed_out_again(local_ray, tmp_path, monkeypatch):
    # Ray may name any of the results that are there, whatever the order they were asked in.
    real_wait = ray.wait

    def last_of_those_there(references, *, num_returns=1, timeout=None):
        real_wait(references, num_returns=num_returns, timeout=timeout)
        there, _ = real_wait(references, num_returns=len(references), timeout=0)
        named = there[-num_returns:]
        return named, [reference for reference in references if reference not in named]

    monkeypatch.setattr(module.ray, "wait", last_of_those_there)
    actor = ray.remote(num_cpus=1)(DiesOnce)
    dispatcher = Dispatcher(
        ResultsFolder(tmp_path),
        lambda: [order("a"), order("b")],
        lambda: actor.remote(tmp_path / "killed"),
        reserved=1,
        most=1,
        timeout=60.0,
    )
    dispatcher.start()
    dispatcher.drain()
    assert (tmp_path / "killed").exists()
    assert dispatcher.measured == 2
    assert dispatcher.failures == []
