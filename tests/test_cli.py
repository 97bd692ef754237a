"""The commands as a stranger types them: output, exit codes, and no traceback for a mistake."""

import json
import re
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import pytest

from orchestrator import __version__
from orchestrator.__main__ import main
from orchestrator.reporting.figures.cost import cost_figure
from orchestrator.results import ResultsFolder
from tests.reporting.simulated import draw_only, simulate, study_content

QUICKSTART = Path(__file__).parents[1] / "studies" / "quickstart.yaml"


def in_a_process(*arguments):
    command = [sys.executable, "-m", "orchestrator", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def orchestrator(*arguments, stdin=""):
    """As a process of its own would do it, without a second for its imports."""
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(TextIOWrapper(BytesIO(), encoding="utf-8")) as out,
        redirect_stderr(StringIO()) as err,
    ):
        patch.setattr(sys, "argv", ["orchestrator", *map(str, arguments)])
        patch.setattr(sys, "stdin", StringIO(stdin))
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        out.flush()
        told = out.buffer.getvalue().decode("utf-8").replace("\r\n", "\n")
    return subprocess.CompletedProcess(arguments, code, told, err.getvalue())


def fine(*arguments, **options):
    done = orchestrator(*arguments, **options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def refused(*arguments, **options):
    done = orchestrator(*arguments, **options)
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("cli") / "r")


def test_the_package_runs_as_a_program():
    assert "Train a grid of networks" in in_a_process("--help").stdout
    done = in_a_process("status", "nowhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")


def test_version_needs_no_subcommand():
    assert fine("--version") == f"{__version__}\n"


def test_a_finished_study_is_watched_until_its_report_is_written(results, tmp_path):
    told = fine("report", results, "--watch", "--output", tmp_path / "own.html")
    assert told.endswith(f"{tmp_path / 'own.html'}: the study is finished\n")
    assert "one results folder" in refused("report", results, results, "--watch")


def test_help_names_every_command():
    told = fine("--help")
    for command in (
        "validate plan run measure audit status query report export compact schema".split()  # noqa: SIM905
    ):
        assert re.search(rf"\b{command}\b", told)


def test_validate_counts_the_trials_of_the_study():
    assert "20 trials (20 conditions × 1 seed)" in fine("validate", QUICKSTART)
    assert "40 trials (20 conditions × 2 seeds)" in fine("validate", QUICKSTART, "--set", "seeds=2")


