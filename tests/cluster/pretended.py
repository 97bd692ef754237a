"""Measurers that only pretend to measure.

In a file of their own that loads no torch, so that their processes start in a second.
"""

import os
import signal
import threading
import time

from orchestrator.cluster.work_items import Checked, Measured, MeasureFailure
from orchestrator.errors import StorageError


class DiesOnce:
    """A measurer whose process is killed by the first order that any of them is given."""

    def __init__(self, marker):
        self.marker = marker

    def ready(self):
        return None

    def measure(self, item):
        if not self.marker.exists():
            self.marker.touch()
            time.sleep(0.5)  # Until the next order waits behind this one.
            os.kill(os.getpid(), signal.SIGKILL)
        return Measured(item.checkpoint_id, rows=1, failures=(), pid=os.getpid())


class Poisoned:
    """A measurer that the request ``poison`` kills and that the request ``endless`` occupies."""

    def __init__(self, log):
        self.log = log

    def ready(self):
        return None

    def measure(self, item):
        with self.log.open("a") as file:
            file.write(f"{item.checkpoint_id} {' '.join(item.requests)}\n")
        if "poison" in item.requests:
            os.kill(os.getpid(), signal.SIGKILL)
        if "endless" in item.requests:
            threading.Event().wait()
        return Measured(item.checkpoint_id, rows=1, failures=(), pid=os.getpid())


class DiesAsItStarts:
    """A measurer whose process is killed before it runs, as often as is said."""

    def __init__(self, markers, times):
        for number in range(times):
            if not (marker := markers / str(number)).exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)

    def ready(self):
        return None

    def measure(self, item):
        return Measured(item.checkpoint_id, rows=1, failures=(), pid=os.getpid())


class Idle:
    """A measurer that does nothing, or nothing that ends."""

    def ready(self):
        return None

    def audit(self, item):
        threading.Event().wait()


class AuditsAll:
    """A measurer that measures, and audits until a snapshot named ``b`` spoils it."""

    def __init__(self):
        self.spoilt = None

    def ready(self):
        return None

    def measure(self, item):
        return Measured(item.name, rows=1, failures=(), pid=os.getpid())

    def audit(self, item):
        if self.spoilt:
            return Measured(item.name, 0, (), os.getpid(), refused=True, spoilt=self.spoilt)
        if item.name == "b":
            self.spoilt = "it failed"
            raise ValueError("damaged")
        return Measured(item.name, rows=1, failures=(), pid=os.getpid())


class SpoiltByItsFirst:
    """A measurer whose process is fit for one order only."""

    def __init__(self):
        self.spoilt = None

    def ready(self):
        return None

    def measure(self, item):
        if self.spoilt:
            return Measured(item.checkpoint_id, 0, (), os.getpid(), spoilt=self.spoilt)
        self.spoilt = "the function torch.nn.functional.relu"
        failure = MeasureFailure("t", item.checkpoint_id, item.checkpoint_id)
        return Measured(item.checkpoint_id, 1, (failure,), os.getpid(), spoilt="it")


class OnFullDisk:
    """A measurer that can't store what it finds."""

    def ready(self):
        return None

    def measure(self, item):
        raise StorageError("no space", "make room")


class Checks:
    """A measurer whose checks end as the width of the network says."""

    def __init__(self, log):
        self.log = log

    def ready(self):
        return None

    def check(self, config):
        width = config.model.width
        with self.log.open("a") as file:
            file.write(f"{width} {os.getpid()}\n")
        match width:
            case 1:
                threading.Event().wait()
            case 2:
                os.kill(os.getpid(), signal.SIGKILL)
            case 3:
                return Checked(spoilt="a thread still runs")
            case 4:
                return Checked(refusal=("this network writes into the data", "copy it"))
        return Checked()

    def measure(self, item):
        return Measured(item.checkpoint_id, rows=1, failures=(), pid=os.getpid())
