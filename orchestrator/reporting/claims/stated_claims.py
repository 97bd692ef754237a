"""Judging claims that a study states itself, from their columns to a verdict."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np

from orchestrator.errors import QueryError
from orchestrator.reporting.claims.verdict_scale import Scale
from orchestrator.reporting.data.conditions import Conditions
from orchestrator.reporting.data.network_queries import MOST_COMPARED, MOST_RANKED
from orchestrator.reporting.data.open_results import Rows, Source
from orchestrator.reporting.data.queries import Query, identifier
from orchestrator.results import again_if_compacted, ask
from orchestrator.statistics import Claim, Estimate, at_matched_stages, at_matched_times
from orchestrator.statistics.beside import reach_sentences, stand_beside
from orchestrator.statistics.claim import Beside, Side, counted, joined, judge, left_out, lies
from orchestrator.statistics.claims.stated_claim import (
    Compared,
    infer_statistic,
    most_that_ties_allow,
)
from orchestrator.statistics.intervals.bootstrap import LEVEL, Groups
from orchestrator.statistics.intervals.estimate import BoolArray, FloatArray, positive_log10
from orchestrator.statistics.intervals.inference import Inference
from orchestrator.study.claim_options import StatedClaim

_IDENTITY = ("trial_id", "condition_id")
_LOSS = "train_loss"
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
    "kendall": "Kendall τ_b between {x} and {y}, over networks of different conditions",
    "mean": "Mean over conditions of {x}",
    "median": "Median over conditions of the median {x}",
}

SYMBOLS: dict[str, tuple[str, Scale]] = {
    "pearson": ("r = {}", "correlation"),
    "spearman": ("ρ = {}", "correlation"),
    "kendall": ("τ = {}", "correlation"),
    "mean": ("mean {}", "linear"),
    "median": ("median {}", "linear"),
}
"""Form of each statistic's number, and the scale on which it is compared with a threshold."""


def judge_stated(source: Source, claim: StatedClaim, conditions: Conditions) -> tuple[Claim, Query]:
    """Read the columns of a claim, compute its estimate and judge it.

    An error in a claim's SQL or columns leaves the claim unclear and gives the reason, so that
    the report is still written.
    """
    query = claim_query(claim)
    try:
        rows = claim_rows(source, query)
    except QueryError as error:
        reason = error.message.split("\n")[0]
        nothing = _nothing("the query of the claim cannot be run")
        return _claim(claim, nothing, [f"Query error: {reason}."]), query
    missing = [name for name in (*_IDENTITY, *_columns(claim)) if name not in rows.columns]
    if missing:
        return _claim(claim, _nothing(f"the query has no column {missing[0]}"), []), query
    sampled = ""
    if claim.statistic == "kendall":
        rows, sampled = _sample(rows)
    try:
        columns = {name: rows.floats(name) for name in (*_columns(claim), _LOSS)}
        design, groups = conditions.design(rows), rows.groups()
    except (TypeError, ValueError) as error:
        return _claim(claim, _nothing(f"the columns are not usable: {error}"), []), query
    compared, sentences = _compared(claim, rows, columns, groups)
    finite = compared.finite
    excluded = int(np.sum(~finite))

    def inferred(kept: BoolArray, given: FloatArray | None = None) -> Inference:
        return infer_statistic(claim.statistic, compared.select(kept), design, given, excluded)

    # Networks compared at the same stage are already matched, and their rows between snapshots
    # have no loss. A mean of one column has no confounder.
    correlated = compared.stratum is None and bool(claim.y)
    beside = stand_beside(
        lambda kept, given: inferred(kept, given).estimate,
        finite,
        lambda value: lies(value, claim.threshold, _side(claim)),
        compared.groups,
        design,
        columns[_LOSS] if correlated and np.isfinite(columns[_LOSS]).any() else None,
        conditions.learned(rows) if compared.stratum is None else None,
    )
    if claim.y:
        names = dict(enumerate((claim.x, claim.y)))
        ceiling = most_that_ties_allow(claim.statistic, compared.select(finite), names)
        sentences.append(ceiling)
    return _claim(claim, inferred(finite), [*sentences, sampled], beside), query


def _sample(rows: Rows) -> tuple[Rows, str]:
    """Choose whole trials by a hash, so that pairs of rows stay few enough to compare."""
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
        f"{len(trials):,} values have too many pairs, so this statistic uses "
        f"{counted(len(chosen), 'trial')} of {len(order):,}, chosen by a hash of their names."
    )


