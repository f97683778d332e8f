//! The envelope of a stream is what a walk of every packet gives, but for the branches: over random packets, damaged
//! ones, noise, streams in pieces, and all captures; with every set of vector instructions that the machine has.

#![allow(clippy::unwrap_used, reason = "helpers of tests stand outside of them")]

use std::fs;
use std::path::Path;

use havana_packet::{Decoder, Envelope, Errata, Ip, Item, Leaper, Level, Met, PSB, Packet, State, encode};
use proptest::prelude::*;

/// What the envelope may leave out.
fn is_passed_over(item: &Item) -> bool {
    item.what.is_ok_and(|packet| packet.kind().is_passed_over())
}

/// From which IP each PIP's exit comes, as the SDM has it: a FUP outside PSB+, and no branch since.
fn origins(items: &[Item]) -> Vec<(usize, Option<u64>)> {
    let (mut fup, mut psb_plus) = (None, false);
    let mut origins = vec![];
    for item in items {
        match item.what {
            Ok(Packet::Psb) => psb_plus = true,
            Ok(Packet::PsbEnd) => psb_plus = false,
            Ok(Packet::Ovf) | Err(_) => (psb_plus, fup) = (false, None),
            Ok(Packet::Pip { .. }) if !psb_plus => origins.push((item.offset, fup.take())),
            Ok(Packet::Fup(ip)) if !psb_plus => fup = ip.ip,
            Ok(Packet::Tip(_) | Packet::Tnt8 { .. } | Packet::Tnt64 { .. }) if !psb_plus => fup = None,
            _ => {}
        }
    }
    origins
}

/// Each packet that a CYC may date: which CYCs were before it since a branch.
fn dated(items: &[Item]) -> Vec<(usize, Option<usize>)> {
    let (mut cyc, mut psb_plus) = (None, false);
    let mut dated = vec![];
    for item in items {
        match item.what {
            Ok(Packet::Psb) => psb_plus = true,
            Ok(Packet::PsbEnd) => psb_plus = false,
            Ok(Packet::Ovf) | Err(_) => psb_plus = false,
            Ok(Packet::Cyc { .. }) => cyc = Some(item.offset),
            Ok(Packet::Tip(_) | Packet::Tnt8 { .. } | Packet::Tnt64 { .. }) if !psb_plus => cyc = None,
            Ok(Packet::Pip { .. } | Packet::Mtc { .. } | Packet::Tsc { .. }) => dated.push((item.offset, cyc)),
            _ => {}
        }
    }
    dated
}

fn first_branch(items: &[Item]) -> Option<Item> {
    let mut psb_plus = false;
    let is_branch = |item: &&Item| {
        psb_plus = match item.what {
            Ok(Packet::Psb) => true,
            Ok(Packet::PsbEnd | Packet::Ovf) | Err(_) => false,
            _ => psb_plus,
        };
        matches!(item.what, Ok(Packet::Tip(_) | Packet::Tnt8 { .. } | Packet::Tnt64 { .. })) && !psb_plus
    };
    items.iter().find(is_branch).copied()
}

/// Holds an envelope against a walk.
#[track_caller]
fn assert_same(envelope: &[Item], walk: &[Item], about: &dyn Fn() -> String) {
    let noted = |items: &[Item]| -> Vec<Item> { items.iter().filter(|item| !is_passed_over(item)).copied().collect() };
    let (got, want) = (noted(envelope), noted(walk));
    if got != want {
        let at = got.iter().zip(&want).position(|(got, want)| got != want).unwrap_or(got.len().min(want.len()));
        panic!("{}: item {at}: {:?}, and the walk has {:?}", about(), got.get(at), want.get(at));
    }
    // What it gives beside that is the walk's too.
    let mut left = walk.iter();
    for item in envelope {
        assert!(left.any(|walked| walked == item), "{}: {item:?}", about());
    }
    assert_eq!(origins(envelope), origins(walk), "{}", about());
    assert_eq!(dated(envelope), dated(walk), "{}", about());
    assert_eq!(first_branch(envelope), first_branch(walk), "{}", about());
}

