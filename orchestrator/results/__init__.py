"""Stored results: Parquet parts, and DuckDB views over them."""

from __future__ import annotations

# Checks of claims before a run
from orchestrator.results.database.claim_check import claim_problems as claim_problems
from orchestrator.results.database.compaction import compact as compact

# Queries
from orchestrator.results.database.connection import again_if_compacted as again_if_compacted
from orchestrator.results.database.connection import connect as connect
from orchestrator.results.database.connection import trial_columns as trial_columns

# Effects of study edits
from orchestrator.results.database.edits import Edit as Edit
from orchestrator.results.database.edits import compare_study as compare_study
from orchestrator.results.database.edits import refuse_contradictions as refuse_contradictions
from orchestrator.results.database.formats import format_result as format_result
from orchestrator.results.database.formats import write_result as write_result
from orchestrator.results.database.left_out import LeftOut as LeftOut
from orchestrator.results.database.left_out import trials_left_out as trials_left_out
from orchestrator.results.database.printed_queries import FRAGILITY as FRAGILITY
from orchestrator.results.database.printed_queries import barriers_query as barriers_query
from orchestrator.results.database.query import ask as ask
from orchestrator.results.database.query import query as query
from orchestrator.results.database.query import sql_text as sql_text
from orchestrator.results.database.status import StudyStatus as StudyStatus
from orchestrator.results.database.status import study_status as study_status
from orchestrator.results.database.table_views import identifier as identifier
from orchestrator.results.database.table_views import quote as quote
from orchestrator.results.database.unlearned_networks import did_not_learn as did_not_learn
from orchestrator.results.folder.commit_records import commit_snapshot as commit_snapshot
from orchestrator.results.folder.commit_records import committed_snapshots as committed_snapshots
from orchestrator.results.folder.commit_records import listed_snapshots as listed_snapshots
from orchestrator.results.folder.commit_records import snapshot_id as snapshot_id

# Damaged files
from orchestrator.results.folder.damage import damaged_files as damaged_files
from orchestrator.results.folder.damage import set_aside_damaged_parts as set_aside_damaged_parts
from orchestrator.results.folder.damage import set_aside_snapshot as set_aside_snapshot
from orchestrator.results.folder.damage import (
    set_aside_unreadable_records as set_aside_unreadable_records,
)
from orchestrator.results.folder.lost_rows import restore_checkpoints as restore_checkpoints
from orchestrator.results.folder.network_files import read_resume_state as read_resume_state
from orchestrator.results.folder.network_files import store_snapshot as store_snapshot
from orchestrator.results.folder.network_files import write_resume_state as write_resume_state
from orchestrator.results.folder.new_snapshots import NewSnapshots as NewSnapshots

# The folder and its files
from orchestrator.results.folder.parts import versions_of_parts as versions_of_parts
from orchestrator.results.folder.provenance import code_diff as code_diff
from orchestrator.results.folder.provenance import collect_provenance as collect_provenance
from orchestrator.results.folder.provenance import read_runs as read_runs
from orchestrator.results.folder.results_folder import ResultsFolder as ResultsFolder
from orchestrator.results.folder.stored_study import asked_requests as asked_requests
from orchestrator.results.folder.stored_study import described_study as described_study
from orchestrator.results.folder.stored_study import expected_trials as expected_trials
from orchestrator.results.folder.stored_study import read_study as read_study
from orchestrator.results.folder.writer import sweep_temporary as sweep_temporary
from orchestrator.results.folder.writer import write_part as write_part
from orchestrator.results.store.disk_space import require_space as require_space
from orchestrator.results.store.disk_space import storing as storing
from orchestrator.results.store.lock import LockHolder as LockHolder
from orchestrator.results.store.store_path import Location as Location
from orchestrator.results.store.store_path import StorePath as StorePath
from orchestrator.results.table_schemas import IS_FINAL as IS_FINAL
from orchestrator.results.table_schemas import MEASURED as MEASURED
from orchestrator.results.table_schemas import is_final as is_final
from orchestrator.results.table_schemas import reason_text as reason_text
from orchestrator.results.table_schemas import swept_columns as swept_columns
from orchestrator.results.table_schemas import table_schema as table_schema
from orchestrator.results.table_schemas import trials_schema as trials_schema
