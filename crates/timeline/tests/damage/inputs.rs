//! What is damaged: slices of real captures and made-up streams; and how.

use std::path::{Path, PathBuf};

use havana_packet::{Ip, Packet, encode, psb_offsets};
use havana_trace::{CpuModel, Facts, RawOptions, Stream, Trace, open_raw};

/// xorshift64*.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        // Neighbouring seeds should not look alike; and never 0.
        let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d | 1);
        rng.next();
        rng
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// 0 … n − 1.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 33) % n.max(1)
    }

    /// True once in `n`.
    pub(crate) fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn bytes(&mut self, n: u64) -> Vec<u8> {
        (0..n).map(|_| (self.next() >> 40) as u8).collect()
    }
}

/// Streams of some cpus and their clock facts: a small trace.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) facts: Facts,
    pub(crate) streams: Vec<Vec<u8>>,
}

impl Input {
    pub(crate) fn trace(&self) -> Trace {
        let named = |(i, bytes): (usize, &Vec<u8>)| Stream::from_bytes(i as u32, format!("cpu{i}.pt"), bytes.clone());
        Trace::of(self.streams.iter().enumerate().map(named).collect(), self.facts)
    }
}

/// Captures in the repository, and those in `$HAVANA_TESTDATA` that have what those lack.
pub(crate) fn captures() -> Vec<Trace> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/captures");
    let mut dirs: Vec<PathBuf> = ["hog-vma", "smp-idle", "tsc-only"].map(|n| here.join(n)).to_vec();
    match std::env::var_os("HAVANA_TESTDATA").map(PathBuf::from) {
        Some(dir) => {
            let more = ["idle-cyc", "idle-branch", "kpti-hog-branch", "io-exits", "smp-preempt", "lifecycle"];
            dirs.extend(more.map(|n| dir.join("captures").join(n)).into_iter().filter(|d| d.is_dir()));
        }
        None => eprintln!("skipped: the captures with CYC and branches, as HAVANA_TESTDATA is not set"),
    }
    dirs.iter().map(|d| open_raw(std::slice::from_ref(d), &RawOptions::default()).unwrap()).collect()
}

/// Slices of captures, of one to two PSB periods and a bit. The cpus of one capture are cut at about the same time.
pub(crate) fn slices(captures: &[Trace], each: usize) -> Vec<Input> {
    let mut out = Vec::new();
    for trace in captures {
        for i in 0..each {
            let cut = |stream: &Stream| {
                let bytes = stream.segment(0).unwrap().bytes;
                let psbs: Vec<usize> = psb_offsets(bytes).collect();
                let periods = 1 + i % 2;
                let at = (psbs.len() - periods - 1) * i / each;
                let end = (psbs[at + periods] + 100 + 150 * (i % 5)).min(bytes.len());
                bytes[psbs[at]..end].to_vec()
            };
            out.push(Input { facts: trace.facts, streams: trace.streams.iter().map(cut).collect() });
        }
    }
    out
}

/// Damages some bytes in one of a few ways.
pub(crate) fn damage(rng: &mut Rng, bytes: &mut Vec<u8>) {
    // In the first half more often: then there is more behind it.
    let most = bytes.len() as u64 >> rng.below(2);
    let at = rng.below(most + 1) as usize;
    let stretch = |rng: &mut Rng, most: u64| (at + 1 + rng.below(most) as usize).min(bytes.len());
    match rng.below(14) {
        0 => bytes.truncate(at),
        1..=3 => {
            for _ in 0..=rng.below(3) {
                let bit = rng.below(8 * bytes.len() as u64);
                if let Some(byte) = bytes.get_mut(bit as usize / 8) {
                    *byte ^= 1 << (bit % 8);
                }
            }
        }
        4 => {
            let n = 1 + rng.below(24);
            let new = rng.bytes(n);
            bytes.splice(at..at, new);
        }
        5 | 6 => {
            let end = stretch(rng, 40);
            bytes.drain(at..end);
        }
        7 => {
            let end = stretch(rng, 64);
            let new = rng.bytes((end - at) as u64);
            bytes.splice(at..end, new);
        }
        8..=12 => {
            // Packets that are none, an OVF, zeros, half a PSB.
            let bad = [&[0x02, 0xff][..], &[0xc1], &[0x02, 0x12], &[0x99, 0xff], &[0x02, 0xf3], &[0; 9], &[2, 0x82]];
            let new = bad[rng.below(bad.len() as u64) as usize];
            let end = stretch(rng, new.len() as u64);
            bytes.splice(at..end, new.iter().copied());
        }
        _ => {
            // A stretch from elsewhere.
            let from = rng.below(bytes.len() as u64 + 1) as usize;
            let copy: Vec<u8> = bytes[from..].iter().take(1 + rng.below(100) as usize).copied().collect();
            bytes.splice(at..at, copy);
        }
    }
}

