//! A million damaged streams: decoding never panics, always ends, accounts for every byte, and is right again at the
//! PSB behind the damage.

#![allow(clippy::unwrap_used, reason = "helpers of tests stand outside of them")]

use havana_packet::{BadReason, Decoder, Errata, Ip, Item, PSB, Packet, State, Sync, encode, find_psb};

const CASES: u64 = 1_000_000;
/// Undamaged streams, each damaged many times over.
const STREAMS: usize = 1000;

/// xorshift64*, so that a case is told by its seed.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (((self.next() >> 32) * limit as u64) >> 32) as usize
    }
}

struct Stream {
    bytes: Vec<u8>,
    items: Vec<Item>,
    psbs: Vec<usize>,
}

/// Packets of every kind, with PSBs among them, some behind a payload that ends like one.
fn stream(rng: &mut Rng) -> Stream {
    let mut packets = vec![Packet::Psb, Packet::PsbEnd];
    let mut last_ip = 0;
    for _ in 0..4 + rng.below(30) {
        let value = rng.next();
        let [a, b, flags, ..] = value.to_le_bytes();
        let (flag, other) = (flags & 1 == 1, flags & 2 == 2);
        let ip = Ip::compress(last_ip ^ value >> (8 * rng.below(8)), last_ip);
        let packet = match rng.below(34) {
            0 | 1 => Packet::Psb,
            2 => {
                packets.push(Packet::Mnt { payload: value >> 32 | 0x8202_8202 << 32 });
                Packet::Psb
            }
            3 => Packet::PsbEnd,
            4 => Packet::Tip(ip),
            5 => Packet::TipPge(ip),
            6 => Packet::TipPgd(Ip::SUPPRESSED),
            7 => Packet::Fup(ip),
            8 => Packet::Tnt8 { bits: a & 0xf, count: 4 },
            9 => Packet::Tnt64 { bits: value >> 24, count: 40 },
            10 => Packet::Pip { cr3: value & 0xf_ffff_ffff_ffe0, nr: flag },
            11 => Packet::Vmcs { base: value & 0xf_ffff_ffff_f000 },
            12 => Packet::Tsc { tsc: value >> 8 },
            13 => Packet::Tma { ctc: value as u16, fc: b.into() },
            14 => Packet::Mtc { ctc: a },
            15 => Packet::Cyc { cycles: value >> rng.below(64) },
            16 => Packet::Cbr { ratio: a },
            17 => Packet::ModeExec { cs_l: flag, cs_d: !flag, if_flag: other },
            18 => Packet::ModeTsx { in_tx: flag, abort: !flag },
            19 => Packet::Ovf,
            20 => Packet::Stop,
            21 => Packet::Mnt { payload: value },
            22 => Packet::Ptw { payload: value, bytes: 8, ip: flag },
            23 => Packet::Exstop { ip: flag },
            24 => Packet::Mwait { hints: a, ext: 1 },
            25 => Packet::Pwre { state: a & 15, sub_state: b & 15, hw: flag },
            26 => Packet::Pwrx { last: a & 15, deepest: b & 15, wake: 4 },
            27 => {
                packets.push(Packet::Bbp { size8: true, kind: 4 });
                packets.push(Packet::Bip { id: a & 31, payload: value, bytes: 8 });
                Packet::Bep { ip: flag }
            }
            28 => Packet::Cfe { kind: 8, vector: a, ip: flag },
            29 => Packet::Evd { kind: 2, payload: value },
            30 => Packet::Trig { ip: flag, mult: other, triggers: a, icnt: flag.then_some(value as u16) },
            _ => Packet::Pad,
        };
        match packet {
            Packet::Psb => last_ip = 0,
            _ => last_ip = packet.ip().and_then(|ip| ip.ip).unwrap_or(last_ip),
        }
        packets.push(packet);
        if packet == Packet::Psb {
            packets.push(Packet::PsbEnd);
        }
    }
    let mut bytes = vec![];
    let mut items = vec![];
    for packet in packets {
        let offset = bytes.len();
        encode(&packet, &mut bytes).unwrap();
        items.push(Item { offset, len: bytes.len() - offset, what: Ok(packet) });
    }
    let psbs = items.iter().filter(|item| item.what == Ok(Packet::Psb)).map(|item| item.offset).collect();
    Stream { bytes, items, psbs }
}

/// Damages `bytes` (a stream's) and tells what was changed: bytes before `from` and from `to` on (to which `moved` was
/// added) are as before.
struct Damage {
    from: usize,
    to: usize,
    moved: isize,
}

