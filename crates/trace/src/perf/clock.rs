//! The kernel's event clock and the TSC (`perf_event_mmap_page` in Linux `include/uapi/linux/perf_event.h`).
//!
//! With `cap_user_time_zero` the kernel says how its clock follows from the TSC:
//! `ns = time_zero + tsc × mult / 2^shift`.

/// From event time to TSC, and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeConv {
    pub(super) shift: u32,
    pub(super) mult: u64,
    pub(super) zero: u64,
}

impl TimeConv {
    /// What the kernel takes for a TSC of so many kHz, at least 466, whose clock stood at `zero` when that was 0
    /// (`clocks_calc_mult_shift` in `kernel/time/clocksource.c`, `set_cyc2ns_scale` in `arch/x86/kernel/tsc.c`).
    pub fn of_khz(khz: u32, zero: u64) -> Self {
        let khz = u64::from(khz.max(466));
        TimeConv { shift: 31, mult: ((1_000_000 << 31) + khz / 2) / khz, zero }
    }

    /// `None` for numbers that no kernel gives.
    pub fn new(shift: u64, mult: u64, zero: u64) -> Option<Self> {
        let shift = u32::try_from(shift).ok().filter(|s| *s < 64)?;
        (mult > 0 && mult <= u64::from(u32::MAX)).then_some(TimeConv { shift, mult, zero })
    }

    /// The TSC at an event time.
    pub(super) fn tsc(self, ns: u64) -> i64 {
        // What is before the zero is a clock that began negative: differences are of 64 bits that wrap.
        let since = ns.wrapping_sub(self.zero);
        let tsc = (u128::from(since) << self.shift) / u128::from(self.mult);
        i64::try_from(tsc).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
    }

    /// The event time at a TSC.
    pub fn ns(self, tsc: i64) -> u64 {
        let ns = (u128::from(tsc.max(0).unsigned_abs()) * u128::from(self.mult)) >> self.shift;
        self.zero.wrapping_add(ns as u64)
    }

    /// Ticks from one nanosecond to the next, at the most.
    pub(super) fn resolution(self) -> i64 {
        i64::try_from(self.hz().div_ceil(1_000_000_000)).unwrap_or(i64::MAX / 4).saturating_add(1)
    }

    /// Ticks a second. The kernel knows its TSC in kHz, so that is what the numbers stand for.
    pub(super) fn hz(self) -> u64 {
        let khz = ((1_000_000u128 << self.shift) + u128::from(self.mult) / 2) / u128::from(self.mult);
        u64::try_from(khz * 1000).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        // Of an emulated host of 2.1 GHz.
        let conv = TimeConv::new(31, 1_022_611_261, 0xffff_ffff_0dbe_31ab).unwrap();
        assert_eq!(conv.hz(), 2_100_000_000);
        assert_eq!(conv, TimeConv::of_khz(2_100_000, 0xffff_ffff_0dbe_31ab));
        for tsc in [0, 1, 39_000_000_000, 123_456_789_012_345] {
            let back = conv.tsc(conv.ns(tsc));
            assert!((tsc - 3..=tsc).contains(&back), "{back} for {tsc}");
        }
    }

    #[test]
    fn numbers_of_no_kernel() {
        assert_eq!(TimeConv::new(64, 1, 0), None);
        assert_eq!(TimeConv::new(31, 0, 0), None);
        assert_eq!(TimeConv::new(31, 1 << 40, 0), None);
        let wild = TimeConv::new(63, 1, 0).unwrap();
        assert!(wild.tsc(u64::MAX) > 0 && wild.hz() > 0);
    }
}
