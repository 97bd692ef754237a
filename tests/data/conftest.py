"""A machine without any data set, unless the test creates one."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that is also the working directory, without caches, system folders or network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    monkeypatch.delenv("ORCHESTRATOR_DATA", raising=False)
    monkeypatch.setattr("orchestrator.data.files.SYSTEM_ROOTS", (tmp_path / "system",))
    monkeypatch.setattr(
        "orchestrator.data.obtain.fetch",
        lambda downloads, folder: [f"{downloads[0].urls[0]}: network is unreachable"],
    )
    return tmp_path
