"""The command line: parse, call, print. All decisions are made elsewhere."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from orchestrator.interrupted import told_how_to_go_on
from orchestrator.terminal import printable

app = typer.Typer(
    name="orchestrator",
    help="Train a grid of networks, measure their checkpoints, report margin vs flatness vs gap.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

StudyFile = Annotated[Path, typer.Argument(help="The study file (YAML).", metavar="STUDY")]
Results = Annotated[str, typer.Argument(help="Folder, s3://, gs:// or az://", metavar="RESULTS")]
SeveralResults = Annotated[
    list[str], typer.Argument(help="One or more results folders.", metavar="RESULTS")
]
Overrides = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer reads it
    typer.Option("--set", metavar="PATH=VALUE", help="Override one value; may be repeated."),
]
ResultsOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--results", metavar="DIR", help="Folder or address (default: results/<study>)."),
]
Address = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="A Ray cluster: 'auto' or host:port. Default: this machine."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Hide progress.")]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Also retry failures from earlier runs.")
]
Price = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(min=0, metavar="PRICE", help="In any currency; adds the cost of the study."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


Format = Literal["table", "csv", "json", "markdown", "parquet"]


def _print_version(wanted: bool) -> None:
    if wanted:
        import orchestrator

        print(orchestrator.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Handle options that need no command."""


@app.command()
def validate(study: StudyFile, set_: Overrides = None) -> None:
    """Check a study file. If invalid, list every error with its location and exit with code 2."""
    from orchestrator.checked_study import checked_study
    from orchestrator.study.design import describe_design
    from orchestrator.study.trials import expand_trials

    checked, warnings = checked_study(study, set_ or ())
    for warning in warnings:
        print(f"warning: {printable(str(warning))}", file=sys.stderr)
    trials = expand_trials(checked)
    conditions = len({trial.condition_id for trial in trials})
    nouns = ("trial", "condition", "seed", "measure")
    numbers = (len(trials), conditions, len(checked.seed_list), len(checked.measures))
    counts = [
        f"{count} {noun}{'s' * (count != 1)}" for count, noun in zip(numbers, nouns, strict=True)
    ]
    final = len(checked.final_measures)
    more = f", {final} more for final networks" if final else ""
    fine = "{}: OK. {} ({} × {}), {} per snapshot{}.".format(study, *counts, more)
    _say("\n".join([fine, *describe_design(checked.model_dump(mode="json"))]))


@app.command()
def plan(
    study: StudyFile,
    results: ResultsOption = None,
    set_: Overrides = None,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Instead, print the study with all defaults.")
    ] = False,
    diff: Annotated[
        bool,
        typer.Option("--diff", help="Instead, show what the file would change in the results."),
    ] = False,
    probe: Annotated[
        bool, typer.Option(help="Train and measure for a few seconds to estimate the time.")
    ] = True,
    price_per_gpu_hour: Price = None,
    price_per_cpu_hour: Price = None,
    as_json: AsJson = False,
) -> None:
    """Show what `run` would do: trials, checkpoints, disk space and time."""
    import orchestrator
    from orchestrator.study.study_file import resolved_yaml

    checked = orchestrator.load_study(study, set_ or ())
    if resolved:
        print(resolved_yaml(checked), end="")
        return
    folder = results or Path("results") / checked.study
    if diff:
        from orchestrator.results import ResultsFolder, compare_study
        from orchestrator.study.trials import expand_trials

        edit = compare_study(ResultsFolder.open(folder), checked, expand_trials(checked))
        _say(json.dumps(edit.to_dict(), indent=2) if as_json else edit.text())
        if edit.contradictions:
            raise typer.Exit(2)
        return
    from orchestrator.cluster.planning import plan_study
    from orchestrator.study.plan import plan_text

    planned = plan_study(
        checked,
        folder,
        probe=probe,
        price_per_cpu_hour=price_per_cpu_hour,
        price_per_gpu_hour=price_per_gpu_hour,
    )
    _say(json.dumps(planned.to_dict(), indent=2) if as_json else plan_text(planned))


@app.command()
def run(
    study: StudyFile,
    results: ResultsOption = None,
    set_: Overrides = None,
    address: Address = None,
    retry_failed: RetryFailed = False,
    canary: Annotated[
        bool,
        typer.Option(
            help="On larger grids, first run one canary trial per shape; stop if one fails."
        ),
    ] = True,
    quiet: Quiet = False,
) -> None:
    """Train and measure everything missing, then write the report. Run again to resume."""
    import orchestrator

    folder = results or Path("results") / orchestrator.load_study(study, set_ or ()).study
    with told_how_to_go_on():
        summary = orchestrator.run(
            study,
            folder,
            overrides=set_ or (),
            address=address,
            quiet=quiet,
            retry_failed=retry_failed,
            canary=canary,
        )
    _say(summary.text())
    _say(f"report: {orchestrator.report(folder)}")
    if not summary.complete:
        raise typer.Exit(1)


@app.command()
def measure(
    results: Results,
    measures: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(
            metavar="[MEASURE]...",
            help="As in a study file: average_sharpness, '{sam_sharpness: {rho: 0.1}}'. "
            "Default: complete missing values.",
        ),
    ] = None,
    final: Annotated[
        bool, typer.Option("--final", help="Measure final networks only, not every snapshot.")
    ] = False,
    address: Address = None,
    retry_failed: RetryFailed = False,
    quiet: Quiet = False,
) -> None:
    """Add measures to an existing study from its stored snapshots, without training."""
    import orchestrator

    with told_how_to_go_on():
        summary = orchestrator.measure(
            results,
            measures or (),
            final=final,
            address=address,
            quiet=quiet,
            retry_failed=retry_failed,
        )
    _say(summary.text())
    _say(f"report: {orchestrator.report(results)}")
    if summary.failed_measures:
        raise typer.Exit(1)


