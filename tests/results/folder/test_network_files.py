"""Snapshots and resume states appear whole, and the resume state before the newest is kept."""

from __future__ import annotations

import errno
import logging
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from orchestrator.results import (
    ResultsFolder,
    read_resume_state,
    store_snapshot,
    write_resume_state,
)

BIG = bytes(5000)


def decode(content: bytes) -> str:
    if content.startswith(b"damaged"):
        raise ValueError("it is damaged")
    return content.decode()


def newest(folder: ResultsFolder) -> str | None:
    return read_resume_state(folder, "a0", decode)


@contextmanager
def full_disk(size: int = 1000) -> Iterator[None]:
    """Lets no file grow beyond ``size`` bytes; the operating system itself refuses."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def folder(make_folder: Callable[..., ResultsFolder]) -> ResultsFolder:
    return make_folder()


def test_a_snapshot_is_written_to_its_place(folder: ResultsFolder) -> None:
    path = store_snapshot(folder, "a0", 10, b"weights")
    assert path == folder.snapshot("a0", 10)
    assert path.read_bytes() == b"weights"
    assert os.listdir(str(path.parent)) == ["10.safetensors"]


def test_a_full_disk_leaves_no_snapshot(folder: ResultsFolder) -> None:
    with full_disk(), pytest.raises(OSError, match="too large") as caught:
        store_snapshot(folder, "a0", 10, BIG)
    assert caught.value.errno == errno.EFBIG
    assert os.listdir(str(folder.snapshots / "a0")) == []


def test_a_full_disk_leaves_the_snapshot_there_was(folder: ResultsFolder) -> None:
    path = store_snapshot(folder, "a0", 10, b"weights")
    with full_disk(), pytest.raises(OSError, match="too large"):
        store_snapshot(folder, "a0", 10, BIG)
    assert path.read_bytes() == b"weights"


def test_another_process_that_writes_the_same_file_is_left_alone(folder: ResultsFolder) -> None:
    """One that was cut off lives on for a while; a run clears away what such leave behind."""
    path = folder.snapshot("a0", 10)
    path.parent.mkdir()
    others = path.with_name(f".{path.name}.abc.tmp")
    others.write_bytes(b"half")
    store_snapshot(folder, "a0", 10, b"weights")
    assert sorted(os.listdir(str(path.parent))) == [others.name, path.name]


def test_the_newest_resume_state_is_read_and_the_one_before_kept(folder: ResultsFolder) -> None:
    assert newest(folder) is None
    for state in (b"3", b"4", b"5"):
        write_resume_state(folder, "a0", state)
    assert newest(folder) == "5"
    assert sorted(os.listdir(str(folder.resume))) == ["a0.previous.safetensors", "a0.safetensors"]
    folder.resume_state("a0").unlink()
    assert newest(folder) == "4"
    folder.discard_resume_states({"a0"})
    assert newest(folder) is None


def test_a_damaged_resume_state_is_set_aside_for_the_one_before(
    folder: ResultsFolder, caplog: pytest.LogCaptureFixture
) -> None:
    write_resume_state(folder, "a0", b"4")
    write_resume_state(folder, "a0", b"damaged")
    with caplog.at_level(logging.WARNING):
        assert newest(folder) == "4"
    assert "damaged (it is damaged); set aside as" in caplog.text
    (aside,) = folder.damaged.iterdir()
    assert aside.name.endswith("-resume-a0.safetensors")
    assert aside.read_bytes() == b"damaged"
    assert newest(folder) == "4"
    write_resume_state(folder, "a0", b"6")
    assert newest(folder) == "6"


def test_two_damaged_resume_states_are_none(folder: ResultsFolder) -> None:
    for state in (b"damaged once", b"damaged twice"):
        write_resume_state(folder, "a0", state)
    assert newest(folder) is None
    assert len(list(folder.damaged.iterdir())) == 2


def test_a_full_disk_leaves_the_resume_state_there_was(folder: ResultsFolder) -> None:
    write_resume_state(folder, "a0", b"3")
    with full_disk(), pytest.raises(OSError, match="too large"):
        write_resume_state(folder, "a0", BIG)
    assert newest(folder) == "3"
    assert os.listdir(str(folder.resume)) == ["a0.safetensors"]


def test_in_a_store_too_the_resume_state_before_is_kept(store_url: str) -> None:
    folder = ResultsFolder(store_url)
    for state in (b"3", b"4", b"damaged"):
        write_resume_state(folder, "a0", state)
    assert newest(folder) == "4"
    assert [path.name for path in folder.resume.iterdir()] == ["a0.previous.safetensors"]
