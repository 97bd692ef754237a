"""Reading the JSON files of a results folder, whatever became of them."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.errors import ResultsError
from orchestrator.results.store_path import Location


def read_json(
    path: Location, key: str, kind: type, mend: str = "restore it from a copy"
) -> dict[str, Any]:
    """The mapping in ``path``.

    Args:
        path: A file of a results folder.
        key: What the mapping must have, with ``kind`` of value.
        kind: The type of that value.
        mend: How to mend a file that is not such a mapping.

    Raises:
        ResultsError: If the file is not there, or is not such a mapping.
    """
    try:
        content = json.loads(path.read_bytes())
        json.dumps(content, ensure_ascii=False).encode()  # Half a character pair is no text.
    except FileNotFoundError:
        raise ResultsError(f"{path}: missing", "run the study again") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ResultsError(f"{path}: cannot be read: {error}", mend) from None
    if not isinstance(content, dict) or not isinstance(content.get(key), kind):
        raise ResultsError(f"{path}: damaged: expected a mapping with {key!r}", mend)
    return content
