//! The first pass over a perf.data: where each cpu's trace is, and what is missing of it.
//!
//! Trace comes in AUXTRACE records, some from each cpu's ring in turn, with their place in the ring's whole stream. What
//! happened in the ring the kernel tells in AUX records: each is a stretch between two moments at which the driver
//! stopped the trace. Between two stretches the driver may have turned it on again at once, or threads ran that were
//! not to be traced, or the ring was full.
//!
//! ```text
//! AUX       │ stretch 0 │ stretch 1      │ stretch 2 (TRUNCATED) │        │ stretch 3
//! AUXTRACE  │ chunk 0        │ chunk 1 … padding │ chunk 2        │        │ chunk 3
//! parts     │ First     │Pau-│ sed            │ Paused            │ Dropped│ Missing …
//! ```

use std::collections::BTreeMap;

use super::bytes::{u32_at, u64_at};
use super::clock::TimeConv;
use super::header::Header;
use super::note::RecorderNote;
use super::record::{Fault, Record, Records, kind};
use super::sample_id::{SampleId, SampleIds};
use super::snapshot;
use crate::stream::Part;
use crate::{Cause, Join, Missing, Note, Pause, Recorder};

/// AUXTRACE_INFO of Intel PT, as perf writes it (`tools/perf/util/intel-pt.h`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PtInfo {
    pub(super) pmu: u64,
    pub(super) conv: Option<TimeConv>,
    pub(super) mtc_bit: u64,
    pub(super) mtc_freq_bits: u64,
    pub(super) tsc_ctc: (u64, u64),
    pub(super) snapshot: bool,
}

/// Type of Intel PT in AUXTRACE_INFO.
const INTEL_PT: u32 = 1;

impl PtInfo {
    fn read(body: &[u8]) -> PtInfo {
        let word = |i: usize| u64_at(body, 8 + 8 * i).unwrap_or(0);
        PtInfo {
            pmu: word(0),
            conv: (word(4) != 0).then(|| TimeConv::new(word(1), word(2), word(3))).flatten(),
            mtc_bit: word(10),
            mtc_freq_bits: word(11),
            tsc_ctc: (word(12), word(13)),
            snapshot: word(8) != 0,
        }
    }
}

/// Flags of an AUX record.
pub mod aux_flag {
    /// The ring was full.
    pub const TRUNCATED: u64 = 1;
    /// The ring is overwritten.
    pub const OVERWRITE: u64 = 2;
    /// Trace is missing: VMX operation, on a processor that cannot trace it.
    pub const PARTIAL: u64 = 4;
    /// Samples collided.
    pub const COLLISION: u64 = 8;
}

/// A piece of a ring's stream, as the recorder wrote it out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    /// Place in the ring's stream.
    at: u64,
    pub(super) size: u64,
    /// Offset in the file.
    pub(super) offset: u64,
    /// The TSC when it was read.
    pub(super) read: u64,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.at.saturating_add(self.size)
    }
}

/// For how long the trace of a ring pauses.
#[derive(Debug, Clone, Copy)]
enum Pauses {
    /// Moments, all of them.
    Moments,
    /// Those that come when so many bytes have come; of others nothing is known.
    Due(Option<u64>),
}

/// A stretch between two stops of the trace.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    at: u64,
    size: u64,
    flags: u64,
    /// Event time at which it had stopped.
    stopped: Option<u64>,
    /// Event time of the last switch to a traced thread before it.
    switched: Option<u64>,
    /// It went on after it, and stopped before it had another byte.
    twice: bool,
}

impl Stretch {
    /// The driver's interrupt ended it: that comes each time that so many bytes have come (Linux
    /// `perf_aux_output_begin`, `pt_buffer_reset_markers`), so what ends before has another end.
    fn interrupted(&self, due: u64) -> bool {
        self.end() / due > self.at / due && !self.twice
    }

    fn end(&self) -> u64 {
        self.at.saturating_add(self.size)
    }
}

/// A ring: of a cpu, or of a thread where cpus are not told apart.
#[derive(Debug, Default)]
struct Ring {
    /// Only some threads were traced.
    threads: bool,
    chunks: Vec<Chunk>,
    stretches: Vec<Stretch>,
    switched: Option<u64>,
    sees_switches: bool,
    first_seen: Option<u64>,
    last_seen: Option<u64>,
    /// Event time at which the kernel said that its trace begins.
    started: Option<u64>,
}

/// A cpu's trace.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) cpu: u32,
    pub(super) parts: Vec<Part>,
    /// Host TSC: it did not begin before.
    pub(super) began: Option<i64>,
    /// Host TSC: it had stopped by then.
    pub(super) stopped: Option<i64>,
    /// What is missing at its end.
    pub(super) end: Option<Missing>,
}

