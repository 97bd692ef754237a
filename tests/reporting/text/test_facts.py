"""The strip of facts on the first screen."""

from orchestrator.durations import duration
from orchestrator.reporting.data.completeness import read_progress
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.text.facts import collect_facts
from tests.reporting.simulated import simulate
from tests.reporting.text.test_limitations import spoil


def facts(path):
    with open_source(path) as source:
        return collect_facts(source, read_progress(source))


def test_a_finished_study_rests_on_networks_snapshots_values_and_time(simulated):
    networks, snapshots, values, time = facts(simulated)
    assert (networks.head, networks.text) == ("12 networks", "4 conditions × 3 seeds")
    assert snapshots.head == "96 snapshots"
    assert values.text == "all finite"
    assert not any(fact.warns for fact in (networks, snapshots, values, time))


def test_the_time_counts_each_request_once_and_every_training(simulated):
    with open_source(simulated) as source:
        training, measuring = source.connection.sql("""
            SELECT (SELECT sum(train_seconds) FROM trials), sum(seconds) FROM (
                SELECT DISTINCT checkpoint_id, request, seconds FROM measures)
        """).fetchall()[0]
        *_, time = collect_facts(source, read_progress(source))
    assert time.head == duration(training + measuring)
    assert duration(measuring) in time.text


def test_everything_that_went_wrong_is_a_warning(tmp_path):
    found = facts(simulate(tmp_path / "r", change=spoil))
    assert found[2].text == "1 more is not finite"
    warnings = {fact.head: fact.text for fact in found if fact.warns}
    assert warnings["1 trial failed"] == "Not in any number here."
    assert warnings["1 value failed"] == "hessian_eigenvalue_1."
    assert warnings["1 network diverged"] == "Training stopped early."


def test_networks_that_did_not_learn_are_named_up_to_three(tmp_path):
    def unlearned(rows):
        for row in rows["checkpoints"]:
            if row["trial_id"] in {"trial000", "trial001", "trial002", "trial003", "trial004"}:
                row |= {"train_error": 0.9, "train_loss": 2.3}

    warnings = [fact for fact in facts(simulate(tmp_path / "r", change=unlearned)) if fact.warns]
    assert [(fact.head, fact.text) for fact in warnings] == [
        ("5 networks did not learn", "trial000, trial001, trial002 and 2 more.")
    ]


def test_a_study_without_rows_has_facts(empty):
    networks, snapshots, values, time = facts(empty)
    assert (networks.head, snapshots.head, values.head) == ("0 networks", "0 snapshots", "0 values")
    assert time.head == "0 s"
