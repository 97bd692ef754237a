"""Progress of a study, read from its results alone, so from any terminal."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import duckdb

from orchestrator.results.database.connection import again_if_compacted, connect
from orchestrator.results.database.left_out import trials_left_out
from orchestrator.results.database.several_folders import Result
from orchestrator.results.database.unlearned_networks import did_not_learn
from orchestrator.results.folder.commit_records import listed_snapshots
from orchestrator.results.folder.results_folder import ResultsFolder
from orchestrator.results.folder.stored_study import (
    asked_requests,
    described_study,
    expected_trials,
)
from orchestrator.results.store.lock import LockHolder
from orchestrator.results.store.store_path import Location
from orchestrator.results.table_schemas import IS_FINAL


@dataclass(frozen=True)
class RequestStatus:
    """Snapshot counts for one request of the study's ``measures``.

    Attributes:
        request: Canonical text of the request.
        ok: Snapshots whose values are all finite.
        nonfinite: Snapshots with a non-finite value.
        failed: Snapshots on which the request failed.
        missing: Snapshots on which the request still has to be computed.
    """

    request: str
    ok: int
    nonfinite: int
    failed: int
    missing: int


@dataclass(frozen=True)
class Failure:
    """A trial or a measure that failed.

    Attributes:
        kind: ``trial`` or ``measure``.
        name: Trial id, or checkpoint id and request.
        reason: Reason for the failure.
        at: Time of the failure in UTC.
    """

    kind: str
    name: str
    reason: str
    at: datetime


@dataclass(frozen=True)
class StudyStatus:
    """Progress of a study.

    Attributes:
        study: Name of the study.
        path: Path of its results.
        running: Process that is working on the study, if any.
        trials_expected: Trials in the grid of the newest run.
        trials_completed: Trials that completed their training.
        trials_running: Trials that started and have not ended; without a running process, they
            were interrupted.
        trials_failed: Trials whose last attempt failed.
        trials_unlearned: Completed trials whose networks did not learn.
        trials_left_out: Stored trials with values that were removed from the grid; the counts
            above exclude these trials.
        snapshots: Stored snapshots of all trials.
        snapshots_measured: Snapshots on which every request has values.
        snapshots_failed: Snapshots on which every request was tried and some failed.
        snapshots_pending: All other snapshots.
        requests: Status of each request.
        failures: Newest failures, newest first.
    """

    study: str
    path: Location
    running: LockHolder | None
    trials_expected: int
    trials_completed: int
    trials_running: int
    trials_failed: int
    trials_unlearned: int
    trials_left_out: int
    snapshots: int
    snapshots_measured: int
    snapshots_failed: int
    snapshots_pending: int
    requests: tuple[RequestStatus, ...]
    failures: tuple[Failure, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the status as JSON-serializable values."""
        content = asdict(self)
        content["path"] = str(self.path)
        for failure in content["failures"]:
            failure["at"] = failure["at"].isoformat(timespec="seconds") + "Z"
        return content


def study_status(path: Result, *, most_failures: int = 5) -> StudyStatus:
    """Compare the stored results with the requests of the study.

    Args:
        path: The results folder.
        most_failures: Maximum number of failures to list.

    Raises:
        ResultsError: If the results do not exist, or their study cannot be read.
    """
    folder = path if isinstance(path, ResultsFolder) else ResultsFolder.open(path)
    study = described_study(folder)
    snapshots = listed_snapshots(folder)

    @again_if_compacted
    def read() -> tuple[dict[str, int], set[str], dict[tuple[str, str], str], tuple[Failure, ...]]:
        with connect(folder, measure_columns=False) as database:
            left_out = trials_left_out(folder, database).trial_ids
            counts = """
                SELECT status, count(*) FROM trials
                WHERE trial_id NOT IN (SELECT unnest(?::VARCHAR[])) GROUP BY status
            """
            trials: dict[str, int] = dict(database.execute(counts, [sorted(left_out)]).fetchall())
            trials |= {
                "unlearned": len(set(did_not_learn(database, study)) - left_out),
                "left_out": len(left_out),
            }
            final = {row[0] for row in database.execute(_FINAL).fetchall()}
            states = _request_states(database)
            return trials, final, states, _failures(database, most_failures)

    trials, final, states, failures = read()
    requests = asked_requests(study)
    of_snapshots = [
        [
            states.get((id_, request), None if of_all or id_ in final else _NOT_ASKED)
            for request, of_all in requests.items()
        ]
        for id_ in snapshots
    ]
    pending = sum(None in row for row in of_snapshots)
    failed = sum(None not in row and "failed" in row for row in of_snapshots)
    return StudyStatus(
        study=study["study"],
        path=folder.path,
        running=folder.lock.holder(),
        trials_expected=expected_trials(study),
        trials_completed=trials.get("completed", 0),
        trials_running=trials.get("running", 0),
        trials_failed=trials.get("failed", 0),
        trials_unlearned=trials["unlearned"],
        trials_left_out=trials["left_out"],
        snapshots=len(snapshots),
        snapshots_measured=len(snapshots) - pending - failed,
        snapshots_failed=failed,
        snapshots_pending=pending,
        requests=tuple(
            _request_status(request, [row[index] for row in of_snapshots])
            for index, request in enumerate(requests)
        ),
        failures=failures,
    )


