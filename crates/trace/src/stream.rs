//! A trace, its streams and their segments.

use std::sync::Arc;

use havana_map::Map;

use crate::Facts;

/// What was recorded on one node.
#[derive(Debug)]
pub struct Trace {
    /// The node's host name, where the trace has it.
    pub node: Option<String>,
    /// One a cpu, by rising cpu.
    pub streams: Vec<Stream>,
    /// What is known of the clock.
    pub facts: Facts,
}

/// How a segment joins the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// The first of its stream.
    First,
    /// No byte is missing between: a packet may begin there and end here.
    Continues,
}

/// A run of trace bytes.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// The bytes, in a mapped file.
    pub bytes: &'a [u8],
    /// Offset of the first of them in the file.
    pub offset: u64,
    /// How it joins the segment before.
    pub join: Join,
}

/// The bytes of one cpu.
#[derive(Debug)]
pub struct Stream {
    /// Which cpu.
    pub cpu: u32,
    /// The file, as the user named it.
    pub name: String,
    map: Arc<Map>,
    // (offset, length, join) of each segment in `map`.
    parts: Vec<(u64, u64, Join)>,
}

impl Stream {
    pub(crate) fn new(cpu: u32, name: String, map: Arc<Map>, parts: Vec<(u64, u64, Join)>) -> Self {
        Stream { cpu, name, map, parts }
    }

    /// Its segments in the order of time, by index from 0; `None` past the last.
    pub fn segment(&self, index: usize) -> Option<Segment<'_>> {
        let &(offset, len, join) = self.parts.get(index)?;
        let bytes = self.map.get(offset as usize..(offset + len) as usize)?;
        Some(Segment { bytes, offset, join })
    }

    /// Bytes of trace in it.
    pub fn len(&self) -> u64 {
        self.parts.iter().map(|p| p.1).sum()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The whole file behind it, for a checksum.
    pub fn file(&self) -> &[u8] {
        &self.map
    }

    /// The reader is past these offsets of the file: gives their memory back. They stay readable.
    pub fn release(&self, offsets: std::ops::Range<u64>) {
        self.map.release(offsets.start as usize..offsets.end as usize);
    }
}
