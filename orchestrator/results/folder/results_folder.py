"""The results folder of one study: paths, schemas and ownership."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.errors import NoResultsError, OtherStudyError, ResultsError
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
    "restore it from a backup; without one, move it away and run the study again with the same "
    "file and --set options, which recreates it"
)


class ResultsFolder:
    """Paths of a results folder, and its tables' schemas.

    The constructor does not access the folder; :meth:`create` and :meth:`open` check it.

    Args:
        path: The folder, or its address in an object store; see :func:`locate`. It is usually
            named after the study.

    Attributes:
        path: Absolute path, symbolic links resolved.
        lock: ``with folder.lock():`` keeps every other process from running on the folder.
        mirror: Local copies of files in an object store; None for a folder on disk.
        here: Path on this machine from which tables are read: the folder itself, or the copies.
    """

    def __init__(self, path: str | Path | StorePath) -> None:
        self.path = locate(path)
        if set("/".join(self.path.parts)) & set("*?[]"):
            # DuckDB reads these characters as wildcards.
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
        """Create the folder for a study, or reuse the existing one.

        A study may be run again in its folder, also with a larger grid: its file is replaced,
        columns are added, and the run is appended to the provenance.

        Args:
            path: Path of the folder; need not exist.
            study_json: The resolved study, JSON with at least ``study``, its name.
            study_text: The study file as the user wrote it.
            provenance: Provenance of this run; see :func:`collect_provenance`.
            diff: Uncommitted changes; see :func:`code_diff`.
            swept: The study's own columns of ``trials``; see :func:`swept_columns`.

        Raises:
            ResultsError: If the folder belongs to another study, is in use, is newer, is not a
                results folder, or cannot be created.
        """
        folder = cls(path)
        name = json.loads(study_json)["study"]
        folder.require_room_for(name, swept or {})
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResultsError(
                f"{folder.path}: cannot be created: {error.strerror}",
                "choose another folder with --results",
            ) from error
        with folder.lock():
            folder._schema_files.completed("trials", swept or {})  # On failure, nothing is written.
            # First of all: from here on, the folder belongs to this study.
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
        """Record an extended version of the same study; the caller must have the lock.

        Args:
            study_json: The resolved study, with the added requests.
            provenance: Provenance of this run; see :func:`collect_provenance`.
        """
        write_atomically(self.resolved, sealed_json(json.loads(study_json)))
        for table in TABLES:  # They may lack columns of later releases.
            self.prepare_table(table)
        record_run(self.provenance, provenance)

    @classmethod
    def open(cls, path: str | Path | StorePath) -> ResultsFolder:
        """Open the results folder at ``path``.

        Raises:
            ResultsError: If it does not exist, its study is damaged, or a newer version of this
                package wrote it.
        """
        folder = cls(path)
        if not folder.resolved.is_file():
            what = "is not a results folder" if folder.path.exists() else "does not exist"
            raise NoResultsError(f"{path}: {what}", _nearby(folder.path))
        folder.stored_study()
        for table in TABLES:
            if table not in ADDED_TABLES and not (folder.table(table) / SCHEMA_FILE).is_file():
                raise folder._incomplete(table)
        folder.schema("trials")
        return folder

    @property
    def study_name(self) -> str:
        """Name of the study."""
        return str(self.stored_study()["study"])

    def stored_study(self) -> dict[str, Any]:
        """Read the study, checking only its name; see :func:`~orchestrator.results.read_study`.

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
        """Provenance as JSON, with one entry per run."""
        return self.path / "provenance.json"

    @property
    def diff(self) -> Location:
        """Uncommitted changes when the newest run started."""
        return self.path / "code.diff"

    @property
    def report(self) -> Location:
        """The report, once written."""
        return self.path / "report.html"

    @property
    def snapshots(self) -> Location:
        """Folder of the snapshots, with one subfolder per trial."""
        return self.path / "snapshots"

    @property
    def resume(self) -> Location:
        """Folder of the resume states of unfinished trials."""
        return self.path / "resume"

    @property
    def tune(self) -> Location:
        """Folder of Ray Tune's own logs; never read."""
        return self.path / "tune"

    @property
    def damaged(self) -> Location:
        """Folder of damaged files that were set aside; created when needed."""
        return self.path / "damaged"

    def table(self, table: str) -> Location:
        """Return the folder of a table's parts."""
        return self.path / table

    def readable(self, table: str) -> Path:
        """Return the local folder of a table's parts, as of the last :meth:`refresh`."""
        return self.here / table

    def refresh(self) -> None:
        """Update the local copies of all tables if the folder is in an object store."""
        if self.mirror is not None:
            self.mirror.pull([self.mirror.origin / table for table in TABLES], "*.parquet")

    def snapshot(self, trial_id: str, step: int) -> Location:
        """Return the path of a trial's snapshot after ``step`` updates."""
        return self.snapshots / trial_id / f"{step}.safetensors"

    def resume_state(self, trial_id: str) -> Location:
        """Return the path of a trial's resume state."""
        return self.resume / f"{trial_id}.safetensors"

    def discard_resume_states(self, trial_ids: Collection[str]) -> None:
        """Remove the resume states of finished trials, and the files kept beside them."""
        # A folder copied from a store lacks empty subfolders.
        for path in self.resume.iterdir() if self.resume.exists() else ():
            if path.name.partition(".")[0] in trial_ids:
                path.unlink(missing_ok=True)

    def schema(self, table: str) -> pa.Schema:
        """Return the stored Arrow schema of a table, including the study's own columns.

        Raises:
            ResultsError: If the table does not exist, or its schema is newer than this package or
                damaged.
        """
        if table not in TABLES:
            raise ResultsError(f"unknown table {table!r}", f"the tables are {', '.join(TABLES)}")
        schema = self._schema_files.find(table)
        if schema is None and table in ADDED_TABLES:
            return table_schema(table)
        if schema is None:
            raise self._incomplete(table)
        return schema

    def stored_schema(self, table: str) -> pa.Schema | None:
        """Return the schema in a table's schema file; None if the file is missing.

        Raises:
            ResultsError: If the file is damaged, or newer than this package.
        """
        return self._schema_files.find(table)

    def place(self, table: str, name: str) -> Place:
        """Return the place of the part ``name`` of a table in these results."""
        return Place(self._schema_files.results, table, name)

    def _incomplete(self, table: str) -> ResultsError:
        return ResultsError(
            f"{self.path}: incomplete, {table}/{SCHEMA_FILE} is missing",
            "run the study again, which recreates it",
        )

    def require_room_for(self, name: str, swept: Mapping[str, type]) -> None:
        """Check that the results of a study can be stored here, without changing anything.

        Args:
            name: The study's name.
            swept: Its own columns of ``trials``.

        Raises:
            ResultsError: If the folder contains the results of another study, or anything else,
                or columns that differ from the study's only in case.
        """
        self._refuse_foreign(name)
        self._schema_files.completed("trials", swept)

    def _refuse_foreign(self, name: str) -> None:
        if self.resolved.is_file() or self._has_tables():
            stored = {self.study_name} if self.resolved.is_file() else self._studies_of_trials()
            if stored - {name}:
                raise OtherStudyError(
                    f"{self.path}: contains the results of study {min(stored)!r}, not {name!r}",
                    "choose another folder with --results, or restore the study's old name",
                )
        elif self.path.exists() and (
            not self.path.is_dir() or any(not p.name.startswith(".") for p in self.path.iterdir())
        ):
            raise ResultsError(
                f"{self.path}: exists, but is not a results folder",
                "choose an empty or new folder with --results",
            )

    def _has_tables(self) -> bool:
        """Whether the folder has result tables although the study's own file is gone."""
        if any((self.table(table) / SCHEMA_FILE).is_file() for table in TABLES):
            return True
        self.refresh()
        return bool(identity_of(self))

    def _studies_of_trials(self) -> set[str]:
        """Return the study names in the rows of trials; used if the study's own file is gone."""
        self.refresh()
        parts = undamaged_parts(self, "trials")
        columns = (pq.read_table(part.path, columns=["study"])["study"] for part in parts)
        return {name for column in columns for name in column.to_pylist()}

    def prepare_table(self, table: str, swept: Mapping[str, type] | None = None) -> None:
        """Create the folder of a table and store its schema, unless already done."""
        self._schema_files.prepare(table, swept or {})

    def restore_schemas(self) -> None:
        """Write the missing schemas; the caller must have the lock.

        Raises:
            ResultsError: If an existing schema is damaged.
        """
        missing = [table for table in TABLES if self.stored_schema(table) is None]
        if not missing:
            return
        self.refresh()
        identity = self._schema_files.results or identity_of(self)
        for table in missing:
            parts = undamaged_parts(self, table)
            swept: Mapping[str, type] = {}
            for part in parts if table == "trials" else ():
                swept = merge_swept(swept, swept_columns_of(pq.read_schema(part.path)))
            if parts or table not in ADDED_TABLES:
                self._schema_files.prepare(table, swept, identity)


def _nearby(path: Location) -> str:
    """Return a hint that names results folders near ``path``."""
    if isinstance(path, StorePath):
        return "create one with `orchestrator run STUDY --results ADDRESS`"
    places = (path.parent, Path.cwd() / "results", Path.cwd())
    found = {
        resolved.parent
        for place in places
        if place.is_dir()
        for resolved in place.glob(f"*/{RESOLVED}")
    }
    if not found:
        return "none found nearby; create one with `orchestrator run STUDY`"
    by_name = {str(folder): folder.name for folder in found}
    close = difflib.get_close_matches(path.name, by_name.values(), n=1)
    ranked = sorted(by_name, key=lambda text: (by_name[text] not in close, text))[:5]
    shown = [re.sub(f"^{re.escape(str(Path.cwd()))}/", "", text) for text in ranked]
    return f"results folders nearby: {', '.join(shown)}"
