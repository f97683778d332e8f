"""Holds a Perfetto trace against its dataset: check_perfetto.py DATASET TRACE [FROM TO]

The trace is read with Perfetto's own schema. As trace_processor does, events are sorted by time, stably, and slices are
put together by a stack for each track.
"""

import sys
from collections import Counter, defaultdict

from google.protobuf.unknown_fields import UnknownFieldSet
from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as proto

from common import Dataset, same


def no_unknown_fields(message):
    if len(UnknownFieldSet(message)):
        sys.exit(f"a field that Perfetto does not know in {message}")
    for field, value in message.ListFields():
        if field.message_type:
            for part in value if field.is_repeated else [value]:
                no_unknown_fields(part)


dataset = Dataset(sys.argv[1], sys.argv[3:5])
trace = proto.Trace()
trace.ParseFromString(open(sys.argv[2], "rb").read())

tracks, names, keys, texts = {}, {}, {}, {}
events = []
for n, packet in enumerate(trace.packet):
    no_unknown_fields(packet)
    if packet.HasField("clock_snapshot"):
        continue
    same(packet.trusted_packet_sequence_id, 1, "sequence")
    if packet.sequence_flags & proto.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED:
        same((names, tracks), ({}, {}), "what stands before the begin of the sequence")
    new = packet.interned_data
    for known, more in (
        (names, [(e.iid, e.name) for e in new.event_names]),
        (keys, [(e.iid, e.name) for e in new.debug_annotation_names]),
        (texts, [(e.iid, e.str.decode()) for e in new.debug_annotation_string_values]),
    ):
        same(known.keys() & dict(more).keys(), set(), "interned twice")
        known.update(more)
    if packet.HasField("track_descriptor"):
        track = packet.track_descriptor
        same(track.uuid in tracks, False, "a track described twice")
        same(not track.parent_uuid or track.parent_uuid in tracks, True, "a parent comes first")
        tracks[track.uuid] = track
    if packet.HasField("track_event"):
        event = packet.track_event
        details = {}
        for a in event.debug_annotations:
            value = texts[a.string_value_iid] if a.string_value_iid else getattr(a, a.WhichOneof("value"))
            details[keys[a.name_iid]] = value
        name = names[event.name_iid] if event.name_iid else None
        same(event.track_uuid in tracks, True, "an event's track comes first")
        events.append((packet.timestamp, event.type, event.track_uuid, name, details, event.double_counter_value))


def path(uuid):
    track = tracks[uuid]
    return (path(track.parent_uuid) if track.parent_uuid else ()) + (track.name,)


paths = {uuid: path(uuid)[1:] for uuid in tracks}
events.sort(key=lambda event: event[0])
open_on, slices, instants, counts = {}, [], [], defaultdict(list)
T = proto.TrackEvent
for at, kind, track, name, details, value in events:
    if kind == T.TYPE_SLICE_BEGIN:
        if track in open_on:
            sys.exit(f"on {paths[track]} a slice begins at {at} in another")
        open_on[track] = at, name, details
    elif kind == T.TYPE_SLICE_END:
        start, name, details = open_on.pop(track)
        slices.append((paths[track], name, start, at, details))
    elif kind == T.TYPE_INSTANT:
        instants.append((paths[track], name, at, details))
    else:
        counts[paths[track]].append((at, value))
same(open_on, {}, "slices without an end")


def sums(slices):
    """By track and name: how many, and how long."""
    out = defaultdict(lambda: [0, 0])
    for track, name, start, end, *_ in slices:
        out[track, name][0] += 1
        out[track, name][1] += end - start
    return dict(out)


vm_name = {row["vm_id"]: row["name"] or f"vm {row['vm_id']}" for row in dataset.raw("vms")}
vcpu_path, seen = {}, Counter()
for row in dataset.raw("vcpus"):
    index = seen[row["vm_id"]] if row["index"] is None else row["index"]
    seen[row["vm_id"]] += 1
    vcpu_path[row["vcpu_id"]] = vm_name[row["vm_id"]], f"vCPU {index}"
