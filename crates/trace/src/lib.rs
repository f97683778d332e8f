//! Where trace bytes come from.
//!
//! A [`Trace`] is what was recorded on one node: for each cpu a [`Stream`] of bytes, the [`Facts`] about its clock that
//! the bytes do not say, and what the kernel said beside it ([`Sideband`]). A stream is a row of [`Segment`]s, each a
//! slice of a mapped file with the file offset of its first byte and how it joins the one before. A raw `.pt` file is
//! one segment; a perf.data, which interleaves the trace of many cpus, gives many. What lies behind this crate sees only
//! segments.
//!
//! This crate knows no packet.
#![forbid(unsafe_code)]

mod cpus;
mod error;
mod facts;
mod open;
mod perf;
mod raw;
mod recording;
mod sideband;
mod stream;

pub use cpus::{cpu_list, parse_cpu_list};
pub use error::TraceError;
pub use facts::{CpuModel, Facts};
pub use havana_map::Map;
pub use open::{OpenOptions, STDIN, open, open_perf};
pub use perf::{UNNAMED, write as perf_data};
pub use raw::{RawOptions, open_raw};
pub use recording::{Note, Recorder, Recording, Wall};
pub use sideband::{Record, Said, Sideband, Thread};
pub use stream::{Cause, Join, Missing, Pause, Segment, Source, Stream, Trace};