def _columns(claim: StatedClaim) -> list[str]:
    return list(dict.fromkeys(filter(None, (claim.x, claim.y, *claim.given))))


def claim_query(claim: StatedClaim) -> Query:
    """Return the query for the rows that a stated claim is judged on."""
    about = f"rows behind the claim {claim.name}"
    if claim.query:
        return Query(claim.name, about, claim.query.strip().rstrip(";"))
    names = ", ".join(identifier(name) for name in dict.fromkeys((*_columns(claim), _LOSS)))
    more, source = "", "wide"
    if claim.design == "final":
        source = "wide SEMI JOIN final USING (checkpoint_id)"
    elif claim.design == "matched_loss":
        more = "reached.train_loss_milestone, "
        source = """wide
JOIN (SELECT checkpoint_id, train_loss_milestone FROM milestones) AS reached
    USING (checkpoint_id)"""
    elif claim.design in _TIMES:
        more = "step, epoch, "
    where = f"step > 0 AND ({claim.where})" if claim.where else "step > 0"
    return Query(
        claim.name,
        about,
        f"""\
SELECT trial_id, condition_id, {more}{names}
FROM {source}
WHERE {where}
ORDER BY trial_id, step""",  # noqa: S608 - names quoted; the condition is the user's own
    )


@again_if_compacted
def claim_rows(source: Source, query: Query) -> Rows:
    """Run the query of a stated claim.

    Raises:
        QueryError: If its SQL cannot be run.
    """
    # SQL from outside runs on a connection that can read only these results.
    names, fetched = ask(
        source.folder.path,
        query.sql,
        lambda rows: (rows.columns, rows.fetchall()),
        without=source.left_out.trial_ids,
    )
    values = list(zip(*fetched, strict=True)) if fetched else [() for _ in names]
    return Rows(dict(zip(names, values, strict=True))).in_order()


def _compared(
    claim: StatedClaim, rows: Rows, columns: dict[str, FloatArray], groups: Groups
) -> tuple[Compared, list[str]]:
    values = {
        name: positive_log10(columns[name]) if name in claim.log else columns[name]
        for name in _columns(claim)
    }
    sentences = [
        left_out(
            *(
                (f"{name} not positive", np.isfinite(columns[name]) & (columns[name] <= 0))
                for name in claim.log
            ),
            *((f"{name} missing or not finite", ~np.isfinite(columns[name])) for name in values),
        )
    ]
    table = np.stack([values[name] for name in filter(None, (claim.x, claim.y, *claim.given))])
    if not claim.design.startswith("matched"):
        return Compared(table, groups), sentences
    pair = {"x": table[0], "y": table[1]}
    if claim.design == "matched_loss":
        matched = at_matched_stages(pair, rows.floats("train_loss_milestone"), groups)
    else:
        matched = at_matched_times(pair, rows.floats(_TIMES[claim.design]), groups)
    sentences.append(f"Compared at {counted(len(matched.stages), 'stage')} of training.")
    sentences.append(left_out(("stages with too few networks", matched.left_out)))
    table = np.stack([matched.columns["x"], matched.columns["y"]])
    return Compared(table, matched.groups, matched.stratum), sentences


def _claim(
    claim: StatedClaim,
    found: Inference,
    sentences: Sequence[str],
    beside: tuple[Beside, ...] = (),
) -> Claim:
    def called(name: str) -> str:
        return f"log10 {name}" if name in claim.log else name

    statistic = _STATISTICS[claim.statistic].format(x=called(claim.x), y=called(claim.y))
    if claim.given:
        statistic += f" given {', '.join(called(name) for name in claim.given)}"
    statistic += ", from its own query" if claim.query else f", {_DESIGNS[claim.design]}"
    statistic += f" with {claim.where}" if claim.where else ""
    below, above = found.p_below(claim.threshold), found.p_above(claim.threshold)
    verdict, p_value = judge(*((below, above) if _side(claim) == "below" else (above, below)))
    return Claim(
        claim.name,
        claim.statement.strip().rstrip("."),
        statistic,
        found.estimate,
        claim.threshold,
        verdict,
        joined((*sentences, *(one.sentence for one in beside), *reach_sentences(found))),
        side=_side(claim),
        scope=found.scope,
        p_value=p_value if found.spread is not None else None,
        without=found.without,
        beside=beside,
    )


def _side(claim: StatedClaim) -> Side:
    return "above" if claim.below is None else "below"


def _nothing(reason: str) -> Inference:
    return Inference(Estimate(None, None, None, LEVEL, 0, 0, 0, reason), "in this grid")
