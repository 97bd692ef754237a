"""The worked examples of docs/extending.md, written into a copy of the package, pass their tests.

The first line of a code block names its file; ``(append)`` adds the block to an existing one. A new
section needs no change here.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "extending.md"
BLOCK = re.compile(
    r"^```\w+\n(?:#|--) (?P<path>\S+)(?P<append> \(append\))?\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def test_every_example_passes_its_test(tmp_path):
    shutil.copytree(ROOT / "orchestrator", tmp_path / "orchestrator")
    (tmp_path / "tests").mkdir()
    for name in ("pyproject.toml", "tests/__init__.py", "tests/tiny_study.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    tests = []
    for path, append, text in BLOCK.findall(PAGE.read_text("utf-8")):
        file = tmp_path / path
        assert file.exists() == bool(append), path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(text)
        tests += [path] if file.name.startswith("test_") else []
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *tests],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert tests
