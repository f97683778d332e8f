//! What one processor writes: from what it does, packet after packet (SDM, "Intel Processor Trace").
//!
//! The model knows the rules that a reader has to know too, and is written apart from any reader: PSB+ each so many
//! bytes, in any order of what is inside; MTC at each crystal edge while awake; TSC, TMA and CBR
//! at a wake; in non-root operation TSC packets with the guest's clock; CYC before the packets that can have one.

use havana_packet::{Ip, Packet, Unencodable, encode};

use crate::hw::Hw;
use crate::rng::Rng;

/// How a processor is traced.
#[derive(Debug, Clone, PartialEq)]
pub struct Mode {
    /// TNT, TIP and FUP too.
    pub branches: bool,
    /// N: an MTC each 2^N crystal ticks.
    pub mtc_period: Option<u8>,
    /// CYC packets.
    pub cyc: bool,
    /// PWRE, EXSTOP and PWRX at sleeps.
    pub power: bool,
    /// Event Trace: CFE and EVD.
    pub event: bool,
    /// A PSB+ each so many bytes.
    pub psb_bytes: u64,
    /// In PSB+ packets stand in any order.
    pub any_order: bool,
    /// What it gets wrong (`havana_packet::Errata`).
    pub skz84: bool,
    /// As above.
    pub skd007: bool,
    /// As above.
    pub skl168: bool,
    /// As above.
    pub bdm70: bool,
    /// As above.
    pub skd010: bool,
    /// As above.
    pub apl12: bool,
}

/// The clock of a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clock {
    /// TSC ticks a second.
    pub tsc_hz: u64,
    /// TSC ticks a crystal tick.
    pub ratio: (u32, u32),
    /// TSC at crystal tick 0.
    pub origin: i64,
    /// Core:Bus Ratio.
    pub cbr: u8,
}

impl Clock {
    /// The crystal tick that holds at a TSC.
    pub fn ctc(&self, tsc: i64) -> i64 {
        let [n, d] = [self.ratio.0, self.ratio.1].map(i64::from);
        match (tsc - self.origin).checked_mul(d) {
            Some(ticks) => ticks.div_euclid(n),
            None => (i128::from(tsc - self.origin) * i128::from(d)).div_euclid(i128::from(n)) as i64,
        }
    }

    /// The first TSC at which a crystal tick holds.
    pub fn tsc(&self, ctc: i64) -> i64 {
        let [n, d] = [self.ratio.0, self.ratio.1].map(i64::from);
        let ticks = match ctc.checked_mul(n) {
            Some(ticks) => ticks.div_euclid(d) + i64::from(ticks.rem_euclid(d) != 0),
            None => {
                let (ticks, d) = (i128::from(ctc) * i128::from(n), i128::from(d));
                (ticks.div_euclid(d) + i128::from(ticks.rem_euclid(d) != 0)) as i64
            }
        };
        self.origin + ticks
    }
}

/// A guest's clock: `guest = host × scale + offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GuestClock {
    /// Guest minus host.
    pub offset: i64,
    /// Guest ticks a host tick.
    pub scale: f64,
}

impl GuestClock {
    fn at(&self, tsc: i64) -> u64 {
        let scaled = if self.scale == 1.0 { tsc } else { (tsc as f64 * self.scale) as i64 };
        (scaled + self.offset) as u64
    }
}

/// So long does the code run that one branch packet is of.
const TICKS_A_PACKET: i64 = 335;
/// What branch packets there are, again and again: TNT, or a TIP whose IP differs in so many bytes.
const BRANCHES: [u8; 11] = [0, 2, 0, 0, 4, 0, 2, 0, 0, 4, 0];
/// Code of the driver, where a FUP or TIP.PGE says no more.
const DRIVER: u64 = 0xffff_ffff_c035_1000;
/// TSC packets have 56 bits.
const TSC_BITS: u64 = (1 << 56) - 1;
/// The VMCS that is loaded where none is.
const NO_VMCS: u64 = 0x000f_ffff_ffff_f000;

