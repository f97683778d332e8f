"""Holds tables as CSV and as JSON lines against their dataset: check_tables.py DATASET CSV JSONL [FROM TO]

CSV and JSONL are directories with a file a table.
"""

import csv
import json
import os
import sys

from common import Dataset, same

ADDRESSES = {"host_cr3", "guest_cr3", "cr3", "vmcs", "guest_ip"}

dataset = Dataset(sys.argv[1], sys.argv[4:6])
CUT = {"cpu_states", "vcpu_states", "losses", "finding_spans"}
ENDS = {"exits": ("exit", "exit"), "vm_offsets": ("start", "end")} | {table: ("start", "end") for table in CUT}


def rows_of(table):
    """The rows of the part, as the dataset has them but for cuts."""
    if not dataset.window:
        return dataset.raw(table)
    lo, hi = dataset.window
    if table == "findings":
        # All along; from some time on; of the trace itself a moment.
        def is_about(row):
            start = row["start_tsc"] or lo
            is_moment = row["kind"] == "trace" and row["start_tsc"] is not None
            end = row["end_tsc"] or (start if is_moment else hi)
            return start < hi and (end > lo or end == start == lo)

        return [row for row in dataset.raw(table) if is_about(row)]
    start, end = ENDS.get(table, ("first", "last"))
    out = []
    for row in dataset.rows(table, start, end):
        for which, at, name in zip(row.pop("is_cut"), (lo, hi), (start, end)):
            if which and table in CUT:
                ticks = {key: at for key in (f"{name}_tsc", f"{name}_lo_tsc", f"{name}_hi_tsc") if key in row}
                row |= ticks | {f"{name}_ns": None if dataset.hz is None else dataset.time(at)}
        out.append({key: value for key, value in row.items() if key not in ("ticks", "from", "until")})
    return out


tables = set(dataset.manifest["tables"]) - {"lod", "lod_exits"}
total = 0
for directory, ending in ((sys.argv[2], ".csv"), (sys.argv[3], ".jsonl")):
    same({name.removesuffix(ending) for name in os.listdir(directory)}, tables, f"tables in {directory}")
for table in sorted(tables):
    expected = rows_of(table)
    for row in expected:
        for key in ADDRESSES & row.keys():
            row[key] = None if row[key] is None else hex(row[key] % 2**64)
    total += len(expected)
    lines = [json.loads(line) for line in open(f"{sys.argv[3]}/{table}.jsonl")]
    same(len(lines), len(expected), f"lines of {table}")
    for n, (line, row) in enumerate(zip(lines, expected)):
        same(line, row, f"{table}.jsonl, line {n + 1}")
    with open(f"{sys.argv[2]}/{table}.csv", newline="") as file:
        rows = csv.reader(file)
        names = next(rows)
        lines = [dict(zip(names, row, strict=True)) for row in rows]
    same(len(lines), len(expected), f"lines of {table}.csv")
    for n, (line, row) in enumerate(zip(lines, expected)):
        for key, value in row.items():
            told = line[key]
            if value is None:
                same(told, "", f"{table}.csv, line {n + 2}, {key}")
            else:
                same(type(value)(told), value, f"{table}.csv, line {n + 2}, {key}")
print(f"{len(tables)} tables, {total} rows")
