"""Results of the trust checks, as sentences for the methods and the limitations."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.data.queries import Query
from orchestrator.statistics.claim import counted

TRUST_CHECKS = Query(
    "trust_checks",
    "trust checks of each shape of network, with status and reason",
    """
    SELECT shape, data, model, loss, spoils, trust_check, status, reason FROM trust_checks
    ORDER BY model, data, loss, shape, trust_check
    """,
)
_MOST_REASON = 300


def describe_checks(source: Source) -> str:
    """Describe how many shapes of network passed the checks, and which did not."""
    rows = source.rows(TRUST_CHECKS).tuples()
    if not rows:
        if source.study.get("measuring", {}).get("trust_checks") is False:
            return "The study turned off the checks of its networks."
        return "No network checks are recorded."
    shapes = {row[0] for row in rows}
    names = sorted({row[5] for row in rows})
    listed = ", ".join(name.replace("_", " ") for name in names)
    checks = f"{counted(len(names), 'check')} ({listed})"
    short = {row[0] for row in rows if row[6] != "passed"}
    if not short:
        every = "The only shape" if len(shapes) == 1 else f"All {len(shapes):,} shapes"
        return f"{every} of network (data, model and loss) passed the {checks}."
    passed = len(shapes) - len(short)
    return (
        f"Of {counted(len(shapes), 'shape')} of network (data, model and loss), {passed:,} "
        f"passed all of the {checks}. {' '.join(_short(rows))}"
    )


def checks_not_passed(source: Source) -> Iterator[str]:
    """Yield one sentence for each check that a network did not pass."""
    yield from _short(source.rows(TRUST_CHECKS).tuples())


def _short(rows: list[tuple[str, ...]]) -> Iterator[str]:
    seen = set()
    for _, data, model, loss, _, check, status, reason in rows:
        what = "failed" if status == "failed" else "could not be decided"
        text = (
            f"The check “{check.replace('_', ' ')}” {what} for {model} on {data} with {loss}: "
            f"{(reason or 'no reason recorded').splitlines()[0][:_MOST_REASON]}."
        )
        if status != "passed" and text not in seen:
            seen.add(text)
            yield text