/// One processor.
#[derive(Debug)]
pub struct Pt {
    mode: Mode,
    clock: Clock,
    rng: Rng,
    /// What it wrote and nobody has taken yet.
    pub out: Vec<u8>,
    /// All that it ever wrote.
    pub bytes: u64,
    psb_at: u64,
    nr: bool,
    cr3: u64,
    vmcs: Option<u64>,
    guest: Option<GuestClock>,
    /// Crystal tick >> N of the last edge passed.
    unit: i64,
    /// TSC of the next; without MTC never.
    edge: i64,
    cyc_at: i64,
    last: i64,
    last_ip: u64,
    asleep: bool,
    /// Packets are lost, or none are made.
    mute: bool,
    /// When it has written so many bytes it stops.
    full_at: u64,
    /// The last packet is an MTC: where it begins in `out`, its CYC with it.
    mtc_at: Option<usize>,
    /// TNT of six branches, encoded.
    tnt: [u8; 64],
    /// Which of BRANCHES is next.
    branch: usize,
}

impl Pt {
    /// A processor in root operation with this CR3, whose trace begins at `tsc`.
    pub fn new(mode: Mode, clock: Clock, rng: Rng, tsc: i64, cr3: u64) -> Pt {
        let mut tnt = [0; 64];
        let mut bytes = Vec::new();
        for bits in 0..64 {
            bytes.clear();
            let done: Result<(), Unencodable> = encode(&Packet::Tnt8 { bits, count: 6 }, &mut bytes);
            debug_assert!(done.is_ok(), "{bits}");
            tnt[usize::from(bits)] = bytes[0];
        }
        let mut pt = Pt {
            mode,
            clock,
            rng,
            out: Vec::new(),
            bytes: 0,
            psb_at: 0,
            nr: false,
            cr3,
            vmcs: None,
            guest: None,
            unit: 0,
            edge: i64::MAX,
            tnt,
            branch: 0,
            cyc_at: tsc,
            last: tsc,
            last_ip: 0,
            asleep: false,
            mute: false,
            full_at: u64::MAX,
            mtc_at: None,
        };
        pt.synchronise(tsc);
        pt.psb(tsc);
        pt
    }

    /// What the processor does, at this TSC.
    pub fn see(&mut self, tsc: i64, hw: &Hw) {
        match *hw {
            Hw::HostCr3 { cr3 } | Hw::GuestCr3 { cr3, .. } => self.cr3(tsc, cr3),
            Hw::Load { vmcs } => self.load(tsc, Some(vmcs)),
            Hw::Enter { cr3, clock, ip, .. } => self.enter(tsc, cr3, clock, ip),
            Hw::Exit { host_cr3, reason, ip, .. } => self.exit(tsc, host_cr3, reason, ip),
            Hw::Sleep => self.sleep(tsc),
            Hw::Wake => self.wake(tsc),
            Hw::Overflow => self.overflow(tsc),
            Hw::OverflowEnds => self.overflow_ends(tsc),
            Hw::TraceOff { .. } => self.off(tsc),
            Hw::TraceOn => self.on(tsc),
            Hw::Switch { .. } | Hw::Wakeup { .. } | Hw::Ended { .. } => {}
        }
    }

    /// Time goes on to `tsc`, or until it has written so many bytes. Whether it has.
    pub(crate) fn until_full(&mut self, tsc: i64, bytes: u64) -> bool {
        if self.mute || self.asleep {
            return false;
        }
        self.full_at = bytes;
        self.branches(tsc);
        if self.bytes < bytes {
            self.until(tsc);
        }
        self.full_at = u64::MAX;
        self.bytes >= bytes
    }

    /// It sleeps.
    pub(crate) fn asleep(&self) -> bool {
        self.asleep
    }

    /// TSC of the last thing that it did.
    pub(crate) fn last(&self) -> i64 {
        self.last
    }

    /// Appends one packet.
    fn put(&mut self, packet: Packet) {
        if self.mute {
            return;
        }
        let before = self.out.len();
        let done: Result<(), Unencodable> = encode(&packet, &mut self.out);
        debug_assert!(done.is_ok(), "{packet:?}");
        self.bytes += (self.out.len() - before) as u64;
        self.mtc_at = None;
        if packet == Packet::Psb {
            self.last_ip = 0;
        }
    }

