"""Parts of tables that are written beside measures: whatever is lost of them, `run` makes again."""

import pytest

from orchestrator.results import ResultsFolder, compact, read_study
from tests.cluster.comparison import assert_equal_results
from tests.cluster.conftest import write_study
from tests.cluster.in_process import run_in_process

STUDY = {
    "sweep": {},
    "seeds": 2,
    "measures": [
        "margin_distribution",
        "confidence",
        "singular_values",
        {"input_margin": {"examples": 16}},
    ],
    "measuring": {"examples": 50},
    "claims": [],
}


@pytest.fixture
def check_repair(finished, made_once, tmp_path):
    """Damage a copy of the results, run again, and compare with what nothing befell."""

    def check(damage, measured):
        folder = finished(**STUDY)
        damage(folder)
        path = tmp_path / "study.yaml"
        write_study(path, read_study(ResultsFolder.open(folder)).model_dump(mode="json"))
        summary = run_in_process(path, folder)
        assert summary.trained == 0
        assert (summary.measured > 0) == measured
        assert_equal_results(folder, made_once(**STUDY))

    return check


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def parts(folder, table):
    found = sorted(p for p in (folder / table).glob("*.parquet") if not p.name.startswith("_"))
    assert found
    return found


@pytest.mark.parametrize("table", ["examples", "example_subsets"])
@pytest.mark.parametrize(
    "how",
    [
        "one_damaged",
        *(pytest.param(how, marks=pytest.mark.slow) for how in ("one_gone", "all_damaged")),
    ],
)
def test_lost_examples_and_subsets_are_stored_again(table, how, check_repair):
    def damage(folder):
        lost = parts(folder, table)
        for part in lost if how == "all_damaged" else lost[:1]:
            part.unlink() if how == "one_gone" else flip(part)

    check_repair(damage, measured=False)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["damaged", pytest.param("gone", marks=pytest.mark.slow)])
@pytest.mark.parametrize("compacted", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_lost_curves_are_measured_again(compacted, how, check_repair):
    def damage(folder):
        if compacted:
            compact(ResultsFolder.open(folder))
        part = parts(folder, "curves")[0]
        part.unlink() if how == "gone" else flip(part)

    check_repair(damage, measured=True)


def test_no_data_set_is_loaded_if_nothing_is_lost(check_repair, monkeypatch):
    def fail(options):
        raise AssertionError("a data set was loaded")

    monkeypatch.setattr("orchestrator.cluster.snapshots.lost_examples.load_dataset", fail)
    check_repair(lambda folder: None, measured=False)


def test_a_missing_data_set_leaves_the_loss_in_the_log(check_repair, finished, monkeypatch, caplog):
    from orchestrator.errors import UserError

    def gone(options):
        raise UserError("no such file")

    monkeypatch.setattr("orchestrator.cluster.snapshots.lost_examples.load_dataset", gone)
    with pytest.raises(AssertionError):
        check_repair(lambda folder: parts(folder, "examples")[0].unlink(), measured=False)
    assert "cannot restore lost examples of digits: no such file" in caplog.text