/// What the first pass finds.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// `None` where there is no AUXTRACE_INFO; a type that is not Intel PT's.
    pub(super) info: Option<Result<PtInfo, u32>>,
    pub(super) time_conv: Option<TimeConv>,
    pub(super) ids: SampleIds,
    pub(super) notes: Vec<Note>,
    pub(super) fault: Option<(u64, Fault)>,
    /// Some threads only were traced.
    pub(super) threads: bool,
    /// The kernel told of switches between threads, of its cpu each.
    pub(super) switches: bool,
    /// And that one was preempted.
    pub(super) preemptions: bool,
    /// What our own recorder said.
    pub(super) recorder: Option<Recorder>,
    /// Rings are of threads, on whichever cpu.
    no_cpus: bool,
    rings: BTreeMap<u32, Ring>,
    lost: u64,
}

/// Memory is given back each time so many bytes were read.
const RELEASE: u64 = 16 << 20;

impl Index {
    /// Reads all records. `header` learns what a pipe's records say. `release`: the reader is past these offsets.
    pub(super) fn of(file: &[u8], header: &mut Header, release: &mut dyn FnMut(u64, u64)) -> Index {
        let mut index = Index { ids: SampleIds::new(&header.events), ..Index::default() };
        let mut records = Records::new(file, header.records.0..header.records.1);
        let mut released = header.records.0;
        loop {
            let at = records.offset();
            match records.step(&mut |record| index.record(&record, header)) {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) => {
                    let end = header.records.1.min(file.len() as u64);
                    index.fault = Some((if fault == Fault::Cut { end } else { at }, fault));
                    break;
                }
            }
            if at >= released + RELEASE {
                release(released, at);
                released = at;
            }
        }
        if index.lost > 0 {
            index.notes.push(Note::EventsLost { count: index.lost });
        }
        if index.no_cpus {
            index.notes.push(Note::NoCpus);
        }
        index.threads = index.rings.values().any(|r| r.threads);
        index
    }

    fn record(&mut self, record: &Record<'_>, header: &mut Header) {
        let body = record.body;
        match record.kind {
            kind::HEADER_ATTR => {
                header.attr_record(record);
                self.ids = SampleIds::new(&header.events);
            }
            kind::HEADER_FEATURE => header.feature_record(record),
            kind::ID_INDEX => self.ids.id_index(body),
            kind::AUXTRACE_INFO => {
                let of = u32_at(body, 0).unwrap_or(0);
                self.info = Some(if of == INTEL_PT { Ok(PtInfo::read(body)) } else { Err(of) });
            }
            kind::TIME_CONV => {
                if let (Some(shift), Some(mult), Some(zero)) = (u64_at(body, 0), u64_at(body, 8), u64_at(body, 16)) {
                    self.time_conv = TimeConv::new(shift, mult, zero);
                }
            }
            kind::AUXTRACE => self.auxtrace(record),
            kind::NOTE => {
                if let Some(note) = RecorderNote::read(body) {
                    self.recorder.get_or_insert_default().hear(note);
                }
            }
            kind::LOST => self.lost = self.lost.saturating_add(u64_at(body, 8).unwrap_or(0)),
            kind if kind < kind::USER && kind != kind::SAMPLE => self.event(kind, body, record.misc),
            _ => {}
        }
    }

    fn auxtrace(&mut self, record: &Record<'_>) {
        let (Some(at), Some(read)) = (u64_at(record.body, 8), u64_at(record.body, 16)) else { return };
        let (Some(tid), Some(cpu)) = (u32_at(record.body, 28), u32_at(record.body, 32)) else { return };
        let (offset, end) = record.payload;
        // All ones is "any".
        let key = if cpu == u32::MAX { tid } else { cpu };
        self.no_cpus |= cpu == u32::MAX;
        let ring = self.rings.entry(key).or_default();
        ring.threads |= tid != u32::MAX;
        ring.chunks.push(Chunk { at, size: end - offset, offset, read });
    }

    fn event(&mut self, kind: u32, body: &[u8], misc: u16) {
        let SampleId { time, cpu, tid, .. } = self.ids.read(body);
        let time = time.filter(|t| *t > 0);
        let Some(key) = cpu.or_else(|| u32::try_from(tid?).ok()) else { return };
        if let kind::SWITCH | kind::SWITCH_CPU_WIDE = kind {
            self.switches |= cpu.is_some() && time.is_some();
            self.preemptions |= misc & super::MISC_SWITCH_OUT_PREEMPT != 0;
        }
        // Where cpus are not told apart, only the ring of a thread is of interest.
        if cpu.is_none() && kind != kind::AUX && !self.rings.contains_key(&key) {
            return;
        }
        let ring = self.rings.entry(key).or_default();
        if let Some(time) = time {
            ring.first_seen = Some(ring.first_seen.map_or(time, |t| t.min(time)));
            ring.last_seen = ring.last_seen.max(Some(time));
        }
        match kind {
            kind::AUX => {
                let (Some(at), Some(size), Some(flags)) = (u64_at(body, 0), u64_at(body, 8), u64_at(body, 16)) else {
                    return;
                };
                let switched = ring.switched.take();
                ring.stretches.push(Stretch { at, size, flags, stopped: time, switched, twice: false });
            }
            kind::SWITCH | kind::SWITCH_CPU_WIDE => {
                ring.sees_switches = true;
                if misc & super::MISC_SWITCH_OUT == 0 {
                    ring.switched = time;
                }
            }
            kind::ITRACE_START => ring.started = ring.started.or(time),
            _ => {}
        }
    }

    /// How many cpus the kernel spoke of.
    pub(super) fn seen_cpus(&self) -> usize {
        self.rings.values().filter(|ring| ring.last_seen.is_some()).count()
    }

    /// The cpus that have trace. `due`: bytes of it from one interrupt of the driver to the next, where that is known.
    pub(super) fn streams(&mut self, file: &[u8], conv: Option<TimeConv>, due: Option<u64>) -> Vec<Found> {
        let tsc = |ns: Option<u64>| Some(conv?.tsc(ns?));
        let mut flags = 0;
        let mut silent = Vec::new();
        let mut streams = Vec::new();
        let snapshot = matches!(self.info, Some(Ok(PtInfo { snapshot: true, .. })));
        // The last moment that the kernel speaks of.
        let last_seen = self.rings.values().filter_map(|r| r.last_seen).max();
        for (&key, ring) in &mut self.rings {
            flags |= ring.stretches.iter().fold(0, |all, s| all | s.flags);
            if ring.chunks.iter().all(|c| c.size == 0) {
                if ring.started.is_some() || !ring.stretches.is_empty() {
                    silent.push(key);
                }
                continue;
            }
            let overwrite = ring.stretches.iter().any(|s| s.flags & aux_flag::OVERWRITE != 0);
            let parts = if overwrite || snapshot {
                snapshot::parts(file, &ring.chunks)
            } else {
                ring.tidy();
                // Our own recorder never stops a trace that goes on but for a moment.
                let pauses = if self.recorder.is_some() { Pauses::Moments } else { Pauses::Due(due) };
                ring.parts(self.threads, pauses, &tsc)
            };
            if parts.is_empty() {
                continue;
            }
            // Our own recorder empties the rings of all cpus at once: one that ends before the others was lost sight of.
            ring.last_seen = ring.last_seen.max(last_seen.filter(|_| self.recorder.is_some()));
            let end = ring.ending(self.threads, overwrite, last_seen.filter(|_| self.fault.is_some()), &tsc);
            let stopped = tsc(ring.stretches.iter().filter_map(|s| s.stopped).max());
            streams.push(Found { cpu: key, parts, began: tsc(ring.started), stopped, end });
        }
        if !silent.is_empty() {
            self.notes.push(Note::NoTraceOf { cpus: silent });
        }
        if flags & aux_flag::PARTIAL != 0 {
            self.notes.push(Note::NoVmx);
        }
        streams
    }
}