process = {row["process_id"]: row["name"] or f"CR3 {row['cr3']:#x}" for row in dataset.raw("processes")}

expected = [(("cpus", f"cpu {r['cpu']}"), r["state"], r["from"], r["until"]) for r in dataset.rows("cpu_states")]
for row in dataset.rows("vcpu_states"):
    track = vcpu_path[row["vcpu_id"]]
    expected.append((track, row["state"], row["from"], row["until"]))
    if row["state"] == "guest" and row["process_id"] is not None:
        expected.append((track + (process[row["process_id"]],), "guest", row["from"], row["until"]))
without, exits = 0, dataset.rows("exits", "exit", "exit")
for row in exits:
    if row["reentry_tsc"] is None:
        without += 1
        continue
    reentry = min(row["reentry_tsc"], dataset.window[1]) if dataset.window else row["reentry_tsc"]
    expected.append((vcpu_path[row["vcpu_id"]] + ("exits",), "exit", row["from"], max(row["from"], dataset.time(reentry))))
for row in dataset.rows("losses"):
    expected.append((("cpus", f"cpu {row['cpu']}", "losses"), row["cause"], row["from"], row["until"]))

# The names of reasons are the program's own.
found = [s if s[0][-1] != "exits" else (s[0], "exit", *s[2:]) for s in slices if s[0][0] != "findings"]
same(sums(found), sums(expected), "slices by track and name, their number and their length together")
same(sorted(s[:4] for s in found), sorted(expected), "slices")
same(sum(i[0][-1] == "exits" for i in instants), without, "exits without a re-entry")

findings = dataset.raw("findings")
if not dataset.window:
    told = [(i[1], i[3]["severity"], i[3]["finding_id"]) for i in instants if i[0] == ("findings",)]
    same(sorted(told), sorted((r["title"], r["severity"], r["finding_id"]) for r in findings), "findings")
    spans = dataset.rows("finding_spans")
    found = [(start, end) for track, _, start, end, _ in slices if track[0] == "findings"]
    same(sorted(found), sorted((r["from"], r["until"]) for r in spans), "spans of findings")

evidence = Counter(row["evidence"] for row in dataset.rows("cpu_states"))
told = Counter(d["evidence"] for track, _, _, _, d in slices if track[0] == "cpus" and len(track) == 2)
same(told, evidence, "evidence")
earlier = Counter()
for row in dataset.rows("cpu_states"):
    by = dataset.time(row["start_tsc"]) - dataset.time(row["start_lo_tsc"])
    if row["start_tsc"] != row["start_lo_tsc"] and not row["is_cut"][0]:
        earlier[by] += 1
told = Counter(d["start_earlier"] for track, _, _, _, d in slices if track[0] == "cpus" and "start_earlier" in d and len(track) == 2)
same(told, earlier, "how much earlier a state may begin")


def total(track):
    points = counts.get(track, [])
    return sum(value * (after - at) for (at, value), (after, _) in zip(points, points[1:]))


for vm, name in vm_name.items():
    guest = sum(r["until"] - r["from"] for r in dataset.rows("cpu_states") if r["state"] == "guest" and r["vm_id"] == vm)
    if abs(total((name, "cpus in guest")) - guest) > 1e-3 * guest:
        sys.exit(f"cpus in guest of {name}: {total((name, 'cpus in guest'))}, not {guest}")
    often = sum(row["vm_id"] == vm for row in exits) * (1e9 if dataset.hz else 1e6)
    if abs(total((name, "exits")) - often) > 1e-3 * often:
        sys.exit(f"exits of {name}: {total((name, 'exits'))}, not {often}")
print(f"{len(tracks)} tracks, {len(slices)} slices, {len(instants)} instants, {sum(map(len, counts.values()))} counts")
