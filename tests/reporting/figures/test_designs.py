import pytest

from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.figures.designs import designs_figure
from tests.reporting.simulated import simulate


def test_both_measures_and_gaps_are_shown_under_four_designs(source):
    figure = designs_figure(source)
    assert len(figure.table.rows) == 2 * 2 * 4
    by_design = {row[:3]: row for row in figure.table.rows}
    ((expected,),) = source.connection.sql(
        "SELECT kendall(list(margin_mean), list(loss_gap)) FROM wide "
        "SEMI JOIN final USING (checkpoint_id)"
    ).fetchall()
    trained = by_design["margin_mean", "loss gap", "trained networks"]
    assert trained[3] == pytest.approx(expected, abs=1e-12)
    assert (trained[6], trained[8]) == (12, 1)
    assert by_design["margin_mean", "loss gap", "same epoch"][8] == 8


def test_the_design_of_equal_loss_compares_only_networks_that_reached_it(source):
    figure = designs_figure(source)
    (row,) = [
        r for r in figure.table.rows if r[:3] == ("margin_mean", "error gap", "same train loss")
    ]
    ((agreement, n),) = source.connection.sql(
        "WITH reached AS (SELECT trial_id, margin_mean, error_gap FROM wide "
        "    WHERE list_contains(milestones, 0.5)) "
        "SELECT sum(sign(a.margin_mean - b.margin_mean) * sign(a.error_gap - b.error_gap)), "
        "    count(*) FROM reached a JOIN reached b ON a.trial_id < b.trial_id"
    ).fetchall()
    assert row[3] == pytest.approx(agreement / n, abs=1e-12)


def test_designs_that_contradict_each_other_are_named(tmp_path):
    """Along training everything grows; at an epoch the larger margin has the smaller gap."""

    def oppose(rows):
        margin = {
            row["checkpoint_id"]: row["value"]
            for row in rows["measures"]
            if (row["measure"], row["variant"]) == ("margin_mean", "raw")
        }
        last = {}
        for row in rows["checkpoints"]:
            last[row["trial_id"]] = row
            row["test_loss"] = row["train_loss"] - margin[row["checkpoint_id"]]
        for row in last.values():
            row["test_loss"] = row["train_loss"] + margin[row["checkpoint_id"]]
            row["epoch"] *= 1 + int(row["trial_id"][-2:]) / 100

    with open_source(simulate(tmp_path / "r", change=oppose)) as source:
        figure = designs_figure(source)
    assert "the designs disagree on mean margin and loss gap (trained networks" in figure.caption
    assert "same epoch −" in figure.caption
    assert "disagree" in figure.alternative


def test_missing_measures_or_networks_are_left_out(without_trace, empty):
    with open_source(without_trace) as source:
        figure = designs_figure(source)
    assert {row[0] for row in figure.table.rows} == {"margin_mean"}
    with open_source(empty) as source:
        assert designs_figure(source).missing
