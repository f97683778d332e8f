//! Sure bounds of the time that each vCPU was in its guest, as narrow as the packets allow.
//!
//! Between two known times, a vCPU that was in its guest all the while was there for all of it; one that was there at
//! some moment, for any part of it; any other, not at all. Stretches that touch are summed as one, from their first
//! known time to their last, so that what is not sure of the times between them does not count twice.

use crate::span::{Known, Span};

/// The vCPU: its VMCS and the masked host CR3.
pub(crate) type Key = (u64, u64);

/// Time in the guest of one vCPU, at least and at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) key: Key,
    pub(crate) lo: i64,
    pub(crate) hi: i64,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    key: Key,
    from: Known,
    touched: bool,
}

/// Sums up one cpu.
#[derive(Debug)]
pub(crate) struct Sure {
    boundary: Known,
    inside: Option<Key>,
    /// No entry or exit since the boundary.
    quiet: bool,
    whole: Option<(Key, Known)>,
    // Few: the vCPUs that were in their guest since the boundary.
    some: Vec<Run>,
    /// Only what lies in here counts.
    window: Span,
}

impl Sure {
    pub(crate) fn new(window: Span) -> Self {
        Sure { boundary: Known::exact(0), inside: None, quiet: false, whole: None, some: Vec::new(), window }
    }

    /// A known time.
    pub(crate) fn boundary(&mut self, at: Known, out: &mut Vec<Share>) {
        let start = self.boundary;
        let window = self.window;
        let length = |from: &Known| {
            let ticks = from.until(&start);
            // Of what lies in the window, and no more.
            let part = |from: i64, to: i64| (window.clamp(to) - window.clamp(from)).max(0);
            let all = window.lo <= from.span.lo && start.span.hi <= window.hi;
            if all {
                ticks
            } else {
                Span { lo: part(from.span.hi, start.span.lo), hi: part(from.span.lo, start.span.hi) }
            }
        };
        self.some.retain(|run| {
            if !run.touched {
                out.push(Share { key: run.key, lo: 0, hi: length(&run.from).hi });
            }
            run.touched
        });
        match (self.quiet.then_some(self.inside).flatten(), self.whole) {
            (Some(key), Some((was, _))) if key == was => {}
            (now, was) => {
                if let Some((key, from)) = was {
                    out.push(Share { key, lo: length(&from).lo, hi: 0 });
                }
                self.whole = now.map(|key| (key, start));
            }
        }
        self.boundary = at;
        self.quiet = true;
        for run in &mut self.some {
            run.touched = Some(run.key) == self.inside;
        }
    }

    /// A vCPU is in its guest from here.
    pub(crate) fn enter(&mut self, key: Key) {
        self.inside = Some(key);
        self.quiet = false;
        match self.some.iter_mut().find(|run| run.key == key) {
            Some(run) => run.touched = true,
            None => self.some.push(Run { key, from: self.boundary, touched: true }),
        }
    }

    /// The cpu left the guest here.
    pub(crate) fn leave(&mut self) {
        self.inside = None;
        self.quiet = false;
    }

    /// Nothing is known of what follows, from `at` on: what was open ends here, at the latest of its bounds.
    pub(crate) fn lose(&mut self, at: Known, out: &mut Vec<Share>) {
        self.leave();
        self.boundary(at, out);
        self.boundary(at, out);
    }

    /// The state is known again, from `at` on.
    pub(crate) fn find(&mut self, at: Known, out: &mut Vec<Share>) {
        self.leave();
        self.boundary(at, out);
    }

    /// The end of the trace.
    pub(crate) fn end(&mut self, at: Known, out: &mut Vec<Share>) {
        self.boundary(at, out);
        self.inside = None;
        self.quiet = false;
        for run in &mut self.some {
            run.touched = false;
        }
        self.boundary(at, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Key = (0xa000, 1);
    const B: Key = (0xb000, 1);

    fn sum(shares: &[Share], key: Key) -> (i64, i64) {
        shares.iter().filter(|s| s.key == key).fold((0, 0), |(lo, hi), s| (lo + s.lo, hi + s.hi))
    }

    #[test]
    fn whole_gaps_are_sure_and_touched_ones_possible() {
        let (mut sure, mut out) = (Sure::new(Span::ANY), Vec::new());
        sure.boundary(Known::exact(0), &mut out);
        sure.enter(A); // in 0..10
        sure.boundary(Known::exact(10), &mut out);
        sure.boundary(Known::exact(20), &mut out); // whole 10..20
        sure.leave(); // in 20..30
        sure.enter(B); // in 20..30
        sure.leave();
        sure.boundary(Known::exact(30), &mut out);
        sure.boundary(Known::exact(40), &mut out);
        sure.end(Known::exact(50), &mut out);
        assert_eq!(sum(&out, A), (10, 30));
        assert_eq!(sum(&out, B), (0, 10));
    }

    #[test]
    fn fuzzy_times_within_a_run_do_not_count_twice() {
        let (mut sure, mut out) = (Sure::new(Span::ANY), Vec::new());
        sure.boundary(Known::exact(0), &mut out);
        sure.enter(A);
        sure.boundary(Known::at(Span { lo: 9, hi: 12 }), &mut out);
        for t in [20, 30, 40] {
            sure.boundary(Known::at(Span { lo: t - 5, hi: t + 5 }), &mut out);
        }
        sure.leave();
        sure.boundary(Known::exact(50), &mut out);
        sure.boundary(Known::exact(60), &mut out);
        sure.end(Known::exact(60), &mut out);
        // Surely from 12 to 35; at most from 0 to 50.
        assert_eq!(sum(&out, A), (23, 50));
    }

    #[test]
    fn between_two_words_of_one_guest_time_is_exact() {
        let (mut sure, mut out) = (Sure::new(Span::ANY), Vec::new());
        let said = |t: i64| Known { span: Span { lo: t - 7, hi: t + 7 }, best: t, guest: Some((0xa000, t + 1000)) };
        sure.boundary(Known::exact(0), &mut out);
        sure.enter(A);
        for t in [10, 20, 30] {
            sure.boundary(said(t), &mut out);
        }
        sure.leave();
        sure.boundary(Known::exact(40), &mut out);
        sure.boundary(Known::exact(50), &mut out);
        sure.end(Known::exact(50), &mut out);
        assert_eq!(sum(&out, A), (20, 40));
    }

    #[test]
    fn a_loss_ends_what_was_open() {
        let (mut sure, mut out) = (Sure::new(Span::ANY), Vec::new());
        sure.boundary(Known::exact(0), &mut out);
        sure.enter(A);
        sure.boundary(Known::exact(10), &mut out);
        sure.boundary(Known::exact(20), &mut out);
        sure.lose(Known::exact(24), &mut out);
        sure.find(Known::exact(40), &mut out);
        sure.enter(A);
        sure.boundary(Known::exact(50), &mut out);
        sure.end(Known::exact(50), &mut out);
        assert_eq!(sum(&out, A), (10, 34));
    }
}
