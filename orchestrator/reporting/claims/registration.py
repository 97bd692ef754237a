"""Which claims were stated before there were results: those are worth more."""

from __future__ import annotations

from datetime import UTC, datetime

from orchestrator.reporting.data.open_results import Source, claims_of, parse_claims
from orchestrator.reporting.data.queries import Query

FIRST_RESULT = Query(
    "first_result",
    "when the first trial was completed",
    "SELECT min(written_at) AS written_at FROM trials WHERE status = 'completed'",
)


def stated_after_results(source: Source) -> tuple[str, ...]:
    """A sentence for each claim of the study that was added or changed after the first results.

    Returns:
        In the order of the study; "" for claims that were there before any trial was completed, and
        where that is not known: earlier releases did not record the claims of a run.
    """
    (first,) = source.rows(FIRST_RESULT)["written_at"]
    recorded = [parse_claims(run["claims"]) if "claims" in run else None for run in source.runs]
    found = []
    for claim in claims_of(source):
        sentence = ""
        for run, claims in zip(source.runs, recorded, strict=True):
            if claims is None:
                break
            if claim in claims:
                stated = datetime.fromisoformat(run["started_at"]).astimezone(UTC)
                if first is not None and first.astimezone(UTC) < stated:
                    sentence = (
                        f"Stated in this form on {stated:%Y-%m-%d at %H:%M} UTC, after the first "
                        "results were there: it is weaker evidence than a claim stated before."
                    )
                break
        found.append(sentence)
    return tuple(found)
