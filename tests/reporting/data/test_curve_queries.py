"""The SQL of the curves against the same numbers by hand."""

import numpy as np
import pytest

from orchestrator.reporting.data.curve_queries import choose_curves
from orchestrator.reporting.data.hue import choose_hue
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.figures.loss_slices import loss_planes, loss_slices
from orchestrator.reporting.figures.margin_distribution import final_margins, margins_along_training
from orchestrator.reporting.figures.smallest_margins import smallest_margins
from orchestrator.reporting.figures.spectral_density import (
    DENSITY_POINTS,
    spectral_densities,
    top_eigenvalues,
)
from tests.reporting.simulated import EPOCHS, simulate
from tests.reporting.simulated_curves import curve_study, with_curves


def rows_of(source, query, **wanted):
    rows = source.rows(query)
    records = [dict(zip(rows.columns, row, strict=True)) for row in rows.tuples()]
    return [r for r in records if all(r[name] == value for name, value in wanted.items())]


def spoiled(path, spoil):
    def change(rows):
        with_curves(rows)
        spoil(rows)

    return simulate(path, study=curve_study(), change=change)


def test_the_request_with_most_networks_is_chosen_and_others_are_mentioned(tmp_path, curve_source):
    plain = choose_curves(curve_source, "loss_slice", "dimensions=2")
    assert (plain.request, plain.variant, plain.remark) == (
        "loss_slice(dimensions=2)",
        "dimensions=2",
        "",
    )
    assert choose_curves(curve_source, "confidence_histogram") is None

    def another(rows):
        for row in rows["curves"]:
            if row["curve"] == "margin_quantiles" and row["trial_id"] <= "trial001":
                row["request"] = "it's another"
            elif row["curve"] == "margin_quantiles" and row["trial_id"] == "trial005":
                row["status"] = "nonfinite"

    with open_source(spoiled(tmp_path / "r", another)) as source:
        chosen = choose_curves(source, "margin_quantiles")
        assert chosen.request == "margin_distribution"
        assert chosen.remark == (
            "Not drawn: non-finite values of 1 network. "
            "Of 2 requests, only margin_distribution is drawn."
        )
        (last,) = rows_of(source, final_margins(chosen, choose_hue(source)), level=64, share=1.0)
        assert last["networks"] == 2


def test_densities_are_interpolated_and_averaged_at_equal_eigenvalues(curve_source):
    hue = choose_hue(curve_source)
    chosen = choose_curves(curve_source, "hessian_spectral_density")
    rows = rows_of(curve_source, spectral_densities(chosen, hue), level=64)
    at = np.array([row["eigenvalue"] for row in rows])
    np.testing.assert_allclose(at, np.linspace(-1, 30, DENSITY_POINTS))
    each = np.array(
        [np.where(at <= end, 2 * (end - at) / (end + 1) ** 2, 0.0) for end in (10.0, 20.0, 30.0)]
    )
    for name, expected in (("density", each.mean(0)), ("low", each.min(0)), ("high", each.max(0))):
        found = [row[name] for row in rows]
        np.testing.assert_allclose(found, expected, atol=1e-12)
    assert {row["networks"] for row in rows} == {3}
    assert np.trapezoid([row["density"] for row in rows], at) == pytest.approx(1, abs=0.01)


def test_without_a_hue_all_networks_form_one_level(curve_source):
    chosen = choose_curves(curve_source, "hessian_spectral_density")
    rows = rows_of(curve_source, spectral_densities(chosen, None))
    assert len(rows) == DENSITY_POINTS
    assert {(row["level"], row["networks"]) for row in rows} == {("all", 12)}


def test_top_eigenvalues_are_those_of_final_networks(curve_source):
    rows = rows_of(curve_source, top_eigenvalues(choose_hue(curve_source)))
    expected = curve_source.connection.sql(
        "SELECT batch_size, avg(hessian_eigenvalue_1) FROM wide "
        "SEMI JOIN final USING (checkpoint_id) GROUP BY ALL ORDER BY 1"
    ).fetchall()
    found = {row["level"]: row["eigenvalue"] for row in rows}
    assert found == pytest.approx(dict(expected))


def test_slices_are_medians_with_their_range(curve_source):
    chosen = choose_curves(curve_source, "loss_slice", "dimensions=1")
    rows = rows_of(curve_source, loss_slices(chosen, choose_hue(curve_source)), level=16)
    assert [row["distance"] for row in rows] == [-1, -0.5, 0, 0.5, 1]
    assert [row["loss"] for row in rows] == pytest.approx([0.4, 0.25, 0.2, 0.25, 0.4])
    assert [row["low"] for row in rows] == pytest.approx([0.2, 0.125, 0.1, 0.125, 0.2])
    assert {row["networks"] for row in rows} == {3}


