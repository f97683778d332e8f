//! The guests' clocks: guest TSC − host TSC, by bracketing.
//!
//! Packets stand in the order of time. Two TSC packets that follow each other on one cpu, made under the clocks v and w,
//! say `guest_v − offset_v ≤ guest_w − offset_w`; a clock of the host has offset 0. All samples together are a system
//! of difference constraints, and its closure (shortest paths) gives for every clock the narrowest bounds that the
//! samples allow, also where two guests follow each other with no host time in between.
//!
//! A clock is that of one VMCS, and only while it does not change. A sample that contradicts the bounds starts a new
//! clock of that VMCS. Where some have done so, and one line goes through all samples, the VMCS scales its TSC ([`line`]).
//!
//! [`line`]: crate::line

use rustc_hash::FxHashMap;

use crate::line::Lines;
use crate::rule::{Rule, holds};
use crate::span::{FAR, Span};

/// More clocks than this are bounded one by one against the host; the closure would cost their square.
const MOST_CLOSED: usize = 192;

/// Clocks of one VMCS. One that changes its clock more often has none worth keeping: its last is replaced.
const MOST_CLOCKS: usize = 64;

/// A VMCS with more clocks than this may have one that is scaled and was not found to be: they tell no host time.
const MOST_TRUSTED: usize = 2;

/// So often must a constant offset be contradicted, with all samples on a line, before a clock is called scaled.
const STEPS: usize = 3;

/// A scale is told where it is known to this part of itself.
const SCALE_KNOWN: f64 = 1e-4;

/// A clock of one VMCS while it does not change.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    /// Guest TSC of its first and last sample.
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// Of `guest − host`.
    alone: Span,
    /// It is scaled: on one of these lines.
    lines: Option<Lines>,
    /// Its row in the closure.
    row: Option<usize>,
}

impl Clock {
    fn new(guest: i64, alone: Span, row: Option<usize>) -> Clock {
        Clock { first: guest, last: guest, alone, lines: None, row }
    }

    /// Guest ticks a host tick, where it is not 1, as far as that is known; none too where it is not.
    pub(crate) fn scale(&self) -> Option<f64> {
        let (lo, hi) = self.lines.as_ref()?.scale();
        (hi - lo <= lo * SCALE_KNOWN).then_some((lo + hi) / 2.0)
    }

    /// Its ticks are not the host's.
    pub(crate) fn is_scaled(&self) -> bool {
        self.lines.is_some()
    }
}

#[derive(Debug, Default, Clone)]
struct Vmcs {
    clocks: Vec<usize>,
    /// The lines through all samples of its last clocks: so many of them.
    lines: Option<Lines>,
    steps: usize,
}

/// A TSC packet, as the chain of one cpu remembers it: which clock, and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    clock: Option<usize>,
    value: i64,
}

impl Seen {
    /// Host time.
    pub(crate) const fn host(tsc: i64) -> Seen {
        Seen { clock: None, value: tsc }
    }
}

/// The clocks of all guests of a node.
#[derive(Debug, Default, Clone)]
pub(crate) struct Offsets {
    clocks: Vec<Clock>,
    vmcs: FxHashMap<u64, Vmcs>,
    // closure[i * rows + j] bounds offset_i − offset_j from above; row 0 is the host.
    closure: Vec<i64>,
    rows: usize,
}

impl Offsets {
    pub(crate) fn new() -> Self {
        Offsets { closure: vec![0], rows: 1, ..Offsets::default() }
    }

    /// All clocks, each VMCS's in the order they were met.
    pub(crate) fn clocks(&self) -> &[Clock] {
        &self.clocks
    }

    /// The bounds of a clock's offset.
    pub(crate) fn bounds(&self, clock: usize) -> Span {
        let Some(c) = self.clocks.get(clock) else { return Span::ANY };
        if let Some(lines) = &c.lines {
            return c.scale().map_or(Span::ANY, |scale| lines.offset(scale));
        }
        match c.row {
            Some(row) => {
                Span { lo: -self.closure[row], hi: self.closure[row * self.rows] }.and(c.alone).unwrap_or(c.alone)
            }
            None => c.alone,
        }
    }