fn assert_equals_walk(bytes: &[u8], errata: Errata, about: &dyn Fn() -> String) {
    let mut walk = Decoder::new(bytes).with_errata(errata);
    let want: Vec<Item> = walk.by_ref().collect();
    for &level in Level::all() {
        let about = || format!("{level:?}, {}", about());
        let mut envelope = Envelope::with(Decoder::new(bytes).with_errata(errata), Leaper::new(level));
        let got: Vec<Item> = envelope.by_ref().collect();
        assert_same(&got, &want, &about);
        let (end, leaper) = envelope.into_parts();
        assert_eq!((end.offset(), end.state()), (walk.offset(), walk.state()), "{}", about());

        let mut all = Envelope::with(Decoder::new(bytes).with_errata(errata), leaper).every_packet();
        for (at, want) in want.iter().enumerate() {
            assert_eq!(all.next().as_ref(), Some(want), "item {at} of all, {}", about());
        }
        assert_eq!(all.next(), None, "{}", about());
        let (end, leaper) = all.into_parts();
        assert_eq!((end.offset(), end.state()), (walk.offset(), walk.state()), "all, {}", about());
        let mut left = want.iter();
        Envelope::with(Decoder::new(bytes).with_errata(errata), leaper).every_packet().each(&mut |item: Item| {
            assert_eq!(Some(&item), left.next(), "all at once, {}", about());
            true
        });
        assert_eq!(left.len(), 0);
    }
}

/// In pieces that end anywhere: what one hands to the next is what a walk would have.
fn assert_pieces_equal_walk(bytes: &[u8], cuts: &[usize], level: Level) {
    let mut state = State::unsynced();
    let mut leaper = Leaper::new(level);
    let mut met = Met::default();
    let (mut walked, mut got, mut piece, mut base) = (vec![], vec![], vec![], 0);
    let mut from = 0;
    for cut in cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([bytes.len()]) {
        let cut = cut.max(from);
        piece.extend_from_slice(&bytes[from..cut]);
        from = cut;
        let mut walk = Decoder::resume(&piece, state).keep_tail();
        let mut envelope = Envelope::with(Decoder::resume(&piece, state).keep_tail(), leaper).after(met);
        let moved = |item: Item| Item { offset: item.offset + base, ..item };
        walked.extend(walk.by_ref().map(moved));
        // One at a time and many at once are the same.
        got.extend(envelope.by_ref().take(3).map(moved));
        envelope.each(&mut |item: Item| {
            got.push(moved(item));
            true
        });
        met = envelope.met();
        let (end, used) = envelope.into_parts();
        assert_eq!((end.offset(), end.state(), end.tail()), (walk.offset(), walk.state(), walk.tail()));
        (state, leaper) = (walk.state(), used);
        base += walk.offset();
        piece = walk.tail().to_vec();
    }
    assert_same(&got, &walked, &|| "pieces".into());
}

