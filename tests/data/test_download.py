from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from orchestrator.data import obtain
from orchestrator.data.download import Download, ProgressBar, fetch
from orchestrator.data.files import Layout
from orchestrator.errors import DataError

from .makers import idx_bytes

CONTENT = idx_bytes(np.arange(200_000, dtype=np.uint32).astype(np.uint8))
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


class QuietHandler(SimpleHTTPRequestHandler):
    requests: ClassVar[list[str]] = []

    def log_message(self, *_: object) -> None:
        self.requests.append(self.path)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serves ``set/images.gz`` and ``set/labels.gz`` on this machine."""
    monkeypatch.setenv("no_proxy", "*")
    folder = tmp_path / "served/set"
    folder.mkdir(parents=True)
    (folder / "images.gz").write_bytes(CONTENT)
    (folder / "labels.gz").write_bytes(CONTENT)
    QuietHandler.requests = []
    handler = partial(QuietHandler, directory=str(folder.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/set"
        running.shutdown()
        thread.join()


def wanted(server: str, *names: str, checksum: str = CHECKSUM) -> tuple[Download, ...]:
    return tuple(Download((f"{server}/{name}",), checksum) for name in names)


def test_files_are_downloaded_once_and_completely(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    downloads = wanted(server, "images.gz", "labels.gz")
    for _ in range(2):
        assert fetch(downloads, tmp_path / "cache/set") == []
    names = sorted(path.name for path in (tmp_path / "cache/set").iterdir())
    assert names == ["images.gz", "labels.gz"]
    assert (tmp_path / "cache/set/images.gz").read_bytes() == CONTENT
    assert QuietHandler.requests == ["/set/images.gz", "/set/labels.gz"]
    assert capsys.readouterr() == ("", "")


def test_a_wrong_checksum_leaves_no_file_behind(server: str, tmp_path: Path) -> None:
    failures = fetch(wanted(server, "images.gz", checksum="0" * 64), tmp_path / "cache")
    assert len(failures) == 1
    assert failures[0].startswith(f"{server}/images.gz: SHA256 hash of downloaded file")
    assert CHECKSUM in failures[0]
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_next_mirror_is_tried_after_a_failure(server: str, tmp_path: Path) -> None:
    mirrors = Download((f"{server}/gone.gz", f"{server}/images.gz"), CHECKSUM)
    assert fetch((mirrors,), tmp_path / "cache") == []
    assert (tmp_path / "cache/gone.gz").read_bytes() == CONTENT


def test_fetching_stops_at_the_first_failure(server: str, tmp_path: Path) -> None:
    failures = fetch(wanted(server, "gone.gz", "images.gz"), tmp_path / "cache")
    assert len(failures) == 1
    assert "404" in failures[0]
    assert QuietHandler.requests == ["/set/gone.gz"] * len(QuietHandler.requests)


def test_a_refused_connection_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), QuietHandler) as closed:
        address = f"http://127.0.0.1:{closed.server_port}/set"
    (failure,) = fetch(wanted(address, "images.gz"), tmp_path / "cache")
    expected = f"{re.escape(address)}/images.gz: Failed to establish .*Connection refused"
    assert re.fullmatch(expected, failure)


def test_the_progress_bar_follows_the_download(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    bars: list[ProgressBar] = []
    original = ProgressBar.update

    def update(bar: ProgressBar, amount: int) -> None:
        original(bar, amount)
        seen.append(bar.completed)
        bars.append(bar)

    monkeypatch.setattr(ProgressBar, "update", update)
    fetch(wanted(server, "images.gz"), tmp_path / "cache")
    assert len(seen) > 3
    assert bars[-1].total == len(CONTENT)
    assert seen[-1] == len(CONTENT)


def source(server: str) -> obtain.FileSource:
    layout = Layout("idx", ("images", "labels"), ("set", "Set/raw"))
    return obtain.FileSource("set", (layout,), wanted(server, "images.gz", "labels.gz"), "deb-set")


@pytest.fixture
def with_network(empty_machine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(obtain, "fetch", fetch)
    return empty_machine


def test_missing_files_are_downloaded_into_the_cache(server: str, with_network: Path) -> None:
    located = obtain.obtain(source(server))
    assert located.place == with_network / ".cache/orchestrator/set"
    assert obtain.obtain(source(server)).place == located.place
    assert len(QuietHandler.requests) == 2


def test_local_files_are_not_downloaded(server: str, with_network: Path) -> None:
    folder = with_network / "data/Set/raw"
    folder.mkdir(parents=True)
    for name in ("images", "labels"):
        (folder / name).write_bytes(CONTENT)
    assert obtain.obtain(source(server)).place.resolve() == folder
    assert QuietHandler.requests == []


def test_a_failed_search_reports_every_place_and_remedy(server: str, with_network: Path) -> None:
    unobtainable = replace(source(server), downloads=wanted(f"{server}/no", "images.gz"))
    given = with_network / "given"
    given.mkdir()
    with pytest.raises(DataError) as caught:
        obtain.obtain(unobtainable, str(given))
    message = str(caught.value)
    assert message.startswith("data set 'set': files not found on this machine; searched in")
    for place in (given, with_network / ".cache/orchestrator", with_network / "system"):
        assert f"    {place}\n" in message
    assert "images, labels (in set or Set/raw)" in message
    assert f"{server}/no/images.gz: 404" in message
    assert f"curl -fL --create-dirs --output-dir data/set -O {server}/no/images.gz" in message
    assert "data.data_dir" in message
    assert "$ORCHESTRATOR_DATA" in message
    assert "apt install deb-set" in message
