//! Times as clients have them: the dataset's nanoseconds, or its ticks where no rate is known.

use havana_rows::parquet::NsClock;

use crate::view::Opened;

/// How ticks become a client's times, and back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    clock: Option<NsClock>,
}

impl Times {
    pub(super) fn of(opened: &Opened) -> Times {
        Times { clock: opened.dataset.manifest().clock.ns() }
    }

    /// Whether they are nanoseconds.
    pub(super) fn are_ns(self) -> bool {
        self.clock.is_some()
    }

    /// The time of a tick, as the dataset has it.
    pub(super) fn time(self, tsc: i64) -> i64 {
        self.clock.map_or(tsc, |clock| clock.ns(tsc))
    }

    /// The last tick of a time: several ticks have the same, and what begins with one of them is there at the last.
    pub(super) fn tick(self, time: i64) -> i64 {
        let Some(NsClock { origin_tsc, origin_ns, num, den }) = self.clock else { return time };
        let after = i128::from(time) + 1 - i128::from(origin_ns);
        let ticks = (after * i128::from(den.get()) - 1).div_euclid(i128::from(num));
        (i128::from(origin_tsc) + ticks).clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }

    /// A number of ticks as seconds; the ticks where no rate is known.
    pub(super) fn seconds(self, ticks: i64) -> f64 {
        self.clock.map_or(ticks as f64, |clock| ticks as f64 * clock.num as f64 / clock.den.get() as f64 / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_tick_of_a_time_is_its_last(
            hz in 1..5_000_000_000u64, tsc in -(1i64 << 50)..1 << 50, origin in (-(1i64 << 50)..1 << 50, -(1i64 << 60)..1 << 60),
        ) {
            let times = Times { clock: NsClock::of(Some(hz), origin) };
            let last = times.tick(times.time(tsc));
            prop_assert!(last >= tsc);
            prop_assert_eq!(times.time(last), times.time(tsc));
            prop_assert!(times.time(last + 1) > times.time(tsc));
        }
    }
}
