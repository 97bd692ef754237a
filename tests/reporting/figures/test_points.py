import json

from orchestrator.reporting.data import queries
from orchestrator.reporting.data.hue import choose_hue
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.figures.points import collect_points
from tests.reporting.simulated import simulate

MEASURES = ("margin_mean", "hessian_trace")


def test_points_have_hue_and_milestone(source):
    points = collect_points(source, choose_hue(source), MEASURES)
    assert len(points.records) == points.n_snapshots == 96
    assert points.sampled == points.excluded == ""
    assert points.milestones == [
        "along training",
        "training loss ≤ 0.5",
        "training loss ≤ 0.1",
        "final",
    ]
    finals = [record for record in points.records if record["milestone"] == "final"]
    assert len(finals) == 12
    assert {record["hue"] for record in finals} == {"16", "64", "256", "1024"}
    json.dumps(points.records, allow_nan=False)


def test_snapshots_that_cannot_be_drawn_are_counted(tmp_path):
    def spoil(rows):
        traces = [row for row in rows["measures"] if row["measure"] == "hessian_trace"]
        margins = [row for row in rows["measures"] if row["measure"] == "margin_mean"]
        traces[0]["value"] = 0.0
        margins[2] |= {"value": float("inf"), "status": "nonfinite"}
        rows["checkpoints"][5]["test_loss"] = None

    path = simulate(tmp_path / "r", batch_sizes=[64], change=spoil)
    with open_source(path) as source:
        points = collect_points(source, None, MEASURES)
    assert points.left_out == 3
    assert len(points.records) == 21
    assert points.excluded.startswith("Not drawn: 3 snapshots")


def test_a_sample_is_described_as_such(source, monkeypatch):
    monkeypatch.setattr(queries, "MOST_POINTS", 20)
    points = collect_points(source, None, MEASURES)
    assert "20 of 96 snapshots" in points.sampled


def test_milestones_beyond_the_available_shapes_are_merged(tmp_path):
    def many(rows):
        for number, row in enumerate(rows["checkpoints"]):
            row["milestones"] = [1.0 / (1 + number % 7)]

    with open_source(simulate(tmp_path / "r", batch_sizes=[64], change=many)) as source:
        points = collect_points(source, None, MEASURES)
    assert len(points.milestones) <= 6
    assert points.milestones[0] == "along training"


def test_the_table_has_full_precision(source):
    points = collect_points(source, None, MEASURES)
    ((trace,),) = source.connection.sql(
        "SELECT hessian_trace FROM wide WHERE step > 0 ORDER BY trial_id, step LIMIT 1"
    ).fetchall()
    table = points.table(None)
    assert dict(zip(table.columns, table.rows[0], strict=True))["Hessian trace"] == trace