/// Bytes at random behind a PSB or not; most are of packets with random payloads.
pub(crate) fn noise(rng: &mut Rng) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..rng.below(4) {
        match rng.below(3) {
            0 => out.extend(havana_packet::PSB),
            1 => {
                let n = rng.below(100);
                out.extend(rng.bytes(n));
            }
            _ => {
                let mut script = Script::new(rng, true);
                for _ in 0..script.rng.below(60) {
                    script.any();
                }
                out.append(&mut script.out);
            }
        }
    }
    out
}

/// A made-up stream: what one cpu of one host does, in a world where all is as it should be (`wild` false), or not.
pub(crate) fn made_up(rng: &mut Rng, wild: bool) -> Input {
    let model = [None, Some((85, 4)), Some((94, 3))][rng.below(3) as usize];
    let mtc_period = [None, Some(9), Some(9), Some(6), Some(0), Some(15)][rng.below(6) as usize];
    let facts = Facts {
        tsc_hz: Some(2_100_000_000),
        tsc_ctc_ratio: mtc_period.map(|_| (168, 2)),
        mtc_period,
        cpu: model.map(|(model, stepping)| CpuModel { family: 6, model, stepping }),
    };
    let cpus = 1 + usize::from(rng.once_in(4));
    let start = 1 << (20 + rng.below(30));
    let streams = (0..cpus)
        .map(|cpu| {
            let mut script = Script::new(rng, wild);
            // No VMCS is loaded on two cpus at a time.
            script.pages += if wild { 0 } else { (cpu as u64) << 20 };
            script.vmcs = script.pages;
            script.tsc = start + script.rng.below(100_000) as i64;
            script.shift = mtc_period;
            script.cyc_at = script.tsc;
            script.run();
            script.out
        })
        .collect();
    Input { facts, streams }
}

/// TSC − 84 CTC in the made-up world.
const K: i64 = 12_345;

struct Script<'r> {
    rng: &'r mut Rng,
    out: Vec<u8>,
    tsc: i64,
    /// MTC period; none: no MTC.
    shift: Option<u8>,
    nr: bool,
    host: u64,
    guest: u64,
    /// Where the VMCSs are.
    pages: u64,
    vmcs: u64,
    wild: bool,
    cyc: bool,
    /// Cycles are ticks; they are counted since then.
    cyc_at: i64,
}

impl<'r> Script<'r> {
    fn new(rng: &'r mut Rng, wild: bool) -> Self {
        let cyc = rng.once_in(4);
        Script {
            tsc: 1 << 32,
            out: vec![],
            shift: Some(9),
            nr: false,
            host: 0x8000,
            guest: 0x40_0000,
            pages: 0x10_0000,
            vmcs: 0x10_0000,
            wild,
            cyc,
            cyc_at: 1 << 32,
            rng,
        }
    }

