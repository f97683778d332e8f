//! How much slower one way is than another, from rounds in each of which both ran once.
//!
//! A round gives one number, the logarithm of the ratio of its two times: what lasts over a round (heat, a neighbour, a
//! cold cache) is in both and goes out. Rounds are few and machines have bad moments, so some of these numbers lie far off,
//! in either direction, and neither a mean nor a normal distribution would do:
//!
//! * the estimate is the median of all Walsh averages, the means of each two of the numbers and of each with itself
//!   (Hodges and Lehmann, *Estimates of location based on rank tests*, Ann. Math. Statist. 34, 1963);
//! * the interval is all that Wilcoxon's signed-rank test would not reject, from one order statistic of the Walsh averages
//!   to another (Hollander, Wolfe and Chicken, *Nonparametric Statistical Methods*, 3rd ed., 3.1 to 3.3), with the exact
//!   distribution of the statistic. It supposes that the numbers are independent and lie evenly about their middle, which
//!   the order of the ways, drawn anew each round, is for; nothing else;
//! * the slowdown that would have been seen is one that four of five such experiments find, the interval being above
//!   nothing: 2.80 standard errors, where half of the interval is 1.96 (Bloom, *Minimum detectable effects*, Evaluation
//!   Review 19, 1995).
//!
//! The least rounds for which there is such an interval are six: of five numbers all have one sign in 1 of 16 cases.

/// How sure an interval is.
pub const CONFIDENCE: f64 = 0.95;
/// The least rounds that give an interval.
pub const LEAST_ROUNDS: usize = 6;

/// Standard errors that four of five experiments see, and those in half of an interval.
const SEEN: f64 = 2.80;
const HALF: f64 = 1.96;

/// How much slower one way is than the other: 0.01 is one percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slowdown {
    /// The best guess.
    pub estimate: f64,
    /// Where the truth lies, as sure as [`CONFIDENCE`]. `None`: too few rounds.
    pub interval: Option<Interval>,
}

/// From where to where, and how small a slowdown would have been seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// At least.
    pub least: f64,
    /// At most.
    pub most: f64,
    /// A slowdown of so much would have been told apart from none, in four of five such experiments.
    pub would_be_seen: f64,
}

/// What ratios, one a round, say together. `None` where there is none, or one is no ratio.
pub(super) fn slowdown(ratios: &[f64]) -> Option<Slowdown> {
    let logs: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
    if logs.iter().any(|log| !log.is_finite()) {
        return None;
    }
    let walsh = walsh_averages(&logs);
    let estimate = middle(&walsh)?.exp_m1();
    let interval = below(logs.len(), (1.0 - CONFIDENCE) / 2.0).map(|rank| {
        let (least, most) = (walsh[rank], walsh[walsh.len() - 1 - rank]);
        let would_be_seen = ((most - least) / 2.0 * SEEN / HALF).exp_m1();
        Interval { least: least.exp_m1(), most: most.exp_m1(), would_be_seen }
    });
    Some(Slowdown { estimate, interval })
}

/// The middle one; between the two in the middle, where their number is even.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    middle(&values)
}

fn middle(sorted: &[f64]) -> Option<f64> {
    let half = sorted.len() / 2;
    let upper = *sorted.get(half)?;
    Some(if sorted.len() % 2 == 1 { upper } else { f64::midpoint(sorted[half - 1], upper) })
}

/// Sorted.
fn walsh_averages(values: &[f64]) -> Vec<f64> {
    let each = values.iter().enumerate();
    let mut averages: Vec<f64> = each.flat_map(|(i, a)| values[i..].iter().map(|b| f64::midpoint(*a, *b))).collect();
    averages.sort_by(f64::total_cmp);
    averages
}

