"""Table schemas: columns, types and keys.

Within one ``SCHEMA_VERSION``, columns are only ever added, and added columns are nullable, so
older parts stay readable by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from orchestrator.errors import ResultsError

SCHEMA_VERSION = 1
VERSION_KEY = b"schema_version"

_COLUMN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
TIME = pa.timestamp("us", tz="UTC")
FLOATS = pa.list_(pa.field("element", pa.float64()))  # Parquet's own name for the element.
_ARROW_TYPES = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
_PYTHON_TYPES = {arrow: python for python, arrow in _ARROW_TYPES.items()}


def _fields(text: str) -> list[pa.Field]:
    """Parse ``name type`` pairs into fields; a name that ends in ``!`` may not be null."""
    types = {
        "bool": pa.bool_(),
        "int": pa.int64(),
        "float": pa.float64(),
        "str": pa.string(),
        "floats": FLOATS,
        "time": TIME,
    }
    words = text.split()
    return [
        pa.field(name.rstrip("!"), types[kind], nullable=not name.endswith("!"))
        for name, kind in zip(words[::2], words[1::2], strict=True)
    ]


_TRIAL_FIELDS = _fields("""
    trial_id! str  condition_id! str  study! str  seed! int  status! str  stop_reason str
    error str  attempt int  epochs float  updates int  examples_seen int  train_seconds float
    evaluation_seconds float  n_parameters int  dataset str  model str  width int  depth int
    activation str  normalization str  dropout float  loss str  label_smoothing float
    optimizer str  batch_size int  learning_rate float  momentum float  weight_decay float
    rho float  schedule str  train_size int  label_noise float
""")
_TRIAL_FIELDS_AFTER_SWEPT = _fields("""
    params_json str  dataset_hash str  host str  device str  python_version str
    torch_version str  orchestrator_version str  written_at! time
