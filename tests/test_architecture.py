"""The rooms import one way, heavy libraries stay in theirs, and files stay short.

Each test lists every offender, as ``file: what is wrong``.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "orchestrator"
TESTS = Path(__file__).parent
FILES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))

MAY_IMPORT = {
    "study": set(),
    "data": {"study"},
    "models": {"study"},
    "training": {"study", "data", "models"},
    "measures": {"study", "data", "models", "training"},
    "results": {"study"},
    "statistics": set(),
    "reporting": {"study", "results", "statistics"},
    "screens": {"study", "results", "reporting", "statistics"},
    "cluster": {"study", "data", "models", "training", "measures", "results"},
}
HEAVY = {
    "ray": {"cluster"},
    "torch": {"data", "models", "training", "measures", "cluster"},
    "altair": {"reporting"},
    "vl_convert": {"reporting"},
    "duckdb": {"results"},
    "pyarrow": {"results"},
}


@cache
def text_of(file: str) -> str:
    return (PACKAGE / file).read_text()


@cache
def nodes_of(file: str) -> tuple[ast.AST, ...]:
    """Every node of the file, function bodies included."""
    return tuple(ast.walk(ast.parse(text_of(file), file)))


@cache
def imported_names(file: str) -> frozenset[str]:
    """Every module imported anywhere in the file."""
    names: set[str] = set()
    for node in nodes_of(file):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def room_of(file: str) -> str | None:
    parts = Path(file).parts
    return parts[0] if len(parts) > 1 else None


def test_every_room_has_import_rules():
    rooms = {room_of(file) for file in FILES} - {None}
    assert rooms == set(MAY_IMPORT)


def test_no_import_is_relative():
    assert [
        f"{file}:{node.lineno}: relative import"
        for file in FILES
        for node in nodes_of(file)
        if isinstance(node, ast.ImportFrom) and node.level
    ] == []


def wrong_imports(file: str) -> Iterator[str]:
    room = room_of(file)
    if room is None:
        return  # The public face and the command line stand above all rooms.
    for name in sorted(imported_names(file)):
        parts = name.split(".")
        if parts[0] == "orchestrator" and len(parts) > 1 and parts[1] in MAY_IMPORT:
            if parts[1] != room and parts[1] not in MAY_IMPORT[room]:
                yield f"{file}: {room} imports {name}"
        elif parts[0] in HEAVY and room not in HEAVY[parts[0]]:
            yield f"{file}: {room} imports {name}"


def test_imports_go_one_way():
    assert [offender for file in FILES for offender in wrong_imports(file)] == []


def imports_of(file: str) -> set[str]:
    """The files of the package that a file imports, also for type checking only."""
    found = set()
    for name in imported_names(file):
        if not name.startswith("orchestrator."):
            continue
        path = name.removeprefix("orchestrator.").replace(".", "/")
        module = {f"{path}.py", f"{path}/__init__.py"} & set(FILES)
        owner = path.rpartition("/")[0]
        found |= module or {f"{owner}.py", f"{owner}/__init__.py"} & set(FILES)
    return found - {file}


def test_no_file_imports_itself_indirectly():
    """Sorted by what they import, all files come out: a circle never would."""
    left = {file: imports_of(file) for file in FILES}
    while free := [file for file, imported in left.items() if not imported & left.keys()]:
        for file in free:
            del left[file]
    assert left == {}


def test_no_room_imports_the_public_interface():
    assert [
        file
        for file in FILES
        if room_of(file) is not None
        for node in nodes_of(file)
        if (isinstance(node, ast.Import) and any(one.name == "orchestrator" for one in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "orchestrator")
    ] == []


def test_no_room_is_named_like_a_library():
    """Where a room lies on the path of a process, its name would hide the library."""
    rooms = {part for file in FILES for part in Path(file).parts[:-1]}
    assert rooms & HEAVY.keys() == set()


def test_no_file_is_over_400_lines():
    lines = {file: len(text_of(file).splitlines()) for file in FILES}
    assert {file: count for file, count in lines.items() if count > 400} == {}


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
    # Users' own parts; files of this package.
    "importlib.import_module": "study/import_path.py measures/build.py registry.py",
}
FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__", "breakpoint"),
    *("torch.load", "torch.jit.load", "torch.hub.load", "pickle.loads", "pickle.load"),
    *("os.system", "os.popen", "extractall", "unpack_archive"),
}


def called(node: ast.Call) -> str:
    """``a.b.c`` of a call; ``.c`` if that is looked up in something computed."""
    parts = []
    target = node.func
    while isinstance(target, ast.Attribute):
        parts.append(target.attr)
        target = target.value
    parts.append(target.id if isinstance(target, ast.Name) else "")
    return ".".join(reversed(parts))


def imports_that_run_code(file: str) -> Iterator[str]:
    for name in sorted(imported_names(file)):
        for forbidden, allowed in RUNS_CODE.items():
            named = name == forbidden or name.startswith(forbidden + ".")
            if named and file not in allowed.split():
                yield f"{file}: imports {name}"


def calls_that_run_code(file: str) -> Iterator[str]:
    for node in nodes_of(file):
        if not isinstance(node, ast.Call):
            continue
        name, place = called(node), f"{file}:{node.lineno}"
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        last = name.rpartition(".")[2]
        if name in FORBIDDEN_CALLS or last in {"extractall", "unpack_archive"}:
            yield f"{place}: calls {name}"
        if "shell" in given:
            yield f"{place}: starts a shell"
        if name in {"np.load", "numpy.load"}:
            allowed = given.get("allow_pickle")
            if allowed is None or ast.unparse(allowed) != "False":
                yield f"{place}: reads arrays without allow_pickle=False"
            if file not in RUNS_CODE["numpy.load"].split():
                yield f"{place}: calls {name}"
        if name.endswith("import_module"):
            constant = bool(node.args) and isinstance(node.args[0], ast.Constant)
            if file not in RUNS_CODE["importlib.import_module"].split() and not constant:
                yield f"{place}: imports by a computed name"


def test_no_file_runs_code_from_data():
    assert [
        offender
        for file in FILES
        for offenders in (imports_that_run_code, calls_that_run_code)
        for offender in offenders(file)
    ] == []


# What parses Parquet, and the files that may: after the checksum, or what is no part.
READS_PARQUET = {"ParquetFile", "read_table", "read_schema", "read_metadata"}
READERS = {f"results/folder/{name}.py" for name in ("parts", "schema_files", "results_folder")}
READS_BY_SQL = {"results/database/table_views.py", "results/database/compaction.py"}


def reads_of_parts(file: str) -> Iterator[str]:
    calls = {
        called(node).rpartition(".")[2] for node in nodes_of(file) if isinstance(node, ast.Call)
    }
    if file not in READERS:
        yield from (f"{file}: calls {name}" for name in sorted(READS_PARQUET & calls))
    if "read_parquet(" in (PACKAGE / file).read_text() and file not in READS_BY_SQL:
        yield f"{file}: reads parts by SQL"


def test_parts_are_opened_in_one_place():
    assert [offender for file in FILES for offender in reads_of_parts(file)] == []


# As SQL is written here; a sentence about SQL has none of these.
SQL = re.compile(
    r"SELECT\s.*\bFROM\s|\bFROM \w+ (JOIN|SEMI|ANTI|WHERE)\b|\b(GROUP|ORDER|PARTITION) BY\s"
    r"|\b(CREATE|COPY|UNION ALL|QUALIFY|CASE WHEN)\b",
    re.DOTALL,
)


def glued_sql(file: str) -> Iterator[str]:
    """SQL of several lines that is not one string in triple quotes."""
    texts = [node for node in nodes_of(file) if isinstance(node, ast.JoinedStr)]
    inside = {id(part) for node in texts for part in node.values}
    texts += [
        node
        for node in nodes_of(file)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside
    ]
    lines = text_of(file).encode().splitlines()
    for node in texts:
        start = lines[node.lineno - 1][node.col_offset :]
        content = ast.unparse(node)
        several = node.end_lineno != node.lineno or "\\n" in content
        if several and not start.lstrip(b"frFR").startswith(b'"""') and SQL.search(content):
            yield f"{file}:{node.lineno}: {start.decode()}"