    /// A CYC that dates the packet behind it.
    fn date(&mut self, tsc: i64) {
        if self.mode.cyc && !self.mute {
            let cycles = (tsc - self.cyc_at).max(0).unsigned_abs();
            self.cyc_at = tsc;
            self.put(Packet::Cyc { cycles });
        }
    }

    /// A packet of something that happens at `tsc`.
    fn event(&mut self, tsc: i64, packet: Packet) {
        self.come_to(tsc);
        self.date(tsc);
        self.put(packet);
    }

    /// Time goes on to an event, with what the processor writes meanwhile. A PSB+ that is due comes before the event.
    fn come_to(&mut self, tsc: i64) {
        self.branches(tsc);
        self.until(tsc);
        self.psb_if_due();
    }

    fn psb_if_due(&mut self) {
        if !self.mute && self.bytes - self.psb_at >= self.mode.psb_bytes {
            self.psb(self.last);
        }
    }

    /// Time goes on: MTCs.
    pub fn until(&mut self, tsc: i64) {
        debug_assert!(tsc >= self.last, "{tsc} after {}", self.last);
        if !self.asleep {
            while self.edge <= tsc {
                self.last = self.edge;
                self.passed(self.unit + 1);
                let at = self.out.len();
                self.date(self.last);
                self.put(Packet::Mtc { ctc: self.unit as u8 });
                self.mtc_at = (!self.mute).then_some(at);
                self.psb_if_due();
                if self.bytes >= self.full_at {
                    return;
                }
            }
        }
        self.last = self.last.max(tsc);
    }

    /// The last edge passed is this one.
    fn passed(&mut self, unit: i64) {
        self.unit = unit;
        self.edge = self.mode.mtc_period.map_or(i64::MAX, |period| self.clock.tsc((unit + 1) << period));
    }

    /// The last edge passed is that before `tsc`.
    fn synchronise(&mut self, tsc: i64) {
        self.passed(self.clock.ctc(tsc) >> self.mode.mtc_period.unwrap_or(0));
    }

    fn tsc_packet(&self, tsc: i64) -> Packet {
        let value = match self.guest.filter(|_| self.nr) {
            Some(guest) => guest.at(tsc),
            None => tsc as u64,
        };
        Packet::Tsc { tsc: value & TSC_BITS }
    }

    fn tma(&self, tsc: i64) -> Packet {
        let ctc = self.clock.ctc(tsc);
        Packet::Tma { ctc: ctc as u16, fc: (tsc - self.clock.tsc(ctc)) as u16 & 0x1ff }
    }

    /// PSB+: what holds now.
    fn psb(&mut self, tsc: i64) {
        if self.mode.cyc {
            self.date_psb(tsc);
        }
        self.psb_at = self.bytes;
        self.put(Packet::Psb);
        let mut state = vec![
            vec![Packet::Pip { cr3: self.cr3 & !0x1f, nr: self.nr }],
            vec![Packet::Vmcs { base: self.vmcs.unwrap_or(NO_VMCS) }],
            vec![self.tsc_packet(tsc)],
            vec![Packet::Cbr { ratio: self.clock.cbr }],
        ];
        if self.mode.mtc_period.is_some() {
            // TMA belongs to the TSC before it.
            let tma = self.tma(tsc);
            state[2].push(tma);
        }
        if self.mode.branches {
            state.push(vec![Packet::ModeExec { cs_l: true, cs_d: false, if_flag: false }]);
        }
        if self.mode.any_order {
            for i in (1..state.len()).rev() {
                state.swap(i, self.rng.below(i as u64 + 1) as usize);
            }
        }
        let corrupt = self.corrupts_tma();
        for packet in state.into_iter().flatten() {
            match packet {
                Packet::Tma { .. } if corrupt => self.corrupt_tma(),
                _ => self.put(packet),
            }
        }
        if self.mode.bdm70 && self.mode.branches && self.rng.chance(0.5) {
            let at = self.ip(DRIVER);
            self.put(Packet::Fup(at));
        }
        self.put(Packet::PsbEnd);
    }

