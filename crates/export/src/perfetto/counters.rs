//! Counters: of each VM how many cpus were in its guest, and how often it exited, in even buckets of time.

use rustc_hash::FxHashMap;

use crate::Selection;

/// Buckets of a part of a dataset.
const BUCKETS: i64 = 1000;

/// Sums of each VM.
#[derive(Debug)]
pub(super) struct Counters {
    first: i64,
    last: i64,
    /// Ticks of a bucket.
    width: i64,
    pub(super) guest: FxHashMap<i32, Vec<i64>>,
    pub(super) exits: FxHashMap<i32, Vec<i64>>,
}

impl Counters {
    pub(super) fn of(selection: &Selection<'_>) -> Counters {
        let (first, last) = selection.span();
        let width = ((last - first) / BUCKETS + 1).max(1);
        Counters { first, last, width, guest: FxHashMap::default(), exits: FxHashMap::default() }
    }

    fn buckets(&self) -> usize {
        usize::try_from((self.last - self.first) / self.width + 1).unwrap_or(1)
    }

    fn bucket(&self, tsc: i64) -> usize {
        usize::try_from((tsc.min(self.last) - self.first) / self.width).unwrap_or(0)
    }

    /// A stretch in a VM's guest.
    pub(super) fn add_guest(&mut self, vm: i32, (start, end): (i64, i64)) {
        let buckets = self.buckets();
        let (from, to) = (self.bucket(start), self.bucket(end));
        let (first, width) = (self.first, self.width);
        let sums = self.guest.entry(vm).or_insert_with(|| vec![0; buckets]);
        let begins = (from as i64..).map(|bucket| first + bucket * width);
        for (sum, begin) in sums[from..=to].iter_mut().zip(begins) {
            *sum += (end.min(begin + width) - start.max(begin)).max(0);
        }
    }

    pub(super) fn add_exit(&mut self, vm: i32, at: i64) {
        let (bucket, buckets) = (self.bucket(at), self.buckets());
        self.exits.entry(vm).or_insert_with(|| vec![0; buckets])[bucket] += 1;
    }

    /// From when on which sum a tick holds, where it is another than before; none at the end.
    pub(super) fn levels<'a>(&'a self, sums: &'a [i64]) -> impl Iterator<Item = (i64, f64)> + 'a {
        let mut before = None;
        let level = move |(bucket, &sum): (usize, &i64)| {
            let begin = self.first + bucket as i64 * self.width;
            let ticks = (self.last - begin).min(self.width);
            let level = (begin, if ticks > 0 { sum as f64 / ticks as f64 } else { 0.0 });
            (before.replace(level.1) != Some(level.1)).then_some(level)
        };
        sums.iter().enumerate().filter_map(level).chain([(self.last, 0.0)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_is_in_the_buckets_that_it_crosses() {
        let mut counters =
            Counters { first: 100, last: 130, width: 10, guest: FxHashMap::default(), exits: FxHashMap::default() };
        counters.add_guest(1, (105, 125));
        counters.add_guest(1, (125, 130));
        counters.add_exit(1, 130);
        assert_eq!(counters.guest[&1], [5, 10, 10, 0]);
        assert_eq!(counters.exits[&1], [0, 0, 0, 1]);
        let levels: Vec<_> = counters.levels(&counters.guest[&1]).collect();
        assert_eq!(levels, [(100, 0.5), (110, 1.0), (130, 0.0), (130, 0.0)]);
    }
}
