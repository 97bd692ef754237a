"""The results folder of one study: where everything is, and whose it is."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.errors import ResultsError
from orchestrator.results.folder.parts import identity_of, undamaged_parts
from orchestrator.results.folder.place import Place
from orchestrator.results.folder.provenance import archive_diff, record_run
from orchestrator.results.folder.schema_files import SCHEMA_FILE as SCHEMA_FILE
from orchestrator.results.folder.schema_files import SchemaFiles
from orchestrator.results.folder.stored_json import read_json, sealed_json
from orchestrator.results.store.atomic import write_atomically
from orchestrator.results.store.lease import StoreLease
from orchestrator.results.store.lock import FolderLock
from orchestrator.results.store.mirror import Mirror
from orchestrator.results.store.store_path import Location, StorePath, locate
from orchestrator.results.table_schemas import (
    ADDED_TABLES,
    TABLES,
    merge_swept,
    swept_columns_of,
    table_schema,
)

RESOLVED = "study.resolved.json"
MEND_STUDY = (
    "restore it from a copy; if there is none, move it away and run the study again with the same "
    "file and --set options, which writes it anew"
)


class ResultsFolder:
    """Paths of a results folder, and its tables' schemas.

    The constructor looks at nothing; :meth:`create` and :meth:`open` check the folder.

    Args:
        path: The folder, or its address on an object store; see :func:`locate`. Its name is
            usually that of the study.

    Attributes:
        path: Absolute path, symbolic links resolved.
        lock: ``with folder.lock():`` keeps every other process from running on the folder.
        mirror: Keeps copies of what lies on an object store; None for a folder on a disk.
        here: Where tables are read on this machine: the folder itself, or the copies.
    """

    def __init__(self, path: str | Path | StorePath) -> None:
        self.path = locate(path)
        if set("/".join(self.path.parts)) & set("*?[]"):
            # They are wildcards in the paths that DuckDB reads.
            raise ResultsError(
                f"{self.path}: the path of results can't contain any of * ? [ ]",
                "rename the folder, or choose another with --results",
            )
        self.mirror: Mirror | None = None
        self.lock: FolderLock | StoreLease
        if isinstance(self.path, StorePath):
            self.mirror, self.lock = Mirror(self.path), StoreLease(self.path)
            self.here = self.mirror.path
        else:
            self.lock, self.here = FolderLock(self.path), self.path
        self._schema_files = SchemaFiles(self.path)
        self.snapshot_cache: dict[str, Any] = {}

    @classmethod
    def create(
        cls,
        path: str | Path | StorePath,
        study_json: str,
        study_text: str,
        provenance: Mapping[str, Any],
        diff: str,
        *,
        swept: Mapping[str, type] | None = None,
    ) -> ResultsFolder:
        """Make the folder for a study, or take up the one it has.

        The same study may come again, also with a larger grid: its file is replaced, columns
        are added, and the run is appended to the provenance.

        Args:
            path: Where; need not exist.
            study_json: The resolved study, JSON with at least ``study``, its name.
            study_text: The study file as the user wrote it.
            provenance: Of this run; see :func:`collect_provenance`.
            diff: What is uncommitted; see :func:`code_diff`.
            swept: The study's own columns of ``trials``; see :func:`swept_columns`.

        Raises:
            ResultsError: If the folder is another study's, in use, newer, or something else, or
                cannot be made.
        """
        folder = cls(path)
        name = json.loads(study_json)["study"]
        folder.require_room_for(name, swept or {})
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResultsError(
                f"{folder.path}: cannot be made: {error.strerror}",
                "choose another folder with --results",
            ) from error
        with folder.lock():
            folder._schema_files.completed(
                "trials", swept or {}
            )  # Nothing is written if that fails.
            # First of all: from here on the folder is known as this study's.
            write_atomically(folder.resolved, sealed_json(json.loads(study_json)))
            write_atomically(folder.study_file, study_text)
            for directory in (folder.snapshots, folder.resume, folder.tune):
                directory.mkdir(exist_ok=True)
            folder.restore_schemas()
            for table in TABLES:
                folder.prepare_table(table, swept)
            archive_diff(folder.diff, diff)
            record_run(folder.provenance, provenance)
        return folder

    def extend(self, study_json: str, provenance: Mapping[str, Any]) -> None:
        """Note that more is asked of the same study, under a lock that the caller holds.

        Args:
            study_json: The resolved study, with what is asked now.
            provenance: Of this run; see :func:`collect_provenance`.
        """
        write_atomically(self.resolved, sealed_json(json.loads(study_json)))
        for table in TABLES:  # They may lack columns of later releases.
            self.prepare_table(table)
        record_run(self.provenance, provenance)

    @classmethod
    def open(cls, path: str | Path | StorePath) -> ResultsFolder:
        """The results folder at ``path``.

        Raises:
            ResultsError: If there is none, its study is damaged, or a newer version of this
                package wrote it.
        """
        folder = cls(path)
        if not folder.resolved.is_file():
            what = "is not a results folder" if folder.path.exists() else "does not exist"
            raise ResultsError(f"{path}: {what}", _nearby(folder.path))
        folder.stored_study()
        for table in TABLES:
            if table not in ADDED_TABLES and not (folder.table(table) / SCHEMA_FILE).is_file():
                raise folder._incomplete(table)
        folder.schema("trials")
        return folder

    @property
    def study_name(self) -> str:
        """Name of the study whose results these are."""
        return str(self.stored_study()["study"])

    def stored_study(self) -> dict[str, Any]:
        """The study as stored, only its name checked; see :func:`~orchestrator.results.read_study`.

        Raises:
            ResultsError: If its file is damaged.
        """
        return read_json(self.resolved, "study", str, MEND_STUDY)

    @property
    def study_file(self) -> Location:
        """The study file as the user wrote it."""
        return self.path / "study.yaml"

    @property
    def resolved(self) -> Location:
        """The study with every default and override, as JSON."""
        return self.path / RESOLVED

    @property
    def provenance(self) -> Location:
        """Who, when, with what: one entry a run, as JSON."""
        return self.path / "provenance.json"

    @property
    def diff(self) -> Location:
        """What was uncommitted when the newest run began."""
        return self.path / "code.diff"

    @property
    def report(self) -> Location:
        """The report, once written."""
        return self.path / "report.html"

    @property
    def snapshots(self) -> Location:
        """Folder of the networks to be measured, one folder a trial."""
        return self.path / "snapshots"

    @property
    def resume(self) -> Location:
        """Folder of the states from which unfinished trials go on."""
        return self.path / "resume"

    @property
    def tune(self) -> Location:
        """Ray Tune's own logs; nothing is read from it."""
        return self.path / "tune"

    @property
    def damaged(self) -> Location:
        """Files that were found damaged, kept aside; there once there is one."""
        return self.path / "damaged"

    def table(self, table: str) -> Location:
        """Folder of a table's parts."""
        return self.path / table

    def readable(self, table: str) -> Path:
        """Folder on this machine with a table's parts, as they were at the last :meth:`look`."""
        return self.here / table

    def look(self) -> None:
        """Bring the copies of all tables up to date, where the folder is on an object store."""
        if self.mirror is not None:
            self.mirror.pull([self.mirror.origin / table for table in TABLES], "*.parquet")

    def snapshot(self, trial_id: str, step: int) -> Location:
        """The network of a trial after ``step`` updates."""
        return self.snapshots / trial_id / f"{step}.safetensors"

    def resume_state(self, trial_id: str) -> Location:
        """The state from which a trial goes on."""
        return self.resume / f"{trial_id}.safetensors"

    def discard_resume_states(self, trial_ids: Collection[str]) -> None:
        """Remove the resume states of trials that are finished, and what was kept beside them."""
        # A copy of a store has no empty folders.
        for path in self.resume.iterdir() if self.resume.exists() else ():
            if path.name.partition(".")[0] in trial_ids:
                path.unlink(missing_ok=True)

    def schema(self, table: str) -> pa.Schema:
        """Arrow schema of a table as stored, the study's own columns included.

        Raises:
            ResultsError: If there is no such table, or its schema is newer than this package or
                damaged.
        """
        if table not in TABLES:
            raise ResultsError(f"no table {table!r}", f"the tables are {', '.join(TABLES)}")
        schema = self._schema_files.find(table)
        if schema is None and table in ADDED_TABLES:
            return table_schema(table)
        if schema is None:
            raise self._incomplete(table)
        return schema

    def stored_schema(self, table: str) -> pa.Schema | None:
        """The schema of a table as its file has it; None if the file is missing.

        Raises:
            ResultsError: If the file is damaged, or newer than this package.
        """
        return self._schema_files.find(table)

    def place(self, table: str, name: str) -> Place:
        """The place in these results of a table's part with the given name."""
        return Place(self._schema_files.results, table, name)

    def _incomplete(self, table: str) -> ResultsError:
        return ResultsError(
            f"{self.path}: incomplete, {table}/{SCHEMA_FILE} is missing",
            "run the study again, which writes it anew",
        )

    def require_room_for(self, name: str, swept: Mapping[str, type]) -> None:
        """Make sure that the results of a study can go here; nothing is changed.

        Args:
            name: The study's name.
            swept: Its own columns of ``trials``.

        Raises:
            ResultsError: If there are the results of another study here, or something else, or
                columns that differ from the study's in case alone.
        """
        self._refuse_foreign(name)
        self._schema_files.completed("trials", swept)

    def _refuse_foreign(self, name: str) -> None:
        if self.resolved.is_file() or self._has_tables():
            stored = {self.study_name} if self.resolved.is_file() else self._studies_of_trials()
            if stored - {name}:
                raise ResultsError(
                    f"{self.path}: holds the results of study {min(stored)!r}, not {name!r}",
                    "choose another folder with --results, or name the study as before",
                )
        elif self.path.exists() and (
            not self.path.is_dir() or any(not p.name.startswith(".") for p in self.path.iterdir())
        ):
            raise ResultsError(
                f"{self.path}: exists, but is not a results folder",
                "choose an empty or new folder with --results",
            )

    def _has_tables(self) -> bool:
        """Whether there are tables of ours, where the study's own file is gone."""
        if any((self.table(table) / SCHEMA_FILE).is_file() for table in TABLES):
            return True
        self.look()
        return bool(identity_of(self))

    def _studies_of_trials(self) -> set[str]:
        """What the trials say whose results these are, where the study's own file is gone."""
        self.look()
        parts = undamaged_parts(self, "trials")
        columns = (pq.read_table(part.path, columns=["study"])["study"] for part in parts)
        return {name for column in columns for name in column.to_pylist()}

    def prepare_table(self, table: str, swept: Mapping[str, type] | None = None) -> None:
        """Make the folder of a table and store its schema, where that isn't done yet."""
        self._schema_files.prepare(table, swept or {})

    def restore_schemas(self) -> None:
        """Write the schemas that are missing, under a lock that the caller holds.

        Raises:
            ResultsError: If one that is there is damaged.
        """
        missing = [table for table in TABLES if self.stored_schema(table) is None]
        if not missing:
            return
        self.look()
        identity = self._schema_files.results or identity_of(self)
        for table in missing:
            parts = undamaged_parts(self, table)
            swept: Mapping[str, type] = {}
            for part in parts if table == "trials" else ():
                swept = merge_swept(swept, swept_columns_of(pq.read_schema(part.path)))
            if parts or table not in ADDED_TABLES:
                self._schema_files.prepare(table, swept, identity)


def _nearby(path: Location) -> str:
    """A hint that names results folders near ``path``."""
    if isinstance(path, StorePath):
        return "`orchestrator run STUDY --results ADDRESS` makes one"
    places = (path.parent, Path.cwd() / "results", Path.cwd())
    found = {
        resolved.parent
        for place in places
        if place.is_dir()
        for resolved in place.glob(f"*/{RESOLVED}")
    }
    if not found:
        return "`orchestrator run STUDY` makes one; none is near here"
    by_name = {str(folder): folder.name for folder in found}
    close = difflib.get_close_matches(path.name, by_name.values(), n=1)
    ranked = sorted(by_name, key=lambda text: (by_name[text] not in close, text))[:5]
    shown = [re.sub(f"^{re.escape(str(Path.cwd()))}/", "", text) for text in ranked]
    return f"results folders near here: {', '.join(shown)}"
