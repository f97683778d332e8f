"""Holds tables as CSV and as JSON lines against their dataset: check_tables.py DATASET CSV_DIRECTORY JSONL_DIRECTORY"""

import csv
import json
import os
import sys

from common import Dataset, same

ADDRESSES = {"host_cr3", "guest_cr3", "cr3", "vmcs", "guest_ip"}

dataset = Dataset(sys.argv[1])
tables = set(dataset.manifest["tables"]) - {"lod", "lod_exits"}
total = 0
for directory, ending in ((sys.argv[2], ".csv"), (sys.argv[3], ".jsonl")):
    same({name.removesuffix(ending) for name in os.listdir(directory)}, tables, f"tables in {directory}")
for table in sorted(tables):
    expected = dataset.raw(table)
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
