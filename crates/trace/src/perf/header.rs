//! What stands before the records of a perf.data, and behind them: events and features.
//!
//! | offset | field |
//! | --- | --- |
//! | 0 | magic: `PERFILE2`; written the other way round on a big-endian machine |
//! | 8 | size of this header: 16 says that the rest is missing (pipe mode) and is told in records |
//! | 16 | size of an attribute with its section of ids |
//! | 24, 32 | attributes: offset, size |
//! | 40, 48 | records: offset, size; 0 where the recorder did not end by itself |
//! | 56, 64 | event types: not used any more |
//! | 72..104 | features, a bit each; their sections follow the records, offset and size each |
//!
//! A section that is not where it is said to be is left out: what a trace needs stands in its records.

use super::bytes::{i32_at, text, u32_at, u64_at};
use super::note::MachineNote;
use super::record::Record;
use crate::cpus::parse_cpu_list;

pub(super) const MAGIC: &[u8] = b"PERFILE2";
pub(super) const MAGIC_BIG_ENDIAN: &[u8] = b"2ELIFREP";

pub(super) const PIPE_HEADER: u64 = 16;
pub(super) const FILE_HEADER: usize = 104;

/// Bits of features that are read (perf's `util/header.h`).
pub(super) mod feature {
    pub(in super::super) const HOSTNAME: u64 = 3;
    pub(in super::super) const OSRELEASE: u64 = 4;
    pub(in super::super) const ARCH: u64 = 6;
    pub(in super::super) const NRCPUS: u64 = 7;
    pub(in super::super) const CPUDESC: u64 = 8;
    pub(in super::super) const CPUID: u64 = 9;
    pub(in super::super) const CMDLINE: u64 = 11;
    pub(in super::super) const EVENT_DESC: u64 = 12;
    pub(in super::super) const CPU_TOPOLOGY: u64 = 13;
    pub(in super::super) const AUXTRACE: u64 = 18;
    pub(in super::super) const CLOCK_DATA: u64 = 29;
}

/// What Linux calls a host that has no name.
pub const UNNAMED: &str = "(none)";

/// No more strings are read of one section, nor longer ones.
const MOST_STRINGS: usize = 4096;
const LONGEST_STRING: usize = 4096;

/// Bits of `perf_event_attr.sample_type` that are in a record's trailer.
pub(super) mod sample {
    pub(in super::super) const TID: u64 = 1 << 1;
    pub(in super::super) const TIME: u64 = 1 << 2;
    pub(in super::super) const ID: u64 = 1 << 6;
    pub(in super::super) const CPU: u64 = 1 << 7;
    pub(in super::super) const STREAM_ID: u64 = 1 << 9;
    /// What a tracepoint says.
    pub(in super::super) const RAW: u64 = 1 << 10;
    pub(in super::super) const IDENTIFIER: u64 = 1 << 16;
    /// Trace in samples.
    pub(in super::super) const AUX: u64 = 1 << 20;
}

/// Bits of `perf_event_attr`'s flags.
pub(super) mod flag {
    pub(in super::super) const EXCLUDE_USER: u64 = 1 << 4;
    pub(in super::super) const EXCLUDE_KERNEL: u64 = 1 << 5;
    pub(in super::super) const SAMPLE_ID_ALL: u64 = 1 << 18;
    pub(in super::super) const USE_CLOCKID: u64 = 1 << 25;
}

/// An event that was recorded: `perf_event_attr`, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) pmu: u32,
    pub(super) config: u64,
    /// `None`: its records say nothing of their time, cpu and thread.
    pub(super) sample_type: Option<u64>,
    flags: u64,
    clockid: i32,
    /// Bytes of trace from one interrupt to the next; 0 where the recorder leaves that to the kernel.
    pub(super) aux_watermark: u32,
    pub(super) ids: Vec<u64>,
}

impl Event {
    /// The attribute at the start of `bytes`, and how long it says that it is.
    fn read(bytes: &[u8]) -> Option<(Event, usize)> {
        let (pmu, size) = (u32_at(bytes, 0)?, u32_at(bytes, 4)? as usize);
        let flags = u64_at(bytes, 40)?;
        let event = Event {
            pmu,
            config: u64_at(bytes, 8)?,
            sample_type: u64_at(bytes, 24).filter(|_| flags & flag::SAMPLE_ID_ALL != 0),
            flags,
            clockid: i32_at(bytes, 92).filter(|_| size >= 96).unwrap_or(0),
            aux_watermark: u32_at(bytes, 104).filter(|_| size >= 108).unwrap_or(0),
            ids: Vec::new(),
        };
        // The oldest attribute had 64 bytes.
        (size >= 64).then_some((event, size))
    }

