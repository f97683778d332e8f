//! Whether two stretches differ by more than each differs from itself.
//!
//! What a side did is a time series, and neighbouring moments are alike. So no row of it is a sample; blocks of time are:
//!
//! * **Batch means.** A stretch is cut in [`BLOCKS`] equal blocks. Where these still follow each other (their lag-1
//!   autocorrelation is over 1/√n), each two become one, down to [`FEWEST`] (Fishman, *Grouping observations in digital
//!   simulation*, Management Science 24, 1978). What correlation is left then makes n smaller, by (1 − r)/(1 + r), as in a
//!   first-order autoregression (Bartlett, *Some aspects of the time-correlation problem*, J. R. Statist. Soc. 98, 1935).
//! * **A ratio of sums.** What is not known of a block takes from its weight: the value is Σy/Σx, its error that of the
//!   linearised ratio's blocks (Cochran, *Sampling Techniques*, 3rd ed., 6.4).
//! * **One step** is no noise. Where the level changed once for good, so that two levels leave a fifth of the squares that one
//!   does (least squares, as in Hinkley, *Inference about the change-point in a sequence of random variables*, Biometrika 57, 1970),
//!   blocks are held against their own level: what began in the middle of a side is there as surely as what went on all along.
//!   Ups and downs leave more, and are noise.
//! * **The test** is Welch's (*The generalization of Student's problem*, Biometrika 34, 1947), of values that differ in variance. The
//!   interval is that of Zou and Donner (*Construction of confidence limits about effect measures*, Statist. Med. 27, 2008),
//!   which is Welch's where errors are even.
//! * **Quantiles** have the interval of Woodruff (*Confidence intervals for medians and other position measures*, JASA 47, 1952):
//!   the share of what lies below is a ratio as above, and its interval is read off the distribution.
//! * **Many comparisons** make some look large. p values are adjusted so that of all that is told not more than a given
//!   part is expected to be chance (Benjamini and Hochberg, *Controlling the false discovery rate*, J. R. Statist. Soc. B 57, 1995).

use super::student::{lower_tail, two_sided};

/// Blocks of a stretch, at first.
pub(crate) const BLOCKS: usize = 64;
/// Blocks at last.
const FEWEST: usize = 16;
/// Blocks of which something must be known.
const LEAST_KNOWN: usize = 8;
/// How sure intervals are.
pub const CONFIDENCE: f64 = 0.95;
/// A step is most of what a side differs from itself: of the squares, so much.
const STEP_IS: f64 = 0.8;
/// A level lasts this part of the blocks at least.
const SHORTEST_LEVEL: usize = 8;
/// What is left of n at least, where blocks follow each other closely, is this part of it.
const MOST_CORRELATED: f64 = 0.6;

/// A quantity, block by block.
pub(crate) type Blocks = [f64; BLOCKS];

/// A value and how far it may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) value: f64,
    /// Standard errors, downwards and upwards.
    below: f64,
    above: f64,
    /// Degrees of freedom.
    freedom: f64,
    /// The block where a new level begins.
    pub(crate) step: Option<usize>,
}

impl Estimate {
    /// Σy/Σx. None where hardly anything is known.
    pub(crate) fn ratio(y: &Blocks, x: &Blocks) -> Option<Estimate> {
        let known: Vec<usize> = (0..BLOCKS).filter(|at| x[*at] > 0.0).collect();
        let weight: f64 = x.iter().sum();
        if known.len() < LEAST_KNOWN {
            return None;
        }
        let value = y.iter().sum::<f64>() / weight;
        let mut rest: Vec<f64> = known.iter().map(|at| (y[*at] - value * x[*at]) / weight).collect();
        let step = take_step(&mut rest).map(|at| known[at]);
        let mut follows = correlation(&rest);
        while follows > 1.0 / (rest.len() as f64).sqrt() && rest.len() / 2 >= FEWEST {
            rest = rest.chunks(2).map(|pair| pair.iter().sum()).collect();
            follows = correlation(&rest);
        }
        let n = rest.len() as f64;
        let r = follows.clamp(0.0, MOST_CORRELATED);
        let left = if r > 1.0 / n.sqrt() { (1.0 - r) / (1.0 + r) } else { 1.0 };
        let freedom = (n * left - 1.0 - f64::from(u8::from(step.is_some()))).max(1.0);
        // Each is a part of the whole: their sum has n times the variance of one.
        let variance = rest.iter().map(|e| e * e).sum::<f64>() / (n - 1.0) * n / left;
        let error = variance.sqrt();
        Some(Estimate { value, below: error, above: error, freedom, step })
    }

