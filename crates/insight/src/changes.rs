//! Where the level of a series changes for good.
//!
//! PELT (Killick, Fearnhead, Eckley, *Optimal detection of changepoints with a linear computational cost*, JASA 107,
//! 2012): the segmentation of least cost, found exactly, and of candidates for the last change those are dropped that
//! can never be the best again.
//!
//! * **Cost.** Twice the negative logarithm of a Laplace likelihood, Σ|x − median| · 2/b: a segment is told by its
//!   median, so that a burst that takes less than half of it does not count, however high.
//! * **Scale b.** The mean absolute deviation from the median, within windows of the shortest segment: a change of level
//!   is in one window at most. At least [`LEAST_SCALE`], since a series that stands still has no noise to compare with.
//! * **Penalty.** 3 ln n a change: the modified BIC of Zhang and Siegmund (Biometrics 63, 2007), where a change costs
//!   more than its two parameters, because its place is looked for.
//! * **Shortest segment.** A sixteenth of the series: what is shorter is a burst, and no new level.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Parts of a series that a segment has at least.
const SHORTEST: usize = 16;

/// Noise that is assumed where there is less: half a percent of a cpu.
const LEAST_SCALE: f64 = 0.005;

/// What is less is no rise.
const TWICE: f64 = 2.0;

/// What a series is summed up to for levels of what takes turns.
const PART: usize = 8;

/// A change of level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Change {
    /// The first of the new level.
    pub(crate) at: usize,
    /// Where that ends.
    pub(crate) end: usize,
    /// Mean of the segment before and of this one.
    pub(crate) before: f64,
    pub(crate) after: f64,
    /// How surely it is one: 1 − n·exp(−gain/2), where the gain is what it saves of the cost (Wilks; by Bonferroni, of n
    /// places).
    pub(crate) sure: f64,
}

/// The changes of a series, in order.
pub(crate) fn changes(series: &[f64]) -> Vec<Change> {
    let shortest = (series.len() / SHORTEST).max(2);
    if series.len() < 2 * shortest {
        return Vec::new();
    }
    let scale = scale(series, shortest);
    let penalty = 3.0 * (series.len() as f64).ln();
    let starts = segments(series, shortest, scale, penalty);
    let mean = |from: usize, to: usize| series[from..to].iter().sum::<f64>() / (to - from) as f64;
    let ends: Vec<usize> = starts.iter().skip(1).copied().chain([series.len()]).collect();
    let cost = |from: usize, to: usize| whole(&series[from..to]) * 2.0 / scale;
    let change = |i: usize| {
        let (begin, at, end) = (starts[i - 1], starts[i], ends[i]);
        let gain = cost(begin, end) - cost(begin, at) - cost(at, end);
        let sure = (1.0 - series.len() as f64 * (-gain / 2.0).exp()).clamp(0.0, 1.0);
        Change { at, end, before: mean(begin, at), after: mean(at, end), sure }
    };
    (1..starts.len()).map(change).collect()
}

/// Where a series rose for good, and its mean since.
///
/// What is looked at are the changes to at least [`TWICE`] the level before, also those of longer parts ([`coarse`]). From there on it must have
/// twice what it had before, on average and at its best, so that a burst as there were others is none; and half of what it
/// rose to. Of several that one splits it best (the largest CUSUM statistic: the difference of the means, times
/// √(m(n − m))), so that what others left it for a while is not taken for its begin.
pub(crate) fn onset(series: &[f64], changes: &[Change]) -> Option<(Change, f64)> {
    let n = series.len();
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len().max(1) as f64;
    let best = |of: &[f64]| of.windows((n / SHORTEST).clamp(1, of.len().max(1))).map(mean).fold(0.0, f64::max);
    let split = |rise: Change| {
        let (before, since) = (mean(&series[..rise.at]), mean(&series[rise.at..]));
        let contrast = (since - before) * ((rise.at * (n - rise.at)) as f64).sqrt();
        let is = since > TWICE * best(&series[..rise.at]) && since >= rise.after / 2.0;
        is.then_some((rise, since, contrast))
    };
    let all = changes.iter().copied().chain(coarse(series));
    let found =
        all.filter(|rise| rise.after > TWICE * rise.before).filter_map(split).max_by(|a, b| a.2.total_cmp(&b.2));
    found.map(|(rise, since, _)| (rise, since))
}

