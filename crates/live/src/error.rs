//! Why nothing can be shown. The text is what the user reads, and says what to do.

use havana_capture::CaptureError;
use havana_trace::TraceError;

/// Why nothing can be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// Intervals are of seconds.
    #[error("the trace does not say how fast its TSC ticks, so there are no seconds: say --tsc-hz")]
    NoRate,
    /// No time in it.
    #[error(
        "no moment of {name} can be dated: there is no PSB with a TSC packet of the host (was it recorded with tsc=1?)"
    )]
    NoTime {
        /// What was read.
        name: String,
    },
    /// This host cannot be recorded.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// What the rings gave makes no sense.
    #[error("what the rings gave cannot be read: {0}")]
    Trace(#[from] TraceError),
    /// Nor can it be put together.
    #[error("what the rings gave cannot be put together: {0}")]
    Io(#[from] std::io::Error),
}
