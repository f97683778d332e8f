//! The packets of a stream that bound who runs, and when; branches are passed over.
//!
//! [`Envelope`] is a [`Decoder`] that gives no short TNT, PAD, TIP, TIP.PGE and TIP.PGD, and of the FUPs those only from
//! which an exit may come: outside PSB+, with no branch right behind. All other items are the decoder's, and as it gives
//! them: offset, length, payload, damage.
//!
//! It walks every packet all the same. Where the next packet that it gives begins, [`havana_leap`] says, many bytes at a
//! time and without a guess. Whatever is out of the ordinary it leaves to the decoder, from the last packet on that was
//! ordinary, up to the next PSB:
//!
//! * bytes that are no packet, and packets that the end cuts off;
//! * a PSB inside another packet, or in a run of `02 82` that is longer than a PSB (see [`psb`](crate::find_psb));
//! * blocks (BBP … BEP), which change what a byte means.
//!
//! A walk that crosses a PSB meets `02 82` at a packet's start: a PSB has 16 bytes, the longest other packet 11, and what of a
//! PSB is left behind it reads as `02 82`, or as a TNT (`82`) and then `02 82`. So no PSB need be searched for.
//!
//! The last IP (SDM, "IP Compression") is found when it is asked for, from the packets before it, backwards.

use std::iter::FusedIterator;

use havana_leap::Leaper;

use crate::{Block, Decoder, Errata, Fault, Ip, Item, PSB, Packet, State, Sync, decode_one, find_psb, psb::RUN_MAX};

/// Who takes the next packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The leaper finds it.
    Leaps,
    /// The decoder, up to the next PSB.
    Walks,
    /// The decoder, up to the next branch or PIP.
    ToBranch,
}

/// Iterates over the packets of a stream that bound who runs, and damage. Used as a [`Decoder`] is.
#[derive(Debug, Clone)]
pub struct Envelope<'a> {
    /// Where we are, and in which state, is kept there. Its last IP is that of the packet at `ip_at`.
    walk: Decoder<'a>,
    leaper: Leaper,
    mode: Mode,
    ip_at: usize,
    /// A branch was given: there are some.
    branches: bool,
    /// A FUP was given, and nothing since that tells what it was of.
    fup: bool,
}

