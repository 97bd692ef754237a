import pytest

from orchestrator.reporting import watch_report
from orchestrator.reporting.page import watch
from orchestrator.results import ResultsFolder, compact, write_part
from tests.reporting.simulated import draw_only, simulate


@pytest.fixture
def begun(tmp_path):
    """A study whose last trial has only begun, and the rows that it will write."""
    later = {}

    def hold_back(rows):
        trial = rows["trials"][-1]
        for table in ("checkpoints", "measures"):
            later[table] = [row for row in rows[table] if row["trial_id"] == trial["trial_id"]]
            rows[table] = [row for row in rows[table] if row["trial_id"] != trial["trial_id"]]
        later["trials"] = [dict(trial)]
        rows["trials"][-1] |= {"status": "running", "stop_reason": None}

    path = simulate(tmp_path / "r", batch_sizes=[16, 64], seeds=2, change=hold_back)
    return path, later


def write_later(path, later):
    folder = ResultsFolder.open(path)
    for table, rows in later.items():
        write_part(folder, table, rows, "later")


class Slept(list[float]):
    """Seconds that the watch slept; what is in ``then`` happens at that number of sleeps."""

    def __init__(self):
        super().__init__()
        self.then = {}

    def __call__(self, seconds):
        self.append(seconds)
        assert len(self) < 20
        self.then.get(len(self), lambda: None)()


@pytest.fixture
def slept(monkeypatch):
    found = Slept()
    draw_only(monkeypatch)
    monkeypatch.setattr(watch.time, "sleep", found)
    return found


def test_the_report_is_written_again_only_when_results_arrive(begun, slept):
    path, later = begun
    pages = []
    slept.then = {4: lambda: write_later(path, later)}
    watch_report(path, tell=lambda line: pages.append((line, (path / "report.html").read_text())))
    (first, unfinished), (last, finished) = pages
    assert "3 of 4 trials are completed" in first
    assert last.endswith(f"{path / 'report.html'}: the study is finished")
    assert "data-watched>This study is not finished: 3 of 4" in unfinished
    assert '<p class="banner"' not in finished
    assert len(slept) == 4
    assert min(slept) >= watch.REST


def test_slow_reports_are_written_less_often(begun, slept, monkeypatch):
    path, later = begun
    clock = iter(range(0, 10_000, 100))
    monkeypatch.setattr(watch.time, "monotonic", lambda: next(clock))
    slept.then = {1: lambda: write_later(path, later)}
    watch_report(path, tell=lambda _: None)
    assert slept == [900]


def test_compacted_results_are_read_again(begun, slept):
    path, later = begun
    told = []
    trials = {"trials": later.pop("trials")}
    slept.then = {
        1: lambda: write_later(path, later),
        2: lambda: compact(path),
        3: lambda: write_later(path, trials),
    }
    watch_report(path, tell=told.append)
    assert [line.endswith("finished") for line in told] == [False, False, False, True]


def test_a_finished_study_is_reported_once(tmp_path, slept):
    told = []
    watch_report(simulate(tmp_path / "r"), tmp_path / "own.html", tell=told.append)
    assert (len(told), slept) == (1, [])
    assert "data-watched" not in (tmp_path / "own.html").read_text().partition("<script")[0]
