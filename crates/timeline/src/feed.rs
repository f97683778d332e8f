//! The packets of one stream, across its segments.
//!
//! Where a segment continues the one before it, a packet may begin in one and end in the other. Only then are bytes
//! copied: the few of that packet and some behind it, into a small buffer. Memory of what has been read is given back
//! as reading goes on.
//!
//! Where trace is missing between two segments, an item says so; what is behind begins at a packet where a driver turned
//! the trace on, else at the next PSB.
//!
//! A feed gives every packet, or the envelope: all but the branches, of which there are a thousand times as many.
//!
//! Invariant: where segments continue each other in the file, the items are those of one segment, wherever the cuts are.

use std::collections::VecDeque;

use havana_packet::{BadReason, Decoder, Envelope, Errata, Item, Leaper, Met, Packet, State, Sync};
use havana_trace::{Cause, Join, Missing, Pause, Stream};

/// Bytes of the next segments that are looked at together with a cut packet: more than any packet, with room for a PSB
/// behind damage and for the longest run of PSB bytes that a decoder looks at.
const BEHIND: usize = 512;

/// Memory is given back each time so many bytes were read.
const RELEASE: u64 = 4 << 20;

/// One item of the stream.
#[derive(Debug, Clone, Copy)]
pub struct Fed {
    /// Offset in the file.
    pub offset: u64,
    /// Bytes of the stream before it.
    pub at: u64,
    /// Its length in bytes.
    pub len: u64,
    /// What it is.
    pub what: Content,
}

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Content {
    /// A packet.
    Packet(Packet),
    /// Bytes that are no packet.
    Bad(BadReason),
    /// Tracing paused.
    Paused(Pause),
    /// Trace is missing here.
    Missing(Missing),
}

impl From<Result<Packet, BadReason>> for Content {
    #[inline]
    fn from(what: Result<Packet, BadReason>) -> Self {
        match what {
            Ok(packet) => Content::Packet(packet),
            Err(reason) => Content::Bad(reason),
        }
    }
}

/// An item of a decoder whose first byte is at `offset` of the file, `at` of the stream.
#[inline(always)]
fn fed(offset: u64, at: u64, item: &Item) -> Fed {
    let begin = item.offset as u64;
    Fed { offset: offset + begin, at: at + begin, len: item.len as u64, what: item.what.into() }
}

/// Reads a stream front to back.
#[derive(Debug)]
pub struct Feed<'a> {
    stream: &'a Stream,
    /// The segment after the one that `decoder` reads.
    next: usize,
    decoder: Option<Box<Envelope<'a>>>,
    /// Every packet is given, and not the envelope alone.
    all: bool,
    /// What was met of the envelope.
    met: Met,
    /// What the next segment is gone through with.
    leaper: Option<Leaper>,
    /// File offset of the decoder's first byte, and the bytes of the stream before it.
    base: u64,
    place: u64,
    /// Bytes of the stream in the segments that were opened.
    opened: u64,
    state: State,
    released: u64,
    /// Items at the seam of segments, to be handed on before those of `decoder`. Few.
    seam: VecDeque<Fed>,
    /// Damage up to the end of a segment, which may go on in the next.
    damage: Option<Fed>,
    /// Bytes before the first PSB.
    pub(crate) unsynced: u64,
    /// It was found.
    begun: bool,
}

impl<'a> Feed<'a> {
    /// Every packet, from the first PSB on.
    pub fn new(stream: &'a Stream, errata: Errata) -> Self {
        Feed::begin(stream, errata, true)
    }

    /// What an [`Envelope`] gives, from the first PSB on.
    pub fn envelope(stream: &'a Stream, errata: Errata) -> Self {
        Feed::begin(stream, errata, false)
    }

    fn begin(stream: &'a Stream, errata: Errata, all: bool) -> Self {
        let state = State { errata, ..State::unsynced() };
        let (seam, damage) = (VecDeque::new(), None);
        let mut feed = Feed {
            stream,
            next: 0,
            decoder: None,
            all,
            met: Met::default(),
            leaper: None,
            base: 0,
            place: 0,
            opened: 0,
            state,
            released: 0,
            seam,
            damage,
            unsynced: 0,
            begun: false,
        };
        feed.open(0);
        // On to the first PSB, in whichever segment it is.
        while feed.decoder.as_ref().is_some_and(|d| d.sync() == Sync::Seeking) {
            feed.cross();
        }
        feed.begun = true;
        // What was missing before it is before the begin.
        feed.seam.retain(|fed| !matches!(fed.what, Content::Paused(_) | Content::Missing(_)));
        feed
    }

