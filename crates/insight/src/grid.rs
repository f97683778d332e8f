//! Time in even buckets.

use havana_store::Dataset;

use crate::finding::Span;

/// How many buckets a dataset's time has. Fine enough that the begin of something is told to 0.2 % of the time, coarse
/// enough that a series of each process fits in memory, and that change points of many are found at once.
pub(crate) const BUCKETS: usize = 512;

/// The time of a dataset, and its N buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid<const N: usize = BUCKETS> {
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Grid {
    /// The time of a dataset; none of one that has hardly any.
    pub(crate) fn of(dataset: &Dataset) -> Option<Grid> {
        let manifest = dataset.manifest();
        manifest.first_tsc.zip(manifest.last_tsc).and_then(|(from, to)| Grid::new(from, to))
    }
}

impl<const N: usize> Grid<N> {
    /// All of the time, as what proves a finding that nothing less does.
    pub(crate) fn whole(self) -> Span {
        Span { cpu: None, vcpu_id: None, process_id: None, start_tsc: self.from, end_tsc: self.to }
    }

    /// Of a time whose buckets all have a length.
    pub(crate) fn new(from: i64, to: i64) -> Option<Self> {
        (to.saturating_sub(from) >= N as i64).then_some(Grid { from, to })
    }

    /// All ticks.
    pub(crate) fn span(self) -> f64 {
        (self.to - self.from) as f64
    }

    /// Ticks of a bucket.
    pub(crate) fn width(self) -> f64 {
        self.span() / N as f64
    }

    /// Where a bucket begins; of the one after the last, the end.
    pub(crate) fn start(self, bucket: usize) -> i64 {
        let at = i128::from(self.to - self.from) * bucket as i128 / N as i128;
        self.from + at as i64
    }

    /// In which bucket a moment is; one outside is in the nearest.
    pub(crate) fn bucket(self, tsc: i64) -> usize {
        let tsc = tsc.clamp(self.from, self.to - 1);
        let guess = ((tsc - self.from) as f64 / self.width()) as usize;
        let mut bucket = guess.min(N - 1);
        // Of a time of very many ticks the guess may be one off.
        while self.start(bucket) > tsc {
            bucket -= 1;
        }
        while self.start(bucket + 1) <= tsc {
            bucket += 1;
        }
        bucket
    }

    /// Adds the ticks of a stretch to the buckets they are in.
    pub(crate) fn add(self, to: &mut [f32], start: i64, end: i64) {
        self.each(start, end, |bucket, ticks| to[bucket] += ticks as f32);
    }

    /// Gives each bucket that a stretch is in, and the ticks of it there.
    pub(crate) fn each(self, start: i64, end: i64, mut give: impl FnMut(usize, f64)) {
        let (start, end) = (start.max(self.from), end.min(self.to));
        if start >= end {
            return;
        }
        let first = self.bucket(start);
        if end <= self.start(first + 1) {
            return give(first, (end - start) as f64);
        }
        let last = self.bucket(end - 1);
        for bucket in first..=last {
            give(bucket, (end.min(self.start(bucket + 1)) - start.max(self.start(bucket))) as f64);
        }
    }

    /// Ticks of each bucket as shares of it.
    pub(crate) fn shares(self, ticks: &[f32]) -> Vec<f64> {
        ticks.iter().map(|ticks| f64::from(*ticks) / self.width()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tick_is_lost_or_told_twice() {
        for (from, to) in [(0, 512), (7, 1_000_003), (-5, 900), (1 << 60, (1 << 60) + (1 << 50))] {
            let grid: Grid = Grid::new(from, to).unwrap();
            for at in [from, from + 1, from.midpoint(to), to - 2, to - 1] {
                let bucket = grid.bucket(at);
                assert!(grid.start(bucket) <= at && at < grid.start(bucket + 1), "{from} {to} {at}");
            }
            let mut ticks = vec![0.0; BUCKETS];
            let middle = from + (to - from) / 3;
            grid.add(&mut ticks, from - 100, middle);
            grid.add(&mut ticks, middle, to + 100);
            let sum: f64 = ticks.iter().map(|t| f64::from(*t)).sum();
            assert!((sum / grid.span() - 1.0).abs() < 1e-6, "{from} {to}");
            assert!(grid.shares(&ticks).iter().all(|share| *share < 1.0 + 1.0 / grid.width()));
        }
        assert_eq!([Grid::<BUCKETS>::new(3, 3), Grid::new(0, 511)], [None; 2]);
    }
}
