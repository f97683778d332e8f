//! The crystal clock: from TMA and MTC packets to host TSC.
//!
//! TSC = CTC × n / d + k, with n / d known beside the trace and k a constant of the machine. A TMA gives CTC[15:0] and
//! how many ticks ago that crystal edge was; an MTC gives CTC[N+7:N] at its own edge. Neither has the whole CTC:
//!
//! | packet | bits |
//! | --- | --- |
//! | TMA | 15:0 |
//! | MTC | N+7:N, N = `mtc_period` |
//!
//! With N ≥ 9 an MTC carries bits that no TMA has. They are learnt from the first MTC after a TMA: a cpu that is awake
//! makes one within a period. The bits above both are free, and chosen such that k is small and not negative.

use crate::rule::{Rule, holds};
use crate::span::Span;

/// What is fixed for a machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    n: i64,
    d: i64,
    /// N: a unit is 2^N crystal ticks.
    shift: u32,
}

impl Rate {
    pub(crate) fn new((n, d): (u32, u32), mtc_period: u8) -> Self {
        Rate { n: i64::from(n), d: i64::from(d), shift: u32::from(mtc_period) }
    }

    /// TSC ticks from CTC 0 to that edge, rounded down and up.
    fn ticks(self, ctc: i64) -> Span {
        // Wide numbers are divided many times slower: only a counter of years needs them.
        if let Some(product) = ctc.checked_mul(self.n) {
            let lo = product.div_euclid(self.d);
            return Span { lo, hi: lo + i64::from(lo * self.d != product) };
        }
        let (n, d) = (i128::from(self.n), i128::from(self.d));
        let product = i128::from(ctc) * n;
        let lo = product.div_euclid(d);
        Span { lo: lo as i64, hi: (lo + i128::from(product.rem_euclid(d) != 0)) as i64 }
    }

    /// CTC at `ticks` after CTC 0.
    fn ctc(self, ticks: i64) -> i64 {
        match ticks.checked_mul(self.d) {
            Some(product) => product.div_euclid(self.n),
            None => (i128::from(ticks) * i128::from(self.d)).div_euclid(i128::from(self.n)) as i64,
        }
    }

    /// Ticks from one MTC edge to the next, rounded up.
    pub(crate) fn period(self) -> i64 {
        self.ticks(1 << self.shift).hi
    }

    /// CTC values repeat to us after this many.
    fn cycle(self) -> i64 {
        1 << (self.shift + 8).max(16)
    }
}

/// The constant of the machine: k, within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    k: Span,
}

/// A conversion or a packet may be off by this many ticks.
const SLOP: i64 = 1;

impl Origin {
    /// From a host TSC with its TMA, and the payload of the first MTC after it (where one came within a period).
    /// `None` where the TMA cannot be true.
    pub(crate) fn learn(rate: Rate, tsc: i64, (ctc, fc): (u16, u16), next_mtc: Option<u8>) -> Option<Origin> {
        let edge = edge_of(rate, tsc, fc)?;
        let mut ctc = i64::from(ctc);
        if let (Some(payload), true) = (next_mtc, rate.shift + 8 > 16 && holds(Rule::TmaLacksBits)) {
            // Bits 16 and up of the next unit, as the MTC says them.
            let unit = (ctc >> rate.shift) + 1;
            let known = 1i64 << (16u32.saturating_sub(rate.shift));
            let next = (0..256 / known).map(|j| unit + j * known).find(|u| (u & 0xff) as u8 == payload)?;
            ctc += (next - unit) << rate.shift;
        }
        let cycle = rate.ticks(rate.cycle());
        let at = rate.ticks(ctc);
        let k = (edge - at.lo).rem_euclid(cycle.lo.max(1));
        let slack = SLOP + at.width();
        Some(Origin { k: Span { lo: k - slack, hi: k + slack } })
    }

    fn edge(self, rate: Rate, ctc: i64) -> Span {
        let t = rate.ticks(ctc);
        Span { lo: self.k.lo + t.lo, hi: self.k.hi + t.hi }
    }
}

/// The TSC at the crystal edge that a TMA names. A fast count of more than a crystal period is no count.
fn edge_of(rate: Rate, tsc: i64, fc: u16) -> Option<i64> {
    let fc = i64::from(fc);
    (fc <= rate.ticks(1).hi + SLOP).then_some(tsc - fc)
}

/// How an MTC stands to the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edge {
    /// The next edge: at this time.
    Next(Span),
    /// Edges are missing before this one: the cpu slept, or packets are lost.
    Skipped(Span),
    /// Nothing new, or not to be dated.
    None,
}

