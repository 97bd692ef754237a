"""Azure Blob Storage as a file system of ``pyarrow``, by Azure's own client for Python."""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.storage.blob import BlobServiceClient, ExponentialRetry
from pyarrow import fs

CONNECT_SECONDS = 5
READ_SECONDS = 20
POLL_SECONDS = 0.5


class AzureBlobs(fs.FileSystemHandler):  # type: ignore[misc]  # pyarrow has no types.
    """The containers of a storage account, for :class:`pyarrow.fs.PyFileSystem`.

    Paths are ``container/name``. A folder exists while a blob exists below it. A blob appears whole
    when its stream is closed. Credentials are those of the process: a pickle has none.

    Args:
        account: Name of the storage account.
        endpoint: Address of an emulator, which serves the account below its name; by default, the
            account at Azure.
        retries: Number of repetitions of a failed request, after 2, 3, 5 … s.

    Raises:
        OSError: If no credentials are set, and from every method if the store cannot be reached or
            refuses, as ``Azure Error: [code] …``; FileNotFoundError if the object does not exist.
    """

    def __init__(self, account: str, endpoint: str, retries: int) -> None:
        self._arguments = account, endpoint, retries
        key = os.environ.get("AZURE_STORAGE_KEY") or os.environ.get("AZURE_STORAGE_SAS_TOKEN")
        if not key:
            raise OSError("Azure Error: [NoCredentials]")
        at = f"{endpoint}/{account}" if endpoint else f"https://{account}.blob.core.windows.net"
        retry = ExponentialRetry(initial_backoff=1, increment_base=2, retry_total=retries)
        self._service = BlobServiceClient(
            at,
            key,
            retry_policy=retry,
            connection_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return AzureBlobs, self._arguments

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AzureBlobs) and other._arguments == self._arguments

    def __hash__(self) -> int:
        return hash(self._arguments)

    def get_type_name(self) -> str:
        """Return the scheme."""
        return "az"

    def normalize_path(self, path: str) -> str:
        """Return ``path``, which has one form only."""
        return path

    def get_file_info(self, paths: list[str]) -> list[Any]:
        """Return what there is at each path."""
        with _translated():
            return [self._info(path) for path in paths]

    def _info(self, path: str) -> Any:
        container, _, name = path.partition("/")
        client = self._service.get_container_client(container)
        if not name:
            exists = client.exists()
            return fs.FileInfo(path, fs.FileType.Directory if exists else fs.FileType.NotFound)
        try:
            return _file(path, client.get_blob_client(name).get_blob_properties())
        except ResourceNotFoundError:
            below = client.list_blobs(name_starts_with=f"{name}/", results_per_page=1)
            exists = next(iter(below), None) is not None
            return fs.FileInfo(path, fs.FileType.Directory if exists else fs.FileType.NotFound)

    def get_file_info_selector(self, selector: Any) -> list[Any]:
        """Return what there is in a folder; with ``recursive``, only the blobs."""
        container, _, name = selector.base_dir.partition("/")
        client = self._service.get_container_client(container)
        prefix = f"{name}/" if name else ""
        with _translated():
            listed = client.list_blobs if selector.recursive else client.walk_blobs
            found = [
                fs.FileInfo(f"{container}/{blob.name.rstrip('/')}", fs.FileType.Directory)
                if blob.name.endswith("/")
                else _file(f"{container}/{blob.name}", blob)
                for blob in listed(name_starts_with=prefix)
            ]
        if not found and not selector.allow_not_found:
            raise FileNotFoundError(selector.base_dir)
        return found

    def open_input_stream(self, path: str) -> Any:
        """Return the content of a blob, read in full."""
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> Any:
        """Return the content of a blob, read in full."""
        with _translated():
            return pa.BufferReader(self._blob(path).download_blob().readall())

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        """Return a stream whose content replaces the blob when it is closed."""
        return pa.PythonFile(_Upload(self._blob(path)), mode="w")

    def open_append_stream(self, path: str, metadata: Any) -> Any:
        """Raise: blobs are only replaced."""
        raise NotImplementedError(f"{path}: blobs are only replaced")

    def copy_file(self, src: str, dest: str) -> None:
        """Copy a blob within the account."""
        source, target = self._blob(src), self._blob(dest)
        with _translated():
            target.start_copy_from_url(source.url)
            while (copied := target.get_blob_properties().copy).status == "pending":
                time.sleep(POLL_SECONDS)
        if copied.status != "success":
            raise OSError(f"Azure Error: [CopyFailed] {copied.status_description}")

    def move(self, src: str, dest: str) -> None:
        """Copy a blob, then delete the original."""
        self.copy_file(src, dest)
        self.delete_file(src)

    def delete_file(self, path: str) -> None:
        """Delete a blob."""
        with _translated():
            self._blob(path).delete_blob()

    def create_dir(self, path: str, recursive: bool) -> None:
        """Do nothing: a folder exists as soon as a blob exists below it."""

    def delete_dir(self, path: str) -> None:
        """Delete all blobs below ``path``."""
        self.delete_dir_contents(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        """Delete all blobs below ``path``."""
        selector = fs.FileSelector(path, recursive=True, allow_not_found=missing_dir_ok)
        for info in self.get_file_info_selector(selector):
            self.delete_file(info.path)

    def delete_root_dir_contents(self) -> None:
        """Raise: containers are never deleted."""
        raise NotImplementedError("containers are never deleted")

    def _blob(self, path: str) -> Any:
        container, _, name = path.partition("/")
        return self._service.get_blob_client(container, name)


class _Upload(io.BytesIO):
    """Content that is uploaded as a whole when it is closed."""

    def __init__(self, blob: Any) -> None:
        super().__init__()
        self._blob = blob

    def close(self) -> None:
        if not self.closed:
            content = self.getvalue()
            super().close()
            with _translated():
                self._blob.upload_blob(content, overwrite=True)


def _file(path: str, blob: Any) -> Any:
    return fs.FileInfo(path, fs.FileType.File, size=blob.size, mtime=blob.last_modified)


@contextmanager
def _translated() -> Iterator[None]:
    """Raise an ``OSError`` in place of an error of Azure's client, whose text may have a token."""
    try:
        yield
    except ResourceNotFoundError as error:
        if error.error_code == "ContainerNotFound":  # type: ignore[attr-defined]
            raise OSError("Azure Error: [ContainerNotFound]") from None
        raise FileNotFoundError(error.error_code) from None  # type: ignore[attr-defined]
    except HttpResponseError as error:
        # A request that could not be signed has neither.
        code = getattr(error, "error_code", None) or error.status_code or "InvalidKey"
        code = getattr(code, "value", code)
        raise OSError(f"Azure Error: [{code}] {error.reason}") from None
    except AzureError as error:
        text = re.sub(r" with url: \S+", "", str(error).splitlines()[0])
        raise OSError(f"Azure Error: [Unreachable] {text.rpartition('): ')[2]}") from None
