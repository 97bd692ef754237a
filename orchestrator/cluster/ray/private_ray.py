"""A Ray of our own that nobody else can reach: loopback only, behind a token.

Whoever reaches the ports of a Ray can run code as the user who started it. Clusters are
configured by who starts them (see ``cluster.yaml``); this is about the Ray on this machine.
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
"""What ``ray.init`` is told. Without an explicit "local", it joins any cluster it finds here."""


OWNED = ".orchestrator.lock"
"""Name of the file that marks a Ray session as a run's own, and is locked while it runs."""
_YOUNG_SECONDS = 5.0
_LONGEST_SOCKET = 107  # Of Unix, in bytes.
_BELOW_FOLDER = len("/session_2026-11-25_23-16-05_031215_4194304/sockets/plasma_store")


def short_folder() -> dict[str, str]:
    """What ``ray.init`` is told besides, where its usual folder's path is too long for sockets."""
    usual = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray"
    if len(os.fsencode(usual)) + _BELOW_FOLDER <= _LONGEST_SOCKET:
        return {}
    return {"_temp_dir": "/tmp/ray"}  # noqa: S108 - Ray's own default, made as it makes it


@contextmanager
def kept_private() -> Iterator[None]:
    """For the time of ``ray.init(**PRIVATE)``: make Ray keep to the loopback interface.

    On Linux, Ray replaces 127.0.0.1 by the machine's address in the network, and then listens on
    every interface. Where it is told that there are no clusters (its default on Windows and
    macOS), it does neither. It reads that from the environment once, when it is imported.
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
    """Remove at the end what the Ray of this process wrote to its temporary folder.

    Ray itself leaves a megabyte of logs of each start for ever. They are kept where something
    went wrong that the user cannot mend: there they may tell why. Of a run that was killed, the
    next one removes them.
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
            (folder / OWNED).unlink(missing_ok=True)  # So it is kept.
            raise
        shutil.rmtree(folder, ignore_errors=True)


def owned(folder: Path) -> FileLock:
    """A lock that the operating system gives up when this process ends, however it ends."""
    return FileLock(folder / OWNED, timeout=0)


def remove_what_killed_runs_left(sessions: Path) -> None:
    """Remove the session folders that are marked and that no process has locked."""
    for mark in sessions.glob(f"session_*/{OWNED}"):
        with suppress(Timeout, OSError):
            # A run that has just made its mark may not hold the lock yet.
            if time.time() - mark.stat().st_mtime > _YOUNG_SECONDS:
                with owned(mark.parent):
                    shutil.rmtree(mark.parent, ignore_errors=True)


def _guard_token() -> None:
    """See to it that only the user can read the token; Ray writes it readable by all."""
    if {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        return
    path = Path.home() / ".ray" / "auth_token"
    try:
        if not path.exists():
            _write_token(path)
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError:  # A home that can't be written: for this process and what it starts.
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _write_token(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:  # readable by the user only
        file.write(secrets.token_hex(32))
        file.flush()
        with suppress(FileExistsError):  # Another process was quicker, and its token is the one.
            os.link(file.name, path)
