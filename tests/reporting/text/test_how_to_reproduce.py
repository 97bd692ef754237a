from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.text import how_to_reproduce as provenance
from orchestrator.reporting.text.how_to_reproduce import collect_report_provenance
from tests.reporting.simulated import simulate

RUN = {
    "started_at": "2026-11-01T12:00:00+00:00",
    "command": ["/somewhere/orchestrator/__main__.py", "run", "my study.yaml"],
    "overrides": ["seeds=5"],
    "git": {"commit": "c0ffee" * 6, "branch": "main", "dirty": True, "diff_sha256": "d1ff"},
    "package_git": None,
    "versions": {"python": "3.11.9", "torch": "2.13.0", "ray": None},
    "hardware": {
        "cpu": "Some CPU",
        "usable_cores": 2,
        "memory_bytes": 8 * 2**30,
        "gpus": ["Some GPU"],
        "platform": "Linux",
    },
}


def collect(path):
    with open_source(path) as source:
        return collect_report_provenance(source)


def test_the_origin_of_the_results_is_stated(tmp_path):
    found = collect(simulate(tmp_path / "r", provenance=RUN, batch_sizes=[64]))
    items = dict(found.items)
    assert found.command == "python -m orchestrator run 'my study.yaml'"
    assert items["Code"].startswith("commit c0ffee")
    assert items["Code"].endswith("on main, with uncommitted changes (sha256 d1ff)")
    assert "Orchestrator’s code" not in items
    assert items["Overrides"] == "seeds=5"
    assert items["Seeds"] == "0, 1, 2"
    assert items["Versions"] == "python 3.11.9, torch 2.13.0"
    assert items["Hardware"] == "Some CPU, 2 usable cores; 8 GiB of memory; Some GPU; Linux"
    assert items["Data"] == f"mnist1d, content hash {'ab' * 32} (3 trials)"
    assert found.machines.rows[0][:2] == ("laptop", "cpu")
    assert found.runs.rows[0][2:] == ("c0ffeec0ffee", "yes")


def test_a_clean_commit_and_a_missing_repository_are_stated(tmp_path):
    clean = RUN | {"git": None, "package_git": {"commit": "abc", "branch": "", "dirty": False}}
    items = dict(collect(simulate(tmp_path / "r", provenance=clean, batch_sizes=[])).items)
    assert items["Code"] == "the working directory is not in a repository"
    assert items["Orchestrator’s code"] == "commit abc, no uncommitted changes"
    assert items["Data"] == "none yet"


def test_a_long_diff_is_truncated(tmp_path, monkeypatch):
    path = simulate(tmp_path / "r", batch_sizes=[])
    (path / "code.diff").write_text("+" * 50)
    monkeypatch.setattr(provenance, "MOST_DIFF", 20)
    diff = collect(path).diff
    assert diff.startswith("+" * 20 + "\n")
    assert "50 characters" in diff
