"""Holds a CTF trace against its dataset: check_ctf.py DATASET TRACE [FROM TO]

CTF 1.8 is read by babeltrace2; CTF 2 by the decoder below, which knows only what CTF2-SPEC-2.0 says and refuses what it
does not, and by babeltrace2, too, where that is of version 2.1 or later.
"""

import json
import os
import re
import struct
import subprocess
import sys

from common import Dataset, same


def strict(obj, needed, allowed=""):
    """The properties of an object of the metadata."""
    needed, allowed = needed.split(), needed.split() + allowed.split()
    if missing := [key for key in needed if key not in obj]:
        sys.exit(f"no {missing} in {obj}")
    if unknown := [key for key in obj if key not in allowed]:
        sys.exit(f"{unknown} in {obj}")
    return obj


INTEGERS = {"fixed-length-unsigned-integer": False, "fixed-length-signed-integer": True}


def decode(fc, data, at, roles):
    """A field at a byte, and the byte behind it."""
    kind = fc["type"]
    if kind == "structure":
        strict(fc, "type member-classes")
        out = {}
        for member in fc["member-classes"]:
            strict(member, "name field-class")
            out[member["name"]], at = decode(member["field-class"], data, at, roles)
        return out, at
    if kind == "null-terminated-string":
        strict(fc, "type")
        end = data.index(b"\0", at)
        return data[at:end].decode(), end + 1
    integer = "roles mappings preferred-display-base" if kind in INTEGERS else ""
    strict(fc, "type length byte-order", "alignment " + integer)
    same((fc["byte-order"], fc.get("alignment", 1) % 8, fc["length"] % 8), ("little-endian", 0, 0), "layout")
    size = fc["length"] // 8
    if kind == "fixed-length-floating-point-number":
        return struct.unpack_from("<d", data, at)[0], at + size
    value = int.from_bytes(data[at : at + size], "little", signed=INTEGERS[kind])
    for role in fc.get("roles", []):
        roles[role] = value
    if "mappings" in fc:
        labels = [name for name, ranges in fc["mappings"].items() if any(a <= value <= b for a, b in ranges)]
        same(len(labels) <= 1, True, "one label at most")
        value = labels[0] if labels else ("<unknown>", value)
    return value, at + size


def read_ctf2(directory):
    """Events as (name, time, fields), in the order of each stream; and the metadata."""
    text = open(f"{directory}/metadata", "rb").read().decode()
    parts = text.split("\x1e")
    same((parts[0], all(part.endswith("\n") for part in parts[1:])), ("", True), "a JSON text sequence")
    fragments = [json.loads(part) for part in parts[1:]]
    same(strict(fragments[0], "type version"), {"type": "preamble", "version": 2}, "the preamble")
    clocks, classes, events, trace = {}, {}, {}, None
    for f in fragments[1:]:
        if f["type"] == "trace-class":
            same((trace, classes), (None, {}), "a trace class comes first")
            trace = strict(f, "type packet-header-field-class", "environment name uid namespace")
        elif f["type"] == "clock-class":
            strict(f, "type id frequency", "name description origin offset-from-origin precision accuracy")
            clocks[f["id"]] = f
        elif f["type"] == "data-stream-class":
            needed = "type id packet-context-field-class event-record-header-field-class default-clock-class-id"
            strict(f, needed, "name")
            same(f["default-clock-class-id"] in clocks, True, "a clock class comes first")
            classes[f["id"]] = f
        elif f["type"] == "event-record-class":
            strict(f, "type id data-stream-class-id name payload-field-class")
            same(f["data-stream-class-id"] in classes, True, "a data stream class comes first")
            events[f["data-stream-class-id"], f["id"]] = f
        else:
            sys.exit(f"a fragment of type {f['type']}")
    out = []
    for name in sorted(os.listdir(directory)):
        if name == "metadata":
            continue
        data, at, before = open(f"{directory}/{name}", "rb").read(), 0, 0
        while at < len(data):
            begin, roles = at, {}
            _, at = decode(trace["packet-header-field-class"], data, at, roles)
            same(roles["packet-magic-number"], 0xC1FC1FC1, "magic")
            stream = classes[roles["data-stream-class-id"]]
            roles = {}
            context, at = decode(stream["packet-context-field-class"], data, at, roles)
            same(roles["packet-content-length"], roles["packet-total-length"], "no padding")
            end = begin + roles["packet-content-length"] // 8
            same(end <= len(data), True, "a packet is whole")
            packet = roles["default-clock-timestamp"], roles["packet-end-default-clock-timestamp"]
            first = None
            while at < end:
                roles = {}
                _, at = decode(stream["event-record-header-field-class"], data, at, roles)
                event = events[stream["id"], roles["event-record-class-id"]]
                fields, at = decode(event["payload-field-class"], data, at, {})
                now = roles["default-clock-timestamp"]
                same(before <= now, True, f"{name}: in the order of time")
                first, before = now if first is None else first, now
                if "cpu_id" in context:
                    fields["cpu_id"] = context["cpu_id"]
                out.append((event["name"], now, fields))
            same((at, (first, before)), (end, packet), f"{name}: a packet's end, and its times")
    return out, fragments


FIELD = re.compile(r'(\w+) = (\( (?:"[^"]*"|<unknown>) : container = -?\d+ \)|"(?:[^"\\]|\\.)*"|[^,} ]+)')


