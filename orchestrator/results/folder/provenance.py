"""Provenance of results: code, versions, hardware, command; never environment variables."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from orchestrator.results.folder.stored_json import read_json, sealed_json
from orchestrator.results.store.atomic import write_atomically
from orchestrator.results.store.store_path import Location

PACKAGES = (
    "margin-study-orchestrator",
    "torch",
    "ray",
    "numpy",
    "scipy",
    "duckdb",
    "pyarrow",
    "pydantic",
    "altair",
)
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_SECRET = re.compile(
    r"(\b[\w.-]*(?:passw(?:or)?d|passphrase|secret|token|api_?key|access_?key)['\"]?\s*[=:]\s*)"
    r"(?:'[^']*'|\"[^\"]*\"|[^\s,}]+)",
    re.IGNORECASE,
)
MEND = (
    "restore it from a backup; without one, move it away and run the study again, which starts a "
    "new file"
)
DIFF_LIMIT = 1024 * 1024
PROGRAM_SECONDS = 30


def collect_provenance(
    study_path: str | Location,
    command: Sequence[str],
    overrides: Sequence[str] = (),
    *,
    directory: str | Path | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Describe this run as one entry of ``provenance.json``.

    Environment variables and repository addresses are not included.

    Args:
        study_path: The study file.
        command: The command line as a list.
        overrides: The ``--set`` options.
        directory: The project whose commit is recorded; by default the working directory.
        **more: Further JSON values, for example data hashes.

    Returns:
        A JSON-serializable mapping.
    """
    project = Path(directory or Path.cwd()).resolve()
    return {
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "study_path": str(study_path),
        "command": [without_secrets(part) for part in command],
        "overrides": [without_secrets(part) for part in overrides],
        "directory": str(project),
        "git": _git_state(project),
        "package_git": _package_git_state(),
        "versions": {"python": platform.python_version(), **_versions()},
        "hardware": _hardware(),
        **more,
    }


def without_secrets(text: str) -> str:
    """Replace passwords in addresses, and values whose names suggest secrets, by ``…``.

    >>> without_secrets("https://me:word@example.com/x"), without_secrets("api_key=12ab")
    ('https://…@example.com/x', 'api_key=…')
    """
    return _SECRET.sub(r"\1…", _CREDENTIALS.sub("…", text))


def code_diff(directory: str | Path | None = None, limit: int = DIFF_LIMIT) -> str:
    """Return the uncommitted changes in the repository around ``directory``.

    Args:
        directory: By default the working directory.
        limit: Maximum size of the diff in bytes; a note at its end reports any truncation.

    Returns:
        The diff of tracked files against ``HEAD``, then the names of untracked files; empty
        if everything is committed or ``directory`` is outside any repository.
    """
    project = Path(directory or Path.cwd()).resolve()
    # Do not run external diff programs or text filters from the repository's configuration.
    diff = _git(project, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD") or ""
    content = diff.encode()
    if len(content) > limit:
        diff = content[:limit].decode(errors="ignore")
        diff += f"\n# truncated: the diff has {len(content)} bytes, {limit} are kept\n"
    untracked = _git(project, "ls-files", "--others", "--exclude-standard") or ""
    return diff + "".join(f"# untracked: {name}\n" for name in untracked.splitlines())


def record_run(path: Location, run: Mapping[str, Any]) -> None:
    """Append one run to the list ``runs`` in ``provenance.json``, atomically."""
    content: dict[str, Any] = {"runs": []}
    if path.is_file():
        content = read_runs(path)
    content["runs"].append(dict(run))
    write_atomically(path, sealed_json(content))


def read_runs(path: Location) -> dict[str, Any]:
    """Read ``provenance.json``: a mapping with the list ``runs``, oldest first.

    Raises:
        ResultsError: If the file is missing or damaged.
    """
    return read_json(path, "runs", list, MEND)


def archive_diff(path: Location, diff: str) -> None:
    """Write ``code.diff``; keep a differing earlier one as ``code-<hash>.diff``."""
    if path.is_file():
        earlier = path.read_bytes()
        if earlier and earlier != diff.encode():
            digest = hashlib.sha256(earlier).hexdigest()[:8]
            write_atomically(path.with_name(f"code-{digest}.diff"), earlier)
    write_atomically(path, diff)


def _git_state(directory: Path) -> dict[str, Any] | None:
    """Return commit and cleanliness of the repository around ``directory``; None outside any."""
    commit = _git(directory, "rev-parse", "HEAD")
    if commit is None:
        return None
    diff = code_diff(directory)
    return {
        "commit": commit.strip(),
        "branch": (_git(directory, "rev-parse", "--abbrev-ref", "HEAD") or "").strip(),
        "dirty": bool(diff),
        "diff_sha256": hashlib.sha256(diff.encode()).hexdigest() if diff else None,
    }


def _package_git_state() -> dict[str, Any] | None:
    """Return :func:`_git_state` of this package if it runs from its own repository, else None."""
    source = Path(__file__).resolve()
    tracked = _git(source.parent, "ls-files", "--error-unmatch", source.name)
    return None if tracked is None else _git_state(source.parent)


def _git(directory: Path, *arguments: str) -> str | None:
    """Return a git command's output; None without git, repository or commit, or on timeout."""
    return _output("git", "-C", str(directory), "--no-optional-locks", *arguments)


def _output(program: str, *arguments: str) -> str | None:
    path = shutil.which(program)
    if path is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - fixed programs, no shell
            [path, *arguments], capture_output=True, timeout=PROGRAM_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def _hardware() -> dict[str, Any]:
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": len(affinity(0)) if affinity is not None else os.cpu_count(),
        "memory_bytes": _memory(),
        "gpus": (_output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader") or "").split(
            "\n"
        )[:-1],
    }


def _cpu_model() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    return platform.processor()


def _memory() -> int | None:
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names or "SC_PAGE_SIZE" not in names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