_NOT_ASKED = "not asked"
_FINAL = f"SELECT checkpoint_id FROM checkpoints WHERE {IS_FINAL}"  # noqa: S608 - a constant.


def _request_states(database: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], str]:
    rows = database.execute("""
        SELECT checkpoint_id, request, CASE
            WHEN bool_or(status NOT IN ('ok', 'nonfinite')) THEN 'failed'
            WHEN bool_or(status = 'nonfinite') THEN 'nonfinite'
            ELSE 'ok' END
        FROM measures GROUP BY checkpoint_id, request
    """).fetchall()
    return {(checkpoint_id, request): state for checkpoint_id, request, state in rows}


def _request_status(request: str, states: list[str | None]) -> RequestStatus:
    return RequestStatus(
        request,
        ok=states.count("ok"),
        nonfinite=states.count("nonfinite"),
        failed=states.count("failed"),
        missing=states.count(None),
    )


def _failures(database: duckdb.DuckDBPyConnection, most: int) -> tuple[Failure, ...]:
    rows: list[tuple[Any, ...]] = database.execute(
        """
        SELECT 'trial', trial_id, coalesce(error, ''), written_at FROM trials
        WHERE status = 'failed'
        UNION ALL
        SELECT 'measure', checkpoint_id || ' ' || request, coalesce(error, status), written_at
        FROM measures WHERE status NOT IN ('ok', 'nonfinite')
        ORDER BY written_at DESC LIMIT ?
        """,
        [most],
    ).fetchall()
    return tuple(Failure(*row) for row in rows)


def status_text(status: StudyStatus) -> str:
    """Return a :class:`StudyStatus` as a few lines of text for people."""
    waiting = max(
        0,
        status.trials_expected
        - status.trials_completed
        - status.trials_running
        - status.trials_failed,
    )
    begun = "running" if status.running else "interrupted"
    lines = [
        f"{status.study}: {status.running or 'no run is active'}",
        f"trials     {status.trials_completed} of {status.trials_expected} completed, "
        f"{status.trials_running} {begun}, {status.trials_failed} failed, {waiting} not started"
        + (f", {status.trials_left_out} no longer in the grid" if status.trials_left_out else ""),
        f"snapshots  {status.snapshots_measured} of {status.snapshots} measured, "
        f"{status.snapshots_pending} pending, {status.snapshots_failed} with failures",
    ]
    if status.trials_unlearned:
        lines.insert(2, f"           {status.trials_unlearned} completed without learning")
    width = max((len(request.request) for request in status.requests), default=0)
    for request in status.requests:
        lines.append(
            f"  {request.request.ljust(width)}  {request.ok} ok, {request.nonfinite} nonfinite, "
            f"{request.failed} failed, {request.missing} missing"
        )
    for failure in status.failures:
        reason = failure.reason.strip().splitlines()[0] if failure.reason.strip() else "no reason"
        lines.append(f"failed {failure.at:%Y-%m-%d %H:%M} {failure.kind} {failure.name}: {reason}")
    return "\n".join(lines)
