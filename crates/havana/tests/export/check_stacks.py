"""Holds folded stacks and a pprof profile against their dataset: check_stacks.py DATASET FOLDED PPROF [FROM TO]"""

import gzip
import sys
from collections import Counter

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.unknown_fields import UnknownFieldSet

from common import Dataset, same


def profile_class():
    """pprof's messages, as profile.proto has them."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="profile.proto", package="perftools.profiles", syntax="proto3")
    messages = {
        "ValueType": "type:1 unit:2",
        "Label": "key:1 str:2 num:3 num_unit:4",
        "Sample": "*location_id:1:u *value:2 *label:3:Label",
        "Mapping": "id:1:u memory_start:2:u memory_limit:3:u file_offset:4:u filename:5 build_id:6",
        "Line": "function_id:1:u line:2",
        "Location": "id:1:u mapping_id:2:u address:3:u *line:4:Line is_folded:5:b",
        "Function": "id:1:u name:2 system_name:3 filename:4 start_line:5",
        "Profile": "*sample_type:1:ValueType *sample:2:Sample *mapping:3:Mapping *location:4:Location "
        "*function:5:Function *string_table:6:s drop_frames:7 keep_frames:8 time_nanos:9 duration_nanos:10 "
        "period_type:11:ValueType period:12 *comment:13 default_sample_type:14",
    }
    types = {"": field.TYPE_INT64, "u": field.TYPE_UINT64, "b": field.TYPE_BOOL, "s": field.TYPE_STRING}
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for text in fields.split():
            key, number, kind = (text.lstrip("*") + ":").split(":")[:3]
            one = message.field.add(name=key, number=int(number))
            one.label = field.LABEL_REPEATED if text[0] == "*" else field.LABEL_OPTIONAL
            one.type = types.get(kind, field.TYPE_MESSAGE)
            if one.type == field.TYPE_MESSAGE:
                one.type_name = f".perftools.profiles.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("perftools.profiles.Profile"))


def no_unknown_fields(message):
    same(len(UnknownFieldSet(message)), 0, "fields that pprof does not know")
    for field, value in message.ListFields():
        if field.message_type:
            for part in value:
                no_unknown_fields(part)


dataset = Dataset(sys.argv[1], sys.argv[4:6])
vm_name = {r["vm_id"]: r["name"] or f"vm {r['vm_id']}" for r in dataset.raw("vms")}
vcpu_name, seen = {}, Counter()
for r in dataset.raw("vcpus"):
    vcpu_name[r["vcpu_id"]] = f"vCPU {seen[r['vm_id']] if r['index'] is None else r['index']}"
    seen[r["vm_id"]] += 1
process_name = {r["process_id"]: r["name"] or f"CR3 {r['cr3']:#x}" for r in dataset.raw("processes")}
process_name[None] = "no process known"


def length(ticks):
    return ticks if dataset.hz is None else (ticks * 10**9 + dataset.hz // 2) // dataset.hz


ticks, exits = Counter(), Counter()
for r in dataset.rows("vcpu_states"):
    ticks[r["vm_id"], r["vcpu_id"], r["process_id"], r["state"]] += r["ticks"]
for r in dataset.rows("exits", "exit", "exit"):
    exits[r["vm_id"], r["vcpu_id"], r["process_id"], "guest"] += 1

named = Counter()
for (vm, vcpu, process, state), sum_ in ticks.items():
    named[f"{vm_name[vm]};{vcpu_name[vcpu]};{process_name[process]};{state}"] += sum_
folded = {}
for line in open(sys.argv[2]):
    stack, value = line.rstrip("\n").rsplit(" ", 1)
    same(stack in folded, False, f"{stack} twice")
    folded[stack] = int(value)
same(folded, {stack: length(sum_) for stack, sum_ in named.items() if sum_ > 0}, "folded stacks")

profile = profile_class()()
profile.ParseFromString(gzip.open(sys.argv[3]).read())
no_unknown_fields(profile)
text = profile.string_table
same(text[0], "", "the first text")
unit = "ticks" if dataset.hz is None else "nanoseconds"
same([(text[t.type], text[t.unit]) for t in profile.sample_type], [("time", unit), ("exits", "count")], "values")
same(text[profile.default_sample_type], "time", "the value shown first")
function = {f.id: text[f.name] for f in profile.function}
location = {place.id: function[place.line[0].function_id] for place in profile.location}
same(0 in function or 0 in location, False, "ids are not zero")
time, count = Counter(), Counter()
for sample in profile.sample:
    stack = tuple(location[id] for id in sample.location_id)
    time[stack] += sample.value[0]
    count[stack] += sample.value[1]
wanted_time, wanted_count = Counter(), Counter()
for key in ticks.keys() | exits.keys():
    vm, vcpu, process, state = key
    of = vm_name[vm]
    stack = state, f"{process_name[process]} of {of}", f"{vcpu_name[vcpu]} of {of}", of
    wanted_time[stack] += length(ticks[key])
    wanted_count[stack] += exits[key]
same(dict(time), dict(wanted_time), "the profile's times")
same(dict(count), dict(wanted_count), "the profile's exits")
print(f"{len(folded)} folded stacks, {len(profile.sample)} samples")
