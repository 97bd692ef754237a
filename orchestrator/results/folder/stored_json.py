"""The JSON files of a results folder, with embedded checksums.

The last member of each file is the SHA-256 of the whole file, computed with zeros in its place.
Files of earlier releases, which have no checksum, are also readable.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.errors import ResultsError
from orchestrator.results.store.checksum import BLANK, KEY
from orchestrator.results.store.store_path import Location

_TO_DIGEST = len(KEY) + len('": "')


def sealed_json(
    content: Mapping[str, Any],
    *,
    indent: int | None = 2,
    default: Callable[[Any], Any] | None = None,
) -> str:
    """Return the text of a JSON file with its checksum.

    Args:
        content: Mapping to write.
        indent: As for :func:`json.dumps`.
        default: As for :func:`json.dumps`.
    """
    sealed = {**content, KEY: BLANK.decode()}
    text = json.dumps(sealed, indent=indent, default=default, ensure_ascii=False) + "\n"
    start = text.rindex(KEY) + _TO_DIGEST
    digest = hashlib.sha256(text.encode()).hexdigest()
    return text[:start] + digest + text[start + len(BLANK) :]


def parse_sealed(content: bytes) -> Any:
    """Return the content of a JSON file without its checksum.

    Raises:
        ValueError: If the content is not JSON, or changed since it was written.
    """
    at = content.rfind(KEY.encode())
    if at >= 0:
        start = at + _TO_DIGEST
        end = start + len(BLANK)
        digest = hashlib.sha256(content[:start] + BLANK + content[end:]).hexdigest()
        if content[start:end] != digest.encode():
            raise ValueError("its checksum differs")
    parsed = json.loads(content)
    json.dumps(parsed, ensure_ascii=False).encode()  # An unpaired surrogate is not text.
    if isinstance(parsed, dict):
        parsed.pop(KEY, None)
    return parsed


def read_json(
    path: Location, key: str, kind: type, mend: str = "restore it from a backup"
) -> dict[str, Any]:
    """Read the mapping in ``path``.

    Args:
        path: A file of a results folder.
        key: Key that the mapping must have.
        kind: Type that the value of ``key`` must have.
        mend: Hint for repairing a file that is not such a mapping.

    Raises:
        ResultsError: If the file is missing, or is not such a mapping.
    """
    try:
        content = parse_sealed(path.read_bytes())
    except FileNotFoundError:
        raise ResultsError(f"{path}: missing", "run the study again") from None
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read: {error}", mend) from None
    except (ValueError, RecursionError) as error:
        raise ResultsError(f"{path}: damaged: {error}", mend) from None
    if not isinstance(content, dict) or not isinstance(content.get(key), kind):
        raise ResultsError(f"{path}: damaged: expected a mapping with {key!r}", mend)
    return content
