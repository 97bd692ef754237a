"""Random results that a run could have written, through the package's own writers.

Studies, statuses and numbers are drawn from a seed: no row, one row, equal values, values within
a per cent, every magnitude a float64 has, zero, negative, NaN and infinite ones, grids of one and
of many axes, trials that failed, diverged or never ended.
"""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.results import ResultsFolder, write_part
from orchestrator.results import swept_columns as column_types
from orchestrator.study.spec import Study
from orchestrator.study.trials import Trial, expand_trials, hyperparameters
from tests.reporting.simulated import CATALOG, NOW, PROVENANCE

Rows = dict[str, list[dict[str, Any]]]
Draw = Callable[[], float]
_AXES: dict[str, list[Any]] = {
    "training.batch_size": [16, 64, 256, 1024],
    "training.optimizer.learning_rate": [1e-300, 1e-3, 0.1, 0.1000001, 1e300],
    "training.optimizer": [{"name": "sgd"}, {"name": "adamw"}, {"name": "sam", "rho": 0.1}],
    "training.loss": ["cross_entropy", "mse", {"name": "cross_entropy", "label_smoothing": 0.1}],
    "data.seed": [0, 1, 2],
    "data.label_noise": [0, 0.1],
    "model.width": [1, 8, 64],
    "model.depth": [0, 1, 2],
    "model.activation": ["relu", "tanh"],
}
_MEASURES: dict[str, tuple[tuple[str, str, str | None], ...]] = {
    "margin": (("margin_mean", "raw", "train"), ("margin_mean", "spectral", "test")),
    "hessian_trace": (("hessian_trace", "exact", "train"),),
    "hessian_spectrum": (("hessian_eigenvalue_1", "", "train"),),
    "norms": (("weight_norm", "", None),),
}
_CURVES = ("margin_distribution", "hessian_spectral_density", "loss_slice")
_CLAIMS = (
    *("flatness_tracks_margin", "margin_is_cheaper", "large_batch_needs_time"),
    *("margin_predicts_gap_at_least_as_well", "flatness_depends_on_parametrization"),
    "flatness_is_an_epiphenomenon",
)
_STATISTICS = ("pearson", "spearman", "kendall", "mean", "median")
_DESIGNS = ("snapshots", "final", "matched_updates", "matched_epochs", "matched_loss")
_CHANGES = ("layer_rescaling", "unit_permutation", "float32", "probe_seed")


def a_draw(random_: random.Random) -> Draw:
    """A way of drawing numbers, such as only one number, or any."""
    sign = random_.choice((1, 1, 1, -1))
    center = sign * 10.0 ** random_.choice((0, 0, 1, -3, 6, -12, 100, -200, 299, -300, 307, -318))
    kinds: list[Draw] = [
        lambda: center,
        lambda: center * random_.uniform(0.99, 1.01),
        lambda: center * random_.uniform(0.9999999, 1.0000001),
        lambda: center * random_.lognormvariate(0, 1),
        lambda: random_.gauss(0, 1) * center,
        lambda: 0.0,
        lambda: random_.choice((0.0, -0.0, center, 5e-324, 1.7976931348623157e308)),
        lambda: sign * 10.0 ** random_.uniform(-323, 308),
        lambda: random_.choice((math.nan, math.inf, -math.inf, center)),
        lambda: math.nan,
    ]
    return random_.choice(kinds[:5] * 3 + kinds[5:])


def a_study(random_: random.Random, most_axes: int = 3) -> Study:
    """A study that ``validate`` calls fine."""
    chosen = random_.sample(sorted(_AXES), random_.randint(0, most_axes))
    chosen = [one for one in chosen if not any(one.startswith(f"{other}.") for other in chosen)]
    sweep = {
        path: random_.sample(_AXES[path], random_.randint(1, min(3, len(_AXES[path]))))
        for path in chosen
    }
    claims: list[Any] = random_.sample(_CLAIMS, random_.randint(0, len(_CLAIMS)))
    for number in range(random_.randint(0, 2)):
        statistic = random_.choice(_STATISTICS)
        columns = {"x": random_.choice(("margin_mean", "loss_gap", "train_loss"))}
        if statistic not in ("mean", "median"):
            columns["y"] = random_.choice(("error_gap", "hessian_trace", "test_error"))
        claims.append(
            {
                **{"name": f"own_{number}", "statement": "Something", "statistic": statistic},
                **columns,
                "above": random_.choice((0.0, 1e-300, -1e300, 0.5)),
                "design": "final" if "y" not in columns else random_.choice(_DESIGNS),
            }
        )
    asked = random_.sample(sorted(_MEASURES), random_.randint(0, len(_MEASURES)))
    measures: list[Any] = [
        {"name": "hessian_spectrum", "top": 1} if name == "hessian_spectrum" else name
        for name in asked
    ]
    measures += random_.sample(_CURVES, random_.randint(0, len(_CURVES)))
    if random_.random() < 0.3:
        measures.append({"name": "loss_slice", "dimensions": 2})
    return Study.model_validate(
        {
            "study": "random",
            "data": {"name": "mnist1d"},
            "model": {"name": "mlp"},
            "training": {
                "optimizer": {"name": "sgd", "learning_rate": 0.1},
                "stop": {"epochs": 4, "train_loss": random_.choice((None, 0.01))},
            },
            "sweep": sweep,
            "seeds": random_.choice((1, 1, 2, 3, 5)),
            "checkpoints": {"train_loss": random_.choice(([], [0.5, 0.1]))},
            "measures": measures,
            "claims": claims,
        }
    )


