//! Core cycles: from CYC packets to narrower bounds between two known times.
//!
//! A CYC counts core cycles since the CYC before it and dates the packet right behind it. How long a cycle lasts
//! follows the core's frequency (CBR). The core may also stand still: ticks go by and no cycle is counted. So the
//! shortest cycle ever seen at a ratio is the cycle's length, and `c` cycles take at least `c` of them. Between two
//! times that both have a CYC right before them, an event after `c` of `C` cycles lies where both ends allow.
//!
//! An MTC tells of a crystal edge, and is written some time after it: what stands before it in the stream may lie behind
//! the edge. How long after, cycles tell: those since the last known time take longer than the edges are apart.

use crate::span::{FAR, Span};

/// What is learnt of the cycle's length, by CBR.
#[derive(Debug)]
pub(crate) struct Cycles {
    // Ticks a cycle, at the least; 0 where not known. And at the most, of the gap that told it.
    shortest: [f64; 256],
    at_most: [f64; 256],
    ratio: u8,
    /// The shortest of the ratios that held since the last known time.
    slowest: f64,
    /// Cycles since the last known time, at the last CYC.
    pub(crate) count: u64,
    /// The packet before this one was a CYC.
    pub(crate) direct: bool,
    /// The least that a CYC counted: no more were ever held back.
    least: u64,
    /// The last known time had a CYC right before it.
    from_direct: bool,
    /// Not all cycles since the last known time are counted; trace was missing; the ratio changed.
    broken: bool,
    missed: bool,
    changed: bool,
    run: Option<Run>,
    /// The shortest cycle that was not believed last.
    doubt: f64,
    late: Late,
}

/// Known times of which each gap's cycles are all counted, at one ratio: the longer, the less it matters how late its
/// ends were told.
#[derive(Debug, Clone, Copy)]
struct Run {
    from: Span,
    cycles: u64,
    gaps: u32,
}

/// A longer run would be one in which the core stood still some time.
const LONGEST_RUN: u32 = 64;

/// How long after their edges MTCs were written, at the most: of this and of the last stretches of so many edges. A cpu
/// that idles is never late, so a second of it must not be forgotten at once.
#[derive(Debug, Clone, Copy, Default)]
struct Late {
    now: i64,
    before: [i64; 16],
    edges: usize,
}

impl Late {
    const STRETCH: usize = 4096;

    fn saw(&mut self, ticks: i64) {
        self.now = self.now.max(ticks);
        self.edges += 1;
        if self.edges.is_multiple_of(Self::STRETCH) {
            self.before[self.edges / Self::STRETCH % self.before.len()] = std::mem::take(&mut self.now);
        }
    }

    /// What the next may be, at the most: while few were seen, much more than those.
    fn most(&self, period: i64) -> i64 {
        let seen = self.before.iter().fold(self.now, |most, &late| most.max(late));
        if self.edges < Self::STRETCH { (2 * seen).max(period >> 6) } else { (seen + seen / 4).max(2 * SLOP) }
    }
}

/// An event's place among the cycles since the last known time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cycle {
    pub(crate) count: u64,
    /// A CYC right before it dates it; else it is only after that CYC.
    pub(crate) direct: bool,
}

/// A cycle may be this much shorter than the shortest seen.
const GIVE: f64 = 1.0 - 1.0 / 2048.0;
/// A packet other than an MTC comes so many ticks after what it tells of, at the most.
const SLOP: i64 = 8;
/// A cycle that is so much shorter than the shortest seen is believed when it is seen twice.
const LEAP: f64 = 0.95;
/// Fewer cycles say too little of their length.
const ENOUGH: u64 = 256;

impl Cycles {
    pub(crate) fn new() -> Self {
        Cycles {
            shortest: [0.0; 256],
            at_most: [f64::INFINITY; 256],
            ratio: 0,
            slowest: 0.0,
            count: 0,
            direct: false,
            least: u64::MAX,
            from_direct: false,
            broken: false,
            missed: false,
            changed: false,
            run: None,
            doubt: 0.0,
            late: Late::default(),
        }
    }

    pub(crate) fn cyc(&mut self, cycles: u64) {
        self.count = self.count.saturating_add(cycles);
        self.least = self.least.min(cycles);
        self.direct = true;
    }