def test_sql_of_several_lines_is_in_triple_quotes():
    assert [offender for file in FILES for offender in glued_sql(file)] == []


def unordered_averages(text: str) -> Iterator[str]:
    """Averages in SQL whose rounding depends on the threads: those without ORDER BY."""
    for found in re.finditer(r"\b(avg|stddev_samp)\(", text):
        depth, end = 1, found.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        if "ORDER BY" not in text[found.start() : end]:
            yield text[found.start() : end]


def test_averages_in_sql_add_in_one_order():
    files = [*PACKAGE.rglob("*/**/*.py"), *PACKAGE.rglob("*.sql")]
    texts = {str(file): list(unordered_averages(file.read_text("utf-8"))) for file in files}
    assert {file: found for file, found in texts.items() if found} == {}
    assert list(unordered_averages("avg(a + (b)), avg(a ORDER BY a)")) == ["avg(a + (b))"]


# Private names of other libraries that tests need: there is no public way to what they give.
FOREIGN_PRIVATE = {
    "_forward_hooks": "whether a module's hooks were removed",
    "_forward_pre_hooks": "the same",
    "_python_dispatch": "the mode that sees every operation, of the pretended device",
    "_pytree": "tensors inside arguments, for the same",
    "_to_copy": "an operation, named by ATen",
    "_index_put_impl_": "the same",
    "_make_wrapper_subclass": "the only way to a tensor of a pretended device",
    "_private": "what Ray was started with, and its checks of cluster files",
    "_internal": "what Ray Tune hands a trial",
    "_derive_autoscaling_config_from_ray_cr": "what KubeRay's autoscaler reads",
    "_bound": "the arguments of a placement group factory",
    "_local_tuner": "what Ray Tune pickles",
    "_started_actors": "the processes that Ray Tune may use again",
    "_BatchNorm": "the base of all batch normalization of PyTorch",
    "_symbolic_trace": "whether torch.fx traces",
    "_C": "what PyTorch keeps per process and shows nowhere else: modes, hooks of saved tensors",
    "_autograd": "the same",
    "_top_saved_tensors_default_hooks": "the same",
    "_len_torch_function_stack": "the same",
}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in FOREIGN_PRIVATE