/// The crystal clock of one cpu.
#[derive(Debug, Clone)]
pub(crate) struct Ctc {
    rate: Rate,
    origin: Origin,
    /// CTC >> N at the last edge passed; `None` where it is not known.
    unit: Option<i64>,
    /// The TMA that contradicted the origin last, as the origin it would mean.
    doubt: Option<Origin>,
    /// A TSC packet of unknown time stands since the last edge: it may stand for one.
    veiled: bool,
}

impl Ctc {
    pub(crate) fn new(rate: Rate, origin: Origin, unit: Option<i64>) -> Self {
        Ctc { rate, origin, unit, doubt: None, veiled: false }
    }

    pub(crate) fn period(&self) -> i64 {
        self.rate.period()
    }

    /// The unit that holds at a host time.
    pub(crate) fn unit_at(rate: Rate, origin: Origin, tsc: i64) -> i64 {
        rate.ctc(tsc - origin.k.mid()) >> rate.shift
    }

    /// Whether the last edge passed is known.
    pub(crate) fn is_known(&self) -> bool {
        self.unit.is_some()
    }

    /// The unit that holds at a host time.
    pub(crate) fn unit_of(&self, tsc: i64) -> i64 {
        Self::unit_at(self.rate, self.origin, tsc)
    }

    /// When a unit begins.
    pub(crate) fn edge_of(&self, unit: i64) -> Span {
        self.origin.edge(self.rate, unit << self.rate.shift)
    }

    /// This edge passes now: when.
    pub(crate) fn pass(&mut self, unit: i64) -> Span {
        self.unit = Some(unit);
        self.veiled = false;
        self.edge_of(unit)
    }

    pub(crate) fn lose(&mut self) {
        self.unit = None;
    }

    /// The trace goes on at this host time: edges before it are passed.
    pub(crate) fn resume(&mut self, tsc: i64) {
        self.unit = Some(Self::unit_at(self.rate, self.origin, tsc));
        self.veiled = true;
    }

    /// A TSC packet whose time is not known, of a cpu that is awake: an edge right before it may have no MTC.
    pub(crate) fn veil(&mut self) {
        self.veiled = true;
    }

    /// The time by which the next MTC is due, if the cpu stays awake.
    pub(crate) fn due(&self) -> Option<i64> {
        self.unit.map(|u| self.origin.edge(self.rate, (u + 1 + i64::from(self.veiled)) << self.rate.shift).hi)
    }

    /// A host TSC: says whether edges were passed over since the last one known (the cpu slept).
    pub(crate) fn host_tsc(&mut self, tsc: i64, tma: Option<(u16, u16)>) -> bool {
        if let Some((ctc, fc)) = tma {
            self.check(tsc, ctc, fc);
        }
        let unit = Self::unit_at(self.rate, self.origin, tsc);
        let veiled = i64::from(std::mem::take(&mut self.veiled));
        let skipped = self.unit.is_some_and(|u| unit > u + 1 + veiled);
        self.unit = Some(unit);
        skipped
    }

    /// Whether a host TSC is one at which the crystal stood as its TMA says.
    pub(crate) fn agrees(&self, tsc: i64, (ctc, fc): (u16, u16)) -> bool {
        let Some(edge) = edge_of(self.rate, tsc, fc) else { return false };
        let near = self.rate.ctc(edge - self.origin.k.mid() + self.rate.ticks(1).hi / 2);
        let off = (i64::from(ctc) - near) as i16;
        let at = self.origin.edge(self.rate, near + i64::from(off));
        at.and(Span { lo: edge - SLOP, hi: edge + SLOP }).is_some()
    }

    /// Holds a TMA against the origin; two that agree against it move it (the host's TSC was written).
    pub(crate) fn check(&mut self, tsc: i64, ctc: u16, fc: u16) {
        if edge_of(self.rate, tsc, fc).is_none() {
            return;
        }
        if self.agrees(tsc, (ctc, fc)) {
            self.doubt = None;
            return;
        }
        let Some(new) = Origin::learn(self.rate, tsc, (ctc, fc), None) else { return };
        match self.doubt {
            Some(old) if old.k.and(new.k).is_some() => {
                self.origin = new;
                self.doubt = None;
            }
            _ => self.doubt = Some(new),
        }
    }

