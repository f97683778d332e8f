//! A stream many bytes at a time: all its packets, or those that bound who runs, and when.
//!
//! [`Envelope::every_packet`] gives every item that a [`Decoder`] gives, and is the same but faster. All others give the envelope:
//!
//! [`Envelope`] is a [`Decoder`] that gives no short TNT, PAD, TIP, TIP.PGE and TIP.PGD, and of the FUPs those only from
//! which an exit may come: outside PSB+, with no branch right behind. All other items are the decoder's, and as it gives
//! them: offset, length, payload, damage. Three branches more are given, that a reader needs, of those outside PSB+: the first,
//! which says that there are some; the first one behind a FUP that was given, which says that no exit came from there; and the
//! first one behind a CYC, which says what that dates.
//!
//! It walks every packet all the same. Where the next packet of note begins [`havana_leap`] says, many bytes at a time and
//! without a guess. Whatever is out of the ordinary is left to the decoder, from the last packet on that was ordinary, up to
//! the next PSB:
//!
//! * bytes that are no packet, and packets that the end cuts off;
//! * a PSB inside another packet, or in a run of `02 82` that is longer than a PSB (see [`psb`](crate::find_psb));
//! * blocks (BBP … BEP), which change what a byte means.
//!
//! A walk that crosses a PSB meets `02 82` at a packet's start: a PSB has 16 bytes, the longest other packet 11, and what of a
//! PSB is left behind it reads as `02 82`, or as a TNT (`82`) and then `02 82`. So no PSB need be searched for.

mod every;
mod last_ip;

use std::iter::FusedIterator;

use havana_leap::{LISTED, LOOKED_AT, Leaper, Listing, MOST_LISTED, What, step};

use crate::brief::{Brief, brief};
use crate::psb::{PSB, RUN_MAX, find_psb};
use crate::{Block, Decoder, Ip, Item, Kind, Packet, State, Sync, decode_one};

/// Iterates over the packets of a stream that bound who runs, and damage. Used as a [`Decoder`] is.
#[derive(Debug, Clone)]
pub struct Envelope<'a> {
    /// Where we are, and in which state, is kept there.
    walk: Decoder<'a>,
    leaper: Leaper,
    /// The leaper finds the next packet; else the decoder takes it, up to the next PSB.
    leaps: bool,
    /// The lower half of `walk.state.last_ip` is that of the packet at this offset.
    ip_at: usize,
    met: Met,
    /// Packets of note stand side by side here.
    dense: bool,
    /// Every packet is given.
    all: bool,
    /// Only the next packet is asked for.
    one: bool,
}

/// Whether more is wanted.
pub type More = bool;

/// Takes what an [`Envelope`] gives. A closure that takes an [`Item`] is one too.
pub trait Take {
    /// Any item.
    fn item(&mut self, item: Item) -> More;

    /// A packet of a kind that there are many of.
    #[inline]
    fn brief(&mut self, brief: Brief) -> More {
        self.item(Item { offset: brief.offset, len: brief.len.into(), what: Ok(brief.packet()) })
    }

    /// PADs, or short TNTs, side by side: each is a byte. Where no more is wanted: how many of them were taken.
    #[inline]
    fn run(&mut self, kind: Kind, offset: usize, bytes: &[u8]) -> Option<usize> {
        run_by_packets(self, kind, offset, bytes)
    }
}

impl<F: FnMut(Item) -> More> Take for F {
    #[inline]
    fn item(&mut self, item: Item) -> More {
        self(item)
    }
}

/// Takes what stands side by side one by one.
#[inline]
fn run_by_packets(take: &mut (impl Take + ?Sized), kind: Kind, offset: usize, bytes: &[u8]) -> Option<usize> {
    let more =
        |(at, byte): (usize, &u8)| !take.brief(Brief { offset: offset + at, len: 1, kind, payload: u64::from(*byte) });
    bytes.iter().enumerate().position(more).map(|at| at + 1)
}

/// So many packets of note side by side, and more are taken together.
const MANY: usize = 64;

/// Bytes that are listed together, and those behind that the last of their packets may reach into.
const WINDOW: usize = MOST_LISTED * LISTED + LOOKED_AT;

/// The eight bytes with which a listed packet begins.
#[inline(always)]
fn word_at(window: &[u8; WINDOW], at: usize) -> u64 {
    // Who sees that no listed packet begins later needs no check.
    let at = at % (MOST_LISTED * LISTED);
    window[at..at + 8].first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

/// What was met so far, and a stream's next bytes go on from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Met {
    /// A branch was given: there are some.
    pub branches: bool,
    /// A FUP was given, and nothing since that tells what it was of.
    pub fup: bool,
    /// A CYC was given, and no branch since.
    pub cyc: bool,
}

impl Met {
    const BRANCH: Met = Met { branches: true, fup: false, cyc: false };

