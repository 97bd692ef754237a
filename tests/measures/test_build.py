from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from orchestrator.errors import ImportPathError, MeasureError
from orchestrator.measures.base import BUILT_IN, Measure
from orchestrator.measures.build import build_measure
from orchestrator.measures.own_measure import FunctionMeasure
from orchestrator.study.measure_options import CustomMeasure, MeasureRequest
from tests.measures.user_measures import LogitNorm

REQUEST: TypeAdapter[Any] = TypeAdapter(MeasureRequest)
MINE = "tests.measures.user_measures"


def test_every_measure_a_study_file_can_name_is_built() -> None:
    union = get_args(MeasureRequest)[0]
    members = {get_args(member)[0] for member in get_args(union)}
    assert members - {CustomMeasure} == set(BUILT_IN)
    for options in BUILT_IN:
        name = get_args(options.model_fields["name"].annotation)[0]
        measure = build_measure(REQUEST.validate_python(name))
        assert isinstance(measure, Measure)
        assert measure.entries
        assert measure.version >= 1


def test_a_function_can_be_named_by_import_path() -> None:
    options = REQUEST.validate_python({"name": f"{MINE}:logit_scale", "power": 3})
    measure = build_measure(options)
    assert isinstance(measure, FunctionMeasure)
    assert measure.arguments == {"power": 3}
    assert (measure.entries, measure.version) == ((), 1)


def test_a_custom_class_can_be_named_by_import_path() -> None:
    measure = build_measure(REQUEST.validate_python({"name": f"{MINE}:LogitNorm", "order": 1}))
    assert isinstance(measure, LogitNorm)
    assert (measure.order, measure.version) == (1, 3)


@pytest.mark.parametrize("name", ["nowhere.at:all", f"{MINE}:absent", f"{MINE}:__name__"])
def test_measures_that_cannot_be_imported_are_refused(name: str) -> None:
    with pytest.raises(ImportPathError, match=name):
        build_measure(REQUEST.validate_python(name))


def test_impossible_options_are_refused() -> None:
    with pytest.raises(MeasureError, match="draws is 2"):
        build_measure(REQUEST.validate_python({"average_sharpness": {"draws": 2}}))
