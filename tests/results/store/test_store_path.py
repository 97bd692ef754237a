from __future__ import annotations

import os
import pickle
import re
import socket
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from orchestrator.errors import ResultsError, StorageError
from orchestrator.results.store import object_stores
from orchestrator.results.store.store_path import StorePath, locate

TREE = ("a.json", "t/_schema.parquet", "t/one.parquet", "t/two.parquet", "s/x/1.json", "s/x/2.bin")
PATHS = ("", "t", "s", "s/x", "a.json", "t/one.parquet", "none", "a")


@pytest.fixture
def root(store_url: str) -> StorePath:
    path = locate(store_url)
    assert isinstance(path, StorePath)
    return path


def test_a_store_path_behaves_like_pathlib(root: StorePath, tmp_path: Path) -> None:
    for name in TREE:
        content = name.encode() * 3
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
        (root / name).write_bytes(content)

    def described(path: Any, base: Any) -> list[Any]:
        is_file = path.is_file()
        inside = [] if is_file or not path.exists() else path.iterdir()
        matching = [] if is_file else path.glob("[!._]*.parquet")
        return [
            *(path.exists(), is_file, path.is_dir(), is_file and path.stat().st_size),
            is_file and (path.read_bytes(), path.read_text()),
            sorted(str(below.relative_to(base)) for below in inside),
            sorted(str(below.relative_to(base)) for below in matching),
        ]

    for name in PATHS:
        there = root / name if name else root
        assert described(there, root) == described(tmp_path / name, tmp_path), name
        assert isinstance(there, StorePath)
    one = root / "t" / "one.parquet"
    assert (one.name, one.stem, one.suffix, one.parent) == (
        *("one.parquet", "one", ".parquet"),
        root / "t",
    )
    assert one.with_name("x") == root / "t/x"
    assert one.with_suffix(".json") == root / "t/one.json"
    assert one.relative_to(root) == PurePosixPath("t/one.parquet")
    assert {str(path.relative_to(root)) for path in root.objects(recursive=True)} == set(TREE)
    assert {path.name for path in root.objects()} == {"a.json"}
    assert locate(str(one)) == pickle.loads(pickle.dumps(one)) == one


def test_moved_and_deleted_objects_are_gone(root: StorePath) -> None:
    one, other = root / "t/one", root / "damaged/one"
    one.write_bytes(b"first")
    one.write_bytes(b"second")
    one.replace(other)
    assert not one.exists()
    assert other.read_bytes() == b"second"
    other.unlink()
    other.unlink(missing_ok=True)
    for ask in (other.unlink, other.read_bytes, other.stat, lambda: other.replace(one)):
        with pytest.raises(FileNotFoundError):
            ask()
    assert list(other.iterdir()) == []


def test_an_object_stays_as_it_was_until_the_new_one_is_whole(root: StorePath) -> None:
    new = os.urandom(12 * 2**20)
    (root / "one").write_bytes(b"first")
    stream = (root / "one").filesystem.open_output_stream((root / "one").key)
    stream.write(memoryview(new))  # Sent in parts.
    assert (root / "one").read_bytes() == b"first"
    assert [stat.st_size for stat in root.objects().values()] == [5]
    stream.close()
    assert (root / "one").read_bytes() == new


@pytest.mark.parametrize(
    ("address", "key", "query"),
    [
        ("s3://bucket/a/b/", "bucket/a/b", ""),
        ("s3://bucket", "bucket", ""),
        ("s3://b/a b/c?region=eu-central-1", "b/a b/c", "region=eu-central-1"),
        ("s3://b/x?endpoint_override=h:1&scheme=http", "b/x", "endpoint_override=h:1&scheme=http"),
        ("gs://bucket/a b/c", "bucket/a b/c", ""),
        ("gs://b/x?endpoint_override=http://h:1", "b/x", "endpoint_override=http://h:1"),
        ("az://container/x/?account=me", "container/x", "account=me"),
    ],
)
def test_addresses_are_parsed_and_printed(
    address: str, key: str, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AZURE_STORAGE_ACCOUNT"):
        monkeypatch.delenv(name, raising=False)
    assert locate(address) == StorePath(key, query, address[:2])
    assert locate(str(locate(address))) == locate(address)


def test_the_environment_may_specify_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://all.example:9000")
    assert str(locate("s3://b/x")) == "s3://b/x?endpoint_override=https://all.example:9000"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://s3.example")
    assert str(locate("s3://b/x")) == "s3://b/x?endpoint_override=https://s3.example"
    assert "own" in str(locate("s3://b/x?endpoint_override=https://own.example"))
    assert str(locate("gs://b/x")) == "gs://b/x"


def test_the_environment_may_name_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT", raising=False)
    with pytest.raises(ResultsError, match="az://c/x: the account is missing") as told:
        locate("az://c/x")
    assert "?account=NAME or set AZURE_STORAGE_ACCOUNT" in str(told.value.hint)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "ours")
    assert str(locate("az://c/x")) == "az://c/x?account=ours"
    assert str(locate("az://c/x?account=own")) == "az://c/x?account=own"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("abfss://bucket@me.dfs.core.windows.net/x", "kind abfss://"),
        ("file:///tmp/x", "kind file://"),
        ("s3://", "not an address"),
        ("s3:///x", "not an address"),
        ("s3://b/x#y", "not an address"),
        ("s3://b/x?acces_key=1", "unknown option 'acces_key'"),
        (Path("s3://b/x"), "an address converted to a Path"),
        ("s3://me:hunter2@b/x", "credentials are not allowed in an address"),
        ("gs://me:hunter2@b/x", "credentials are not allowed in an address"),
        ("gs://b/x?region=eu", "unknown option 'region'"),
        ("az://c/x?account=me&sig=hunter2", "unknown option 'sig'"),
        ("s3://b/x?secret_key=hunter2", "unknown option 'secret_key'"),
    ],
)
def test_wrong_addresses_are_refused_without_repeating_secrets(address: Any, message: str) -> None:
    with pytest.raises(ResultsError, match=message) as told:
        locate(address)
    assert "hunter2" not in str(told.value)


