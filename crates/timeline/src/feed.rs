//! The packets of one stream, across its segments.
//!
//! Where a segment continues the one before it, a packet may begin in one and end in the other. Only then are bytes
//! copied: the few of that packet and some behind it, into a small buffer. Memory of what has been read is given back
//! as reading goes on.

use havana_packet::{BadReason, Decoder, Errata, Packet, State};
use havana_trace::{Join, Stream};

/// Bytes of the next segment that are looked at together with a cut packet: more than any packet, with room for a PSB
/// behind damage.
const BEHIND: usize = 256;

/// Memory is given back each time so many bytes were read.
const RELEASE: u64 = 4 << 20;

/// One item of the stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fed {
    /// Offset in the file.
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) what: Result<Packet, BadReason>,
}

/// Reads a stream front to back.
#[derive(Debug)]
pub(crate) struct Feed<'a> {
    stream: &'a Stream,
    /// The segment after the one that `decoder` reads.
    next: usize,
    decoder: Option<Decoder<'a>>,
    /// File offset of the decoder's first byte.
    base: u64,
    state: State,
    released: u64,
    /// Bytes before the first PSB.
    pub(crate) unsynced: u64,
}

impl<'a> Feed<'a> {
    pub(crate) fn new(stream: &'a Stream, errata: Errata) -> Self {
        let mut state = State::unsynced();
        state.errata = errata;
        let mut feed = Feed { stream, next: 0, decoder: None, base: 0, state, released: 0, unsynced: 0 };
        feed.open(0, &mut |_| ());
        feed
    }

    /// Begins the next segment, `skip` bytes in.
    fn open(&mut self, skip: usize, f: &mut impl FnMut(Fed)) {
        let Some(segment) = self.stream.segment(self.next) else {
            self.decoder = None;
            return;
        };
        self.next += 1;
        let continued = self.stream.segment(self.next).is_some_and(|s| s.join == Join::Continues);
        let bytes = segment.bytes.get(skip..).unwrap_or_default();
        let was = self.state;
        let mut decoder = Decoder::resume(bytes, was);
        if continued {
            decoder = decoder.keep_tail();
        }
        self.base = segment.offset + skip as u64;
        if was.sync == State::unsynced().sync {
            let before = decoder.offset() as u64;
            if self.next == 1 || self.unsynced > 0 && decoder.synced_at().is_none() {
                self.unsynced += before;
            } else if before > 0 {
                f(Fed { offset: self.base, len: before, what: Err(BadReason::UnknownOpcode) });
            }
        }
        self.decoder = Some(decoder);
    }

    /// Hands on up to `count` items. False at the end of the stream.
    pub(crate) fn pump(&mut self, count: usize, f: &mut impl FnMut(Fed)) -> bool {
        let Some(decoder) = &mut self.decoder else { return false };
        let mut left = count;
        while left > 0 {
            let Some(item) = decoder.next() else { break };
            left -= 1;
            f(Fed { offset: self.base + item.offset as u64, len: item.len as u64, what: item.what });
        }
        let at = self.base + decoder.offset() as u64;
        if at >= self.released + RELEASE {
            self.stream.release(self.released..at);
            self.released = at;
        }
        if left > 0 {
            self.cross(f);
        }
        self.decoder.is_some()
    }

    /// At the end of a segment: the packet that reaches into the next one, if one does.
    fn cross(&mut self, f: &mut impl FnMut(Fed)) {
        let Some(decoder) = self.decoder.take() else { return };
        self.state = decoder.state();
        let tail = decoder.tail();
        let Some(next) = self.stream.segment(self.next) else { return };
        if tail.is_empty() || next.join != Join::Continues {
            return self.open(0, f);
        }
        let start = self.base + decoder.offset() as u64;
        let mut buffer = tail.to_vec();
        buffer.extend_from_slice(&next.bytes[..next.bytes.len().min(BEHIND)]);
        let mut crossing = Decoder::resume(&buffer, self.state).keep_tail();
        // Up to the first packet that begins in the next segment.
        while crossing.offset() < tail.len() {
            let Some(item) = crossing.next() else { break };
            f(Fed { offset: start + item.offset as u64, len: item.len as u64, what: item.what });
        }
        self.state = crossing.state();
        let skip = crossing.offset().saturating_sub(tail.len());
        self.open(skip, f);
    }
}
