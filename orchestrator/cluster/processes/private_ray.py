"""A private Ray instance that no other user can reach: loopback only, with a token.

Access to the ports of a Ray instance is enough to run code as the user who started it. This module
concerns Ray on this machine. Clusters are configured by their owners (see ``cluster.yaml``).
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import ray
from filelock import FileLock, Timeout
from ray._private import ray_constants

from orchestrator.errors import OrchestratorError

PRIVATE = {"address": "local", "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
"""Arguments of ``ray.init``. Without an explicit "local", it joins any cluster it finds here."""


OWNED = ".orchestrator.lock"
"""Name of the file that marks a Ray session as a run's own; locked during the run."""
_YOUNG_SECONDS = 5.0
_LONGEST_SOCKET = 107  # Maximum path length of a Unix socket, in bytes.
_BELOW_FOLDER = len("/session_2026-11-25_23-16-05_031215_4194304/sockets/plasma_store")


def short_folder() -> dict[str, str]:
    """Return extra ``ray.init`` arguments if its usual folder's path is too long for sockets."""
    usual = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray"
    if len(os.fsencode(usual)) + _BELOW_FOLDER <= _LONGEST_SOCKET:
        return {}
    return {"_temp_dir": "/tmp/ray"}  # noqa: S108 - Ray's own default, created by Ray


@contextmanager
def kept_private() -> Iterator[None]:
    """Restrict Ray to the loopback interface during ``ray.init(**PRIVATE)``.

    On Linux, Ray replaces 127.0.0.1 with the machine's network address and then listens on every
    interface. If clusters are disabled (the default on Windows and macOS), it does neither. Ray
    reads this setting from the environment only once, on import, so its constant is changed here.
    """
    _guard_token()
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def leaving_nothing() -> Iterator[None]:
    """Remove the temporary files of this process's Ray at the end.

    Ray itself keeps a megabyte of logs per start forever. Here, logs are kept only after an error
    that the user cannot fix, because they may show the cause. The next run removes the logs of a
    killed run.
    """
    folder = Path(ray._private.worker._global_node.get_session_dir_path())
    with owned(folder):
        remove_what_killed_runs_left(folder.parent)
        try:
            yield
        except (OrchestratorError, KeyboardInterrupt):
            shutil.rmtree(folder, ignore_errors=True)
            raise
        except BaseException:
            (folder / OWNED).unlink(missing_ok=True)  # Unmarked, it is kept.
            raise
        shutil.rmtree(folder, ignore_errors=True)


def owned(folder: Path) -> FileLock:
    """Return a lock that the operating system releases when this process ends, even if killed."""
    return FileLock(folder / OWNED, timeout=0)


def remove_what_killed_runs_left(sessions: Path) -> None:
    """Remove the marked session folders that are not locked by a process."""
    for mark in sessions.glob(f"session_*/{OWNED}"):
        with suppress(Timeout, OSError):
            # A run that has just created its mark may not have locked it yet.
            if time.time() - mark.stat().st_mtime > _YOUNG_SECONDS:
                with owned(mark.parent):
                    shutil.rmtree(mark.parent, ignore_errors=True)


def _guard_token() -> None:
    """Make the token readable only by the user; Ray itself writes it readable by all."""
    if {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        return
    path = Path.home() / ".ray" / "auth_token"
    try:
        if not path.exists():
            _write_token(path)
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError:  # Home is not writable: set a token for this process and its children.
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _write_token(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:  # readable by the user only
        file.write(secrets.token_hex(32))
        file.flush()
        with suppress(FileExistsError):  # Another process was faster; its token counts.
            os.link(file.name, path)
