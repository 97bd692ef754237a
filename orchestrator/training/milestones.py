"""Milestones: the steps at which the training loss first reaches a target.

The loss over the whole training split is known at the ends of epochs. The first epoch that ends
with a loss of at most the target is searched. Its updates are replayed, bit for bit, and bisected
by the loss at the updates visited. So a milestone lies within one update of where the loss crosses
its target, or has a loss less than 10 % below it. Only a single update that lowers the loss
further than that overshoots more, as no update lies in between.

The step found depends only on the trial and the target, not on other milestones or checkpoints
that are requested.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestrator.data.dataset import Split
from orchestrator.training.evaluation import SplitMetrics
from orchestrator.training.learner import Learner, Moment

OVERSHOOT = 0.1


def find_crossing(target: float, low: int, high: int, loss_at: Callable[[int], float]) -> int:
    """Bisect for a step at which the loss has just fallen to a target.

    Args:
        target: The loss to reach.
        low: A step with a higher loss, or ``high`` itself.
        high: A later step with a loss of at most ``target``.
        loss_at: Returns the loss at any step between ``low`` and ``high``.

    Returns:
        A step whose loss is at most ``target``, and either at least 0.9 times ``target`` or
        preceded by a step whose loss is above ``target``.
    """
    while high - low > 1 and loss_at(high) < (1 - OVERSHOOT) * target:
        middle = (low + high) // 2
        if loss_at(middle) <= target:
            high = middle
        else:
            low = middle
    return high


class EpochReplay:
    """Replay of an epoch, which moves the learner to any of its updates and evaluates there.

    It stores the beginning of the epoch, the end, and the last point from which it moved forward.
    Any other point is reached by replaying updates, so a search replays at most the updates of one
    epoch.

    Args:
        learner: The learner, at the beginning of the epoch.

    Attributes:
        seconds: Time spent in evaluations and replays so far.
    """

    def __init__(self, learner: Learner) -> None:
        self.seconds = 0.0
        self._learner = learner
        self._begin = learner.moment()
        self._way: list[Moment] = []
        self._end: Moment | None = None
        self._metrics: dict[tuple[int, Split], SplitMetrics] = {}
        self._found: dict[float, int] = {}

    def metrics(self, step: int, split: Split) -> SplitMetrics:
        """Return loss and error at a step, moving the learner there if they are not known yet."""
        if (step, split) not in self._metrics:
            self.go_to(step)
            with self._looking():
                self._metrics[step, split] = self._learner.evaluate(split)
        return self._metrics[step, split]

    def find(self, target: float, end: int) -> int:
        """Return the step that reaches a target, in an epoch that ends with at most that loss."""
        if target not in self._found:
            self._found[target] = find_crossing(
                target, self._begin.step, end, lambda step: self.metrics(step, "train").loss
            )
        return self._found[target]

    def go_to(self, step: int) -> None:
        """Move the learner to a step of the epoch, from the nearest stored point before it."""
        here = self._learner.step
        if step == here:
            return
        with self._looking():
            if self._end is None:
                self._end = self._learner.moment()
            points = [self._begin, *self._way, self._end]
            nearest = max((p for p in points if p.step <= step), key=lambda point: point.step)
            if nearest.step > here or here > step:
                self._learner.go_back(nearest)
            else:
                self._way = [self._learner.moment()]
            self._learner.train_until(step)

    @contextmanager
    def _looking(self) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - started
