//! A stretch of trace, and what of it counts.

use std::time::Duration;

use havana_trace::Trace;

use crate::LiveError;

/// A stretch of trace, and what of it counts: it begins before that, so that a decoder knows who runs when it does, and
/// ends after it, as what a vCPU did off its cpu is told by its next entry.
#[derive(Debug)]
pub struct Window {
    /// The trace.
    pub trace: Trace,
    /// From when on it counts, host TSC.
    pub from: i64,
    /// And up to when.
    pub to: i64,
    /// All streams go to their ends here: nothing tells whether anything comes after `to` but the trace itself.
    pub last: bool,
    /// What whoever made it has to say: sentences.
    pub says: Vec<String>,
}

/// Where windows come from, one after the other.
pub trait Windows {
    /// The next; `None` after the last one, and where `stop` says so.
    ///
    /// # Errors
    /// Why there is none.
    fn next(&mut self, stop: &dyn Fn() -> bool) -> Result<Option<Window>, LiveError>;
    /// A window is being looked at: rings are emptied meanwhile.
    ///
    /// # Errors
    /// Why they cannot be.
    fn meanwhile(&mut self) -> Result<(), LiveError> {
        Ok(())
    }
    /// The last moment that the analysis of the window found.
    fn told(&mut self, last: Option<i64>);
    /// Windows are so long from now on.
    fn set_interval(&mut self, interval: Duration);
}

/// How much trace before a window is read, of one that long, and how much after it.
pub(crate) fn margins(interval: Duration) -> (Duration, Duration) {
    let lead = interval.clamp(Duration::from_millis(100), Duration::from_secs(1));
    (lead, lead.min(Duration::from_millis(100)))
}

/// Ticks of so long a time.
pub(crate) fn ticks(time: Duration, hz: u64) -> i64 {
    i64::try_from(time.as_nanos() * u128::from(hz) / 1_000_000_000).unwrap_or(i64::MAX / 4).max(1)
}
