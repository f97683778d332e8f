//! Whether values are other than they were.
//!
//! Two tests, since a change may come late, and a spread may have two humps. Neither asks how values are distributed; each must be
//! as unlikely as [`ALPHA`] where nothing changed, and the change must be one that matters ([`Least`]).
//!
//! * **Exceedances** (Gumbel and von Schelling, *The distribution of the number of exceedances*, 1950): that k of m new values
//!   are all above the most of n learnt ones has the probability m!/(m−k)! · (n+m−k)!/(n+m)!.
//! * **Rank sum** (Wilcoxon 1945; Mann and Whitney 1947), with its normal limit; ties make it say less, never more.

use super::profile::{Metric, Spread, quantile};

/// How unlikely a change must be by chance.
const ALPHA: f64 = 1e-3;

/// A change that is less does not matter.
#[derive(Debug, Clone, Copy)]
struct Least {
    /// By so much,
    by: f64,
    /// and to so many times as much (or, where it is less, as little).
    times: f64,
}

impl Metric {
    fn least(self) -> Least {
        let (by, times) = match self {
            Metric::Share => (0.05, 1.25),
            Metric::Root => (0.02, 1.5),
            Metric::Steal => (0.1, 1.25),
            Metric::Exits => (500.0, 2.0),
            Metric::LatencyMedian | Metric::LatencyHigh => (2000.0, 2.0),
            Metric::Waits => (200.0, 2.0),
        };
        Least { by, times }
    }
}

/// How values are other than they were.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Departure {
    /// More than usual; else less.
    pub(super) more: bool,
    /// What is usual, and what is now.
    pub(super) usual: f64,
    pub(super) now: f64,
    /// Values beyond this are what is unusual.
    pub(super) beyond: f64,
    /// How surely it is no chance.
    pub(super) sure: f64,
}

/// How values depart from a spread; none where they do not.
pub(super) fn departs(metric: Metric, values: &[f64], spread: &Spread) -> Option<Departure> {
    let Least { by, times } = metric.least();
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let matters = |usual: f64, now: f64| {
        let (less, more) = (usual.min(now), usual.max(now));
        more - less >= by && more >= less * times
    };
    let departure = |more, usual, now: f64, beyond, chance: f64| {
        (chance <= ALPHA && matters(usual, now)).then_some(Departure { more, usual, now, beyond, sure: 1.0 - chance })
    };
    let (n, m) = (f64::from(spread.windows), values.len() as f64);
    let (least, most) = (spread.quantile(0.0), spread.quantile(1.0));
    // Rounding of what was learnt is no change.
    let over = sorted.partition_point(|value| *value <= most * (1.0 + 1e-6));
    let under = sorted.partition_point(|value| *value < least * (1.0 - 1e-6));
    let by_exceedances = || {
        let (above, below) = (&sorted[over..], &sorted[..under]);
        let now = |of: &[f64]| quantile(of, 0.5).unwrap_or(0.0);
        departure(true, most, now(above), most, exceedances(above.len(), n, m))
            .or_else(|| departure(false, least, now(below), least, exceedances(below.len(), n, m)))
    };
    let by_ranks = || {
        let (usual, now) = (spread.quantile(0.5), quantile(&sorted, 0.5)?);
        let more = now > usual;
        departure(more, usual, now, usual, rank_sum(&sorted, spread, more))
    };
    by_exceedances().or_else(by_ranks)
}

/// The chance that so many of `m` new values are all beyond `n` learnt ones.
fn exceedances(k: usize, n: f64, m: f64) -> f64 {
    (0..k).map(|i| (m - i as f64) / (n + m - i as f64)).product()
}

/// The chance that values are as high (or low) as these among those of the spread.
fn rank_sum(values: &[f64], spread: &Spread, more: bool) -> f64 {
    let (n, m) = (f64::from(spread.windows), values.len() as f64);
    let learnt = &spread.quantiles;
    let wins: f64 = values
        .iter()
        .map(|value| {
            let below = learnt.partition_point(|other| other < value) as f64;
            let not_above = learnt.partition_point(|other| other <= value) as f64;
            (below + not_above) / 2.0 / learnt.len().max(1) as f64
        })
        .sum();
    // The part of all pairs of which the new value is the higher; a half by chance.
    let part = wins / m.max(1.0);
    let deviation = ((n + m + 1.0) / (12.0 * n * m).max(1.0)).sqrt();
    above(if more { part - 0.5 } else { 0.5 - part } / deviation.max(f64::MIN_POSITIVE))
}

/// The chance that a normal value is so many deviations above the mean, or more (Abramowitz and Stegun 26.2.17: to 10⁻⁷).
fn above(z: f64) -> f64 {
    if z < 0.0 {
        return 1.0 - above(-z);
    }
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let sum = [1.330_274_429, -1.821_255_978, 1.781_477_937, -0.356_563_782, 0.319_381_530]
        .iter()
        .fold(0.0, |sum, factor| (sum + factor) * t);
    (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_are_those_of_the_tables() {
        assert!((exceedances(4, 40.0, 8.0) - 1680.0 / 4_669_920.0).abs() < 1e-9);
        assert_eq!(exceedances(0, 40.0, 8.0), 1.0);
        for (z, chance) in [(0.0, 0.5), (1.0, 0.158_655), (3.0, 0.001_350), (-1.0, 0.841_345)] {
            assert!((above(z) - chance).abs() < 1e-6, "{z}: {}", above(z));
        }
    }

    #[test]
    fn a_change_is_one_that_chance_does_not_make_and_that_matters() {
        let share = |values: &[f64], spread: &[f64]| {
            departs(Metric::Share, values, &Spread::of(spread).unwrap()).map(|d| (d.more, d.now))
        };
        let usual: Vec<f64> = (0..80).map(|i| 0.1 + f64::from(i % 10) * 0.01).collect();
        assert_eq!(share(&usual[..16], &usual), None);
        // The last quarter of the time; less than that may be chance, and little more does not matter.
        let late = |n: usize, to: f64| -> Vec<f64> { [vec![0.12; 16 - n], vec![to; n]].concat() };
        assert_eq!(share(&late(4, 0.6), &usual), Some((true, 0.6)));
        assert_eq!(share(&late(2, 0.6), &usual), None);
        assert_eq!(share(&late(8, 0.2), &usual), None);
        assert_eq!(share(&[0.0; 16], &usual), Some((false, 0.0)));
        // Half of the time, and now always.
        let half: Vec<f64> = (0..160).map(|i| if i % 2 == 0 { 0.0 } else { 0.7 }).collect();
        assert_eq!(share(&[0.7; 32], &half), Some((true, 0.7)));
        assert_eq!(share(&half[..32], &half), None);
    }
}
