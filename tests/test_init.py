"""The public face as a notebook uses it."""

import subprocess
import sys

import pytest

import orchestrator
from tests.reporting.simulated import simulate


@pytest.mark.parametrize("name", orchestrator.__all__)
def test_every_public_name_is_callable_and_documented(name):
    assert callable(getattr(orchestrator, name))
    assert getattr(orchestrator, name).__doc__


@pytest.mark.slow
def test_reports_and_exports_need_neither_torch_nor_ray(tmp_path):
    # Without rows, so without drawings: tests/test_cli.py looks for torch where some are made.
    results = str(simulate(tmp_path / "r", batch_sizes=[]))
    code = (
        "import orchestrator, sys\n"
        f"for _ in range(2): print(orchestrator.report({results!r}))\n"
        f"orchestrator.export({results!r}, {results!r} + '/paper', formats=['csv'])\n"
        f"print(orchestrator.report({results!r}, output={results!r} + '/other.html'))\n"
        "assert not {'torch', 'ray'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        *[f"{results}/report.html"] * 2,
        f"{results}/other.html",
    ]
