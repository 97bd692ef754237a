import json
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from orchestrator.study.json_schema import json_schema
from orchestrator.study.study_file import load_study

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))


def check(content):
    jsonschema.Draft202012Validator(json_schema()).validate(content)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_shipped_studies_are_valid_and_point_to_the_schema(path):
    check(YAML(typ="safe").load(path))
    load_study(path)
    assert path.read_text().startswith("# yaml-language-server: $schema=study.schema.json")


def test_the_shipped_schema_matches_the_code():
    shipped = STUDIES[0].parent / "study.schema.json"
    assert json.loads(shipped.read_text()) == json_schema()


@pytest.mark.parametrize(
    "change",
    [
        {"measures": ["margn"]},
        {"model": "mpl"},
        {"model": {"name": "mlp", "widht": 3}},
        {"sede": 3},
        {"measures": [{"margin": 3}]},
    ],
)
def test_the_schema_rejects_what_the_reader_rejects(change):
    content = YAML(typ="safe").load(STUDIES[0])
    with pytest.raises(jsonschema.ValidationError):
        check({**content, **change})


def test_the_schema_accepts_custom_parts_by_import_path():
    content = YAML(typ="safe").load(STUDIES[0])
    own = {"model": {"name": "pkg.nets:Net", "any": 1}, "measures": [{"pkg.m:f": {"x": 1}}]}
    check({**content, **own})
