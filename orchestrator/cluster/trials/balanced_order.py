"""The order of trials in a run that the clock may stop before all are trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.study.trials import Trial


def balanced_order(trials: Iterable[Trial], seeds: Sequence[int]) -> list[Trial]:
    """Return trials such that every part from the start is balanced over conditions and seeds.

    First comes the first seed of every condition, then the second of every condition, and so on.
    Within a seed, the conditions keep their order, which the study shuffles with a fixed seed of
    its own. At any point, the numbers of seeds of any two conditions thus differ by at most one.

    Args:
        trials: Trials in the order of :func:`~orchestrator.study.trials.expand_trials`.
        seeds: Seeds of the study in their order.
    """
    place = {seed: number for number, seed in enumerate(seeds)}
    return sorted(trials, key=lambda trial: place[trial.seed])
