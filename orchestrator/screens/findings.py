"""What ``validate`` prints: the problems and the warnings of each study file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.checked_study import checked_study
from orchestrator.errors import Problem, StudyFileError
from orchestrator.study.design import describe_design
from orchestrator.study.spec import Study
from orchestrator.study.trials import expand_trials


@dataclass(frozen=True)
class Findings:
    """The findings in one study file.

    Attributes:
        path: The file, as given by the user.
        study: The study; None if it is invalid.
        problems: Every problem, in the order of the file.
        warnings: What is valid, but probably not meant.
    """

    path: Path
    study: Study | None
    problems: Sequence[Problem]
    warnings: Sequence[Problem]

    def text(self) -> str:
        """Return the findings, each with its line, and a last line that counts them."""
        blocks = [problem.text() for problem in self.problems]
        blocks += [warning.text("warning") for warning in self.warnings]
        return "\n\n".join([*blocks, "\n".join(self._summary())])

    def concise(self) -> str:
        """Return one line per finding, as editors read it; nothing if there is none."""
        lines = [problem.concise() for problem in self.problems]
        return "\n".join([*lines, *(warning.concise("warning") for warning in self.warnings)])

    def to_dict(self) -> dict[str, Any]:
        """Return the findings as JSON-serializable values."""
        return {
            "file": str(self.path),
            "valid": self.study is not None,
            "trials": None if self.study is None else len(expand_trials(self.study)),
            "findings": [
                *(problem.to_dict() for problem in self.problems),
                *(warning.to_dict("warning") for warning in self.warnings),
            ],
        }

    def _summary(self) -> list[str]:
        warnings = counted(len(self.warnings), "warning")
        if self.study is None:
            return [f"{self.path}: {counted(len(self.problems), 'error')}, {warnings}"]
        trials = expand_trials(self.study)
        conditions = len({trial.condition_id for trial in trials})
        final = len(self.study.final_measures)
        parts = [
            f"{counted(len(trials), 'trial')} ({counted(conditions, 'condition')} × "
            f"{counted(len(self.study.seed_list), 'seed')})",
            counted(len(self.study.measures), "measure")
            + (f" and {final} more for final networks" if final else ""),
            counted(len(self.study.claims), "claim"),
        ]
        ending = f", {warnings}" if self.warnings else ""
        design = describe_design(self.study.model_dump(mode="json"))
        return [f"{self.path}: {', '.join(parts)}: no errors{ending}", *design]


def findings_of(path: Path, overrides: Sequence[str] = ()) -> Findings:
    """Check a study file completely.

    Args:
        path: The YAML file.
        overrides: ``path=value`` texts, as ``--set`` takes them.
    """
    try:
        study, warnings = checked_study(path, overrides)
    except StudyFileError as error:
        return Findings(path, None, error.problems, ())
    return Findings(path, study, (), warnings)


def findings_json(found: Sequence[Findings]) -> str:
    """Return the findings of several files as one JSON object."""
    content = {
        "schema": 1,
        "valid": all(one.study is not None for one in found),
        "files": [one.to_dict() for one in found],
    }
    return json.dumps(content, indent=2, ensure_ascii=False)


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 trial``, ``15,000 trials``."""
    return f"{count:,} {noun}{'s' * (count != 1)}"
