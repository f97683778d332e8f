//! What rings gave, as long as a window may need it, and the trace that it makes.
//!
//! Of each cpu's trace the bytes are kept from a place where a decoder can begin ([`begins`](crate::begins)), with the AUX
//! records of that stretch. The kernel's other records are put into one trace only, the next, and what they say is kept
//! as it is read there ([`said`](crate::said)). A window's trace is a perf.data in memory, as the recorder would have
//! written it, and is read as one: so live and recorded traces are one.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Cursor};
use std::path::Path;

use havana_capture::ring::{Records, record_kind as kind};
use havana_capture::session::Taker;
use havana_packet::{Errata, PSB, find_psb};
use havana_trace::perf_data::{About, Piece, RecorderNote, Start, Writer};
use havana_trace::{Facts, Map, Sideband, Trace, open_perf};

use crate::LiveError;
use crate::begins::of_host;
use crate::said::Heard;

/// Trace from before a window that is kept for a PSB+ that the host made, bytes a cpu. A cpu that is in guests all the time
/// makes few.
const MOST_BEFORE: usize = 4 << 20;

/// A PSB+ may begin in so many bytes at the end and not be whole.
const PSB_PLUS: u64 = 512;

/// A cpu's ring.
#[derive(Debug, Default)]
struct Ring {
    bytes: Vec<u8>,
    /// Place of the first of them in the ring's stream.
    from: u64,
    /// PSB+ that the host made: place and TSC.
    begins: VecDeque<(u64, i64)>,
    /// All before this place was searched for them.
    searched: u64,
    /// Records about the trace, and the place up to which they tell of it.
    about: VecDeque<(u64, Vec<u8>)>,
    /// Up to which place the trace was taken when.
    taken: VecDeque<(i64, u64)>,
}

impl Ring {
    fn end(&self) -> u64 {
        self.from + self.bytes.len() as u64
    }

    fn add(&mut self, at: u64, bytes: [&[u8]; 2]) {
        if at != self.end() {
            // Something between is missing, and nothing says so: what was before is of no use.
            *self = Ring { from: at, searched: at, about: std::mem::take(&mut self.about), ..Ring::default() };
        }
        bytes.into_iter().for_each(|piece| self.bytes.extend_from_slice(piece));
    }

    fn search(&mut self, errata: Errata) {
        let place = |place: u64| place.saturating_sub(self.from) as usize;
        let mut at = place(self.searched);
        // One that may not be whole yet is looked at again.
        let whole = place(self.end().saturating_sub(PSB_PLUS));
        while let Some(psb) = find_psb(&self.bytes, at).filter(|psb| *psb < whole) {
            if let Some((tsc, _)) = of_host(&self.bytes[psb..], errata) {
                // What goes back is not believed: a clock that was written, or damage.
                self.begins.retain(|(_, before)| *before <= tsc);
                self.begins.push_back((self.from + psb as u64, tsc));
            }
            at = psb + PSB.len();
        }
        self.searched = self.from + at.max(whole) as u64;
    }

    /// Nobody will ask for what was before `tsc`.
    fn forget(&mut self, tsc: i64) {
        while self.taken.get(1).is_some_and(|(at, _)| *at <= tsc) {
            self.taken.pop_front();
        }
        while self.begins.get(1).is_some_and(|(_, at)| *at <= tsc) {
            self.begins.pop_front();
        }
        if let Some((place, _)) = self.begins.front().filter(|(_, at)| *at <= tsc) {
            self.cut(*place);
        }
        // Where none is known that is old enough, or that is long ago: what was taken before `tsc` is not kept for ever.
        let Some((_, place)) = self.taken.front().filter(|(at, _)| *at <= tsc) else { return };
        let before = place.saturating_sub(self.from) as usize;
        if before > MOST_BEFORE {
            let psb = find_psb(&self.bytes, before - MOST_BEFORE / 2).unwrap_or(before);
            self.cut(self.from + psb as u64);
        }
    }

    fn cut(&mut self, place: u64) {
        let count = (place.saturating_sub(self.from) as usize).min(self.bytes.len());
        self.bytes.drain(..count);
        self.from += count as u64;
        self.searched = self.searched.max(self.from);
        let from = self.from;
        self.begins.retain(|(at, _)| *at >= from);
        self.about.retain(|(end, _)| *end >= from);
    }
}

