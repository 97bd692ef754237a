"""Study orchestrator: grids of networks, measures of their snapshots, and evidence.

The public API for scripts and notebooks::

    import orchestrator

    study = orchestrator.load_study("studies/quickstart.yaml")
    orchestrator.run("studies/quickstart.yaml")
    database = orchestrator.connect("results/quickstart")
    database.sql("SELECT batch_size, avg(error_gap) FROM final GROUP BY ALL").df()

Functions import their dependencies when called, so ``connect``, ``report`` and ``export``
load neither torch nor ray.
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
        StudyFileError: If the file is invalid; lists every problem with its line and column.
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
    """Plan a run of a study: its training and measuring, and the estimated time on this machine.

    Args:
        path: The study file.
        results: The results folder, which need not exist; ``results/<study>`` by default.
        overrides: As for :func:`load_study`.
        price_per_cpu_hour: Price per core hour, in any currency, for the plan's ``cost``.
        price_per_gpu_hour: Price per GPU hour, in the same currency.
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
    """Train and measure everything a study still lacks. Run again to resume or extend it.

    Args:
        path: The study file.
        results: The results folder, or an address in an object store (``s3://bucket/prefix``,
            ``gs://bucket/prefix`` or ``az://container/prefix``); ``results/<study>`` by default.
        overrides: As for :func:`load_study`.
        address: Address of a Ray cluster, ``"auto"`` or ``host:port``; None runs on this machine.
        quiet: Whether to hide progress.
        retry_failed: Whether to retry failures from earlier runs. By default they stay failed;
            interrupted or lost work is always redone.
        canary: Whether to train one canary trial per shape first, if the grid has more trials
            than can train in parallel. If a canary or a measure of its first snapshot fails, no
            other trial starts, and running trials stop at their next resume state.

    Raises:
        UserError: If the study, its data, its resources or its results folder are invalid.
        StorageError: If results cannot be written, for example because the disk is full.
        StudyIncomplete: If a canary trial or a measure of its first snapshot failed.
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
    """Add measures to an existing study from its stored snapshots, without training.

    Args:
        results: The results folder of the study.
        measures: Measures as in a study file, one YAML text each: ``"average_sharpness"``,
            ``"{sam_sharpness: {rho: 0.1}}"``. If empty, only missing values are measured.
        final: Whether to measure only the final network of each trial, not every snapshot.
        address: As for :func:`run`.
        quiet: As for :func:`run`.
        retry_failed: As for :func:`run`.

    Raises:
        UserError: If a measure or the results folder is invalid.
        StorageError: If results cannot be written, for example because the disk is full.
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
    """Measure a network trained outside a study, without files or Ray.

    The network is copied and measured in eval mode. Curves, such as spectral densities, are
    omitted here; :func:`orchestrator.measures.measure_plain` returns them too.

    Args:
        model: Network that maps inputs ``(n, *input_shape)`` to logits ``(n, classes)``.
        train: Training examples: a pair of inputs and labels (tensors or arrays), a PyTorch data
            set or a ``DataLoader``. Inputs are passed to the network unchanged.
        test: Test examples in the same form.
        measures: Measures as in a study file: ``"margin"``, ``{"sam_sharpness": {"rho": 0.1}}``.
        loss: A loss from ``torch.nn``, or a function from logits and labels to per-example
            losses; cross-entropy by default.
        **settings: ``device``, ``dtype`` (``torch.float64``), ``examples``, ``examples_per_pass``,
            ``seed``, ``initial_state`` …: see :class:`orchestrator.measures.MeasureContext`.

    Returns:
        One row per value: request, measure, variant, split, n_examples, value, standard_error,
        status (``ok``, ``nonfinite``, ``error``), error (the reason), seconds, dtype. A measure
        that fails gets a row with the reason; the other measures still run.

    Raises:
        DataError: If a classifier cannot be measured on these inputs or labels.
        MeasureError: If a measure is unknown, or if model, loss and data are incompatible.
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
    """Measure how much each measure changes under transformations that should not matter.

    Fills the table ``audit``. Snapshots audited since they were last measured are skipped.

    Args:
        results: A results folder with snapshots.
        trials_per_condition: Networks to audit per condition, by the last snapshot of each.
        address: As for :func:`run`.
        quiet: As for :func:`run`.

    Returns:
        The failures, each with its reason.

    Raises:
        UserError: If the folder has no results or no snapshots.
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
    """Compare networks of successive seeds on the line between their weights.

    Fills the table ``connectivity``.

    Args:
        results: A results folder with snapshots of several seeds.
        address: As for :func:`run`.
        quiet: As for :func:`run`.

    Returns:
        The failures, each with its reason.

    Raises:
        UserError: If the folder has no results, or if no condition has two seeds.
    """
    from orchestrator.cluster.run.progress_display import tell
    from orchestrator.cluster.snapshots.connectivity import connect_study

    return connect_study(results, address=address, progress=tell(quiet=quiet))


def connect(results: str | Path | Sequence[str | Path]) -> Any:
    """Open a DuckDB connection to a results folder, with every table, view and macro.

    The connection reads the parts that exist now, after checking each against its checksum.
    Rows written later need a new connection.

    Args:
        results: The folder, or a list of several. With several, every table and view has the
            rows of all and a first column ``study``; see :func:`orchestrator.results.connect`.

    Raises:
        ResultsError: If the path has no results, or they are damaged.
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
        output: The output file; by default ``report.html`` in the folder, or ``comparison.html``
            beside the first of several.
        everything: Whether to include trials of values removed from the grid, for a single
            folder. By default the report covers the current grid and only counts such trials.

    Raises:
        ResultsError: If the path has no results.
        ExportError: If the output file cannot be written.
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
    """Write the figures, tables and queries of a study as files for a paper.

    Args:
        results: A results folder.
        to: The output folder; ``export`` in the results folder by default.
        figures: Names of figures and tables; all by default.
        formats: Any of ``svg``, ``pdf``, ``png``, ``csv``, ``md``, ``tex``; all by default.
        ppi: Resolution of PNG files in pixels per inch.

    Returns:
        The folder, the files written, and the figures and tables not available, with reasons.

    Raises:
        ResultsError: If the path has no results.
        ExportError: If a figure or format does not exist, or the folder is not writable.
    """
    from orchestrator.reporting.export import write_export

    return write_export(results, to, figures=figures, formats=formats, ppi=ppi)


def _default_results(study: Study) -> Path:
    """Return the default results folder of a study."""
    return Path("results") / study.study
