//! One packet from its bytes (SDM, "Packet Definitions").
//!
//! The first byte tells the packet; after `02` the second does, after `02 c3` the third. Payloads are little-endian.
//! `p` is payload, `i` IPBytes, `.` a bit the SDM calls reserved.
//!
//! | bytes | packet |
//! | --- | --- |
//! | `00` | PAD |
//! | `0b1bbbbbb0` … `0b0000010b0` | short TNT: stop bit, then up to six branches, oldest first |
//! | `0biii01101`, `0biii10001`, `0biii00001`, `0biii11101` + 0, 2, 4, 6 or 8 | TIP, TIP.PGE, TIP.PGD, FUP |
//! | `19` + 7 | TSC\[55:0\] |
//! | `59` + 1 | MTC: CTC\[N+7:N\] |
//! | `99 0b000..fdl` | MODE.Exec: IF, CS.D, CS.L |
//! | `99 0b001...ai` | MODE.TSX: TXAbort, InTX |
//! | `d9 0bicm..... tt` \[+ 2\] | TRIG: IP, ICNTV, MULT; TRBV; ICNT if ICNTV |
//! | `0bpppppe11` (`0bpppppppe`)\* | CYC: more bytes follow while `e` is set |
//! | `0bddddd100` + 4 or 8 | BIP, in a block only; a short TNT elsewhere |
//! | `02 03 pp ..` | CBR |
//! | `02 13 0bi..ttttt vv` | CFE: IP, type; vector |
//! | `02 0bibb10010` + 4 or 8 | PTW: IP, PayloadBytes 0 or 1 |
//! | `02 22 0bh....... 0bsssszzzz` | PWRE: HW; resolved C-state, sub C-state |
//! | `02 23` | PSBEND |
//! | `02 33`, `02 b3` | BEP without, with IP |
//! | `02 43` + 6 | PIP: CR3\[51:5\] in bits 47:1, NR in bit 0 |
//! | `02 53 0b..tttttt` + 8 | EVD: type |
//! | `02 62`, `02 e2` | EXSTOP without, with IP |
//! | `02 63 0bs..ttttt` | BBP: items of four bytes, else eight; type |
//! | `02 73 cc cc 00 ff 0b0000000f` | TMA: CTC; FastCounter\[8:0\] |
//! | `02 82` × 8 | PSB |
//! | `02 83` | TraceStop |
//! | `02 a2 0blllldddd 0b....wwww .. .. ..` | PWRX: last, deepest C-state; wake reason |
//! | `02 a3` + 6 | long TNT, as the short one |
//! | `02 c2 hh .. .. .. 0b......ee .. .. ..` | MWAIT: hints, extensions |
//! | `02 c3 88` + 8 | MNT |
//! | `02 c8` + 5 | VMCS\[51:12\] |
//! | `02 f3` | OVF |
//!
//! # Reserved bits
//!
//! The SDM says of bits listed as RSVD that they "are not guaranteed to be 0", and cpus have made use of it: NR in PIP,
//! IF in MODE.Exec and a wake reason in PWRX were reserved once. A decoder that refused them would lose the trace of
//! the next cpu up to each PSB. So reserved *bits* are ignored, reserved *values* of a field (IPBytes 5 and 7, a MODE
//! leaf, PayloadBytes 2 and 3, CS.D with CS.L, TXAbort with InTX) are damage, and so are unknown opcodes. The
//! exception is TMA, whose reserved bits no cpu sets except by erratum SKZ84.

use std::fmt;

use crate::{Errata, Ip, Kind, Packet, psb::PSB};

/// What decoding carries from one packet to the next, and so what one decoder hands to another that goes on in the
/// middle of a stream. `State::default()` is in sync, as at a PSB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State {
    /// The last IP (SDM, "IP Compression"): 0 after a PSB. An OVF does not change it, nor does a suppressed IP.
    pub last_ip: u64,
    /// The block that is open, which tells BIP from TNT.
    pub block: Block,
    /// Inside PSB+: a PSB came, and no PSBEND or OVF since.
    pub psb_plus: bool,
    /// Whether the next byte begins a packet.
    pub sync: Sync,
    /// What the cpu gets wrong.
    pub errata: Errata,
}

impl State {
    /// At the start of bytes of which nothing is known: the first PSB is still to be found.
    pub fn unsynced() -> State {
        State { sync: Sync::Seeking, ..State::default() }
    }
}

/// Whether the next byte begins a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sync {
    /// It does.
    #[default]
    InSync,
    /// No PSB was seen yet. Bytes up to the first are passed over in silence.
    Seeking,
    /// Damage was met, and no PSB since. Bytes up to the next are damage of the same kind.
    Lost(BadReason),
}

