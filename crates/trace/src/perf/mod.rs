//! perf.data, as `perf record -e intel_pt//` writes it: file, pipe, directory.
//!
//! | module | what it reads |
//! | --- | --- |
//! | `header` | events and features |
//! | `record` | one record after the other, compressed ones too |
//! | `sample_id` | when, where and by whom a record was made |
//! | `clock` | event time to TSC |
//! | `index` | first pass: each cpu's trace, what is missing of it |
//! | `snapshot` | rings that were overwritten |
//! | `events` | second pass: what the kernel said, in the order of time |
//! | `note` | what our own recorder said |
//! | `write` | the other way: a perf.data is written |
//!
//! Trace bytes stay in the mapped file: a stream is a list of places in it. Nothing grows with the file but that list.
//!
//! Why not `linux-perf-data`: it copies the trace, takes lengths in the file for sizes of its buffers, and refuses a file
//! that was cut off, or whose events it does not know.

mod bytes;
mod clock;
mod events;
mod header;
mod index;
mod note;
mod record;
mod sample_id;
mod snapshot;
pub mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use havana_map::Map;

pub use header::UNNAMED;

pub(crate) use events::Events;
use header::{Event, Header, MAGIC, MAGIC_BIG_ENDIAN};
use index::{Found, Index, PtInfo};
use record::Fault;

use crate::sideband::Kept;
use crate::{CpuModel, Facts, Note, Recording, Sideband, Source, Stream, Trace, TraceError, Wall};

/// `PERF_RECORD_MISC_SWITCH_OUT` and `_PREEMPT`.
const MISC_SWITCH_OUT: u16 = 1 << 13;
const MISC_SWITCH_OUT_PREEMPT: u16 = 1 << 14;

/// Bits of Intel PT's `config` that are fixed (SDM, IA32_RTIT_CTL).
const BRANCH_EN: u64 = 1 << 13;

/// Whether these bytes begin a perf.data, of whichever machine.
pub(crate) fn is_perf(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC) || bytes.starts_with(MAGIC_BIG_ENDIAN)
}

/// Reads a perf.data that is mapped, or in memory.
pub(crate) fn open(path: &Path, map: Map, over: Facts) -> Result<Trace, TraceError> {
    let at = || path.to_path_buf();
    let map = Arc::new(map);
    let file: &[u8] = &map;
    if !file.starts_with(MAGIC) && !file.starts_with(MAGIC_BIG_ENDIAN) {
        return Err(TraceError::Damaged { path: at(), offset: 0, why: "it does not begin as a perf.data does" });
    }
    if file.starts_with(MAGIC_BIG_ENDIAN) {
        return Err(TraceError::OtherMachine { path: at(), arch: "a big-endian one".into() });
    }
    let Some(mut header) = Header::read(file) else {
        return Err(TraceError::Cut { path: at(), offset: file.len() as u64 });
    };
    let mut index = Index::of(file, &mut header, &mut |from, to| map.release(from as usize..to as usize));
    if index.fault.is_none() && header.records.1 > file.len() as u64 {
        index.fault = Some((file.len() as u64, Fault::Cut));
    }
    if let Some(machine) = index.recorder.as_ref().map(|r| &r.machine) {
        header.learn(machine);
    }
    let info = pt_of(&at, &header, &index)?;
    // Of some cgroups only: a cpu's trace is off while others run.
    let cgroups = |w: &String| w == "-G" || w.starts_with("--cgroup") || w.starts_with("--for-each-cgroup");
    index.threads |= header.command.iter().any(cgroups);
    let event = header.events.iter().find(|e| u64::from(e.pmu) == info.pmu);
    let clock = header.events.iter().find_map(Event::clock);
    let conv = info.conv.or(index.time_conv).filter(|_| clock.is_none());
    let name = path.display().to_string();
    let due = event.map(|e| u64::from(e.aux_watermark)).filter(|due| *due > 0);
    let found = index.streams(file, conv, due);
    let in_samples = |e: &Event| e.sample_type.is_some_and(|t| t & header::sample::AUX != 0);
    if found.is_empty() && header.events.iter().any(in_samples) {
        return Err(TraceError::AuxSamples { path: at() });
    }
    if found.is_empty() {
        return Err(TraceError::NoTrace { path: at(), offset: index.fault.map_or(file.len() as u64, |f| f.0) });
    }
    let streams = found.into_iter().map(|Found { cpu, parts, began, stopped, end }| {
        let mut stream = Stream::new(cpu, name.clone(), map.clone(), parts);
        (stream.began, stream.stopped, stream.end) = (began, stopped, end);
        stream
    });
    let streams = streams.collect();
    let recording = recording(&header, &index, event, clock.filter(|_| conv.is_none()));
    let facts = facts(&header, &info, event, conv).overridden_by(over);
    let release = header.os_release.as_deref().map(release_of);
    let all_cpus = header.cpus.is_none_or(|cpus| index.seen_cpus() >= cpus as usize);
    let tells_preemption = index.preemptions || release.is_some_and(|r| r >= (4, 17));
    let resolution = conv.map_or(0, clock::TimeConv::resolution);
    let events = Events::new(map.clone(), header.records, std::mem::take(&mut index.ids), conv, index.switches);
    let wall = header
        .clocks
        .zip(conv)
        .map(|(pair, conv)| Wall { tsc: conv.tsc(pair.event_ns), ns: i64::try_from(pair.wall_ns).unwrap_or(i64::MAX) });
    let wall = wall.or(index.recorder.as_ref().and_then(|r| r.wall));
    Ok(Trace {
        node: header.hostname.clone(),
        streams,
        facts,
        recording: Recording { wall, recorder: index.recorder, ..recording },
        sideband: Some(Sideband { kept: Kept::File(events), tells_preemption, all_cpus, resolution }),
        sources: vec![Source { name, map }],
    })
}

