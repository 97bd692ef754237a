import pytest

from orchestrator.cluster.run.summary import RunSummary


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