    /// Where a guest TSC lies in host time. Of several clocks of the VMCS, the first that can be after `after`.
    pub(crate) fn host_time(&self, vmcs: u64, guest: i64, after: i64) -> Option<Span> {
        let Vmcs { clocks, lines, steps } = self.vmcs.get(&vmcs)?;
        // It may be scaled, and what were taken for clocks be steps.
        let lines = lines.as_ref().filter(|_| *steps > 1);
        let unscaled = clocks.iter().filter(|c| !self.clocks[**c].is_scaled()).count();
        if unscaled > MOST_TRUSTED {
            return None;
        }
        let at = |&clock: &usize| {
            if let Some(lines) = &self.clocks[clock].lines {
                return Some(lines.host(guest));
            }
            let offset = self.bounds(clock);
            if offset.hi >= FAR || offset.lo <= -FAR {
                return None;
            }
            Some(Span { lo: guest - offset.hi, hi: guest - offset.lo })
        };
        let near = |span: &Span| span.hi >= after;
        let told = clocks
            .iter()
            .filter(|&&c| (self.clocks[c].first..=self.clocks[c].last).contains(&guest))
            .filter_map(at)
            .find(near)
            .or_else(|| clocks.iter().filter_map(at).find(near))?;
        let scaled = lines.map_or(told, |lines| lines.host(guest));
        Some(Span { lo: told.lo.min(scaled.lo), hi: told.hi.max(scaled.hi) })
    }

    /// Whether a VMCS may scale its TSC: then differences of it are none of the host's.
    pub(crate) fn may_scale(&self, vmcs: u64) -> bool {
        self.vmcs.get(&vmcs).is_some_and(|v| v.steps > 1 || v.clocks.iter().any(|c| self.clocks[*c].is_scaled()))
    }

    /// A guest TSC between two host times. Gives what the chain of its cpu should remember of it.
    pub(crate) fn sample(&mut self, vmcs: u64, guest: i64, host: Span, before: Option<Seen>) -> Seen {
        let clock = self.clock_for(vmcs, guest, host);
        let seen = Seen { clock: Some(clock), value: guest };
        if let Some(before) = before {
            self.follow(before, seen);
        }
        seen
    }

    /// `before` and then `after` on one cpu.
    pub(crate) fn follow(&mut self, before: Seen, after: Seen) {
        let row = |seen: Seen| match seen.clock {
            None => Some(0),
            Some(c) => self.clocks[c].row,
        };
        if let (Some(b), Some(a)) = (row(before), row(after))
            && a != b
        {
            self.tighten(a, b, after.value - before.value);
        }
    }

    /// offset_i − offset_j ≤ bound, and all that follows from it. What contradicts is left out: the sample's own
    /// bracket has started a new clock where it could be told.
    fn tighten(&mut self, i: usize, j: usize, bound: i64) {
        let n = self.rows;
        if !holds(Rule::Bracketing) {
            return;
        }
        if bound >= self.closure[i * n + j] || bound + self.closure[j * n + i] < 0 {
            return;
        }
        for p in 0..n {
            let to_i = self.closure[p * n + i];
            if to_i >= FAR {
                continue;
            }
            for q in 0..n {
                let from_j = self.closure[j * n + q];
                if from_j < FAR {
                    let path = to_i + bound + from_j;
                    if path < self.closure[p * n + q] {
                        self.closure[p * n + q] = path;
                    }
                }
            }
        }
    }

    fn clock_for(&mut self, vmcs: u64, guest: i64, host: Span) -> usize {
        let bounded = host.hi < FAR && host.lo > -FAR;
        let entry = self.vmcs.entry(vmcs).or_default();
        let current = entry.clocks.last().copied();
        if let Some(current) = current {
            let clock = &mut self.clocks[current];
            let agrees = match &mut clock.lines {
                Some(lines) => !bounded || lines.cut(guest, host),
                None => {
                    let closed = match clock.row {
                        Some(row) => Span { lo: -self.closure[row], hi: self.closure[row * self.rows] },
                        None => Span::ANY,
                    };
                    let both = clock.alone.and(offset_of(guest, host)).filter(|both| closed.and(*both).is_some());
                    if let Some(both) = both.filter(|_| holds(Rule::Bracketing)) {
                        clock.alone = both;
                    }
                    both.is_some()
                }
            };
            if agrees || !holds(Rule::OffsetChanges) {
                clock.last = clock.last.max(guest);
                clock.first = clock.first.min(guest);
                if bounded && !clock.is_scaled() {
                    entry.line_up(guest, host, false);
                }
                return current;
            }
        }
        let steps = if bounded { entry.line_up(guest, host, true) } else { 0 };
        if !bounded {
            (entry.lines, entry.steps) = (None, 0);
        }
        if steps > STEPS && holds(Rule::OffsetScales) {
            // The clocks were steps of one that is scaled.
            let first = entry.clocks[entry.clocks.len() + 1 - steps];
            entry.clocks.truncate(entry.clocks.len() + 2 - steps);
            let clock = &mut self.clocks[first];
            (clock.last, clock.row, clock.lines) = (guest, None, entry.lines.take());
            entry.steps = 0;
            return first;
        }
        let alone = offset_of(guest, host);
        if let Some(&last) = entry.clocks.last().filter(|_| entry.clocks.len() >= MOST_CLOCKS) {
            self.clocks[last] = Clock::new(guest, alone, None);
            (entry.lines, entry.steps) = (None, 0);
            return last;
        }
        let clock = self.clocks.len();
        entry.clocks.push(clock);
        let row = (self.rows <= MOST_CLOSED).then(|| self.new_row());
        self.clocks.push(Clock::new(guest, alone, row));
        if let Some(row) = row {
            self.tighten(row, 0, alone.hi);
            self.tighten(0, row, -alone.lo);
        }
        clock
    }

