//! Bytes from one packet: the mirror of `decode.rs`, for simulated traces and for tests.
//!
//! Reserved bits are written as 0. An IP is written as its `ipc` and `raw` say; [`Ip::compress`] and [`Ip::with`] make
//! those from an address and the last IP. Whether a packet may stand where it is put, as a BIP only in a block and a
//! TNT that looks like one only outside, is up to the caller.

use std::fmt;

use crate::{Ip, Packet, psb::PSB};

/// A packet with a field that has no room for its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unencodable(pub Packet);

impl fmt::Display for Unencodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} packet cannot hold {:?}", self.0.kind(), self.0)
    }
}

impl std::error::Error for Unencodable {}

/// Appends a packet's bytes to `out`; nothing where the packet cannot be encoded.
///
/// ```
/// use havana_packet::{Ip, Packet, encode};
/// let mut bytes = vec![];
/// encode(&Packet::Tip(Ip::compress(0xffff_ffff_8100_1234, 0xffff_ffff_8100_0000)), &mut bytes).unwrap();
/// assert_eq!(bytes, [0x2d, 0x34, 0x12]);
/// ```
pub fn encode(packet: &Packet, out: &mut Vec<u8>) -> Result<(), Unencodable> {
    let bytes = Bytes::of(packet).ok_or(Unencodable(*packet))?;
    // All of them and then fewer: a copy whose length the compiler knows.
    let end = out.len() + bytes.len;
    out.extend_from_slice(&bytes.bytes);
    out.truncate(end);
    Ok(())
}

/// A packet's bytes.
struct Bytes {
    bytes: [u8; PSB.len()],
    len: usize,
}

