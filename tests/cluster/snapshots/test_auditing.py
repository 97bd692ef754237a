"""Audits of a study: when they happen, and that they happen once."""

import pytest

import orchestrator
from orchestrator.cluster.backlog import missing_audits
from orchestrator.cluster.planning import plan_study
from orchestrator.cluster.snapshots import auditing
from orchestrator.results import ResultsFolder, read_study
from orchestrator.study.trials import expand_trials
from tests.cluster.comparison import rows
from tests.cluster.in_process import run_in_process, workers_in_process

AUDITED = (
    "SELECT checkpoint_id, change, measure, relative_change, written_at FROM audit ORDER BY ALL"
)


CLAIM = "flatness_depends_on_parametrization"
MEASURES = ["margin", "hessian_trace"]


@pytest.mark.ray
@pytest.mark.slow
def test_missing_audits_are_added_and_a_damaged_snapshot_fails_alone(
    local_ray, finished, made_once
):
    results, audited = finished(measures=MEASURES), made_once(measures=MEASURES, claims=[CLAIM])
    assert rows(results, "SELECT count(*) FROM audit") == [(0,)]
    ((path, broken),) = rows(
        results,
        "SELECT path, checkpoint_id FROM final WHERE seed = 0 ORDER BY batch_size LIMIT 1",
    )
    (results / path).write_bytes(b"nothing of use")
    (failure,) = orchestrator.audit(results, quiet=True)
    assert failure.startswith(f"{broken}: audit: ")
    expected = rows(audited, AUDITED)
    assert [row[:-1] for row in rows(results, AUDITED)] == [
        row[:-1] for row in expected if row[0] != broken
    ]


@pytest.mark.slow
def test_a_study_whose_claim_needs_audits_is_audited_during_the_run(
    small_study, tmp_path, monkeypatch
):
    results = tmp_path / "results"
    study = small_study(claims=[CLAIM], measures=MEASURES)
    assert plan_study(orchestrator.load_study(study), results, probe=False).audits == 4
    assert run_in_process(study, results).complete
    assert rows(
        results, "SELECT count(DISTINCT checkpoint_id), count(DISTINCT trial_id) FROM audit"
    ) == [(4, 4)]
    assert rows(
        results, "SELECT DISTINCT seed FROM audit JOIN trials USING (trial_id) ORDER BY 1"
    ) == [(0,), (1,)]
    last = "SELECT count(*) FROM audit ANTI JOIN final USING (checkpoint_id)"
    assert rows(results, last) == [(0,)]
    fragile = dict(
        rows(
            results,
            "SELECT measure, layer_rescaling FROM fragility "
            "WHERE split = 'train' AND variant IN ('raw', 'exact')",
        )
    )
    assert fragile["margin_mean"] < 1e-9 < 0.1 < fragile["hessian_trace"]

    # Again, there is nothing to do, and a measure that comes later is audited too.
    before = rows(results, AUDITED)
    folder = ResultsFolder.open(results)
    asked = read_study(folder)
    assert not missing_audits(folder, asked, expand_trials(asked)).work_items
    assert plan_study(read_study(folder), results, probe=False).audits == 0
    with monkeypatch.context() as patched:
        patched.setattr(auditing, "ray_session", lambda *_: pytest.fail("nothing was missing"))
        assert orchestrator.audit(results, quiet=True) == []
    assert rows(results, AUDITED) == before
    with workers_in_process():
        assert orchestrator.measure(results, ["norms"], quiet=True).complete
    assert rows(results, "SELECT count(*) FROM fragility WHERE measure = 'weight_norm'") == [(1,)]

    # A snapshot that was audited may be deleted …
    ((path, last),) = rows(
        results,
        "SELECT path, checkpoint_id FROM final WHERE seed = 0 ORDER BY batch_size LIMIT 1",
    )
    (results / path).unlink()
    assert orchestrator.audit(results, quiet=True) == []
    assert orchestrator.measure(results, quiet=True).complete
    # … and if it was not, it is missed, told of, and trained again by ``run``.
    before = rows(results, AUDITED)
    (results / "audit" / f"{last}.parquet").unlink()
    (failure,) = orchestrator.audit(results, quiet=True)
    assert failure.startswith(f"{last}: audit: its snapshot is gone")
    assert orchestrator.measure(results, quiet=True).failed_audits == [
        f"{last}: its snapshot is gone; `run` retrains the network"
    ]
    measures = [*MEASURES, "norms"]
    again = run_in_process(small_study(claims=[CLAIM], measures=measures), results)
    assert again.complete
    assert again.trained == 1
    assert [row[:-1] for row in rows(results, AUDITED)] == [row[:-1] for row in before]