fn damage(rng: &mut Rng, bytes: &mut Vec<u8>) -> Damage {
    let len = bytes.len();
    let from = rng.below(len);
    match rng.below(5) {
        // A stream that ends too early.
        0 => {
            bytes.truncate(from);
            Damage { from, to: len, moved: 0 }
        }
        // A flipped bit.
        1 => {
            bytes[from] ^= 1 << rng.below(8);
            Damage { from, to: from + 1, moved: 0 }
        }
        // Bytes that are missing.
        2 => {
            let to = (from + 1 + rng.below(40)).min(len);
            bytes.drain(from..to);
            Damage { from, to, moved: from as isize - to as isize }
        }
        // Noise in place of bytes.
        3 => {
            let to = (from + 1 + rng.below(24)).min(len);
            for byte in &mut bytes[from..to] {
                *byte = rng.next() as u8;
            }
            Damage { from, to, moved: 0 }
        }
        // A part of a PSB that should not be there.
        _ => {
            let extra = &PSB[..1 + rng.below(15)];
            bytes.splice(from..from, extra.iter().copied());
            Damage { from, to: from, moved: extra.len() as isize }
        }
    }
}

/// Every byte from the first PSB on is in one item. Counts the items that are none.
fn assert_covered(bytes: &[u8], items: &[Item], seed: u64) -> usize {
    let mut at = find_psb(bytes, 0).unwrap_or(bytes.len());
    let mut bad = 0;
    for item in items {
        assert!(item.offset == at && item.len > 0, "case {seed}: {item:?} at {at}");
        at += item.len;
        bad += usize::from(item.what.is_err());
    }
    assert_eq!(at, bytes.len(), "case {seed}");
    bad
}

#[test]
fn damage_costs_no_more_than_itself() {
    let mut rng = Rng(0x0068_6176_616e_6131);
    let streams: Vec<Stream> = (0..STREAMS).map(|_| stream(&mut rng)).collect();
    let mut bytes = vec![];
    let mut items: Vec<Item> = vec![];
    let mut cases_with_bad = 0;
    for case in 0..CASES {
        let seed = rng.0;
        let Stream { bytes: whole, items: all, psbs } = &streams[rng.below(STREAMS)];
        bytes.clear();
        bytes.extend_from_slice(whole);
        let damage = damage(&mut rng, &mut bytes);
        let errata = if case % 8 == 0 { Errata::for_cpu(6, 0x55, 4) } else { Errata::default() };
        items.clear();
        items.extend(Decoder::new(&bytes).with_errata(errata));
        cases_with_bad += u64::from(assert_covered(&bytes, &items, seed) > 0);

        // Behind the damage all is as before from the next PSB on, where that is not itself changed: one that comes
        // right behind changed bytes may end a longer run, but is still found.
        let behind = psbs.iter().find(|psb| **psb >= damage.to);
        if let Some(&psb) = behind {
            let moved = |offset: usize| offset.checked_add_signed(damage.moved).unwrap();
            let want = &all[all.partition_point(|item| item.offset < psb)..];
            let got = &items[items.partition_point(|item| item.offset < moved(psb))..];
            assert_eq!(got.len(), want.len(), "case {seed}");
            for (got, want) in got.iter().zip(want) {
                assert!(got.offset == moved(want.offset) && got.what == want.what, "case {seed}: {got:?} {want:?}");
            }
        }
        // Before it too, but for a run of `02 82` right before it, which new bytes may make longer or shorter.
        let mut before = &whole[..damage.from];
        before = before.strip_suffix(&PSB[..1]).unwrap_or(before);
        while let Some(shorter) = before.strip_suffix(&PSB[..2]) {
            before = shorter;
        }
        if before.len() > PSB.len() {
            for (got, want) in items.iter().zip(all).take_while(|(_, want)| want.offset + want.len <= before.len()) {
                assert!(got == want, "case {seed}: {got:?} {want:?}");
            }
        }
    }
    // Most damage shows. The rest turned packets into other packets.
    assert!(cases_with_bad > CASES / 4, "{cases_with_bad}");
}

#[test]
fn random_bytes_are_accounted_for() {
    let mut rng = Rng(0x0068_6176_616e_6132);
    let mut bytes = vec![];
    let mut items = vec![];
    let mut reasons = std::collections::HashSet::new();
    for _ in 0..50_000 {
        let seed = rng.0;
        bytes.clear();
        bytes.extend(PSB);
        // Three kinds of noise: any bytes, bytes that often begin packets, and bytes like a PSB's.
        let noise = rng.below(3);
        for _ in 0..rng.below(120) {
            let byte = rng.next() as u8;
            bytes.push(match noise {
                1 if byte < 100 => 0x02,
                2 => [0x02, 0x82][usize::from(byte & 1)],
                _ => byte,
            });
        }
        items.clear();
        let errata = Errata { skz84: true, skd007: true, ..Errata::default() };
        items.extend(Decoder::new(&bytes).with_errata(errata));
        assert_covered(&bytes, &items, seed);
        reasons.extend(items.iter().filter_map(|item| item.what.err()));
    }
    for reason in [
        BadReason::UnknownOpcode,
        BadReason::ReservedValue,
        BadReason::BrokenPsb,
        BadReason::CycTooLong,
        BadReason::Truncated,
        BadReason::Erratum,
    ] {
        assert!(reasons.contains(&reason), "{reason}");
    }
}

