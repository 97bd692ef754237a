"""Runs functions of the explorer in Node, where there is one."""

import json
import shutil
import subprocess
from importlib import resources

import pytest

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="no JavaScript engine (node) is installed")
PAGE = resources.files("orchestrator.reporting.page")

_ESTIMATE = """
function shownOf(view) {
  const selected = select(data, view);
  const found = correlate(statisticsOf(data, view, selected), data.axes);
  return {
    ...found,
    text: estimateText(found),
    left: leftOutText(selected),
    sql: sqlOf(data, view, selected),
    chart: completed(data, view, selected, 700),
  };
}
"""


def evaluate(expression, content=None, **given):
    """The value of an expression over ``data``, the decoded content, and ``given``."""
    scripts = ("explorer_statistics.js", "explorer.js")
    code = "".join(PAGE.joinpath(name).read_text(encoding="utf-8") for name in scripts) + _ESTIMATE
    code += "".join(f"const {name} = {json.dumps(value)};\n" for name, value in given.items())
    code += f"const data = {'decode' if content else ''}({json.dumps(content)});\n"
    code += f"console.log(JSON.stringify({expression}));\n"
    finished = subprocess.run(
        [NODE, "-"], input=code, capture_output=True, encoding="utf-8", check=False, timeout=300
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)
