"""Every file of finished results deleted, cut off, changed, emptied: mended, or told how to be."""

import shutil
import zlib
from pathlib import Path

import pytest

from orchestrator.errors import OrchestratorError
from orchestrator.reporting import check_claims
from orchestrator.results import compact, connect, study_status
from orchestrator.results.table_schemas import KEYS, TABLES
from tests.cluster.conftest import TWO_TRIALS
from tests.cluster.in_process import run_in_process

STUDY = {**TWO_TRIALS, "seeds": 1, "measures": ["margin_distribution"], "checkpoints": {}}
FOREIGN = ("._x.parquet", ".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt", "x (copy).parquet")


def deleted(path):
    path.unlink()


def halved(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path):
    content = bytearray(path.read_bytes() or b"\0")
    bit = zlib.crc32(path.name.encode()) % (8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def emptied(path):
    path.write_bytes(b"")


DAMAGES = (deleted, halved, flipped, emptied)


@pytest.fixture
def finished(made_once):
    return made_once(**STUDY)


def rows(folder):
    """The facts of each table: its keys."""
    with connect(folder) as database:
        return {
            table: sorted(database.sql(f"SELECT {', '.join(keys.key)} FROM {table}").fetchall())
            for table, keys in KEYS.items()
        }


def tried(command):
    """None if the command did what it is for, else the error, which says how to mend it."""
    try:
        command()
    except OrchestratorError as error:
        assert error.hint, f"{command} says not how to mend: {error}"
        return error
    return None


def errors_of_reading(folder):
    yield tried(lambda: study_status(folder))
    yield tried(lambda: connect(folder).close())
    yield tried(lambda: check_claims(folder))


def follow(error, folder):
    """Do what a hint says to do by hand."""
    hint = error.hint
    path = Path(error.message.partition(":")[0])
    if "delete it" in hint or "move it away" in hint:
        path.unlink()
    else:
        assert "run the study again" in hint, error


def repair(study, folder):
    for _ in range(3):
        error = tried(lambda: run_in_process(study, folder))
        if error is None:
            return
        follow(error, folder)
    raise AssertionError(f"the hints lead nowhere: {error}")


def files_of(folder):
    return sorted(
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] != "tune"
    )


def check(damage, file, finished, study, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "results")
    before = rows(folder)
    damage(folder / file)
    list(errors_of_reading(folder))
    if tried(lambda: compact(folder)) is None and all(e is None for e in errors_of_reading(folder)):
        missing = {t: n for t, n in rows(folder).items() if n != before[t]}
        lost = damage is deleted and file.suffix == ".parquet" and not file.name.startswith("_")
        assert not missing or lost, f"{missing} of {file} lost in silence"
    repair(study, folder)
    after = rows(folder)
    if file.parts[0] == "trust_checks" and damage is deleted:  # As if there had never been any.
        after["trust_checks"] = before["trust_checks"]
    assert after == before
    assert not any(errors_of_reading(folder))


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_one_file_of_each_kind_is_repaired(damage, finished, small_study, tmp_path):
    """One of each kind; which, differs from damage to damage."""
    files = files_of(finished)
    kinds = {}
    for file in files[zlib.crc32(damage.__name__.encode()) % len(files) :] + files:
        kinds.setdefault((file.suffix, file.name.startswith("_")), file)
    chosen = sorted(kinds.values())[DAMAGES.index(damage) :: len(DAMAGES)]
    for number, file in enumerate(chosen):
        check(damage, file, finished, small_study(**STUDY), tmp_path / str(number))


@pytest.mark.full
@pytest.mark.timeout(0)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_any_file_is_repaired(damage, finished, small_study, tmp_path):
    wrong = {}
    for number, file in enumerate(files_of(finished)):
        try:
            check(damage, file, finished, small_study(**STUDY), tmp_path / str(number))
        except Exception as error:
            wrong[str(file)] = error
        shutil.rmtree(tmp_path / str(number))
    assert wrong == {}


def test_foreign_files_in_a_folder_are_harmless(finished, small_study, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "results")
    before = rows(folder)
    for place in (".", "trials", "measures", "snapshots", "resume"):
        for name in FOREIGN:
            (folder / place / name).write_bytes(b"\0\1")
    list(errors_of_reading(folder))
    tried(lambda: compact(folder))
    repair(small_study(**STUDY), folder)
    assert rows(folder) == before
    assert not any(errors_of_reading(folder))


def test_lost_schemas_and_a_lost_study_are_restored(finished, small_study, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "results")
    before = rows(folder)
    for path in [*folder.glob("*/_schema.parquet"), folder / "study.resolved.json"]:
        path.unlink()
    repair(small_study(**STUDY), folder)
    assert rows(folder) == before
    assert not run_in_process(small_study(**STUDY), folder).trained


@pytest.mark.slow
def test_a_run_killed_in_its_first_second_resumes(finished, small_study, tmp_path):
    """Each state of the first second: files appear in the order in which they are written."""
    study = small_study(**STUDY)
    tables = [f"{table}/_schema.parquet" for table in TABLES]
    item = ["study.resolved.json", "study.yaml", "snapshots", "resume", "tune", *tables]
    for count in (1, 6, len(item) - 1):
        folder = tmp_path / str(count)
        folder.mkdir()
        for name in item[:count]:
            (folder / name).parent.mkdir(exist_ok=True)
            if (finished / name).is_dir():
                (folder / name).mkdir()
            else:
                shutil.copy(finished / name, folder / name)
        list(errors_of_reading(folder))
        assert run_in_process(study, folder).complete
        assert rows(folder) == rows(finished)