impl Bytes {
    fn of(packet: &Packet) -> Option<Bytes> {
        let top = |bit: bool| u8::from(bit) << 7;
        Some(match *packet {
            Packet::Pad => Bytes::head([0x00]),
            Packet::Psb => Bytes::head(PSB),
            Packet::PsbEnd => Bytes::head([0x02, 0x23]),
            Packet::Tip(ip) => Bytes::ip(0x0d, ip)?,
            Packet::TipPge(ip) => Bytes::ip(0x11, ip)?,
            Packet::TipPgd(ip) => Bytes::ip(0x01, ip)?,
            Packet::Fup(ip) => Bytes::ip(0x1d, ip)?,
            Packet::Tnt8 { bits, count } => {
                let stopped = stopped(u64::from(bits), count, 6)?;
                Bytes::head([(stopped << 1) as u8])
            }
            Packet::Tnt64 { bits, count } => Bytes::head([0x02, 0xa3]).le(stopped(bits, count, 47)?, 6),
            Packet::Pip { cr3, nr } => {
                fits(cr3, 0xf_ffff_ffff_ffe0)?;
                Bytes::head([0x02, 0x43]).le(cr3 >> 4 | u64::from(nr), 6)
            }
            Packet::Vmcs { base } => {
                fits(base, 0xf_ffff_ffff_f000)?;
                Bytes::head([0x02, 0xc8]).le(base >> 12, 5)
            }
            Packet::Tsc { tsc } => {
                fits(tsc, 0xff_ffff_ffff_ffff)?;
                Bytes::head([0x19]).le(tsc, 7)
            }
            Packet::Tma { ctc, fc } => {
                fits(fc.into(), 0x1ff)?;
                Bytes::head([0x02, 0x73]).le(ctc.into(), 3).le(fc.into(), 2)
            }
            Packet::Mtc { ctc } => Bytes::head([0x59, ctc]),
            Packet::Cyc { cycles } => Bytes::cyc(cycles),
            Packet::Cbr { ratio } => Bytes::head([0x02, 0x03, ratio, 0]),
            Packet::ModeExec { cs_l, cs_d, if_flag } => {
                if cs_l && cs_d {
                    return None;
                }
                Bytes::head([0x99, u8::from(if_flag) << 2 | u8::from(cs_d) << 1 | u8::from(cs_l)])
            }
            Packet::ModeTsx { in_tx, abort } => {
                if in_tx && abort {
                    return None;
                }
                Bytes::head([0x99, 0x20 | u8::from(abort) << 1 | u8::from(in_tx)])
            }
            Packet::Ovf => Bytes::head([0x02, 0xf3]),
            Packet::Stop => Bytes::head([0x02, 0x83]),
            Packet::Mnt { payload } => Bytes::head([0x02, 0xc3, 0x88]).le(payload, 8),
            Packet::Ptw { payload, bytes, ip } => {
                let size = item(payload, bytes)?;
                Bytes::head([0x02, 0x12 | top(ip) | u8::from(bytes == 8) << 5]).le(payload, size)
            }
            Packet::Exstop { ip } => Bytes::head([0x02, 0x62 | top(ip)]),
            Packet::Mwait { hints, ext } => {
                fits(ext.into(), 0b11)?;
                Bytes::head([0x02, 0xc2]).le(hints.into(), 4).le(ext.into(), 4)
            }
            Packet::Pwre { state, sub_state, hw } => {
                fits((state | sub_state).into(), 0xf)?;
                Bytes::head([0x02, 0x22, top(hw), state << 4 | sub_state])
            }
            Packet::Pwrx { last, deepest, wake } => {
                fits((last | deepest | wake).into(), 0xf)?;
                Bytes::head([0x02, 0xa2, last << 4 | deepest, wake, 0, 0, 0])
            }
            Packet::Bbp { size8, kind } => {
                fits(kind.into(), 0x1f)?;
                Bytes::head([0x02, 0x63, top(!size8) | kind])
            }
            Packet::Bip { id, payload, bytes } => {
                fits(id.into(), 0x1f)?;
                let size = item(payload, bytes)?;
                Bytes::head([id << 3 | 0b100]).le(payload, size)
            }
            Packet::Bep { ip } => Bytes::head([0x02, 0x33 | top(ip)]),
            Packet::Cfe { kind, vector, ip } => {
                fits(kind.into(), 0x1f)?;
                Bytes::head([0x02, 0x13, top(ip) | kind, vector])
            }
            Packet::Evd { kind, payload } => {
                fits(kind.into(), 0x3f)?;
                Bytes::head([0x02, 0x53, kind]).le(payload, 8)
            }
            Packet::Trig { ip, mult, triggers, icnt } => {
                let flags = top(ip) | u8::from(icnt.is_some()) << 6 | u8::from(mult) << 5;
                let head = Bytes::head([0xd9, flags, triggers]);
                match icnt {
                    Some(icnt) => head.le(icnt.into(), 2),
                    None => head,
                }
            }
        })
    }

    fn head<const N: usize>(head: [u8; N]) -> Bytes {
        let mut bytes = [0; PSB.len()];
        bytes[..N].copy_from_slice(&head);
        Bytes { bytes, len: N }
    }

    /// Appends the low `len` bytes of `value`.
    fn le(mut self, value: u64, len: usize) -> Bytes {
        self.bytes[self.len..self.len + len].copy_from_slice(&value.to_le_bytes()[..len]);
        self.len += len;
        self
    }

    fn ip(opcode: u8, ip: Ip) -> Option<Bytes> {
        if ip.ipc > 7 || Ip::len(ip.ipc) == Ip::RESERVED {
            return None;
        }
        let len = usize::from(Ip::len(ip.ipc));
        fits(ip.raw, if len == 8 { !0 } else { (1 << (8 * len)) - 1 })?;
        Some(Bytes::head([ip.ipc << 5 | opcode]).le(ip.raw, len))
    }

    fn cyc(cycles: u64) -> Bytes {
        let mut rest = cycles >> 5;
        let mut bytes = Bytes::head([(cycles << 3) as u8 | u8::from(rest != 0) << 2 | 0b11]);
        while rest != 0 {
            let low = rest << 1 & 0xfe;
            rest >>= 7;
            bytes = bytes.le(low | u64::from(rest != 0), 1);
        }
        bytes
    }
}