""")

_SCHEMAS = {
    "trials": pa.schema(_TRIAL_FIELDS + _TRIAL_FIELDS_AFTER_SWEPT),
    "epochs": pa.schema(
        _fields("""
            trial_id! str  epoch! int  step int  examples_seen int  seconds float  split! str
            loss float  error float  learning_rate float  written_at! time
        """)
    ),
    "checkpoints": pa.schema(
        _fields("""
            checkpoint_id! str  trial_id! str  step! int  epoch float  examples_seen int
            reason str  milestones floats  train_loss float  train_error float
            test_loss float  test_error float  path str  bytes int  sha256 str
            written_at! time
        """)
    ),
    "measures": pa.schema(
        _fields("""
            trial_id! str  checkpoint_id! str  step! int  request! str  measure! str
            variant! str  split str  n_examples int  value float  standard_error float
            status! str  error str  seconds float  device str  dtype str
            batch_norm_mode str  seed int  measure_version int  host str  written_at! time
        """)
    ),
    "curves": pa.schema(
        _fields("""
            trial_id! str  checkpoint_id! str  step! int  request! str  curve! str
            variant! str  split str  n_examples int  x floats  y floats  value floats
            standard_error floats  status! str  error str  seconds float  device str  dtype str
            batch_norm_mode str  seed int  measure_version int  host str  written_at! time
        """)
    ),
    "examples": pa.schema(
        _fields("""
            data! str  dataset_hash! str  split! str  example! int  label! int  shape! str
            inputs! floats  written_at! time
        """)
    ),
    "example_subsets": pa.schema(
        _fields("""
            data! str  dataset_hash! str  split! str  measured_examples! int  n_examples! int
            examples! floats  written_at! time
        """)
    ),
    "measure_catalog": pa.schema(
        _fields("""
            measure! str  family str  symbol str  unit str  direction str  citation str  cost str
            invariances str
        """)
    ),
    "connectivity": pa.schema(
        _fields("""
            condition_id! str  trial_id! str  other_trial_id! str  checkpoint_id! str
            other_checkpoint_id! str  split! str  quantity! str  barrier float  alpha floats
            value floats  reason str  written_at! time
        """)
    ),
    "trust_checks": pa.schema(
        _fields("""
            shape! str  data str  model str  loss str  trust_check! str  spoils str  status! str
            reason str  dtype str  device str  host str  orchestrator_version str
            written_at! time
        """)
    ),
    "audit": pa.schema(
        _fields("""
            trial_id! str  checkpoint_id! str  change! str  setting str  request! str
            measure! str  variant! str  split str  original float  changed float
            relative_change float  standard_error float  status! str  reason str
            measure_version int  written_at! time
        """)
    ),
}

TABLES = tuple(_SCHEMAS)
ADDED_TABLES = (
    *("audit", "curves", "connectivity", "example_subsets", "examples"),
    "trust_checks",
)
"""Tables that results of earlier releases lack; they count as empty there."""


@dataclass(frozen=True)
class TableKey:
    """The key of a table's rows, and which of several rows with the same key counts.

    Attributes:
        key: Columns that identify a fact; a fact stored more than once counts once.
        group: Column that groups rows which newer parts may replace; every key lies within one
            group.
        preference: SQL order; the first row of each key counts. A clock may be set back, so
            time only breaks ties between otherwise equal rows.
        sort: Row order in a compacted file.
    """

    key: tuple[str, ...]
    group: str
    preference: str
    sort: tuple[str, ...]


MEASURED = "status IN ('ok', 'nonfinite')"
_BETWEEN_REASONS = "; "
IS_FINAL = f"list_contains(string_split(reason, '{_BETWEEN_REASONS}'), 'final')"


def reason_text(reasons: Iterable[str]) -> str:
    """Return the column ``reason`` of ``checkpoints``: why the snapshot was taken."""
    return _BETWEEN_REASONS.join(reasons)


def is_final(checkpoint: Mapping[str, Any]) -> bool:
    """Whether a row of ``checkpoints`` belongs to the final network of its trial."""
    return "final" in checkpoint["reason"].split(_BETWEEN_REASONS)


KEYS = {
    "trials": TableKey(
        ("trial_id",),
        "trial_id",
        "status = 'completed' DESC, attempt DESC NULLS LAST, status = 'failed' DESC, "
        "written_at DESC",
        ("condition_id", "seed"),
    ),
    "epochs": TableKey(
        ("trial_id", "epoch", "split"),
        "trial_id",
        "written_at DESC",
        ("trial_id", "split", "epoch"),
    ),
    "checkpoints": TableKey(
        ("checkpoint_id",), "checkpoint_id", "written_at DESC", ("trial_id", "step")
    ),
    "measures": TableKey(
        ("checkpoint_id", "request", "measure", "variant", "split"),
        "checkpoint_id",
        f"{MEASURED} DESC, measure_version DESC NULLS LAST, written_at DESC",
        ("measure", "trial_id", "step", "variant", "split"),
    ),
    "curves": TableKey(
        ("checkpoint_id", "request", "curve", "variant", "split"),
        "checkpoint_id",
        "measure_version DESC NULLS LAST, written_at DESC",
        ("curve", "trial_id", "step", "variant", "split"),
    ),
    "examples": TableKey(
        ("data", "split", "example"), "data", "written_at DESC", ("data", "split", "example")
    ),
    "example_subsets": TableKey(
        ("data", "split", "measured_examples", "n_examples"),
        "data",
        "written_at DESC",
        ("data", "split", "measured_examples", "n_examples"),
    ),
    "connectivity": TableKey(
        ("checkpoint_id", "other_checkpoint_id", "split", "quantity"),
        "checkpoint_id",
        "written_at DESC",
        ("condition_id", "trial_id", "split", "quantity"),
    ),
    "trust_checks": TableKey(
        ("shape", "trust_check"),
        "shape",
        "written_at DESC",
        ("model", "data", "loss", "shape", "trust_check"),
    ),
    "audit": TableKey(
        ("checkpoint_id", "change", "request", "measure", "variant", "split"),
        "checkpoint_id",
        "measure_version DESC NULLS LAST, written_at DESC",
        ("change", "measure", "variant", "split", "checkpoint_id"),
    ),
}


def table_schema(table: str, swept: Mapping[str, type] | None = None) -> pa.Schema:
    """Return the Arrow schema of ``table``, with ``schema_version`` in its metadata.

    Args:
        table: One of :data:`TABLES`.
        swept: For ``trials``, the study's own columns; see :func:`trials_schema`.

    Raises:
        KeyError: If the table does not exist.
    """
    if table == "trials":
        return trials_schema(swept or {})
    return _SCHEMAS[table].with_metadata({VERSION_KEY: str(SCHEMA_VERSION)})


def trials_schema(extra: Mapping[str, type]) -> pa.Schema:
    """Return the Arrow schema of ``trials`` with a study's own swept columns.

    Args:
        extra: Column → ``bool``, ``int``, ``float`` or ``str``; see :func:`swept_columns`.

    Raises:
        ResultsError: If a name is not an identifier, or is taken; SQL ignores case.
    """
    taken = set(_SCHEMAS["trials"].names)
    for name in extra:
        if not _COLUMN_NAME.fullmatch(name):
            raise ResultsError(f"{name!r} can't be a column: expected letters, digits and _")
        if name.lower() in taken:
            raise ResultsError(
                f"{name!r} can't be a column of trials: the name is taken",
                "rename the argument, or give the study its own folder with --results",
            )
        taken.add(name.lower())
    swept = [pa.field(name, _ARROW_TYPES[kind]) for name, kind in extra.items()]
    return pa.schema(
        _TRIAL_FIELDS + swept + _TRIAL_FIELDS_AFTER_SWEPT,
        metadata={VERSION_KEY: str(SCHEMA_VERSION)},
    )


def swept_columns(rows: Iterable[Mapping[str, Any]]) -> dict[str, type]:
    """Return the non-standard columns of ``rows`` of ``trials``, typed from their values.

    A mixture of integers and floats gives ``float``. Any other mixture gives ``str``, as do
    lists, mappings and columns without values.

    >>> swept_columns([{"seed": 0, "beta1": 1}, {"seed": 1, "beta1": 0.9}])
    {'beta1': <class 'float'>}
    """
    found: dict[str, type | None] = {}
    for row in rows:
        for name, value in row.items():
            if name not in _SCHEMAS["trials"].names:
                kind = None if value is None else type(value)
                if kind not in (None, bool, int, float):
                    kind = str
                found[name] = _common_type(found.get(name), kind)
    return {name: kind or str for name, kind in found.items()}


def swept_columns_of(schema: pa.Schema) -> dict[str, type]:
    """Return the study's own columns in a stored schema of ``trials``."""
    standard = _SCHEMAS["trials"].names
    return {f.name: _PYTHON_TYPES[f.type] for f in schema if f.name not in standard}


def complete_schema(table: str, stored: pa.Schema) -> pa.Schema:
    """Return the current columns of a table, and any others that its stored schema has.

    Args:
        table: One of :data:`TABLES`.
        stored: Its stored schema, which may lack columns if an earlier version wrote it.
    """
    schema = table_schema(table, swept_columns_of(stored) if table == "trials" else {})
    return pa.schema([*schema, *(field for field in stored if field.name not in schema.names)])


def merge_swept(stored: Mapping[str, type], added: Mapping[str, type]) -> dict[str, type]:
    """Return the union of two sets of swept columns, each with a type that fits both."""
    merged: dict[str, type] = dict(stored)
    for name, kind in added.items():
        merged[name] = _common_type(merged.get(name), kind) or str
    return merged


def _common_type(one: type | None, other: type | None) -> type | None:
    if one is None or other is None or one is other:
        return one or other
    return float if {one, other} == {int, float} else str