/// Whether a block (BBP … BEP) is open, and how long its items are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Block {
    /// No block: `0bddddd100` is a TNT.
    #[default]
    None,
    /// Items of four bytes.
    Items4,
    /// Items of eight bytes.
    Items8,
}

/// Why bytes are no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BadReason {
    /// No packet begins with these bytes.
    UnknownOpcode,
    /// A bit is set that is never set.
    ReservedBits,
    /// A field has a value that the SDM reserves.
    ReservedValue,
    /// A `02 82` that does not go on as a PSB.
    BrokenPsb,
    /// A CYC of more than 64 bits.
    CycTooLong,
    /// A PSB, or the end of the bytes, comes before the packet's end.
    Truncated,
    /// The cpu made bytes that mean nothing: see [`Errata`].
    Erratum,
}

impl fmt::Display for BadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            BadReason::UnknownOpcode => "unknown opcode",
            BadReason::ReservedBits => "reserved bit set",
            BadReason::ReservedValue => "reserved value",
            BadReason::BrokenPsb => "broken PSB",
            BadReason::CycTooLong => "CYC longer than 64 bits",
            BadReason::Truncated => "packet cut off",
            BadReason::Erratum => "bogus bytes by a known erratum",
        })
    }
}

/// Why [`decode_one`] gave no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The bytes end inside the packet.
    NeedMore,
    /// The bytes are no packet; where the next one begins is not known.
    Bad(BadReason),
    /// The first `len` bytes are no packet, but a packet begins right behind them.
    Discard {
        /// Why they are none.
        reason: BadReason,
        /// How many, at least one.
        len: usize,
    },
}

/// The packet at the start of `bytes`, and its length.
///
/// On a fault `state` is as before. `state.sync` is not looked at: that is [`Decoder`](crate::Decoder)'s.
#[inline]
pub fn decode_one(bytes: &[u8], state: &mut State) -> Result<(Packet, usize), Fault> {
    let Some(&first) = bytes.first() else { return Err(Fault::NeedMore) };
    match first {
        0x00 => Ok((Packet::Pad, 1)),
        0x02 => extended(bytes, state),
        _ if first & 1 == 0 => {
            if first & 0b111 == 0b100 && state.block != Block::None {
                return block_item(bytes, first, state);
            }
            state.block = Block::None;
            Ok((tnt8(first), 1))
        }
        _ if first & 0b11 == 0b11 => cyc(bytes, first, state.errata),
        _ if first & 0x1f == 0x0d => ip(bytes, first, state).map(|(ip, len)| end_block(state, Packet::Tip(ip), len)),
        // FUP is the one IP packet that may stand inside a block.
        _ if first & 0x1f == 0x1d => ip(bytes, first, state).map(|(ip, len)| (Packet::Fup(ip), len)),
        _ if first & 0x1f == 0x11 => ip(bytes, first, state).map(|(ip, len)| end_block(state, Packet::TipPge(ip), len)),
        _ if first & 0x1f == 0x01 => ip(bytes, first, state).map(|(ip, len)| end_block(state, Packet::TipPgd(ip), len)),
        0x19 => Ok((Packet::Tsc { tsc: le(bytes, 1, 7)? }, 8)),
        0x59 => Ok((Packet::Mtc { ctc: byte(bytes, 1)? }, 2)),
        0x99 => mode(bytes, state),
        0xd9 => trig(bytes, state),
        _ => Err(Fault::Bad(BadReason::UnknownOpcode)),
    }
}

// Payloads that are also handed on as bits (see `brief`): each layout stands here alone.

/// From its byte, which is at least 4: the stop bit is the highest that is set.
#[inline(always)]
pub(crate) fn tnt8(first: u8) -> Packet {
    let count = 6 - first.leading_zeros() as u8;
    Packet::Tnt8 { bits: (first >> 1) ^ (1 << count), count }
}

#[inline(always)]
pub(crate) fn pip(payload: u64) -> Packet {
    Packet::Pip { cr3: payload >> 1 << 5, nr: payload & 1 == 1 }
}

#[inline(always)]
pub(crate) fn vmcs(payload: u64) -> Packet {
    Packet::Vmcs { base: payload << 12 }
}

#[inline(always)]
pub(crate) fn cbr(payload: u64) -> Packet {
    Packet::Cbr { ratio: payload as u8 }
}

/// Bits of a TMA's payload that are never set.
pub(crate) const TMA_RESERVED: u64 = 0xfe_00ff_0000;

