"""The JSON Schema of study files, for completion and checking in editors."""

from __future__ import annotations

import json
from typing import Any, get_args

from orchestrator.study.claim_options import BuiltInName
from orchestrator.study.options import is_import_path
from orchestrator.study.spec import Study

_IMPORT_PATH = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"
_SHORT_FORMS = {
    "Study": ("data", "model"),
    "TrialConfig": ("data", "model"),
    "TrainingOptions": ("loss", "optimizer", "schedule"),
}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of study files.

    It includes the short forms: names in place of mappings, and names of measures.
    """
    schema = Study.model_json_schema()
    definitions = schema["$defs"]
    for owner, keys in _SHORT_FORMS.items():
        holder = schema if owner == "Study" else definitions.get(owner, {})
        properties = holder.get("properties", {})
        for key in properties.keys() & set(keys):
            properties[key] = _or_name(properties[key], definitions)
    of_all, final, claims = (
        schema["properties"][key] for key in ("measures", "final_measures", "claims")
    )
    for measures in (of_all, final):
        of_measures = _name_schema(_names(measures["items"], definitions))
        measures["items"] = _or_short(measures["items"], of_measures, of_measures)
    built_in, own = {"enum": list(get_args(BuiltInName))}, definitions["StatedClaim"]
    named = {"anyOf": [built_in, own["properties"]["name"]]}
    claims["items"] = _or_short(claims["items"], built_in, named)
    for definition in definitions.values():
        if definition.get("additionalProperties") is True:  # User-defined components.
            definition["properties"]["name"]["pattern"] = _IMPORT_PATH
    schema = _any_of(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Study",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def _or_short(items: dict[str, Any], bare: Any, key: Any) -> dict[str, Any]:
    """Allow ``items``, a bare name, or a mapping from a name to its options."""
    return {
        "anyOf": [
            bare,
            {
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "propertyNames": key,
                "additionalProperties": {"type": ["object", "null"]},
            },
            {**items, "type": "object"},
        ]
    }


def _any_of(part: Any) -> Any:
    """Replace each ``oneOf`` by ``anyOf``: a built-in name may also match a user-defined one."""
    if isinstance(part, dict):
        return {"anyOf" if k == "oneOf" else k: _any_of(v) for k, v in part.items()}
    return [_any_of(item) for item in part] if isinstance(part, list) else part


def _or_name(part: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    mapping = {key: value for key, value in part.items() if key not in {"default", "description"}}
    kept = {key: value for key, value in part.items() if key in {"default", "description"}}
    return {"anyOf": [_name_schema(_names(part, definitions)), mapping], **kept}


def _name_schema(names: list[str]) -> dict[str, Any]:
    return {"anyOf": [{"enum": names}, {"type": "string", "pattern": _IMPORT_PATH}]}


def _names(part: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    names: list[str] = []
    for member in part.get("oneOf", []):
        definition = definitions[member["$ref"].rpartition("/")[2]]
        name = definition["properties"]["name"]
        names += [name["const"]] if "const" in name else name.get("enum", [])
    return [name for name in names if not is_import_path(name)]


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
