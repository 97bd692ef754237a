from itertools import pairwise

import pytest

from orchestrator.reporting import write_report
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.text.barriers import describe_barriers
from orchestrator.results import ResultsFolder, barriers_query, connect, query, write_part
from tests.reporting.simulated import draw_only, simulate


@pytest.fixture
def connected(tmp_path):
    """Simulated results with barriers between the first trials of each condition."""
    results = simulate(tmp_path / "r")
    with connect(results) as database:
        trials = database.sql(
            "SELECT condition_id, list(trial_id ORDER BY seed)[:3] FROM trials GROUP BY ALL"
        ).fetchall()
    rows = [
        {
            "condition_id": condition,
            "trial_id": one,
            "other_trial_id": other,
            "checkpoint_id": f"{one}-1",
            "other_checkpoint_id": f"{other}-1",
            "split": split,
            "quantity": quantity,
            "barrier": None if (number, split, quantity) == (0, "test", "error") else number + 0.5,
            "reason": None,
        }
        for condition, ids in trials
        for number, (one, other) in enumerate(pairwise(ids))
        for split in ("train", "test")
        for quantity in ("loss", "error")
    ]
    write_part(ResultsFolder.open(results), "connectivity", rows, "all")
    return results, len(trials)


def test_without_comparisons_the_section_names_the_command(source):
    section = describe_barriers(source)
    assert section.table is None
    assert "`connectivity RESULTS`" in section.missing


def test_each_condition_has_a_row_with_its_hyperparameters(connected):
    results, conditions = connected
    with open_source(results) as source:
        section = describe_barriers(source)
    assert len(section.table.rows) == conditions
    *axes, pairs, train_loss, test_loss, train_error, test_error = section.table.columns
    assert axes == ["batch size"]
    assert [row[0] for row in section.table.rows] != [None] * conditions
    first = dict(zip(section.table.columns, section.table.rows[0], strict=True))
    assert first[pairs] == 2
    assert (first[train_loss], first[test_loss], first[train_error]) == (1.0, 1.0, 1.0)
    assert first[test_error] == 1.5  # One of the two is missing.
    assert f"{conditions} barriers could not be computed" in section.explanation


def test_the_page_contains_the_section(connected, monkeypatch):
    draw_only(monkeypatch)
    page = write_report(connected[0]).read_text(encoding="utf-8")
    assert page.index('id="limitations"') < page.index('id="barriers"') < page.index('id="methods"')


def test_the_query_names_hyperparameters_and_seeds(connected):
    results, conditions = connected
    found = query(results, barriers_query(results))
    assert found.columns == [
        "batch_size", "seed", "other_seed", "split", "quantity", "barrier",
    ]  # fmt: skip
    assert len(found.fetchall()) == conditions * 2 * 4
