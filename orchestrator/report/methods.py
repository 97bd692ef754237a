"""How the study was done, told from the study itself and from the measures' catalog."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from orchestrator.report.figures import Table
from orchestrator.report.progress import expected_trials
from orchestrator.report.queries import CATALOG, HOW_MEASURED
from orchestrator.report.source import Source
from orchestrator.statistics.bootstrap import LEVEL, RESAMPLES
from orchestrator.statistics.claim import counted


@dataclass(frozen=True)
class Methods:
    """The section on methods.

    Attributes:
        paragraphs: Head and text of each.
        measures: The measures taken, with symbol, unit, direction, cost and citation.
    """

    paragraphs: tuple[tuple[str, str], ...]
    measures: Table


def describe_methods(source: Source) -> Methods:
    """Tell how data, networks, training, snapshots, measures and statistics were done."""
    study = _with_swept_marked(source.study)
    paragraphs = (
        ("Data", _component(study.get("data"))),
        ("Network", _component(study.get("model"))),
        ("Training", _training(study.get("training", {}))),
        ("Grid", _grid(study)),
        ("Snapshots", _snapshots(study.get("checkpoints", {}))),
        ("Measures", _measures(source)),
        ("Statistics", _STATISTICS),
    )
    catalog = source.rows(CATALOG)
    heads = ("measure", "family", "symbol", "unit", "better if", "cost", "citation")
    return Methods(paragraphs, Table.of(heads, catalog.tuples()))


_STATISTICS = (
    f"Intervals have level {100 * LEVEL:g} %. Snapshots of one network are not independent, so they come "
    f"from {RESAMPLES:,} bootstrap resamples of whole trials within their condition, k − 1 of k "
    "with weight k/(k − 1) (Rao, Wu and Yue 1992, Survey Methodology 18), and reach as far as "
    "Student’s quantile times the resampled standard deviation, on Fisher’s z scale for "
    "correlations and on a logarithmic one for ratios. Equal seeds make them repeatable. A claim "
    "holds if its whole interval lies beyond the threshold, fails if the whole interval lies on "
    "the other side, and is unclear otherwise. Rank correlations are Kendall’s τ_b. The share of "
    "variance that batch size explains is η² of batch size within points of time, relative to "
    "all variance over networks and time; batch sizes are compared in pairs, over the updates "
    "and the epochs that both cover, at 16 times equally far apart in logarithm."
)


_SWEPT = "varied (see Grid)"


def _with_swept_marked(study: Mapping[str, Any]) -> dict[str, Any]:
    """The study with every value that the grid replaces marked, so that none is told as fixed."""
    marked: dict[str, Any] = deepcopy(dict(study))
    paths = [path.strip() for key in study.get("sweep", {}) for path in key.split(",")]
    for path in paths:
        *parents, last = path.split(".")
        node: Any = marked
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node[last] = _SWEPT
    return marked


def _component(options: Mapping[str, Any] | str | None) -> str:
    """A named component and its options, as a sentence."""
    if isinstance(options, str):
        return f"{options}."
    given = {key: value for key, value in (options or {}).items() if key != "name"}
    name = (options or {}).get("name", "not stated")
    listed = _listed(given)
    return f"{name}: {listed}." if listed else f"{name}."


def _training(training: Mapping[str, Any]) -> str:
    parts = [
        f"{part} {_component(training[part]).rstrip('.')}"
        for part in ("loss", "optimizer", "schedule")
        if isinstance(training.get(part), Mapping | str)
    ]
    named = ("loss", "optimizer", "schedule", "stop")
    rest = _listed({key: value for key, value in training.items() if key not in named})
    stop = training.get("stop", {})
    stop = stop if isinstance(stop, str) else _listed(stop)
    ends = f" Training ends at whichever comes first: {stop}." if stop else ""
    return f"{'; '.join([*parts, *([rest] if rest else [])])}.{ends}"


def _grid(study: Mapping[str, Any]) -> str:
    axes = "; ".join(
        f"{path}: {', '.join(map(_text, values))}"
        for path, values in study.get("sweep", {}).items()
    )
    seeds = study.get("seeds", 1)
    listed = [*range(seeds)] if isinstance(seeds, int) else list(seeds)
    grid = f"All combinations of {axes}" if axes else "A single condition"
    return (
        f"{grid}; {counted(len(listed), 'seed')} ({', '.join(map(str, listed))}): "
        f"{counted(expected_trials(study), 'trial')}."
    )


def _snapshots(checkpoints: Mapping[str, Any]) -> str:
    parts = []
    if checkpoints.get("train_loss"):
        losses = ", ".join(map(_text, checkpoints["train_loss"]))
        parts.append(f"at the first update at which the training loss is at most {losses}")
    for unit in ("epochs", "updates"):
        positions = checkpoints.get(unit)
        if positions:
            where = _listed(positions) if isinstance(positions, Mapping) else _text(positions)
            parts.append(f"at {unit} {where}")
    return f"Taken {'; '.join([*parts, 'of the final network'])}."


def _measures(source: Source) -> str:
    asked = "; ".join(
        _component(options).rstrip(".") for options in source.study.get("measures", ())
    )
    found = source.rows(HOW_MEASURED).tuples()
    how = "; ".join(
        f"{split or 'both splits'}: {counted(n, 'example')}, {dtype}, batch norm in {mode} mode"
        for dtype, mode, n, split in found
    )
    text = f"Asked for: {asked}." if asked else "No measures were asked for."
    return f"{text} Measured on {how}." if how else text


def _listed(options: Mapping[str, Any]) -> str:
    shown = {key: value for key, value in options.items() if value not in (None, [], {}, ())}
    return ", ".join(f"{key} {_text(value)}" for key, value in shown.items())


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return f"({_listed(value)})"
    if isinstance(value, str) or not isinstance(value, Iterable):
        return f"{value:g}" if isinstance(value, float) else str(value)
    return f"[{', '.join(map(_text, value))}]"
