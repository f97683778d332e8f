"""A dataset as pyarrow reads it: what exports are held against."""

import glob
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq


class Dataset:
    def __init__(self, path, window=()):
        self.path = path
        self.manifest = json.load(open(f"{path}/manifest.json"))
        clock = self.manifest["clock"]
        self.hz = clock["tsc_hz"] if clock["tsc_hz_known"] else None
        self.origin = clock["origin_tsc"], clock["origin_ns"]
        self.window = None
        if window:
            first = self.manifest["first_tsc"]
            self.window = [first + int(float(at) * (self.hz or 1)) for at in window]

    def time(self, tsc):
        if self.hz is None:
            return tsc
        return self.origin[1] + (tsc - self.origin[0]) * 1_000_000_000 // self.hz

    def raw(self, table):
        files = sorted(glob.glob(f"{self.path}/{table}/*/*/*.parquet"))
        return pa.concat_tables([pq.read_table(file, partitioning=None) for file in files]).to_pylist()

    def rows(self, table, start="start", end="end"):
        """Rows with `from` and `until`, cut, in the unit of exports."""
        out = []
        for row in self.raw(table):
            at, until = row[f"{start}_tsc"], row[f"{end}_tsc"]
            until = at if until is None else max(at, until)
            whole = at, until
            if self.window:
                lo, hi = self.window
                if at >= hi or not (until > lo or at == until == lo):
                    continue
                at, until = max(at, lo), min(until, hi)
            row["ticks"] = until - at
            row["is_cut"] = at != whole[0], until != whole[1]
            row["from"], row["until"] = self.time(at), self.time(until)
            if at == whole[0] and row.get(f"{start}_ns") is not None:
                same(row["from"], row[f"{start}_ns"], "the clock")
            out.append(row)
        return out


def same(found, expected, what):
    if found != expected:
        if isinstance(found, dict) and isinstance(expected, dict):
            keys = [key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)]
            found, expected = ({key: of.get(key) for key in keys[:5]} for of in (found, expected))
        sys.exit(f"{what}: {found!r}, not {expected!r}")