    fn new_row(&mut self) -> usize {
        let (n, m) = (self.rows, self.rows + 1);
        let mut grown = vec![FAR; m * m];
        for i in 0..n {
            grown[i * m..i * m + n].copy_from_slice(&self.closure[i * n..i * n + n]);
        }
        grown[n * m + n] = 0;
        self.closure = grown;
        self.rows = m;
        n
    }

    /// The clocks that a VMCS has had, in order, without those that a scaled one swallowed.
    pub(crate) fn of_vmcs(&self, vmcs: u64) -> impl Iterator<Item = usize> + '_ {
        self.vmcs.get(&vmcs).into_iter().flat_map(|v| v.clocks.iter().copied())
    }
}

impl Vmcs {
    /// One more sample for the line through all: of the clock that there is, or one that makes a step to another. How
    /// many clocks are on the line.
    fn line_up(&mut self, guest: i64, host: Span, steps: bool) -> usize {
        if self.lines.as_mut().is_some_and(|lines| lines.cut(guest, host)) {
            self.steps += usize::from(steps);
        } else {
            (self.lines, self.steps) = (Some(Lines::new(guest, host)), 1);
        }
        self.steps
    }
}

/// Guest − host.
fn offset_of(guest: i64, host: Span) -> Span {
    let side = |t: i64| if t.abs() >= FAR { -t.signum() * FAR } else { guest - t };
    Span { lo: side(host.hi), hi: side(host.lo) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_narrow_the_bounds() {
        let mut o = Offsets::new();
        let offset = -1_000_000;
        for i in 0..20i64 {
            let t = 50_000 * i;
            let host = Span { lo: t - 100 * (i % 7) - 5, hi: t + 100 * (i % 5) + 3 };
            o.sample(0x1000, t + offset, host, None);
        }
        assert_eq!(o.bounds(0), Span { lo: offset - 3, hi: offset + 5 });
        assert_eq!(o.host_time(0x1000, 123 + offset, 0), Some(Span { lo: 118, hi: 126 }));
    }

    #[test]
    fn guests_bound_each_other_without_host_time_between() {
        // Host 0, then guest A at 1000, then B at 1010, …, host at 2000: A and B one after the other many times, and
        // A alone is known well.
        let mut o = Offsets::new();
        let (a, b) = (500, -700);
        o.sample(0xa000, 1000 + a, Span { lo: 999, hi: 1001 }, None);
        let seen = o.sample(0xa000, 5000 + a, Span { lo: 0, hi: 9000 }, Some(Seen::host(0)));
        let seen = o.sample(0xb000, 5010 + b, Span { lo: 0, hi: 9000 }, Some(seen));
        let seen = o.sample(0xa000, 5030 + a, Span { lo: 0, hi: 9000 }, Some(seen));
        o.follow(seen, Seen::host(9000));
        assert_eq!(o.bounds(0), Span { lo: a - 1, hi: a + 1 });
        assert_eq!(o.bounds(1), Span { lo: b - 21, hi: b + 11 });
    }

    #[test]
    fn a_changed_offset_is_a_new_clock() {
        let mut o = Offsets::new();
        for i in 0..10i64 {
            let offset = if i < 5 { 100 } else { 90_000 };
            o.sample(0x1000, i * 1000 + offset, Span { lo: i * 1000 - 2, hi: i * 1000 + 2 }, None);
        }
        let all: Vec<Span> = o.of_vmcs(0x1000).map(|c| o.bounds(c)).collect();
        assert_eq!(all, [Span { lo: 98, hi: 102 }, Span { lo: 89_998, hi: 90_002 }]);
    }

    #[test]
    fn a_scaled_clock_is_one_clock() {
        let mut o = Offsets::new();
        let guest = |t: i64| (t as f64 * 1.25) as i64 - 5000;
        for i in 0..50i64 {
            let t = 1_000_000 + i * 10_000;
            o.sample(0x1000, guest(t), Span { lo: t - 3, hi: t + 3 }, None);
        }
        let all: Vec<usize> = o.of_vmcs(0x1000).collect();
        assert_eq!(all.len(), 1);
        let scale = o.clocks()[all[0]].scale().unwrap();
        assert!((scale - 1.25).abs() < 1e-4, "{scale}");
        let t = 1_234_567;
        let at = o.host_time(0x1000, guest(t), 0).unwrap();
        assert!(at.lo <= t && t <= at.hi, "{at:?}");
    }
}
