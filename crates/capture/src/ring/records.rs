//! Records in a ring, whole ones.
//!
//! | bytes | field |
//! | --- | --- |
//! | 0..4 | type |
//! | 4..6 | misc |
//! | 6..8 | size, these eight bytes counted; a multiple of eight |
//!
//! A header never lies across the ring's end, as records are of eight bytes each; a body may.

/// The kernel's records that whoever reads rings looks at himself (`PERF_RECORD_*`).
pub mod kind {
    /// Records were lost.
    pub const LOST: u32 = 2;
    /// So much trace came.
    pub const AUX: u32 = 11;
    /// Trace begins.
    pub const ITRACE_START: u32 = 12;
    /// Samples were lost.
    pub const LOST_SAMPLES: u32 = 13;
}

const HEADER: usize = 8;

/// A record: its header, and the words behind it as far as they matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Its type.
    pub kind: u32,
    /// Bytes, the header's counted.
    pub size: usize,
    /// The first words of its body; zeros behind its end.
    pub words: [u64; 3],
}

/// Goes through records, front to back; ends before one that is not whole.
#[derive(Debug)]
pub struct Records<'a> {
    bytes: [&'a [u8]; 2],
    at: usize,
}

impl<'a> Records<'a> {
    /// Of bytes in their order.
    pub fn new(bytes: [&'a [u8]; 2]) -> Self {
        Records { bytes, at: 0 }
    }

    /// Bytes of the whole records so far.
    pub fn offset(&self) -> usize {
        self.at
    }

    fn word(&self, at: usize) -> Option<u64> {
        let [first, second] = self.bytes;
        let slice = if at < first.len() { first.get(at..)? } else { second.get(at - first.len()..)? };
        Some(u64::from_le_bytes(*slice.first_chunk()?))
    }
}

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let header = self.word(self.at)?;
        let size = (header >> 48) as usize;
        let left = self.bytes[0].len() + self.bytes[1].len() - self.at;
        if size < HEADER || !size.is_multiple_of(8) || size > left {
            return None;
        }
        let word = |i: usize| if HEADER * (i + 2) <= size { self.word(self.at + HEADER * (i + 1)) } else { None };
        let words = [0, 1, 2].map(|i| word(i).unwrap_or(0));
        self.at += size;
        Some(Record { kind: header as u32, size, words })
    }
}