def test_fine_slices_are_thinned_evenly(tmp_path):
    def refine(rows):
        for row in rows["curves"]:
            if row["curve"] == "loss_slice":
                n = 401 if row["y"] is None else 81
                axis = np.linspace(-1, 1, n)
                if row["y"] is None:
                    row["x"] = axis.tolist()
                else:
                    y, x = np.meshgrid(axis, axis, indexing="ij")
                    row["x"], row["y"] = x.ravel().tolist(), y.ravel().tolist()
                row["value"] = [1.0] * len(row["x"])

    with open_source(spoiled(tmp_path / "r", refine)) as source:
        line = choose_curves(source, "loss_slice", "dimensions=1")
        assert 80 <= len(rows_of(source, loss_slices(line, None))) <= 101
        plane = choose_curves(source, "loss_slice", "dimensions=2")
        rows = rows_of(source, loss_planes(plane, None))
    assert len(rows) == 27**2
    assert {row["x"] for row in rows} == {row["y"] for row in rows}
    assert (0, 0) in {(row["x"], row["y"]) for row in rows}


def test_planes_are_of_the_network_with_the_median_loss(curve_source):
    chosen = choose_curves(curve_source, "loss_slice", "dimensions=2")
    rows = rows_of(curve_source, loss_planes(chosen, choose_hue(curve_source)), level=64)
    losses = dict(
        curve_source.connection.sql(
            "SELECT trial_id, train_loss FROM final WHERE batch_size = 64"
        ).fetchall()
    )
    (trial,) = {row["trial_id"] for row in rows}
    assert losses[trial] == np.median(list(losses.values()))
    assert len(rows) == 25
    for row in rows:
        assert row["loss"] == pytest.approx(6.4 * (1 + row["x"] ** 2 + 2 * row["y"] ** 2))


def test_margins_are_averaged_at_equal_shares(curve_source):
    chosen = choose_curves(curve_source, "margin_quantiles")
    rows = rows_of(curve_source, final_margins(chosen, choose_hue(curve_source)), level=1024)
    assert [row["share"] for row in rows] == pytest.approx(np.linspace(0, 1, 11))
    for row in rows:
        middle = 60 * (row["share"] - 0.2)
        found = row["low"], row["margin"], row["high"]
        assert found == pytest.approx((middle, middle + 1, middle + 2))


def test_quantiles_over_training_are_interpolated(curve_source):
    chosen = choose_curves(curve_source, "margin_quantiles")
    query = margins_along_training(chosen, choose_hue(curve_source))
    rows = rows_of(curve_source, query, level=16)
    assert [row["epoch"] for row in rows] == list(EPOCHS)
    for row in rows:
        for name, share in (("q05", 0.05), ("q25", 0.25), ("q50", 0.5), ("q95", 0.95)):
            assert row[name] == pytest.approx(row["epoch"] * (share - 0.2) + 1)


def test_epochs_of_few_networks_are_left_out(tmp_path):
    def rare(rows):
        rows["checkpoints"] = [
            row
            for row in rows["checkpoints"]
            if row["epoch"] != 8 or row["trial_id"] in ("trial000", "trial003")
        ]

    with open_source(spoiled(tmp_path / "r", rare)) as source:
        chosen = choose_curves(source, "margin_quantiles")
        query = margins_along_training(chosen, choose_hue(source))
        assert 8 not in {row["epoch"] for row in rows_of(source, query)}
        assert len(rows_of(source, query)) == 4 * (len(EPOCHS) - 1)


def test_examples_are_counted_over_networks_with_the_majority_prediction(curve_source):
    chosen = choose_curves(curve_source, "smallest_margins")
    rows = rows_of(curve_source, smallest_margins(chosen, 4))
    shown = [
        tuple(
            row[name] for name in ("example", "label", "prediction", "votes", "networks", "trials")
        )
        for row in rows
    ]
    assert shown == [
        (0, 0, 1, 12, 12, 12),
        (1, 1, 1, 8, 12, 12),
        (2, 2, 2, 4, 4, 12),
        (3, 0, 2, 4, 4, 12),
    ]
    assert [row["margin"] for row in rows] == [-3, -2, -1, -1]
    assert rows[2]["inputs"][:2] == [2, 3]


def test_examples_of_other_data_options_are_not_mixed_in(tmp_path):
    def other_data(rows):
        for row in rows["trials"]:
            if row["batch_size"] == 16:
                row["params_json"] = row["params_json"].replace('"seed": 0', '"seed": 1')

    with open_source(spoiled(tmp_path / "r", other_data)) as source:
        rows = rows_of(source, smallest_margins(choose_curves(source, "smallest_margins"), 3))
    assert [rows[0][name] for name in ("example", "networks", "trials")] == [0, 9, 9]
