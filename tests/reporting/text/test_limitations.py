from orchestrator.reporting import check_claims
from orchestrator.reporting.data.completeness import read_progress
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.text.limitations import find_limitations
from tests.reporting.simulated import simulate, study_content


def limitations(path):
    with open_source(path) as source:
        return "\n".join(find_limitations(source, read_progress(source)))


def test_a_finished_study_still_has_limitations(simulated):
    text = limitations(simulated)
    assert "Few seeds: 4 conditions with 3 completed trials each." in text
    assert "12 of 12 completed trials never reached the training loss 0.001" in text
    assert "have no snapshot at the training loss 0.1: they never reached it." in text
    assert "Not measured yet" not in text
    assert "failed" not in text


def spoil(rows):
    trials, measures = rows["trials"], rows["measures"]
    trials[0] |= {"status": "failed", "error": "CUDA out of memory\nmore"}
    trials[1] |= {"stop_reason": "diverged"}
    trials[2] |= {"status": "running", "stop_reason": None}
    traces = [row for row in measures if row["measure"] == "hessian_trace"]
    traces[20]["value"] = -0.5
    traces[21] |= {"value": float("nan"), "status": "nonfinite", "error": "loss is not finite"}
    traces[22] |= {"variant": "hutchinson", "standard_error": traces[22]["value"] / 2}
    eigenvalues = [row for row in measures if row["measure"] == "hessian_eigenvalue_1"]
    eigenvalues[30] |= {"variant": "unconverged", "error": "residual 0.2"}
    eigenvalues[31] |= {"value": None, "status": "error", "error": "Boom: no"}
    rows["measures"] = [
        row for row in measures if row["request"] != "norms" or row["trial_id"] != "trial003"
    ]


def test_everything_that_went_wrong_is_counted_and_named(tmp_path):
    text = limitations(simulate(tmp_path / "r", change=spoil))
    for sentence in (
        "1 trial of 12 is unfinished (1 started)",
        "1 trial failed and is excluded (trial000: CUDA out of memory)",
        "1 trial diverged",
        "Not measured yet: norms on 8 of 96 snapshots.",
        "1 value not finite: hessian_trace exact train (1). First reason: loss is not finite.",
        "1 value failed: hessian_eigenvalue_1 train (1). First reason: Boom: no.",
        "1 Hessian trace at or below zero has no logarithm and is excluded",
        "hessian_eigenvalue_1 did not converge on 1 snapshot, where it is excluded (residual 0.2)",
        "hessian_trace (hutchinson) is an estimate: over 1 value, its relative standard error has "
        "median 0.5",
    ):
        assert sentence in text


def test_conditions_with_a_single_seed_are_mentioned(tmp_path):
    study = study_content(seeds=1)
    text = limitations(simulate(tmp_path / "r", study=study, seeds=1))
    assert "4 conditions with 1 completed trial each" in text
    assert "pooled" in text


def test_a_study_without_completed_trials_says_so(empty):
    assert "No trial is completed" in limitations(empty)


def test_networks_that_did_not_learn_are_named(tmp_path):
    def stuck(rows):
        for row in rows["checkpoints"]:
            if row["trial_id"] == "trial000":
                row["train_error"] = max(row["train_error"], 0.05)
                if row["reason"].endswith("final"):
                    row["train_error"] = 0.6

    path = simulate(tmp_path / "r", change=stuck)
    assert "1 completed trial did not learn: trial000." in limitations(path)
    claim = check_claims(path)[0]
    assert claim.beside[-1].what == "without networks that did not learn"


def test_data_with_an_unknown_number_of_classes_are_named(tmp_path):
    def own(rows):
        for row in rows["trials"]:
            row["dataset"] = "npz"

    told = "For npz the error of the best constant prediction is unknown"
    assert told in limitations(simulate(tmp_path / "r", change=own))
    study = study_content(learned={"train_error": 0.1})
    assert told not in limitations(simulate(tmp_path / "stated", change=own, study=study))