#[test]
fn pieces_give_what_the_whole_gives() {
    let mut rng = Rng(0x0068_6176_616e_6133);
    for case in 0..50_000u32 {
        let seed = rng.0;
        let mut bytes = stream(&mut rng).bytes;
        if case % 2 == 1 {
            damage(&mut rng, &mut bytes);
        }
        let whole = Decoder::new(&bytes);
        let want = merged(whole.collect());

        let mut got = vec![];
        let mut state = State::unsynced();
        let (mut at, mut piece): (usize, Vec<u8>) = (0, vec![]);
        let mut begin = 0;
        while at < bytes.len() {
            let most = 1 + rng.below(90);
            let len = (1 + rng.below(most)).min(bytes.len() - at);
            piece.extend_from_slice(&bytes[at..at + len]);
            at += len;
            let mut decoder = Decoder::resume(&piece, state).keep_tail();
            got.extend(decoder.by_ref().map(|item| Item { offset: begin + item.offset, ..item }));
            assert_eq!(decoder.next(), None);
            state = decoder.state();
            let tail = decoder.tail().to_vec();
            assert!(tail.len() < 300, "case {seed}");
            begin += decoder.offset();
            piece = tail;
        }
        got.extend(Decoder::resume(&piece, state).map(|item| Item { offset: begin + item.offset, ..item }));
        assert_eq!(merged(got), want, "case {seed}");
    }
}

/// Damage that two pieces share is two items.
fn merged(items: Vec<Item>) -> Vec<Item> {
    let mut merged: Vec<Item> = vec![];
    for item in items {
        match merged.last_mut() {
            Some(last) if last.what.is_err() && last.what == item.what => last.len += item.len,
            _ => merged.push(item),
        }
    }
    merged
}

#[test]
fn damage_is_one_item_up_to_the_next_psb() {
    let bytes = [&PSB[..], &[0x02, 0x23, 0xc9, 0x00, 0x00], &PSB, &[0x59]].concat();
    let items: Vec<Item> = Decoder::new(&bytes).collect();
    assert_eq!(
        items,
        [
            Item { offset: 0, len: 16, what: Ok(Packet::Psb) },
            Item { offset: 16, len: 2, what: Ok(Packet::PsbEnd) },
            Item { offset: 18, len: 3, what: Err(BadReason::UnknownOpcode) },
            Item { offset: 21, len: 16, what: Ok(Packet::Psb) },
            Item { offset: 37, len: 1, what: Err(BadReason::Truncated) },
        ]
    );
}

#[test]
fn a_packet_cut_off_by_a_psb_does_not_cost_the_psb() {
    let bytes = [&PSB[..], &[0x19, 1, 2], &PSB].concat();
    let items: Vec<Item> = Decoder::new(&bytes).collect();
    assert_eq!(items[1], Item { offset: 16, len: 3, what: Err(BadReason::Truncated) });
    assert_eq!(items[2], Item { offset: 19, len: 16, what: Ok(Packet::Psb) });
}

#[test]
fn a_psb_cut_off_by_another_does_not_cost_that() {
    let bytes = [&[0x00][..], &PSB[..14], &PSB, &[0x02, 0x23]].concat();
    let items: Vec<Item> = Decoder::resume(&bytes, State::default()).collect();
    assert_eq!(items[1], Item { offset: 1, len: 14, what: Err(BadReason::Truncated) });
    assert_eq!(items[2], Item { offset: 15, len: 16, what: Ok(Packet::Psb) });
    assert_eq!(items[3], Item { offset: 31, len: 2, what: Ok(Packet::PsbEnd) });
}

#[test]
fn the_tail_is_kept() {
    let bytes = [&[0x77][..], &PSB, &[0x02, 0x23, 0x19, 1, 2]].concat();
    let mut decoder = Decoder::new(&bytes).keep_tail();
    assert_eq!(decoder.synced_at(), Some(1));
    assert_eq!(decoder.by_ref().count(), 2);
    assert_eq!(decoder.offset(), 19);
    assert_eq!(decoder.tail(), [0x19, 1, 2]);
    assert_eq!(decoder.next(), None);
    assert_eq!(decoder.state().sync, Sync::InSync);

    let mut rest = decoder.tail().to_vec();
    rest.extend([3, 4, 5, 6, 7]);
    let mut decoder = Decoder::resume(&rest, decoder.state());
    assert_eq!(decoder.next().map(|item| item.what), Some(Ok(Packet::Tsc { tsc: 0x07_0605_0403_0201 })));
    assert_eq!(decoder.tail(), []);
}

#[test]
fn nothing_before_the_first_psb_is_reported() {
    let mut decoder = Decoder::new(&[0xc9; 100]);
    assert_eq!((decoder.synced_at(), decoder.next()), (None, None));
    assert_eq!(decoder.state().sync, Sync::Seeking);
    assert_eq!(Decoder::new(&[]).next(), None);
}
