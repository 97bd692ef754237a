"""Measure time and memory of queries on a large study.

The script writes the measures of a synthetic study, by default 10 000 trials × 20 checkpoints × 50
values = 10^7 rows, some of them as parts of one trial each. It runs the queries, compacts, and runs
them again. Every step runs in its own process, so each has its own peak of resident memory.

    python benchmarks/query.py --rows 1e7 --parts 1000
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MEASURES = 50
CHECKPOINTS = 20
ROWS_A_TRIAL = MEASURES * CHECKPOINTS

QUESTIONS = {
    "raw file, group by measure": (
        "SELECT measure, avg(value), count(*) FROM '{part}' GROUP BY measure"
    ),
    "group by measure": "SELECT measure, avg(value), count(*) FROM measures GROUP BY measure",
    "one measure": "SELECT avg(value) FROM measures WHERE measure = 'measure_7'",
    "one trial": "SELECT * FROM measures WHERE trial_id = '{trial}'",
    "two columns of wide": "SELECT corr(measure_7, measure_9) FROM wide",
    "all columns of wide": "SELECT count(COLUMNS('measure_.*')) FROM wide",
    "rank correlation by batch size": (
        "SELECT batch_size, spearman(list(measure_7), list(error_gap)) FROM wide "
        "WHERE status = 'completed' GROUP BY batch_size"
    ),
    "by_condition": "SELECT quantity, count(*) FROM by_condition GROUP BY quantity",
}


def generate(path: Path, rows: int, parts: int) -> None:
    """Write a study's tables: ``parts`` trials as one part each, the others compacted."""
    import duckdb

    from orchestrator.results import ResultsFolder
    from orchestrator.results.store.checksum import BLANK, KEY, PLACE, seal

    study = {"study": "synthetic"}
    folder = ResultsFolder.create(path, json.dumps(study), "study: synthetic\n", {}, "")
    trials = rows // ROWS_A_TRIAL
    with duckdb.connect() as database:
        database.execute(f"""
            CREATE MACRO trial(i) AS md5(i::VARCHAR)[:12];
            CREATE MACRO moment(i) AS TIMESTAMPTZ '2026-11-01 00:00:00+00' + to_seconds(i);
            CREATE VIEW trials AS SELECT
                trial(i) AS trial_id, md5((i // 3)::VARCHAR)[:12] AS condition_id,
                'synthetic' AS study, i % 3 AS seed, 'completed' AS status,
                16 * 4 ** (i // 3 % 4)::BIGINT AS batch_size, 1 AS attempt,
                moment(i) AS written_at
            FROM range({trials}) t(i);
            CREATE VIEW checkpoints AS SELECT
                trial(i) || '-' || s AS checkpoint_id, trial(i) AS trial_id, s AS step,
                1 / (1 + s) AS train_loss, 1 / (1 + s) + random() AS test_loss,
                0.5 / (1 + s) AS train_error, 0.5 / (1 + s) + random() / 4 AS test_error,
                moment(i) AS written_at
            FROM range({trials}) t(i), range({CHECKPOINTS}) c(s);
            CREATE VIEW measures AS SELECT
                i, trial(i) AS trial_id, trial(i) || '-' || s AS checkpoint_id, s AS step,
                'request_' || (m // 5) AS request, 'measure_' || m AS measure, '' AS variant,
                'train' AS split, 4000 AS n_examples, random() + m AS value, 'ok' AS status,
                random() AS seconds, 'cpu' AS device, 'float64' AS dtype,
                'eval' AS batch_norm_mode, 0 AS seed, 1 AS measure_version, 'host' AS host,
                moment(i) AS written_at
            FROM range({trials}) t(i), range({CHECKPOINTS}) c(s), range({MEASURES}) v(m);
        """)

        def copy(table: str, where: str, order: str, name: str) -> None:
            target = folder.table(table) / f"{name}.parquet"
            database.execute(
                f"COPY (SELECT * FROM {table} WHERE {where} ORDER BY {order}) TO '{target}' "
                f"(FORMAT parquet, COMPRESSION zstd, KV_METADATA "
                f"{{{PLACE}: '{folder.place(table, name)}', {KEY}: '{BLANK.decode()}'}})"
            )
            seal(Path(str(target)))

        copy("trials", "true", "condition_id, seed", "compact-1")
        copy("checkpoints", "true", "trial_id, step", "compact-1")
        copy("measures", f"i >= {parts}", "measure, trial_id, step", "compact-1")
        for part in range(parts):
            copy("measures", f"i = {part}", "step, measure", f"trial-{part}")


def ask(path: Path, question: str) -> None:
    """Connect and run one query."""
    from orchestrator.results import ResultsFolder, connect

    part = ResultsFolder(path).table("measures") / "compact-1.parquet"
    started = time.perf_counter()
    sql = QUESTIONS[question].format(part=part, trial="cfcd208495d5")
    with connect(path, measure_columns="wide" in sql or "by_condition" in sql) as database:
        connected = time.perf_counter()
        database.sql(sql).to_arrow_table()
        tell(connect=connected - started, answer=time.perf_counter() - connected)


def join(path: Path) -> None:
    """Compact the results."""
    from orchestrator.results import compact

    started = time.perf_counter()
    compact(path)
    tell(compact=time.perf_counter() - started)


def tell(**seconds: float) -> None:
    """Print seconds and the peak of resident memory of this process, as JSON."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak_mib": round(peak), **{k: round(v, 3) for k, v in seconds.items()}}))


def main() -> None:
    """Run every step in its own process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=10_000_000)
    parser.add_argument("--parts", type=int, default=1000, help="trials with their own part")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        kind, path, *rest = arguments.step
        if kind == "generate":
            generate(Path(path), arguments.rows, arguments.parts)
        elif kind == "compact":
            join(Path(path))
        else:
            ask(Path(path), rest[0])
        return

    def step(*words: str) -> str:
        options = ["--rows", str(arguments.rows), "--parts", str(arguments.parts)]
        command = [sys.executable, __file__, *options, "--step", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "synthetic")
        step("generate", path)
        files = list((Path(path) / "measures").glob("*.parquet"))
        size = sum(file.stat().st_size for file in files) / 2**20
        print(f"{arguments.rows:.0e} rows of measures, {len(files)} files, {size:.0f} MiB")
        for question in QUESTIONS:
            print(f"{question:42}", step("ask", path, question), flush=True)
        print(f"{'compaction':42}", step("compact", path), flush=True)
        for question in list(QUESTIONS)[1:]:
            print(f"{question + ' (compacted)':42}", step("ask", path, question), flush=True)


if __name__ == "__main__":
    main()