/// What rings gave.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    errata: Errata,
    rings: BTreeMap<u32, Ring>,
    /// The kernel's records that are in no trace yet.
    news: Vec<u8>,
    heard: Heard,
    /// One that told of switches.
    sideband: Option<Sideband>,
}

impl Taker for Gathered {
    fn records(&mut self, cpu: u32, bytes: [&[u8]; 2]) -> io::Result<()> {
        let all = bytes.concat();
        let mut records = Records::new([&all, &[]]);
        loop {
            let from = records.offset();
            let Some(record) = records.next() else { return Ok(()) };
            let bytes = &all[from..records.offset()];
            let ring = self.rings.entry(cpu).or_default();
            match record.kind {
                kind::AUX => ring.about.push_back((record.words[0].saturating_add(record.words[1]), bytes.to_vec())),
                kind::ITRACE_START => ring.about.push_back((ring.end(), bytes.to_vec())),
                _ => self.news.extend_from_slice(bytes),
            }
        }
    }

    fn trace(&mut self, cpu: u32, at: u64, bytes: [&[u8]; 2]) -> io::Result<()> {
        self.rings.entry(cpu).or_default().add(at, bytes);
        Ok(())
    }
}

/// What the trace of a window says of its machine.
pub(crate) struct Machine<'a> {
    pub(crate) start: &'a Start,
    pub(crate) about: &'a About,
    pub(crate) notes: &'a [RecorderNote],
}

impl Gathered {
    /// Of a processor with these errata; `records` are of what was before.
    pub(crate) fn new(errata: Errata, records: Vec<u8>) -> Gathered {
        Gathered { errata, news: records, ..Gathered::default() }
    }

    /// A cpu is not there any more.
    pub(crate) fn remove(&mut self, cpu: u32) {
        self.rings.remove(&cpu);
    }

    /// All that there was at `now` was taken.
    pub(crate) fn taken(&mut self, now: i64) {
        for ring in self.rings.values_mut() {
            ring.search(self.errata);
            ring.taken.push_back((now, ring.end()));
        }
    }

    /// The trace of all that is kept, up to `now`.
    ///
    /// # Errors
    /// That there is none, or that it makes no sense.
    pub(crate) fn read(&mut self, machine: &Machine<'_>, now: i64) -> Result<Trace, LiveError> {
        let bytes = self.file(machine, now)?;
        self.news.clear();
        let mut trace = open_perf(Path::new("this host"), Map::from(bytes), Facts::default())?;
        if let Some(sideband) = trace.sideband.take() {
            sideband.records().for_each(|record| self.heard.hear(record));
            let all_cpus = sideband.all_cpus;
            if sideband.tells_switches() || self.sideband.is_none() {
                self.sideband = Some(sideband.only(Vec::new()));
            }
            trace.sideband = self.sideband.as_ref().map(|like| {
                let mut sideband = like.only(self.heard.until(now));
                sideband.all_cpus = all_cpus;
                sideband
            });
        }
        Ok(trace)
    }

    fn file(&self, machine: &Machine<'_>, now: i64) -> io::Result<Vec<u8>> {
        let mut writer = Writer::new(Cursor::new(Vec::new()), machine.start)?;
        machine.notes.iter().try_for_each(|note| writer.note(note))?;
        writer.records(&self.news)?;
        for (index, cpu) in machine.start.cpus.iter().enumerate() {
            let Some(ring) = self.rings.get(cpu) else { continue };
            ring.about.iter().try_for_each(|(_, record)| writer.records(record))?;
            if !ring.bytes.is_empty() {
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                let piece = Piece { index, cpu: *cpu, at: ring.from, read: now.max(0).unsigned_abs() };
                writer.trace(piece, [&ring.bytes, &[]])?;
            }
        }
        writer.finished_round()?;
        Ok(writer.finish(machine.about)?.into_inner())
    }

    /// Nobody will ask for what was before `tsc`.
    pub(crate) fn forget(&mut self, tsc: i64) {
        self.rings.values_mut().for_each(|ring| ring.forget(tsc));
        self.heard.forget(tsc);
    }

    /// Bytes of trace that are kept.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.rings.values().map(|ring| ring.bytes.len()).sum()
    }
}

#[cfg(test)]
mod tests;
