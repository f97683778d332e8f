//! How often what took how long, in little memory: powers of two, each cut in sixteen.

use havana_rows::slot;
use serde::Serialize;

/// Counts of durations.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

/// What a histogram says in a few numbers. Ticks; off by at most a sixteenth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Histogram { counts: vec![0; slot::SLOTS], total: 0, max: 0 }
    }

    pub(crate) fn add(&mut self, ticks: u64) {
        self.counts[slot::of(ticks)] += 1;
        self.total += 1;
        self.max = self.max.max(ticks);
    }

    /// The middle of a slot.
    fn value(slot: usize) -> f64 {
        let (begin, width) = slot::begin_and_width(slot);
        begin + width / 2.0
    }

    pub(crate) fn quantile(&self, q: f64) -> f64 {
        let rank = (self.total as f64 * q) as u64;
        let mut seen = 0;
        for (slot, n) in self.counts.iter().enumerate() {
            seen += n;
            if seen > rank {
                return Self::value(slot).min(self.max as f64);
            }
        }
        self.max as f64
    }

    pub(crate) fn quantiles(&self) -> Option<Quantiles> {
        (self.total > 0).then(|| Quantiles {
            p50: self.quantile(0.5),
            p90: self.quantile(0.9),
            p99: self.quantile(0.99),
            max: self.max as f64,
        })
    }

    /// Counts between bounds that rise (ticks); one more than there are bounds.
    pub(crate) fn between(&self, bounds: &[f64]) -> Vec<u64> {
        let mut out = vec![0; bounds.len() + 1];
        for (slot, &n) in self.counts.iter().enumerate().filter(|(_, n)| **n > 0) {
            out[bounds.partition_point(|b| *b <= Self::value(slot))] += n;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_off_by_a_sixteenth_at_most() {
        let mut h = Histogram::new();
        for t in 1..=100_000u64 {
            h.add(t * 3);
        }
        for q in [0.01, 0.5, 0.9, 0.99] {
            let truth = 300_000.0 * q;
            assert!((h.quantile(q) - truth).abs() <= truth / 16.0, "{q}: {}", h.quantile(q));
        }
        assert_eq!(h.quantiles().unwrap().max, 300_000.0);
        assert_eq!(h.between(&[150_000.0]).iter().sum::<u64>(), 100_000);
        h.add(0);
        h.add(u64::MAX);
        assert_eq!(Histogram::new().quantiles(), None);
    }
}