#[inline(always)]
pub(crate) fn tma_of(payload: u64) -> Packet {
    Packet::Tma { ctc: payload as u16, fc: (payload >> 24) as u16 & 0x1ff }
}

/// Which MODE a payload is of. Two leaves are known, and both their bits at once are none.
#[inline(always)]
pub(crate) fn mode_kind(payload: u8) -> Option<Kind> {
    match payload >> 5 {
        _ if payload & 0b11 == 0b11 => None,
        0 => Some(Kind::ModeExec),
        1 => Some(Kind::ModeTsx),
        _ => None,
    }
}

#[inline(always)]
pub(crate) fn mode_exec(payload: u8) -> Packet {
    Packet::ModeExec { cs_l: payload & 0b01 != 0, cs_d: payload & 0b10 != 0, if_flag: payload & 0b100 != 0 }
}

#[inline(always)]
pub(crate) fn mode_tsx(payload: u8) -> Packet {
    Packet::ModeTsx { in_tx: payload & 0b01 != 0, abort: payload & 0b10 != 0 }
}

/// What begins with `02`.
#[inline]
fn extended(bytes: &[u8], state: &mut State) -> Result<(Packet, usize), Fault> {
    let second = byte(bytes, 1)?;
    match second {
        0x82 => psb(bytes, state),
        0x23 => {
            state.psb_plus = false;
            Ok(end_block(state, Packet::PsbEnd, 2))
        }
        0x43 => {
            let payload = le(bytes, 2, 6)?;
            Ok(end_block(state, pip(payload), 8))
        }
        0xc8 => {
            let payload = le(bytes, 2, 5)?;
            Ok(end_block(state, vmcs(payload), 7))
        }
        0x03 => {
            let payload = le(bytes, 2, 2)?;
            Ok((cbr(payload), 4))
        }
        0x73 => tma(bytes, state),
        0xa3 => {
            let payload = le(bytes, 2, 6)?;
            // One is a stop bit without a branch, zero not even that.
            if payload <= 1 {
                return Err(Fault::Bad(BadReason::ReservedValue));
            }
            let count = 63 - payload.leading_zeros() as u8;
            Ok(end_block(state, Packet::Tnt64 { bits: payload ^ (1 << count), count }, 8))
        }
        0xf3 => {
            state.psb_plus = false;
            Ok(end_block(state, Packet::Ovf, 2))
        }
        0x83 => Ok(end_block(state, Packet::Stop, 2)),
        0xc3 => match byte(bytes, 2)? {
            0x88 => Ok((Packet::Mnt { payload: le(bytes, 3, 8)? }, 11)),
            _ => Err(Fault::Bad(BadReason::UnknownOpcode)),
        },
        _ if second & 0x1f == 0x12 => {
            let size = match second >> 5 & 0b11 {
                0 => 4,
                1 => 8,
                _ => return Err(Fault::Bad(BadReason::ReservedValue)),
            };
            let payload = le(bytes, 2, size)?;
            let packet = Packet::Ptw { payload, bytes: size as u8, ip: second >> 7 == 1 };
            Ok(end_block(state, packet, 2 + size))
        }
        0x62 | 0xe2 => Ok((Packet::Exstop { ip: second >> 7 == 1 }, 2)),
        0xc2 => {
            let payload = le(bytes, 2, 8)?;
            let packet = Packet::Mwait { hints: payload as u8, ext: (payload >> 32) as u8 & 0b11 };
            Ok(end_block(state, packet, 10))
        }
        0x22 => {
            let payload = le(bytes, 2, 2)?;
            let [_, states, ..] = payload.to_le_bytes();
            Ok((Packet::Pwre { state: states >> 4, sub_state: states & 0xf, hw: payload >> 7 & 1 == 1 }, 4))
        }
        0xa2 => {
            let [states, wake, ..] = le(bytes, 2, 5)?.to_le_bytes();
            Ok((Packet::Pwrx { last: states >> 4, deepest: states & 0xf, wake: wake & 0xf }, 7))
        }
        0x63 => {
            let payload = byte(bytes, 2)?;
            let size8 = payload >> 7 == 0;
            state.block = if size8 { Block::Items8 } else { Block::Items4 };
            Ok((Packet::Bbp { size8, kind: payload & 0x1f }, 3))
        }
        0x33 | 0xb3 => Ok(end_block(state, Packet::Bep { ip: second >> 7 == 1 }, 2)),
        0x13 => {
            let [kind, vector, ..] = le(bytes, 2, 2)?.to_le_bytes();
            Ok(end_block(state, Packet::Cfe { kind: kind & 0x1f, vector, ip: kind >> 7 == 1 }, 4))
        }
        0x53 => {
            let payload = le(bytes, 3, 8)?;
            Ok(end_block(state, Packet::Evd { kind: byte(bytes, 2)? & 0x3f, payload }, 11))
        }
        _ => Err(Fault::Bad(BadReason::UnknownOpcode)),
    }
}