    /// A branch. A TNT is written when something else is, before it, with the CYC of both. Where a CYC may be held back
    /// until it counts enough (CycThresh), what is behind the TNT may be later.
    pub(crate) fn branch(&mut self) {
        self.direct &= self.least <= SLOP.unsigned_abs();
    }

    pub(crate) fn cbr(&mut self, ratio: u8) {
        if ratio != self.ratio {
            self.ratio = ratio;
            self.changed = true;
            // Cycles on both sides of the change are in this gap: the shorter of the two bounds them, if both are known.
            self.slowest = self.slowest.min(self.shortest[usize::from(ratio)]);
        }
        self.direct = false;
    }

    /// Trace is missing here, and with it cycles.
    pub(crate) fn miss(&mut self) {
        (self.broken, self.missed) = (true, true);
        self.direct = false;
    }

    /// The core may have stood still since the last known time.
    pub(crate) fn halted(&mut self) {
        self.broken = true;
    }

    pub(crate) fn at(&self) -> Cycle {
        Cycle { count: self.count, direct: self.direct }
    }

    /// An MTC comes, of an edge `period` ticks after the one before: so many ticks after the edge it was written at the
    /// most. `from`: the last known time, with what is known of how late that was.
    pub(crate) fn late(&mut self, from: Option<Span>, edge: Span, period: i64) -> i64 {
        let ticks = self.shortest[usize::from(self.ratio)];
        let counted = self.direct && self.from_direct && !self.broken && !self.changed;
        let this = match from.filter(|_| counted && ticks > 0.0) {
            Some(from) => from.lo + ((self.count as f64 * ticks) as i64).min(FAR) - edge.lo,
            None => 0,
        };
        let usual = self.usual_late(period);
        if self.from_direct && self.count == 0 {
            // No cycle since the last known time: it was written with that.
            return from.map_or(usual, |from| usual.max(from.hi - edge.hi)).min(Self::most_late(period));
        }
        if !counted || this > Self::most_late(period) {
            return usual;
        }
        // What is out of all proportion is not learnt: an instruction of many periods, or a core that became faster before
        // it said so. Here it holds all the same.
        if this < period >> 4 {
            self.late.saw(this);
            return this.max(usual);
        }
        this + usual
    }

    /// So many ticks after its edge an MTC is written at the most, as far as is known. Where no cycles tell, nobody does:
    /// a small part of the period is allowed.
    pub(crate) fn usual_late(&self, period: i64) -> i64 {
        if self.count > 0 { self.late.most(period) } else { period >> 9 }
    }

    /// What is later is not believed.
    pub(crate) fn most_late(period: i64) -> i64 {
        period << 6
    }

    /// A known time: gives how to bound the events since the last one, and starts anew.
    pub(crate) fn close(&mut self, from: Option<Span>, to: Span) -> Gap {
        let total = self.direct.then_some(self.count);
        if let (Some(from), Some(total), true) = (from, total, self.from_direct)
            && !self.broken
            && !self.changed
        {
            let run = self.run.get_or_insert(Run { from, cycles: 0, gaps: 0 });
            (run.cycles, run.gaps) = (run.cycles.saturating_add(total), run.gaps + 1);
            let whole = *run;
            if whole.gaps == LONGEST_RUN {
                self.run = None;
            }
            // Of the gap or run whose cycles are surely shorter than others' may be, and no longer than they can be
            // there: what is uncertain of a short one grows in a long one. In a run a clock that wavers is no longer seen.
            let at_most = &mut self.at_most[usize::from(self.ratio)];
            for (from, cycles) in [(from, total), (whole.from, whole.cycles)] {
                let ticks = (to.hi - from.lo) as f64 / cycles as f64;
                if cycles < ENOUGH || ticks >= *at_most {
                    continue;
                }
                if ticks < *at_most * LEAP && at_most.is_finite() {
                    // An MTC that is very late looks like this too, once.
                    let again = std::mem::replace(&mut self.doubt, ticks);
                    self.run = None;
                    if !(ticks * LEAP..ticks / LEAP).contains(&again) {
                        break;
                    }
                }
                *at_most = ticks;
                self.shortest[usize::from(self.ratio)] = (to.lo - from.hi).max(1) as f64 / cycles as f64;
            }
        } else {
            self.run = None;
        }
        let known = self.shortest[usize::from(self.ratio)];
        let whole = self.slowest > 0.0 && !self.missed;
        let ticks = if whole { self.slowest.min(known) } else { 0.0 };
        let gap = Gap { ticks: ticks * GIVE, total, from_direct: self.from_direct };
        self.slowest = known;
        self.count = 0;
        self.from_direct = self.direct;
        (self.direct, self.broken, self.missed, self.changed) = (false, false, false, false);
        gap
    }
}

