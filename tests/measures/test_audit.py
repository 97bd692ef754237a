"""What must not matter, and which measures think that it does."""

import math

import pytest
import torch
from torch import nn

from orchestrator.cluster.backlog import measure_versions
from orchestrator.cluster.snapshots.audited_snapshot import audit_rows
from orchestrator.measures.audit import CHANGES, Audited, audit, relative_change
from orchestrator.measures.runner import measure_snapshot
from orchestrator.results import ResultsFolder, connect, write_part
from orchestrator.study.spec import Study
from tests.measures.cases import case

MEASURES = [
    {"name": "margin"},
    {"name": "hessian_trace"},
    {"name": "sam_sharpness"},
    {"name": "norms"},
    {"name": "average_sharpness", "draws": 16},
]
STUDY = Study.model_validate(
    {
        "study": "audited",
        "data": {"name": "mnist1d"},
        "model": {"name": "mlp"},
        "training": {"stop": {"epochs": 1}},
        "measures": MEASURES,
    }
)
ROUNDING = 1e-9


def subject(name="mlp_without_bias", **options):
    chosen = case(name)
    model = chosen.model()
    initial = {key: torch.zeros_like(value) for key, value in model.state_dict().items()}
    return Audited(model, chosen.dataset(), chosen.loss, initial_state=initial, **options)


@pytest.fixture(scope="module")
def rows():
    found = {}
    for row in audit(subject(), STUDY.requests):
        found.setdefault(row.change, {})[row.measure, row.variant, row.split] = row
    return found


def relative(rows, change, measure, variant="", split="train"):
    row = rows[change][measure, variant, split]
    assert row.status == "ok"
    return row.relative_change


def test_every_transformation_is_applied_to_every_value(rows):
    assert tuple(rows) == CHANGES
    assert len({len(values) for values in rows.values()}) == 1


def test_known_values_are_compared_instead_of_being_measured_again(rows):
    requests = {request: STUDY.requests[request] for request in ("norms", "margin")}
    known = list(measure_snapshot(subject().context(), requests))
    norms = [row for row in known if row["request"] == "norms" and "measure" in row]
    moved = [{**row, "value": 7.0} for row in norms]
    other = {**norms[0], "request": "of another study"}
    found = list(audit(subject(), requests, ["unit_permutation"], measured=[*moved, other]))
    for row in found:
        before = rows["unit_permutation"][row.measure, row.variant, row.split]
        assert row.changed == before.changed
        assert row.original == (7.0 if row.request == "norms" else before.original)
    assert {row.request for row in found} == {"norms", "margin"}


def test_margins_are_invariant_to_rescaling_and_permutation(rows):
    variants = ("raw", "spectral", "frobenius", "logit_norm", "total_variation")
    for change in ("layer_rescaling", "unit_permutation"):
        for variant in variants:
            for split in ("train", "test"):
                assert relative(rows, change, "margin_mean", variant, split) < ROUNDING


def test_flatness_and_norms_change_under_rescaling_but_not_permutation(rows):
    for measure, variant, split in (
        ("hessian_trace", "exact", "train"),
        ("weight_norm", "", None),
        ("distance_from_initialization", "", None),
    ):
        assert relative(rows, "layer_rescaling", measure, variant, split) > 0.1
        assert relative(rows, "unit_permutation", measure, variant, split) < ROUNDING
    assert relative(rows, "layer_rescaling", "spectral_norm_product", "", None) < ROUNDING


def test_scaled_logits_scale_only_raw_margins(rows):
    raw = rows["logit_scale"]["margin_mean", "raw", "train"]
    assert raw.changed == pytest.approx(2 * raw.original)
    assert raw.relative_change == pytest.approx(0.5)
    for variant in ("spectral", "frobenius", "logit_norm", "total_variation"):
        assert relative(rows, "logit_scale", "margin_mean", variant) < ROUNDING


