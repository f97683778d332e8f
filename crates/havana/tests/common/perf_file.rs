//! A perf.data in other forms: what a pipe would have had, compressed, taken apart into raw streams.
//!
//! Only what these tests change is understood here, and apart from the reader: two readers of one rule.

use std::path::Path;

use havana_store::Dataset;

const HEADER_ATTR: u32 = 64;
const HEADER_TRACING_DATA: u32 = 66;
const AUXTRACE: u32 = 71;
const HEADER_FEATURE: u32 = 80;
const COMPRESSED: u32 = 81;
const EVENT_DESC: u64 = 12;

/// A perf.data, file mode.
pub(crate) struct PerfFile {
    pub(crate) bytes: Vec<u8>,
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn record(kind: u32, body: &[u8]) -> Vec<u8> {
    let size = u16::try_from(8 + body.len()).unwrap();
    [&kind.to_le_bytes()[..], &[0, 0], &size.to_le_bytes(), body].concat()
}

impl PerfFile {
    pub(crate) fn read(path: &Path) -> PerfFile {
        PerfFile { bytes: std::fs::read(path).unwrap() }
    }

    /// Offset and size of the records.
    pub(crate) fn data(&self) -> (usize, usize) {
        (u64_at(&self.bytes, 40) as usize, u64_at(&self.bytes, 48) as usize)
    }

    /// Each record with what stands behind it.
    fn records(&self) -> impl Iterator<Item = &[u8]> {
        let (from, size) = self.data();
        let mut left = &self.bytes[from..from + size];
        std::iter::from_fn(move || {
            if left.is_empty() {
                return None;
            }
            let mut len = usize::from(u16::from_le_bytes([left[6], left[7]]));
            len += match u32_at(left, 0) {
                AUXTRACE => u64_at(left, 8) as usize,
                HEADER_TRACING_DATA => u32_at(left, 8) as usize,
                _ => 0,
            };
            let (one, rest) = left.split_at(len);
            left = rest;
            Some(one)
        })
    }

    /// Number and bytes of each feature.
    fn features(&self) -> Vec<(u64, &[u8])> {
        let (from, size) = self.data();
        let bits = (0..256u64).filter(|bit| u64_at(&self.bytes, 72 + 8 * (bit / 64) as usize) >> (bit % 64) & 1 == 1);
        let section = |i: usize| {
            let at = from + size + 16 * i;
            let (offset, len) = (u64_at(&self.bytes, at) as usize, u64_at(&self.bytes, at + 8) as usize);
            &self.bytes[offset..offset + len]
        };
        bits.enumerate().map(|(i, bit)| (bit, section(i))).collect()
    }

    /// Where a feature's bytes are.
    pub(crate) fn feature_at(&self, bit: u64) -> std::ops::Range<usize> {
        let (_, bytes) = self.features().into_iter().find(|f| f.0 == bit).unwrap();
        let at = bytes.as_ptr() as usize - self.bytes.as_ptr() as usize;
        at..at + bytes.len()
    }

    /// The attributes, each with its ids.
    fn attributes(&self) -> Vec<(&[u8], &[u8])> {
        let size = u64_at(&self.bytes, 16) as usize;
        let (from, len) = (u64_at(&self.bytes, 24) as usize, u64_at(&self.bytes, 32) as usize);
        let entries = self.bytes[from..from + len].chunks(size);
        entries
            .map(|entry| {
                let (at, len) = (u64_at(entry, size - 16) as usize, u64_at(entry, size - 8) as usize);
                (&entry[..size - 16], &self.bytes[at..at + len])
            })
            .collect()
    }

    /// Where the flags of the attribute `index` are.
    pub(crate) fn flags_at(&self, index: usize) -> usize {
        u64_at(&self.bytes, 24) as usize + index * u64_at(&self.bytes, 16) as usize + 40
    }