/// Gives `packet`, which no block goes on across.
///
/// A block ends at its BEP. Where that is lost, it has ended before any packet that cannot stand inside a block: only
/// PAD, FUP, MNT, timing and power packets that other threads' events bring (TSC, TMA, MTC, CYC, CBR, EXSTOP, PWRE,
/// PWRX) can. Linux's decoder draws the line in the same place.
#[inline(always)]
fn end_block(state: &mut State, packet: Packet, len: usize) -> (Packet, usize) {
    state.block = Block::None;
    (packet, len)
}

#[inline(always)]
fn ip(bytes: &[u8], first: u8, state: &mut State) -> Result<(Ip, usize), Fault> {
    let ipc = first >> 5;
    let len = Ip::len(ipc);
    if len == Ip::RESERVED {
        return Err(Fault::Bad(BadReason::ReservedValue));
    }
    let raw = le(bytes, 1, usize::from(len))?;
    let full = Ip::resolve(ipc, raw, state.last_ip);
    state.last_ip = full;
    Ok((Ip { ipc, raw, ip: if ipc == 0 { None } else { Some(full) } }, 1 + usize::from(len)))
}

#[inline]
fn cyc(bytes: &[u8], first: u8, errata: Errata) -> Result<(Packet, usize), Fault> {
    let mut cycles = u64::from(first >> 3);
    let mut more = first & 0b100 != 0;
    let mut len = 1;
    let mut shift = 5;
    while more {
        let next = byte(bytes, len)?;
        let bits = u64::from(next >> 1);
        // The tenth byte has room for three bits; an eleventh has none.
        if shift >= u64::BITS || bits << shift >> shift != bits {
            return Err(Fault::Bad(BadReason::CycTooLong));
        }
        cycles |= bits << shift;
        shift += 7;
        len += 1;
        more = next & 1 == 1;
    }
    if errata.skd007 && len == 2 && bytes.get(1..3) == Some(&[0x02, 0xf3]) {
        return Err(Fault::Discard { reason: BadReason::Erratum, len: 1 });
    }
    Ok((Packet::Cyc { cycles }, len))
}

#[inline]
fn mode(bytes: &[u8], state: &mut State) -> Result<(Packet, usize), Fault> {
    let payload = byte(bytes, 1)?;
    match mode_kind(payload) {
        Some(Kind::ModeExec) => Ok(end_block(state, mode_exec(payload), 2)),
        Some(_) => Ok(end_block(state, mode_tsx(payload), 2)),
        None => Err(Fault::Bad(BadReason::ReservedValue)),
    }
}

#[inline]
fn psb(bytes: &[u8], state: &mut State) -> Result<(Packet, usize), Fault> {
    if bytes.starts_with(&PSB) {
        state.last_ip = 0;
        state.psb_plus = true;
        Ok(end_block(state, Packet::Psb, PSB.len()))
    } else if PSB.starts_with(bytes) {
        Err(Fault::NeedMore)
    } else {
        Err(Fault::Bad(BadReason::BrokenPsb))
    }
}

#[inline]
fn tma(bytes: &[u8], state: &mut State) -> Result<(Packet, usize), Fault> {
    const LEN: usize = 7;
    let payload = le(bytes, 2, 5)?;
    let reserved = payload & TMA_RESERVED != 0;
    if state.errata.skz84 && (reserved || (state.psb_plus && cbr_is_one_late(bytes, LEN))) {
        return match bytes.len() > LEN {
            true => Err(Fault::Discard { reason: BadReason::Erratum, len: LEN + 1 }),
            false => Err(Fault::NeedMore),
        };
    }
    if reserved {
        return Err(Fault::Bad(BadReason::ReservedBits));
    }
    Ok((tma_of(payload), LEN))
}

/// Whether one byte stands between `at` and a CBR that is no packet of PSB+: neither PAD nor CYC nor a FUP without IP,
/// the packets of one byte there.
#[cold]
fn cbr_is_one_late(bytes: &[u8], at: usize) -> bool {
    match bytes.get(at..) {
        Some([bogus, 0x02, 0x03, ..]) => *bogus != 0x00 && bogus & 0b11 != 0b11 && *bogus != 0x1d,
        _ => false,
    }
}