    pub(super) fn kernel(&self) -> bool {
        self.flags & flag::EXCLUDE_KERNEL == 0
    }

    pub(super) fn user(&self) -> bool {
        self.flags & flag::EXCLUDE_USER == 0
    }

    /// The clock of its times, where it is not the kernel's own.
    pub(super) fn clock(&self) -> Option<&'static str> {
        (self.flags & flag::USE_CLOCKID != 0).then_some(match self.clockid {
            0 => "CLOCK_REALTIME",
            1 => "CLOCK_MONOTONIC",
            4 => "CLOCK_MONOTONIC_RAW",
            7 => "CLOCK_BOOTTIME",
            11 => "CLOCK_TAI",
            _ => "another clock",
        })
    }
}

/// Where two clocks stood at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClockPair {
    /// Nanoseconds since 1970 UTC.
    pub(super) wall_ns: u64,
    /// Of the events' clock.
    pub(super) event_ns: u64,
}

/// What a perf.data says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) events: Vec<Event>,
    pub(super) event_names: Vec<String>,
    /// Where the records are.
    pub(super) records: (u64, u64),
    /// Their end is not said: the recorder writes it when it ends, or this is a pipe's.
    pub(super) open: bool,
    pub(super) pipe: bool,
    pub(super) hostname: Option<String>,
    pub(super) os_release: Option<String>,
    pub(super) arch: Option<String>,
    /// Cpus that were online.
    pub(super) cpus: Option<u32>,
    pub(super) cpu_name: Option<String>,
    pub(super) cpu_id: Option<String>,
    pub(super) command: Vec<String>,
    /// Cpus that share a core.
    pub(super) thread_siblings: Vec<Vec<u32>>,
    pub(super) clocks: Option<ClockPair>,
}

impl Header {
    /// The header at the start of a file. `None` where the bytes end in it.
    pub(super) fn read(file: &[u8]) -> Option<Header> {
        let size = u64_at(file, 8)?;
        let len = file.len() as u64;
        if size == PIPE_HEADER {
            return Some(Header { records: (size, len), open: true, pipe: true, ..Header::default() });
        }
        let (attr_size, attrs) = (u64_at(file, 16)?, section(file, 24)?);
        let (from, size) = section(file, 40)?;
        let open = size == 0;
        let end = if open { len } else { from.saturating_add(size) };
        let mut header = Header { records: (from, end), open, ..Header::default() };
        file.get(..FILE_HEADER)?;
        header.read_events(file, attr_size, attrs);
        if !open {
            header.read_features(file, end);
        }
        Some(header)
    }

    fn read_events(&mut self, file: &[u8], attr_size: u64, (offset, size): (u64, u64)) {
        let Ok(attr_size) = usize::try_from(attr_size) else { return };
        let bytes = slice(file, offset, size).unwrap_or_default();
        // The section of ids, offset and size, are its last sixteen bytes.
        if attr_size < 64 + 16 {
            return;
        }
        for entry in bytes.chunks_exact(attr_size) {
            let Some((mut event, _)) = Event::read(entry) else { continue };
            if let Some((offset, size)) = section(entry, attr_size - 16)
                && let Some(ids) = slice(file, offset, size)
            {
                event.ids = numbers(ids);
            }
            self.events.push(event);
        }
    }

    fn read_features(&mut self, file: &[u8], end: u64) {
        let Ok(mut at) = usize::try_from(end) else { return };
        for bit in 0..256u64 {
            let word = u64_at(file, 72 + 8 * (bit / 64) as usize).unwrap_or(0);
            if word >> (bit % 64) & 1 == 0 {
                continue;
            }
            let Some((offset, size)) = section(file, at) else { return };
            at += 16;
            if let Some(bytes) = slice(file, offset, size) {
                self.feature(bit, bytes);
            }
        }
    }

