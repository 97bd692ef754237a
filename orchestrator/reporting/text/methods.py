"""The methods section, derived from the study file and the catalog of measures."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from orchestrator.reporting.claims.verdict_rates import row_name, verdict_rates
from orchestrator.reporting.data.open_results import Source, claims_of
from orchestrator.reporting.data.queries import CATALOG, HOW_MEASURED
from orchestrator.reporting.figures import Table
from orchestrator.reporting.text.network_checks import describe_checks
from orchestrator.reporting.text.statistical_methods import NOTATION, describe_statistics
from orchestrator.results import expected_trials
from orchestrator.statistics.claim import counted
from orchestrator.study.design import design_axes, drawn_texts
from orchestrator.study.sweep_options import RANDOM


@dataclass(frozen=True)
class Methods:
    """The methods section.

    Attributes:
        paragraphs: Heading and text of each paragraph.
        measures: Table of the measures taken, with symbol, unit, direction, cost and citation.
        rates: Table of how often each claim of the study holds and fails in simulated worlds.
    """

    paragraphs: tuple[tuple[str, str], ...]
    measures: Table
    rates: Table


def describe_methods(source: Source, figures: Collection[str]) -> Methods:
    """Describe data, networks, training, snapshots, measures and statistics.

    Args:
        source: The study.
        figures: Keys of the drawn figures, whose statistics are described.
    """
    study = _with_swept_marked(source.study)
    paragraphs = (
        ("Data", _component(study.get("data"))),
        ("Network", _component(study.get("model"))),
        ("Training", _training(study.get("training", {}))),
        ("Grid", _grid(study)),
        ("Snapshots", _snapshots(study.get("checkpoints", {}))),
        ("Measures", _measures(source)),
        ("Checks", describe_checks(source)),
        NOTATION,
        *describe_statistics(figures, [claim.name for claim in claims_of(source)]),
    )
    catalog = source.rows(CATALOG)
    heads = ("measure", "family", "definition", "unit", "better if", "cost", "citation")
    rates = verdict_rates({row_name(claim) for claim in claims_of(source)})
    return Methods(paragraphs, Table.of(heads, catalog.tuples()), rates)


_SWEPT = "varied (see Grid)"


def _with_swept_marked(study: Mapping[str, Any]) -> dict[str, Any]:
    """Return the study with all swept values marked, so that none is reported as fixed."""
    marked: dict[str, Any] = deepcopy(dict(study))
    for path in (path for axis in design_axes(study) for path in axis.paths):
        *parents, last = path.split(".")
        node: Any = marked
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node[last] = _SWEPT
    return marked


def _component(options: Mapping[str, Any] | str | None) -> str:
    """Format a named component and its options as a sentence."""
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
    drawn = "; ".join(f"{path}: {how}" for path, how in drawn_texts(study))
    axes = "; ".join(
        f"{path}: {', '.join(map(_text, values))}"
        for path, values in study.get("sweep", {}).items()
        if path != RANDOM
    )
    seeds = study.get("seeds", 1)
    listed = [*range(seeds)] if isinstance(seeds, int) else list(seeds)
    grid = f"All combinations of {axes}" if axes else "A single condition"
    if drawn:
        search = study["sweep"][RANDOM]
        grid = (
            f"{counted(search['conditions'], 'condition')} drawn at random "
            f"(seed {search['seed']}), independently: {drawn}"
        )
        grid += f"; each with all combinations of {axes}" if axes else ""
    return (
        f"{grid}; {counted(len(listed), 'seed')} ({', '.join(map(str, listed))}): "
        f"{counted(expected_trials(study), 'trial')}."
    )


def _snapshots(checkpoints: Mapping[str, Any]) -> str:
    parts = []
    if checkpoints.get("train_loss"):
        losses = ", ".join(map(_text, checkpoints["train_loss"]))
        parts.append(
            f"where the training loss first falls to {losses}, located within epochs to one update "
            "or to less than 10 % below"
        )
    for unit in ("epochs", "updates"):
        positions = checkpoints.get(unit)
        if positions:
            parts.append(_positions(positions, unit))
    return f"Taken {'; '.join([*parts, 'of the final network'])}."


def _positions(positions: Mapping[str, int] | Iterable[int], unit: str) -> str:
    if not isinstance(positions, Mapping):
        return f"at {unit} {', '.join(map(_text, positions))}"
    if "every" in positions:
        return f"every {positions['every']:,} {unit}"
    return f"at {positions['log_spaced']:,} {unit} spaced evenly in logarithm"


def _measures(source: Source) -> str:
    every, final = (
        "; ".join(_component(options).rstrip(".") for options in source.study.get(key, ()))
        for key in ("measures", "final_measures")
    )
    found = source.rows(HOW_MEASURED).tuples()
    how = "; ".join(
        f"{split or 'both splits'}: {counted(n, 'example')}, {dtype}, batch norm in {mode} mode"
        for dtype, mode, n, split in found
    )
    asked = [f"Requested: {every}."] if every else []
    asked += [f"Requested on final networks only: {final}."] if final else []
    text = " ".join(asked) or "No measures were requested."
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
