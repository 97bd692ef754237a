from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest
from pyarrow import fs

from orchestrator.results.store import object_stores
from orchestrator.results.store.azure_blobs import AzureBlobs
from orchestrator.results.store.store_path import StorePath, locate
from tests.object_store import KEY, AzureStore, sas_token
from tests.results.conftest import azurite


@pytest.fixture
def server() -> Iterator[AzureStore]:
    store = AzureStore()
    yield store
    store.stop()
    object_stores.connect.cache_clear()


def test_a_pickle_has_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
    client = fs.PyFileSystem(AzureBlobs("me", "", 1))
    stored = pickle.dumps(client)
    assert KEY.encode() not in stored
    assert pickle.loads(stored) == client
    assert client != fs.PyFileSystem(AzureBlobs("you", "", 1))


@pytest.mark.full
@azurite
def test_a_token_is_enough(server: AzureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_KEY")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", sas_token())
    root = locate(server.new())
    assert isinstance(root, StorePath)
    (root / "t/one").write_bytes(b"first")
    (root / "t/one").replace(root / "t/two")
    assert [path.name for path in (root / "t").iterdir()] == ["two"]
    assert (root / "t/two").read_bytes() == b"first"
    (root / "t/two").unlink()
    assert not root.exists()


@pytest.mark.full
@azurite
def test_what_tune_asks_for_beyond_single_objects(server: AzureStore) -> None:
    client = locate(server.new()).filesystem  # type: ignore[union-attr]
    for name in ("results/t/one", "results/t/below/two"):
        client.create_dir("results/t/below")
        with client.open_output_stream(name) as stream:
            stream.write(b"first")
    client.move("results/t/one", "results/t/three")
    found = client.get_file_info(fs.FileSelector("results/t"))
    assert {(info.path, info.type) for info in found} == {
        ("results/t/below", fs.FileType.Directory),
        ("results/t/three", fs.FileType.File),
    }
    with client.open_input_stream("results/t/three") as stream:
        assert stream.read() == b"first"
    client.delete_dir("results/t")
    assert client.get_file_info("results/t").type == fs.FileType.NotFound
    with pytest.raises(FileNotFoundError):
        client.get_file_info(fs.FileSelector("results/t"))
