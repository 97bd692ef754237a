"""Studies with many measures, axes and trials are reported and exported."""

import numpy as np
import pytest

from orchestrator.reporting.data.hue import MOST_LEVELS, choose_hue
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.export import write_export
from orchestrator.reporting.page.html import render
from orchestrator.reporting.page.report import compose
from orchestrator.results import ResultsFolder, study_status, swept_columns, write_part
from orchestrator.study.spec import Study
from orchestrator.study.trials import expand_trials, hyperparameters
from tests.reporting.simulated import NOW, PROVENANCE
from tests.reporting.test_random_results import check_chart


def large_study(measures, axes, conditions, seeds):
    """A random search over arguments of someone's network, with someone's measures."""
    arguments = {f"a{number:02d}": 0.5 for number in range(axes)}
    drawn = {f"model.{name}": {"uniform": [0, 1]} for name in arguments}
    own = [f"lab.measures:m{number:02d}" for number in range(measures)]
    return Study.model_validate(
        {
            "study": "large",
            "data": {"name": "mnist1d"},
            "model": {"name": "lab.networks:Net", **arguments},
            "training": {"stop": {"epochs": 1}},
            "sweep": {"random": {"conditions": conditions, "of": drawn}},
            "seeds": seeds,
            "measures": ["margin", "hessian_trace", *own],
            "claims": ["flatness_tracks_margin", "margin_predicts_gap_at_least_as_well"],
        }
    )


def write_results(path, study):
    """One snapshot of each trial, and a value of each measure."""
    trials, draw = expand_trials(study), np.random.default_rng(0)
    rows = {"trials": [], "checkpoints": [], "measures": []}
    for trial in trials:
        names = {"trial_id": trial.trial_id, "checkpoint_id": f"{trial.trial_id}-40"}
        rows["trials"].append(
            {
                **{**hyperparameters(study, trial), "status": "completed", "attempt": 1},
                **{"stop_reason": "epochs", "epochs": 1.0, "updates": 40, "train_seconds": 1.0},
                "written_at": NOW,
            }
        )
        strength = draw.normal()
        losses = {"train_loss": np.exp(-strength), "test_loss": np.exp(-strength) + 0.1}
        errors = {"train_error": 0.01, "test_error": 0.1 + 0.01 * draw.normal()}
        rows["checkpoints"].append(
            {
                **{**names, "step": 40, "epoch": 1.0, "reason": "final", "milestones": []},
                **{**losses, **errors, "written_at": NOW},
            }
        )
        for request, options in study.requests.items():
            measure = {"margin": "margin_mean"}.get(request, options.name.rpartition(":")[2])
            variant = {"margin": "raw", "hessian_trace": "exact"}.get(request, "")
            value = np.exp(-strength) if request == "hessian_trace" else strength
            rows["measures"].append(
                {
                    **{**names, "step": 40, "request": request, "measure": measure},
                    **{"variant": variant, "split": "train", "status": "ok", "seconds": 1.0},
                    **{"value": value + 0.1 * abs(draw.normal()), "written_at": NOW},
                }
            )
    folder = ResultsFolder.create(
        path,
        study.model_dump_json(),
        "study: large\n",
        PROVENANCE,
        "",
        swept=swept_columns([hyperparameters(study, trial) for trial in trials]),
    )
    for table, content in rows.items():
        write_part(folder, table, content, "all")
    return trials


@pytest.mark.parametrize(
    ("measures", "axes", "conditions", "seeds"),
    [
        pytest.param(60, 30, 8, 1, marks=pytest.mark.slow, id="wide"),
        pytest.param(58, 30, 2500, 4, marks=pytest.mark.full, id="long"),
    ],
)
def test_a_large_study_is_reported_and_exported(tmp_path, measures, axes, conditions, seeds):
    study = large_study(measures, axes, conditions, seeds)
    trials = write_results(tmp_path / "r", study)
    status = study_status(tmp_path / "r")
    assert status.trials_completed == len(trials) == conditions * seeds
    assert status.snapshots_pending == 0
    with open_source(tmp_path / "r") as source:
        page = compose(source)
    for figure in page.figures:
        assert (figure.chart is None) == bool(figure.missing)
        if figure.chart is not None:
            check_chart(figure.chart)
    text = render(page)
    assert "</html>" in text
    assert len(text.encode()) <= 3_000_000
    assert page.explorer is not None
    assert write_export(tmp_path / "r", tmp_path / "exported").files


def test_a_hyperparameter_with_more_levels_than_a_reader_can_tell_apart_is_no_hue(tmp_path):
    write_results(tmp_path / "many", large_study(0, 2, conditions=MOST_LEVELS + 1, seeds=1))
    with open_source(tmp_path / "many") as source:
        assert choose_hue(source) is None
    write_results(tmp_path / "few", large_study(0, 2, conditions=MOST_LEVELS, seeds=1))
    with open_source(tmp_path / "few") as source:
        assert choose_hue(source).title == "a00"


def test_conditions_drawn_at_random_are_not_compared_along_one_hyperparameter(tmp_path):
    write_results(tmp_path / "r", large_study(2, 2, conditions=8, seeds=2))
    with open_source(tmp_path / "r") as source:
        figures = {figure.key: figure for figure in compose(source).figures}
    for key in ("granulated", "environments"):
        assert figures[key].missing.startswith("All hyperparameters were drawn at random together")
    write_results(tmp_path / "one", large_study(2, 1, conditions=8, seeds=2))
    with open_source(tmp_path / "one") as source:
        figures = {figure.key: figure for figure in compose(source).figures}
    assert figures["granulated"].chart is not None
