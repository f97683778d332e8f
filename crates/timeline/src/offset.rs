//! The guests' clocks: guest TSC − host TSC, by bracketing.
//!
//! Packets stand in the order of time. Two TSC packets that follow each other on one cpu, made under the clocks v and w,
//! say `guest_v − offset_v ≤ guest_w − offset_w`; a clock of the host has offset 0. All samples together are a system
//! of difference constraints, and its closure (shortest paths) gives for every clock the narrowest bounds that the
//! samples allow, also where two guests follow each other with no host time in between.
//!
//! A clock is that of one VMCS, and only while it does not change. A sample that contradicts the bounds starts a new
//! clock of that VMCS. Where several in a row do, and lie on a line, the VMCS scales its TSC.

use rustc_hash::FxHashMap;

use crate::rule::{Rule, holds};
use crate::span::{FAR, Span};

/// More clocks than this are bounded one by one against the host; the closure would cost their square.
const MOST_CLOSED: usize = 192;

/// Clocks of one VMCS. One that changes its clock more often has none worth keeping: its last is replaced.
const MOST_CLOCKS: usize = 64;

/// A VMCS with more clocks than this may have one that is scaled and was not found to be: they tell no host time.
const MOST_TRUSTED: usize = 2;

/// As many samples as are kept of a VMCS to find a scaled clock with.
const KEPT: usize = 8;

/// Samples that must contradict a constant offset, and lie on a line, before a clock is called scaled.
const LINE: usize = 5;

/// A clock of one VMCS while it does not change.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    /// Guest TSC of its first and last sample.
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// Guest ticks a host tick, where it is not 1.
    pub(crate) scale: Option<f64>,
    /// Of `guest − host × scale`.
    alone: Span,
    /// Its row in the closure.
    row: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    guest: i64,
    host: Span,
}

