//! What can go wrong when a trace is opened.

use std::path::PathBuf;

/// Why a trace cannot be read. The text is what the user sees.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file or directory cannot be opened or mapped.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A directory without one `.pt` file in it.
    #[error("{}: no .pt file in this directory", path.display())]
    NoStreams {
        /// Which.
        path: PathBuf,
    },
    /// The file holds no bytes.
    #[error("{}: the file is empty", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// The name does not say which cpu it is, and there are several files.
    #[error("{}: the name does not say which cpu this is; name it cpuN.pt, or give one file with --cpu N", path.display())]
    CpuUnknown {
        /// Which.
        path: PathBuf,
    },
    /// Two files for one cpu.
    #[error("{}: cpu {cpu} has a stream already: {}", path.display(), first.display())]
    CpuTwice {
        /// The second.
        path: PathBuf,
        /// The first.
        first: PathBuf,
        /// The cpu of both.
        cpu: u32,
    },
    /// `trace.toml` cannot be understood.
    #[error("{}: line {line}: {why}", path.display())]
    Facts {
        /// Which.
        path: PathBuf,
        /// Where.
        line: usize,
        /// Why.
        why: String,
    },
    /// A value in `trace.toml` or on the command line that no processor has.
    #[error("{}{name} = {value}: {why}", path.as_ref().map(|p| format!("{}: ", p.display())).unwrap_or_default())]
    FactOutOfRange {
        /// The file, where it is from one.
        path: Option<PathBuf>,
        /// Which value.
        name: &'static str,
        /// What it was.
        value: String,
        /// What it should be.
        why: &'static str,
    },
    /// A format that holds a trace, and is not read.
    #[error("{}: offset 0: this is a perf.data, and not a raw stream", path.display())]
    PerfData {
        /// Which.
        path: PathBuf,
    },
    /// Streams that come from directories with different `trace.toml`.
    #[error("{} and {}: these say different things of the clock; analyze them apart", first.display(), second.display())]
    FactsDiffer {
        /// One.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
}
