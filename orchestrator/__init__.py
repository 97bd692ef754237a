"""Study orchestrator: grids of networks, measures on their checkpoints, and evidence.

The public face, for scripts and notebooks::

    import orchestrator

    study = orchestrator.load_study("studies/quickstart.yaml")
    orchestrator.run("studies/quickstart.yaml")
    database = orchestrator.connect("results/quickstart")
    database.sql("SELECT batch_size, avg(error_gap) FROM final GROUP BY ALL").df()

Every function imports what it needs when it is called: ``connect``, ``report`` and
``export`` load neither torch nor ray.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from orchestrator.cluster.run.summary import RunSummary
    from orchestrator.measures.plain import Examples, Request, TorchLoss
    from orchestrator.reporting.export import Export
    from orchestrator.results import Location
    from orchestrator.study.plan import Plan
    from orchestrator.study.spec import Study

from orchestrator.version import __version__ as __version__

__all__ = [
    "audit",
    "connect",
    "connectivity",
    "export",
    "load_study",
    "measure",
    "measure_model",
    "plan",
    "report",
    "run",
]


def load_study(path: str | Path, overrides: Sequence[str] = ()) -> Study:
    """Read and check a study file.

    Args:
        path: The YAML file.
        overrides: ``path=value`` texts, applied before checking, as ``--set`` does.

    Raises:
        StudyFileError: With every problem of the file, each with its line and column.
    """
    from orchestrator.checked_study import checked_study

    return checked_study(path, overrides)[0]


def plan(
    path: str | Path,
    results: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    price_per_cpu_hour: float | None = None,
    price_per_gpu_hour: float | None = None,
) -> Plan:
    """What running a study would train and measure, and about how long that takes here.

    Args:
        path: The study file.
        results: Its results folder; ``results/<study>`` by default. Need not exist.
        overrides: As for :func:`load_study`.
        price_per_cpu_hour: Of one core, in any currency, for the plan's ``cost``.
        price_per_gpu_hour: Of one GPU.
    """
    from orchestrator.cluster.planning import plan_study

    study = load_study(path, overrides)
    return plan_study(
        study,
        results or _default_results(study),
        price_per_cpu_hour=price_per_cpu_hour,
        price_per_gpu_hour=price_per_gpu_hour,
    )


def run(
    path: str | Path,
    results: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    address: str | None = None,
    quiet: bool = False,
    retry_failed: bool = False,
    canary: bool = True,
) -> RunSummary:
    """Train and measure what is missing of a study. Run again to resume or extend.

    Args:
        path: The study file.
        results: Where results go, a folder or the address ``s3://bucket/prefix`` of an object
            store; ``results/<study>`` by default.
        overrides: As for :func:`load_study`.
        address: A Ray cluster, ``"auto"`` or ``host:port``; None runs on this machine.
        quiet: Show no progress.
        retry_failed: Try again what failed in earlier runs. Without, it stays as it is; what was
            interrupted or lost is always made.
        canary: Where there are more trials than can train side by side, let one of each shape go
            ahead, and start no other if it or a measure of its first snapshot fails.

    Raises:
        UserError: If the study, its data, its resources or its results folder are wrong.
        StorageError: If the disk takes no more.
        StudyIncomplete: If a trial that went ahead failed.
    """
    from orchestrator.cluster.run.driver import run_study

    study = load_study(path, overrides)
    return run_study(
        study,
        Path(path),
        results or _default_results(study),
        overrides=overrides,
        address=address,
        quiet=quiet,
        retry_failed=retry_failed,
        canary=canary,
    )


def measure(
    results: str | Path,
    measures: Sequence[str] = (),
    *,
    final: bool = False,
    address: str | None = None,
    quiet: bool = False,
    retry_failed: bool = False,
) -> RunSummary:
    """Add measures to a study that has been run, from its snapshots, without training.

    Args:
        results: Its results folder.
        measures: As a study file lists them, one YAML text each: ``"average_sharpness"``,
            ``"{sam_sharpness: {rho: 0.1}}"``. None at all finishes what is missing.
        final: Measure the final network of each trial only, and not every snapshot.
        address: As for :func:`run`.
        quiet: As for :func:`run`.
        retry_failed: As for :func:`run`.

    Raises:
        UserError: If a measure or the results folder is wrong.
        StorageError: If the disk takes no more.
    """
    from orchestrator.cluster.run.driver import measure_study

    return measure_study(
        results, measures, final=final, address=address, quiet=quiet, retry_failed=retry_failed
    )


def measure_model(
    model: nn.Module,
    train: Examples,
    test: Examples,
    measures: Iterable[Request],
    *,
    loss: TorchLoss | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Measure a network that no study trained; no file and no Ray is needed.

    The network is copied, and measured in eval mode. Curves, such as spectral densities, have no
    row here; :func:`orchestrator.measures.measure_plain` gives them too.

    Args:
        model: Maps inputs ``(n, *input_shape)`` to logits ``(n, classes)``.
        train: The examples it was trained on: a pair of inputs and labels (tensors or arrays), a
            PyTorch data set or a ``DataLoader``. The network gets inputs as they are here.
        test: The same of the test split.
        measures: As a study file lists them: ``"margin"``, ``{"sam_sharpness": {"rho": 0.1}}``.
        loss: A loss of ``torch.nn``, or a function from logits and labels to the loss of each
            example; cross-entropy by default.
        **settings: ``device``, ``dtype`` (``torch.float64``), ``examples``, ``examples_per_pass``,
            ``seed``, ``initial_state`` …: see :class:`orchestrator.measures.MeasureContext`.

    Returns:
        One row a value: request, measure, variant, split, n_examples, value, standard_error,
        status (``ok``, ``nonfinite``, ``error``), error (the reason), seconds, dtype. A measure
        that fails is a row with its reason; the others go on.

    Raises:
        DataError: If inputs or labels are not what a classifier can be measured on.
        MeasureError: If a measure is unknown, or model, loss and data do not fit one another.
    """
    import pandas as pd

    from orchestrator.measures import measure_plain

    columns = (
        *("request", "measure", "variant", "split", "n_examples", "value", "standard_error"),
        *("status", "error", "seconds", "dtype"),
    )
    rows = measure_plain(model, train, test, measures, loss=loss, **settings)
    values = [[row[name] for name in columns] for row in rows if "measure" in row]
    return pd.DataFrame(values, columns=columns)


