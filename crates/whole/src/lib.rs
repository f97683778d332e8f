//! What is written is there whole, or not at all: it grows under a hidden name beside its own, and is renamed.
//!
//! * [`WholeFile`]: a file.
//! * [`WholeDirectory`]: a directory.
//! * [`Output`]: a file, or standard output, as `-o` says.
//!
//! Invariants: what stands at a name is replaced only where that was allowed, and only by what is complete; what a killed
//! process left is removed by the next that writes to the same name.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod directory;
mod file;
mod hidden;
mod output;

use std::io;
use std::path::{Path, PathBuf};

pub use directory::WholeDirectory;
pub use file::WholeFile;
pub use output::{Output, STREAM};

/// Why it is not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WholeError {
    /// There is something already, which may be replaced by who says so.
    #[error("{}: exists already; --force replaces it", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// There is something else than what would be written, which is never replaced.
    #[error("{}: exists already, and is something else: choose another name", path.display())]
    Other {
        /// The path.
        path: PathBuf,
    },
    /// The path has no name that something could be written to (such as `/` or `..`).
    #[error("{}: not a name to write to", path.display())]
    NoName {
        /// The path.
        path: PathBuf,
    },
    /// Nobody reads standard output any more: that is no failure.
    #[error("standard output is closed")]
    Closed,
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// What was to be done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl WholeError {
    /// Makes an [`io::Error`] one of ours, for `map_err`.
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WholeError {
        move |source| WholeError::Io { action, path: path.into(), source }
    }
}