def read_babeltrace(directory):
    """The same, of all streams in the order of time, as babeltrace2 prints them."""
    run = ["babeltrace2", "--clock-cycles", "--no-delta", "--color=never", directory]
    done = subprocess.run(run, capture_output=True, text=True)
    if done.returncode or done.stderr:
        sys.exit(f"babeltrace2: {done.stderr}")
    out, before = [], 0
    for line in done.stdout.splitlines():
        time, name, rest = re.fullmatch(r"\[(\d+)\] (?:.*? )?(\w+): (\{.*\})", line).groups()
        same(before <= int(time), True, "babeltrace2: in the order of time")
        before, fields = int(time), {}
        for key, value in FIELD.findall(rest):
            if value[0] == "(":
                label, code = re.fullmatch(r"\( (.*) : container = (-?\d+) \)", value).groups()
                value = label[1:-1] if label[0] == '"' else ("<unknown>", int(code))
            elif value[0] == '"':
                value = re.sub(r"\\(.)", r"\1", value[1:-1])
            else:
                value = int(value, 16) if value.startswith("0x") else float(value) if "." in value else int(value)
            fields[key] = value
        out.append((name, int(time), fields))
    return out


dataset = Dataset(sys.argv[1], sys.argv[3:5])


def known(value):
    return -1 if value is None else value


def bounds(row, start="start"):
    if row["is_cut"][0]:
        return [row["from"]] * 2
    return [dataset.time(row[f"{start}_lo_tsc"]), dataset.time(row[f"{start}_hi_tsc"])]


REASONS = {12: "HLT", 30: "IO_INSTRUCTION", 1: "EXTERNAL_INTERRUPT", 48: "EPT_VIOLATION", 52: "PREEMPTION_TIMER"}
expected = []
for r in dataset.rows("cpu_states"):
    lo, hi = bounds(r)
    fields = {k: known(r[k]) for k in ("vm_id", "vcpu_id", "process_id", "tid")}
    fields |= {"state": r["state"], "evidence": r["evidence"], "until": r["until"], "start_lo": lo, "start_hi": hi}
    expected.append(("cpu_state", r["from"], fields | {"cpu_id": r["cpu"]}))
for r in dataset.rows("vcpu_states"):
    lo, hi = bounds(r)
    fields = {k: known(r[k]) for k in ("vm_id", "vcpu_id", "cpu", "process_id", "taken_by_id")}
    fields |= {"state": r["state"], "evidence": r["evidence"], "until": r["until"], "start_lo": lo, "start_hi": hi}
    fields["taken_by_kind"] = r["taken_by_kind"] or ("<unknown>", 255)
    expected.append(("vcpu_state", r["from"], fields))
for r in dataset.rows("exits", "exit", "exit"):
    lo, hi = bounds(r, "exit")
    fields = {k: known(r[k]) for k in ("exit_id", "vm_id", "vcpu_id", "process_id", "reentry_cpu")}
    fields |= {"evidence": r["evidence"], "exit_lo": lo, "exit_hi": hi, "cpu_id": r["cpu"]}
    fields["reentry"] = -1 if r["reentry_tsc"] is None else dataset.time(r["reentry_tsc"])
    fields["guest_cr3"] = r["guest_cr3"]
    fields["guest_ip"] = (r["guest_ip"] or 0) % 2**64
    reason = r["reason"]
    fields["reason"] = ("<unknown>", -1) if reason is None else REASONS.get(reason)
    expected.append(("exit", r["from"], fields))
for r in dataset.rows("losses"):
    fields = {k: r[k] for k in ("cause", "offset_bytes", "bytes", "source")}
    expected.append(("loss", r["from"], fields | {"until": r["until"], "cpu_id": r["cpu"]}))
if not dataset.window:
    for r in dataset.raw("findings"):
        fields = {k: r[k] for k in ("finding_id", "kind", "severity", "title")}
        expected.append(("finding", None, fields | {k: known(r[k]) for k in ("vm_id", "vcpu_id", "process_id")}))


def hold(events, who):
    """Events are compared in an order of their own: of one moment any order is right."""
    counts = {}
    told = []
    for name, time, fields in events:
        counts[name] = counts.get(name, 0) + 1
        if name == "finding":
            if dataset.window:
                continue
            time, fields = None, {k: v for k, v in fields.items() if k not in ("score", "until")}
        elif name in ("vm", "vcpu", "process"):
            continue
        if name == "exit" and not (isinstance(fields["reason"], tuple) or fields["reason"] in REASONS.values()):
            fields = fields | {"reason": None}
        told.append((name, time, fields))
    order = lambda event: (event[0], event[1] or 0, sorted((k, str(v)) for k, v in event[2].items()))
    told, wanted = sorted(told, key=order), sorted(expected, key=order)
    same(len(told), len(wanted), f"{who}: events")
    for one, other in zip(told, wanted):
        same(one[:2], other[:2], f"{who}: an event")
        same(one[2], other[2], f"{who}: {one[0]} at {one[1]}")
    if not dataset.window:
        for name, table in (("vm", "vms"), ("vcpu", "vcpus"), ("process", "processes")):
            same(counts.get(name, 0), len(dataset.raw(table)), f"{who}: {name}s")
    print(f"{who}: {len(events)} events")


directory = sys.argv[2]
version = re.search(r"\d+\.\d+", subprocess.run(["babeltrace2", "--version"], capture_output=True, text=True).stdout)
is_new = tuple(map(int, version[0].split("."))) >= (2, 1)
if open(f"{directory}/metadata", "rb").read(1) == b"\x1e":
    events, fragments = read_ctf2(directory)
    clock = next(f for f in fragments if f["type"] == "clock-class")
    is_unix = dataset.hz is not None and dataset.manifest["clock"]["epoch"] == "unix"
    same((clock["frequency"], clock.get("origin")), (10**9, "unix-epoch" if is_unix else None), "the clock")
    hold(events, "our decoder")
    if not is_new:
        sys.exit(print(f"babeltrace2 {version[0]} reads no CTF 2: our decoder alone has read it") or 0)
hold(read_babeltrace(directory), f"babeltrace2 {version[0]}")