def audit(
    results: str | Path,
    *,
    trials_per_condition: int = 2,
    address: str | None = None,
    quiet: bool = False,
) -> list[str]:
    """Measure how much each measure changes under what must not matter; fills table ``audit``.

    What was audited since it was last measured is not audited again.

    Args:
        results: A results folder with snapshots.
        trials_per_condition: Networks of each condition to audit, the last snapshot of each.
        address: As for :func:`run`.
        quiet: As for :func:`run`.

    Returns:
        What failed, and why.

    Raises:
        UserError: If there are no results or no snapshots.
    """
    from orchestrator.cluster.run.progress_display import tell
    from orchestrator.cluster.snapshots.auditing import audit_study

    return audit_study(
        results,
        trials_per_condition=trials_per_condition,
        address=address,
        progress=tell(quiet=quiet),
    )


def connectivity(
    results: str | Path, *, address: str | None = None, quiet: bool = False
) -> list[str]:
    """Compare networks of successive seeds on the line between them; fills ``connectivity``.

    Args:
        results: A results folder with the snapshots of several seeds.
        address: As for :func:`run`.
        quiet: As for :func:`run`.

    Returns:
        What failed, and why.

    Raises:
        UserError: If there are no results, or no two seeds of a condition.
    """
    from orchestrator.cluster.run.progress_display import tell
    from orchestrator.cluster.snapshots.connectivity import connect_study

    return connect_study(results, address=address, progress=tell(quiet=quiet))


def connect(results: str | Path | Sequence[str | Path]) -> Any:
    """A DuckDB connection over a results folder, with every table, view and macro.

    It reads the parts that are there now, each compared with its checksum first; rows that are
    written later need a new connection.

    Args:
        results: The folder, or a list of several: then every table and view has the rows of all,
            and a first column ``study``; see :func:`orchestrator.results.connect`.

    Raises:
        ResultsError: If there are no results at that path, or they are damaged.
    """
    from orchestrator.results import connect as open_results

    return open_results(results)


def report(
    results: str | Path | Sequence[str | Path],
    output: str | Path | None = None,
    *,
    everything: bool = False,
) -> Location:
    """Write the report of a results folder, or a comparison of several, and return its path.

    Args:
        results: The folder, or a list of several.
        output: The file; by default ``report.html`` in the folder, or ``comparison.html`` beside
            the first of several.
        everything: Of a single folder, also report the trials of values that were taken out of
            the grid; without, the report is of the study as it stands, and counts them.

    Raises:
        ResultsError: If there are no results at that path.
        ExportError: If nothing can be written there.
    """
    from orchestrator.reporting import write_comparison, write_report
    from orchestrator.results import Location

    if isinstance(results, str | Location):
        return write_report(results, output, everything=everything)
    return write_comparison(results, output)


def export(
    results: str | Path,
    to: str | Path | None = None,
    *,
    figures: Iterable[str] | None = None,
    formats: Iterable[str] | None = None,
    ppi: float = 300,
) -> Export:
    """Write figures, tables and queries of a study as files for a paper.

    Args:
        results: A results folder.
        to: Where to; ``export`` in the results folder by default.
        figures: Which figures and tables, by name; all by default.
        formats: Some of ``svg``, ``pdf``, ``png``, ``csv``, ``md``, ``tex``; all by default.
        ppi: Resolution of PNG in pixels an inch.

    Returns:
        The directory, the files that were written, and what there is not, with the reason.

    Raises:
        ResultsError: If there are no results at that path.
        ExportError: If there is no such figure or format, or nothing can be written.
    """
    from orchestrator.reporting.export import write_export

    return write_export(results, to, figures=figures, formats=formats, ppi=ppi)


def _default_results(study: Study) -> Path:
    """Where results of a study go unless that is said."""
    return Path("results") / study.study
