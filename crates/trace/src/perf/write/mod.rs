//! A perf.data, written as `perf record` writes it, for whoever has trace and what the kernel said beside it.
//!
//! ```text
//! header │ ids │ attributes │ what perf knew │ round │ round │ … │ features' places │ features
//! ```
//!
//! A round is, of each cpu: the kernel's records, then its trace; and a FINISHED_ROUND. Records go out as they come:
//! nothing is held but the places of trace, eight bytes a piece. The header says how long the records are only when the
//! file is [finished](Writer::finish): one that was cut off is seen to be.
//!
//! | module | what it has |
//! | --- | --- |
//! | `attribute` | events: `perf_event_attr` |
//! | `record` | records as the kernel writes them |
//! | `features` | what a file says of its machine |

mod attribute;
mod features;
pub mod record;

use std::io::{self, Seek, SeekFrom, Write};

pub use super::clock::TimeConv;
pub use attribute::{Attribute, Flags, PtConfig};
pub use features::About;

use super::header::{FILE_HEADER, MAGIC};
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
    /// TSC ticks a crystal tick.
    pub tsc_ctc_ratio: (u32, u32),
    /// TSC ticks a bus tick, as CBR counts.
    pub max_nonturbo_ratio: u8,
    /// Rings were overwritten.
    pub snapshot: bool,
    /// The processor has Event Trace.
    pub event_trace: bool,
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

/// Lengths of trace are filled up to it.
const ALIGN: usize = 8;

/// Writes a perf.data.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    /// Bytes written.
    at: u64,
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
        let mut this = Writer {
            out,
            at: 0,
            events: start.events.clone(),
            cpus: start.cpus.len() as u32,
            data: 0,
            pieces: Vec::new(),
        };
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

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    /// The file's header; features are bits.
    fn header(&mut self, size: u64, features: u64, end: u64) -> io::Result<()> {
        let attr_size = Attribute::SIZE as u64 + 16;
        let attrs = attr_size * self.events.len() as u64;
        let mut header = MAGIC.to_vec();
        header.extend(words(&[FILE_HEADER as u64, attr_size, self.data - attrs, attrs, self.data, size, 0, 0]));
        header.extend(words(&[features, 0, 0, 0]));
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&header)?;
        self.out.seek(SeekFrom::Start(if end > 0 { end } else { self.at }))?;
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
        // perf's `enum` of `util/intel-pt.h`, in its order; 1 is Intel PT.
        let info = [
            1,
            pt,
            shift,
            mult,
            zero,
            1,
            PtConfig::TSC,
            PtConfig::NORETCOMP,
            SWITCHES_OF_ALL,
            u64::from(start.snapshot),
            1,
            PtConfig::MTC,
            PtConfig::MTC_PERIOD,
            u64::from(n),
            u64::from(d),
            PtConfig::CYC,
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

    /// A piece of trace. Up to seven bytes are added where its length is no multiple of eight.
    ///
    /// # Errors
    /// The writer's own.
    pub fn trace(&mut self, piece: Piece, bytes: &[u8]) -> io::Result<()> {
        let padding = bytes.len().next_multiple_of(ALIGN) - bytes.len();
        let size = (bytes.len() + padding) as u64;
        let from = self.at;
        let Piece { index, cpu, at, read } = piece;
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        self.record(kind::AUXTRACE, &words(&[size, at, read, pair(index, u32::MAX), u64::from(cpu)]))?;
        self.put(bytes)?;
        self.put(&[0; ALIGN][..padding])?;
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

    /// Bytes written so far.
    pub fn len(&self) -> u64 {
        self.at
    }

    /// Never: a header is written at once.
    pub fn is_empty(&self) -> bool {
        self.at == 0
    }

    /// The file is whole: says so in it, and what is known of its machine.
    ///
    /// # Errors
    /// The writer's own.
    pub fn finish(mut self, about: &About) -> io::Result<W> {
        let end = self.at;
        let sections = about.sections(self.cpus, &self.events, &self.pieces);
        let mut at = end + 16 * sections.len() as u64;
        let mut features = 0;
        for (bit, bytes) in &sections {
            features |= 1 << bit;
            self.put(&words(&[at, bytes.len() as u64]))?;
            at += bytes.len() as u64;
        }
        for (_, bytes) in &sections {
            self.put(bytes)?;
        }
        self.out.flush()?;
        let whole = self.at;
        self.header(end - self.data, features, whole)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// AUXTRACE_INFO: switches of all threads are recorded, by the kernel's own records.
const SWITCHES_OF_ALL: u64 = 3;

/// Little-endian.
fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