def write_random_results(path: Path, seed: int, most_axes: int = 3) -> Study:
    """Write a results folder; returns its study."""
    random_ = random.Random(seed)
    study = a_study(random_, most_axes)
    trials = expand_trials(study)
    tables = {**_rows(random_, study, trials), "measure_catalog": _catalog(random_)}
    folder = ResultsFolder.create(
        path,
        study.model_dump_json(),
        "study: random\n",
        PROVENANCE,
        "",
        swept=column_types([hyperparameters(study, trial) for trial in trials]),
    )
    for table, rows in tables.items():
        write_part(folder, table, rows, "all")
    return study


def _catalog(random_: random.Random) -> list[dict[str, Any]]:
    names = ("measure", "family", "symbol", "unit", "direction", "citation")
    rows = [{**dict(zip(names, row, strict=True)), "cost": "1 F"} for row in CATALOG]
    return rows if random_.random() < 0.8 else []


def _rows(random_: random.Random, study: Study, trials: list[Trial]) -> Rows:
    rows: Rows = {
        table: [] for table in ("trials", "epochs", "checkpoints", "measures", "curves", "audit")
    } | {"connectivity": [], "examples": []}
    begun = random_.choice((0, 1, len(trials) // 2, len(trials), len(trials), len(trials)))
    fate = random_.choice(("completed", "completed", "completed", "failed", "diverged", "mixed"))
    snapshots = random_.choice((1, 1, 2, 4))
    numbers = {name: a_draw(random_) for name in ("loss", "measure", "other", "curve", "grid")}
    numbers["seconds"] = random_.choice(
        (lambda: 0.0, lambda: 1e-9, lambda: 3.0, lambda: random_.lognormvariate(0, 3))
    )
    numbers["error"] = random_.choice(  # A share of the examples.
        (random_.random, lambda: 0.0, lambda: 1.0, lambda: random_.choice((0.05, math.nan)))
    )
    for trial in trials[:begun]:
        ended = random_.choice(("completed", "failed", "running", "diverged"))
        own = ended if fate == "mixed" else fate
        _add_trial(random_, rows, study, trial, own, snapshots, numbers)
    _add_audit(random_, rows, numbers["measure"])
    _add_connectivity(random_, rows, numbers["loss"])
    return rows


def _add_trial(
    random_: random.Random,
    rows: Rows,
    study: Study,
    trial: Trial,
    fate: str,
    snapshots: int,
    numbers: dict[str, Draw],
) -> None:
    status = "completed" if fate == "diverged" else fate
    stop = {"completed": "epochs", "diverged": "diverged"}.get(fate)
    per_epoch = 4000 // trial.config.training.batch_size + 1
    rows["trials"].append(
        {
            **hyperparameters(study, trial),
            "status": status,
            "stop_reason": stop,
            "error": random_.choice((None, "", "ValueError", "a\nb")) if fate == "failed" else None,
            "attempt": 1,
            "epochs": float(snapshots),
            "updates": per_epoch * snapshots,
            "train_seconds": random_.choice((None, numbers["seconds"]())),
            "evaluation_seconds": numbers["seconds"](),
            "n_parameters": random_.randint(1, 2**62),
            "dataset_hash": "ab" * 32,
            "host": "laptop",
            "device": "cpu",
            "written_at": NOW,
        }
    )
    kept = snapshots if fate == "completed" else random_.randint(0, snapshots)
    for epoch in range(kept):
        loss = numbers["loss"]()
        reached = [m for m in study.checkpoints.train_loss if loss <= m]
        id_ = f"{trial.trial_id}-{epoch}"
        final = ["final"] if epoch == snapshots - 1 else []
        rows["checkpoints"].append(
            {
                "checkpoint_id": id_,
                "trial_id": trial.trial_id,
                "step": per_epoch * (epoch + 1),
                "epoch": float(epoch + 1),
                "reason": "; ".join(["epoch", *final]),
                "milestones": reached,
                **{f"{split}_loss": numbers["loss"]() for split in ("train", "test")},
                **{f"{split}_error": numbers["error"]() for split in ("train", "test")},
                "written_at": NOW,
            }
        )
        for split in ("train", "test"):
            rows["epochs"].append(
                {
                    **{"trial_id": trial.trial_id, "epoch": epoch, "split": split},
                    **{"loss": loss, "error": numbers["error"](), "seconds": 1.0},
                }
            )
        identity = {
            "trial_id": trial.trial_id,
            "checkpoint_id": id_,
            "step": per_epoch * (epoch + 1),
        }
        if random_.random() < 0.9:
            _add_values(random_, rows, study, identity, numbers)


def _status(values: list[float | None]) -> dict[str, Any]:
    finite = all(value is None or math.isfinite(value) for value in values)
    return {
        "status": "ok" if finite else "nonfinite",
        "error": None if finite else "it is not finite",
    }


def _add_values(
    random_: random.Random,
    rows: Rows,
    study: Study,
    identity: dict[str, Any],
    numbers: dict[str, Draw],
) -> None:
    for request, options in study.requests.items():
        common = {**identity, "request": request, "seconds": numbers["seconds"]()}
        common |= {"n_examples": 4000, "dtype": "float64", "batch_norm_mode": "eval"}
        if random_.random() < 0.1:
            why = {"status": random_.choice(("error", "timeout")), "error": "ValueError"}
            rows["measures"].append({**common, "measure": options.name, **why})
            continue
        for measure, variant, split in _MEASURES.get(options.name, ()):
            draw = numbers["measure"] if measure.startswith("h") else numbers["other"]
            value, error = draw(), random_.choice((None, None, abs(draw())))
            rows["measures"].append(
                {
                    **common,
                    **{"measure": measure, "variant": variant, "split": split},
                    **{"value": value, "standard_error": error, **_status([value, error])},
                }
            )
        if options.name in _CURVES:
            _add_curves(random_, rows, common, options, numbers)


def _add_curves(
    random_: random.Random,
    rows: Rows,
    common: dict[str, Any],
    options: Any,
    numbers: dict[str, Draw],
) -> None:
    n = random_.choice((1, 2, 5, 9))
    line = [i / max(n - 1, 1) for i in range(n)]
    draw = numbers["curve"]

    def add(curve: str, variant: str, x: list[float], y: list[float] | None = None) -> None:
        values = [draw() for _ in x]
        if curve == "margin_quantiles":
            values.sort()
        if curve == "hessian_spectral_density":
            values = list(map(abs, values))
        rows["curves"].append(
            {
                **common,
                **{"curve": curve, "variant": variant, "split": "train"},
                **{"x": x, "y": y, "value": values, **_status([*x, *values])},
            }
        )

    if options.name == "margin_distribution":
        add("margin_quantiles", "raw", line)
        add("smallest_margins", "raw", [float(i) for i in range(n)])
        rows["curves"].append({**rows["curves"][-1], "curve": "smallest_margin_predictions"})
        rows["curves"][-1] |= {"value": [float(i % 3) for i in range(n)], **_status([])}
    elif options.name == "hessian_spectral_density":
        start, length = numbers["grid"](), abs(numbers["grid"]())
        add("hessian_spectral_density", "", [start + length * one for one in line])
    elif options.dimensions == 1:
        add("loss_slice", "dimensions=1", [2 * one - 1 for one in line])
    else:
        add("loss_slice", "dimensions=2", line * n, [one for one in line for _ in line])


def _add_audit(random_: random.Random, rows: Rows, draw: Draw) -> None:
    for row in list(rows["measures"]) if random_.random() < 0.5 else []:
        for change in _CHANGES:
            before, after = draw(), draw()
            finite = math.isfinite(before) and math.isfinite(after)
            larger = max(abs(before), abs(after))
            common = {name: row[name] for name in ("trial_id", "checkpoint_id")}
            if random_.random() < 0.2:
                why = {"status": "not_applicable", "reason": "there is no such layer"}
                empty = {"request": "", "measure": "", "variant": ""}
                rows["audit"].append({**common, "change": change, **empty, **why})
                continue
            relative = 0.0 if before == after else abs(before / larger - after / larger)
            rows["audit"].append(
                {
                    **common,
                    "change": change,
                    **{name: row.get(name) for name in ("request", "measure", "variant", "split")},
                    **{"original": before, "changed": after},
                    "relative_change": relative if finite else None,
                    "status": "ok" if finite else "nonfinite",
                    "reason": None if finite else "it is not finite",
                }
            )


def _add_connectivity(random_: random.Random, rows: Rows, draw: Draw) -> None:
    checkpoints = rows["checkpoints"]
    for one, other in itertools.pairwise(checkpoints):
        if random_.random() < 0.2:
            rows["connectivity"].append(
                {
                    **{"condition_id": "c", "split": "train", "quantity": "loss"},
                    **{"trial_id": one["trial_id"], "other_trial_id": other["trial_id"]},
                    "checkpoint_id": one["checkpoint_id"],
                    "other_checkpoint_id": other["checkpoint_id"],
                    **{"barrier": draw(), "alpha": [0.0, 0.5, 1.0]},
                    "value": [draw() for _ in range(3)],
                }
            )
    rows["examples"] = [
        {
            "data": json.dumps({"name": "mnist1d"}),
            **{"dataset_hash": "ab" * 32, "split": "train", "example": n, "label": n % 3},
            **{"shape": "1x4x4", "inputs": [draw() for _ in range(16)]},
        }
        for n in range(random_.choice((0, 3)))
    ]
