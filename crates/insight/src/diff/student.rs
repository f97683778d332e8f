//! Student's t distribution.
//!
//! Its tail is a regularised incomplete beta function (Abramowitz and Stegun, *Handbook of Mathematical Functions*, 26.7.1), that
//! a continued fraction (26.5.8); the gamma function's logarithm is Stirling's series (6.1.41).

use std::f64::consts::PI;

/// How often t is less than a value that is not positive, with so many degrees of freedom.
pub(super) fn lower_tail(t: f64, freedom: f64) -> f64 {
    incomplete_beta(freedom / (freedom + t * t), freedom / 2.0, 0.5) / 2.0
}

/// What t exceeds, in both directions together, in a part `tails` of cases.
pub(super) fn two_sided(tails: f64, freedom: f64) -> f64 {
    // Newton's way from below: the tail is convex, so that no step goes past the place.
    let mut t = 1.0;
    for _ in 0..100 {
        let step = (2.0 * lower_tail(-t, freedom) - tails) / (2.0 * density(t, freedom));
        t += step;
        if step.abs() < 1e-10 * t {
            break;
        }
    }
    t
}

fn density(t: f64, freedom: f64) -> f64 {
    let log = ln_gamma(f64::midpoint(freedom, 1.0)) - ln_gamma(freedom / 2.0) - 0.5 * (freedom * PI).ln();
    (log - f64::midpoint(freedom, 1.0) * (t * t / freedom).ln_1p()).exp()
}

/// I_x(a, b).
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    // There the fraction is quick.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    }
    let front = a * x.ln() + b * (-x).ln_1p() + ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b);
    front.exp() / a / fraction(x, a, b)
}

/// 1 + d₁/(1 + d₂/(1 + …)), as Lentz evaluates it: from the front, until nothing changes.
fn fraction(x: f64, a: f64, b: f64) -> f64 {
    const LEAST: f64 = 1e-300;
    let some = |v: f64| if v.abs() < LEAST { LEAST } else { v };
    let (mut value, mut above, mut below) = (1.0, 1.0, 0.0);
    for n in 1..1000 {
        let m = f64::from(n / 2);
        let d = if n % 2 == 0 {
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        } else {
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        };
        above = some(1.0 + d / above);
        below = 1.0 / some(1.0 + d * below);
        let by = above * below;
        value *= by;
        if (by - 1.0_f64).abs() < 1e-15 {
            break;
        }
    }
    value
}

/// ln Γ of what is positive.
fn ln_gamma(x: f64) -> f64 {
    // From ten on the series is exact; Γ(x + 1) = x·Γ(x) leads there.
    if x < 10.0 {
        return ln_gamma(x + 1.0) - x.ln();
    }
    let (over, square) = (1.0 / x, 1.0 / (x * x));
    let series = over * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0)));
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * PI).ln() + series
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64, by: f64) {
        assert!((a - b).abs() <= by, "{a} {b}");
    }

    #[test]
    fn factorials() {
        close(ln_gamma(6.0), 120f64.ln(), 1e-10);
        close(ln_gamma(0.5), PI.sqrt().ln(), 1e-10);
        close(ln_gamma(21.0), 2_432_902_008_176_640_000f64.ln(), 1e-10);
    }

    /// Two-sided, 5 %: as every textbook has them.
    #[test]
    fn the_textbooks_table() {
        let table =
            [(1.0, 12.706), (2.0, 4.303), (5.0, 2.571), (10.0, 2.228), (30.0, 2.042), (120.0, 1.980), (1e6, 1.960)];
        for (freedom, t) in table {
            close(two_sided(0.05, freedom), t, 5e-4);
            close(lower_tail(-t, freedom), 0.025, 2e-5);
        }
        close(two_sided(0.01, 9.0), 3.250, 5e-4);
    }

    /// With one degree of freedom it is Cauchy's distribution, with two it has a closed form, too.
    #[test]
    fn tails_that_can_be_written_down() {
        for t in [0.0, 0.1, 1.0, 7.0, 1e3, 1e6] {
            close(lower_tail(-t, 1.0) / (0.5 - f64::atan(t) / PI).max(1e-300), 1.0, 1e-6);
            close(lower_tail(-t, 2.0), 0.5 - t / (2.0 * (2.0 + t * t).sqrt()), 1e-12);
        }
        assert!(lower_tail(-40.0, 60.0) > 0.0 && lower_tail(-40.0, 60.0) < 1e-30);
    }
}
