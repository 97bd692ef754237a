"""Claims stated before the first results, which are stronger evidence than later ones."""

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
    """Return a sentence for each claim that was added or changed after the first results.

    Returns:
        One text per claim, in the order of the study. It is "" for claims stated before any trial
        was completed, and if that is unknown: earlier releases did not record the claims of a run.
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
                        "results: it is weaker evidence than a claim stated before them."
                    )
                break
        found.append(sentence)
    return tuple(found)
