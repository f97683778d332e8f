//! The packets of one stream, across its segments.
//!
//! Where a segment continues the one before it, a packet may begin in one and end in the other. Only then are bytes
//! copied: the few of that packet and some behind it, into a small buffer. Memory of what has been read is given back
//! as reading goes on.
//!
//! Invariant: where segments continue each other in the file, the items are those of one segment, wherever the cuts are.

use std::collections::VecDeque;

use havana_packet::{BadReason, Decoder, Errata, Packet, State, Sync};
use havana_trace::{Join, Stream};

/// Bytes of the next segments that are looked at together with a cut packet: more than any packet, with room for a PSB
/// behind damage and for the longest run of PSB bytes that a decoder looks at.
const BEHIND: usize = 512;

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
    /// Items at the seam of segments, to be handed on before those of `decoder`. Few.
    seam: VecDeque<Fed>,
    /// Damage up to the end of a segment, which may go on in the next.
    damage: Option<Fed>,
    /// Bytes before the first PSB.
    pub(crate) unsynced: u64,
}

impl<'a> Feed<'a> {
    pub(crate) fn new(stream: &'a Stream, errata: Errata) -> Self {
        let state = State { errata, ..State::unsynced() };
        let (seam, damage) = (VecDeque::new(), None);
        let mut feed = Feed { stream, next: 0, decoder: None, base: 0, state, released: 0, seam, damage, unsynced: 0 };
        feed.open(0);
        // On to the first PSB, in whichever segment it is.
        while feed.decoder.as_ref().is_some_and(|d| d.state().sync == Sync::Seeking) {
            feed.cross();
        }
        feed
    }

    /// Begins the next segment, `skip` bytes in.
    fn open(&mut self, skip: usize) {
        let Some(segment) = self.stream.segment(self.next) else {
            self.seam.extend(self.damage.take());
            self.decoder = None;
            return;
        };
        self.next += 1;
        let mut decoder = Decoder::resume(segment.bytes.get(skip..).unwrap_or_default(), self.state);
        if self.continues() {
            decoder = decoder.keep_tail();
        }
        self.base = segment.offset + skip as u64;
        if self.state.sync == Sync::Seeking {
            self.unsynced += decoder.offset() as u64;
        }
        if self.damage.is_some()
            && let Some(item) = decoder.next()
        {
            let fed = Fed { offset: self.base + item.offset as u64, len: item.len as u64, what: item.what };
            self.join(fed, decoder.state().sync);
        }
        self.decoder = Some(decoder);
    }

    /// Whether no byte is missing before the next segment.
    fn continues(&self) -> bool {
        self.stream.segment(self.next).is_some_and(|s| s.join == Join::Continues)
    }

    /// Takes an item at a seam: damage on both sides of it is one.
    fn join(&mut self, fed: Fed, sync: Sync) {
        match &mut self.damage {
            Some(damage) if fed.what == damage.what && fed.offset == damage.offset + damage.len => {
                damage.len += fed.len
            }
            _ => {
                self.seam.extend(self.damage.replace(fed));
            }
        }
        if sync == Sync::InSync {
            self.seam.extend(self.damage.take());
        }
    }

    /// Hands on up to `count` items. False at the end of the stream.
    pub(crate) fn pump(&mut self, count: usize, f: &mut impl FnMut(Fed)) -> bool {
        let mut left = count;
        loop {
            while left > 0 {
                let Some(fed) = self.seam.pop_front() else { break };
                left -= 1;
                f(fed);
            }
            let Some(decoder) = &mut self.decoder else { return !self.seam.is_empty() };
            while left > 0 {
                let Some(item) = decoder.next() else { break };
                let fed = Fed { offset: self.base + item.offset as u64, len: item.len as u64, what: item.what };
                if item.what.is_err() && decoder.state().sync != Sync::InSync {
                    self.damage = Some(fed);
                    break;
                }
                left -= 1;
                f(fed);
            }
            let at = self.base + decoder.offset() as u64;
            if at >= self.released + RELEASE {
                self.stream.release(self.released..at);
                self.released = at;
            }
            if left == 0 {
                return true;
            }
            self.cross();
        }
    }

    /// At the end of a segment: the packets that begin in it and reach into the next ones, if any do.
    fn cross(&mut self) {
        let Some(decoder) = self.decoder.take() else { return };
        self.state = decoder.state();
        let tail = decoder.tail();
        if !self.continues() {
            self.seam.extend(self.damage.take());
            return self.open(0);
        }
        if tail.is_empty() {
            return self.open(0);
        }
        let mut buffer = tail.to_vec();
        let (mut ahead, most) = (self.next, tail.len() + BEHIND);
        while let Some(segment) =
            self.stream.segment(ahead).filter(|s| s.join == Join::Continues && buffer.len() < most)
        {
            buffer.extend_from_slice(&segment.bytes[..segment.bytes.len().min(most - buffer.len())]);
            ahead += 1;
        }
        let mut crossing = Decoder::resume(&buffer, self.state);
        if buffer.len() == most {
            // There may be more behind.
            crossing = crossing.keep_tail();
        }
        if self.state.sync == Sync::Seeking {
            self.unsynced += crossing.offset() as u64;
        }
        let start = self.base + decoder.offset() as u64;
        // Up to the first packet that begins in a next segment.
        while crossing.offset() < tail.len() {
            let Some(item) = crossing.next() else { break };
            let fed = Fed { offset: start + item.offset as u64, len: item.len as u64, what: item.what };
            self.join(fed, crossing.state().sync);
        }
        self.state = crossing.state();
        let mut skip = crossing.offset().saturating_sub(tail.len());
        while let Some(segment) = self.stream.segment(self.next).filter(|s| s.bytes.len() <= skip && skip > 0) {
            skip -= segment.bytes.len();
            self.next += 1;
        }
        self.open(skip);
    }
}
