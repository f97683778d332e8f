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
    /// A perf.data beside other inputs: each is a trace of its own.
    #[error("{}: this is a perf.data, a trace of its own: give it alone", path.display())]
    OneAtATime {
        /// Which.
        path: PathBuf,
    },
    /// The file ends before there is anything in it.
    #[error("{}: the file ends at offset {offset:#x}, before there is any trace in it", path.display())]
    Cut {
        /// Which.
        path: PathBuf,
        /// Where.
        offset: u64,
    },
    /// Nothing in it makes sense from there on, and there was no trace before.
    #[error("{}: damaged at offset {offset:#x}: {why}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong there.
        why: &'static str,
    },
    /// The event is there, and not one byte of trace.
    #[error("{}: not one byte of Intel PT trace up to offset {offset:#x}, though the event was recorded", path.display())]
    NoTrace {
        /// Which.
        path: PathBuf,
        /// Where reading ended.
        offset: u64,
    },
    /// Trace in samples.
    #[error(
        "{}: its trace is in samples (--aux-sample), which are not read; record with: perf record -a -e intel_pt/branch=0/",
        path.display()
    )]
    AuxSamples {
        /// Which.
        path: PathBuf,
    },
    /// A perf.data without Intel PT.
    #[error(
        "{}: no intel_pt event in this file (it has {has}); record with: perf record -a -e intel_pt/branch=0/ -- sleep 10",
        path.display()
    )]
    NoIntelPt {
        /// Which.
        path: PathBuf,
        /// The events that are in it.
        has: String,
    },
    /// A trace of another kind of hardware.
    #[error("{}: its trace is {what}, and not intel_pt", path.display())]
    OtherTrace {
        /// Which.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Recorded on a machine without Intel PT.
    #[error("{}: recorded on {arch}: Intel PT is of x86 processors", path.display())]
    OtherMachine {
        /// Which.
        path: PathBuf,
        /// What it is.
        arch: String,
    },
    /// Recorded on an AMD host.
    #[error("{}: recorded on an AMD host: these have no Intel PT, and are not supported", path.display())]
    Amd {
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