    /// In another unit.
    pub(crate) fn scaled(self, by: f64) -> Estimate {
        Estimate { value: self.value * by, below: self.below * by, above: self.above * by, ..self }
    }

    /// What has a part `q` of a distribution below it: `share` is the ratio of what is below, `at` gives what has how much below it.
    pub(crate) fn quantile(q: f64, share: &Estimate, at: impl Fn(f64) -> Option<f64>) -> Option<Estimate> {
        let t = critical(share.freedom);
        let (value, low, high) = (at(q)?, at(q - t * share.below)?, at(q + t * share.above)?);
        Some(Estimate { value, below: (value - low).max(0.0) / t, above: (high - value).max(0.0) / t, ..*share })
    }
}

/// What a test says of b − a.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shift {
    pub(crate) change: f64,
    /// Where the truth lies, as sure as [`CONFIDENCE`].
    pub(crate) lo: f64,
    pub(crate) hi: f64,
    /// How often chance alone would do so much.
    pub(crate) p: f64,
}

impl Shift {
    pub(crate) fn between(a: &Estimate, b: &Estimate) -> Shift {
        let change = b.value - a.value;
        let side = |a_error: f64, b_error: f64| {
            let (va, vb) = (a_error * a_error, b_error * b_error);
            let freedom = (va + vb).powi(2) / (va * va / a.freedom + vb * vb / b.freedom);
            // Of no errors it is no number.
            ((va + vb).sqrt(), if freedom.is_finite() { freedom } else { a.freedom.min(b.freedom) })
        };
        let (down, up) = (side(a.above, b.below), side(a.below, b.above));
        let (error, freedom) = if change > 0.0 { down } else { up };
        let p = match () {
            () if change == 0.0 => 1.0,
            () if error == 0.0 => 0.0,
            () => 2.0 * lower_tail(-change.abs() / error, freedom),
        };
        let (lo, hi) = (change - critical(down.1) * down.0, change + critical(up.1) * up.0);
        Shift { change, lo, hi, p }
    }
}

/// p values, adjusted for their number: one that is at most q is told where a part q of what is told may be chance.
pub(crate) fn adjusted(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut adjusted = vec![1.0; p.len()];
    let mut least = 1.0_f64;
    for (rank, at) in order.iter().enumerate().rev() {
        least = least.min(p[*at] * p.len() as f64 / (rank + 1) as f64);
        adjusted[*at] = least;
    }
    adjusted
}

/// Holds each part against its own level, where the level changed once: where it did.
fn take_step(rest: &mut [f64]) -> Option<usize> {
    let n = rest.len() as f64;
    let (all, squares) = rest.iter().fold((0.0, 0.0), |(sum, squares), e| (sum + e, squares + e * e));
    let whole = squares - all * all / n;
    let shortest = rest.len() / SHORTEST_LEVEL;
    // Of each place how much it takes from the squares.
    let (mut before, mut best) = (0.0, (0.0, 0));
    for at in 1..rest.len() {
        before += rest[at - 1];
        let after = all - before;
        let takes = before * before / at as f64 + after * after / (n - at as f64) - all * all / n;
        if at >= shortest && rest.len() - at >= shortest && takes > best.0 {
            best = (takes, at);
        }
    }
    let (takes, at) = best;
    if at == 0 || takes < STEP_IS * whole {
        return None;
    }
    let (before, after) = rest.split_at_mut(at);
    for level in [before, after] {
        let mean = level.iter().sum::<f64>() / level.len() as f64;
        level.iter_mut().for_each(|e| *e -= mean);
    }
    Some(at)
}

/// How much each is like the one before: lag-1 autocorrelation of what has mean 0.
fn correlation(rest: &[f64]) -> f64 {
    let all: f64 = rest.iter().map(|e| e * e).sum();
    let beside: f64 = rest.windows(2).map(|pair| pair[0] * pair[1]).sum();
    if all > 0.0 { beside / all } else { 0.0 }
}