/// Packets as a cpu makes them: branches in runs, a PSB+ now and then, entries and exits, some of them where a FUP says.
fn packets() -> impl Strategy<Value = Vec<u8>> {
    let run = prop::collection::vec((0u8..=5, any::<u64>()), 0..120);
    prop::collection::vec((run, 0u8..16, any::<u64>()), 1..12).prop_map(|runs| {
        let (mut bytes, mut last_ip) = (vec![], 0);
        let mut add = |packet: Packet| {
            match packet {
                Packet::Psb => last_ip = 0,
                _ => last_ip = packet.ip().and_then(|ip| ip.ip).unwrap_or(last_ip),
            }
            encode(&packet, &mut bytes).unwrap();
            last_ip
        };
        let mut last_ip = 0;
        for (run, kind, value) in runs {
            let ip = |value: u64, last: u64| Ip::compress(last ^ (value >> (8 * (value % 8))), last);
            if kind < 6 {
                let fup = Packet::Fup(Ip::compress(value >> 16, 0));
                let said =
                    [Packet::Psb, Packet::Tsc { tsc: value >> 8 }, fup, Packet::Vmcs { base: value & 0xffff_f000 }];
                for packet in said
                    .into_iter()
                    .chain([Packet::Pip { cr3: value & 0xffff_ffe0, nr: kind % 2 == 1 }, Packet::PsbEnd])
                {
                    last_ip = add(packet);
                }
            }
            for (kind, value) in run {
                last_ip = add(match kind {
                    0 | 1 => Packet::Tnt8 { bits: (value & 7) as u8, count: 3 },
                    2 => Packet::Tip(ip(value, last_ip)),
                    3 if value % 5 == 0 => Packet::TipPge(ip(value >> 3, last_ip)),
                    3 if value % 5 == 1 => Packet::TipPgd(Ip::SUPPRESSED),
                    3 if value % 5 == 2 => Packet::Fup(ip(value >> 3, last_ip)),
                    3 if value % 5 == 3 => Packet::Mtc { ctc: value as u8 },
                    _ => Packet::Pad,
                });
            }
            for packet in match kind % 8 {
                0 => vec![Packet::Fup(ip(value, last_ip)), Packet::Pip { cr3: value & 0xffff_ffe0, nr: false }],
                1 => vec![
                    Packet::Fup(ip(value, last_ip)),
                    Packet::Mtc { ctc: 1 },
                    Packet::Pad,
                    Packet::Pip { cr3: 32, nr: false },
                ],
                2 => vec![
                    Packet::Fup(ip(value, last_ip)),
                    Packet::Pad,
                    Packet::Tip(ip(value, last_ip)),
                    Packet::Pip { cr3: 64, nr: false },
                ],
                3 => vec![
                    Packet::Bbp { size8: true, kind: 4 },
                    Packet::Bip { id: 3, payload: value, bytes: 8 },
                    Packet::Bep { ip: false },
                ],
                4 => vec![
                    Packet::Tnt64 { bits: value >> 24, count: 40 },
                    Packet::ModeExec { cs_l: true, cs_d: false, if_flag: true },
                ],
                // A payload that ends as a PSB begins.
                5 => vec![Packet::Mnt { payload: value >> 32 | 0x8202_8202 << 32 }],
                6 => vec![Packet::Cyc { cycles: value >> (value % 64) }, Packet::Ovf],
                _ => vec![Packet::Pip { cr3: value & 0xffff_ffe0, nr: true }],
            } {
                last_ip = add(packet);
            }
        }
        bytes
    })
}

/// Without branches, or nearly so: most packets are of the envelope.
fn dense() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(any::<u64>(), 0..1500), 0u64..200).prop_map(|(values, rare)| {
        let (mut bytes, mut last_ip) = (vec![], 0);
        for value in values {
            let [a, b, ..] = value.to_le_bytes();
            let rarely = rare > 0 && (value >> 32) % (8 * rare) == 0;
            let packets = match value % 16 {
                0 if rarely => vec![
                    Packet::Psb,
                    Packet::Tsc { tsc: value >> 8 },
                    Packet::Fup(Ip::compress(value >> 16, 0)),
                    Packet::PsbEnd,
                ],
                1 if rarely => vec![Packet::Tnt8 { bits: 1, count: 2 }],
                2 if rarely => vec![Packet::Tip(Ip::compress(last_ip ^ (value >> 40), last_ip))],
                3 if rarely => {
                    vec![Packet::Fup(Ip::compress(last_ip ^ (value >> 50), last_ip)), Packet::Mtc { ctc: a }]
                }
                4 if rarely => vec![Packet::Ovf],
                5 if rarely => vec![Packet::Pwre { state: 3, sub_state: 1, hw: true }],
                0..4 => vec![Packet::Mtc { ctc: a }],
                4 | 5 => vec![Packet::Cyc { cycles: value >> (value % 64) }],
                6 | 7 => vec![
                    Packet::Cyc { cycles: value & 0x3ff },
                    Packet::Pip { cr3: value & 0xf_ffff_ffff_ffe0, nr: b > 100 },
                ],
                8 => vec![Packet::Vmcs { base: value & 0xf_ffff_ffff_f000 }],
                9 => vec![Packet::Tsc { tsc: value >> 8 }, Packet::Tma { ctc: value as u16, fc: b.into() }],
                10 => vec![Packet::Cbr { ratio: a }],
                11 => vec![Packet::ModeExec { cs_l: a > 9, cs_d: false, if_flag: b > 9 }],
                12 => vec![Packet::Pad; usize::from(a % 16)],
                _ => vec![Packet::Pip { cr3: value & 0xf_ffff_ffff_ffe0, nr: b > 100 }],
            };
            for packet in packets {
                encode(&packet, &mut bytes).unwrap();
                match packet {
                    Packet::Psb => last_ip = 0,
                    _ => last_ip = packet.ip().and_then(|ip| ip.ip).unwrap_or(last_ip),
                }
            }
        }
        bytes.splice(0..0, PSB);
        bytes
    })
}

