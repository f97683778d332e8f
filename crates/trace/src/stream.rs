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
    /// The bytes.
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

    /// Bytes in memory, as if they were the file `name`.
    pub fn from_bytes(cpu: u32, name: String, bytes: Vec<u8>) -> Self {
        let parts = vec![(0, bytes.len() as u64, Join::First)];
        Stream::new(cpu, name, Arc::new(Map::from(bytes)), parts)
    }

    /// The same bytes in more segments: each is cut at the offsets of the file that lie inside it.
    #[must_use]
    pub fn cut_at(mut self, offsets: &[u64]) -> Self {
        for &at in offsets {
            let Some(i) = self.parts.iter().position(|&(offset, len, _)| offset < at && at < offset + len) else {
                continue;
            };
            let (offset, len, join) = self.parts[i];
            let head = at - offset;
            self.parts.splice(i..=i, [(offset, head, join), (at, len - head, Join::Continues)]);
        }
        self
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

    /// The whole file (or memory) behind it, for a checksum.
    pub fn file(&self) -> &[u8] {
        &self.map
    }

    /// The reader is past these offsets of the file: gives their memory back. They stay readable.
    pub fn release(&self, offsets: std::ops::Range<u64>) {
        self.map.release(offsets.start as usize..offsets.end as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_bytes_are_the_same_bytes() {
        let stream = Stream::from_bytes(3, "a".into(), b"hello".to_vec()).cut_at(&[4, 0, 1, 1, 5, 9]);
        let parts: Vec<_> = (0..).map_while(|i| stream.segment(i)).map(|s| (s.offset, s.bytes, s.join)).collect();
        assert_eq!(
            parts,
            [(0, &b"h"[..], Join::First), (1, &b"ell"[..], Join::Continues), (4, &b"o"[..], Join::Continues)]
        );
        assert_eq!(stream.len(), 5);
    }
}