#[cold]
fn trig(bytes: &[u8], state: &mut State) -> Result<(Packet, usize), Fault> {
    let [flags, triggers, ..] = le(bytes, 1, 2)?.to_le_bytes();
    let (icnt, len) = match flags & 0x40 {
        0 => (None, 3),
        _ => (Some(le(bytes, 3, 2)? as u16), 5),
    };
    Ok(end_block(state, Packet::Trig { ip: flags & 0x80 != 0, mult: flags & 0x20 != 0, triggers, icnt }, len))
}

#[cold]
fn block_item(bytes: &[u8], first: u8, state: &State) -> Result<(Packet, usize), Fault> {
    let size = if state.block == Block::Items8 { 8 } else { 4 };
    let payload = le(bytes, 1, size)?;
    Ok((Packet::Bip { id: first >> 3, payload, bytes: size as u8 }, 1 + size))
}

#[inline(always)]
fn byte(bytes: &[u8], at: usize) -> Result<u8, Fault> {
    bytes.get(at).copied().ok_or(Fault::NeedMore)
}

/// The little-endian number in the `len` bytes (at most eight) at `at`.
///
/// Where eight bytes are there they are loaded at once and the surplus is masked off; only the last packets before a
/// PSB or the end of the bytes need the slow way.
#[inline(always)]
fn le(bytes: &[u8], at: usize, len: usize) -> Result<u64, Fault> {
    const MASK: [u64; 9] =
        [0, 0xff, 0xffff, 0xff_ffff, 0xffff_ffff, !0 >> 24, 0xffff_ffff_ffff, 0xff_ffff_ffff_ffff, !0];
    match bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        Some(eight) => Ok(u64::from_le_bytes(*eight) & MASK[len]),
        None => le_slow(bytes, at, len),
    }
}

