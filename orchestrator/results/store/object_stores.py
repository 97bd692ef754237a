"""The object stores that results can be in: their addresses, their clients, their errors.

All clients are file systems of ``pyarrow.fs``. Its own client for Azure is not used: it empties an
object before writing it, and it aborts the process if it finds no credentials.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import pyarrow as pa
from pyarrow import fs

from orchestrator.errors import ResultsError

CONNECT_SECONDS = 5.0
HASTY_ATTEMPTS = 3  # A few seconds in all.
PATIENT_ATTEMPTS = 7  # About half a minute in all: the waits double.
HASTY_LIMIT = timedelta(seconds=2)  # Google's client waits two minutes for a silent store.
PATIENT_LIMIT = timedelta(seconds=30)
HASTY_RETRIES, PATIENT_RETRIES = 1, 3

Failures = (OSError, pa.ArrowException)
"""What the clients raise; unusable Google credentials are an ``ArrowException``."""

_CODE = re.compile(r"(?:AWS Error |google::cloud::Status\(|Azure Error: \[)(\w*)")
_UNREACHABLE = re.compile(
    r"(?:NETWORK_CONNECTION.*Details: |CURL error \[\d+\]=|Azure Error: \[Unreachable\] )(.+)"
)
_NO_BUCKET = "AWS Error NO_SUCH_BUCKET"
_NO_CONTAINER = "Azure Error: [ContainerNotFound]"
_NOT_FOUND = ("NO_SUCH_KEY", "RESOURCE_NOT_FOUND")
_REASONS = {
    "NO_SUCH_BUCKET": "the bucket does not exist",
    "ContainerNotFound": "the container does not exist",
    "ACCESS_DENIED": "access denied",
    "PERMISSION_DENIED": "access denied",
    "UNAUTHENTICATED": "access denied",
    "AuthorizationFailure": "access denied",
    "AuthorizationPermissionMismatch": "access denied",
    "AuthenticationFailed": "access denied",
    "INVALID_ACCESS_KEY_ID": "the access key is unknown",
    "INVALID_CLIENT_TOKEN_ID": "the access key is unknown",
    "SIGNATURE_DOES_NOT_MATCH": "the secret key is wrong",
    "EXPIRED_TOKEN": "the credentials have expired",
    "NoCredentials": "neither AZURE_STORAGE_KEY nor AZURE_STORAGE_SAS_TOKEN is set",
    "InvalidKey": "AZURE_STORAGE_KEY is not the Base64 text of a key",
}


@dataclass(frozen=True)
class ObjectStore:
    """What one scheme of addresses stands for.

    Attributes:
        example: An address.
        options: Options that may follow the ``?`` of an address.
        credentials: Where credentials are found, to complete "set …".
        clients: Returns a hasty and a patient ``pyarrow`` file system for a bucket and options.
        environment: Variables that set an option by default, by option; the first one counts.
        required: Options that have no other default.
        no_bucket: The client's words for a bucket that does not exist.
        lists_folders: Whether a listing of a folder includes the folders in it. Google's client
            lists only objects.
        reads_streams: Whether an object is read as one stream. Google's client cannot read an
            object that was replaced since it was opened as a file.
    """

    example: str
    options: tuple[str, ...]
    credentials: str
    clients: Callable[[str, Mapping[str, str]], tuple[Any, Any]]
    environment: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    no_bucket: str = _NO_BUCKET
    lists_folders: bool = True
    reads_streams: bool = False


@lru_cache(maxsize=16)
def connect(scheme: str, bucket: str, query: str) -> tuple[Any, Any]:
    """Return a hasty and a patient file system of a bucket that exists.

    A wrong address should fail soon; a store that was reached once is retried for longer.

    Raises:
        OSError: If the store cannot be reached or refuses, or has no such bucket. Google's client
            raises ``pyarrow.ArrowException`` for unusable credentials.
    """
    store = STORES[scheme]
    clients = store.clients(bucket, dict(parse_qsl(query)))
    if clients[0].get_file_info(bucket).type == fs.FileType.NotFound:
        raise OSError(store.no_bucket)
    return clients


def is_refusal(error: Exception) -> bool:
    """Whether an error of ``pyarrow.fs`` is a response of a store."""
    return _CODE.search(str(error)) is not None


def is_not_found(error: Exception) -> bool:
    """Whether an error of ``pyarrow.fs`` says that the object does not exist."""
    return isinstance(error, FileNotFoundError) or error_code(error) in _NOT_FOUND


def error_code(error: Exception) -> str:
    """Return the store's word for an error of ``pyarrow.fs``, or an empty string."""
    found = _CODE.search(str(error))
    return found[1] if found else ""