@pytest.mark.full  # It waits for minutes.
@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_a_store_that_never_answers_is_given_up(scheme: str) -> None:
    started = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        query = f"account=me&endpoint_override=http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(StorageError, match="object store error: "):
            StorePath("results/x", query, scheme).exists()
    assert time.monotonic() - started < (180 if scheme == "gs" else 60)


def test_what_is_read_while_it_is_replaced_or_deleted_is_whole_or_missing(root: StorePath) -> None:
    contents = [bytes([number]) * 1000 for number in range(20)]
    (root / "one").write_bytes(contents[0])

    def replace_often() -> None:
        for content in contents:
            (root / "one").write_bytes(content)
        (root / "one").unlink()

    def read_often() -> None:
        while True:
            assert (root / "one").read_bytes() in contents

    writer = threading.Thread(target=replace_often)
    writer.start()
    with pytest.raises(FileNotFoundError):
        read_often()
    writer.join()


def test_unusable_credentials_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refused(path: StorePath, reason: str) -> None:
        with pytest.raises(StorageError, match=f"object store error: {reason}") as told:
            path.exists()
        assert "hunter2" not in str(told.value)

    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    cannot = "no usable credentials were found .Cannot open credentials file .*none.json"
    refused(StorePath("results/x", "", "gs"), cannot)
    monkeypatch.setattr(object_stores, "HASTY_RETRIES", 0)
    azure = StorePath("results/x", "account=me&endpoint_override=http://127.0.0.1:9", "az")
    monkeypatch.setenv("AZURE_STORAGE_KEY", "hunter2")
    refused(azure, "AZURE_STORAGE_KEY is not the Base64 text of a key")
    monkeypatch.delenv("AZURE_STORAGE_KEY")
    refused(azure, "neither AZURE_STORAGE_KEY nor AZURE_STORAGE_SAS_TOKEN is set")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=2019-12-12&sig=hunter2")
    refused(azure, "cannot be reached .Failed to establish")


def test_without_azures_client_the_hint_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "orchestrator.results.store.azure_blobs", None)
    with pytest.raises(ResultsError, match="az://results: Azure's client is not installed") as told:
        StorePath("results/x", "account=absent", "az").exists()
    assert ".[azure]" in str(told.value.hint)


def test_refusals_of_the_store_are_reported_in_one_sentence(
    root: StorePath, object_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks: list[Any] = [StorePath.exists, StorePath.read_bytes, StorePath.objects]
    asks.append(lambda path: path.write_bytes(b"x"))

    def refused(path: StorePath, reason: str, asks: list[Any]) -> None:
        for ask in asks:
            with pytest.raises(StorageError, match=reason) as told:
                ask(path)
            assert told.value.message.startswith(f"{path}: object store error: ")
            assert "\n" not in told.value.message

    missing = replace(root, key="no-such-bucket/x")
    refused(missing, "the (bucket|container) does not exist", asks)
    nobody = replace(root, query=re.sub(r":\d+", ":9", root.query))
    monkeypatch.setattr(object_stores, "HASTY_LIMIT", timedelta(seconds=1))
    refused(nobody, r"cannot be reached \((Failed to|Could not) (connect|establish)", asks[:1])
    object_store.check_credentials(True)
    try:
        refused(root / "x", "access denied|the access key is unknown", asks)
    finally:
        object_store.check_credentials(False)
