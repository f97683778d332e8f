//! What is done by the clock, and when it is due.

use std::time::{Duration, Instant};

/// Something that is done each time that so long has passed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Every {
    every: Duration,
    last: Instant,
}

impl Every {
    pub(super) fn new(every: Duration) -> Every {
        Every { every, last: Instant::now() }
    }

    /// How long until it is due.
    pub(super) fn left(&self) -> Duration {
        self.every.saturating_sub(self.last.elapsed())
    }

    /// It is due; then the next time begins now.
    pub(super) fn is_due(&mut self) -> bool {
        let due = self.left().is_zero();
        if due {
            self.last = Instant::now();
        }
        due
    }
}
