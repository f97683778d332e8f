//! Inputs made to cost time or memory: what they cost grows with their length and no faster.

use std::time::{Duration, Instant};

use havana_packet::{Packet, encode};
use havana_trace::Facts;

use crate::check::{analyze, sound};
use crate::inputs::Input;

const MEGABYTE: usize = 1 << 20;

/// In the dev profile, on a busy machine.
const MOST: Duration = Duration::from_secs(2);

fn put(out: &mut Vec<u8>, packets: &[Packet]) {
    packets.iter().for_each(|p| encode(p, out).unwrap());
}

/// A stream of about a megabyte: PSB+, and then what `more` gives for 0, 1, 2, …
fn stream(mut more: impl FnMut(u64, &mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, &start(0x100_0000));
    let mut i = 0;
    while out.len() < MEGABYTE {
        more(i, &mut out);
        i += 1;
    }
    put(&mut out, &start(0x1_0000_0000));
    out
}

fn start(tsc: u64) -> [Packet; 5] {
    [
        Packet::Psb,
        Packet::Pip { cr3: 0x8000, nr: false },
        Packet::Vmcs { base: 0x1000 },
        Packet::Tsc { tsc },
        Packet::PsbEnd,
    ]
}

fn cheap(name: &str, bytes: Vec<u8>) {
    let mtc = Facts { tsc_ctc_ratio: Some((168, 2)), mtc_period: Some(9), ..Facts::default() };
    for facts in [Facts::default(), mtc] {
        let trace = Input { facts, streams: vec![bytes.clone()] }.trace();
        let start = Instant::now();
        let (rows, summary) = analyze(&trace);
        let took = start.elapsed();
        eprintln!("{name}: {took:?}, {} rows", rows.count());
        sound(&trace, &rows, &summary).unwrap();
        assert!(took < MOST, "{name}: {took:?}");
    }
}

const fn entry(cr3: u64) -> Packet {
    Packet::Pip { cr3: cr3 << 13 & 0xf_ffff_ffff_e000, nr: true }
}

const fn host(cr3: u64) -> Packet {
    Packet::Pip { cr3: cr3 << 13 & 0xf_ffff_ffff_e000, nr: false }
}

const fn vmcs(i: u64) -> Packet {
    Packet::Vmcs { base: (i + 1) << 12 & 0xf_ffff_ffff_e000 }
}

const fn tsc(tsc: u64) -> Packet {
    Packet::Tsc { tsc: tsc & 0xff_ffff_ffff_ffff }
}

#[test]
fn all_different_vmcs_and_guest_tsc() {
    let mix = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    cheap("VMCSs", stream(|i, out| put(out, &[vmcs(i), entry(i), tsc(mix(i)), host(4)])));
    cheap(
        "VMCSs, host TSCs",
        stream(|i, out| put(out, &[vmcs(i), entry(i), tsc(mix(i)), host(4), tsc(0x200_0000 + i)])),
    );
    cheap(
        "VMCSs, PSB+",
        stream(|i, out| {
            put(out, &[vmcs(i), entry(i), Packet::Psb, entry(i), vmcs(i), tsc(mix(i)), Packet::PsbEnd, host(4)]);
            put(out, &[Packet::Psb, host(4), vmcs(i), tsc(0x200_0000 + i), Packet::PsbEnd]);
        }),
    );
}

#[test]
fn a_guest_whose_clock_always_jumps() {
    let mix = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    cheap("jumps", stream(|i, out| put(out, &[entry(1), tsc(mix(i)), host(4), tsc(0x200_0000 + i)])));
    cheap(
        "jumps in PSB+",
        stream(|i, out| {
            put(out, &[Packet::Psb, entry(1), vmcs(1), tsc(mix(i)), Packet::PsbEnd]);
            put(out, &[Packet::Psb, host(4), vmcs(1), tsc(0x200_0000 + i), Packet::PsbEnd]);
        }),
    );
}

#[test]
fn every_address_space_is_new() {
    cheap("host CR3s", stream(|i, out| put(out, &[host(i)])));
    cheap("guest CR3s", stream(|i, out| put(out, &[entry(i)])));
    cheap("a VMCS of many VMs", stream(|i, out| put(out, &[entry(1), host(i), tsc(0x200_0000 + i)])));
    cheap("two VMs in turn", stream(|i, out| put(out, &[vmcs(i % 7), entry(1), host(i % 5)])));
}

