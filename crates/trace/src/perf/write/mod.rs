//! A perf.data, written as `perf record` writes it, for whoever has trace and what the kernel said beside it.
//!
//! ```text
//! file  header │ ids │ attributes │ what perf knew │ round │ round │ … │ features' places │ features
//! pipe  header │ attributes with ids │ features │ what perf knew │ round │ round │ …
//! ```
//!
//! A round is, of each cpu: the kernel's records, then its trace; and a FINISHED_ROUND. Records go out as they come:
//! nothing is held but the places of trace, eight bytes a piece. The header of a file says how long the records are when it
//! is [finished](Writer::finish), or [settled](Writer::settle) for now; its features are there only when it is finished.
//!
//! | module | what it has |
//! | --- | --- |
//! | `attribute` | events: `perf_event_attr` |
//! | `record` | records as the kernel writes them |
//! | `features` | what a file says of its machine |

mod attribute;
mod features;
pub mod record;

use std::io::{self, IoSlice, Seek, SeekFrom, Write};

pub use super::clock::TimeConv;
pub use super::note::{CostNote, CpuCost, LONGEST_NOTE, MachineNote, RecorderNote, VmNote};
pub use attribute::{Attribute, Flags, PtConfig};
pub use features::About;

use super::header::{FILE_HEADER, MAGIC, PIPE_HEADER, feature};
use super::record::kind;

/// An event, one of each cpu.
#[derive(Debug, Clone)]
pub struct Event {
    /// As the user says it: `intel_pt/branch=0/`.
    pub name: String,
    /// `perf_event_attr`.
    pub attribute: Attribute,
    /// Its id on each cpu, in the order of [`Start::cpus`].
    pub ids: Vec<u64>,
}

/// What holds from the start.
#[derive(Debug, Clone)]
pub struct Start {
    /// The first one is Intel PT's.
    pub events: Vec<Event>,
    /// The cpus.
    pub cpus: Vec<u32>,
    /// From TSC to the events' clock.
    pub clock: TimeConv,
    /// Where bits are in Intel PT's `config`.
    pub bits: PtBits,
    /// TSC ticks a crystal tick; zeros where the processor does not say.
    pub tsc_ctc_ratio: (u32, u32),
    /// TSC ticks a bus tick, as CBR counts.
    pub max_nonturbo_ratio: u8,
    /// Rings were overwritten.
    pub snapshot: bool,
    /// The processor has Event Trace.
    pub event_trace: bool,
}

/// Where bits are in Intel PT's `config`, as masks: what sysfs says of the PMU (`format/`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PtBits {
    /// TSC packets.
    pub tsc: u64,
    /// Returns are not compressed.
    pub noretcomp: u64,
    /// MTC packets.
    pub mtc: u64,
    /// Their period.
    pub mtc_period: u64,
    /// CYC packets.
    pub cyc: u64,
}

impl Default for PtBits {
    /// As every Linux has had them up to now.
    fn default() -> Self {
        PtBits {
            tsc: PtConfig::TSC,
            noretcomp: PtConfig::NORETCOMP,
            mtc: PtConfig::MTC,
            mtc_period: PtConfig::MTC_PERIOD,
            cyc: PtConfig::CYC,
        }
    }
}

/// A piece of a ring's stream of trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Which of the cpus: its place among them, and its number.
    pub index: u32,
    /// The cpu.
    pub cpu: u32,
    /// How many bytes the ring had before it.
    pub at: u64,
    /// TSC when it was read.
    pub read: u64,
}

/// Where the header says how many bytes of records there are.
const DATA_SIZE: u64 = 48;

/// Lengths of trace are filled up to it.
const ALIGN: usize = 8;

/// Writes a perf.data.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    /// Bytes written.
    at: u64,
    /// How to go back to the header; a pipe has no way back.
    seek: Option<fn(&mut W, SeekFrom) -> io::Result<u64>>,
    events: Vec<Event>,
    cpus: u32,
    data: u64,
    /// Where each AUXTRACE is.
    pieces: Vec<u64>,
}

