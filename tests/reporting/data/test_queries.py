import sys

import pytest

from orchestrator.reporting.data import network_queries, queries
from orchestrator.reporting.data.queries import Query, distinct_values, identifier
from orchestrator.reporting.figures.threshold import correlation_by_threshold
from orchestrator.statistics import pearson
from orchestrator.statistics.intervals.estimate import positive_log10

# Figures and claims define the queries that serve them alone; page/ has one on several folders.
FIXED = list(
    {
        id(value): value
        for name, module in sorted(sys.modules.items())
        if name.startswith("orchestrator.reporting.") and ".page." not in name
        for value in vars(module).values()
        if isinstance(value, Query)
    }.values()
)


@pytest.mark.parametrize("query", FIXED, ids=lambda query: query.name)
def test_fixed_queries_run_on_full_and_on_empty_results(query, source, empty):
    from orchestrator.reporting.data.open_results import open_source

    first = source.rows(query)
    with open_source(empty) as nothing:
        assert list(nothing.rows(query).columns) == list(first.columns)


def test_queries_are_shown_without_the_indentation_of_their_source():
    query = Query(
        "one",
        "a number",
        """
        SELECT 1
            AS number
        """,
    )
    assert query.sql == "SELECT 1\n    AS number"
    assert [query.name for query in FIXED if query.sql != query.sql.strip()] == []


def test_query_names_are_unique():
    assert len({query.name for query in FIXED}) == len(FIXED)


def test_identifiers_are_quoted(source):
    assert identifier('a"; DROP') == '"a""; DROP"'
    assert source.rows(distinct_values("batch_size"))["value"] == (16, 64, 256, 1024)


def test_the_headline_in_sql_equals_the_headline_in_python(source):
    rows = source.rows(queries.snapshots(["margin_mean", "hessian_trace"]))
    error = rows.floats("train_error")
    answers = source.rows(correlation_by_threshold("hessian_trace", [1.0, 0.1])).tuples()
    assert [float(answer[0]) for answer in answers] == [1, 0.1]
    for threshold, count, r in answers:
        kept = error <= float(threshold)
        trace = positive_log10(rows.floats("hessian_trace"))[kept]
        estimate = pearson(trace, rows.floats("margin_mean")[kept])
        assert (estimate.n, estimate.value) == (count, pytest.approx(r, abs=1e-12))


def test_points_are_a_fixed_sample_if_there_are_many(source, monkeypatch):
    monkeypatch.setattr(queries, "MOST_POINTS", 10)
    query = queries.scatter(["margin_mean"], "batch_size")
    rows = source.rows(query)
    assert len(rows) == 10
    assert set(rows["n_snapshots"]) == {96}
    assert source.rows(query).tuples() == rows.tuples()


def test_final_networks_are_the_last_snapshots(source):
    rows = source.rows(network_queries.final_networks(["margin_mean"]))
    expected = source.connection.sql(
        "SELECT trial_id, margin_mean FROM wide WHERE reason LIKE '%final%'"
    ).fetchall()
    assert sorted(zip(rows["trial_id"], rows["margin_mean"], strict=True)) == sorted(expected)