    /// As `perf record -o -` writes it.
    pub(crate) fn piped(&self) -> Vec<u8> {
        let mut out = [&b"PERFILE2"[..], &16u64.to_le_bytes()].concat();
        for (attribute, ids) in self.attributes() {
            out.extend(record(HEADER_ATTR, &[attribute, ids].concat()));
        }
        // Those that fit into a record; perf leaves out others too.
        for (bit, bytes) in self.features().into_iter().filter(|f| f.1.len() < 60_000 && f.0 >= 3) {
            out.extend(record(HEADER_FEATURE, &[&bit.to_le_bytes()[..], bytes].concat()));
        }
        assert!(self.features().iter().any(|f| f.0 == EVENT_DESC));
        self.records().for_each(|record| out.extend(record));
        out
    }

    /// As `perf record -z` writes it: the kernel's records in one zstd stream, cut into COMPRESSED anywhere.
    pub(crate) fn compressed(&self) -> Vec<u8> {
        let (from, size) = self.data();
        let mut zstd = zstd::stream::raw::Encoder::new(1).unwrap();
        let mut data = Vec::new();
        let mut plain: Vec<u8> = Vec::new();
        let mut flush = |plain: &mut Vec<u8>, data: &mut Vec<u8>| {
            use zstd::stream::raw::{InBuffer, Operation, OutBuffer};
            // Cut amid records: perf compresses what a ring holds.
            for piece in plain.chunks(5001) {
                let mut out = vec![0; 40_000];
                let mut input = InBuffer::around(piece);
                let mut output = OutBuffer::around(&mut out[..]);
                zstd.run(&mut input, &mut output).unwrap();
                zstd.flush(&mut output).unwrap();
                assert_eq!(input.pos(), piece.len());
                let len = output.pos();
                data.extend(record(COMPRESSED, &out[..len]));
            }
            plain.clear();
        };
        for record in self.records() {
            if u32_at(record, 0) < 64 {
                plain.extend(record);
            } else {
                flush(&mut plain, &mut data);
                data.extend(record);
            }
        }
        flush(&mut plain, &mut data);
        // The features move, and with them what says where they are.
        let moved = data.len() as i64 - size as i64;
        let mut out = [&self.bytes[..from], &data, &self.bytes[from + size..]].concat();
        out[48..56].copy_from_slice(&(data.len() as u64).to_le_bytes());
        for i in 0..self.features().len() {
            let at = from + data.len() + 16 * i;
            let offset = u64_at(&out, at).wrapping_add_signed(moved);
            out[at..at + 8].copy_from_slice(&offset.to_le_bytes());
        }
        out
    }

    /// The trace bytes of each cpu.
    pub(crate) fn raw(&self) -> Vec<(u32, Vec<u8>)> {
        let mut streams: Vec<(u32, Vec<u8>)> = Vec::new();
        for record in self.records().filter(|r| u32_at(r, 0) == AUXTRACE) {
            let (len, cpu) = (usize::from(u16::from_le_bytes([record[6], record[7]])), u32_at(record, 40));
            match streams.iter_mut().find(|s| s.0 == cpu) {
                Some(stream) => stream.1.extend(&record[len..]),
                None => streams.push((cpu, record[len..].to_vec())),
            }
        }
        streams
    }

    /// Its trace alone, as raw streams in a new directory. `analyzed`: what was made of it, which knows its MTC period.
    pub(crate) fn write_raw(&self, dir: &Path, analyzed: &Dataset) {
        std::fs::create_dir(dir).unwrap();
        for (cpu, bytes) in self.raw() {
            std::fs::write(dir.join(format!("cpu{cpu}.pt")), bytes).unwrap();
        }
        let period = analyzed.manifest().settings.mtc_period;
        let period = period.map(|period| format!("mtc_period = {period}\n")).unwrap_or_default();
        let facts = "tsc_hz = 2_100_000_000\ntsc_ctc_ratio = [168, 2]\ncpu = \"6/85/4\"\n".to_string() + &period;
        std::fs::write(dir.join("trace.toml"), facts).unwrap();
    }
}