/// Bytes lost, changed or put in.
fn damaged(packets: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let one = (any::<prop::sample::Index>(), 0u8..5, any::<[u8; 24]>(), 1usize..40);
    (packets, prop::collection::vec(one, 0..4)).prop_map(|(mut bytes, damage)| {
        for (at, how, noise, len) in damage {
            let at = at.index(bytes.len().max(1)).min(bytes.len());
            let to = (at + len).min(bytes.len());
            match how {
                0 => bytes.truncate(at.max(16)),
                1 if at < bytes.len() => bytes[at] ^= 1 << (len % 8),
                2 => drop(bytes.drain(at..to)),
                3 => drop(bytes.splice(at..to.min(at + 24), noise)),
                _ => drop(bytes.splice(at..at, PSB[..len.min(16)].iter().copied())),
            }
        }
        bytes
    })
}

/// Any bytes behind a PSB: some like packets, some like PSBs.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0x02u8), Just(0x82), Just(0x00), any::<u8>(), any::<u8>()];
    prop::collection::vec(byte, 0..300).prop_map(|mut bytes| {
        bytes.splice(0..0, PSB);
        bytes
    })
}

fn errata() -> impl Strategy<Value = Errata> {
    prop_oneof![Just(Errata::default()), Just(Errata { skz84: true, skd007: true, ..Errata::default() })]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn random_packets(bytes in packets()) {
        assert_equals_walk(&bytes, Errata::default(), &|| format!("{bytes:02x?}"));
    }

    #[test]
    fn dense_packets(bytes in dense()) {
        assert_equals_walk(&bytes, Errata::default(), &|| format!("{bytes:02x?}"));
    }

    #[test]
    fn damaged_packets(bytes in prop_oneof![damaged(packets()), damaged(dense())], errata in errata()) {
        assert_equals_walk(&bytes, errata, &|| format!("{bytes:02x?}"));
    }

    #[test]
    fn random_bytes(bytes in noise(), errata in errata()) {
        assert_equals_walk(&bytes, errata, &|| format!("{bytes:02x?}"));
    }

    #[test]
    fn streams_in_pieces(bytes in prop_oneof![damaged(packets()), damaged(dense())], cuts in prop::collection::vec(any::<usize>(), 0..5)) {
        let mut cuts = cuts;
        cuts.iter_mut().for_each(|cut| *cut %= bytes.len() + 1);
        cuts.sort_unstable();
        for &level in Level::all() {
            assert_pieces_equal_walk(&bytes, &cuts, level);
        }
    }
}

/// Raw traces in folders below `dir`.
fn traces(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(traces(&path));
        } else if path.extension().is_some_and(|ext| ext == "pt" || ext == "intelpt_trace" || ext == "data") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Whole, and with some of its bytes lost or changed; a perf.data as the bytes that it is, trace or not.
fn assert_traces(dir: &Path) {
    for file in traces(dir) {
        let whole = fs::read(&file).unwrap();
        assert_equals_walk(&whole, Errata::default(), &|| file.display().to_string());
        let mut seed = whole.len() as u64;
        let mut next = || {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (seed >> 33) as usize
        };
        for round in 0..4 {
            let mut bytes = whole.clone();
            for _ in 0..1 + bytes.len() / 20_000 {
                let at = next() % bytes.len();
                match next() % 2 {
                    0 => bytes[at] = next() as u8,
                    _ => drop(bytes.drain(at..(at + next() % 30).min(bytes.len()))),
                }
            }
            assert_equals_walk(&bytes, Errata::default(), &|| format!("{}, damaged, round {round}", file.display()));
        }
    }
}

#[test]
fn captures_of_the_repository() {
    assert_traces(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata"));
}

#[test]
fn traces_at_hand() {
    match std::env::var_os("HAVANA_TESTDATA") {
        Some(dir) => assert_traces(Path::new(&dir)),
        None => eprintln!("skipped: HAVANA_TESTDATA is not set"),
    }
}
