from typing import Annotated, Literal

import pytest
from pydantic import TypeAdapter, ValidationError

from orchestrator.study.options import (
    BuiltIn,
    CustomOptions,
    OneOf,
    Options,
    names_of,
    parts_of,
)


class Engine(BuiltIn):
    power: int = 1


AnyEngine = Annotated[Engine | CustomOptions, OneOf("engines")]


class Steam(Engine):
    name: Literal["steam"] = "steam"
    coal: int = 3


class Motor(Engine):
    name: Literal["petrol", "electric"]


class Car(Options):
    engine: AnyEngine = Steam()
    spare: Annotated[Engine, OneOf()] = Steam()


def test_parts_and_their_names_are_read_off_the_classes():
    assert parts_of(Engine) == (Steam, Motor)
    assert parts_of(Steam) == (Steam,)
    assert [names_of(part) for part in (*parts_of(Engine), CustomOptions)] == [
        ("steam",),
        ("petrol", "electric"),
        ("custom",),
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("steam", Steam()),
        ({"name": "steam", "coal": 5, "power": 2}, Steam(coal=5, power=2)),
        ("electric", Motor(name="electric")),
        ({"name": "my.engines:Sail", "masts": 3}, CustomOptions(name="my.engines:Sail", masts=3)),
    ],
)
def test_a_field_takes_any_part_by_name(given, expected):
    assert Car(engine=given).engine == expected
    assert TypeAdapter(AnyEngine).validate_python(given) == expected


@pytest.mark.parametrize("field", ["engine", "spare"])
def test_an_unknown_name_is_refused_with_all_names(field):
    with pytest.raises(ValidationError, match="'steam', 'petrol', 'electric'"):
        Car(**{field: "sail"})


def test_a_kind_without_components_takes_no_import_path():
    with pytest.raises(ValidationError, match=r"my.engines:Sail.*'steam'"):
        Car(spare="my.engines:Sail")


def test_the_schema_names_each_part_once_in_the_order_of_definition():
    engine = Car.model_json_schema()["properties"]["engine"]["oneOf"]
    assert [one["$ref"].rpartition("/")[2] for one in engine] == ["Steam", "Motor", "CustomOptions"]