    fn feature(&mut self, bit: u64, bytes: &[u8]) {
        let one = || string(bytes, 0).map(|(text, _)| text).filter(|text| !text.is_empty());
        match bit {
            feature::HOSTNAME => self.hostname = one().filter(|name| name != UNNAMED),
            feature::OSRELEASE => self.os_release = one(),
            feature::ARCH => self.arch = one(),
            feature::NRCPUS => self.cpus = u32_at(bytes, 4),
            feature::CPUDESC => self.cpu_name = one(),
            feature::CPUID => self.cpu_id = one(),
            feature::CMDLINE => self.command.extend(strings(bytes, 0).0),
            feature::EVENT_DESC => self.event_names = event_names(bytes),
            feature::CPU_TOPOLOGY => {
                // Cpus of a socket come first, then those of a core; both as sysfs lists them.
                let (_, after) = strings(bytes, 0);
                let cores = after.map_or(Vec::new(), |after| strings(bytes, after).0);
                self.thread_siblings = cores.iter().filter_map(|list| parse_cpu_list(list)).collect();
                self.thread_siblings.retain(|core| core.len() > 1);
            }
            feature::CLOCK_DATA => {
                let pair = (|| Some(ClockPair { wall_ns: u64_at(bytes, 8)?, event_ns: u64_at(bytes, 16)? }))();
                self.clocks = pair;
            }
            _ => {}
        }
    }

    /// What our own recorder said at the beginning, where the recording did not come to its end.
    pub(super) fn learn(&mut self, machine: &MachineNote) {
        let text = |known: &mut Option<String>, said: &String| {
            if known.is_none() && !said.is_empty() && said != UNNAMED {
                *known = Some(said.clone());
            }
        };
        text(&mut self.hostname, &machine.hostname);
        text(&mut self.os_release, &machine.os_release);
        text(&mut self.cpu_name, &machine.cpu_name);
        text(&mut self.cpu_id, &machine.cpu_id);
        self.cpus = self.cpus.or(Some(machine.cpus).filter(|n| *n > 0));
        if self.thread_siblings.is_empty() {
            self.thread_siblings = machine.thread_siblings.iter().filter_map(|list| parse_cpu_list(list)).collect();
        }
        if self.command.is_empty() {
            self.command.clone_from(&machine.command);
        }
    }

    /// A HEADER_ATTR record: an event of a pipe's recording.
    pub(super) fn attr_record(&mut self, record: &Record<'_>) {
        // In a file they stand in the header too.
        if !self.pipe || self.events.len() >= MOST_STRINGS {
            return;
        }
        if let Some((mut event, size)) = Event::read(record.body) {
            event.ids = numbers(record.body.get(size..).unwrap_or_default());
            self.events.push(event);
        }
    }

    /// A HEADER_FEATURE record: a feature of a pipe's recording.
    pub(super) fn feature_record(&mut self, record: &Record<'_>) {
        if let (true, Some(bit), Some(bytes)) = (self.pipe, u64_at(record.body, 0), record.body.get(8..)) {
            self.feature(bit, bytes);
        }
    }
}

/// Offset and size.
fn section(bytes: &[u8], at: usize) -> Option<(u64, u64)> {
    Some((u64_at(bytes, at)?, u64_at(bytes, at.checked_add(8)?)?))
}

fn slice(file: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    file.get(usize::try_from(offset).ok()?..usize::try_from(offset.checked_add(size)?).ok()?)
}

fn numbers(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b)).collect()
}

/// A string: its length with padding, its bytes. And where the next thing begins.
fn string(bytes: &[u8], at: usize) -> Option<(String, usize)> {
    let len = u32_at(bytes, at)? as usize;
    let end = at.checked_add(4)?.checked_add(len)?;
    let all = bytes.get(at + 4..end)?;
    Some((text(&all[..len.min(LONGEST_STRING)]), end))
}

/// Strings that are there, after how many they are; and where the next thing begins, where all are.
fn strings(bytes: &[u8], at: usize) -> (Vec<String>, Option<usize>) {
    let mut all = Vec::new();
    let (Some(count), Some(mut at)) = (u32_at(bytes, at), at.checked_add(4)) else { return (all, None) };
    for _ in 0..(count as usize).min(MOST_STRINGS) {
        let Some((one, next)) = string(bytes, at) else { return (all, None) };
        all.push(one);
        at = next;
    }
    let whole = all.len() == count as usize;
    (all, whole.then_some(at))
}

/// The names in an EVENT_DESC section.
fn event_names(bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let (Some(count), Some(attr_size)) = (u32_at(bytes, 0), u32_at(bytes, 4)) else { return names };
    let mut at = 8usize;
    for _ in 0..(count as usize).min(MOST_STRINGS) {
        let Some(after) = at.checked_add(attr_size as usize) else { break };
        let Some(ids) = u32_at(bytes, after) else { break };
        let Some((name, next)) = string(bytes, after + 4) else { break };
        names.push(name);
        let Some(next) = next.checked_add(ids as usize * 8) else { break };
        at = next;
    }
    names
}