    fn run(&mut self) {
        let periods = 2 + self.rng.below(5);
        for _ in 0..periods {
            self.psb_plus();
            for _ in 0..self.rng.below(24) {
                match self.rng.below(12) {
                    0..=5 => self.transit(),
                    6 => {
                        if self.nr {
                            self.guest = 0x40_0000 + (self.rng.below(4) << 13) + (self.rng.below(4) << 11);
                        } else {
                            self.host = 0x8000 + (self.rng.below(3) << 13);
                        }
                        self.pip();
                    }
                    7 if !self.nr => {
                        self.vmcs = self.pages + (self.rng.below(3) << 12);
                        self.put(Packet::Vmcs { base: self.vmcs });
                    }
                    8 if !self.nr && self.rng.once_in(3) => {
                        self.tsc += self.rng.below(100_000_000) as i64;
                        self.time();
                    }
                    9 if self.rng.once_in(6) => {
                        self.put(Packet::Ovf);
                        self.tsc += self.rng.below(100_000) as i64;
                        self.cyc_at = self.tsc;
                        // The VMCS stays the same; all else may have changed.
                        self.nr = self.rng.once_in(2);
                        self.pip();
                    }
                    10 if self.wild => self.any(),
                    _ => self.put(Packet::Cbr { ratio: 21 }),
                }
                let dt = self.rng.below(30_000) as i64;
                self.pass(dt);
            }
        }
    }

    /// `dt` ticks go by, awake.
    fn pass(&mut self, dt: i64) {
        let Some(shift) = self.shift else {
            self.tsc += dt;
            return;
        };
        let unit = |tsc: i64| (tsc - K).div_euclid(84) >> shift;
        let dt = if shift < 5 { dt / 100 } else { dt };
        let end = self.tsc + dt;
        for edge in unit(self.tsc) + 1..=unit(end) {
            self.tsc = (edge << shift) * 84 + K;
            self.put(Packet::Mtc { ctc: edge as u8 });
        }
        self.tsc = end;
    }

    fn put(&mut self, packet: Packet) {
        if self.cyc && !matches!(packet, Packet::PsbEnd) {
            let cycles = (self.tsc - self.cyc_at).max(0) as u64;
            self.cyc_at = self.tsc;
            encode(&Packet::Cyc { cycles }, &mut self.out).unwrap();
        }
        encode(&packet, &mut self.out).unwrap();
    }

    fn pip(&mut self) {
        let cr3 = if self.nr { self.guest } else { self.host };
        self.put(Packet::Pip { cr3, nr: self.nr });
    }

    fn transit(&mut self) {
        if self.wild && self.rng.once_in(8) {
            let ip = Ip::compress(self.rng.next() >> 17, 0);
            self.put(Packet::Fup(ip));
            self.put(Packet::Evd { kind: 2, payload: 12 });
            self.put(Packet::Cfe { kind: 8, vector: 0, ip: true });
        }
        self.nr = !self.nr;
        self.pip();
    }

    fn offset(&self) -> i64 {
        if self.nr { -(1 << 19) - (self.vmcs & 0x1000) as i64 * 3 } else { 0 }
    }

    fn tsc_packet(&self) -> Packet {
        Packet::Tsc { tsc: (self.tsc + self.offset()) as u64 & 0xff_ffff_ffff_ffff }
    }

    fn tma_packet(&self) -> Packet {
        let since = self.tsc - K;
        Packet::Tma { ctc: since.div_euclid(84) as u16, fc: since.rem_euclid(84) as u16 }
    }

    /// At a wake.
    fn time(&mut self) {
        self.cyc_at = self.tsc;
        self.put(self.tsc_packet());
        if self.shift.is_some() {
            self.put(self.tma_packet());
        }
        self.put(Packet::Cbr { ratio: 21 });
    }