def test_partition_and_duplicates_do_not_change_exact_values(rows):
    for change in ("batch_partition", "duplicated_data"):
        for key, row in rows[change].items():
            # Quantiles between two examples lie elsewhere between four: a property of theirs.
            interpolated = change == "duplicated_data" and key[0] in ("margin_p10", "margin_p25")
            assert row.relative_change < (0.5 if interpolated else ROUNDING), (change, key)


def test_precision_changes_little_and_the_seed_only_random_estimates(rows):
    for key, row in rows["float32"].items():
        assert row.relative_change < 1e-3, key
    for (measure, variant, split), row in rows["probe_seed"].items():
        drawn = measure.startswith("average_sharpness")
        assert (row.relative_change > 0) == drawn, (measure, variant, split)
        assert (row.standard_error is not None) == drawn


def test_a_subset_of_the_data_changes_only_values_that_depend_on_data(rows):
    assert relative(rows, "data_subset", "margin_mean", "raw") > 1e-3
    assert relative(rows, "data_subset", "weight_norm", "", None) == 0


def test_an_inapplicable_transformation_is_a_row_with_a_reason():
    (row,) = audit(subject("linear"), STUDY.requests, ["layer_rescaling"])
    assert (row.status, row.measure, row.relative_change) == ("not_applicable", "", None)
    assert "no hidden layer" in row.reason
    (row,) = audit(subject("one_example"), STUDY.requests, ["data_subset"])
    assert row.status == "not_applicable"


def test_nonfinite_values_are_rows_with_a_reason():
    requests = {"norms": STUDY.requests["norms"]}
    bare = Audited(case("mlp").model(), case("mlp").dataset(), case("mlp").loss)
    rows = {row.measure: row for row in audit(bare, requests, ["unit_permutation"])}
    missing = rows["distance_from_initialization"]
    assert (missing.status, missing.relative_change) == ("nonfinite", None)
    assert "initial_state" in missing.reason
    assert rows["weight_norm"].status == "ok"


@pytest.mark.parametrize(
    ("name", "inapplicable"),
    [
        ("mlp_tanh", {"layer_rescaling"}),
        ("linear", {"layer_rescaling", "unit_permutation"}),
        ("diverged", {"layer_rescaling", "unit_permutation", "logit_scale"}),
    ],
)
def test_every_row_that_is_not_ok_has_a_reason_and_can_be_stored(tmp_path, name, inapplicable):
    chosen = case("mlp_without_bias")
    inputs, classes = math.prod(chosen.dataset().input_shape), chosen.dataset().classes
    models = {
        "mlp_tanh": lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(inputs, 4), nn.Tanh(), nn.Linear(4, classes)
        ),
        "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(inputs, classes)),
        "diverged": chosen.model,
    }
    model = models[name]()
    if name == "diverged":
        next(model.parameters()).data.fill_(math.nan)
    audited = Audited(model, chosen.dataset(), chosen.loss)
    found = list(audit(audited, STUDY.requests))
    assert {row.change for row in found if row.status == "not_applicable"} == inapplicable
    assert all(row.reason for row in found if row.status != "ok")
    checkpoint = {"trial_id": "t", "checkpoint_id": "t-1"}
    rows = audit_rows(found, checkpoint, measure_versions(STUDY))
    folder = ResultsFolder.create(tmp_path / "r", STUDY.model_dump_json(), "", {}, "")
    write_part(folder, "audit", rows, "t-1")
    with connect(folder) as database:
        changes = database.sql("SELECT DISTINCT change FROM audit").fetchall()
    assert {change for (change,) in changes} == set(CHANGES)


def test_changes_are_relative_to_the_larger_magnitude():
    assert relative_change(1.5e308, -1.5e308) == 2
    assert relative_change(5e-324, 0.0) == 1
    assert relative_change(3.0, 4.0) == relative_change(4.0, 3.0) == 0.25
    assert relative_change(0.0, -0.0) == 0
