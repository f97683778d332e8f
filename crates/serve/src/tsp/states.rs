//! The states of a row: its intervals where they are few, else those of its bins laid side by side.
//!
//! A client draws one state at a time in a row, so what shares a bin cannot be stacked as on the page. In each bin the
//! states follow each other, each as long as it was in all; where bins touch, in turns from the first to the last and from
//! the last to the first, so that one state is not told twice. Sums stay exact to the tick, and a row has no more states than
//! a client can show: where there would be more, bins are doubled.

use super::styles::Look;
use crate::view::Window;
use crate::view::segments::Segment;

/// A state of a row, ticks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct State {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) look: Look,
    /// The interval that it is; of bins there is none.
    pub(super) interval: Option<Segment>,
}

/// Some of a bin.
#[derive(Debug, Clone, Copy)]
struct Part {
    bin: i64,
    look: Look,
    ticks: i64,
}

/// The intervals as they are.
pub(super) fn whole(segments: &[Segment], look: impl Fn(&Segment) -> Look) -> Vec<State> {
    let state = |s: &Segment| State { start: s.start, end: s.end, look: look(s), interval: Some(*s) };
    segments.iter().map(state).collect()
}

/// What is in bins, side by side: at most `most` states, as far as that can be, none outside of `within`.
pub(super) fn side_by_side(
    segments: &[Segment],
    look: impl Fn(&Segment) -> Look,
    most: usize,
    within: Window,
) -> Vec<State> {
    let Some(first) = segments.first() else { return Vec::new() };
    let mut width = first.end - first.start;
    // A bin that was doubled begins before what is in it.
    let within = Window { from: within.from.max(first.start), ..within };
    let part = |s: &Segment| Part { bin: s.start.div_euclid(width), look: look(s), ticks: s.ticks };
    let mut parts: Vec<Part> = segments.iter().map(part).collect();
    sum_up(&mut parts);
    loop {
        let states = lay(&parts, width, within);
        let bins = parts.first().zip(parts.last()).map_or((0, 0), |(first, last)| (first.bin, last.bin));
        // One that ends where the other begins, at 0, are never one.
        let last = bins.0 == bins.1 || bins == (-1, 0);
        let Some(wider) = width.checked_mul(2).filter(|_| states.len() > most && !last) else { return states };
        width = wider;
        parts.iter_mut().for_each(|part| part.bin = part.bin.div_euclid(2));
        sum_up(&mut parts);
    }
}

/// Makes one of parts of the same bin and look.
fn sum_up(parts: &mut Vec<Part>) {
    parts.sort_by_key(|part| (part.bin, part.look));
    parts.dedup_by(|next, kept| {
        let same = (next.bin, next.look) == (kept.bin, kept.look);
        if same {
            kept.ticks += next.ticks;
        }
        same
    });
}

fn lay(parts: &[Part], width: i64, within: Window) -> Vec<State> {
    let mut states: Vec<State> = Vec::new();
    for bin in parts.chunk_by(|a, b| a.bin == b.bin) {
        let number = bin[0].bin;
        let mut at = (number * width).max(within.from);
        let mut put = |part: &Part| {
            let (start, end) = (at, at + part.ticks);
            at = end;
            match states.last_mut() {
                Some(last) if last.end == start && last.look == part.look => last.end = end,
                _ => states.push(State { start, end, look: part.look, interval: None }),
            }
        };
        if number & 1 == 0 { bin.iter().for_each(&mut put) } else { bin.iter().rev().for_each(&mut put) }
    }
    states
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{Key, Kind};
    use proptest::prelude::*;

    fn look(segment: &Segment) -> Look {
        Look::of(Kind::Vcpu, Some(0), &segment.key)
    }

    /// Bins that are filled to some part, as pictures have them.
    fn bins() -> impl Strategy<Value = Vec<Segment>> {
        let shares = prop::collection::vec((0..7u8, 1..40i64), 0..6);
        (9..20u32, -50..50i64, prop::collection::vec(shares, 1..200)).prop_map(|(bits, first, bins)| {
            let width = 1i64 << bits;
            let mut segments = Vec::new();
            for (number, shares) in bins.into_iter().enumerate() {
                let start = (first + number as i64) << bits;
                let whole: i64 = shares.iter().map(|(_, share)| share).sum();
                let mut states: Vec<_> =
                    shares.iter().map(|&(state, share)| (state, share * width / whole.max(1))).collect();
                states.sort_unstable();
                for (state, ticks) in states {
                    let key = Key { state, evidence: 0, by_kind: 0, by_id: -1 };
                    segments.push(Segment {
                        id: 0,
                        start,
                        end: start + width,
                        key,
                        y0: 0.0,
                        y1: 0.0,
                        ticks,
                        cpu: -1,
                        vcpu: -1,
                        process: -1,
                    });
                }
            }
            segments
        })
    }

    proptest! {
        #[test]
        fn states_hold_what_bins_do_and_do_not_overlap(segments in bins(), most in 1..300usize) {
            let within = Window { from: i64::MIN / 4, to: i64::MAX / 4 };
            let states = side_by_side(&segments, look, most, within);
            prop_assert!(states.windows(2).all(|two| two[0].end <= two[1].start));
            prop_assert!(states.iter().all(|state| state.start < state.end));
            let sum = |wanted: Look, of: &mut dyn Iterator<Item = (Look, i64)>| of.filter(|(l, _)| *l == wanted).map(|(_, t)| t).sum::<i64>();
            for segment in &segments {
                let wanted = look(segment);
                let in_bins = sum(wanted, &mut segments.iter().map(|s| (look(s), s.ticks)));
                let in_states = sum(wanted, &mut states.iter().map(|s| (s.look, s.end - s.start)));
                prop_assert_eq!(in_bins, in_states);
            }
            // One bin has the seven states at most, and there may be two.
            prop_assert!(states.len() <= most.max(14));
            if let (Some(first), Some(last)) = (segments.first(), segments.last()) {
                prop_assert!(states[0].start >= first.start && states[states.len() - 1].end <= last.end);
            }
        }
    }

    #[test]
    fn neighbours_share_a_state_where_they_touch() {
        let key = |state| Key { state, evidence: 0, by_kind: 0, by_id: -1 };
        let part = |bin: i64, state, ticks| Segment {
            id: 0,
            start: bin * 100,
            end: bin * 100 + 100,
            key: key(state),
            y0: 0.0,
            y1: 0.0,
            ticks,
            cpu: -1,
            vcpu: -1,
            process: -1,
        };
        let segments = [part(2, 0, 30), part(2, 3, 70), part(3, 0, 10), part(3, 3, 90), part(4, 0, 100)];
        let told = |most, within| -> Vec<(i64, i64)> {
            side_by_side(&segments, look, most, within).iter().map(|state| (state.start, state.end)).collect()
        };
        let all = Window { from: 0, to: 1000 };
        assert_eq!(told(10, all), [(200, 230), (230, 390), (390, 500)]);
        // The dataset begins within the first bin.
        assert_eq!(told(10, Window { from: 210, to: 1000 })[0], (210, 240));
        // Doubled: 200 to 400, from the last to the first, and 400 to 600, of which half is filled.
        assert_eq!(told(2, all), [(200, 360), (360, 500)]);
    }
}