/// The greatest value of the signed-rank statistic of so many numbers that it or a smaller one comes no more often than
/// that. `None` where not even 0 is so rare.
fn below(numbers: usize, tail: f64) -> Option<usize> {
    // How often each sum of ranks comes, when each rank counts or not like a coin.
    let mut chances = vec![0.0; numbers * (numbers + 1) / 2 + 1];
    chances[0] = 1.0;
    for rank in 1..=numbers {
        for sum in (0..=rank * (rank + 1) / 2).rev() {
            let with = if sum >= rank { chances[sum - rank] } else { 0.0 };
            chances[sum] = (chances[sum] + with) / 2.0;
        }
    }
    let mut so_far = 0.0;
    let rare = chances.iter().take_while(|chance| {
        so_far += **chance;
        so_far <= tail
    });
    rare.count().checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ratios whose logarithms these are.
    fn of_logs(logs: &[f64]) -> Slowdown {
        slowdown(&logs.iter().map(|log| log.exp()).collect::<Vec<_>>()).unwrap()
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} {b}");
    }

    /// Tables of the signed-rank test, two-sided, 5 %: Wilcoxon and Wilcox 1964, as every textbook has them.
    #[test]
    fn critical_values_as_in_tables() {
        let table = [(6, 0), (7, 2), (8, 3), (9, 5), (10, 8), (12, 13), (15, 25), (20, 52), (25, 89), (30, 137)];
        for (numbers, value) in table {
            assert_eq!(below(numbers, 0.025), Some(value), "{numbers}");
        }
        assert_eq!((0..LEAST_ROUNDS).filter_map(|numbers| below(numbers, 0.025)).count(), 0);
        assert!(below(1000, 0.025).is_some_and(|value| (220_000..250_250).contains(&value)));
    }

    /// Nine patients of Hollander and Wolfe (table 3.1): 0.46, and from 0.010 to 0.786 at 96 %.
    #[test]
    #[allow(clippy::approx_constant, reason = "a patient, and no circle")]
    fn a_textbook_s_data() {
        let before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30];
        let after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29];
        let found = of_logs(&before.iter().zip(after).map(|(b, a)| b - a).collect::<Vec<_>>());
        let interval = found.interval.unwrap();
        close(found.estimate.ln_1p(), 0.46);
        close(interval.least.ln_1p(), 0.01);
        close(interval.most.ln_1p(), 0.786);
        close(interval.would_be_seen.ln_1p(), 0.388 * 2.8 / 1.96);
    }

    #[test]
    fn six_numbers_span_all_and_five_none() {
        let found = of_logs(&[0.01, 0.03, -0.02, 0.05, 0.04, 0.02]);
        let interval = found.interval.unwrap();
        close(interval.least.ln_1p(), -0.02);
        close(interval.most.ln_1p(), 0.05);
        // By hand: of the 21 averages the eleventh.
        close(found.estimate.ln_1p(), 0.025);
        let five = of_logs(&[0.01, 0.03, -0.02, 0.05, 0.04]);
        assert_eq!(five.interval, None);
        close(five.estimate.ln_1p(), 0.025);
    }

    #[test]
    fn one_bad_moment_moves_little() {
        let calm = of_logs(&[0.010, 0.012, 0.009, 0.011, 0.010, 0.008, 0.013, 0.011, 0.009, 0.010]);
        let bad = of_logs(&[0.010, 0.012, 0.009, 0.011, 0.010, 0.008, 0.013, 0.011, 0.009, 2.0]);
        assert!((calm.estimate - bad.estimate).abs() < 0.001, "{calm:?} {bad:?}");
        assert!(bad.interval.unwrap().most < 1.8);
    }

    /// Of many experiments whose truth is known, so many intervals hold it, and so many see what they say.
    #[test]
    fn intervals_hold_as_often_as_they_say() {
        let mut rng = fastrand::Rng::with_seed(1);
        // A sum of a few uniform ones, and now and then a bad moment in either direction.
        let mut noise = move || {
            let calm: f64 = (0..4).map(|_| rng.f64() - 0.5).sum::<f64>() * 0.01;
            if rng.f64() < 0.1 { calm + (rng.f64() - 0.5) * 0.5 } else { calm }
        };
        let (mut held, mut seen, tries) = (0, 0, 4000);
        let mut would = Vec::new();
        for _ in 0..tries {
            let found = of_logs(&(0..10).map(|_| 0.02 + noise()).collect::<Vec<_>>()).interval.unwrap();
            let truth = 0.02f64.exp_m1();
            held += i32::from(found.least <= truth && truth <= found.most);
            would.push(found.would_be_seen);
        }
        assert!(f64::from(held) / f64::from(tries) > 0.94, "{held}");
        let size = median(would).unwrap().ln_1p();
        for _ in 0..tries {
            let found = of_logs(&(0..10).map(|_| size + noise()).collect::<Vec<_>>()).interval.unwrap();
            seen += i32::from(found.least > 0.0);
        }
        let share = f64::from(seen) / f64::from(tries);
        assert!((0.7..0.95).contains(&share), "{share}");
    }

    #[test]
    fn what_is_no_ratio_is_none() {
        assert_eq!(slowdown(&[]), None);
        assert_eq!(slowdown(&[1.0, 0.0]), None);
        assert_eq!(slowdown(&[1.0, f64::NAN]), None);
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 100.0]), Some(3.0));
        assert_eq!(median([]), None);
    }
}