    /// The next branch is to be given.
    fn wants_branch(&self) -> bool {
        !self.branches || self.fup || self.cyc
    }

    /// After an item that a decoder gave, which then was in `state`.
    pub fn see(&mut self, item: &Item, state: &State) {
        match item.what {
            Ok(packet) if is_branch(&packet) && !state.psb_plus => *self = Met::BRANCH,
            Ok(Packet::Cyc { .. }) => self.cyc = true,
            Ok(Packet::Pip { .. }) => self.fup &= state.psb_plus,
            Ok(Packet::Fup(_)) => self.fup |= !state.psb_plus,
            Ok(Packet::Ovf) | Err(_) => self.fup = false,
            _ => {}
        }
    }
}

/// Why leaping ended.
enum End {
    /// The bytes end.
    Bytes,
    /// No more is wanted.
    Enough,
    /// Something out of the ordinary.
    Odd,
}

impl<'a> Envelope<'a> {
    /// Decodes from the first PSB on. What is before it is not reported.
    pub fn new(bytes: &'a [u8]) -> Envelope<'a> {
        Envelope::with(Decoder::new(bytes), Leaper::default())
    }

    /// Goes on where a decoder is, with a leaper that may have been used on other bytes.
    pub fn with(walk: Decoder<'a>, mut leaper: Leaper) -> Envelope<'a> {
        leaper.forget();
        let leaps = is_ordinary(&walk.state);
        Envelope { ip_at: walk.pos, walk, leaper, leaps, met: Met::default(), dense: false, all: false, one: false }
    }

    /// Gives every packet.
    #[must_use]
    pub fn every_packet(mut self) -> Envelope<'a> {
        self.all = true;
        self
    }

    /// Goes on behind other bytes.
    #[must_use]
    pub fn after(mut self, met: Met) -> Envelope<'a> {
        self.met = met;
        self
    }

    /// What was met so far.
    pub fn met(&self) -> Met {
        self.met
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
        if self.leaps && !self.all {
            self.find_ip(self.walk.pos);
        }
        (self.walk, self.leaper)
    }

    /// The leaper, for other bytes.
    pub fn into_leaper(self) -> Leaper {
        self.leaper
    }

    /// Hands on items while `take` wants more. False at the end.
    #[inline]
    pub fn each(&mut self, take: &mut impl Take) -> More {
        loop {
            if self.leaps {
                match if self.all { self.lists_all(take) } else { self.leap(take) } {
                    End::Enough => return true,
                    End::Bytes => return false,
                    End::Odd => self.leave(),
                }
            }
            match self.walked() {
                Some(item) if take.item(item) => {}
                Some(_) => return true,
                None => return false,
            }
        }
    }

    /// The decoder takes over, from the last packet on that was given.
    #[cold]
    fn leave(&mut self) {
        if !self.all {
            self.find_ip(self.walk.pos);
        }
        // A BBP was looked at, and will be again.
        self.walk.state.block = Block::None;
        self.leaps = false;
        if self.walk.pos >= self.walk.limit {
            // Where this segment ends was not asked.
            self.walk.limit = self.walk.pos;
        }
    }

    /// The next item where the decoder is at work.
    #[cold]
    fn walked(&mut self) -> Option<Item> {
        let item = self.walk.next()?;
        self.met.see(&item, &self.walk.state);
        if self.walk.pos == self.walk.limit && is_ordinary(&self.walk.state) {
            self.leaps = true;
            self.ip_at = self.walk.pos;
        }
        Some(item)
    }

    /// Leaps from packet to packet as long as all is ordinary.
    #[inline]
    fn leap(&mut self, take: &mut impl Take) -> End {
        let bytes = self.walk.bytes.get(..self.walk.end).unwrap_or_default();
        loop {
            if let Some(end) = self.stepped(bytes, take) {
                return end;
            }
            if self.dense
                && !self.one
                && !self.walk.state.psb_plus
                && !self.met.fup
                && let Some(end) = self.listed(bytes, take)
            {
                return end;
            }
            if let Some(end) = self.leap_far(bytes, take) {
                return end;
            }
        }
    }

