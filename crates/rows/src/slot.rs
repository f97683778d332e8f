//! Durations in few numbers, for histograms: powers of two, each cut in sixteen. What is below sixteen has a slot of its own.

const STEPS: u64 = 16;

/// How many slots there are.
pub const SLOTS: usize = (64 * STEPS) as usize;

/// The slot of a duration.
pub const fn of(ticks: u64) -> usize {
    if ticks < STEPS {
        return ticks as usize;
    }
    let power = ticks.ilog2() as u64;
    let step = (ticks >> (power - 4)) & (STEPS - 1);
    ((power - 3) * STEPS + step) as usize
}

/// The least duration of a slot, and how many more there are of it.
pub fn begin_and_width(slot: usize) -> (f64, f64) {
    let slot = slot as u64;
    if slot < STEPS {
        return (slot as f64, 0.0);
    }
    let (power, step) = (slot / STEPS + 3, slot % STEPS);
    let width = (power as f64 - 4.0).exp2();
    ((STEPS + step) as f64 * width, width)
}

#[test]
fn each_duration_is_in_its_slot() {
    for ticks in (0..100_000).chain([1 << 20, (1 << 40) + 12_345, u64::MAX / 3]) {
        let (begin, width) = begin_and_width(of(ticks));
        assert!(begin <= ticks as f64 && ticks as f64 <= begin + width, "{ticks}: {begin} {width}");
    }
    assert!(of(u64::MAX) < SLOTS);
}
