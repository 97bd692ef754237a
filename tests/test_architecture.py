"""The rooms import one way, heavy libraries stay in theirs, and files stay short."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "orchestrator"
FILES = sorted(PACKAGE.rglob("*.py"))

MAY_IMPORT = {
    "study": set(),
    "data": {"study"},
    "models": {"study"},
    "training": {"study", "data", "models"},
    "measures": {"study", "data", "models", "training"},
    "results": {"study"},
    "statistics": set(),
    "report": {"study", "results", "statistics"},
    "cluster": {"study", "data", "models", "training", "measures", "results"},
}
HEAVY = {
    "ray": {"cluster"},
    "torch": {"data", "models", "training", "measures", "cluster"},
    "altair": {"report"},
    "vl_convert": {"report"},
    "duckdb": {"results"},
    "pyarrow": {"results"},
}


def room_of(path: Path) -> str | None:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else None


def imported_names(path: Path) -> set[str]:
    """Every module imported anywhere in the file, function bodies included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    room = room_of(path)
    if room is None:
        return  # The public face and the command line stand above all rooms.
    for name in imported_names(path):
        parts = name.split(".")
        if parts[0] == "orchestrator" and len(parts) > 1 and parts[1] in MAY_IMPORT:
            assert parts[1] == room or parts[1] in MAY_IMPORT[room], f"{room} imports {name}"
        elif parts[0] in HEAVY:
            assert room in HEAVY[parts[0]], f"{room} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_is_over_400_lines(path):
    assert len(path.read_text().splitlines()) <= 400


# What can turn the content of a file into code, and the one file that may name it.
RUNS_CODE = {
    "pickle": "data/array_pickle.py",
    "pickletools": "data/array_pickle.py",
    "ruamel.yaml.YAML": "study/yaml_text.py study/study_file.py",  # reads; only writes
    "yaml": "",
    "marshal": "",
    "shelve": "",
    "dill": "",
    "cloudpickle": "",
    "joblib": "",
    "runpy": "",
    "code": "",
    "numpy.load": "data/npz.py",  # with allow_pickle=False
    "importlib.import_module": "study/import_path.py",
}
FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__", "breakpoint"),
    *("torch.load", "torch.jit.load", "torch.hub.load", "pickle.loads", "pickle.load"),
    *("os.system", "os.popen", "extractall", "unpack_archive"),
}


def called(node):
    """``a.b.c`` of a call; ``.c`` if that is looked up in something computed."""
    parts = []
    target = node.func
    while isinstance(target, ast.Attribute):
        parts.append(target.attr)
        target = target.value
    parts.append(target.id if isinstance(target, ast.Name) else "")
    return ".".join(reversed(parts))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_can_bring_code_with_it(path):
    own = str(path.relative_to(PACKAGE))
    for name in imported_names(path):
        for forbidden, allowed in RUNS_CODE.items():
            if name == forbidden or name.startswith(forbidden + "."):
                assert own in allowed.split(), f"{own} imports {name}"
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = called(node)
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        assert name not in FORBIDDEN_CALLS, f"{own} calls {name}"
        assert name.rpartition(".")[2] not in {"extractall", "unpack_archive"}
        assert "shell" not in given, f"{own} starts a shell"
        if name in {"np.load", "numpy.load"}:
            assert ast.unparse(given["allow_pickle"]) == "False"
            assert own in RUNS_CODE["numpy.load"]
        if name.endswith("import_module"):
            assert own == "study/import_path.py" or isinstance(node.args[0], ast.Constant)


# What parses Parquet, and the files that may: after the checksum, or what is no part.
READS_PARQUET = {"ParquetFile", "read_table", "read_schema", "read_metadata"}
READERS = {"results/parts.py", "results/schema_files.py", "results/folder.py"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_parts_are_opened_in_one_place(path):
    own = str(path.relative_to(PACKAGE))
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    reads = READS_PARQUET & {called(node).rpartition(".")[2] for node in calls}
    assert not reads or own in READERS, f"{own} calls {reads}"
    if "read_parquet(" in path.read_text():
        assert own in {"results/tables.py", "results/compaction.py"}


@pytest.mark.parametrize(
    "modules",
    [
        "orchestrator.study.study_file",
        "orchestrator.study.trials",
        "orchestrator.results",
        "orchestrator.statistics",
        "orchestrator.report",
        "orchestrator.report.export",
        "orchestrator.cli",
    ],
)
def test_light_rooms_start_without_torch_and_ray(modules):
    code = f"import sys, {modules}; print(sorted({{'torch', 'ray'}} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
