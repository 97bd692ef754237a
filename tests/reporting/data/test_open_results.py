import numpy as np
import pytest

from orchestrator.errors import ResultsError
from orchestrator.reporting.data.open_results import Rows, open_source
from orchestrator.reporting.data.queries import Query


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(ResultsError), open_source(tmp_path):
        pass


def test_columns_convert_to_floats_with_nan_for_null():
    rows = Rows({"x": (1, None, 2.5), "trial_id": "aab", "condition_id": "ccc"})
    np.testing.assert_array_equal(rows.floats("x"), [1, np.nan, 2.5])
    assert np.isnan(rows.floats("absent")).all()
    assert rows.groups().trials == 2
    assert rows.select(np.array([True, False, True])).tuples() == [
        (1, "a", "c"),
        (2.5, "b", "c"),
    ]


def test_empty_results_keep_their_columns(source):
    rows = source.rows(Query("none", "", "SELECT 1 AS one WHERE false"))
    assert len(rows) == 0
    assert list(rows.columns) == ["one"]


def test_repeated_queries_are_recorded_once(simulated):
    query = Query("one", "", "SELECT 1 AS one")
    with open_source(simulated) as source:
        first = source.rows(query)
        assert source.rows(query) is first
        assert source.asked == [query]


def test_many_rows_are_not_kept(simulated):
    query = Query("many", "", "SELECT range AS one FROM range(100001)")
    with open_source(simulated) as source:
        first = source.rows(query)
        again = source.rows(query)
    assert again is not first
    assert again["one"] == first["one"] == tuple(range(100_001))


def test_only_measured_values_are_columns(source, without_trace):
    assert source.has("margin_mean", "hessian_trace")
    with open_source(without_trace) as plain:
        assert not plain.has("margin_mean", "hessian_trace")
