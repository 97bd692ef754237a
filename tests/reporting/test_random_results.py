"""Whatever a run can store can be reported, exported, counted, asked and compared to the end."""

import json
import math
import re

import altair as alt
import pytest

from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.export import write_export
from orchestrator.reporting.page.html import render
from orchestrator.reporting.page.report import compose
from orchestrator.results import ResultsFolder, compare_study, connect, study_status
from orchestrator.results.table_schemas import TABLES
from orchestrator.study.trials import expand_trials
from tests.reporting.random_results import write_random_results

VIEWS = (*TABLES, "gap", "final", "milestones", "wide", "by_condition", "fragility", "curve_points")


def parts(value):
    """Every mapping inside a chart's specification."""
    if isinstance(value, dict):
        yield value
        for one in value.values():
            yield from parts(one)
    elif isinstance(value, list):
        for one in value:
            yield from parts(one)


def check_chart(chart):
    json.dumps(chart, allow_nan=False)
    # The schema lacks a part of the theme's configuration that Vega-Lite documents.
    alt.TopLevelSpec.validate({name: one for name, one in chart.items() if name != "config"})
    for encoding in parts({name: one for name, one in chart.items() if name != "datasets"}):
        scale = encoding.get("scale")
        domain = scale.get("domain") if isinstance(scale, dict) else None
        if encoding.get("type") != "quantitative" or domain is None:
            continue
        assert all(math.isfinite(end) for end in domain)
        low, high = min(domain), max(domain)
        assert low < high
        for guide in ("axis", "legend"):
            ticks = (encoding.get(guide) or {}).get("values", [])
            assert all(low <= tick <= high for tick in ticks)


def check(path, seed):
    study = write_random_results(path, seed)
    status = study_status(path)
    json.dumps(status.to_dict())
    assert status.trials_completed + status.trials_failed <= status.trials_expected
    assert compare_study(ResultsFolder.open(path), study, expand_trials(study)).changes == ()
    with connect(path) as database:
        for view in VIEWS:
            database.sql(f"SELECT * FROM {view}").fetchall()
    with open_source(path) as source:
        page = compose(source)
    for figure in page.figures:
        assert (figure.chart is None) == bool(figure.missing)
        if figure.chart is not None:
            check_chart(figure.chart)
    return page


@pytest.mark.parametrize("seed", range(2))
def test_a_few_random_results_can_be_reported(tmp_path, seed):
    check(tmp_path / "r", seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 32))
def test_more_random_results_can_be_reported(tmp_path, seed):
    check(tmp_path / "r", seed)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(32, 3202))
def test_thousands_of_random_results_can_be_reported(tmp_path, seed):
    check(tmp_path / "r", seed)


@pytest.mark.slow
@pytest.mark.parametrize(
    "seed", [0, 1, 2, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(3, 12))]
)
def test_pages_and_exports_of_random_results_are_complete(tmp_path, seed):
    page = render(check(tmp_path / "r", seed))
    for drawing in drawings(page):
        assert "NaN" not in drawing
        # Whatever lies beyond an axis would make it longer.
        assert max(map(float, re.search(r'viewBox="0 0 (\S+) (\S+)"', drawing).groups())) < 3000
    assert write_export(tmp_path / "r", tmp_path / "exported").files


def drawings(page):
    return [part.partition("</svg>")[0] for part in page.split('<svg role="img"')[1:]]