    /// The host time of a TSC packet that the guest made, by the TMA behind it: the crystal is the host's. `about`
    /// bounds it where edges were passed over.
    pub(crate) fn guest_tma(&mut self, (ctc, fc): (u16, u16), about: Option<Span>) -> Option<(Span, bool)> {
        let fc = i64::from(fc);
        if fc > self.rate.ticks(1).hi + SLOP {
            return None;
        }
        let whole = 1i64 << 16;
        let (from, limit) = match about {
            Some(span) => {
                let limit = self.rate.ctc(span.hi - self.origin.k.lo) + 1;
                (self.rate.ctc(span.lo - self.origin.k.hi) - 1, limit)
            }
            // Awake: this edge's unit is the last one passed, or the next.
            None => {
                let unit = self.unit?;
                (unit << self.rate.shift, ((unit + 2) << self.rate.shift) - 1)
            }
        };
        let wide = from + (i64::from(ctc) - from).rem_euclid(whole);
        // The one that fits, where only one does.
        if wide > limit || wide + whole <= limit {
            return None;
        }
        let edge = self.origin.edge(self.rate, wide);
        let unit = wide >> self.rate.shift;
        let skipped = self.unit.is_some_and(|u| unit > u + 1);
        self.unit = Some(unit);
        self.veiled = false;
        Some((Span { lo: edge.lo + fc - SLOP, hi: edge.hi + fc + SLOP }, skipped))
    }

    /// An MTC.
    pub(crate) fn mtc(&mut self, payload: u8) -> Edge {
        let Some(unit) = self.unit else { return Edge::None };
        let step = payload.wrapping_sub(unit as u8);
        if step == 0 {
            return Edge::None;
        }
        // A step back is a TSC's edge that got its MTC after all.
        if step == u8::MAX {
            return Edge::None;
        }
        let unit = unit + i64::from(step);
        self.unit = Some(unit);
        let edge = self.origin.edge(self.rate, unit << self.rate.shift);
        let veiled = std::mem::take(&mut self.veiled);
        if step == 1 || (veiled && step == 2) { Edge::Next(edge) } else { Edge::Skipped(edge) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine of 2.1 GHz with a crystal of 25 MHz, and what its packets say at a host time.
    const K: i64 = 123_456;

    fn ctc_at(tsc: i64) -> i64 {
        (tsc - K).div_euclid(84)
    }

    fn tma(tsc: i64) -> (u16, u16) {
        (ctc_at(tsc) as u16, (tsc - K).rem_euclid(84) as u16)
    }

    fn clock(shift: u8, tsc: i64) -> Ctc {
        let rate = Rate::new((168, 2), shift);
        let next = ((ctc_at(tsc) >> shift) + 1) as u8;
        let origin = Origin::learn(rate, tsc, tma(tsc), Some(next)).unwrap();
        Ctc::new(rate, origin, Some(Ctc::unit_at(rate, origin, tsc)))
    }

    #[test]
    fn each_mtc_lies_on_its_edge_for_every_period() {
        for shift in 0..=15u8 {
            for tsc in [9_000_000_000i64, 32_184_390_553, 77_777_777_777_777] {
                let mut clock = clock(shift, tsc);
                let first = ctc_at(tsc) >> shift;
                for unit in first + 1..first + 600 {
                    let Edge::Next(at) = clock.mtc(unit as u8) else { panic!("period {shift}: no edge at {unit}") };
                    let truth = (unit << shift) * 84 + K;
                    assert!(at.lo <= truth && truth <= at.hi && at.width() <= 4, "period {shift}: {at:?} for {truth}");
                }
            }
        }
    }

    #[test]
    fn a_guest_tma_gives_host_time() {
        let start = 40_000_000_000;
        let mut clock = clock(9, start);
        for i in 0..200 {
            let tsc = start + 1000 + i * 43_008;
            clock.mtc((ctc_at(tsc) >> 9) as u8);
            let (at, skipped) = clock.guest_tma(tma(tsc + 77), None).unwrap();
            assert!(at.lo <= tsc + 77 && tsc + 77 <= at.hi && at.width() <= 8 && !skipped);
        }
    }

    #[test]
    fn a_sleep_is_seen_and_time_goes_on() {
        let start = 40_000_000_000;
        let mut clock = clock(9, start);
        assert!(!clock.host_tsc(start + 20_000, Some(tma(start + 20_000))));
        let wake = start + 500_000_000;
        assert!(clock.host_tsc(wake, Some(tma(wake))));
        let unit = (ctc_at(wake) >> 9) + 1;
        assert!(matches!(clock.mtc(unit as u8), Edge::Next(at) if at.lo <= (unit << 9) * 84 + K));
    }

    #[test]
    fn a_corrupt_tma_does_not_move_the_clock_and_a_new_clock_does() {
        let start = 40_000_000_000;
        let mut clock = clock(9, start);
        let before = clock.origin;
        clock.host_tsc(start + 1000, Some((tma(start + 1000).0 ^ 0x40, 3)));
        clock.host_tsc(start + 2000, Some(tma(start + 2000)));
        assert_eq!(clock.origin, before);
        let jump = 777_777;
        for t in [start + 3000, start + 4000] {
            let (ctc, fc) = tma(t);
            clock.host_tsc(t + jump, Some((ctc, fc)));
        }
        assert_ne!(clock.origin, before);
    }
}