    /// A CYC before a PSB, which erratum SKL168 may drop, and an MTC before it.
    fn date_psb(&mut self, tsc: i64) {
        if !(self.mode.skl168 && self.rng.chance(0.5)) {
            return self.date(tsc);
        }
        self.cyc_at = tsc;
        if let Some(at) = self.mtc_at.take_if(|_| self.rng.chance(0.5)) {
            self.bytes -= (self.out.len() - at) as u64;
            self.out.truncate(at);
        }
    }

    /// Erratum SKZ84: in a guest whose clock is another.
    fn corrupts_tma(&self) -> bool {
        self.mode.skz84 && self.nr && self.guest.is_some_and(|g| g.offset != 0 || g.scale != 1.0)
    }

    /// Erratum SKZ84: a TMA that says nothing true, and a byte that is no packet of PSB+.
    fn corrupt_tma(&mut self) {
        let at = self.out.len();
        let (ctc, fc) = (self.rng.below(1 << 16) as u16, self.rng.below(1 << 9) as u16);
        self.put(Packet::Tma { ctc, fc });
        if self.mute {
            return;
        }
        // A reserved byte of the TMA, and the one behind it.
        self.out[at + 4] = self.rng.below(256) as u8;
        self.out.push((0x04 + 8 * self.rng.below(16)) as u8);
        self.bytes += 1;
    }

    /// Packets are lost from here on.
    fn overflow(&mut self, tsc: i64) {
        self.branches(tsc);
        self.until(tsc);
        self.mute = true;
    }

    /// Up to here, and it says so.
    fn overflow_ends(&mut self, tsc: i64) {
        self.until(tsc);
        (self.mute, self.last_ip) = (false, 0);
        if self.mode.skd007 && self.mode.cyc {
            // The first byte of a CYC that would have had more.
            self.out.push((self.rng.below(32) << 3) as u8 | 7);
            self.bytes += 1;
        }
        self.cyc_at = tsc;
        self.put(Packet::Ovf);
        let fup = self.mode.branches && !self.mode.skd010 || self.mode.apl12;
        if fup {
            let at = self.ip(DRIVER);
            self.put(Packet::Fup(at));
        }
        // When it says the time is up to the processor.
        if self.rng.chance(0.5) {
            self.times(tsc);
        }
        self.psb_if_due();
    }

    /// The trace is turned off.
    fn off(&mut self, tsc: i64) {
        self.branches(tsc);
        self.until(tsc);
        if self.mode.branches {
            self.put(Packet::TipPgd(Ip::SUPPRESSED));
        }
        self.mute = true;
    }

    /// And on. No PSB says so.
    fn on(&mut self, tsc: i64) {
        (self.mute, self.last_ip) = (false, 0);
        self.goes_on(tsc);
        if self.mode.branches {
            let at = self.ip(DRIVER);
            self.put(Packet::TipPge(at));
        }
    }

    /// It is off for a moment.
    pub(crate) fn pause(&mut self, from: i64, to: i64) {
        self.off(from);
        self.on(to);
    }

    /// Packets that tell time.
    fn times(&mut self, tsc: i64) {
        let packet = self.tsc_packet(tsc);
        self.put(packet);
        if self.mode.mtc_period.is_some() {
            if self.corrupts_tma() {
                self.corrupt_tma();
            } else {
                let tma = self.tma(tsc);
                self.put(tma);
            }
        }
        self.put(Packet::Cbr { ratio: self.clock.cbr });
    }

    /// Edges up to here have no MTC.
    fn goes_on(&mut self, tsc: i64) {
        self.synchronise(tsc);
        self.last = tsc;
        self.cyc_at = tsc;
    }

    /// An IP in the shortest form.
    fn ip(&mut self, ip: u64) -> Ip {
        let packet = Ip::compress(ip, self.last_ip);
        self.last_ip = ip;
        packet
    }

    /// MOV CR3, in root operation or in the guest.
    fn cr3(&mut self, tsc: i64, cr3: u64) {
        self.come_to(tsc);
        self.cr3 = cr3;
        self.date(tsc);
        self.put(Packet::Pip { cr3: cr3 & !0x1f, nr: self.nr });
    }