def private_names(path: Path) -> Iterator[str]:
    """Imported, looked up in anything but ``self``, or patched by their name."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
            names = [] if own else [node.attr]
        elif isinstance(node, ast.Call) and called(node).endswith("setattr"):
            texts = [one.value for one in node.args[:2] if isinstance(one, ast.Constant)]
            names = [name for text in texts for name in str(text).split(".")]
        for name in names:
            if is_private(name):
                yield f"{path.relative_to(TESTS)}:{node.lineno}: {name}"


def test_tests_use_public_names():
    assert [
        offender for path in sorted(TESTS.rglob("*.py")) for offender in private_names(path)
    ] == []


LIGHT = (
    "orchestrator.study.study_file",
    "orchestrator.study.trials",
    "orchestrator.results",
    "orchestrator.statistics",
    "orchestrator.reporting",
    "orchestrator.reporting.export",
    "orchestrator.cli",
)


def test_light_rooms_start_without_torch_and_ray():
    """One after the other in one process: the first that brings one of the two is to blame."""
    code = (
        "import importlib, json, sys\n"
        "heavy = {}\n"
        f"for name in {LIGHT!r}:\n"
        "    importlib.import_module(name)\n"
        "    heavy[name] = sorted({'torch', 'ray'} & set(sys.modules))\n"
        "print(json.dumps(heavy))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert json.loads(result.stdout) == {name: [] for name in LIGHT}