def test_every_error_states_its_place(tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(QUICKSTART.read_text().replace("momentum:", "momentun:").replace("mlp", "mpl"))
    told = refused("validate", wrong)
    lines = wrong.read_text().splitlines()
    for word in ("momentun:", "name: mpl"):
        line = 1 + next(n for n, text in enumerate(lines) if word in text)
        assert f"{wrong}:{line}:" in told
    assert "did you mean 'momentum'" in told
    assert "--set seeds=none" in refused("validate", QUICKSTART, "--set", "seeds=none")


def test_plan_prints_json_and_the_resolved_study(tmp_path):
    at = ("--results", tmp_path / "results")
    planned = json.loads(fine("plan", QUICKSTART, "--no-probe", "--json", *at))
    assert (planned["trials"], planned["new"]) == (20, 20)
    again = tmp_path / "again.yaml"
    again.write_text(fine("plan", QUICKSTART, "--resolved"))
    assert "20 trials" in fine("validate", again)
    assert not (tmp_path / "results").exists()


def test_status_prints_text_and_json(results):
    assert "of 12 completed" in fine("status", results)
    assert json.loads(fine("status", results, "--json"))["trials_completed"] == 12


def test_queries_are_read_from_the_command_line_a_file_or_stdin(results, tmp_path):
    sql = "SELECT count(*) AS n FROM trials"
    file = tmp_path / "q.sql"
    file.write_text(sql)
    for given, stdin in ((sql, None), (file, None), ("-", sql)):
        assert fine("query", results, given, "--format", "csv", stdin=stdin) == "n\n12\n"
    assert "a query only reads" in refused("query", results, "DELETE FROM trials")
    assert "did you mean trials" in refused("query", results, "SELECT * FROM trails")
    assert "does not exist" in refused("query", tmp_path / "none", sql)


def test_an_interrupted_query_says_so(results):
    command = [sys.executable, "-m", "orchestrator", "query", str(results)]
    process = subprocess.Popen(
        [*command, "SELECT * FROM range(1000000000000)", "--format", "csv"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "range\n"
        process.send_signal(signal.SIGINT)
        process.stdout.close()
        assert process.stderr.read() == "interrupted\n"
    assert process.returncode == 130


@pytest.mark.parametrize("command", ["status", "report", "export", "compact"])
def test_every_interrupted_command_says_so(results, monkeypatch, command):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ResultsFolder, "open", interrupted)
    done = orchestrator(command, results)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_several_folders_are_queried_as_one(results, tmp_path):
    other = simulate(tmp_path / "other", study=study_content(study="other"), batch_sizes=[16])
    sql = "SELECT study, count(*) AS n FROM trials GROUP BY ALL ORDER BY ALL"
    told = fine("query", results, other, sql, "--format", "csv")
    assert told == "study,n\nother,3\nsimulated,12\n"
    assert "the SQL comes after all folders" in refused("query", results, other)
    assert "given 2 times" in refused("query", results, results, sql)


def test_report_prints_its_path_and_checks_the_claims(results, monkeypatch):
    draw_only(monkeypatch)
    path = Path(fine("report", results).strip())
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    checked = orchestrator("report", results, "--check")
    told = re.findall(
        r"^(holds|fails|unclear)[\w ,]*: (\w+): .+?: (−?\d.+|unknown.*)$",
        checked.stdout,
        re.MULTILINE,
    )
    verdicts = [verdict for verdict, *_ in told]
    assert [claim for _, claim, _ in told] == study_content()["claims"]
    assert all(
        re.fullmatch(r"−?[\d.]+ \[−?[\d.]+, −?[\d.]+\]", number) or verdict == "unclear"
        for verdict, _, number in told
    )
    assert "holds in this grid: margin_is_cheaper: " in checked.stdout
    assert checked.returncode == (0 if set(verdicts) == {"holds"} else 1)


@pytest.mark.slow
def test_several_folders_are_compared(results, tmp_path):
    other = simulate(tmp_path / "other", study=study_content(study="other"), batch_sizes=[16])
    nothing = simulate(tmp_path / "nothing", batch_sizes=[])
    assert fine("report", nothing, other) == f"{tmp_path}/comparison.html\n"
    checked = orchestrator(
        "report", results, other, "--output", tmp_path / "c.html", "--check"
    ).stdout.splitlines()
    assert checked[0] == f"{tmp_path}/c.html"
    folders = [line.partition(": ")[0] for line in checked[1::2]]
    assert folders == [str(results)] * 3 + [str(other)] * 3
    assert "given 2 times" in refused("report", results, results)


def test_export_prints_where_and_what_it_wrote(results, tmp_path, monkeypatch):
    draw_only(monkeypatch, cost_figure)
    told = fine("export", results, "--to", tmp_path, "--figures", "cost,claims", "--formats", "md")
    assert told == f"{tmp_path}\n  cost: md\n  claims: md\n  queries: sql\n"
    assert "did you mean 'cost'" in refused("export", results, "--figures", "costs")
    assert "unknown format 'html'" in refused("export", results, "--formats", "html")
    assert "does not exist" in refused("export", tmp_path / "none")


def test_measure_refuses_wrong_input_before_starting_anything(results, tmp_path):
    assert "did you mean 'margin'" in refused("measure", results, "margn")
    assert "does not exist" in refused("measure", tmp_path / "none", "margin")


def test_audit_needs_snapshots(results, tmp_path):
    assert "no snapshots yet" in refused("audit", results)
    assert "does not exist" in refused("audit", tmp_path / "none")


def test_compact_keeps_every_row(results):
    sql = "SELECT count(*) FROM measures"
    before = fine("query", results, sql)
    fine("compact", results)
    assert fine("query", results, sql) == before


def test_the_printed_schema_is_json():
    assert json.loads(fine("schema"))["title"] == "Study"


def test_reading_commands_load_neither_torch_nor_ray(tmp_path):
    results = simulate(tmp_path / "r", batch_sizes=[64], requests=["norms"], epochs=[1])
    code = (
        "import sys; from orchestrator.cli import app; "
        f"[app(a, standalone_mode=False) for a in (['status', {str(results)!r}], "
        f"['query', {str(results)!r}, 'SELECT 1'], ['report', {str(results)!r}], "
        f"['export', {str(results)!r}, '--formats', 'tex'])]; "
        "print(*(m for m in ('torch', 'ray') if m in sys.modules), 'end')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "end"
