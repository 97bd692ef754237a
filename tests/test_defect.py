"""Defects of this package, and output that cannot be written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.defect import defect_text

QUICKSTART = Path(__file__).parents[1] / "studies" / "quickstart.yaml"


def validate(stdout=subprocess.PIPE, **environment):
    """In a process of its own: what is tested is how the interpreter starts and ends."""
    return subprocess.run(
        [sys.executable, "-m", "orchestrator", "validate", str(QUICKSTART)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
        env=os.environ | environment,
    )


def test_without_utf_8_lookalikes_are_printed():
    done = validate(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"20 trials (20 conditions x 1 seed)" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_the_output_is_exit_code_3():
    with Path("/dev/full").open("wb") as full:
        done = validate(stdout=full)
    assert done.returncode == 3
    assert done.stderr == (
        b"error[storage]: the output cannot be written: No space left on device\n"
    )


def test_a_defect_saves_its_traceback_and_names_the_file():
    code = (
        "import sys; from orchestrator import cli, __main__\n"
        "sys.argv = ['orchestrator', 'schema']\n"
        "def broken(**_): return {}['secret']\n"
        "cli.app = broken; __main__.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 70
    first, place, _, file = done.stderr.splitlines()
    assert first == "error[defect]: KeyError: 'secret'"
    assert place == " --> <string>:3 in broken"
    saved = Path(file.strip())
    assert "Traceback (most recent call last)" in saved.read_text("utf-8")
    saved.unlink()


def test_a_traceback_that_cannot_be_saved_is_printed(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    try:
        raise ValueError("no")
    except ValueError as error:
        text = defect_text(error)
    assert text.startswith("error[defect]: ")
    assert "Traceback (most recent call last)" in text