impl<W: Write + Seek> Writer<W> {
    /// Begins a file: all up to the first of the kernel's records.
    ///
    /// # Errors
    /// The writer's own.
    pub fn new(out: W, start: &Start) -> io::Result<Self> {
        let mut this = Writer::begin(out, start, Some(|out: &mut W, to| out.seek(to)));
        this.put(&[0; FILE_HEADER])?;
        let mut ids_at = Vec::new();
        for event in &start.events {
            ids_at.push((this.at, 8 * event.ids.len() as u64));
            this.put(&words(&event.ids))?;
        }
        for (event, (at, len)) in start.events.iter().zip(ids_at) {
            this.put(&event.attribute.bytes())?;
            this.put(&words(&[at, len]))?;
        }
        this.data = this.at;
        this.header(0, 0, 0)?;
        this.first_records(start)?;
        Ok(this)
    }
}

impl<W: Write> Writer<W> {
    /// Begins what goes down a pipe: nothing in it is written later than what follows it.
    ///
    /// # Errors
    /// The writer's own.
    pub fn pipe(out: W, start: &Start, about: &About) -> io::Result<Self> {
        let mut this = Writer::begin(out, start, None);
        this.put(&[MAGIC, &words(&[PIPE_HEADER])].concat())?;
        for event in &start.events {
            let body = [&event.attribute.bytes()[..], &words(&event.ids)].concat();
            this.record(kind::HEADER_ATTR, &body)?;
        }
        for (bit, bytes) in about.sections(this.cpus, &start.events) {
            // Of very many cpus the ids do not fit; they stand in the attributes too.
            if bytes.len() <= LONGEST_NOTE {
                this.record(kind::HEADER_FEATURE, &[&words(&[bit])[..], &bytes].concat())?;
            }
        }
        this.first_records(start)?;
        Ok(this)
    }

