"""Reading a study file: YAML 1.2, ``--set``, and errors with their locations."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML

from orchestrator.errors import Problem, StudyFileError
from orchestrator.study.mended import all_problems
from orchestrator.study.overrides import apply_override
from orchestrator.study.problems import Source, in_order
from orchestrator.study.resource_check import check_resources
from orchestrator.study.spec import Study
from orchestrator.study.sweep_check import check_axes, check_sweep
from orchestrator.study.yaml_nodes import plain
from orchestrator.study.yaml_text import YamlTextError, read_yaml

MOST_BYTES = 1 << 17  # Reading takes some seconds per 100 KB.


def load_study(path: str | Path, overrides: Sequence[str] = ()) -> Study:
    """Read and check a study file, except for the SQL of its claims.

    Args:
        path: The YAML file.
        overrides: ``path=value`` texts, applied before checking, as ``--set`` does.

    Raises:
        StudyFileError: If the file is invalid; lists every problem with its location.
    """
    return read_study_file(path, overrides)[1]


@dataclass(frozen=True)
class Examined:
    """A study file that has been checked, except for the SQL of its claims.

    Attributes:
        source: The file, with all locations.
        study: The study; if there are problems, as it was probably meant, or None if that is
            unclear or its sweep is invalid.
        problems: Every problem, in the order of the file.
    """

    source: Source
    study: Study | None
    problems: list[Problem]


def read_study_file(path: str | Path, overrides: Sequence[str] = ()) -> tuple[Source, Study]:
    """Read a study as :func:`load_study` does, and return its source with all locations."""
    examined = examine(path, overrides)
    if examined.study is None or examined.problems:
        raise StudyFileError(examined.problems)
    return examined.source, examined.study


def examine(path: str | Path, overrides: Sequence[str] = ()) -> Examined:
    """Read and check a study file, and collect its problems.

    Args:
        path: The YAML file.
        overrides: ``path=value`` texts, applied before checking, as ``--set`` does.

    Raises:
        StudyFileError: If the file is no mapping in YAML, or an override leads nowhere.
    """
    text = _read(Path(path))
    tree = _parse(text, str(path))
    source = Source(str(path), text, tree)
    for override in overrides:
        apply_override(source, override)
    content = plain(tree)
    try:
        study = Study.model_validate(content)
    except ValidationError as error:
        problems, meant = all_problems(source, content, error)
        axes = check_axes(source, meant) if meant is not None else []
        return Examined(source, None if axes else meant, in_order(problems + axes))
    problems = check_sweep(source, study) or check_resources(source, study)
    return Examined(source, None if problems else study, in_order(problems))


def resolved_yaml(study: Study) -> str:
    """Return the study as YAML, with every default spelled out."""
    stream = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.dump(study.model_dump(mode="json"), stream)
    return stream.getvalue()


def _read(path: Path) -> str:
    def refuse(what: str, hint: str | None = None) -> StudyFileError:
        return StudyFileError([Problem(f"{path}:1:1", "", what, hint, code="file")])

    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except IsADirectoryError:
        raise refuse(*_folder_instead(path)) from None
    except FileNotFoundError:
        raise refuse("no such file", f"the working directory is {Path.cwd()}") from None
    except (OSError, ValueError) as error:
        raise refuse(f"cannot be read: {error}") from None
    if len(content) > MOST_BYTES:
        raise refuse(f"is larger than {MOST_BYTES} bytes, the limit for study files")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        problem = Problem(f"{path}:{line}:1", "", "is not UTF-8 text", code="file")
        raise StudyFileError([problem]) from None


def _folder_instead(path: Path) -> tuple[str, str]:
    if (path / "study.resolved.json").is_file():
        again = f"run {path / 'study.yaml'} --results {path}"
        return "is a results folder, expected a study file", f"to resume it: {again}"
    files = sorted(path.glob("*.yaml"))
    named = f", such as {files[0]}" if files else " in YAML; `orchestrator schema` lists its keys"
    return "is a folder, expected a study file", f"name a study file{named}"


def _parse(text: str, name: str) -> Any:
    try:
        tree = read_yaml(text)
    except YamlTextError as error:
        line, column = error.place
        lines = text.splitlines()
        source = lines[line] if line < len(lines) else None
        where = f"{name}:{line + 1}:{column + 1}"
        problem = Problem(where, "", error.what, error.hint, source, column + 1, code="yaml")
        raise StudyFileError([problem]) from None
    if not hasattr(tree, "lc") or not hasattr(tree, "keys"):
        kind = "empty" if tree is None else f"a {type(plain(tree)).__name__}"
        hint = "start with `study: my_study`; `orchestrator schema` lists every key"
        what = f"is {kind}, expected a mapping"
        problem = Problem(f"{name}:1:1", "", what, hint, code="wrong-type")
        raise StudyFileError([problem])
    return tree