def reason(error: Exception) -> str:
    """Say in one line, without any credentials, why a request failed."""
    text = str(error).splitlines()[0].partition(" error_info=")[0]
    unreachable = _UNREACHABLE.search(text)
    if "OAuth2 access token" in text:  # Without credentials, Google's client asks the machine's.
        return f"no usable credentials were found ({text.rpartition('message was: ')[2]})"
    if unreachable:
        return f"cannot be reached ({unreachable[1]})"
    known = _REASONS.get(error_code(error))
    return known or re.sub(r"\s*\(Request ID: \w+\)", "", text)


def _endpoint(options: Mapping[str, str]) -> tuple[str, str]:
    """Return the scheme, empty if there is none, and the host of ``endpoint_override``."""
    scheme, _, host = options.get("endpoint_override", "").rpartition("://")
    return scheme, host


def _s3(bucket: str, options: Mapping[str, str]) -> tuple[Any, Any]:
    scheme, host = _endpoint(options)
    region = options.get("region")
    if region is None and not host:
        region = fs.resolve_s3_region(bucket)
    hasty, patient = (
        fs.S3FileSystem(
            endpoint_override=host or None,
            scheme=scheme or options.get("scheme", "https"),
            region=region,
            connect_timeout=CONNECT_SECONDS,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=attempts),
            allow_delayed_open=True,  # One request instead of three for small objects.
        )
        for attempts in (HASTY_ATTEMPTS, PATIENT_ATTEMPTS)
    )
    return hasty, patient


def _gs(bucket: str, options: Mapping[str, str]) -> tuple[Any, Any]:
    scheme, host = _endpoint(options)
    hasty, patient = (
        fs.GcsFileSystem(
            endpoint_override=host or None,
            scheme=scheme or "https",
            anonymous=scheme == "http",  # An emulator: no token may be sent in clear text.
            retry_time_limit=limit,
        )
        for limit in (HASTY_LIMIT, PATIENT_LIMIT)
    )
    return hasty, patient


def _az(bucket: str, options: Mapping[str, str]) -> tuple[Any, Any]:
    try:
        from orchestrator.results.store.azure_blobs import AzureBlobs
    except ImportError as error:
        raise ResultsError(
            f"az://{bucket}: Azure's client is not installed ({error})",
            "install it: pip install -c constraints.txt -e '.[azure]'",
        ) from error
    account, endpoint = options["account"], options.get("endpoint_override", "")
    hasty, patient = (
        fs.PyFileSystem(AzureBlobs(account, endpoint, retries))
        for retries in (HASTY_RETRIES, PATIENT_RETRIES)
    )
    return hasty, patient


STORES: Mapping[str, ObjectStore] = {
    "s3": ObjectStore(
        example="s3://bucket/prefix",
        options=("endpoint_override", "region", "scheme"),
        credentials="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use ~/.aws/credentials",
        clients=_s3,
        # pyarrow itself reads neither.
        environment={"endpoint_override": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")},
    ),
    "gs": ObjectStore(
        example="gs://bucket/prefix",
        options=("endpoint_override",),
        credentials="GOOGLE_APPLICATION_CREDENTIALS to the path of a key file, or use "
        "`gcloud auth application-default login`",
        clients=_gs,
        lists_folders=False,
        reads_streams=True,
    ),
    "az": ObjectStore(
        example="az://container/prefix?account=NAME",
        options=("account", "endpoint_override"),
        credentials="AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN",
        clients=_az,
        environment={"account": ("AZURE_STORAGE_ACCOUNT",)},
        required=("account",),
        no_bucket=_NO_CONTAINER,
    ),
}