impl Ring {
    /// Stretches in the order of the stream, each with a begin of its own.
    fn tidy(&mut self) {
        self.stretches.sort_by_key(|s| s.at);
        // One without bytes only says how the one before it ended.
        self.stretches.dedup_by(|this, before| {
            let of_before = this.size == 0 && before.end() == this.at;
            if of_before {
                before.twice = true;
                before.flags |= this.flags;
                before.stopped = before.stopped.or(this.stopped);
            }
            of_before || this.at == before.at
        });
    }

    /// The ring's stream, cut where it was stopped.
    fn parts(&self, threads: bool, pauses: Pauses, tsc: &dyn Fn(Option<u64>) -> Option<i64>) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        // Up to here the stream is told.
        let mut told: Option<u64> = None;
        let mut next = 0;
        for chunk in &self.chunks {
            let mut from = chunk.at;
            match told {
                // perf fills up to eight bytes.
                Some(end) if from < end && end - from < 8 => {
                    if let Some(last) = parts.last_mut() {
                        last.len = last.len.saturating_sub(end - from);
                    }
                }
                // Told twice.
                Some(end) if from < end => from = end.min(chunk.end()),
                _ => {}
            }
            while from < chunk.end() {
                while self.stretches.get(next).is_some_and(|s| s.at < from) {
                    next += 1;
                }
                let begins = self.stretches.get(next).is_some_and(|s| s.at == from);
                let cut = self.stretches.get(next + usize::from(begins)).map_or(u64::MAX, |s| s.at);
                let to = chunk.end().min(cut);
                let join = match told {
                    None => Join::First,
                    Some(end) if begins && next > 0 => self.join(next, from.saturating_sub(end), threads, pauses, tsc),
                    Some(end) if end >= from => Join::Continues,
                    Some(end) => Join::Missing(Missing {
                        cause: Cause::Dropped,
                        stopped: None,
                        resumed: None,
                        at_packet: begins,
                        bytes: from - end,
                    }),
                };
                parts.push(Part { offset: chunk.offset + (from - chunk.at), len: to - from, join });
                from = to;
                told = Some(to);
            }
        }
        parts.retain(|p| p.len > 0);
        if let Some(first) = parts.first_mut() {
            first.join = Join::First;
        }
        parts
    }

    /// How stretch `next` joins the one before it.
    fn join(
        &self,
        next: usize,
        hole: u64,
        threads: bool,
        pauses: Pauses,
        tsc: &dyn Fn(Option<u64>) -> Option<i64>,
    ) -> Join {
        let (before, this) = (&self.stretches[next - 1], &self.stretches[next]);
        let missing = |cause| {
            Join::Missing(Missing {
                cause,
                stopped: tsc(before.stopped),
                resumed: tsc(this.switched).filter(|_| threads),
                at_packet: true,
                bytes: hole.max(this.at.saturating_sub(before.end())),
            })
        };
        let dropped = aux_flag::TRUNCATED | aux_flag::PARTIAL | aux_flag::COLLISION;
        if hole > 0 || this.at > before.end() || before.flags & dropped != 0 {
            missing(Cause::Dropped)
        } else if threads && (this.switched.is_some() || !self.sees_switches) {
            missing(Cause::Off)
        } else {
            let moment = match pauses {
                Pauses::Moments => true,
                Pauses::Due(due) => due.is_some_and(|due| before.interrupted(due)),
            };
            Join::Paused(Pause { stopped: tsc(before.stopped), moment })
        }
    }

    /// What is missing at the end. `cut`: the file ends too early, and this is the last moment that it speaks of.
    fn ending(
        &self,
        threads: bool,
        overwrite: bool,
        cut: Option<u64>,
        tsc: &dyn Fn(Option<u64>) -> Option<i64>,
    ) -> Option<Missing> {
        // perf fills up to eight bytes.
        let read = self.chunks.iter().map(Chunk::end).max().unwrap_or(0).saturating_add(8);
        let told = self.stretches.iter().map(Stretch::end).max().unwrap_or(0);
        let last = self.stretches.iter().rev().find(|s| s.end() <= read || overwrite);
        let stopped = last.and_then(|s| s.stopped);
        let missing = |cause, from, until: Option<u64>, bytes| {
            Some(Missing { cause, stopped: tsc(from), resumed: tsc(until), at_packet: true, bytes })
        };
        if !overwrite && told > read {
            // The kernel had more than the file.
            let bytes = (told - read).min(MOST_MISSING);
            return missing(Cause::Truncated, stopped, self.last_seen.max(cut), bytes);
        }
        if cut.is_some() {
            return missing(Cause::Truncated, stopped, cut, 0);
        }
        let (stopped, until) = (stopped?, self.last_seen?);
        if last.is_some_and(|s| s.flags & aux_flag::TRUNCATED != 0) && until > stopped {
            return missing(Cause::Dropped, Some(stopped), Some(until), 0);
        }
        // A recorder ends the trace of all cpus first, and its other events a moment later: so short a tail is the end.
        let span = until.saturating_sub(self.first_seen?);
        let tail = until.saturating_sub(stopped);
        let long = tail > MOMENT_NS && (tail > span / 50 || tail > 5 * MOMENT_NS);
        if long || (threads && tail > 0 && self.switched.is_none()) {
            return missing(Cause::Off, Some(stopped), Some(until), 0);
        }
        None
    }
}

/// No ring holds so much; a damaged record may say so.
const MOST_MISSING: u64 = 1 << 40;

/// Longer than it takes to end a recording.
const MOMENT_NS: u64 = 10_000_000;