#[test]
fn many_vcpus_off_one_cpu() {
    // All are taken off by the next, and each change of taker is one for all that are off.
    cheap("round robin", stream(|i, out| put(out, &[vmcs(i % 5000), host(i % 5000), entry(1), host(i % 5000)])));
    cheap("round robin of few", stream(|i, out| put(out, &[vmcs(i % 300), host(i % 300), entry(1), host(i % 300)])));
    cheap(
        "off, then many takers, then back",
        stream(|i, out| match i {
            0..10_000 => put(out, &[vmcs(i), host(i), entry(1), host(i)]),
            10_000..30_000 => put(out, &[host(i % 2 + 20_000)]),
            _ => put(out, &[host(i % 10_000), vmcs(i % 10_000), entry(1), host(i % 10_000)]),
        }),
    );
}

#[test]
fn losses_without_end() {
    cheap("OVF", stream(|_, out| put(out, &[Packet::Ovf])));
    cheap("OVF in PSB+", stream(|i, out| put(out, &[Packet::Psb, vmcs(i), Packet::Ovf])));
    cheap("OVF, PSB+", stream(|i, out| put(out, &[Packet::Ovf, Packet::Psb, entry(i), vmcs(i), Packet::PsbEnd])));
    cheap(
        "damage, PSB+",
        stream(|i, out| {
            out.extend([2, 0xff]);
            put(out, &[Packet::Psb, entry(i), vmcs(i), Packet::PsbEnd]);
        }),
    );
    cheap(
        "PSB+ against PSB+",
        stream(|i, out| put(out, &[Packet::Psb, entry(i), Packet::PsbEnd, Packet::Psb, host(i), Packet::PsbEnd])),
    );
    cheap("astray TSCs", stream(|i, out| put(out, &[tsc(0x200_0000 + (i % 2) * (1 << 50)), host(i)])));
}

#[test]
fn nothing_but_one_byte_or_packet() {
    cheap("PSBs", stream(|_, out| put(out, &[Packet::Psb])));
    cheap("02", stream(|_, out| out.push(2)));
    cheap("82", stream(|_, out| out.push(0x82)));
    cheap("CYC", stream(|i, out| put(out, &[Packet::Cyc { cycles: i }])));
    cheap("MTC", stream(|i, out| put(out, &[Packet::Mtc { ctc: i as u8 }])));
    cheap("TSC", stream(|i, out| put(out, &[tsc(0x200_0000 + i)])));
    cheap(
        "CBR, CYC and PIP",
        stream(|i, out| put(out, &[Packet::Cyc { cycles: 1 }, Packet::Cbr { ratio: i as u8 }, entry(i % 2)])),
    );
    cheap("CYC and PIP", stream(|i, out| put(out, &[Packet::Cyc { cycles: 1 << (i % 64) }, host(i % 2)])));
    // The length of a cycle is learnt first.
    cheap(
        "PIPs with one CYC behind all",
        stream(|i, out| match i {
            0..10 => put(out, &[Packet::Cyc { cycles: 4000 }, tsc(0x200_0000 + 5000 * i)]),
            _ => put(out, &[host(i % 2)]),
        }),
    );
}

/// Damage long before the first known time, with more events between than may wait.
#[test]
fn damage_before_any_time() {
    let mut bytes = Vec::new();
    put(&mut bytes, &[Packet::Psb, host(1), Packet::PsbEnd]);
    bytes.extend([2, 0xff]);
    put(&mut bytes, &[Packet::Psb, host(1), Packet::PsbEnd]);
    (0..100_000).for_each(|i| put(&mut bytes, &[host(i)]));
    bytes.extend([2, 0xff]);
    put(&mut bytes, &start(0x100_0000));
    let trace = Input { facts: Facts::default(), streams: vec![bytes] }.trace();
    let (rows, summary) = analyze(&trace);
    assert!(summary.timeless.is_empty());
    sound(&trace, &rows, &summary).unwrap();
}

/// Without one known time in 20 MB the events are handed on by force, again and again.
#[test]
fn no_time_for_long() {
    let mut bytes = Vec::new();
    put(&mut bytes, &start(0x100_0000));
    put(&mut bytes, &[entry(1), host(1)]);
    put(&mut bytes, &start(0x100_0000 + (1 << 43)));
    let pair = bytes.len();
    put(&mut bytes, &[entry(1), host(1)]);
    let pair = bytes[pair..].to_vec();
    (0..20 * MEGABYTE / pair.len()).for_each(|_| bytes.extend(&pair));
    let trace = Input { facts: Facts::default(), streams: vec![bytes] }.trace();
    let (rows, summary) = analyze(&trace);
    sound(&trace, &rows, &summary).unwrap();
}