/// Standard errors in half of an interval.
fn critical(freedom: f64) -> f64 {
    two_sided(1.0 - CONFIDENCE, freedom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64, by: f64) {
        assert!((a - b).abs() <= by, "{a} {b}");
    }

    /// Noise of a first-order autoregression around a level.
    struct Noise(u64, f64);

    impl Noise {
        fn uniform(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 40) as f64 / (1 << 24) as f64
        }

        fn blocks(&mut self, level: f64, follows: f64) -> Blocks {
            std::array::from_fn(|_| {
                let fresh: f64 = (0..4).map(|_| self.uniform() - 0.5).sum();
                self.1 = follows * self.1 + fresh;
                level + 0.05 * self.1
            })
        }
    }

    const WHOLE: Blocks = [1.0; BLOCKS];

    /// The example of Welch's test that R has (`t.test(extra ~ group, sleep)`): t = −1.8608, 17.776 degrees of freedom, p = 0.07939,
    /// from −3.3655 to 0.2055.
    #[test]
    fn welch_s_test_as_others_have_it() {
        let of = |values: [f64; 10]| {
            let mean = values.iter().sum::<f64>() / 10.0;
            let error = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 90.0).sqrt();
            Estimate { value: mean, below: error, above: error, freedom: 9.0, step: None }
        };
        let a = of([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]);
        let b = of([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]);
        let shift = Shift::between(&a, &b);
        close(shift.p, 0.07939, 1e-5);
        close(shift.lo, -3.3655, 1e-4);
        close(shift.hi, 0.2055, 1e-4);
    }

    /// The example of Benjamini and Hochberg's paper: four of fifteen are told at 0.05.
    #[test]
    fn the_paper_s_fifteen_p_values() {
        let p = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528,
            0.7590, 1.000,
        ];
        let adjusted = adjusted(&p);
        assert_eq!(adjusted.iter().filter(|q| **q <= 0.05).count(), 4);
        close(adjusted[3], 0.0095 * 15.0 / 4.0, 1e-12);
        assert!(adjusted.windows(2).all(|pair| pair[0] <= pair[1]));
    }

    #[test]
    fn chance_is_told_as_often_as_is_said_also_where_moments_are_alike() {
        for (follows, at_most) in [(0.0, 0.06), (0.5, 0.08), (0.8, 0.1)] {
            let (mut told, mut missed, mut noise) = (0, 0, Noise(7, 0.0));
            for _ in 0..1000 {
                let of = |blocks: Blocks| Estimate::ratio(&blocks, &WHOLE).unwrap();
                let (a, b) = (of(noise.blocks(0.3, follows)), of(noise.blocks(0.3, follows)));
                let shift = Shift::between(&a, &b);
                told += u32::from(shift.p < 0.05);
                missed += u32::from(shift.lo > 0.0 || shift.hi < 0.0);
            }
            assert_eq!(told, missed, "the interval is the test's");
            assert!(f64::from(told) / 1000.0 < at_most, "{follows}: {told}");
        }
    }

    #[test]
    fn a_step_is_no_noise_and_is_where_it_is() {
        let mut noise = Noise(3, 0.0);
        let calm = Estimate::ratio(&noise.blocks(0.0, 0.0), &WHOLE).unwrap();
        let mut blocks = noise.blocks(0.0, 0.0);
        blocks[40..].iter_mut().for_each(|y| *y += 0.6);
        let stepped = Estimate::ratio(&blocks, &WHOLE).unwrap();
        assert_eq!((calm.step, stepped.step), (None, Some(40)));
        let shift = Shift::between(&calm, &stepped);
        close(shift.change, 0.6 * 24.0 / 64.0, 0.01);
        assert!(shift.p < 1e-9 && shift.lo > 0.2, "{shift:?}");
        // Ups and downs are noise.
        let waves: Blocks = std::array::from_fn(|at| if at / 16 % 2 == 0 { 0.0 } else { 0.6 });
        let waves = Estimate::ratio(&waves, &WHOLE).unwrap();
        assert!(waves.step.is_none() && waves.above > 0.05, "{waves:?}");
    }

    #[test]
    fn what_is_not_known_takes_from_the_weight() {
        let (mut y, mut x) = ([0.3; BLOCKS], WHOLE);
        (y[5], x[5]) = (0.0, 0.0);
        (y[6], x[6]) = (0.15, 0.5);
        let estimate = Estimate::ratio(&y, &x).unwrap();
        close(estimate.value, 0.3, 1e-12);
        close(estimate.above, 0.0, 1e-12);
        assert_eq!(Estimate::ratio(&y, &[0.0; BLOCKS]), None);
        assert_eq!(Shift::between(&estimate, &estimate).p, 1.0);
    }

    #[test]
    fn a_quantile_s_error_is_read_off_the_distribution() {
        // Evenly from 0 to 100, of which the share below is known to ±0.02.
        let share = Estimate { value: 0.9, below: 0.01, above: 0.01, freedom: 1e6, step: None };
        let found = Estimate::quantile(0.9, &share, |share| Some(share.clamp(0.0, 1.0) * 100.0)).unwrap();
        close(found.below, 1.0, 1e-3);
        close(found.above, 1.0, 1e-3);
    }
}
