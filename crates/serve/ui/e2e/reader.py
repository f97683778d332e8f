"""The independent reader: what the Parquet files of a dataset say, by pyarrow and numpy alone.

It shares no line with the server or the page: a picture that agrees with it agrees with the dataset. It prefers the
plain way (compare every row of the track) over the fast one, since a reader that is clever can be wrong in the same way.

    python reader.py DATASET        one JSON request a line in, one JSON answer a line out

Times are ticks since the dataset's first_tsc. A *share* is [state, evidence, by_kind, by_id, part]; `by` is the VM that had
a cpu (states guest and hypervisor), or who took a vCPU's time (states preempted and off_cpu): "none", "vm" or "host".
"""

import base64
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

STATES = ["guest", "hypervisor", "preempted", "waiting", "off_cpu", "host", "idle", "unknown", "lost"]
EVIDENCE = ["observed", "inferred", "unknown", "lost"]
BY = ["none", "vm", "host"]


class Reader:
    def __init__(self, dataset):
        self.dataset = Path(dataset)
        self.manifest = json.loads((self.dataset / "manifest.json").read_text())
        self.first = self.manifest.get("first_tsc") or 0
        self.span = (self.manifest.get("last_tsc") or self.first) - self.first
        self.cpu_states = self.table("cpu_states")
        self.vcpu_states = self.table("vcpu_states")
        self.exits_table = self.table("exits")
        self.cache = {}

    def table(self, name):
        files = sorted(self.dataset.glob(f"{name}/node=*/capture=*/*.parquet"))
        return pa.concat_tables([pq.ParquetFile(file).read() for file in files])

    def ticks(self, table, column):
        """Null becomes -1; no time of a dataset lies before its first."""
        return pc.fill_null(pc.subtract(table[column], self.first), -1).to_numpy()

    def ids(self, table, column):
        return pc.fill_null(table[column].cast(pa.int64()), -1).to_numpy()

    def codes(self, table, column, words):
        given = table[column].cast(pa.string())
        found = pc.index_in(given, value_set=pa.array(words))
        if pc.any(pc.and_(pc.is_valid(given), pc.is_null(found))).as_py():
            raise ValueError(f"{column} holds a word that is none of {words}")
        return pc.fill_null(found, 0).to_numpy()

    def rows(self, kind, id):
        """The rows of one track: what a person would select from the table with a WHERE."""
        if (kind, id) in self.cache:
            return self.cache[kind, id]
        table = self.cpu_states if kind in ("cpu", "node") else self.vcpu_states
        column = {"cpu": "cpu", "vcpu": "vcpu_id", "vm": "vm_id", "process": "process_id"}.get(kind)
        if column is not None:
            table = table.filter(pc.equal(table[column], id))
        rows = {
            "start": self.ticks(table, "start_tsc"),
            "end": self.ticks(table, "end_tsc"),
            "state": self.codes(table, "state", STATES),
            "evidence": self.codes(table, "evidence", EVIDENCE),
            "cpu": self.ids(table, "cpu"),
            "process": self.ids(table, "process_id"),
            "vcpu": self.ids(table, "vcpu_id"),
        }
        if kind in ("cpu", "node"):
            vm = self.ids(table, "vm_id")
            runs = (rows["state"] <= 1) & (vm >= 0)
            rows["by_kind"], rows["by_id"] = np.where(runs, 1, 0), np.where(runs, vm, -1)
            rows["lane"] = rows["cpu"]
        else:
            rows["by_kind"] = self.codes(table, "taken_by_kind", BY)
            rows["by_id"] = self.ids(table, "taken_by_id")
            rows["lane"] = rows["vcpu"]
        rows["lanes"] = max(1, len(np.unique(rows["lane"])))
        self.cache[kind, id] = rows
        return rows

    def within(self, rows, begin, end):
        """How many ticks of each row lie in [begin, end)."""
        return np.minimum(rows["end"], end) - np.maximum(rows["start"], begin)

    def shares(self, kind, id, begin, end):
        """Who had which part of [begin, end), in the order in which a track stacks them; a part of the whole height of it."""
        rows = self.rows(kind, id)
        inside = self.within(rows, begin, end)
        parts = {}
        for row in np.nonzero(inside > 0)[0]:
            key = tuple(int(rows[c][row]) for c in ("state", "evidence", "by_kind", "by_id"))
            parts[key] = parts.get(key, 0.0) + float(inside[row])
        whole = (end - begin) * rows["lanes"]
        return [[STATES[s], EVIDENCE[e], BY[k], i, ticks / whole] for (s, e, k, i), ticks in sorted(parts.items())]

    def at(self, kind, id, t):
        """The rows at an instant (several where a track has several lanes)."""
        rows = self.rows(kind, id)
        return [self.row(rows, row) for row in np.nonzero((rows["start"] <= t) & (t < rows["end"]))[0]]

    def row(self, rows, row):
        out = {c: int(rows[c][row]) for c in ("start", "end", "cpu", "vcpu", "process", "by_id")}
        out["state"] = STATES[rows["state"][row]]
        out["evidence"] = EVIDENCE[rows["evidence"][row]]
        out["by_kind"] = BY[rows["by_kind"][row]]
        return out

    def step(self, kind, id, t, to):
        """The row after (before) the one at t."""
        rows = self.rows(kind, id)
        lasts = np.nonzero(rows["end"] > rows["start"])[0]
        order = lasts[np.argsort(rows["start"][lasts], kind="stable")]
        if to == "next":
            later = [row for row in order if rows["start"][row] > t]
            return self.row(rows, later[0]) if later else None
        earlier = [row for row in order if rows["end"][row] <= t]
        return self.row(rows, earlier[-1]) if earlier else None

    def tracks(self):
        """Every track that has rows, with the ticks that each state of it takes."""
        out = []
        for kind, table, column in (
            ("cpu", self.cpu_states, "cpu"),
            ("vcpu", self.vcpu_states, "vcpu_id"),
            ("vm", self.vcpu_states, "vm_id"),
            ("process", self.vcpu_states, "process_id"),
        ):
            for id in sorted(i for i in pc.unique(table[column]).to_pylist() if i is not None):
                rows = self.rows(kind, id)
                length = rows["end"] - rows["start"]
                states = {STATES[s]: int(length[rows["state"] == s].sum()) for s in np.unique(rows["state"])}
                out.append({"kind": kind, "id": id, "states": states, "rows": len(length), "lanes": rows["lanes"]})
        return out

    def processes(self):
        """Every address space: which VM's, and its CR3."""
        table = self.table("processes").select(["process_id", "vm_id", "cr3", "name"])
        return [{**row, "cr3": hex(row["cr3"] & (2**64 - 1))} for row in table.to_pylist()]

    def sums(self, begin, end):
        """Exact ticks of every cpu, vCPU and guest process, by state, evidence and whom it is owed to."""
        out = []
        for track in self.tracks():
            if track["kind"] == "vm":
                continue
            rows = self.rows(track["kind"], track["id"])
            inside = np.maximum(self.within(rows, begin, end), 0)
            begins = (rows["start"] >= begin) & (rows["start"] < end)
            keys = np.stack([rows[c] for c in ("state", "evidence", "by_kind", "by_id")], axis=1)
            for key in np.unique(keys, axis=0):
                mine = (keys == key).all(axis=1)
                ticks, count = float(inside[mine].sum()), int(begins[mine].sum())
                if ticks or count:
                    s, e, k, i = (int(x) for x in key)
                    out.append([track["kind"], track["id"], STATES[s], EVIDENCE[e], BY[k], i, ticks, count])
        return out

    def matrix(self, begin, end):
        """Ticks that the vCPUs of one VM were preempted by another VM or by the host: [victim, by_kind, by_id, ticks]."""
        table, out = self.vcpu_states, {}
        state, kind = self.codes(table, "state", STATES), self.codes(table, "taken_by_kind", BY)
        vm, by = self.ids(table, "vm_id"), self.ids(table, "taken_by_id")
        inside = np.minimum(self.ticks(table, "end_tsc"), end) - np.maximum(self.ticks(table, "start_tsc"), begin)
        for row in np.nonzero((state == STATES.index("preempted")) & (inside > 0))[0]:
            key = (int(vm[row]), BY[kind[row]], int(by[row]) if kind[row] == 1 else -1)
            out[key] = out.get(key, 0) + int(inside[row])
        return [[*key, ticks] for key, ticks in sorted(out.items())]

    def stolen(self, vm, by_kind, by_id, begin, end, most):
        """The longest stretches that a VM's vCPUs lost to another VM, or to the host: [vcpu, start, end]."""
        table = self.vcpu_states
        state, kind = self.codes(table, "state", STATES), self.codes(table, "taken_by_kind", BY)
        start, stop = self.ticks(table, "start_tsc"), self.ticks(table, "end_tsc")
        mine = (state == STATES.index("preempted")) & (self.ids(table, "vm_id") == vm) & (kind == BY.index(by_kind))
        if by_kind == "vm":
            mine &= self.ids(table, "taken_by_id") == by_id
        rows = [row for row in np.nonzero(mine & (stop > begin) & (start < end))[0]]
        rows.sort(key=lambda row: start[row] - stop[row])
        vcpu = self.ids(table, "vcpu_id")
        return [[int(vcpu[row]), int(start[row]), int(stop[row])] for row in rows[:most]]

    def rate(self, bins):
        """How many exits of each VM fall into each bin [start, end): [start, end, vm, count]."""
        exit, vm = self.ticks(self.exits_table, "exit_tsc"), self.ids(self.exits_table, "vm_id")
        out = []
        for begin, end in bins:
            vms, counts = np.unique(vm[(exit >= begin) & (exit < end)], return_counts=True)
            out += [[begin, end, int(v), int(n)] for v, n in zip(vms, counts)]
        return out

    def exits(self, begin, end, slowest):
        """Counts of exits in [begin, end) by VM, by reason and by latency class, and the slowest of them."""
        table = self.exits_table
        exit, reentry = self.ticks(table, "exit_tsc"), self.ticks(table, "reentry_tsc")
        known = pc.is_valid(table["reentry_tsc"]).to_numpy()
        vm, reason, number = self.ids(table, "vm_id"), self.ids(table, "reason"), self.ids(table, "exit_id")
        rows = np.nonzero((exit >= begin) & (exit < end))[0]
        histogram = {}
        for row in rows:
            latency = int(reentry[row] - exit[row])
            key = (int(vm[row]), int(reason[row]), latency_class(latency) if known[row] else -1)
            count, ticks = histogram.get(key, (0, 0))
            histogram[key] = (count + 1, ticks + (latency if known[row] else 0))
        timed = [row for row in rows if known[row]]
        timed.sort(key=lambda row: (exit[row] - reentry[row], number[row]))
        return {
            "count": len(rows),
            "histogram": [[*key, *value] for key, value in sorted(histogram.items())],
            "slowest": [
                {"exit_id": int(number[row]), "vm": int(vm[row]), "exit": int(exit[row]), "reentry": int(reentry[row])}
                for row in timed[:slowest]
            ],
        }

    def findings(self):
        """What is unexpected, and what proves it, by their start; None where nobody looked."""
        if not (self.dataset / "findings").exists():
            return None
        columns = ["finding_id", "kind", "severity", "title", "sure", "vm_id", "vcpu_id", "process_id"]
        found, spans = self.table("findings"), self.table("finding_spans")
        times = lambda table: zip(self.ticks(table, "start_tsc").tolist(), self.ticks(table, "end_tsc").tolist())
        proofs = [
            {**row, "start": start, "end": end}
            for row, (start, end) in zip(spans.select(["finding_id", "cpu", "vcpu_id", "process_id"]).to_pylist(), times(spans))
        ]
        return [
            {
                **row,
                "start": start if start >= 0 else None,
                "end": end if end >= 0 else None,
                "spans": sorted((p for p in proofs if p["finding_id"] == row["finding_id"]), key=lambda p: (p["start"], p["end"])),
            }
            for row, (start, end) in zip(found.select(columns).to_pylist(), times(found))
        ]

    def answer(self, request):
        do, given = request["do"], request
        if do == "about":
            hz = self.manifest["clock"]["tsc_hz"] if self.manifest["clock"]["tsc_hz_known"] else None
            return {"span": self.span, "first": str(self.first), "tsc_hz": hz, "exits": self.exits_table.num_rows}
        if do == "tracks":
            return self.tracks()
        if do == "processes":
            return self.processes()
        if do == "findings":
            return self.findings()
        if do == "shares":
            return [self.shares(*span) for span in given["spans"]]
        if do == "at":
            return [self.at(*place) for place in given["places"]]
        if do == "step":
            return self.step(given["kind"], given["id"], given["t"], given["to"])
        if do == "sums":
            return self.sums(given["from"], given["to"])
        if do == "matrix":
            return self.matrix(given["from"], given["to"])
        if do == "stolen":
            return self.stolen(given["vm"], given["by_kind"], given["by_id"], given["from"], given["to"], given["most"])
        if do == "rate":
            return self.rate(given["bins"])
        if do == "arrow":
            return pa.ipc.open_stream(base64.b64decode(given["stream"])).read_all().to_pylist()
        if do == "exits":
            return self.exits(given["from"], given["to"], given["slowest"])
        raise ValueError(f"no such request: {do}")


def latency_class(ticks):
    """Half octaves: 2k for [2^k, 1.5 2^k), 2k+1 for [1.5 2^k, 2^(k+1)); 0 ticks fall into class 0."""
    if ticks < 1:
        return 0
    k = ticks.bit_length() - 1
    return 2 * k + (1 if 2 * ticks >= 3 << k else 0)


def main():
    reader = Reader(sys.argv[1])
    for line in sys.stdin:
        try:
            answer = {"ok": reader.answer(json.loads(line))}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
