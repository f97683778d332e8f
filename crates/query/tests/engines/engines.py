"""Asks other engines the named questions, and holds their answers against those of `havana sql`.

    engines.py HAVANA-SQL [--engines duckdb,polars,spark] [--times] ROOT [DATASET…]

ROOT is the root of a fleet; or, where datasets are named, a directory to put their files together in: TABLE/node=…/capture=…/*.parquet.
Prints a line a question; the exit status is 0 where all answers are equal.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
TABLES = [
    "captures", "cpu_states", "exits", "finding_spans", "findings", "lod", "lod_exits", "losses", "processes",
    "threads", "vcpu_states", "vcpus", "vm_offsets", "vms",
]  # fmt: skip


def gather(root, datasets):
    """Links the files of all datasets below one root."""
    for dataset in datasets:
        for file in Path(dataset).glob("*/node=*/capture=*/*.parquet"):
            link = root / file.relative_to(dataset)
            link.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(file, link)
            except OSError:
                link.symlink_to(file.resolve())
    return [table for table in TABLES if (root / table).exists()]


class Havana:
    def __init__(self, program, datasets):
        self.program, self.datasets = program, datasets

    def run(self, *words):
        done = subprocess.run([self.program, *self.datasets, *words], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{words}: {done.stderr}")
        return done

    def questions(self):
        lines = self.run("--list").stdout.splitlines()
        names = [line.split()[0] for line in lines]
        return {name: self.run("--show", name).stdout for name in names}

    def ask(self, name, sql):
        done = self.run(sql, "--format", "jsonl", "--stats")
        self.said = done.stderr.splitlines()[-1]
        return [tuple(json.loads(line).values()) for line in done.stdout.splitlines()]


class Duckdb:
    def __init__(self, root, tables):
        import duckdb

        self.db = duckdb.connect()
        self.db.execute("SET threads = 2")
        for table in tables:
            files = f"read_parquet('{root / table}/**/*.parquet', hive_partitioning = true, hive_types_autocast = false)"
            self.db.execute(f"CREATE VIEW {table} AS SELECT * FROM {files}")

    def ask(self, name, sql):
        return self.db.execute(sql).fetchall()


class Polars:
    def __init__(self, root, tables):
        import polars as pl
        import with_polars

        self.questions = with_polars
        def table(name):
            hours = {"hour": pl.String} if any((root / name).glob("hour=*")) else {}
            keys = hours | {"node": pl.String, "capture": pl.String}
            frame = pl.scan_parquet(root / name / "**/*.parquet", hive_schema=keys)
            names = [c for c, t in frame.collect_schema().items() if t in (pl.Categorical, pl.Enum)]
            return frame.with_columns(pl.col(names).cast(pl.String))

        self.frames = {name: table(name) for name in tables}

    def ask(self, name, sql):
        return self.questions.ask(name, self.frames.__getitem__)


class Spark:
    def __init__(self, root, tables):
        from pyspark.sql import SparkSession

        settings = {
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.memory": "2g",
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.shuffle.partitions": "2",
            "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
        }
        builder = SparkSession.builder.master("local[2]").appName("engines")
        for key, value in settings.items():
            builder = builder.config(key, value)
        self.spark = builder.getOrCreate()
        self.spark.sparkContext.setLogLevel("ERROR")
        for table in tables:
            self.spark.read.parquet(str(root / table)).createOrReplaceTempView(table)

    def ask(self, name, sql):
        return [tuple(row) for row in self.spark.sql(sql).collect()]


ENGINES = {"duckdb": Duckdb, "polars": Polars, "spark": Spark}


def equal(a, b):
    if isinstance(a, float) or isinstance(b, float):
        return a is not None and b is not None and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
    return a == b


def difference(ours, theirs):
    if len(ours) != len(theirs):
        return f"{len(ours)} rows, not {len(theirs)}"
    for at, (mine, other) in enumerate(zip(ours, theirs)):
        if len(mine) != len(other) or not all(map(equal, mine, other)):
            return f"row {at}: {mine}, not {other}"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--engines", default="duckdb,polars,spark")
    parser.add_argument("--times", action="store_true")
    parser.add_argument("program")
    parser.add_argument("root", type=Path)
    parser.add_argument("datasets", nargs="*")
    args = parser.parse_args()
    sys.path.insert(0, str(HERE))

    tables = gather(args.root, args.datasets)
    havana = Havana(args.program, args.datasets or [args.root])
    others = {name: ENGINES[name](args.root, tables) for name in args.engines.split(",") if name}
    wrong = 0
    for name, sql in havana.questions().items():
        ours = havana.ask(name, sql)
        told = [f"{name}: {len(ours)} rows", f"havana {havana.said}"] if args.times else [f"{name}: {len(ours)} rows"]
        for engine, other in others.items():
            begin = time.perf_counter()
            theirs = other.ask(name, sql)
            if args.times:
                told.append(f"{engine} {time.perf_counter() - begin:.3f} s")
            if (differs := difference(ours, theirs)) is not None:
                wrong += 1
                told.append(f"NOT EQUAL to {engine}: {differs}")
        print("; ".join(told), flush=True)
    print(f"{wrong} answers differ of {len(others)} engines: {', '.join(others)}")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