    fn psb_plus(&mut self) {
        let cr3 = if self.nr { self.guest } else { self.host };
        let mut state = vec![
            Packet::Pip { cr3, nr: self.nr },
            Packet::Vmcs { base: self.vmcs },
            self.tsc_packet(),
            Packet::Cbr { ratio: 21 },
        ];
        for i in (1..state.len()).rev() {
            state.swap(i, self.rng.below(i as u64 + 1) as usize);
        }
        if self.shift.is_some() {
            let tsc = state.iter().position(|p| matches!(p, Packet::Tsc { .. })).unwrap();
            state.insert(tsc + 1, self.tma_packet());
        }
        if self.wild && self.rng.once_in(3) {
            match self.rng.below(6) {
                0 => state.retain(|p| !matches!(p, Packet::Pip { .. })),
                1 => state.retain(|p| !matches!(p, Packet::Vmcs { .. })),
                2 => state.retain(|p| !matches!(p, Packet::Tsc { .. })),
                3 => state.push(Packet::Ovf),
                4 => state.push(Packet::Pip { cr3: cr3 ^ 0x2000, nr: !self.nr }),
                _ => {
                    let i = self.rng.below(state.len() as u64) as usize;
                    state.push(state[i]);
                }
            }
        }
        self.put(Packet::Psb);
        for packet in state {
            encode(&packet, &mut self.out).unwrap();
        }
        self.put(Packet::PsbEnd);
    }

    /// Any packet with any payload; the times are often plausible, and often not.
    fn any(&mut self) {
        let r = self.rng.next() >> 7;
        let ip = Ip::compress(r >> 20, 0);
        let flag = r & 1 == 1;
        let packet = match self.rng.below(36) {
            0 => Packet::Pad,
            1 => Packet::Psb,
            2 => Packet::PsbEnd,
            3 => Packet::Tip(ip),
            4 => Packet::TipPge(ip),
            5 => Packet::TipPgd(ip),
            6 => Packet::Fup(Ip::SUPPRESSED),
            7 => Packet::Tnt8 { bits: 5, count: 3 },
            8 => Packet::Tnt64 { bits: 5, count: 30 },
            9 => Packet::Vmcs { base: 0xf_ffff_ffff_f000 },
            10 => Packet::Vmcs { base: 0 },
            11 => Packet::Vmcs { base: r & 0xf_ffff_ffff_f000 },
            12 => Packet::Tsc { tsc: r >> 1 },
            13 => Packet::Tsc { tsc: 0xff_ffff_ffff_ffff >> self.rng.below(56) },
            14 => Packet::Tsc { tsc: self.tsc as u64 + (1 << self.rng.below(50)) },
            15 => Packet::Tsc { tsc: (self.tsc as u64).saturating_sub(1 << self.rng.below(50)) },
            16 => self.tma_packet(),
            17 => Packet::Tma { ctc: r as u16, fc: (r >> 16) as u16 & 0x1ff },
            18 | 19 => Packet::Mtc { ctc: r as u8 },
            20 => Packet::Cyc { cycles: r >> self.rng.below(57) },
            21 => Packet::Cyc { cycles: !0 },
            22 => Packet::Cbr { ratio: r as u8 },
            23 => Packet::ModeExec { cs_l: true, cs_d: false, if_flag: flag },
            24 => Packet::Ovf,
            25 => Packet::Stop,
            26 => Packet::Mnt { payload: r },
            27 => Packet::Ptw { payload: r, bytes: 8, ip: flag },
            28 => Packet::Pwre { state: 3, sub_state: 0, hw: flag },
            29 => Packet::Pwrx { last: 3, deepest: 3, wake: 1 },
            30 => Packet::Bbp { size8: flag, kind: 4 },
            31 => Packet::Bep { ip: flag },
            32 => Packet::Cfe { kind: r as u8 & 0x1f, vector: (r >> 8) as u8, ip: flag },
            33 => Packet::Evd { kind: (r >> 60) as u8 & 0x3f, payload: r },
            34 => Packet::Pip { cr3: r & 0xf_ffff_ffff_ffe0, nr: flag },
            _ => Packet::Trig { ip: flag, mult: false, triggers: r as u8, icnt: None },
        };
        encode(&packet, &mut self.out).unwrap();
    }
}