/// How cycles bound the events of one gap.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gap {
    ticks: f64,
    total: Option<u64>,
    from_direct: bool,
}

impl Gap {
    /// Whether it bounds anything.
    pub(crate) fn tells(&self) -> bool {
        self.ticks > 0.0
    }

    /// Ticks that so many cycles take at the least.
    fn at_least(&self, cycles: u64) -> i64 {
        ((cycles as f64 * self.ticks) as i64).min(FAR)
    }

    /// `within` made narrower. `next` is the count at the first CYC after the event.
    pub(crate) fn narrow(&self, within: Span, cycle: Cycle, next: Option<u64>) -> Span {
        let mut span = within;
        if self.from_direct {
            span.lo += self.at_least(cycle.count) - SLOP;
        }
        let upto = if cycle.direct { Some(cycle.count) } else { next };
        if let (Some(total), Some(upto)) = (self.total, upto) {
            span.hi -= self.at_least(total.saturating_sub(upto)) - SLOP;
        }
        span.and(within).filter(|s| s.lo <= s.hi).unwrap_or(within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_with_its_cyc_is_dated() {
        let mut c = Cycles::new();
        c.cbr(21);
        let mut from = None;
        for i in 0..20i64 {
            let at = Span::exact(i * 5376);
            c.cyc(1000);
            let event = c.at();
            c.cyc(4376);
            let gap = c.close(from, at);
            if i > 2 {
                let truth = (i - 1) * 5376 + 1000;
                let span = gap.narrow(Span { lo: (i - 1) * 5376, hi: at.hi }, event, None);
                assert!(span.lo <= truth && truth <= span.hi && span.width() <= 24, "{span:?} for {truth}");
            }
            from = Some(at);
        }
    }

    #[test]
    fn a_core_that_stood_still_widens_the_bounds_and_no_more() {
        let mut c = Cycles::new();
        c.cbr(21);
        let mut t = 0;
        let mut from = None;
        for i in 0..20 {
            let halt = if i == 15 { 3000 } else { 0 };
            let before = t;
            t += 5376 + halt;
            c.cyc(1000);
            let event = c.at();
            c.cyc(4376);
            let gap = c.close(from, Span::exact(t));
            if i > 2 {
                let span = gap.narrow(Span { lo: before, hi: t }, event, None);
                assert!(span.lo <= before + 1000 && before + 1000 + halt <= span.hi);
                assert!(span.width() <= halt + 24);
            }
            from = Some(Span::exact(t));
        }
    }

    #[test]
    fn how_late_edges_are_told_is_learnt_and_bounds_hold() {
        const PERIOD: i64 = 43_008;
        let mut c = Cycles::new();
        c.cbr(21);
        let (mut from, mut written) = (None, 0);
        let mut state = 7u64;
        let mut widest = 0;
        for i in 1..2000i64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Up to 400 ticks behind its edge; an event stands shortly before it, most often behind the edge.
            let late = (state >> 40) as i64 % 400;
            let edge = Span::exact(i * PERIOD);
            let end = edge.lo + late;
            let truth = end - 20;
            c.cyc((truth - written) as u64);
            let event = c.at();
            c.cyc((end - truth) as u64);
            let most = c.late(from, edge, PERIOD);
            let to = Span { hi: edge.hi + most, ..edge };
            let gap = c.close(from, to);
            if let Some(from) = from {
                let within = Span { lo: from.lo, hi: to.hi };
                let span = if gap.tells() { gap.narrow(within, event, None) } else { within };
                assert!(span.lo <= truth && truth <= span.hi, "{i}: {span:?} for {truth}");
                widest = if i > 500 { span.width().max(widest) } else { 0 };
            }
            (from, written) = (Some(to), end);
        }
        assert!(widest < 1200, "{widest}");
    }
}
