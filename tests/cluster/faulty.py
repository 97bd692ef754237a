"""Measures and models that fail on purpose, named by import path in the tests' studies."""

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import ray
import torch
from torch import nn


def weight_sum(context):
    """A user's measure, as the README shows one."""
    yield "weight_sum", sum(p.detach().sum().item() for p in context.model.parameters())


def raises(context):
    """A measure with a defect."""
    raise RuntimeError("this measure is broken")


def raises_unless(context, mended):
    """A measure with a defect that its user mends."""
    if not Path(mended).exists():
        raise RuntimeError("this measure is broken")
    yield "mended", 1.0


def fills_memory(context):
    """A measure that needs more memory than there is."""
    yield "never", float(torch.empty(2**50).sum())


def is_killed_for_memory(context, group, log):
    """A measure that outgrows a control group, so that the kernel kills its process."""
    with Path(log).open("a") as file:
        file.write("tried\n")
    Path(group, "cgroup.procs").write_text(str(os.getpid()))
    yield "never", float(torch.ones(2**28).sum())  # A gigabyte, and all of it written.


def infinite(context):
    """A measure whose value is no finite number."""
    yield "infinite", float("inf")


def kills_once(context, marker):
    """Kill the measurer the first time, work afterwards."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    yield "survived", 1.0


def kills_always(context):
    """Poison: no measurer survives it."""
    os.kill(os.getpid(), signal.SIGKILL)
    yield "never", 0.0


class KillsOnce(nn.Module):
    """A network whose process is killed in the middle of training, once."""

    def __init__(self, input_shape, classes, marker, calls):
        super().__init__()
        self.linear = nn.Linear(int(torch.tensor(input_shape).prod()), classes)
        self.marker, self.calls = Path(marker), calls

    def forward(self, x):
        self.calls -= 1
        if self.training and self.calls < 0 and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.linear(x.flatten(1))


class Paced(nn.Module):
    """A network that learns slowly as long as a file exists: ``pace``, or what ``PACED`` names."""

    def __init__(self, input_shape, classes, width, pace=""):
        super().__init__()
        size = int(torch.tensor(input_shape).prod())
        self.layers = nn.Sequential(nn.Linear(size, width), nn.ReLU(), nn.Linear(width, classes))
        self.pace = Path(pace or os.environ.get("PACED", "/nowhere"))

    def forward(self, x):
        if self.training and self.pace.exists():
            time.sleep(0.03)
        return self.layers(x.flatten(1))


class Logs(Paced):
    """A network that notes, as its training begins, its width and the threads it is given."""

    def __init__(self, input_shape, classes, width, log, pace=""):
        super().__init__(input_shape, classes, width, pace)
        self.width, self.log, self.begun = width, Path(log), False

    def forward(self, x):
        if self.training and not self.begun:
            self.begun = True
            with self.log.open("a") as file:
                file.write(f"{self.width} {torch.get_num_threads()}\n")
        return super().forward(x)


class DiesOnNode(nn.Module):
    """A network whose process is killed as its training begins, where the first of them began."""

    def __init__(self, input_shape, classes, node, log):
        super().__init__()
        self.linear = nn.Linear(int(torch.tensor(input_shape).prod()), classes)
        self.node, self.log, self.begun = Path(node), Path(log), False

    def forward(self, x):
        if self.training and not self.begun:
            self.begun = True
            here = ray.get_runtime_context().get_node_id()
            with suppress(FileExistsError), self.node.open("x") as file:
                file.write(here)
            with self.log.open("a") as file:
                file.write(f"{here}\n")
            if here == self.node.read_text():
                os.kill(os.getpid(), signal.SIGKILL)
        return self.linear(x.flatten(1))


class Hangs(nn.Module):
    """A network that stops for ever in the middle of training, unless a file is there."""

    def __init__(self, input_shape, classes, unless, calls=0):
        super().__init__()
        self.linear = nn.Linear(int(torch.tensor(input_shape).prod()), classes)
        self.unless, self.calls = Path(unless), calls

    def forward(self, x):
        self.calls -= 1
        if self.training and self.calls < 0 and not self.unless.exists():
            threading.Event().wait()
        return self.linear(x.flatten(1))


class Raises(nn.Module):
    """A network with a defect that shows after some updates."""

    def __init__(self, input_shape, classes, calls=0):
        super().__init__()
        self.linear = nn.Linear(int(torch.tensor(input_shape).prod()), classes)
        self.calls = calls

    def forward(self, x):
        self.calls -= 1
        if self.training and self.calls < 0:
            raise ValueError("this model is broken")
        return self.linear(x.flatten(1))


class CountsItsUpdates(nn.Module):
    """A schedule of its own in a plain attribute, which no state dict has."""

    def __init__(self, input_shape, classes):
        super().__init__()
        self.head = nn.Linear(torch.Size(input_shape).numel(), classes)
        self.updates = 0

    def forward(self, x):
        self.updates += self.training
        return self.head(x.flatten(1)) * (1 + 0.1 * self.updates)


class RandomInEvaluation(nn.Module):
    """Dropout that nobody turns off."""

    def __init__(self, input_shape, classes):
        super().__init__()
        self.head = nn.Linear(torch.Size(input_shape).numel(), classes)

    def forward(self, x):
        return self.head(nn.functional.dropout(x.flatten(1), 0.5))
