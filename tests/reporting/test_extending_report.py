"""The examples of docs/extending_report.md work as they stand."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n# (\S+)(?: \(in (\w+)\))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REPORT = """
import sys
from pathlib import Path

import pytest

from orchestrator.reporting import write_report
from tests.reporting.simulated import simulate, study_content

study = study_content(claims=["margin_grows_with_norm"])
write_report(simulate(Path("results"), study=study), "report.html")
sys.exit(pytest.main(["-q", "-n0", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def test_the_examples_are_on_a_page_and_pass_their_tests(tmp_path):
    for folder in ("orchestrator", "tests/reporting", "tests/statistics/claims"):
        ignored = shutil.ignore_patterns("__pycache__", "test_*.py")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file in ("tests/__init__.py", "tests/statistics/__init__.py"):
        shutil.copy(ROOT / file, tmp_path / file)
    tests = []
    for path, inside, code in BLOCK.findall((ROOT / "docs/extending_report.md").read_text("utf-8")):
        file = tmp_path / path
        text = code
        if inside:
            before = file.read_text("utf-8")
            assert before.count(f"\n{inside} = {{\n") == 1
            text = before.replace(f"\n{inside} = {{\n", f"\n{inside} = {{\n{code}")
        else:
            assert not file.exists()
            tests += [path] if path.startswith("tests/") else []
        file.write_text(text, "utf-8")
    result = subprocess.run(
        [sys.executable, "-c", REPORT, *tests],
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "Test loss against the norm of the weights</h3>" in page
    assert 'id="specification-loss-vs-norm"' in page
    assert "12 final networks. Kendall’s τ_b of norm and loss is " in page
    assert "<dt>Norm of the weights</dt>" in page
    assert "Whether margins grow with the weights remains unclear: τ = 1.000" in page
    assert '<section class="claim" id="claim-margin_grows_with_norm">' in page
    assert "Unclear:</strong> Margins grow with the weights, τ = 1.00" in page