/// `bits` with the stop bit above them.
fn stopped(bits: u64, count: u8, most: u8) -> Option<u64> {
    ((1..=most).contains(&count) && bits >> count == 0).then(|| bits | 1 << count)
}

/// The size of a payload of four or eight bytes.
fn item(payload: u64, bytes: u8) -> Option<usize> {
    match bytes {
        4 => fits(payload, 0xffff_ffff).map(|()| 4),
        8 => Some(8),
        _ => None,
    }
}

fn fits(value: u64, mask: u64) -> Option<()> {
    (value & !mask == 0).then_some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Block, Decoder, Kind, State, decode_one};

    /// Any packet of the kind; its IP, if it has one, compressed against `last_ip`.
    fn packet(kind: Kind, last_ip: u64) -> BoxedStrategy<Packet> {
        let bits48 = 0..1u64 << 48;
        let flag = any::<bool>;
        match kind {
            Kind::Pad => Just(Packet::Pad).boxed(),
            Kind::Psb => Just(Packet::Psb).boxed(),
            Kind::PsbEnd => Just(Packet::PsbEnd).boxed(),
            Kind::Tip => ip(last_ip).prop_map(Packet::Tip).boxed(),
            Kind::TipPge => ip(last_ip).prop_map(Packet::TipPge).boxed(),
            Kind::TipPgd => ip(last_ip).prop_map(Packet::TipPgd).boxed(),
            Kind::Fup => ip(last_ip).prop_map(Packet::Fup).boxed(),
            Kind::Tnt8 => (1u8..=6, any::<u8>())
                .prop_map(|(count, bits)| Packet::Tnt8 { bits: bits & ((1 << count) - 1), count })
                .boxed(),
            Kind::Tnt64 => (1u8..=47, any::<u64>())
                .prop_map(|(count, bits)| Packet::Tnt64 { bits: bits & ((1 << count) - 1), count })
                .boxed(),
            Kind::Pip => (0..1u64 << 47, flag()).prop_map(|(cr3, nr)| Packet::Pip { cr3: cr3 << 5, nr }).boxed(),
            Kind::Vmcs => (0..1u64 << 40).prop_map(|base| Packet::Vmcs { base: base << 12 }).boxed(),
            Kind::Tsc => bits48.prop_map(|tsc| Packet::Tsc { tsc: tsc << 8 | 0x82 }).boxed(),
            Kind::Tma => (any::<u16>(), 0..512u16).prop_map(|(ctc, fc)| Packet::Tma { ctc, fc }).boxed(),
            Kind::Mtc => any::<u8>().prop_map(|ctc| Packet::Mtc { ctc }).boxed(),
            Kind::Cyc => {
                (any::<u64>(), 0..64).prop_map(|(value, shift)| Packet::Cyc { cycles: value >> shift }).boxed()
            }
            Kind::Cbr => any::<u8>().prop_map(|ratio| Packet::Cbr { ratio }).boxed(),
            Kind::ModeExec => (0..3u8, flag())
                .prop_map(|(mode, if_flag)| Packet::ModeExec { cs_l: mode == 1, cs_d: mode == 2, if_flag })
                .boxed(),
            Kind::ModeTsx => (0..3u8).prop_map(|mode| Packet::ModeTsx { in_tx: mode == 1, abort: mode == 2 }).boxed(),
            Kind::Ovf => Just(Packet::Ovf).boxed(),
            Kind::Stop => Just(Packet::Stop).boxed(),
            Kind::Mnt => any::<u64>().prop_map(|payload| Packet::Mnt { payload }).boxed(),
            Kind::Ptw => (any::<u64>(), flag(), flag())
                .prop_map(|(value, long, ip)| {
                    let (payload, bytes) = if long { (value, 8) } else { (value >> 32, 4) };
                    Packet::Ptw { payload, bytes, ip }
                })
                .boxed(),
            Kind::Exstop => flag().prop_map(|ip| Packet::Exstop { ip }).boxed(),
            Kind::Mwait => (any::<u8>(), 0..4u8).prop_map(|(hints, ext)| Packet::Mwait { hints, ext }).boxed(),
            Kind::Pwre => (0..16u8, 0..16u8, flag())
                .prop_map(|(state, sub_state, hw)| Packet::Pwre { state, sub_state, hw })
                .boxed(),
            Kind::Pwrx => (0..16u8, 0..16u8, 0..16u8)
                .prop_map(|(last, deepest, wake)| Packet::Pwrx { last, deepest, wake })
                .boxed(),
            Kind::Bbp => (flag(), 0..32u8).prop_map(|(size8, kind)| Packet::Bbp { size8, kind }).boxed(),
            Kind::Bip => (0..32u8, any::<u64>(), flag())
                .prop_map(|(id, value, long)| {
                    let (payload, bytes) = if long { (value, 8) } else { (value >> 32, 4) };
                    Packet::Bip { id, payload, bytes }
                })
                .boxed(),
            Kind::Bep => flag().prop_map(|ip| Packet::Bep { ip }).boxed(),
            Kind::Cfe => {
                (0..32u8, any::<u8>(), flag()).prop_map(|(kind, vector, ip)| Packet::Cfe { kind, vector, ip }).boxed()
            }
            Kind::Evd => (0..64u8, any::<u64>()).prop_map(|(kind, payload)| Packet::Evd { kind, payload }).boxed(),
            Kind::Trig => (flag(), flag(), any::<u8>(), any::<Option<u16>>())
                .prop_map(|(ip, mult, triggers, icnt)| Packet::Trig { ip, mult, triggers, icnt })
                .boxed(),
        }
    }

    /// Any IP in any form that can say it after `last_ip`, or none.
    fn ip(last_ip: u64) -> impl Strategy<Value = Ip> {
        (prop::sample::select(vec![0u8, 1, 2, 3, 4, 6]), any::<u64>()).prop_map(move |(ipc, bits)| {
            let near = match ipc {
                0 => return Ip::SUPPRESSED,
                1 => last_ip & !0xffff | bits & 0xffff,
                2 => last_ip & !0xffff_ffff | bits & 0xffff_ffff,
                3 => ((bits << 16).cast_signed() >> 16).cast_unsigned(),
                4 => last_ip & !0xffff_ffff_ffff | bits & 0xffff_ffff_ffff,
                _ => bits,
            };
            Ip::with(ipc, near, last_ip).unwrap()
        })
    }

    fn any_packet(last_ip: u64) -> impl Strategy<Value = Packet> {
        prop::sample::select(Kind::ALL.to_vec()).prop_flat_map(move |kind| packet(kind, last_ip))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn decode_undoes_encode((last_ip, packet) in any::<u64>().prop_flat_map(|ip| (Just(ip), any_packet(ip)))) {
            let block = match packet {
                Packet::Bip { bytes: 8, .. } => Block::Items8,
                Packet::Bip { .. } => Block::Items4,
                _ => Block::None,
            };
            let mut bytes = vec![];
            encode(&packet, &mut bytes).unwrap();
            let len = bytes.len();
            for behind in [&[][..], &[0xff; 9], &[0x02; 9]] {
                bytes.truncate(len);
                bytes.extend(behind);
                let mut state = State { last_ip, block, ..State::default() };
                prop_assert_eq!(decode_one(&bytes, &mut state), Ok((packet, len)));
            }
        }

        #[test]
        fn compress_says_the_ip_in_the_fewest_bytes(ip: u64, last_ip: u64, shared in 0u32..64) {
            let ip = if shared == 0 { ip } else { last_ip & !(!0 >> shared) | ip & (!0 >> shared) };
            let short = Ip::compress(ip, last_ip);
            prop_assert_eq!(short.ip, Some(ip));
            prop_assert_eq!(Ip::resolve(short.ipc, short.raw, last_ip), ip);
            for ipc in [1, 2, 3, 4, 6] {
                if let Some(other) = Ip::with(ipc, ip, last_ip) {
                    prop_assert!(Ip::len(short.ipc) <= Ip::len(other.ipc));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_stream_comes_back(seeds in prop::collection::vec((prop::sample::select(Kind::ALL.to_vec()), any::<u64>()), 0..80)) {
            let (packets, bytes) = stream(&seeds);
            let mut at = 0;
            let mut decoder = Decoder::new(&bytes);
            for packet in packets {
                let item = decoder.next().unwrap();
                prop_assert_eq!((item.offset, item.what), (at, Ok(packet)));
                at += item.len;
            }
            prop_assert_eq!(decoder.next(), None);
            prop_assert_eq!(at, bytes.len());
        }
    }

    /// A PSB and then packets of these kinds, with the context that each needs.
    fn stream(seeds: &[(Kind, u64)]) -> (Vec<Packet>, Vec<u8>) {
        let mut packets = vec![Packet::Psb];
        let mut last_ip = 0;
        for &(kind, seed) in seeds {
            let ip = Ip::compress(seed >> (seed % 50), last_ip);
            let made = match kind {
                Kind::Tip => vec![Packet::Tip(ip)],
                Kind::TipPge => vec![Packet::TipPge(ip)],
                Kind::TipPgd => vec![Packet::TipPgd(ip)],
                Kind::Fup => vec![Packet::Fup(ip), Packet::Fup(Ip::SUPPRESSED)],
                Kind::Psb => vec![Packet::Mnt { payload: 0x8202_8202 << 32 | seed >> 32 }, Packet::Psb],
                Kind::Pip => vec![Packet::Pip { cr3: seed & 0xf_ffff_ffff_ffe0, nr: seed & 1 == 1 }],
                Kind::Vmcs => vec![Packet::Vmcs { base: seed & 0xf_ffff_ffff_f000 }],
                Kind::Cyc => vec![Packet::Cyc { cycles: seed }],
                Kind::Tnt8 => vec![Packet::Tnt8 { bits: seed as u8 & 7, count: 3 }],
                Kind::Evd => vec![Packet::Evd { kind: 2, payload: seed }],
                Kind::Bbp | Kind::Bip | Kind::Bep => vec![
                    Packet::Bbp { size8: true, kind: 4 },
                    Packet::Bip { id: seed as u8 & 0x1f, payload: seed, bytes: 8 },
                    Packet::Mtc { ctc: seed as u8 },
                    Packet::Bip { id: 0, payload: seed, bytes: 8 },
                    Packet::Bep { ip: false },
                ],
                _ => vec![Packet::Pad],
            };
            for packet in made {
                match packet {
                    Packet::Psb => last_ip = 0,
                    _ => last_ip = packet.ip().and_then(|ip| ip.ip).unwrap_or(last_ip),
                }
                packets.push(packet);
            }
        }
        let mut bytes = vec![];
        for packet in &packets {
            encode(packet, &mut bytes).unwrap();
        }
        (packets, bytes)
    }

    #[test]
    fn values_without_room_are_refused() {
        let mut out = vec![];
        for packet in [
            Packet::Tsc { tsc: 1 << 56 },
            Packet::Tma { ctc: 0, fc: 512 },
            Packet::Pip { cr3: 0x10, nr: false },
            Packet::Pip { cr3: 1 << 52, nr: false },
            Packet::Vmcs { base: 0x800 },
            Packet::Tnt8 { bits: 0, count: 0 },
            Packet::Tnt8 { bits: 2, count: 1 },
            Packet::Tnt8 { bits: 0, count: 7 },
            Packet::Tnt64 { bits: 0, count: 48 },
            Packet::Tip(Ip { ipc: 5, raw: 0, ip: None }),
            Packet::Tip(Ip { ipc: 8, raw: 0, ip: None }),
            Packet::Tip(Ip { ipc: 1, raw: 0x1_0000, ip: None }),
            Packet::Ptw { payload: 1 << 32, bytes: 4, ip: false },
            Packet::Bip { id: 32, payload: 0, bytes: 8 },
            Packet::ModeExec { cs_l: true, cs_d: true, if_flag: false },
        ] {
            assert_eq!(encode(&packet, &mut out), Err(Unencodable(packet)));
        }
        assert!(out.is_empty());
    }
}
