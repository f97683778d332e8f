//! When a window of a recorded trace is due, by the clock of whoever looks.

use std::time::{Duration, Instant};

/// Trace time against the clock.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// This much faster than it was; none: as fast as it goes.
    speed: Option<f64>,
    hz: u64,
    /// This moment of the trace
    tsc: i64,
    /// was due now.
    at: Instant,
}

impl Pace {
    /// `tsc` is due at `at`. A speed of 1 is as it was, of 0 as fast as it goes.
    pub fn new(speed: f64, hz: u64, tsc: i64, at: Instant) -> Pace {
        Pace { speed: (speed > 0.0 && speed.is_finite()).then_some(speed), hz: hz.max(1), tsc, at }
    }

    /// How long from `now` until this moment of the trace is due.
    pub fn left(&self, tsc: i64, now: Instant) -> Duration {
        let Some(speed) = self.speed else { return Duration::ZERO };
        let after = (tsc - self.tsc).max(0) as f64 / self.hz as f64 / speed;
        let due = Duration::try_from_secs_f64(after).ok().and_then(|after| self.at.checked_add(after));
        due.map_or(Duration::MAX, |due| due.saturating_duration_since(now))
    }

    /// Nobody looked for so long: all that is due later is due that much later.
    pub fn pause(&mut self, held: Duration) {
        self.at += held;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_it_was_faster_slower_and_at_once() {
        let at = Instant::now();
        let left = |speed, tsc, ms| Pace::new(speed, 1000, 5_000, at).left(tsc, at + Duration::from_millis(ms));
        assert_eq!(left(1.0, 7_000, 500), Duration::from_millis(1500));
        assert_eq!(left(10.0, 7_000, 50), Duration::from_millis(150));
        assert_eq!(left(0.5, 7_000, 0), Duration::from_secs(4));
        assert_eq!(left(0.0, 7_000, 0), Duration::ZERO);
        assert_eq!(left(1.0, 7_000, 9_000), Duration::ZERO, "late is due");
        let mut pace = Pace::new(1.0, 1000, 5_000, at);
        pace.pause(Duration::from_secs(3));
        assert_eq!(pace.left(7_000, at), Duration::from_secs(5));
    }
}
