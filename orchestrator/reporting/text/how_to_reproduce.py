"""Provenance of the results, and how to reproduce them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.data.queries import DATASETS, MACHINES
from orchestrator.reporting.figures import Table
from orchestrator.statistics.claim import counted

MOST_DIFF = 20_000
_MOST_RUNS = 20


@dataclass(frozen=True)
class Provenance:
    """The provenance section.

    Attributes:
        items: Terms with texts, on the latest run and on all trials.
        command: Command that repeats the latest run, or "" if it is not recorded.
        runs: Table of the latest runs, oldest first.
        machines: Table of the machines that ran trials.
        diff: Uncommitted changes, or "".
    """

    items: tuple[tuple[str, str], ...]
    command: str
    runs: Table
    machines: Table
    diff: str


def collect_report_provenance(source: Source) -> Provenance:
    """Gather the provenance of a results folder."""
    newest: Mapping[str, Any] = source.runs[-1] if source.runs else {}
    machines = source.rows(MACHINES)
    diff = source.folder.diff.read_text(encoding="utf-8") if source.folder.diff.is_file() else ""
    shortened = diff[:MOST_DIFF]
    if len(diff) > MOST_DIFF:
        shortened += f"\n… truncated; code.diff has {len(diff):,} characters"
    run_heads = ("started", "command", "commit", "uncommitted changes")
    machine_heads = ("host", "device", "Python", "torch", "orchestrator", "trials", "hours")
    return Provenance(
        items=tuple(_items(source, newest)),
        command=_repeatable(newest.get("command", [])),
        runs=Table.of(run_heads, [_run(run) for run in source.runs[-_MOST_RUNS:]]),
        machines=Table.of(machine_heads, machines.tuples()),
        diff=shortened,
    )


def _items(source: Source, newest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    seeds = source.study.get("seeds", 1)
    listed = range(seeds) if isinstance(seeds, int) else seeds
    yield "Started", str(newest.get("started_at", "not recorded"))
    yield "Code", _commit(newest.get("git"), "the working directory is not in a repository")
    if newest.get("package_git"):
        yield "Orchestrator’s code", _commit(newest["package_git"], "")
    yield "Overrides", ", ".join(newest.get("overrides", [])) or "none"
    yield "Seeds", ", ".join(map(str, listed))
    yield "Data", "; ".join(_data(*row) for row in source.rows(DATASETS).tuples()) or "none yet"
    versions = newest.get("versions") or {}
    known = [f"{name} {version}" for name, version in versions.items() if version]
    yield "Versions", ", ".join(known) or "not recorded"
    yield "Hardware", _hardware(newest.get("hardware") or {})


def _data(name: str | None, content_hash: str | None, train_size: int | None, trials: int) -> str:
    size = f" of {train_size:,} training examples" if train_size else ""
    return (
        f"{name}{size}, content hash {content_hash or 'not recorded'} ({counted(trials, 'trial')})"
    )


def _repeatable(command: Sequence[str]) -> str:
    """Return the command line as typed; Python records the path of a module that it runs."""
    if command and command[0].endswith("__main__.py"):
        return shlex.join(["python", "-m", "orchestrator", *command[1:]])
    return shlex.join(command)


def _commit(git: Mapping[str, Any] | None, otherwise: str) -> str:
    if not git:
        return otherwise
    text = f"commit {git.get('commit', 'unknown')}"
    if git.get("branch"):
        text += f" on {git['branch']}"
    if not git.get("dirty"):
        return f"{text}, no uncommitted changes"
    return f"{text}, with uncommitted changes (sha256 {git.get('diff_sha256')})"


def _hardware(hardware: Mapping[str, Any]) -> str:
    parts = []
    if hardware.get("cpu"):
        parts.append(f"{hardware['cpu']}, {hardware.get('usable_cores') or '?'} usable cores")
    if hardware.get("memory_bytes"):
        parts.append(f"{hardware['memory_bytes'] / 2**30:.0f} GiB of memory")
    gpus = hardware.get("gpus") or []
    parts.append(", ".join(gpus) if gpus else "no GPU")
    if hardware.get("platform"):
        parts.append(str(hardware["platform"]))
    return "; ".join(parts)


def _run(run: Mapping[str, Any]) -> tuple[Any, ...]:
    git = run.get("git") or {}
    return (
        run.get("started_at"),
        _repeatable(run.get("command", [])),
        str(git.get("commit", ""))[:12],
        "yes" if git.get("dirty") else "no",
    )
