//! A trace, its streams and their segments.

use std::sync::Arc;

use havana_map::Map;

use crate::{Facts, Recording, Sideband};

/// What was recorded on one node.
#[derive(Debug, Default)]
pub struct Trace {
    /// The node's host name, where the trace has it.
    pub node: Option<String>,
    /// One a cpu, by rising cpu.
    pub streams: Vec<Stream>,
    /// What is known of the clock.
    pub facts: Facts,
    /// How it was recorded, as far as it says.
    pub recording: Recording,
    /// What the host's kernel said beside the trace.
    pub sideband: Option<Sideband>,
    /// The files it was read from.
    pub sources: Vec<Source>,
}

impl Trace {
    /// A trace of streams of which nothing else is known; their files are its sources.
    pub fn of(streams: Vec<Stream>, facts: Facts) -> Trace {
        let sources = streams.iter().map(|s| Source { name: s.name.clone(), map: s.map.clone() }).collect();
        Trace { streams, facts, sources, ..Trace::default() }
    }
}

/// A file that was read.
#[derive(Debug, Clone)]
pub struct Source {
    /// As the user named it.
    pub name: String,
    /// Its bytes.
    pub map: Arc<Map>,
}

/// How a segment joins the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// The first of its stream.
    First,
    /// No byte is missing between: a packet may begin there and end here.
    Continues,
    /// As [`Continues`](Join::Continues), but tracing was off.
    Paused(Pause),
    /// Trace is missing between.
    Missing(Missing),
}

impl Join {
    /// Whether no byte is missing before it.
    pub const fn is_whole(self) -> bool {
        matches!(self, Join::Continues | Join::Paused(_))
    }
}

/// Tracing was off, and no byte is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// Host TSC: it had stopped by then.
    pub stopped: Option<i64>,
    /// For a moment, in which the driver's own interrupt handler ran and nothing else. Where this is not said, the trace
    /// tells for how long, by when it goes on.
    pub moment: bool,
}

/// Trace that is missing between two segments, or at the end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// Why.
    pub cause: Cause,
    /// Host TSC: tracing had stopped by then.
    pub stopped: Option<i64>,
    /// Host TSC: it went on about then; at a stream's end: until then it is known to be missing.
    pub resumed: Option<i64>,
    /// The bytes behind it begin with a packet, made in root operation (a driver turned the trace on); else anywhere.
    pub at_packet: bool,
    /// How many bytes, where that is known.
    pub bytes: u64,
}

/// Why trace is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The recorder could not keep up, or overwrote it.
    Dropped,
    /// Tracing was off.
    Off,
    /// The file ends before the recording does.
    Truncated,
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

/// Where a segment is in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) join: Join,
}

/// The bytes of one cpu.
#[derive(Debug)]
pub struct Stream {
    /// Which cpu.
    pub cpu: u32,
    /// The file, as the user named it.
    pub name: String,
    /// Host TSC: it did not begin before.
    pub began: Option<i64>,
    /// What is missing at its end.
    pub end: Option<Missing>,
    /// Host TSC: it had stopped by then.
    pub stopped: Option<i64>,
    map: Arc<Map>,
    parts: Vec<Part>,
}

impl Stream {
    pub(crate) fn new(cpu: u32, name: String, map: Arc<Map>, parts: Vec<Part>) -> Self {
        Stream { cpu, name, began: None, end: None, stopped: None, map, parts }
    }

    /// A whole file.
    pub(crate) fn whole(cpu: u32, name: String, map: Arc<Map>) -> Self {
        let parts = vec![Part { offset: 0, len: map.len() as u64, join: Join::First }];
        Stream::new(cpu, name, map, parts)
    }

    /// Bytes in memory, as if they were the file `name`.
    pub fn from_bytes(cpu: u32, name: String, bytes: Vec<u8>) -> Self {
        Stream::whole(cpu, name, Arc::new(Map::from(bytes)))
    }

    /// The same bytes in more segments: each is cut at the offsets of the file that lie inside it.
    #[must_use]
    pub fn cut_at(self, offsets: &[u64]) -> Self {
        self.cut_with(offsets, Join::Continues)
    }

    /// As [`cut_at`](Stream::cut_at), joined as said.
    #[must_use]
    pub fn cut_with(mut self, offsets: &[u64], join: Join) -> Self {
        for &at in offsets {
            let Some(i) = self.parts.iter().position(|p| p.offset < at && at < p.offset + p.len) else {
                continue;
            };
            let whole = self.parts[i];
            let head = at - whole.offset;
            let pieces = [Part { len: head, ..whole }, Part { offset: at, len: whole.len - head, join }];
            self.parts.splice(i..=i, pieces);
        }
        self
    }

    /// The bytes of it from one place to another, as a stream of their own: places count bytes of trace. What is known of
    /// its begin and its end is known of a part that has them.
    #[must_use]
    pub fn part(&self, range: std::ops::Range<u64>) -> Stream {
        let mut parts = Vec::new();
        let mut before = 0;
        for part in &self.parts {
            let (from, to) = (range.start.max(before), range.end.min(before + part.len));
            if from < to {
                let join = if parts.is_empty() { Join::First } else { part.join };
                parts.push(Part { offset: part.offset + (from - before), len: to - from, join });
            }
            before += part.len;
        }
        let (first, last) = (range.start == 0, range.end >= before);
        Stream {
            began: self.began.filter(|_| first),
            end: self.end.filter(|_| last),
            stopped: self.stopped.filter(|_| last),
            ..Stream::new(self.cpu, self.name.clone(), self.map.clone(), parts)
        }
    }

    /// Its segments in the order of time, by index from 0; `None` past the last.
    pub fn segment(&self, index: usize) -> Option<Segment<'_>> {
        let &Part { offset, len, join } = self.parts.get(index)?;
        let bytes = self.map.get(offset as usize..(offset + len) as usize)?;
        Some(Segment { bytes, offset, join })
    }

    /// Bytes of trace in it.
    pub fn len(&self) -> u64 {
        self.parts.iter().map(|p| p.len).sum()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The whole file (or memory) behind it.
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

    #[test]
    fn a_part_knows_what_is_known_of_its_ends() {
        let mut stream = Stream::from_bytes(3, "a".into(), b"hello there".to_vec()).cut_at(&[4, 6]);
        (stream.began, stream.stopped) = (Some(1), Some(9));
        let of = |range: std::ops::Range<u64>| {
            let part = stream.part(range);
            let bytes: Vec<_> = (0..).map_while(|i| part.segment(i)).map(|s| (s.bytes.to_vec(), s.join)).collect();
            (bytes, part.began, part.stopped)
        };
        let (first, next) = (Join::First, Join::Continues);
        assert_eq!(of(0..5), (vec![(b"hell".to_vec(), first), (b"o".to_vec(), next)], Some(1), None));
        assert_eq!(of(5..9), (vec![(b" ".to_vec(), first), (b"the".to_vec(), next)], None, None));
        assert_eq!(of(8..99), (vec![(b"ere".to_vec(), first)], None, Some(9)));
        assert_eq!(of(11..11), (vec![], None, Some(9)));
    }
}