    /// Packets of note side by side, one by one: those of PSB+ are much alike, and a processor guesses well which one comes.
    #[inline]
    fn stepped(&mut self, bytes: &[u8], take: &mut impl Take) -> Option<End> {
        for _ in 0..MANY {
            if self.dense && !self.one && !self.walk.state.psb_plus && !self.met.fup {
                return None;
            }
            let offset = self.walk.pos;
            let head = bytes.get(offset..)?.first_chunk::<8>()?;
            let word = u64::from_le_bytes(*head);
            let what = match head[0] {
                0x00 => {
                    self.walk.pos += (word.trailing_zeros() / 8) as usize;
                    continue;
                }
                0x59 => What::Mtc,
                0x19 => What::Tsc,
                0x99 => What::Mode,
                0x02 => match head[1] {
                    0x43 => What::Pip,
                    0xc8 => What::Vmcs,
                    0x03 => What::Cbr,
                    0x73 => What::Tma,
                    0x23 => What::PsbEnd,
                    0xf3 => What::Ovf,
                    _ => return None,
                },
                first if first & 0b11 == 0b11 => What::Cyc,
                _ => return None,
            };
            let brief = brief(&self.walk.state.errata, offset, what as u8, word)?;
            if may_follow_psb(bytes, offset + usize::from(brief.len)) {
                return None;
            }
            match what {
                What::PsbEnd => self.walk.state.psb_plus = false,
                What::Ovf => (self.walk.state.psb_plus, self.met.fup) = (false, false),
                What::Pip => self.met.fup &= self.walk.state.psb_plus,
                What::Cyc => self.met.cyc = true,
                _ => {}
            }
            self.walk.pos = offset + usize::from(brief.len);
            if !take.brief(brief) {
                return Some(End::Enough);
            }
        }
        self.dense = self.leaper.lists_fast();
        None
    }

    /// As long as most packets are of note: all of many bytes at once. Outside PSB+, and with no FUP to be told of.
    #[inline]
    fn listed(&mut self, bytes: &[u8], take: &mut impl Take) -> Option<End> {
        loop {
            let from = self.walk.pos;
            let window = bytes.get(from..)?.first_chunk::<WINDOW>()?;
            let list = self.leaper.list(bytes, from, MOST_LISTED, Listing::Noted)?;
            let next = from + list.next;
            // A branch may be wanted, and what holds a PSB is none of these packets.
            let has_cyc = || list.packets().any(|(_, what)| what == What::Cyc as u8);
            if list.branches && (self.met.wants_branch() || has_cyc()) || may_follow_psb(bytes, next) {
                return None;
            }
            self.dense = list.count() * 8 > list.next;
            let errata = self.walk.state.errata;
            let mut cyc = false;
            for (at, what) in list.packets() {
                cyc |= what == What::Cyc as u8;
                let word = word_at(window, at);
                let Some(brief) = brief(&errata, from + at, what, word) else {
                    (self.walk.pos, self.met.cyc) = (from + at, self.met.cyc | cyc);
                    return None;
                };
                if !take.brief(brief) {
                    (self.walk.pos, self.met.cyc) = (from + at + usize::from(brief.len), self.met.cyc | cyc);
                    return Some(End::Enough);
                }
            }
            (self.walk.pos, self.met.cyc) = (next, self.met.cyc | cyc);
            if !self.dense || list.next < MOST_LISTED * LISTED {
                return None;
            }
        }
    }

    /// To the next packet of note, which is then of any kind.
    #[inline]
    fn leap_far(&mut self, bytes: &[u8], take: &mut impl Take) -> Option<End> {
        let from = self.walk.pos;
        let offset = self.leaper.next(bytes, from);
        let wants_branch = self.met.wants_branch() && !self.walk.state.psb_plus;
        if wants_branch && let Some(branch) = first_branch(&bytes[from..offset.min(bytes.len())]) {
            return self.give_branch(bytes, from + branch, take);
        }
        let at_pair = bytes.get(offset..offset + 2) == Some(&PSB[..2]);
        if offset > from && offset < bytes.len() && !at_pair {
            // Inside of no PSB: what was passed over stands.
            self.walk.pos = offset;
            return None;
        }
        let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) else {
            if offset > bytes.len() {
                return Some(End::Odd);
            }
            (self.walk.pos, self.walk.limit) = (offset, offset);
            return Some(End::Bytes);
        };
        let mut given = true;
        match rest {
            [0x02, 0x82, ..] if !is_plain_psb(bytes, offset) => return Some(End::Odd),
            [first, ..] if first & 0x1f == 0x1d => {
                let next = 1 + usize::from(Ip::len(first >> 5));
                given = !self.walk.state.psb_plus && !rest.get(next).is_some_and(|first| begins_branch(*first));
                if !given && step(first & !0x1c) > 0 {
                    // The lower half of an IP that nobody asks for.
                    if holds_psb_at(bytes, offset, offset + next) || next > rest.len() {
                        return Some(End::Odd);
                    }
                    self.walk.pos = offset + next;
                    return None;
                }
                if given {
                    self.pass_to(offset);
                }
            }
            [0x02, ..] => {}
            // A whole IP.
            [first, ..] => {
                given = !matches!(first & 0x1f, 0x0d | 0x11 | 0x01) || (first & 0x1f == 0x0d && wants_branch)
            }
            [] => {}
        }
        let Some((packet, next)) = self.decode(bytes, offset) else { return Some(End::Odd) };
        let len = next - offset;
        match packet {
            Packet::Psb | Packet::Tip(_) | Packet::TipPge(_) | Packet::TipPgd(_) => self.ip_at = next,
            Packet::Fup(_) => {
                self.ip_at = next;
                self.met.fup |= given;
            }
            Packet::Bbp { .. } => return Some(End::Odd),
            Packet::Ovf => self.met.fup = false,
            Packet::Cyc { .. } => self.met.cyc = true,
            _ => {}
        }
        if given && is_branch(&packet) && !self.walk.state.psb_plus {
            self.met = Met::BRANCH;
        }
        self.walk.pos = next;
        (given && !take.item(Item { offset, len, what: Ok(packet) })).then_some(End::Enough)
    }

    /// Gives the branch at `offset`, that was to be passed over.
    #[cold]
    fn give_branch(&mut self, bytes: &[u8], offset: usize, take: &mut impl Take) -> Option<End> {
        if may_follow_psb(bytes, offset) {
            return Some(End::Odd);
        }
        self.pass_to(offset);
        let Some((packet, next)) = self.decode(bytes, offset) else { return Some(End::Odd) };
        self.met = Met::BRANCH;
        (self.ip_at, self.walk.pos) = (next, next);
        (!take.item(Item { offset, len: next - offset, what: Ok(packet) })).then_some(End::Enough)
    }

    /// All up to `offset` is passed over, and the last IP there is known.
    fn pass_to(&mut self, offset: usize) {
        self.find_ip(offset);
        self.walk.pos = offset;
    }

    /// The packet at `offset`, and where the next one begins. `None`, and nothing changed, where it is none, or not whole.
    #[inline]
    fn decode(&mut self, bytes: &[u8], offset: usize) -> Option<(Packet, usize)> {
        let mut state = self.walk.state;
        let (packet, len) = decode_one(bytes.get(offset..)?, &mut state).ok()?;
        if holds_psb_at(bytes, offset, offset + len) {
            return None;
        }
        self.walk.state = state;
        Some((packet, offset + len))
    }
}

