//! Which of many intervals touch another: sorted by start, with the latest end of every run of them.
//!
//! ```text
//! starts    2   3   5   8   9        sorted
//! ends      9   4   6  10  12
//!             9      10     12       latest end of two,
//!               10          12       of four, …
//! ```
//!
//! Those that begin before the other ends are a prefix. Up to where all have ended before the other begins it is passed over
//! at once, and behind that every run whose latest end lies before: so each interval found costs a walk down at most.

/// Intervals, each with the row it is of.
#[derive(Debug, Default)]
pub(super) struct Index {
    starts: Vec<i64>,
    rows: Vec<u32>,
    /// The latest end up to each.
    reach: Vec<i64>,
    /// `latest[k][i]`: the latest end of intervals `i << k .. (i + 1) << k`.
    latest: Vec<Vec<i64>>,
}

impl Index {
    /// Of intervals `(start, end, row)`, in any order.
    pub(super) fn new(mut intervals: Vec<(i64, i64, u32)>) -> Index {
        intervals.sort_unstable();
        let mut latest = vec![intervals.iter().map(|&(_, end, _)| end).collect::<Vec<_>>()];
        while let Some(below) = latest.last().filter(|below| below.len() > 1) {
            let above = below.chunks(2).map(|pair| pair[0].max(pair[pair.len() - 1])).collect();
            latest.push(above);
        }
        let mut reached = i64::MIN;
        let mut reach = |&(_, end, _): &(i64, i64, u32)| {
            reached = reached.max(end);
            reached
        };
        let reach = intervals.iter().map(&mut reach).collect();
        let (starts, rows) = intervals.into_iter().map(|(start, _, row)| (start, row)).unzip();
        Index { starts, rows, reach, latest }
    }

    /// Gives the rows of those that do not begin after `end` nor end before `start`, by their start.
    pub(super) fn each(&self, start: i64, end: i64, mut take: impl FnMut(u32)) {
        let prefix = self.starts.partition_point(|&s| s <= end);
        let mut at = self.reach[..prefix].partition_point(|&reach| reach < start);
        while at < prefix {
            // The longest run that begins here and has ended before.
            let mut passed = None;
            let mut level = 0;
            while level < self.latest.len()
                && at.is_multiple_of(1 << level)
                && self.latest[level].get(at >> level).is_some_and(|&latest| latest < start)
            {
                passed = Some(1 << level);
                level += 1;
            }
            match passed {
                Some(run) => at += run,
                None => {
                    take(self.rows[at]);
                    at += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(intervals: &[(i64, i64)], start: i64, end: i64) -> Vec<u32> {
        let index = Index::new((0u32..).zip(intervals).map(|(row, &(start, end))| (start, end, row)).collect());
        let mut rows = Vec::new();
        index.each(start, end, |row| rows.push(row));
        rows.sort_unstable();
        rows
    }

    proptest! {
        #[test]
        fn as_each_of_them_would_say(
            intervals in prop::collection::vec((-50i64..50, -50i64..50), 0..40),
            (start, end) in (-60i64..60, -60i64..60),
        ) {
            let naive: Vec<u32> = (0u32..).zip(&intervals)
                .filter(|(_, of)| of.0 <= end && of.1 >= start)
                .map(|(row, _)| row)
                .collect();
            prop_assert_eq!(found(&intervals, start, end), naive);
        }
    }

    #[test]
    fn a_long_one_hides_none_of_those_behind_it() {
        let intervals = [(0, 1000), (1, 2), (3, 4), (500, 501), (990, 991)];
        assert_eq!(found(&intervals, 500, 600), [0, 3]);
        assert_eq!(found(&intervals, i64::MIN, i64::MAX), [0, 1, 2, 3, 4]);
        assert!(found(&[], 0, 1).is_empty());
    }
}
