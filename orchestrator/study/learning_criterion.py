"""When a network counts as one that did not learn: the one rule that report and status apply.

Its final training loss is not finite, or its final training error lies above half of what the
best constant answer makes. A study may state another error. For data whose classes are equally
large that is half of 1 − 1/classes; for data of one's own nothing is known of the classes, so
there only a stated error or a loss that is not finite tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from orchestrator.study.options import Options

SHARE_OF_CONSTANT = 0.5
_CLASSES = {
    **dict.fromkeys(("mnist1d", "digits", "mnist", "fashion_mnist", "kmnist", "cifar10"), 10),
    "cifar100": 100,
}


class LearnedOptions(Options):
    """Which networks count as having learned."""

    train_error: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Largest final training error, in (0, 1]; by default half that of the best "
        "constant answer.",
    )


def largest_error(learned: Mapping[str, Any] | None, dataset: str | None) -> float | None:
    """The largest final training error of a network that learned.

    Args:
        learned: The section ``learned`` of a study, as JSON.
        dataset: Name of the data set.

    Returns:
        None if nothing is known of the classes and the study states no error.
    """
    stated = (learned or {}).get("train_error")
    if stated is not None:
        return float(stated)
    classes = _CLASSES.get(dataset or "")
    return None if classes is None else SHARE_OF_CONSTANT * (1 - 1 / classes)
