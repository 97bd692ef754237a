"""Effects of an edited study file on existing results."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.errors import OtherStudyError, ResultsError
from orchestrator.results.database.connection import again_if_compacted, connect
from orchestrator.results.folder.results_folder import ResultsFolder
from orchestrator.results.folder.stored_study import read_study
from orchestrator.study.columns import swept_columns
from orchestrator.study.spec import Study
from orchestrator.study.trials import Trial

_NOT_SCIENCE = {"data.data_dir"}


@dataclass(frozen=True)
class Change:
    """One value that differs.

    Attributes:
        path: Dotted path in the study.
        before: Old value as JSON; empty if absent.
        now: New value as JSON; empty if absent.
    """

    path: str
    before: str
    now: str

    def __str__(self) -> str:
        return f"{self.path}: {self.before or 'absent'} → {self.now or 'absent'}"


@dataclass(frozen=True)
class Edit:
    """How a study differs from its results.

    Attributes:
        changes: Differences from the study of the newest run, except in measures.
        new: Number of trials that never started.
        kept: Number of started trials that are still in the study.
        completed: Number of kept trials that are completed.
        dropped: Number of started trials that are no longer in the study; their rows stay.
        measures_added: Requests that the newest run did not have.
        measures_dropped: Requests that only the newest run had; their rows stay.
        contradictions: Values that are the same in all trials of the study, but differ in
            completed trials that are no longer in the study.
    """

    changes: tuple[Change, ...]
    new: int
    kept: int
    completed: int
    dropped: int
    measures_added: tuple[str, ...]
    measures_dropped: tuple[str, ...]
    contradictions: tuple[Change, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the edit as JSON-serializable values."""
        return asdict(self)

    def text(self) -> str:
        """Return the edit as text for people."""
        lines = [f"changed    {change}" for change in self.changes]
        lines += [f"measures   {request} added" for request in self.measures_added]
        lines += [
            f"measures   {request} no longer asked for; its rows stay"
            for request in self.measures_dropped
        ]
        lines.append(
            f"trials     {self.new} new, {self.kept} as before ({self.completed} completed), "
            f"{self.dropped} no longer asked for" + ("; their rows stay" if self.dropped else "")
        )
        lines += [
            f"refused    {change}: contradicts finished trials" for change in self.contradictions
        ]
        return "\n".join(lines)


@again_if_compacted
def compare_study(folder: ResultsFolder, study: Study, trials: Iterable[Trial]) -> Edit:
    """Compare a study with the existing results that it continues.

    Args:
        folder: The results.
        study: The study in its current version.
        trials: Trials of ``study``.

    Raises:
        ResultsError: If the results cannot be read.
    """
    stored = read_study(folder)
    asked = {trial.trial_id: trial for trial in trials}
    with connect(folder, measure_columns=False) as database:
        rows = database.execute("SELECT trial_id, status, params_json FROM trials").fetchall()
    begun = {trial_id for trial_id, _, _ in rows}
    completed = {trial_id: params for trial_id, status, params in rows if status == "completed"}
    dropped = [json.loads(params) for id_, params in completed.items() if id_ not in asked]
    before, now = stored.requests.keys(), study.requests.keys()
    return Edit(
        changes=tuple(_changes(_content(stored), _content(study))),
        new=len(asked.keys() - begun),
        kept=len(asked.keys() & begun),
        completed=len(asked.keys() & completed.keys()),
        dropped=len(begun - asked.keys()),
        measures_added=tuple(request for request in now if request not in before),
        measures_dropped=tuple(request for request in before if request not in now),
        contradictions=tuple(_contradictions(asked.values(), dropped)),
    )


def refuse_contradictions(folder: ResultsFolder, study: Study, trials: Iterable[Trial]) -> None:
    """Check that a study may continue its existing results.

    Args:
        folder: The results.
        study: The study in its current version.
        trials: Trials of ``study``.

    Raises:
        ResultsError: If finished trials contradict the study, or a swept value would change its
            column.
    """
    now = swept_columns(study.sweep.paths)
    for path, column in swept_columns(read_study(folder).sweep.paths).items():
        if now.get(path, column) != column:
            raise ResultsError(
                f"{folder.path}: the column {column} of {path} would become {now[path]}, because "
                "another swept path now has that name",
                "rename the other, or give the study its own folder with --results",
            )
    contradictions = compare_study(folder, study, trials).contradictions
    if contradictions:
        raise OtherStudyError(
            f"{folder.path}: finished trials contradict the current study:\n"
            + "\n".join(f"    {change}" for change in contradictions),
            "undo the change, or give the study its own folder with --results; "
            "to compare both values in one study, sweep over them",
        )


def _contradictions(trials: Iterable[Trial], dropped: list[Any]) -> Iterable[Change]:
    values: dict[str, set[str]] = defaultdict(set)
    for trial in trials:
        for path, value in _flat(trial.config.model_dump(mode="json")).items():
            values[path].add(value)
    constant = {
        path: next(iter(found))
        for path, found in values.items()
        if len(found) == 1 and path not in _NOT_SCIENCE
    }
    differing = Counter(
        (path, value)
        for params in dropped
        for path, value in _flat(params).items()
        if path in constant and value != constant[path]
    )
    for path, value in sorted(differing):
        yield Change(path, value, constant[path])


def _content(study: Study) -> dict[str, str]:
    return _flat(study.model_dump(mode="json", exclude={"measures", "question"}))


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> Iterable[Change]:
    for path in sorted(before.keys() | now.keys()):
        if before.get(path) != now.get(path):
            yield Change(path, before.get(path, ""), now.get(path, ""))


def _flat(content: Any, path: str = "") -> dict[str, str]:
    """Return dotted path → JSON text for every value that is not a mapping."""
    if isinstance(content, Mapping) and content:
        return {
            inner: value
            for key, part in content.items()
            for inner, value in _flat(part, f"{path}.{key}" if path else str(key)).items()
        }
    return {path: json.dumps(content, sort_keys=True)}
