"""The user's own parts are looked for before anything is written or started."""

import pytest

import orchestrator
from orchestrator.errors import ImportPathError


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"name": "no_such_module:load"}},
        {"model": {"name": "no_such_module:Net"}},
        {"training": {"loss": {"name": "no_such_module:loss"}, "stop": {"epochs": 1}}},
        {"training": {"optimizer": {"name": "no_such_module:sgd"}, "stop": {"epochs": 1}}},
        {"measures": ["no_such_module:measure"]},
    ],
)
def test_a_wrong_import_path_is_refused_before_anything_is_written(small_study, tmp_path, change):
    with pytest.raises(ImportPathError, match="no module named 'no_such_module'"):
        orchestrator.run(small_study(**change), tmp_path / "results", quiet=True)
    assert not (tmp_path / "results").exists()