/// Changes of the series in parts of [`PART`]: what takes turns with others is away in most of the finest parts, and shows no
/// level there. Where in the parts beside it one is, the CUSUM statistic says.
fn coarse(series: &[f64]) -> Vec<Change> {
    let n = series.len();
    let parts: Vec<f64> = series.chunks_exact(PART).map(|part| part.iter().sum::<f64>() / PART as f64).collect();
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len().max(1) as f64;
    let contrast = |at: usize| (mean(&series[at..]) - mean(&series[..at])) * ((at * (n - at)) as f64).sqrt();
    let fine = |change: Change| {
        let near = (change.at - 1) * PART..=((change.at + 1) * PART).min(n - 1);
        let at = near.max_by(|a, b| contrast(*a).total_cmp(&contrast(*b))).unwrap_or(change.at * PART);
        Change { at, end: (change.end * PART).min(n), ..change }
    };
    changes(&parts).into_iter().map(fine).collect()
}

/// The mean absolute deviation within windows.
fn scale(series: &[f64], window: usize) -> f64 {
    let sum: f64 = series.chunks(window).map(whole).sum();
    (sum / series.len() as f64).max(LEAST_SCALE)
}

/// Σ|x − median|.
fn whole(of: &[f64]) -> f64 {
    let mut running = Running::default();
    of.iter().for_each(|x| running.push(*x));
    running.deviation()
}

/// Where the segments of the best segmentation begin.
fn segments(series: &[f64], shortest: usize, scale: f64, penalty: f64) -> Vec<usize> {
    let n = series.len();
    // Of each length: the least cost, and where its last segment begins.
    let mut best = vec![f64::INFINITY; n + 1];
    let mut last = vec![0; n + 1];
    best[0] = -penalty;
    let mut candidates = vec![Candidate::new(0)];
    for end in 1..=n {
        // A candidate is beaten for all that ends where the one that beat it can end a segment, too.
        candidates.retain(|c| c.beaten.is_none_or(|at| end < at + shortest));
        candidates.iter_mut().for_each(|c| c.running.push(series[end - 1]));
        let cost = |c: &Candidate| best[c.start] + c.running.deviation() * 2.0 / scale;
        let eligible = candidates.iter().filter(|c| end - c.start >= shortest);
        let least = eligible.map(|c| (cost(c) + penalty, c.start)).min_by(|a, b| a.0.total_cmp(&b.0));
        let Some((least, start)) = least else { continue };
        for c in &mut candidates {
            if c.beaten.is_none() && best[c.start] + c.running.deviation() * 2.0 / scale > least {
                c.beaten = Some(end);
            }
        }
        (best[end], last[end]) = (least, start);
        candidates.push(Candidate::new(end));
    }
    let mut starts = Vec::new();
    let mut at = n;
    while at > 0 {
        at = last[at];
        starts.push(at);
    }
    starts.reverse();
    starts
}

/// Where the last segment may begin.
struct Candidate {
    start: usize,
    /// What is between there and here.
    running: Running,
    /// A segmentation up to here, with a change here, costs less.
    beaten: Option<usize>,
}

impl Candidate {
    fn new(start: usize) -> Candidate {
        Candidate { start, running: Running::default(), beaten: None }
    }
}

/// A number with an order.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ordered(f64);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Numbers as they come, in two halves around their median.
#[derive(Debug, Clone, Default)]
struct Running {
    low: BinaryHeap<Ordered>,
    /// Negated.
    high: BinaryHeap<Ordered>,
    low_sum: f64,
    high_sum: f64,
}

impl Running {
    fn push(&mut self, x: f64) {
        if self.low.peek().is_none_or(|median| x <= median.0) {
            self.low.push(Ordered(x));
            self.low_sum += x;
        } else {
            self.high.push(Ordered(-x));
            self.high_sum += x;
        }
        // The lower half holds the median: as many as the upper, or one more.
        if self.low.len() > self.high.len() + 1
            && let Some(Ordered(x)) = self.low.pop()
        {
            self.high.push(Ordered(-x));
            (self.low_sum, self.high_sum) = (self.low_sum - x, self.high_sum + x);
        } else if self.high.len() > self.low.len()
            && let Some(Ordered(x)) = self.high.pop()
        {
            self.low.push(Ordered(-x));
            (self.low_sum, self.high_sum) = (self.low_sum - x, self.high_sum + x);
        }
    }

