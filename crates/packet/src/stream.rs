//! A whole stream: synchronisation, damage, and streams that come in pieces.
//!
//! The stream is worked off in segments, each from one PSB to the next (found first, by a search that runs far ahead of
//! decoding in speed). A packet never reaches into the next segment: if its bytes do, they are damaged, since no packet
//! holds a PSB. So damage never costs the PSB behind it, and what follows a PSB never depends on what came before.
//!
//! ```text
//!   │ PSB … PSBEND, packets              │ PSB … PSBEND, pack█ts                    │ PSB …
//!   └ segment, ended by the next PSB ────┴ damage: one item, up to the next PSB ────┴ in sync again
//! ```
//!
//! Invariants: items follow each other without gap or overlap; every call either moves on or ends the iteration.

use std::iter::FusedIterator;

use crate::{BadReason, Errata, Fault, PSB, Packet, State, Sync, decode_one, find_psb, psb::trailing_run};

/// One packet, or bytes that are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Where it begins in the bytes.
    pub offset: usize,
    /// How long it is.
    pub len: usize,
    /// The packet, or why there is none.
    pub what: Result<Packet, BadReason>,
}

/// Iterates over the packets of a stream.
///
/// A stream that comes in pieces is decoded with [`keep_tail`](Decoder::keep_tail): put [`tail`](Decoder::tail) before
/// the next piece and go on with [`resume`](Decoder::resume) and [`state`](Decoder::state); leave `keep_tail` out for
/// the last piece. The items are those of the stream in one piece, but for damage that reaches over the end of a piece,
/// which is then two items.
#[derive(Debug, Clone)]
pub struct Decoder<'a> {
    pub(crate) bytes: &'a [u8],
    /// What `next` begins with.
    pub(crate) pos: usize,
    /// The end of the segment: the next PSB or `end`.
    pub(crate) limit: usize,
    /// Up to here is decoded: all, or all but what may be the begin of a PSB.
    pub(crate) end: usize,
    keep_tail: bool,
    synced_at: Option<usize>,
    pub(crate) state: State,
}

impl<'a> Decoder<'a> {
    /// Decodes from the first PSB on. What is before it is not reported.
    pub fn new(bytes: &'a [u8]) -> Decoder<'a> {
        Decoder::resume(bytes, State::unsynced())
    }

    /// Goes on in a stream whose bytes so far left `state`.
    pub fn resume(bytes: &'a [u8], state: State) -> Decoder<'a> {
        let end = bytes.len();
        let mut decoder = Decoder { bytes, pos: 0, limit: 0, end, keep_tail: false, synced_at: None, state };
        decoder.seek();
        decoder
    }

    /// Decodes with a cpu's errata in mind.
    #[must_use]
    pub fn with_errata(mut self, errata: Errata) -> Decoder<'a> {
        self.state.errata = errata;
        self
    }

    /// Leaves a packet that the bytes' end cuts off to [`tail`](Decoder::tail) instead of reporting it as damage. To be
    /// called before the first item is taken.
    #[must_use]
    pub fn keep_tail(mut self) -> Decoder<'a> {
        self.keep_tail = true;
        self.end = trailing_run(self.bytes);
        if self.synced_at.take().is_some() {
            self.state.sync = Sync::Seeking;
            self.pos = 0;
        }
        self.seek();
        self
    }

    /// Where the first PSB was found, by a decoder that had to find it.
    pub fn synced_at(&self) -> Option<usize> {
        self.synced_at
    }

    /// Where the next item begins; where decoding ended, after the last one.
    pub fn offset(&self) -> usize {
        self.pos
    }

    /// What a decoder of the bytes from [`offset`](Decoder::offset) on needs to know.
    pub fn state(&self) -> State {
        self.state
    }

    /// The bytes from [`offset`](Decoder::offset) on: after the last item, those of a packet whose rest is not there.
    /// Empty then without [`keep_tail`](Decoder::keep_tail).
    pub fn tail(&self) -> &'a [u8] {
        self.bytes.get(self.pos..).unwrap_or_default()
    }

    /// Goes to the first PSB, where that is still to be found.
    fn seek(&mut self) {
        if self.state.sync == Sync::Seeking {
            match self.psb_after(0) {
                Some(psb) => {
                    self.pos = psb;
                    self.synced_at = Some(psb);
                    self.state.sync = Sync::InSync;
                }
                None => self.pos = self.end,
            }
            self.limit = self.pos;
        }
    }

    fn psb_after(&self, from: usize) -> Option<usize> {
        find_psb(self.bytes, from).filter(|psb| *psb < self.end)
    }

    /// Opens the segment at `pos`, which is the end of the last one. Gives the damage before it, if any.
    #[cold]
    fn open(&mut self) -> Option<Item> {
        self.limit = self.psb_after(self.pos).unwrap_or(self.end);
        if let Sync::Lost(reason) = self.state.sync {
            if self.limit < self.end {
                self.state.sync = Sync::InSync;
            }
            if self.pos < self.limit {
                return Some(self.bad(self.limit - self.pos, reason));
            }
        }
        if self.pos == self.limit {
            // The segment begins with its PSB, as all do but the first of a resumed stream.
            self.limit = self.psb_after(self.pos + PSB.len()).unwrap_or(self.end);
        }
        None
    }

    /// Answers a fault at `pos`. Gives the damage; `None` where there is none after all, or no more to decode.
    #[cold]
    fn fault(&mut self, fault: Fault) -> Option<Item> {
        let reason = match fault {
            Fault::Discard { reason, len } => return Some(self.bad(len, reason)),
            Fault::Bad(reason) => reason,
            Fault::NeedMore if self.keep_tail && self.limit == self.end => {
                self.limit = self.pos;
                self.end = self.pos;
                return None;
            }
            Fault::NeedMore => BadReason::Truncated,
        };
        if self.limit == self.end {
            self.state.sync = Sync::Lost(reason);
        }
        Some(self.bad(self.limit - self.pos, reason))
    }

    fn bad(&mut self, len: usize, reason: BadReason) -> Item {
        let offset = self.pos;
        self.pos += len;
        Item { offset, len, what: Err(reason) }
    }
}

impl Iterator for Decoder<'_> {
    type Item = Item;

    #[inline]
    fn next(&mut self) -> Option<Item> {
        loop {
            let offset = self.pos;
            let found = match self.bytes.get(offset..self.limit) {
                Some(segment) if !segment.is_empty() => match decode_one(segment, &mut self.state) {
                    Ok((packet, len)) => {
                        self.pos = offset + len;
                        return Some(Item { offset, len, what: Ok(packet) });
                    }
                    Err(fault) => self.fault(fault),
                },
                _ if offset < self.end => self.open(),
                _ => return None,
            };
            if found.is_some() {
                return found;
            }
        }
    }
}

impl FusedIterator for Decoder<'_> {}