#[derive(Debug, Default, Clone)]
struct Vmcs {
    clocks: Vec<usize>,
    kept: Vec<Sample>,
    /// Samples since the last that agreed with the one before.
    restless: usize,
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
        match c.row {
            Some(row) => {
                Span { lo: -self.closure[row], hi: self.closure[row * self.rows] }.and(c.alone).unwrap_or(c.alone)
            }
            None => c.alone,
        }
    }

    /// Where a guest TSC lies in host time. Of several clocks of the VMCS, the first that can be after `after`.
    pub(crate) fn host_time(&self, vmcs: u64, guest: i64, after: i64) -> Option<Span> {
        let clocks = &self.vmcs.get(&vmcs)?.clocks;
        let restless = clocks.iter().filter(|c| self.clocks[**c].scale.is_none()).count();
        if restless > MOST_TRUSTED {
            return None;
        }
        let at = |&clock: &usize| {
            let c = &self.clocks[clock];
            let offset = self.bounds(clock);
            if offset.hi >= FAR || offset.lo <= -FAR {
                return None;
            }
            Some(match c.scale {
                None => Span { lo: guest - offset.hi, hi: guest - offset.lo },
                Some(scale) => Span {
                    lo: ((guest - offset.hi) as f64 / scale).floor() as i64,
                    hi: ((guest - offset.lo) as f64 / scale).ceil() as i64,
                },
            })
        };
        let near = |span: &Span| span.hi >= after;
        clocks
            .iter()
            .filter(|&&c| (self.clocks[c].first..=self.clocks[c].last).contains(&guest))
            .filter_map(at)
            .find(near)
            .or_else(|| clocks.iter().filter_map(at).find(near))
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
            Some(c) => self.clocks[c].row.filter(|_| self.clocks[c].scale.is_none()),
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
        let entry = self.vmcs.entry(vmcs).or_default();
        let sample = Sample { guest, host };
        let current = entry.clocks.last().copied();
        if let Some(current) = current {
            let clock = &self.clocks[current];
            let offset = offset_of(sample, clock.scale.unwrap_or(1.0));
            let closed = match clock.row {
                Some(row) => Span { lo: -self.closure[row], hi: self.closure[row * self.rows] },
                None => Span::ANY,
            };
            // A little give where numbers went through a float.
            let give = if clock.scale.is_some() { 2 + host.width() / 64 } else { 0 };
            let wide = Span { lo: offset.lo - give, hi: offset.hi + give };
            if let Some(both) = clock.alone.and(wide)
                && closed.and(both).is_some()
            {
                let clock = &mut self.clocks[current];
                if clock.scale.is_none() && holds(Rule::Bracketing) {
                    clock.alone = both;
                }
                clock.last = clock.last.max(guest);
                clock.first = clock.first.min(guest);
                entry.restless = 0;
                keep(&mut entry.kept, sample);
                return current;
            }
            if !holds(Rule::OffsetChanges) {
                return current;
            }
            entry.restless += 1;
            keep(&mut entry.kept, sample);
            if entry.restless >= LINE - 1 && holds(Rule::OffsetScales) {
                let tail = &entry.kept[entry.kept.len().saturating_sub(entry.restless + 1)..];
                if let Some((scale, offset)) = line(tail) {
                    // The short clocks were steps of one that is scaled.
                    let steps = (entry.restless).min(entry.clocks.len());
                    let first = entry.clocks[entry.clocks.len() - steps];
                    entry.clocks.truncate(entry.clocks.len() - steps + 1);
                    entry.restless = 0;
                    let clock = &mut self.clocks[first];
                    *clock = Clock { scale: Some(scale), alone: offset, last: guest, row: None, ..clock.clone() };
                    return first;
                }
            }
        } else {
            keep(&mut entry.kept, sample);
        }
        if let Some(&last) = entry.clocks.last().filter(|_| entry.clocks.len() >= MOST_CLOCKS) {
            let alone = offset_of(sample, 1.0);
            self.clocks[last] = Clock { first: guest, last: guest, scale: None, alone, row: None };
            return last;
        }
        let clock = self.clocks.len();
        entry.clocks.push(clock);
        let row = (self.rows <= MOST_CLOSED).then(|| self.new_row());
        let alone = offset_of(sample, 1.0);
        self.clocks.push(Clock { first: guest, last: guest, scale: None, alone, row });
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

fn keep(kept: &mut Vec<Sample>, sample: Sample) {
    if kept.len() == KEPT {
        kept.remove(0);
    }
    kept.push(sample);
}

fn offset_of(sample: Sample, scale: f64) -> Span {
    if scale == 1.0 {
        let side = |t: i64| if t.abs() >= FAR { -t.signum() * FAR } else { sample.guest - t };
        Span { lo: side(sample.host.hi), hi: side(sample.host.lo) }
    } else {
        Span {
            lo: sample.guest - (sample.host.hi as f64 * scale).ceil() as i64,
            hi: sample.guest - (sample.host.lo as f64 * scale).floor() as i64,
        }
    }
}

/// The slope and offset of the line through samples, where one goes through all their brackets and is not of slope 1.
fn line(samples: &[Sample]) -> Option<(f64, Span)> {
    if samples.len() < LINE || samples.iter().any(|s| s.host.hi >= FAR || s.host.lo <= -FAR) {
        return None;
    }
    let (a, b) = (samples.first()?, samples.last()?);
    let span = (b.host.mid() - a.host.mid()) as f64;
    if span <= 0.0 {
        return None;
    }
    let scale = (b.guest - a.guest) as f64 / span;
    if !(0.01..=100.0).contains(&scale) || (scale - 1.0).abs() < 1e-7 {
        return None;
    }
    let mut offset: Option<Span> = None;
    for s in samples {
        let one = offset_of(*s, scale);
        // The slope through two brackets is off by as much as they are wide.
        let give = 2 + a.host.width() + b.host.width();
        let one = Span { lo: one.lo - give, hi: one.hi + give };
        offset = Some(match offset {
            None => one,
            Some(o) => o.and(one)?,
        });
    }
    offset.map(|o| (scale, o))
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
        let scale = o.clocks()[all[0]].scale.unwrap();
        assert!((scale - 1.25).abs() < 1e-3, "{scale}");
        let t = 1_234_567;
        let at = o.host_time(0x1000, guest(t), 0).unwrap();
        assert!(at.lo <= t && t <= at.hi, "{at:?}");
    }
}