    /// Σ|x − median|.
    fn deviation(&self) -> f64 {
        let median = self.low.peek().map_or(0.0, |median| median.0);
        self.high_sum - self.low_sum + median * (self.low.len() as f64 - self.high.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of noise, the same at each run.
    fn noise(n: usize) -> impl Iterator<Item = f64> {
        let mut state = 12345_u64;
        (0..n).map(move |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / (1 << 24) as f64
        })
    }

    #[test]
    fn the_deviation_is_that_of_a_sorted_list() {
        let numbers: Vec<f64> = noise(101).collect();
        let mut running = Running::default();
        for n in 1..=numbers.len() {
            running.push(numbers[n - 1]);
            let mut sorted = numbers[..n].to_vec();
            sorted.sort_by(f64::total_cmp);
            let naive: f64 = sorted.iter().map(|x| (x - sorted[n / 2]).abs()).sum();
            assert!((running.deviation() - naive).abs() < 1e-9, "{n}");
        }
    }

    #[test]
    fn pruning_changes_nothing() {
        let series: Vec<f64> = noise(120).enumerate().map(|(i, x)| x * 0.2 + [0.0, 0.5, 0.1][i / 40]).collect();
        let (shortest, scale, penalty) = (7, 0.05, 14.0);
        // All candidates, always.
        let mut best = vec![(f64::INFINITY, 0); 121];
        best[0] = (-penalty, 0);
        for end in shortest..=120 {
            let cost = |start: usize| best[start].0 + whole(&series[start..end]) * 2.0 / scale + penalty;
            best[end] = (0..=end - shortest).map(|s| (cost(s), s)).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        }
        let mut starts = vec![best[120].1];
        while starts[0] > 0 {
            starts.insert(0, best[starts[0]].1);
        }
        assert_eq!(segments(&series, shortest, scale, penalty), starts);
        assert_eq!(starts, [0, 40, 80]);
    }

    #[test]
    fn a_level_that_changes_is_found_and_noise_and_bursts_are_not() {
        let step: Vec<f64> = noise(512).enumerate().map(|(i, x)| 0.2 * x + if i < 200 { 0.1 } else { 0.6 }).collect();
        let found = changes(&step);
        let [change] = found[..] else { panic!("{found:?}") };
        assert!(change.at.abs_diff(200) <= 1 && change.end == 512 && change.sure > 0.999, "{change:?}");
        assert!((change.before - 0.2).abs() < 0.02 && (change.after - 0.7).abs() < 0.02, "{change:?}");

        assert_eq!(changes(&noise(512).collect::<Vec<_>>()), []);
        let bursts: Vec<f64> = (0..512).map(|i| if i % 32 < 8 { 1.0 } else { 0.0 }).collect();
        assert_eq!(changes(&bursts), []);
        assert_eq!(changes(&[0.0; 512]), []);
        assert_eq!(onset(&step, &changes(&step)).map(|(rise, _)| rise.at), Some(change.at));
        // It has half of what it had for a while, since another came: it began where it began.
        let shared: Vec<f64> = (0..512)
            .map(|i| [0.0, 0.5, 0.2, 0.5][usize::from(i >= 100) + usize::from(i >= 200) + usize::from(i >= 400)])
            .collect();
        let begin = onset(&shared, &changes(&shared)).map(|(rise, since)| (rise.at, (since * 100.0).round()));
        assert_eq!(begin, Some((100, 35.0)));
        assert_eq!(onset(&shared[100..], &changes(&shared[100..])), None);
        // In turns with three others, and something short before.
        let turns: Vec<f64> = (0..512).map(|i| if i >= 150 && i % 4 == 0 || i == 20 { 1.0 } else { 0.0 }).collect();
        assert_eq!(changes(&turns), []);
        assert_eq!(onset(&turns, &[]).map(|(rise, _)| rise.at), Some(152));
        // The last of some bursts.
        let bursts: Vec<f64> = (0..512).map(|i| if i % 150 < 62 { 0.9 } else { 0.0 }).collect();
        assert_eq!(onset(&bursts, &changes(&bursts)), None);
        assert_eq!(changes(&[1.0]), []);
    }
}