#[cold]
#[inline(never)]
fn le_slow(bytes: &[u8], at: usize, len: usize) -> Result<u64, Fault> {
    let bytes = bytes.get(at..at + len).ok_or(Fault::NeedMore)?;
    Ok(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes one packet that fills `bytes`, also with bytes behind it, and asks for more at every shorter length.
    fn one(bytes: &[u8]) -> Packet {
        one_in(State::default(), bytes)
    }

    fn one_in(state: State, bytes: &[u8]) -> Packet {
        let (packet, len) = decode_one(bytes, &mut { state }).unwrap();
        assert_eq!(len, bytes.len());
        let longer = [bytes, &[0xff; 12]].concat();
        assert_eq!(decode_one(&longer, &mut { state }), Ok((packet, len)));
        for cut in 0..len {
            let mut after = state;
            assert_eq!(decode_one(&bytes[..cut], &mut after), Err(Fault::NeedMore), "cut at {cut}");
            assert_eq!(after, state);
        }
        packet
    }

    fn bad(bytes: &[u8]) -> BadReason {
        let mut state = State::default();
        match decode_one(bytes, &mut state) {
            Err(Fault::Bad(reason)) => {
                assert_eq!(state, State::default());
                reason
            }
            other => panic!("{other:?}"),
        }
    }

    fn ip(ipc: u8, raw: u64, ip: u64) -> Ip {
        Ip { ipc, raw, ip: Some(ip) }
    }

    #[test]
    fn pad() {
        assert_eq!(one(&[0x00]), Packet::Pad);
    }

    #[test]
    fn psb_and_psbend() {
        assert_eq!(one(&PSB), Packet::Psb);
        assert_eq!(one(&[0x02, 0x23]), Packet::PsbEnd);
        let mut broken = PSB;
        broken[15] = 0x83;
        assert_eq!(bad(&broken), BadReason::BrokenPsb);
    }

    #[test]
    fn ip_packets() {
        assert_eq!(one(&[0x0d]), Packet::Tip(Ip::SUPPRESSED));
        assert_eq!(one(&[0x2d, 0x34, 0x12]), Packet::Tip(ip(1, 0x1234, 0x1234)));
        assert_eq!(one(&[0x51, 0x78, 0x56, 0x34, 0x92]), Packet::TipPge(ip(2, 0x9234_5678, 0x9234_5678)));
        assert_eq!(
            one(&[0x61, 0x06, 0x05, 0x04, 0x03, 0x02, 0x81]),
            Packet::TipPgd(ip(3, 0x8102_0304_0506, 0xffff_8102_0304_0506))
        );
        assert_eq!(
            one(&[0x9d, 0x06, 0x05, 0x04, 0x03, 0x02, 0x81]),
            Packet::Fup(ip(4, 0x8102_0304_0506, 0x8102_0304_0506))
        );
        assert_eq!(
            one(&[0xdd, 8, 7, 6, 5, 4, 3, 2, 1]),
            Packet::Fup(ip(6, 0x0102_0304_0506_0708, 0x0102_0304_0506_0708))
        );
        for opcode in [0x0d, 0x11, 0x01, 0x1d] {
            for ipc in [5, 7] {
                assert_eq!(bad(&[ipc << 5 | opcode; 9]), BadReason::ReservedValue);
            }
        }
    }

    #[test]
    fn last_ip_lives_through_suppression_and_overflow_but_not_through_psb() {
        let mut state = State { last_ip: 0xffff_ffff_8123_4567, ..State::default() };
        let decoded = |bytes: &[u8], state: &mut State| decode_one(bytes, state).unwrap().0;
        assert_eq!(decoded(&[0x0d], &mut state), Packet::Tip(Ip::SUPPRESSED));
        assert_eq!(decoded(&[0x02, 0xf3], &mut state), Packet::Ovf);
        assert_eq!(decoded(&[0x2d, 0x00, 0x10], &mut state), Packet::Tip(ip(1, 0x1000, 0xffff_ffff_8123_1000)));
        assert_eq!(decoded(&[0x4d, 4, 3, 2, 1], &mut state), Packet::Tip(ip(2, 0x0102_0304, 0xffff_ffff_0102_0304)));
        assert_eq!(
            decoded(&[0x8d, 6, 5, 4, 3, 2, 1], &mut state),
            Packet::Tip(ip(4, 0x0102_0304_0506, 0xffff_0102_0304_0506))
        );
        assert_eq!(decoded(&PSB, &mut state), Packet::Psb);
        assert_eq!(decoded(&[0x2d, 0x00, 0x10], &mut state), Packet::Tip(ip(1, 0x1000, 0x1000)));
    }

    #[test]
    fn tnt8() {
        assert_eq!(one(&[0b0000_0100]), Packet::Tnt8 { bits: 0, count: 1 });
        assert_eq!(one(&[0b0000_0110]), Packet::Tnt8 { bits: 1, count: 1 });
        assert_eq!(one(&[0b0001_0110]), Packet::Tnt8 { bits: 0b011, count: 3 });
        assert_eq!(one(&[0b1110_0000]), Packet::Tnt8 { bits: 0b11_0000, count: 6 });
    }

    #[test]
    fn tnt64() {
        assert_eq!(one(&[0x02, 0xa3, 0x02, 0, 0, 0, 0, 0]), Packet::Tnt64 { bits: 0, count: 1 });
        assert_eq!(one(&[0x02, 0xa3, 0x01, 0, 0, 0, 0, 0xc0]), Packet::Tnt64 { bits: 0x4000_0000_0001, count: 47 });
        assert_eq!(bad(&[0x02, 0xa3, 0, 0, 0, 0, 0, 0]), BadReason::ReservedValue);
        assert_eq!(bad(&[0x02, 0xa3, 1, 0, 0, 0, 0, 0]), BadReason::ReservedValue);
    }

    #[test]
    fn pip() {
        assert_eq!(one(&[0x02, 0x43, 0x00, 0xc8, 0xc6, 0x07, 0x00, 0x00]), Packet::Pip { cr3: 0x7c6c_8000, nr: false });
        assert_eq!(one(&[0x02, 0x43, 0x81, 0x00, 0, 0, 0, 0]), Packet::Pip { cr3: 0x800, nr: true });
        assert_eq!(
            one(&[0x02, 0x43, 0xff, 255, 255, 255, 255, 255]),
            Packet::Pip { cr3: 0xf_ffff_ffff_ffe0, nr: true }
        );
    }

    #[test]
    fn vmcs() {
        assert_eq!(one(&[0x02, 0xc8, 0x98, 0xf9, 0x03, 0, 0]), Packet::Vmcs { base: 0x3f99_8000 });
        assert_eq!(one(&[0x02, 0xc8, 255, 255, 255, 255, 255]), Packet::Vmcs { base: 0xf_ffff_ffff_f000 });
    }

    #[test]
    fn timing() {
        assert_eq!(one(&[0x19, 7, 6, 5, 4, 3, 2, 1]), Packet::Tsc { tsc: 0x0001_0203_0405_0607 });
        assert_eq!(one(&[0x02, 0x73, 0x34, 0x12, 0, 0xff, 1]), Packet::Tma { ctc: 0x1234, fc: 0x1ff });
        assert_eq!(one(&[0x59, 0xa5]), Packet::Mtc { ctc: 0xa5 });
        assert_eq!(one(&[0x02, 0x03, 0x1c, 0]), Packet::Cbr { ratio: 0x1c });
        assert_eq!(bad(&[0x02, 0x73, 0x34, 0x12, 1, 0xff, 1]), BadReason::ReservedBits);
        assert_eq!(bad(&[0x02, 0x73, 0x34, 0x12, 0, 0xff, 2]), BadReason::ReservedBits);
    }

    #[test]
    fn cyc() {
        assert_eq!(one(&[0b1111_1011]), Packet::Cyc { cycles: 31 });
        assert_eq!(one(&[0b0000_1111, 0b0000_0010]), Packet::Cyc { cycles: 33 });
        assert_eq!(one(&[0xff, 0xff, 0x02]), Packet::Cyc { cycles: 31 + (127 << 5) + (1 << 12) });
        assert_eq!(one(&[&[0xff; 9][..], &[0x0e]].concat()), Packet::Cyc { cycles: u64::MAX });
        assert_eq!(bad(&[&[0xff; 9][..], &[0x10]].concat()), BadReason::CycTooLong);
        assert_eq!(bad(&[&[0xff; 9][..], &[0x0f, 0x00]].concat()), BadReason::CycTooLong);
    }

    #[test]
    fn mode() {
        assert_eq!(one(&[0x99, 0x01]), Packet::ModeExec { cs_l: true, cs_d: false, if_flag: false });
        assert_eq!(one(&[0x99, 0x06]), Packet::ModeExec { cs_l: false, cs_d: true, if_flag: true });
        assert_eq!(one(&[0x99, 0x21]), Packet::ModeTsx { in_tx: true, abort: false });
        assert_eq!(one(&[0x99, 0x22]), Packet::ModeTsx { in_tx: false, abort: true });
        for payload in [0x03, 0x23, 0x40, 0xe0] {
            assert_eq!(bad(&[0x99, payload]), BadReason::ReservedValue);
        }
    }

    #[test]
    fn without_payload() {
        assert_eq!(one(&[0x02, 0xf3]), Packet::Ovf);
        assert_eq!(one(&[0x02, 0x83]), Packet::Stop);
    }

    #[test]
    fn software() {
        assert_eq!(one(&[0x02, 0xc3, 0x88, 8, 7, 6, 5, 4, 3, 2, 1]), Packet::Mnt { payload: 0x0102_0304_0506_0708 });
        assert_eq!(one(&[0x02, 0x12, 4, 3, 2, 1]), Packet::Ptw { payload: 0x0102_0304, bytes: 4, ip: false });
        assert_eq!(
            one(&[0x02, 0xb2, 8, 7, 6, 5, 4, 3, 2, 1]),
            Packet::Ptw { payload: 0x0102_0304_0506_0708, bytes: 8, ip: true }
        );
        assert_eq!(bad(&[0x02, 0xc3, 0x89, 0, 0, 0, 0, 0, 0, 0, 0]), BadReason::UnknownOpcode);
        for second in [0x52, 0x72, 0xd2, 0xf2] {
            assert_eq!(bad(&[0x02, second, 0, 0, 0, 0, 0, 0, 0, 0]), BadReason::ReservedValue);
        }
    }

    #[test]
    fn power() {
        assert_eq!(one(&[0x02, 0x62]), Packet::Exstop { ip: false });
        assert_eq!(one(&[0x02, 0xe2]), Packet::Exstop { ip: true });
        assert_eq!(one(&[0x02, 0xc2, 0x60, 0, 0, 0, 1, 0, 0, 0]), Packet::Mwait { hints: 0x60, ext: 1 });
        assert_eq!(one(&[0x02, 0x22, 0x80, 0x62]), Packet::Pwre { state: 6, sub_state: 2, hw: true });
        assert_eq!(one(&[0x02, 0xa2, 0x67, 0x04, 0, 0, 0]), Packet::Pwrx { last: 6, deepest: 7, wake: 4 });
    }

    #[test]
    fn events() {
        assert_eq!(one(&[0x02, 0x13, 0x88, 0x30]), Packet::Cfe { kind: 8, vector: 0x30, ip: true });
        assert_eq!(one(&[0x02, 0x53, 0x02, 0x1e, 0, 0, 0, 0, 0, 0, 0]), Packet::Evd { kind: 2, payload: 0x1e });
        assert_eq!(one(&[0xd9, 0x80, 0x05]), Packet::Trig { ip: true, mult: false, triggers: 5, icnt: None });
        assert_eq!(
            one(&[0xd9, 0x60, 0x01, 0x34, 0x12]),
            Packet::Trig { ip: false, mult: true, triggers: 1, icnt: Some(0x1234) }
        );
    }

    #[test]
    fn block() {
        assert_eq!(one(&[0x02, 0x63, 0x84]), Packet::Bbp { size8: false, kind: 4 });
        assert_eq!(one(&[0x02, 0x63, 0x01]), Packet::Bbp { size8: true, kind: 1 });
        assert_eq!(one(&[0x02, 0x33]), Packet::Bep { ip: false });
        assert_eq!(one(&[0x02, 0xb3]), Packet::Bep { ip: true });
        let items4 = State { block: Block::Items4, ..State::default() };
        assert_eq!(one_in(items4, &[0x0c, 4, 3, 2, 1]), Packet::Bip { id: 1, payload: 0x0102_0304, bytes: 4 });
        let items8 = State { block: Block::Items8, ..State::default() };
        assert_eq!(
            one_in(items8, &[0xfc, 1, 0, 0, 0, 0, 0, 0, 0x80]),
            Packet::Bip { id: 31, payload: 0x8000_0000_0000_0001, bytes: 8 }
        );
        assert_eq!(one(&[0x0c]), Packet::Tnt8 { bits: 0b10, count: 2 });
    }

    #[test]
    fn a_block_ends_at_its_bep_or_at_what_cannot_stand_in_it() {
        let opens = |bytes: &[u8]| {
            let mut state = State { block: Block::Items8, ..State::default() };
            decode_one(bytes, &mut state).unwrap();
            state.block == Block::Items8
        };
        assert!(opens(&[0x00]));
        assert!(opens(&[0x59, 1]));
        assert!(opens(&[0x1d]));
        assert!(opens(&[0x03]));
        assert!(!opens(&[0x02, 0x33]));
        assert!(!opens(&[0x06]));
        assert!(!opens(&[0x0d]));
        assert!(!opens(&[0x02, 0xf3]));
        assert!(!opens(&PSB));
    }

    #[test]
    fn unknown_opcodes() {
        for first in [0x05, 0x09, 0x15, 0x39, 0x79, 0xb9, 0xc9, 0xf9] {
            assert_eq!(bad(&[first; 16]), BadReason::UnknownOpcode);
        }
        for second in [0x00, 0x04, 0x02, 0x42, 0xff] {
            assert_eq!(bad(&[&[0x02], &[second; 15][..]].concat()), BadReason::UnknownOpcode);
        }
    }

    #[test]
    fn skz84_takes_the_bogus_byte_with_the_tma() {
        let errata = Errata { skz84: true, ..Errata::default() };
        let corrupt = [0x02, 0x73, 0x34, 0x12, 0x80, 0xff, 1, 0xcc, 0x02, 0x03, 0x1c, 0];
        let discard = Err(Fault::Discard { reason: BadReason::Erratum, len: 8 });
        assert_eq!(decode_one(&corrupt, &mut State { errata, ..State::default() }), discard);
        assert_eq!(decode_one(&corrupt[..7], &mut State { errata, ..State::default() }), Err(Fault::NeedMore));

        let mut silent = corrupt;
        silent[4] = 0;
        let tma = Ok((Packet::Tma { ctc: 0x1234, fc: 0x1ff }, 7));
        assert_eq!(decode_one(&silent, &mut State { errata, psb_plus: true, ..State::default() }), discard);
        assert_eq!(decode_one(&silent, &mut State { errata, ..State::default() }), tma);
        for packet in [0x00, 0x03, 0x1d] {
            silent[7] = packet;
            assert_eq!(decode_one(&silent, &mut State { errata, psb_plus: true, ..State::default() }), tma);
        }
    }

    #[test]
    fn skd007_finds_the_ovf_inside_the_cyc() {
        let errata = Errata { skd007: true, ..Errata::default() };
        let bytes = [0x0f, 0x02, 0xf3, 0x00];
        let discard = Err(Fault::Discard { reason: BadReason::Erratum, len: 1 });
        assert_eq!(decode_one(&bytes, &mut State { errata, ..State::default() }), discard);
        assert_eq!(decode_one(&bytes, &mut State::default()), Ok((Packet::Cyc { cycles: 33 }, 2)));
        let other = [0x0f, 0x02, 0xf2];
        assert_eq!(decode_one(&other, &mut State { errata, ..State::default() }), Ok((Packet::Cyc { cycles: 33 }, 2)));
    }
}
