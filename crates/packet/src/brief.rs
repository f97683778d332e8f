//! Packets of a fixed layout, as bits: what there are many of is handed on without being taken apart.

use havana_leap::What;

use crate::{Errata, Ip, Kind, Packet, decode};

/// A packet of a kind that there are many of: PAD, TNT, TIP, TIP.PGE, TIP.PGD, CYC, MTC, TSC, MODE, PIP, VMCS, CBR, TMA,
/// PSBEND, OVF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brief {
    /// Where it begins in the bytes.
    pub offset: usize,
    /// How long it is.
    pub len: u8,
    /// Which packet.
    pub kind: Kind,
    /// The bytes behind its opcode, as a little-endian number; the cycles of a CYC; the byte of a TNT; the last IP after a
    /// packet with an IP.
    pub payload: u64,
}

impl Brief {
    /// The packet.
    #[inline]
    pub fn packet(&self) -> Packet {
        let payload = self.payload;
        match self.kind {
            Kind::Pad => Packet::Pad,
            Kind::Tnt8 => decode::tnt8(payload as u8),
            Kind::Tip => Packet::Tip(self.ip()),
            Kind::TipPge => Packet::TipPge(self.ip()),
            Kind::TipPgd => Packet::TipPgd(self.ip()),
            Kind::Cyc => Packet::Cyc { cycles: payload },
            Kind::Mtc => Packet::Mtc { ctc: payload as u8 },
            Kind::Tsc => Packet::Tsc { tsc: payload },
            Kind::Pip => decode::pip(payload),
            Kind::Vmcs => decode::vmcs(payload),
            Kind::Cbr => decode::cbr(payload),
            Kind::Tma => decode::tma_of(payload),
            Kind::ModeExec => decode::mode_exec(payload as u8),
            Kind::ModeTsx => decode::mode_tsx(payload as u8),
            Kind::PsbEnd => Packet::PsbEnd,
            Kind::Ovf => Packet::Ovf,
            _ => unreachable!("{} has no brief", self.kind),
        }
    }

    /// None, two or four bytes of it are in the packet.
    fn ip(&self) -> Ip {
        let ipc = self.len / 2;
        Ip { ipc, raw: self.payload & Ip::said(ipc), ip: if ipc == 0 { None } else { Some(self.payload) } }
    }
}

/// Where the payloads of packets are in their first eight bytes, by [`What`]: an array a question, as each is asked apart.
pub(crate) struct Layouts {
    kind: [Kind; 16],
    len: [u8; 16],
    /// Bits before the payload, and which are its.
    skip: [u8; 16],
    bits: [u64; 16],
}

/// These are looked at more closely: a CYC has no fixed length, and not all payloads of MODE and TMA are packets.
const CLOSER: u16 = 1 << What::Cyc as u16 | 1 << What::Mode as u16 | 1 << What::Tma as u16;

static LAYOUTS: Layouts = {
    let mut of = Layouts { kind: [Kind::Pad; 16], len: [1; 16], skip: [0; 16], bits: [0; 16] };
    let all = [
        (What::Pad, Kind::Pad, 0, 1),
        (What::Tnt, Kind::Tnt8, 0, 1),
        (What::Tip, Kind::Tip, 0, 1),
        (What::TipPge, Kind::TipPge, 0, 1),
        (What::TipPgd, Kind::TipPgd, 0, 1),
        (What::Cyc, Kind::Cyc, 0, 1),
        (What::Mtc, Kind::Mtc, 1, 2),
        (What::Tsc, Kind::Tsc, 1, 8),
        (What::Mode, Kind::ModeExec, 1, 2),
        (What::Pip, Kind::Pip, 2, 8),
        (What::Vmcs, Kind::Vmcs, 2, 7),
        (What::Cbr, Kind::Cbr, 2, 4),
        (What::Tma, Kind::Tma, 2, 7),
        (What::PsbEnd, Kind::PsbEnd, 2, 2),
        (What::Ovf, Kind::Ovf, 2, 2),
    ];
    let mut at = 0;
    while at < all.len() {
        let (what, kind, opcode, len) = all[at];
        let what = what as usize;
        (of.kind[what], of.len[what], of.skip[what]) = (kind, len, 8 * opcode);
        of.bits[what] = if len == opcode { 0 } else { u64::MAX >> (64 - 8 * (len - opcode) as u32) };
        at += 1;
    }
    of
};

/// The packet at `offset` that begins with `word`. `None`: it is not to be taken for one without a closer look.
#[inline(always)]
pub(crate) fn brief(errata: &Errata, offset: usize, what: u8, word: u64) -> Option<Brief> {
    let at = usize::from(what % 16);
    let (kind, len) = (LAYOUTS.kind[at], LAYOUTS.len[at]);
    let brief = Brief { offset, len, kind, payload: word >> (LAYOUTS.skip[at] % 64) & LAYOUTS.bits[at] };
    if CLOSER >> at & 1 == 0 { Some(brief) } else { closer(errata, what, word, brief) }
}

#[inline(always)]
fn closer(errata: &Errata, what: u8, word: u64, brief: Brief) -> Option<Brief> {
    let payload = brief.payload;
    if what == What::Cyc as u8 {
        let (payload, len) = cyc(word)?;
        return (len != 2 || !errata.skd007).then_some(Brief { payload, len, ..brief });
    }
    if what == What::Tma as u8 {
        return (payload & decode::TMA_RESERVED == 0 && !errata.skz84).then_some(brief);
    }
    decode::mode_kind(payload as u8).map(|kind| Brief { kind, ..brief })
}

/// Cycles of the CYC that begins a word, and its length. `None` where that is more than four.
#[inline]
fn cyc(word: u64) -> Option<(u64, u8)> {
    let goes_on = (word >> 2 & 1) | (word >> 7 & 2) | (word >> 14 & 4) | (word >> 21 & 8);
    if goes_on == 0b1111 {
        return None;
    }
    let len = (!goes_on).trailing_zeros() + 1;
    let word = word & (u64::MAX >> (64 - 8 * len));
    let cycles = word >> 3 & 0x1f | (word >> 9 & 0x7f) << 5 | (word >> 17 & 0x7f) << 12 | (word >> 25 & 0x7f) << 19;
    Some((cycles, len as u8))
}
