//! From ticks to nanoseconds: `ns = origin_ns + floor((tsc - origin_tsc) * num / den)`.
//!
//! Every time column is converted when it is written, so this runs several times a row; a 128-bit division costs as
//! much as encoding the column. [`Scale`] divides once, when it is made, and then multiplies.

use std::num::NonZeroU64;

/// A straight line through (`origin_tsc`, `origin_ns`) with `num / den` nanoseconds a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NsClock {
    /// A tick of the host's TSC …
    pub origin_tsc: i64,
    /// … and its time, in nanoseconds.
    pub origin_ns: i64,
    /// So many nanoseconds …
    pub num: u64,
    /// … pass in so many ticks.
    pub den: NonZeroU64,
}

impl NsClock {
    /// Of a TSC with so many ticks a second, from a tick and its time on; `None` where the rate is not known.
    pub fn of(tsc_hz: Option<u64>, (origin_tsc, origin_ns): (i64, i64)) -> Option<NsClock> {
        let den = NonZeroU64::new(tsc_hz?)?;
        Some(NsClock { origin_tsc, origin_ns, num: 1_000_000_000, den })
    }

    /// The time of a tick, rounded down to the nanosecond; the nearest there is where it does not fit into 64 bits.
    pub fn ns(&self, tsc: i64) -> i64 {
        Scale::new(*self).ns(tsc)
    }
}

/// An [`NsClock`] made ready for many ticks; exact.
///
/// With `num = whole * den + part` the product is `d * whole + d * part / den`, and the last is estimated by the
/// reciprocal `floor(2^64 * part / den)`. That is too small by less than one part in 2^64, hence the quotient by at
/// most one, which the remainder tells (it is below `2 * den`, so its low 64 bits and the carry are enough).
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    origin_tsc: i64,
    origin_ns: i64,
    whole: u64,
    part: u64,
    den: u64,
    reciprocal: u64,
}

impl Scale {
    /// Divides once.
    pub fn new(clock: NsClock) -> Self {
        let den = clock.den.get();
        let part = clock.num % den;
        Scale {
            origin_tsc: clock.origin_tsc,
            origin_ns: clock.origin_ns,
            whole: clock.num / den,
            part,
            den,
            // part < den, so this is below 2^64.
            reciprocal: ((u128::from(part) << 64) / u128::from(den)) as u64,
        }
    }

    /// [`NsClock::ns`].
    #[inline]
    pub fn ns(&self, tsc: i64) -> i64 {
        let distance = tsc.abs_diff(self.origin_tsc);
        let mut quotient = ((u128::from(distance) * u128::from(self.reciprocal)) >> 64) as u64;
        let mut rest = u128::from(distance) * u128::from(self.part) - u128::from(quotient) * u128::from(self.den);
        if rest >= u128::from(self.den) {
            rest -= u128::from(self.den);
            quotient += 1;
        }
        let magnitude = u128::from(distance) * u128::from(self.whole) + u128::from(quotient);
        // At most 2^64 * 2^64: more than an i128 holds, and far more than can fit in the end.
        let magnitude = i128::try_from(magnitude).unwrap_or(i128::MAX / 2);
        let offset = if tsc >= self.origin_tsc { magnitude } else { -magnitude - i128::from(rest != 0) };
        let ns = i128::from(self.origin_ns) + offset;
        ns.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, where it fits into 128 bits.
    fn naive(clock: NsClock, tsc: i64) -> Option<i64> {
        let product = (i128::from(tsc) - i128::from(clock.origin_tsc)).checked_mul(i128::from(clock.num))?;
        let ns = i128::from(clock.origin_ns) + product.div_euclid(i128::from(clock.den.get()));
        Some(ns.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
    }

    fn any_clock() -> impl Strategy<Value = NsClock> {
        let number = || prop_oneof![1..5000u64, 1..u64::from(u32::MAX), 1..=u64::MAX];
        (any::<i64>(), any::<i64>(), number(), number()).prop_map(|(origin_tsc, origin_ns, num, den)| NsClock {
            origin_tsc,
            origin_ns,
            num,
            den: NonZeroU64::new(den).unwrap(),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn equals_the_definition(clock in any_clock(), tsc in any::<i64>(), near in -100_000i64..100_000) {
            for tsc in [tsc, clock.origin_tsc.saturating_add(near)] {
                if let Some(expected) = naive(clock, tsc) {
                    prop_assert_eq!(clock.ns(tsc), expected);
                }
            }
        }
    }

    #[test]
    fn rounds_down_on_both_sides_of_the_origin() {
        let clock = NsClock { origin_tsc: 100, origin_ns: 1000, num: 1, den: NonZeroU64::new(3).unwrap() };
        let ns: Vec<i64> = (96..=104).map(|tsc| clock.ns(tsc)).collect();
        assert_eq!(ns, [998, 999, 999, 999, 1000, 1000, 1000, 1001, 1001]);
    }

    #[test]
    fn stops_at_the_ends_of_what_fits() {
        let clock = NsClock { origin_tsc: i64::MIN, origin_ns: i64::MIN, num: u64::MAX, den: NonZeroU64::MIN };
        assert_eq!(clock.ns(i64::MIN), i64::MIN);
        assert_eq!(clock.ns(i64::MAX), i64::MAX);
    }
}
