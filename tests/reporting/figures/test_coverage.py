import math

import pytest

from orchestrator.reporting.data.hue import choose_hue
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.figures.coverage import coverage_figure
from tests.reporting.simulated import simulate, study_content


def spoil(rows):
    trials = rows["trials"]
    for trial in trials:
        trial["stop_reason"] = "train_loss"
    trials[0] |= {"status": "failed", "stop_reason": None, "error": "out of memory\nat line 3"}
    trials[1] |= {"stop_reason": "diverged"}
    trials[4] |= {"stop_reason": "epochs"}
    trials[5] |= {"status": "running", "stop_reason": None}
    del trials[11]
    for table in ("checkpoints", "measures"):
        rows[table] = [row for row in rows[table] if row["trial_id"] != "trial011"]
    of_margin = [row for row in rows["measures"] if row["request"] == "margin"]
    of_margin[0] |= {"status": "nonfinite", "value": math.inf}
    of_norms = [row for row in rows["measures"] if row["request"] == "norms"]
    of_norms[0] |= {"status": "error", "value": None, "error": "no such layer"}
    rows["measures"].remove(of_norms[-1])


@pytest.fixture
def figure(tmp_path):
    with open_source(simulate(tmp_path / "r", change=spoil)) as source:
        yield coverage_figure(source, choose_hue(source))


def bars(figure, panel):
    values = figure.chart["vconcat"][panel]["data"]["values"]
    return {(one["row"], one["outcome"]): one["count"] for one in values}


def test_trials_are_counted_by_their_outcome(figure):
    assert bars(figure, 0) == {
        ("16", "failed"): 1,
        ("16", "diverged"): 1,
        ("16", "completed"): 1,
        ("64", "completed"): 1,
        ("64", "target loss not reached"): 1,
        ("64", "not finished"): 1,
        ("256", "completed"): 3,
        ("1024", "completed"): 2,
        ("not started", "not started"): 1,
    }
    assert "Trials: " in figure.alternative
    assert "not started 1" in figure.alternative


def test_snapshots_are_counted_by_the_outcome_of_each_request(figure):
    assert bars(figure, 1) == {
        ("hessian_spectrum(top=1)", "measured"): 88,
        ("hessian_trace", "measured"): 88,
        ("margin", "measured"): 87,
        ("margin", "some value not finite"): 1,
        ("norms", "measured"): 86,
        ("norms", "failed"): 1,
        ("norms", "not measured yet"): 1,
    }


def test_flagged_trials_are_listed_with_the_reason(figure):
    rows = {row[0]: dict(zip(figure.table.columns, row, strict=True)) for row in figure.table.rows}
    assert rows["trial000"]["outcome"] == "failed"
    assert rows["trial000"]["first error"].startswith("out of memory")
    assert rows["trial000"]["values lost"] == 2
    assert (rows["trial001"]["batch size"], rows["trial001"]["seed"]) == (16, 1)
    assert rows["trial005"]["outcome"] == "not finished"
    missed = [name for name, row in rows.items() if row["training losses not reached"]]
    assert {"trial009", "trial010"} & set(missed)
    assert f"The table lists {len(rows)} flagged trials: failed" in figure.caption
    assert "All trials" not in figure.caption


def test_segments_of_a_bar_are_contiguous(figure):
    values = figure.chart["vconcat"][0]["data"]["values"]
    for row in {value["row"] for value in values}:
        own = [value for value in values if value["row"] == row]
        assert own[0]["from"] == 0
        assert [one["to"] for one in own[:-1]] == [one["from"] for one in own[1:]]


def test_a_complete_study_flags_no_trial(tmp_path):
    def whole(rows):
        for trial in rows["trials"]:
            trial["stop_reason"] = "train_loss"

    study = study_content(checkpoints={})
    with open_source(simulate(tmp_path / "r", study=study, change=whole)) as source:
        figure = coverage_figure(source, choose_hue(source))
    assert "All trials and measurements are included. No trial is flagged." in figure.caption
    assert figure.table.rows == ()


def test_without_a_varying_hyperparameter_there_is_one_bar(without_trace):
    with open_source(without_trace) as source:
        figure = coverage_figure(source, None)
    assert bars(figure, 0) == {("all trials", "target loss not reached"): 3}


def test_a_study_without_trials_gives_a_reason(empty):
    with open_source(empty) as source:
        assert coverage_figure(source, None).missing == "None of 12 trials has started."
