from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import StorageError
from orchestrator.results.store.mirror import Mirror
from orchestrator.results.store.store_path import StorePath, locate


@pytest.fixture
def mirror(store_url: str) -> Mirror:
    origin = locate(store_url)
    assert isinstance(origin, StorePath)
    for name in ("t/one.parquet", "t/two.parquet", "t/other", "u/three.parquet"):
        (origin / name).write_bytes(name.encode())
    return Mirror(origin)


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is fetched from the store."""
    names: list[str] = []
    read = StorePath.read_bytes

    def recorded(path: StorePath) -> bytes:
        names.append(path.name)
        return read(path)

    monkeypatch.setattr(StorePath, "read_bytes", recorded)
    return names


def pull(mirror: Mirror) -> dict[str, bytes]:
    """All copies, after a refresh."""
    mirror.pull([mirror.origin / "t", mirror.origin / "u", mirror.origin / "none"], "*.parquet")
    files = [path for path in mirror.path.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(mirror.path)): path.read_bytes() for path in files}


def test_only_new_objects_are_fetched(mirror: Mirror, fetched: list[str]) -> None:
    first = pull(mirror)
    assert first == {
        name: name.encode() for name in ("t/one.parquet", "t/two.parquet", "u/three.parquet")
    }
    assert sorted(fetched) == ["one.parquet", "three.parquet", "two.parquet"]
    fetched.clear()
    assert pull(Mirror(mirror.origin)) == first
    assert fetched == []

    (mirror.origin / "t/one.parquet").unlink()
    (mirror.origin / "t/two.parquet").write_bytes(b"replaced")
    (mirror.origin / "t/four.parquet").write_bytes(b"new")
    (mirror.path / "u/three.parquet").write_bytes(b"damaged here")
    (mirror.path / "t/.five.parquet.1-2.tmp").write_bytes(b"of a killed process")
    assert pull(mirror) == {
        "t/two.parquet": b"replaced",
        "t/four.parquet": b"new",
        "u/three.parquet": b"u/three.parquet",
    }
    assert sorted(fetched) == ["four.parquet", "three.parquet", "two.parquet"]


def test_a_copy_is_complete_or_absent(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:

        def cut(path: StorePath) -> bytes:
            raise StorageError("the network is gone")

        patched.setattr(StorePath, "read_bytes", cut)
        with pytest.raises(StorageError, match="the network is gone"):
            pull(mirror)
    assert not list(mirror.path.rglob("*.parquet"))
    assert len(pull(mirror)) == 3


def test_objects_are_listed_whatever_their_names(mirror: Mirror) -> None:
    found = mirror.pull([mirror.origin], "*.parquet", recursive=True)
    assert {path.name for path in found} == {
        *("one.parquet", "two.parquet", "three.parquet", "other"),
    }


def test_a_cache_that_cannot_be_written_is_reported_in_one_sentence(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="cannot be written: Not a directory") as told:
        pull(Mirror(mirror.origin))
    assert "XDG_CACHE_HOME" in str(told.value.hint)
