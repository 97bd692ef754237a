from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import ResultsError
from orchestrator.results.folder.stored_json import parse_sealed, read_json, sealed_json
from orchestrator.results.store.checksum import KEY

CONTENTS: list[dict[str, Any]] = [
    {},
    {"study": "ä", "list": [1, 2.5, None], "nested": {"a": True}},
    {"text": f'"{KEY}": "' + "0" * 64},
    {"value": math.inf},
]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("content", CONTENTS)
def test_sealed_json_is_read_and_any_change_is_detected(
    content: dict[str, Any], indent: int | None
) -> None:
    text = sealed_json(content, indent=indent)
    assert parse_sealed(text.encode()) == content
    assert list(json.loads(text)) == [*content, KEY]
    changed = text.replace(text[:1], "{ ", 1)
    with pytest.raises(ValueError, match="its checksum differs"):
        parse_sealed(changed.encode())


def test_json_without_a_checksum_is_read() -> None:
    for content in CONTENTS[:2]:
        assert parse_sealed(json.dumps(content).encode()) == content


def test_a_damaged_json_file_is_refused_with_its_path_and_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    with pytest.raises(ResultsError, match=r"file\.json: missing"):
        read_json(path, "study", str)
    path.write_text(sealed_json({"study": "small", "seeds": 2}))
    assert read_json(path, "study", str) == {"study": "small", "seeds": 2}
    for text, why in (
        (path.read_text().replace('"seeds": 2', '"seeds": 3'), "its checksum differs"),
        (path.read_text()[:-1], "its checksum differs"),
        (path.read_text()[:20], "Expecting"),
        ('{"study": 3}', "expected a mapping with 'study'"),
        ("[" * 5000, "recursion"),
    ):
        path.write_text(text)
        with pytest.raises(ResultsError, match=rf"file\.json: damaged: .*{why}") as told:
            read_json(path, "study", str, "mend it")
        assert told.value.hint == "mend it"