    /// What it reads.
    pub(crate) fn stream(&self) -> &'a Stream {
        self.stream
    }

    /// Nothing is left of it: it has no PSB.
    pub fn is_at_end(&self) -> bool {
        self.decoder.is_none() && self.seam.is_empty()
    }

    /// Begins the next segment, `skip` bytes in.
    fn open(&mut self, skip: usize) {
        let Some(segment) = self.stream.segment(self.next) else {
            self.seam.extend(self.damage.take());
            self.decoder = None;
            return;
        };
        self.next += 1;
        self.base = segment.offset + skip as u64;
        self.place = self.opened + skip as u64;
        self.opened += segment.bytes.len() as u64;
        if let Join::Missing(missing) = segment.join {
            self.seam.extend(self.damage.take());
            let sync = if missing.at_packet && self.begun { Sync::InSync } else { Sync::Seeking };
            self.state = State { sync, errata: self.state.errata, ..State::default() };
        }
        let mut decoder = Decoder::resume(segment.bytes.get(skip..).unwrap_or_default(), self.state);
        if self.continues() {
            decoder = decoder.keep_tail();
        }
        let passed = if self.state.sync == Sync::Seeking { decoder.offset() as u64 } else { 0 };
        if !self.begun {
            self.unsynced += passed;
        }
        self.joined(segment.join, passed);
        let leaper = self.leaper.take().unwrap_or_default();
        let envelope = Envelope::with(decoder, leaper).after(self.met);
        let mut decoder = Box::new(if self.all { envelope.every_packet() } else { envelope });
        if self.damage.is_some()
            && let Some(item) = decoder.next()
        {
            let fed = fed(self.base, self.place, &item);
            self.join(fed, decoder.sync());
        }
        self.decoder = Some(decoder);
    }

    /// Says how a segment joins the one before it. `passed`: bytes of it up to a PSB.
    fn joined(&mut self, join: Join, passed: u64) {
        let what = match join {
            Join::Paused(pause) => Content::Paused(pause),
            Join::Missing(missing) => Content::Missing(Missing { bytes: passed, ..missing }),
            _ if passed > 0 && self.begun => {
                let (stopped, resumed) = (None, None);
                Content::Missing(Missing { cause: Cause::Dropped, stopped, resumed, at_packet: false, bytes: passed })
            }
            _ => return,
        };
        self.seam.push_back(Fed { offset: self.base, at: self.place, len: 0, what });
    }

    /// Whether no byte is missing before the next segment.
    fn continues(&self) -> bool {
        self.stream.segment(self.next).is_some_and(|s| s.join.is_whole())
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
    pub fn pump(&mut self, count: usize, f: &mut impl FnMut(Fed)) -> bool {
        let mut left = count;
        loop {
            while left > 0 {
                let Some(fed) = self.seam.pop_front() else { break };
                left -= 1;
                f(fed);
            }
            let Some(decoder) = &mut self.decoder else { return !self.seam.is_empty() };
            while left > 0 {
                let (base, place) = (self.base, self.place);
                let mut damage = None;
                decoder.each(&mut |item: Item| {
                    if item.what.is_err() {
                        damage = Some(item);
                        return false;
                    }
                    left -= 1;
                    f(fed(base, place, &item));
                    left > 0
                });
                let Some(item) = damage else { break };
                let fed = fed(base, place, &item);
                if decoder.sync() != Sync::InSync {
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
        let Some(envelope) = self.decoder.take() else { return };
        self.met = envelope.met();
        let (decoder, leaper) = envelope.into_parts();
        self.leaper = Some(leaper);
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
        while let Some(segment) = self.stream.segment(ahead).filter(|s| s.join.is_whole() && buffer.len() < most) {
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
        let (start, place) = (self.base + decoder.offset() as u64, self.place + decoder.offset() as u64);
        // Up to the first packet that begins in a next segment.
        while crossing.offset() < tail.len() {
            let Some(item) = crossing.next() else { break };
            self.met.see(&item, &crossing.state());
            let fed = fed(start, place, &item);
            self.join(fed, crossing.state().sync);
        }
        self.state = crossing.state();
        let mut skip = crossing.offset().saturating_sub(tail.len());
        while let Some(segment) = self.stream.segment(self.next).filter(|s| s.bytes.len() <= skip && skip > 0) {
            skip -= segment.bytes.len();
            self.opened += segment.bytes.len() as u64;
            self.next += 1;
        }
        self.open(skip);
    }
}
