//! A node that is simulated, whose kernel writes into rings: what is read of them while it goes on, held against the
//! analysis of the whole recording.

use std::collections::BTreeMap;
use std::time::Duration;

use havana_capture::fake::{Bell, FakeKernel};
use havana_capture::ring::{Rings, Size};
use havana_capture::session::{Cpu, Events, Filled, Session};
use havana_rows::CpuStateKind;
use havana_sim::{Node, PerfData, Scenario};
use havana_timeline::{Analysis, Survey, errata_of};
use havana_trace::perf_data::{Attribute, Event, MachineNote, PtBits, TimeConv};

use super::*;
use crate::tally::Tally;
use crate::window::{margins, ticks};
use havana_capture::ring::record_kind;

/// A cpu's rings, and the kernel's side of them: of trace; of records.
fn cpu(number: u32) -> (Cpu, [FakeKernel; 2]) {
    let filled = |size| {
        let (rings, kernel) = Rings::in_memory(size).unwrap();
        let control = Box::new(Bell::new().unwrap());
        (Filled { control, rings }, kernel)
    };
    let (trace, trace_kernel) = filled(Size { data: 64 << 10, aux: 1 << 20 });
    let (records, records_kernel) = filled(Size { data: 1 << 20, aux: 0 });
    (Cpu::new(number, Some(trace), records), [trace_kernel, records_kernel])
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Events of a perf.data's header.
fn events(file: &[u8]) -> Vec<Event> {
    let (entry, from, len) = (word(file, 16) as usize, word(file, 24) as usize, word(file, 32) as usize);
    let events = file[from..from + len].chunks(entry).map(|attr| {
        let (ids, len) = (word(attr, entry - 16) as usize, word(attr, entry - 8) as usize);
        let attribute = Attribute {
            sample_type: Attribute::BEHIND_RECORDS,
            pmu: word(attr, 0) as u32,
            config: word(attr, 8),
            flags: word(attr, 40),
            read_format: word(attr, 32),
            wakeup_watermark: 0,
            aux_watermark: 0,
        };
        let ids = file[ids..ids + len].chunks(8).map(|id| word(id, 0)).collect();
        Event { name: "event".into(), attribute, ids }
    });
    events.collect()
}

/// A perf.data of a node.
fn recorded(scenario: &Scenario) -> Vec<u8> {
    let mut node = Node::new(scenario);
    let mut recording = PerfData::new(Cursor::new(Vec::new()), scenario, &node).unwrap();
    node.run(&mut recording);
    recording.finish(node.end()).unwrap().0.into_inner()
}

fn look(trace: &Trace, from: i64, to: i64) -> (Tally, Option<i64>) {
    let mut tally = Tally::new(from, to);
    let survey = Survey::of(trace);
    let Ok(summary) = Analysis::new(trace, &survey, Some((from, to))).run(&mut tally, &mut |_| {});
    (tally, summary.first_tsc)
}

#[test]
fn rings_that_fill_say_what_the_whole_recording_says() {
    const INTERVAL: Duration = Duration::from_millis(100);
    // A round is of what each cpu's driver has told of, and that is a while ago.
    const LATE: Duration = Duration::from_millis(100);
    let mut scenario = Scenario::named("overcommit").unwrap();
    scenario.node.seconds = 1.5;
    scenario.trace.ring_kb = 16;
    scenario.trace.psb_bytes = 4096;
    let file = recorded(&scenario);
    let whole = open_perf(Path::new("whole"), Map::from(file.clone()), Facts::default()).unwrap();
    let hz = whole.facts.tsc_hz.unwrap();
    let start = Start {
        events: events(&file),
        cpus: vec![0, 1],
        clock: TimeConv::of_khz((hz / 1000) as u32, 5_000_000_000),
        bits: PtBits::default(),
        tsc_ctc_ratio: whole.facts.tsc_ctc_ratio.unwrap(),
        max_nonturbo_ratio: 20,
        snapshot: false,
        event_trace: false,
    };
    let about = About { os_release: "6.1.0".into(), cpus_online: 2, ..About::default() };
    let notes = [RecorderNote::Machine(MachineNote::default())];
    let machine = Machine { start: &start, about: &about, notes: &notes };

    let (cpus, mut kernels): (Vec<Cpu>, Vec<[FakeKernel; 2]>) = (0..2).map(cpu).unzip();
    let mut session = Session::of(Events::records_only(1 << 20, false), cpus).unwrap();
    let mut gathered = Gathered::new(errata_of(whole.facts.cpu), Vec::new());
    let (lead, tail) = margins(INTERVAL);
    let (lead, tail) = (ticks(lead, hz), ticks(tail, hz));
    let first = look(&whole, i64::MIN / 4, i64::MAX / 4).1.unwrap();
    let mut from = first;
    let mut windows: Vec<(Trace, i64, i64)> = Vec::new();
    let (mut kept, mut newest, mut told) = (0, 0, [0; 2]);

    let (mut at, end) = (word(&file, 40) as usize, (word(&file, 40) + word(&file, 48)) as usize);
    while at < end {
        let header = word(&file, at);
        let (kind, size) = (header as u32, (header >> 48) as usize);
        let record = &file[at..at + size];
        at += size;
        match kind {
            // AUXTRACE
            71 => {
                let (len, cpu) = (word(record, 8) as usize, word(record, 40) as usize);
                newest = word(record, 24) as i64;
                // Up to seven bytes are padding, which the driver has not told of.
                let wrote = (told[cpu] - word(record, 16)) as usize;
                assert_eq!(kernels[cpu][0].trace(&file[at..at + wrote]), wrote);
                at += len;
            }
            // FINISHED_ROUND
            68 => {
                while session.take(&mut gathered).unwrap() {}
                let now = newest - ticks(LATE, hz);
                if now - tail >= from + ticks(INTERVAL, hz) {
                    gathered.taken(now);
                    let to = now - tail;
                    windows.push((gathered.read(&machine, now).unwrap(), from, to));
                    from = to;
                    gathered.forget(to - lead);
                    kept = kept.max(gathered.kept());
                }
            }
            64.. => {}
            _ => {
                let cpu = word(record, size - 16) as usize;
                let about_trace = matches!(kind, record_kind::AUX | record_kind::ITRACE_START);
                if kind == record_kind::AUX {
                    told[cpu] = word(record, 8) + word(record, 16);
                }
                assert!(kernels[cpu][usize::from(!about_trace)].record(record));
            }
        }
    }
    assert!(windows.len() >= 8, "{}", windows.len());
    let bytes: u64 = whole.streams.iter().map(havana_trace::Stream::len).sum();
    assert!(kept as u64 * 2 < bytes, "{kept} of {bytes}");

    // Together they say what the whole says of that time.
    let (all, _) = look(&whole, first, from);
    let span = from - first;
    let most = span / 400;
    let mut cpus: BTreeMap<(i32, CpuStateKind), i64> = BTreeMap::new();
    let (mut guests, mut exits): (BTreeMap<i64, i64>, i64) = (BTreeMap::new(), 0);
    let names = |tally: &Tally| -> BTreeMap<i64, Option<String>> {
        tally.vms.iter().map(|vm| (vm.host_cr3, vm.name.clone())).collect()
    };
    for (trace, from, to) in &windows {
        let (tally, _) = look(trace, *from, *to);
        for (cpu, ticks) in &tally.cpus {
            assert_eq!(ticks.iter().sum::<i64>(), to - from, "every instant of cpu {cpu} is in a state");
            for state in CpuStateKind::ALL {
                *cpus.entry((*cpu, *state)).or_default() += ticks[*state as usize];
            }
        }
        for vm in &tally.vms {
            *guests.entry(vm.host_cr3).or_default() += tally.vm_sums.get(&vm.vm_id).map_or(0, |sum| sum.guest);
        }
        exits += tally.vcpu_sums.values().map(|sum| sum.exits as i64).sum::<i64>();
        assert_eq!((tally.nameless, tally.losses.len()), (0, 0));
        for (vm, name) in names(&tally) {
            assert!(name.is_some() && names(&all).get(&vm) == Some(&name), "{vm:#x} is {name:?}");
        }
        assert!(trace.sideband.as_ref().is_some_and(|s| s.tells_switches() && s.tells_preemption && s.all_cpus));
    }
    for (cpu, ticks) in &all.cpus {
        for state in CpuStateKind::ALL {
            let off = cpus[&(*cpu, *state)] - ticks[*state as usize];
            assert!(off.abs() <= most, "cpu {cpu}: {}: {off:+} of {span}", state.name());
        }
    }
    for vm in &all.vms {
        let off = guests[&vm.host_cr3] - all.vm_sums[&vm.vm_id].guest;
        assert!(off.abs() <= most, "guest of {:#x}: {off:+} of {span}", vm.host_cr3);
    }
    let off = exits - all.vcpu_sums.values().map(|sum| sum.exits as i64).sum::<i64>();
    assert!(off.unsigned_abs() <= 2 * windows.len() as u64, "exits: {off:+}");
}

/// Bytes of a PSB+ that was made in root operation, or in a guest.
fn plus(nr: bool, tsc: u64) -> Vec<u8> {
    use havana_packet::{Packet, encode};
    let mut bytes = Vec::new();
    for packet in [Packet::Psb, Packet::Pip { cr3: 0x1000, nr }, Packet::Tsc { tsc }, Packet::PsbEnd] {
        encode(&packet, &mut bytes).unwrap();
    }
    // MTCs, as many as make it long.
    bytes.resize(1000, 0x59);
    bytes
}

#[test]
fn what_is_kept_begins_where_a_decoder_can() {
    let mut gathered = Gathered::default();
    let mut at = 0;
    let mut give = |gathered: &mut Gathered, bytes: &[u8], now| {
        // Whatever comes in one piece or two.
        gathered.trace(3, at, [&bytes[..7], &bytes[7..]]).unwrap();
        at += bytes.len() as u64;
        gathered.taken(now);
    };
    let place = |gathered: &Gathered| (gathered.rings[&3].from, gathered.rings[&3].bytes.len());
    give(&mut gathered, &[plus(false, 100), plus(true, 5), plus(false, 200)].concat(), 300);
    give(&mut gathered, &[plus(true, 6), plus(true, 7)].concat(), 400);
    gathered.forget(50);
    assert_eq!(place(&gathered), (0, 5000), "there is none so old");
    gathered.forget(199);
    assert_eq!(place(&gathered), (0, 5000));
    gathered.forget(1_000);
    assert_eq!(place(&gathered), (2000, 3000), "guests' date nothing");
    // A cpu that stays in its guest: what is old goes, at a PSB.
    for now in 0..8_000 {
        give(&mut gathered, &plus(true, 8), 1_000 + now);
        gathered.forget(900 + now);
    }
    let (from, len) = place(&gathered);
    assert!(len <= MOST_BEFORE + 200_000 && from % 1000 == 0, "{from} {len}");
    // Something is missing between.
    gathered.trace(3, 1 << 40, [&plus(false, 5_000), &[]]).unwrap();
    assert_eq!(place(&gathered), (1 << 40, 1000));
}