impl<'a> Envelope<'a> {
    /// Decodes from the first PSB on. What is before it is not reported.
    pub fn new(bytes: &'a [u8]) -> Envelope<'a> {
        Envelope::of(Decoder::new(bytes))
    }

    /// Goes on where a decoder is.
    pub fn of(walk: Decoder<'a>) -> Envelope<'a> {
        Envelope::with(walk, Leaper::default())
    }

    /// The same with a leaper of one's choice, which may have been used on other bytes.
    pub fn with(walk: Decoder<'a>, mut leaper: Leaper) -> Envelope<'a> {
        leaper.forget();
        let ordinary = walk.state().sync == Sync::InSync && walk.state().block == Block::None;
        let mode = if ordinary { Mode::Leaps } else { Mode::Walks };
        Envelope { ip_at: walk.pos, walk, leaper, mode, branches: false, fup: false }
    }

    /// Decodes with a cpu's errata in mind.
    #[must_use]
    pub fn with_errata(mut self, errata: Errata) -> Envelope<'a> {
        self.walk.state.errata = errata;
        self
    }

    /// Says that a branch was met before. Else the first one is given: who asks learns that there are some.
    #[must_use]
    pub fn with_branches(mut self, known: bool) -> Envelope<'a> {
        self.branches = known;
        self
    }

    /// Whether a branch was met.
    pub fn branches(&self) -> bool {
        self.branches
    }

    /// As [`Decoder::offset`].
    pub fn offset(&self) -> usize {
        self.walk.pos
    }

    /// Whether the next byte begins a packet.
    pub fn sync(&self) -> Sync {
        self.walk.state.sync
    }

    /// The decoder that goes on from here, and the leaper, for other bytes.
    pub fn into_parts(mut self) -> (Decoder<'a>, Leaper) {
        if self.mode == Mode::Leaps {
            self.find_ip(self.walk.pos);
        }
        (self.walk, self.leaper)
    }

    /// Hands on items while `f` wants more. False at the end.
    #[inline]
    pub fn each(&mut self, f: &mut impl FnMut(Item) -> bool) -> bool {
        loop {
            if self.mode == Mode::Leaps {
                match self.leap(f) {
                    Some(true) => return true,
                    Some(false) => {}
                    None => return false,
                }
            }
            match self.walked() {
                Some(item) => {
                    if !f(item) {
                        return true;
                    }
                }
                None => return false,
            }
        }
    }

    /// The next item where the decoder is at work.
    #[cold]
    fn walked(&mut self) -> Option<Item> {
        if self.walk.pos >= self.walk.limit {
            // The segment is to be opened: where its PSB is was not asked.
            self.walk.limit = self.walk.pos;
        }
        let item = self.walk.next()?;
        let state = &self.walk.state;
        match item.what {
            Ok(Packet::Tip(_) | Packet::Tnt8 { .. } | Packet::Tnt64 { .. }) => {
                self.branches = true;
                self.fup &= state.psb_plus;
            }
            Ok(Packet::Pip { .. }) => self.fup &= state.psb_plus,
            Ok(Packet::Fup(_)) => self.fup |= !state.psb_plus,
            Ok(Packet::Ovf) | Err(_) => self.fup = false,
            _ => {}
        }
        let at_psb = self.walk.pos == self.walk.limit;
        let past = self.mode == Mode::ToBranch && item.what != Ok(Packet::Pad);
        let ordinary = state.sync == Sync::InSync && state.block == Block::None;
        if ordinary && !self.fup && (at_psb || past) {
            self.mode = Mode::Leaps;
            self.ip_at = self.walk.pos;
        }
        Some(item)
    }

    /// Leaps as long as all is ordinary: then gives `Some(false)`; `Some(true)` where `f` wants no more; `None` at the end.
    #[inline]
    fn leap(&mut self, f: &mut impl FnMut(Item) -> bool) -> Option<bool> {
        let bytes = self.walk.bytes.get(..self.walk.end).unwrap_or_default();
        loop {
            let from = self.walk.pos;
            let offset = self.leaper.next(bytes, from);
            if !self.branches && bytes[from..offset.min(bytes.len())].iter().any(|byte| *byte != 0) {
                // The first branch may be among these.
                return self.leave(Mode::ToBranch);
            }
            let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) else {
                if offset == bytes.len() {
                    (self.walk.pos, self.walk.limit) = (offset, offset);
                    return None;
                }
                return self.leave(Mode::Walks);
            };
            if rest[0] & 0x1f == 0x1d {
                match self.fup(bytes, offset) {
                    Fup::Dead { next } => {
                        self.walk.pos = next;
                        continue;
                    }
                    Fup::Alive => {
                        self.find_ip(offset);
                        self.walk.pos = offset;
                        return self.leave(Mode::ToBranch);
                    }
                    Fup::Odd => return self.leave(Mode::Walks),
                }
            }
            if let [0x02, 0x82, ..] = rest
                && !is_plain_psb(bytes, offset)
            {
                return self.leave(Mode::Walks);
            }
            let (packet, len) = match decode_one(rest, &mut self.walk.state) {
                Ok(found) => found,
                Err(Fault::NeedMore | Fault::Bad(_) | Fault::Discard { .. }) => return self.leave(Mode::Walks),
            };
            let next = offset + len;
            if let Some([0x02, 0x82] | [0x82, 0x02]) = bytes.get(next..next + 2)
                && holds_psb(bytes, offset, next)
            {
                return self.leave(Mode::Walks);
            }
            match packet {
                Packet::Psb => self.ip_at = next,
                Packet::Bbp { .. } => return self.leave(Mode::Walks),
                _ => {}
            }
            self.walk.pos = next;
            if !f(Item { offset, len, what: Ok(packet) }) {
                return Some(true);
            }
        }
    }

    /// The decoder takes over, from the last packet on that was given.
    #[cold]
    fn leave(&mut self, mode: Mode) -> Option<bool> {
        self.find_ip(self.walk.pos);
        // A BBP was looked at, and will be again.
        self.walk.state.block = Block::None;
        self.mode = mode;
        Some(false)
    }

