//! A clock that is scaled: all lines `host = a × guest + b` that go through the brackets of its samples.
//!
//! Each sample, a guest's TSC between two host times, cuts the plane of (a, b) by two half-planes. What is left is a
//! convex polygon; the host time of any guest's TSC lies between the least and the most that its corners say, whichever
//! of the lines is the true one. A cut that is left out makes the polygon larger, and what it says as true.

use crate::span::Span;

/// Slopes that a processor's multiplier is used for: host ticks a guest tick.
const SLOPES: (f64, f64) = (0.01, 100.0);

/// Numbers go through a float.
const SLOP: f64 = 2.0;

/// No polygon has more corners: what would add to them is left out.
const MOST_CORNERS: usize = 32;

/// The lines, about a first sample.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    guest: i64,
    host: i64,
    /// (a, b) of `host − self.host = a × (guest − self.guest) + b`, in turn.
    corners: Vec<(f64, f64)>,
}

impl Lines {
    pub(crate) fn new(guest: i64, host: Span) -> Lines {
        let (lo, hi) = (0.0, host.width() as f64);
        let corners = vec![(SLOPES.0, lo), (SLOPES.1, lo), (SLOPES.1, hi), (SLOPES.0, hi)];
        Lines { guest, host: host.lo, corners }
    }

    /// One more sample. False, and nothing is changed, where no line goes through it too.
    pub(crate) fn cut(&mut self, guest: i64, host: Span) -> bool {
        let x = (guest - self.guest) as f64;
        let (lo, hi) = ((host.lo - self.host) as f64 - SLOP, (host.hi - self.host) as f64 + SLOP);
        let above = clip(&self.corners, |(a, b)| a * x + b - lo);
        let between = clip(&above, |(a, b)| hi - (a * x + b));
        if between.len() <= MOST_CORNERS && !between.is_empty() {
            self.corners = between;
            return true;
        }
        !between.is_empty()
    }

    /// Where a guest's TSC lies in host time.
    pub(crate) fn host(&self, guest: i64) -> Span {
        let x = (guest - self.guest) as f64;
        let (lo, hi) = range(self.corners.iter().map(|(a, b)| a * x + b));
        Span {
            lo: self.host.saturating_add((lo - SLOP).floor() as i64),
            hi: self.host.saturating_add((hi + SLOP).ceil() as i64),
        }
    }

    /// Guest ticks a host tick, at the least and at the most.
    pub(crate) fn scale(&self) -> (f64, f64) {
        range(self.corners.iter().map(|(a, _)| 1.0 / a))
    }

    /// Guest − host × `scale`, where `scale` is the true one: a line through them all, and how far others are from it.
    pub(crate) fn offset(&self, scale: f64) -> Span {
        let at = |b: f64| self.guest as f64 - (self.host as f64 + b) * scale;
        let (lo, hi) = range(self.corners.iter().map(|(_, b)| at(*b)));
        Span { lo: (lo - SLOP).floor() as i64, hi: (hi + SLOP).ceil() as i64 }
    }
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(v), hi.max(v)))
}

/// The part of a polygon where `inside` is not negative (Sutherland and Hodgman).
fn clip(corners: &[(f64, f64)], inside: impl Fn((f64, f64)) -> f64) -> Vec<(f64, f64)> {
    let mut kept = Vec::with_capacity(corners.len() + 1);
    for (i, &to) in corners.iter().enumerate() {
        let from = corners[(i + corners.len() - 1) % corners.len()];
        let (was, is) = (inside(from), inside(to));
        if (was < 0.0) != (is < 0.0) {
            let part = was / (was - is);
            kept.push((from.0 + (to.0 - from.0) * part, from.1 + (to.1 - from.1) * part));
        }
        if is >= 0.0 {
            kept.push(to);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(host: i64) -> i64 {
        (host as f64 * 1.0003) as i64 - 987_654_321
    }

    fn sample(host: i64, i: i64) -> (i64, Span) {
        (guest(host), Span { lo: host - 20_000 + 137 * (i % 61), hi: host + 15_000 + 251 * (i % 37) })
    }

    #[test]
    fn the_true_line_is_among_them_wherever_it_is_asked() {
        let start = 1_000_000_000_000_000;
        let (first, at) = sample(start, 0);
        let mut lines = Lines::new(first, at);
        for i in 1..400 {
            let (value, at) = sample(start + i * 1_234_567, i);
            assert!(lines.cut(value, at), "{i}");
        }
        let (lo, hi) = lines.scale();
        assert!(lo <= 1.0003 && 1.0003 <= hi && hi - lo < 2e-4, "{lo} {hi}");
        for host in [start - 300_000_000, start + 77, start + 400 * 1_234_567, start + 900_000_000] {
            let span = lines.host(guest(host));
            assert!(span.lo <= host && host <= span.hi && span.width() < 200_000, "{span:?} for {host}");
        }
        let offset = lines.offset(1.0003);
        assert!(offset.lo <= -987_654_321 && -987_654_321 <= offset.hi + 1, "{offset:?}");
    }

    #[test]
    fn a_sample_that_no_line_meets_changes_nothing() {
        let mut lines = Lines::new(0, Span { lo: -5, hi: 5 });
        assert!(lines.cut(1000, Span { lo: 995, hi: 1005 }));
        assert!(!lines.cut(2000, Span { lo: 5000, hi: 5001 }));
        assert!(lines.cut(2000, Span { lo: 1990, hi: 2010 }));
        assert!(lines.host(500).width() < 30);
    }
}