/// What the file says of Intel PT; an error that says what it has instead. Features are of the machine that wrote the
/// file last, which may be another: where there is Intel PT they do not matter.
fn pt_of(at: &dyn Fn() -> PathBuf, header: &Header, index: &Index) -> Result<PtInfo, TraceError> {
    let info = match index.info {
        Some(Ok(info)) => return Ok(info),
        Some(Err(of)) => Some(of),
        None => None,
    };
    let id = header.cpu_id.as_deref().unwrap_or_default();
    if id.starts_with("AuthenticAMD") || id.starts_with("HygonGenuine") {
        return Err(TraceError::Amd { path: at() });
    }
    if let Some(arch) = header.arch.as_deref().filter(|a| !matches!(*a, "x86_64" | "i686" | "i386")) {
        return Err(TraceError::OtherMachine { path: at(), arch: arch.into() });
    }
    if let Some(of) = info {
        let what = match of {
            2 => "intel_bts",
            3 => "cs_etm (Arm)",
            4 => "arm_spe (Arm)",
            5 => "s390_cpumsf (s390)",
            6 => "hisi_ptt (Arm)",
            _ => "of a kind not known",
        };
        return Err(TraceError::OtherTrace { path: at(), what });
    }
    match index.fault {
        Some((offset, Fault::Damaged(why))) => Err(TraceError::Damaged { path: at(), offset, why }),
        Some((offset, Fault::Cut)) => Err(TraceError::Cut { path: at(), offset }),
        None if header.records.0 >= header.records.1 => Err(TraceError::Cut { path: at(), offset: header.records.0 }),
        None => {
            let names = &header.event_names;
            let has = if names.is_empty() { "nothing that is named".into() } else { names.join(", ") };
            Err(TraceError::NoIntelPt { path: at(), has })
        }
    }
}

fn facts(header: &Header, info: &PtInfo, event: Option<&Event>, conv: Option<clock::TimeConv>) -> Facts {
    let config = event.map_or(0, |e| e.config);
    let has_mtc = config & info.mtc_bit != 0;
    let period = (config & info.mtc_freq_bits).checked_shr(info.mtc_freq_bits.trailing_zeros()).unwrap_or(0);
    let ratio = match (u32::try_from(info.tsc_ctc.0), u32::try_from(info.tsc_ctc.1)) {
        (Ok(n), Ok(d)) if d > 0 && n >= d => Some((n, d)),
        _ => None,
    };
    let model = |id: &str| {
        let mut parts = id.split(',');
        let intel = parts.next() == Some("GenuineIntel");
        let mut number = || parts.next()?.trim().parse().ok();
        let model = CpuModel { family: number()?, model: number()?, stepping: number()? };
        intel.then_some(model)
    };
    Facts {
        tsc_hz: conv.map(clock::TimeConv::hz),
        tsc_ctc_ratio: ratio,
        mtc_period: u8::try_from(period).ok().filter(|p| has_mtc && *p <= 15),
        cpu: header.cpu_id.as_deref().and_then(model),
    }
}

fn recording(header: &Header, index: &Index, event: Option<&Event>, clock: Option<&'static str>) -> Recording {
    let mut notes = index.notes.clone();
    let (kernel, user) = (event.map(Event::kernel), event.map(Event::user));
    if kernel == Some(false) {
        notes.push(Note::NoKernel);
    } else if user == Some(false) {
        notes.push(Note::NoUser);
    }
    if index.threads {
        notes.push(Note::ThreadsOnly);
    }
    if let Some(clock) = clock {
        notes.push(Note::NoTime { clock });
    }
    match index.fault {
        Some((offset, Fault::Cut)) => notes.push(Note::Cut { offset }),
        Some((offset, Fault::Damaged(why))) => notes.push(Note::Damaged { offset, why }),
        None if index.recorder.as_ref().map_or(header.open && !header.pipe, |r| r.ended.is_none()) => {
            notes.push(Note::Unfinished);
        }
        None => {}
    }
    Recording {
        command: header.command.clone(),
        os_release: header.os_release.clone(),
        cpu_name: header.cpu_name.clone(),
        thread_siblings: header.thread_siblings.clone(),
        system_wide: Some(!index.threads),
        kernel,
        user,
        branches: event.map(|e| e.config & BRANCH_EN != 0),
        wall: None,
        recorder: None,
        notes,
    }
}

/// Major and minor of a kernel's release.
fn release_of(release: &str) -> (u32, u32) {
    let mut parts = release.split(['.', '-']).map_while(|p| p.parse().ok());
    (parts.next().unwrap_or(u32::MAX), parts.next().unwrap_or(0))
}
