"""The criterion for networks that did not learn, shared by report and status.

A network did not learn if its final training loss is not finite, or if its final training error
exceeds half that of the best constant prediction. A study may state another threshold. For
classes of equal size the default is half of 1 − 1/classes. The classes of user data are unknown,
so there only a stated threshold and a non-finite loss count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from orchestrator.study.data_options import BuiltInDataSet
from orchestrator.study.options import Options, parts_of

SHARE_OF_CONSTANT = 0.5


class LearnedOptions(Options):
    """Criterion for networks that count as having learned."""

    train_error: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Largest final training error, in (0, 1]; by default half that of the best "
        "constant prediction.",
    )


def largest_error(learned: Mapping[str, Any] | None, dataset: str | None) -> float | None:
    """Return the largest final training error of a network that learned.

    Args:
        learned: The section ``learned`` of a study, as JSON.
        dataset: Name of the data set.

    Returns:
        The error; None if the classes are unknown and the study states no error.
    """
    stated = (learned or {}).get("train_error")
    if stated is not None:
        return float(stated)
    for options in parts_of(BuiltInDataSet):
        if dataset in options.classes:
            return SHARE_OF_CONSTANT * (1 - 1 / options.classes[dataset])
    return None
