import pytest

from orchestrator.cluster.run.summary import RunSummary
from orchestrator.cluster.run.work_left import WorkLeft


@pytest.mark.parametrize("place", ["/results/small", "s3://bucket/small"])
def test_the_summary_states_which_damaged_files_are_recomputed(place):
    for name, told in {
        "measures-a0-10-x.parquet": "",
        "curves-a0-10-x.parquet": "",
        "snapshots-examples-10.json": "",
        "examples-12ab-train-3.parquet": "",
        "example_subsets-12ab-train-9-2.parquet": "",
        "curves-compact-2.parquet": ", except curves of your own measures that do not set `curves`",
    }.items():
        path = f"{place}/damaged/0123abcd-{name}?endpoint_override=http://127.0.0.1:9"
        text = RunSummary(trials=1, set_aside=[path]).text()
        assert f"damaged, set aside and recomputed{told}: {path}" in text


def test_the_exit_code_is_4_while_work_is_left_1_after_failures_and_0_otherwise():
    left = WorkLeft(frozenset(), frozenset({"a-10"}))
    assert RunSummary(trials=2, completed=2).exit_code == 0
    assert RunSummary(trials=2, completed=1, failed_trials={"b": "broken"}).exit_code == 1
    assert RunSummary(trials=2, completed=2, failed_measures=["a-10: margin: x"]).exit_code == 1
    stopped = RunSummary(trials=2, completed=2, left=left)
    assert (stopped.exit_code, stopped.complete) == (4, False)
    assert "the time is over; left: 1 snapshot to measure" in stopped.text()
    assert RunSummary(trials=2, completed=2, failed_audits=["x"], left=left).exit_code == 4