    /// A FUP at `at`.
    fn fup(&self, bytes: &[u8], at: usize) -> Fup {
        let len = Ip::len(bytes[at] >> 5);
        let next = at + 1 + usize::from(len);
        if len == Ip::RESERVED || next > bytes.len() || holds_psb_at(bytes, at, next) {
            return Fup::Odd;
        }
        match bytes.get(next) {
            _ if self.walk.state.psb_plus => Fup::Dead { next },
            Some(0x00 | 0x02) | None => Fup::Alive,
            Some(first) if first & 1 == 0 || first & 0x1f == 0x0d => Fup::Dead { next },
            Some(_) => Fup::Alive,
        }
    }

    /// Finds the last IP before the packet at `at`: of the IP packets before it the last one's, of whose compressed bits
    /// those before it, and so on.
    #[cold]
    fn find_ip(&mut self, at: usize) {
        let from = std::mem::replace(&mut self.ip_at, at);
        if from >= at {
            return;
        }
        let bytes = self.walk.bytes;
        let (mut known, mut ip, mut end) = (0u64, 0u64, at);
        while known != u64::MAX && end > from {
            let Some(entry) = self.leaper.entry_before(end) else {
                // Too far back: once more from where it was known.
                (known, ip) = ips(&bytes[from..at]);
                break;
            };
            let entry = entry.max(from);
            let (bits, value) = ips(&bytes[entry..end]);
            ip |= value & !known;
            known |= bits;
            end = entry;
        }
        self.walk.state.last_ip = ip | (self.walk.state.last_ip & !known);
    }
}

/// What the IP packets of whole packets say of the last IP: which bits, and their values.
fn ips(bytes: &[u8]) -> (u64, u64) {
    let (mut known, mut ip) = (0u64, 0u64);
    let (mut at, mut state) = (0, State::default());
    while let Some(rest) = bytes.get(at..)
        && let Ok((packet, len)) = decode_one(rest, &mut state)
    {
        at += len;
        if let Packet::Tip(part) | Packet::TipPge(part) | Packet::TipPgd(part) | Packet::Fup(part) = packet {
            let (bits, value) = (Ip::said(part.ipc), Ip::resolve(part.ipc, part.raw, 0));
            ip = (ip & !bits) | (value & bits);
            known |= bits;
        }
        if packet == Packet::Psb {
            (known, ip) = (u64::MAX, 0);
        }
    }
    (known, ip)
}

enum Fup {
    /// A branch follows, or it is of PSB+: no exit comes from there.
    Dead {
        next: usize,
    },
    Alive,
    /// Not to be taken for one, or not yet.
    Odd,
}

/// Whether the `02 82` at `at` is a PSB, whatever it is searched from: a run of eight, and no longer.
fn is_plain_psb(bytes: &[u8], at: usize) -> bool {
    let before = at >= 2 && bytes[at - 2..at] == PSB[..2];
    let after = bytes[at..].get(PSB.len()..PSB.len() + 2) == Some(&PSB[..2]);
    bytes[at..].starts_with(&PSB) && !before && !after
}

/// Whether a PSB begins inside the packet from `at` to `next`.
fn holds_psb_at(bytes: &[u8], at: usize, next: usize) -> bool {
    matches!(bytes.get(next..next + 2), Some([0x02, 0x82] | [0x82, 0x02])) && holds_psb(bytes, at, next)
}

#[cold]
fn holds_psb(bytes: &[u8], at: usize, next: usize) -> bool {
    // The run that it is in is looked at as far as ever.
    find_psb(&bytes[..bytes.len().min(next + RUN_MAX)], at + 1).is_some_and(|psb| psb < next)
}

impl Iterator for Envelope<'_> {
    type Item = Item;

    #[inline]
    fn next(&mut self) -> Option<Item> {
        let mut next = None;
        self.each(&mut |item| {
            next = Some(item);
            false
        });
        next
    }
}

impl FusedIterator for Envelope<'_> {}