/// Whether all is as the leaper takes it to be.
fn is_ordinary(state: &State) -> bool {
    state.sync == Sync::InSync && state.block == Block::None
}

/// A packet that only branch tracing makes, and that tells where a FUP before it was of.
fn is_branch(packet: &Packet) -> bool {
    matches!(packet, Packet::Tip(_) | Packet::Tnt8 { .. } | Packet::Tnt64 { .. })
}

/// Whether a short TNT or a TIP begins with this byte.
fn begins_branch(first: u8) -> bool {
    (first & 1 == 0 && first != 0x00 && first != 0x02) || first & 0x1f == 0x0d
}

/// The first branch among packets that are passed over.
fn first_branch(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(&first) = bytes.get(at) {
        if let (0, Some([0, 0, 0, 0, 0, 0, 0, 0])) = (first, bytes.get(at..at + 8)) {
            at += 8;
            continue;
        }
        if begins_branch(first) {
            return Some(at);
        }
        at += step(first).max(1);
    }
    None
}

/// Whether the `02 82` at `at` is a PSB, whatever it is searched from: a run of eight, and no longer.
fn is_plain_psb(bytes: &[u8], at: usize) -> bool {
    let before = at >= 2 && bytes[at - 2..at] == PSB[..2];
    let after = bytes[at..].get(PSB.len()..PSB.len() + 2) == Some(&PSB[..2]);
    bytes[at..].starts_with(&PSB) && !before && !after
}

/// Whether a PSB begins inside the packet from `at` to `next`.
fn holds_psb_at(bytes: &[u8], at: usize, next: usize) -> bool {
    may_follow_psb(bytes, next) && holds_psb(bytes, at, next)
}

/// Whether `at` may be inside a PSB, or one that is no plain one: what is before it reads like a part of one too.
#[inline]
fn may_follow_psb(bytes: &[u8], at: usize) -> bool {
    let around = at.checked_sub(2).and_then(|from| bytes.get(from..at + 2));
    matches!(around, Some([0x02, 0x82, 0x02, 0x82] | [_, 0x02, 0x82, 0x02]))
}

#[cold]
fn holds_psb(bytes: &[u8], at: usize, next: usize) -> bool {
    // The run that it is in is looked at as far as ever.
    find_psb(&bytes[..bytes.len().min(next + RUN_MAX)], at + 1).is_some_and(|psb| psb < next)
}

impl Iterator for Envelope<'_> {
    type Item = Item;

    /// One by one: [`each`](Envelope::each) is what is fast.
    #[inline]
    fn next(&mut self) -> Option<Item> {
        let mut next = None;
        // Nobody lists a thousand bytes for one packet.
        self.one = true;
        self.each(&mut |item| {
            next = Some(item);
            false
        });
        self.one = false;
        next
    }
}

impl FusedIterator for Envelope<'_> {}