    fn begin(out: W, start: &Start, seek: Option<fn(&mut W, SeekFrom) -> io::Result<u64>>) -> Self {
        Writer {
            out,
            at: 0,
            seek,
            events: start.events.clone(),
            cpus: start.cpus.len() as u32,
            data: 0,
            pieces: Vec::new(),
        }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// The file's header; features are bits.
    fn header(&mut self, size: u64, features: u64, end: u64) -> io::Result<()> {
        let attr_size = Attribute::SIZE as u64 + 16;
        let attrs = attr_size * self.events.len() as u64;
        let mut header = MAGIC.to_vec();
        header.extend(words(&[FILE_HEADER as u64, attr_size, self.data - attrs, attrs, self.data, size, 0, 0]));
        header.extend(words(&[features, 0, 0, 0]));
        self.over(0, &header, if end > 0 { end } else { self.at })
    }

    /// Writes over what stands at `at`, and goes on at `then`. Nothing where there is no way back.
    fn over(&mut self, at: u64, bytes: &[u8], then: u64) -> io::Result<()> {
        let Some(seek) = self.seek else { return Ok(()) };
        seek(&mut self.out, SeekFrom::Start(at))?;
        self.out.write_all(bytes)?;
        seek(&mut self.out, SeekFrom::Start(then))?;
        Ok(())
    }

    fn first_records(&mut self, start: &Start) -> io::Result<()> {
        let TimeConv { shift, mult, zero } = start.clock;
        let shift = u64::from(shift);
        self.record(kind::TIME_CONV, &words(&[shift, mult, zero, 0, 0, 1]))?;
        let mut ids: Vec<u64> = Vec::new();
        for event in &start.events {
            for (index, (id, cpu)) in event.ids.iter().zip(&start.cpus).enumerate() {
                ids.extend([*id, index as u64, u64::from(*cpu), u64::MAX]);
            }
        }
        // The size of a record has 16 bits.
        for some in ids.chunks(4 * 2000) {
            let count = some.len() as u64 / 4;
            self.record(kind::ID_INDEX, &[&words(&[count])[..], &words(some)].concat())?;
        }
        let pt = start.events.first().map_or(0, |e| u64::from(e.attribute.pmu));
        let (n, d) = start.tsc_ctc_ratio;
        let bits = start.bits;
        // perf's `enum` of `util/intel-pt.h`, in its order; 1 is Intel PT.
        let info = [
            1,
            pt,
            shift,
            mult,
            zero,
            1,
            bits.tsc,
            bits.noretcomp,
            SWITCHES_OF_ALL,
            u64::from(start.snapshot),
            1,
            bits.mtc,
            bits.mtc_period,
            u64::from(n),
            u64::from(d),
            bits.cyc,
            u64::from(start.max_nonturbo_ratio),
            0,
            u64::from(start.event_trace),
        ];
        self.record(kind::AUXTRACE_INFO, &words(&info))
    }

    /// A record of perf's own.
    fn record(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        self.put(&record::record(kind, 0, body))
    }

    /// The kernel's records, whole ones, as they stood in a ring.
    ///
    /// # Errors
    /// The writer's own.
    pub fn records(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.put(bytes)
    }

    /// Something that perf does not know of. One that is too long for a record is left out.
    ///
    /// # Errors
    /// The writer's own.
    pub fn note(&mut self, note: &RecorderNote) -> io::Result<()> {
        note.bytes().map_or(Ok(()), |bytes| self.put(&bytes))
    }

    /// A piece of trace: the bytes of one after those of the other. Up to seven are added where their length is no
    /// multiple of eight.
    ///
    /// # Errors
    /// The writer's own.
    pub fn trace(&mut self, piece: Piece, bytes: [&[u8]; 2]) -> io::Result<()> {
        let len = bytes[0].len() + bytes[1].len();
        let padding = len.next_multiple_of(ALIGN) - len;
        let size = (len + padding) as u64;
        let from = self.at;
        let Piece { index, cpu, at, read } = piece;
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let body = words(&[size, at, read, pair(index, u32::MAX), u64::from(cpu)]);
        let header = record::record(kind::AUXTRACE, 0, &body);
        write_all(&mut self.out, &mut [&header, bytes[0], bytes[1], &[0; ALIGN][..padding]].map(IoSlice::new))?;
        self.at += header.len() as u64 + size;
        self.pieces.push(from);
        Ok(())
    }

    /// Each cpu has had its turn: nothing older than the newest record so far will come but of the round that follows.
    ///
    /// # Errors
    /// The writer's own.
    pub fn finished_round(&mut self) -> io::Result<()> {
        self.record(kind::FINISHED_ROUND, &[])
    }

    /// The header says that the records end here, for now: whoever reads a file that is not finished has all up to here,
    /// and perf, which refuses one that does not say, reads it too.
    ///
    /// # Errors
    /// The writer's own.
    pub fn settle(&mut self) -> io::Result<()> {
        let (at, size) = (self.at, self.at - self.data);
        self.over(DATA_SIZE, &size.to_le_bytes(), at)
    }

    /// Bytes written so far.
    pub fn len(&self) -> u64 {
        self.at
    }

    /// Never: a header is written at once.
    pub fn is_empty(&self) -> bool {
        self.at == 0
    }

    /// What is written to.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// Forgets what was written from `at` on, where a record began; whoever writes has cut the file there.
    ///
    /// # Errors
    /// The writer's own.
    pub fn back_to(&mut self, at: u64) -> io::Result<()> {
        self.at = at;
        self.pieces.retain(|piece| *piece < at);
        self.over(at, &[], at)
    }

    /// The file is whole: says so in it, and what is known of its machine.
    ///
    /// # Errors
    /// The writer's own.
    pub fn finish(mut self, about: &About) -> io::Result<W> {
        if self.seek.is_none() {
            self.out.flush()?;
            return Ok(self.out);
        }
        let end = self.at;
        let mut sections = about.sections(self.cpus, &self.events);
        sections.push((feature::AUXTRACE, features::auxtrace(&self.pieces)));
        // Whose is which, only their order says.
        sections.sort_by_key(|(bit, _)| *bit);
        let mut at = end + 16 * sections.len() as u64;
        let mut bits = 0;
        for (bit, bytes) in &sections {
            bits |= 1 << bit;
            self.put(&words(&[at, bytes.len() as u64]))?;
            at += bytes.len() as u64;
        }
        for (_, bytes) in &sections {
            self.put(bytes)?;
        }
        self.out.flush()?;
        let whole = self.at;
        self.header(end - self.data, bits, whole)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// All of the slices, in as few calls as the system allows.
fn write_all(out: &mut impl Write, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match out.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => IoSlice::advance_slices(&mut slices, n),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// AUXTRACE_INFO: switches of all threads are recorded, by the kernel's own records.
const SWITCHES_OF_ALL: u64 = 3;

/// Little-endian.
fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