@app.command()
def audit(
    results: Results,
    trials: Annotated[
        int, typer.Option(min=1, help="Trials to audit per condition, taking its first seeds.")
    ] = 2,
    address: Address = None,
    quiet: Quiet = False,
) -> None:
    """Report how much each measure changes under transformations such as rescaled layers."""
    import orchestrator
    from orchestrator.results import FRAGILITY, write_result
    from orchestrator.results import query as run_query

    with told_how_to_go_on():
        failures = orchestrator.audit(
            results, trials_per_condition=trials, address=address, quiet=quiet
        )
    print("median relative change per transformation (view fragility):\n")
    write_result(run_query(results, FRAGILITY), "table", sys.stdout, width=_width())
    for failure in failures:
        _say(f"  failed: {failure}")
    if failures:
        raise typer.Exit(1)


@app.command()
def connectivity(results: Results, address: Address = None, quiet: Quiet = False) -> None:
    """Show barriers of loss and error on the line between networks of successive seeds."""
    import orchestrator
    from orchestrator.results import barriers_query, write_result
    from orchestrator.results import query as run_query

    with told_how_to_go_on():
        failures = orchestrator.connectivity(results, address=address, quiet=quiet)
    write_result(run_query(results, barriers_query(results)), "table", sys.stdout, width=_width())
    for failure in failures:
        _say(f"  failed: {failure}")
    if failures:
        raise typer.Exit(1)


@app.command()
def status(results: Results, as_json: AsJson = False) -> None:
    """Show progress: trials, snapshots, measures, latest failures. Does not need Ray."""
    from orchestrator.results.database.status import status_text, study_status

    current = study_status(results)
    _say(json.dumps(current.to_dict(), indent=2) if as_json else status_text(current))


@app.command()
def query(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="RESULTS... SQL",
            help="One or more results folders, then SQL, a .sql file, or - for stdin.",
        ),
    ],
    format_: Annotated[Format, typer.Option("--format", "-f")] = "table",
) -> None:
    """Query results in SQL (DuckDB). Read-only.

    Several folders form one database, with a column "study" in every table.
    """
    from orchestrator.results import ask, sql_text, write_result

    *results, sql = arguments
    ask(
        results[0] if len(results) == 1 else results,
        sql_text(sql, results),
        lambda rows: write_result(rows, format_, sys.stdout, width=_width()),
    )


@app.command()
def report(
    results: SeveralResults,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            metavar="FILE", help="Output file (default: in the folder, or beside the first folder)."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with code 1 unless every claim holds.")
    ] = False,
    everything: Annotated[
        bool,
        typer.Option("--everything", help="Include values removed from the grid (one folder)."),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Rewrite it as results arrive (one folder).")
    ] = False,
) -> None:
    """Write one self-contained HTML file and print its path.

    One results folder gives its report; several give a comparison of their claims.
    """
    import orchestrator
    from orchestrator.reporting import check_claims, watch_report
    from orchestrator.statistics.claim import with_interval

    one = results[0] if len(results) == 1 else results
    if watch:
        if len(results) > 1:
            raise typer.BadParameter("watches one results folder", param_hint="--watch")
        watch_report(results[0], output, everything=everything, tell=_say)
    else:
        _say(str(orchestrator.report(one, output, everything=everything)))
    if check:
        found = ((folder, check_claims(folder, everything=everything)) for folder in results)
        claims = [(folder, claim) for folder, several in found for claim in several]
        for folder, claim in claims:
            whose = f"{folder}: " if len(results) > 1 else ""
            number = with_interval(claim.estimate)
            _say(f"{whose}{claim.reads}: {claim.name}: {claim.statistic}: {number}")
            _say(f"    Holds if the whole interval is {claim.criterion}. {claim.explanation}")
        if any(claim.verdict != "holds" for _, claim in claims):
            raise typer.Exit(1)


@app.command()
def export(
    results: Results,
    to: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--to", metavar="DIR", help="Output folder (default: RESULTS/export)."),
    ] = None,
    figures: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="NAME,…", help="Figures and tables, such as threshold,claims (default: all)."
        ),
    ] = None,
    formats: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="FORMAT,…", help="Any of svg,pdf,png,csv,md,tex (default: all)."),
    ] = None,
    ppi: Annotated[float, typer.Option(help="PNG resolution in pixels per inch.")] = 300,
) -> None:
    """Write figures, tables and queries as files for a paper."""
    import orchestrator

    done = orchestrator.export(
        results, to, figures=_listed(figures), formats=_listed(formats), ppi=ppi
    )
    _say(done.text())


@app.command()
def compact(results: Results) -> None:
    """Merge the small Parquet parts of a results folder into large ones."""
    from orchestrator.results import compact as join_parts

    join_parts(results)


@app.command()
def schema() -> None:
    """Print the JSON Schema of study files, for editors."""
    from orchestrator.study.json_schema import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))


def _say(text: str) -> None:
    print(printable(text))


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",")]


def _width() -> int | None:
    """Return the terminal width in characters; None if stdout is not a terminal."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