    /// VMPTRLD.
    fn load(&mut self, tsc: i64, vmcs: Option<u64>) {
        self.come_to(tsc);
        self.vmcs = vmcs;
        self.date(tsc);
        self.put(Packet::Vmcs { base: vmcs.unwrap_or(NO_VMCS) });
    }

    /// VM entry.
    fn enter(&mut self, tsc: i64, cr3: u64, guest: GuestClock, ip: u64) {
        if self.mode.event {
            self.event(tsc, Packet::Cfe { kind: 7, vector: 0, ip: true });
            let at = self.ip(0xffff_ffff_c035_139e);
            self.put(Packet::Fup(at));
        }
        self.come_to(tsc);
        self.cr3 = cr3;
        self.guest = Some(guest);
        self.nr = true;
        self.date(tsc);
        self.put(Packet::Pip { cr3: cr3 & !0x1f, nr: true });
        if self.mode.branches {
            let at = self.ip(ip);
            self.put(Packet::Tip(at));
        }
    }

    /// VM exit, for this basic reason, back to this CR3.
    fn exit(&mut self, tsc: i64, host_cr3: u64, reason: u16, ip: u64) {
        self.come_to(tsc);
        if self.mode.event {
            self.put(Packet::Evd { kind: 2, payload: u64::from(reason) });
            self.put(Packet::Cfe { kind: if reason == 1 { 9 } else { 8 }, vector: 0, ip: true });
        }
        if self.mode.event || self.mode.branches {
            let at = self.ip(ip);
            self.put(Packet::Fup(at));
        }
        self.cr3 = host_cr3;
        self.nr = false;
        self.date(tsc);
        self.put(Packet::Pip { cr3: host_cr3 & !0x1f, nr: false });
        if self.mode.branches {
            let at = self.ip(0xffff_ffff_c035_2000);
            self.put(Packet::Tip(at));
        }
    }

    /// Branches of the code that ran since the last event, up to `tsc`: the model's stand-in for them.
    fn branches(&mut self, tsc: i64) {
        if !self.mode.branches || self.asleep {
            return;
        }
        let mut at = self.last;
        while !self.mute && at + TICKS_A_PACKET <= tsc {
            self.until(at);
            // No MTC, PSB+ or end of the room comes amid these.
            let stop = self.full_at.min(self.psb_at + self.mode.psb_bytes);
            while self.bytes < stop && at < self.edge && at + TICKS_A_PACKET <= tsc {
                self.branch();
                at += TICKS_A_PACKET;
            }
            self.psb_if_due();
            if self.bytes >= self.full_at {
                return;
            }
        }
    }

    /// One packet of them.
    fn branch(&mut self) {
        let random = self.rng.next_u64();
        let bytes = BRANCHES[self.branch];
        self.branch = (self.branch + 1) % BRANCHES.len();
        if bytes == 0 {
            self.out.push(self.tnt[random as usize % 64]);
            (self.bytes, self.mtc_at) = (self.bytes + 1, None);
            return;
        }
        let below = 8 * bytes;
        let ip = self.last_ip >> below << below | random & ((1 << below) - 1);
        let at = self.ip(ip);
        self.put(Packet::Tip(at));
    }

    /// The trace ends.
    pub fn end(&mut self, tsc: i64) {
        self.branches(tsc);
        self.until(tsc);
    }

    /// The processor sleeps from `tsc` on.
    fn sleep(&mut self, tsc: i64) {
        if self.mode.power {
            self.event(tsc, Packet::Pwre { state: 0, sub_state: 0, hw: false });
            self.put(Packet::Exstop { ip: false });
        } else {
            self.branches(tsc);
            self.until(tsc);
        }
        self.asleep = true;
    }

    /// It wakes.
    pub fn wake(&mut self, tsc: i64) {
        self.asleep = false;
        self.goes_on(tsc);
        self.times(tsc);
        if self.mode.power {
            self.put(Packet::Pwrx { last: 0, deepest: 0, wake: 1 });
        }
    }
}
