"""Claims that a study states itself, from their columns to a verdict."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np

from orchestrator.errors import QueryError
from orchestrator.report.network_queries import MOST_COMPARED, MOST_RANKED
from orchestrator.report.queries import Query, identifier
from orchestrator.report.source import Rows, Source
from orchestrator.results import again_if_compacted, ask
from orchestrator.statistics import (
    Claim,
    Estimate,
    at_matched_stages,
    at_matched_times,
    kendall,
    mean,
    median,
    partial_pearson,
    spearman,
    stratified_correlation,
)
from orchestrator.statistics.bootstrap import LEVEL, Groups
from orchestrator.statistics.claim import counted, decide, left_out
from orchestrator.statistics.estimate import FloatArray, positive_log10
from orchestrator.study.claim_options import StatedClaim

_IDENTITY = ("trial_id", "condition_id")
_TIMES = {"matched_updates": "step", "matched_epochs": "epoch"}
_DESIGNS = {
    "snapshots": "over all snapshots",
    "final": "over trained networks",
    "matched_loss": "between networks at the same train loss",
    "matched_updates": "between networks after the same number of updates",
    "matched_epochs": "between networks after the same number of epochs",
}
_STATISTICS = {
    "pearson": "Pearson r between {x} and {y}",
    "spearman": "Spearman ρ between {x} and {y}",
    "kendall": "Kendall τ_b between {x} and {y}",
    "mean": "Mean of {x}",
    "median": "Median of {x}",
}


def judge_stated(source: Source, claim: StatedClaim) -> tuple[Claim, Query]:
    """Find the columns, the number and the verdict.

    Whatever is wrong with a claim's SQL or columns leaves it unclear, with the reason: a report
    that is written tells more than one that is not.
    """
    query = _query(claim)
    try:
        rows = _rows(source, query)
    except QueryError as error:
        reason = error.message.split("\n")[0]
        return _claim(claim, _nothing("its query cannot be run"), [f"The query: {reason}."]), query
    missing = [name for name in (*_IDENTITY, *_columns(claim)) if name not in rows.columns]
    if missing:
        return _claim(claim, _nothing(f"the query has no column {missing[0]}"), []), query
    sampled = ""
    if claim.statistic == "kendall":
        rows, sampled = _sample(rows)
    try:
        columns = {name: rows.floats(name) for name in _columns(claim)}
        groups = rows.groups()
    except (TypeError, ValueError) as error:
        return _claim(claim, _nothing(f"its columns are not usable: {error}"), []), query
    estimate, sentences = _estimate(claim, rows, columns, groups)
    return _claim(claim, estimate, [*sentences, sampled]), query


def _sample(rows: Rows) -> tuple[Rows, str]:
    """Whole trials, chosen by a hash, so that pairs of rows stay few enough to compare."""
    trials = [str(trial) for trial in rows["trial_id"]]
    if len(trials) <= MOST_RANKED and len(set(trials)) <= MOST_COMPARED:
        return rows, ""
    sizes = Counter(trials)
    order = sorted(sizes, key=lambda trial: hashlib.md5(trial.encode()).digest())  # noqa: S324
    reached = itertools.accumulate(sizes[trial] for trial in order)
    chosen = {
        trial
        for trial, rows_so_far in zip(order[:MOST_COMPARED], reached, strict=False)
        if rows_so_far <= MOST_RANKED
    }
    kept = rows.select(np.array([trial in chosen for trial in trials], dtype=np.bool_))
    return kept, (
        f"All pairs of {len(trials):,} values would be too many: these are "
        f"{counted(len(chosen), 'trial')} of {len(order):,}, chosen by a hash of their names."
    )


def _columns(claim: StatedClaim) -> list[str]:
    return list(dict.fromkeys(filter(None, (claim.x, claim.y, *claim.given))))


def _query(claim: StatedClaim) -> Query:
    about = f"what the claim {claim.name} rests on"
    if claim.query:
        return Query(claim.name, about, claim.query.strip().rstrip(";"))
    names = ", ".join(identifier(name) for name in _columns(claim))
    more, source = "", "wide"
    if claim.design == "final":
        source += " SEMI JOIN final USING (checkpoint_id)"
    elif claim.design == "matched_loss":
        more = "reached.train_loss_milestone, "
        source += " JOIN (SELECT checkpoint_id, train_loss_milestone FROM milestones) AS reached\n"
        source += "    USING (checkpoint_id)"
    elif claim.design in _TIMES:
        more = "step, epoch, "
    where = f"step > 0 AND ({claim.where})" if claim.where else "step > 0"
    return Query(
        claim.name,
        about,
        f"SELECT trial_id, condition_id, {more}{names}\nFROM {source}\nWHERE {where}\n"
        "ORDER BY trial_id, step",
    )


@again_if_compacted
def _rows(source: Source, query: Query) -> Rows:
    # SQL from outside: on a connection that reads these results and nothing else.
    names, fetched = ask(
        source.folder.path,
        query.sql,
        lambda rows: (rows.columns, rows.fetchall()),
        without=source.left_out.trial_ids,
    )
    values = list(zip(*fetched, strict=True)) if fetched else [() for _ in names]
    return Rows(dict(zip(names, values, strict=True))).in_order()


def _estimate(
    claim: StatedClaim, rows: Rows, columns: dict[str, FloatArray], groups: Groups
) -> tuple[Estimate, list[str]]:
    values = {
        name: positive_log10(column) if name in claim.log else column
        for name, column in columns.items()
    }
    sentences = [
        left_out(
            *(
                (f"{name} not positive", np.isfinite(columns[name]) & (columns[name] <= 0))
                for name in claim.log
            ),
            *((f"{name} missing or not finite", ~np.isfinite(c)) for name, c in columns.items()),
        )
    ]
    x, statistic = values[claim.x], claim.statistic
    if statistic == "mean":
        return mean(x, groups), sentences
    if statistic == "median":
        return median(x, groups), sentences
    y = values[claim.y]
    if not claim.design.startswith("matched"):
        if statistic == "pearson":
            controls = [values[name] for name in claim.given]
            return partial_pearson(x, y, controls, groups), sentences
        return (kendall if statistic == "kendall" else spearman)(x, y, groups), sentences
    if claim.design == "matched_loss":
        matched = at_matched_stages({"x": x, "y": y}, rows.floats("train_loss_milestone"), groups)
    else:
        matched = at_matched_times({"x": x, "y": y}, rows.floats(_TIMES[claim.design]), groups)
    sentences.append(f"Compared at {counted(len(matched.stages), 'stage')} of training.")
    sentences.append(left_out(("stages with too few networks", matched.left_out)))
    inside = stratified_correlation(
        matched.columns["x"], matched.columns["y"], matched.stratum, matched.groups, statistic
    )
    return inside, sentences


def _claim(claim: StatedClaim, estimate: Estimate, sentences: Sequence[str]) -> Claim:
    def called(name: str) -> str:
        return f"log10 {name}" if name in claim.log else name

    statistic = _STATISTICS[claim.statistic].format(x=called(claim.x), y=called(claim.y))
    if claim.given:
        statistic += f" given {', '.join(called(name) for name in claim.given)}"
    statistic += ", of its own query" if claim.query else f", {_DESIGNS[claim.design]}"
    statistic += f" with {claim.where}" if claim.where else ""
    verdict = decide(estimate, claim.threshold, below=claim.below is not None)
    said = [sentence for sentence in sentences if sentence]
    if not estimate.has_interval:
        said.append(f"No verdict: {estimate.reason}.")
    return Claim(
        claim.name,
        claim.statement.strip().rstrip("."),
        statistic,
        estimate,
        claim.threshold,
        verdict,
        " ".join(said),
        below=claim.below is not None,
    )


def _nothing(reason: str) -> Estimate:
    return Estimate(None, None, None, LEVEL, 0, 0, 0, reason)
