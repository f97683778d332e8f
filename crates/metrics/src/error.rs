//! Why there are no metrics. The text is what the user reads.

use std::net::SocketAddr;

use havana_whole::WholeError;

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// The address is another's, or not of this host.
    #[error("metrics cannot be served at {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("metrics are not told: {0}")]
    Write(#[from] WholeError),
    /// The system gives no thread.
    #[error("metrics cannot be told: {0}")]
    Start(std::io::Error),
}
