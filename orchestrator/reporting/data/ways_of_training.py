"""Descriptions of how networks were trained, which interventions change."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from orchestrator.reporting.data.hue import level_text
from orchestrator.reporting.data.network_queries import INTERVENED
from orchestrator.reporting.data.open_results import Rows

_NAMES = ("loss", "optimizer")
_USUAL = "the usual training"


def ways_of_training(rows: Rows, ranged: Collection[str] = ()) -> tuple[list[str], str]:
    """Describe how the network of each row was trained, and find the plainest way.

    Only settings that differ between rows are named, without zeros and settings that do not apply:
    ``cross_entropy, sgd, weight decay 0.001``. The plainest way has cross-entropy before other
    losses, any optimizer before sharpness-aware ones, and the least label smoothing and weight
    decay.

    Args:
        rows: Rows with the columns ``INTERVENED``.
        ranged: Columns drawn at random from a range, which are ignored because each value would be
            a separate way.
    """
    settings = list(zip(*(rows[column] for column in INTERVENED), strict=True))
    varied = [
        place
        for place, column in enumerate(INTERVENED)
        if len({setting[place] for setting in settings}) > 1 and column not in ranged
    ]

    def name(setting: Sequence[Any]) -> str:
        parts = [
            f"{'' if INTERVENED[place] in _NAMES else f'{_readable(place)} '}"
            f"{level_text(setting[place])}"
            for place in varied
            if setting[place]
        ]
        return ", ".join(parts) or _USUAL

    def remoteness(setting: Sequence[Any]) -> tuple[Any, ...]:
        loss, smoothing, optimizer, rho, decay = setting
        return (
            *(loss != "cross_entropy", rho is not None, smoothing or 0.0, decay or 0.0),
            *(str(loss), str(optimizer), rho or 0.0),
        )

    plainest = min(dict.fromkeys(settings), key=remoteness, default=None)
    called = {setting: name(setting) for setting in dict.fromkeys(settings)}
    names = [called[setting] for setting in settings]
    return names, _USUAL if plainest is None else name(plainest)


def _readable(place: int) -> str:
    return INTERVENED[place].replace("_", " ")


def kinds(rows: Rows) -> list[str]:
    """Return each network's architecture and loss, as far as they differ: ``cnn, mse``."""
    varied = [name for name in ("model", "loss") if len(set(rows[name])) > 1]
    return [
        ", ".join(level_text(value) for value in values)
        for values in zip(*(rows[name] for name in varied), strict=True)
    ] or [""] * len(rows)
