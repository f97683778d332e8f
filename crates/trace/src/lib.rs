//! Where trace bytes come from.
//!
//! A [`Trace`] is what was recorded on one node: for each cpu a [`Stream`] of bytes, and the [`Facts`] about its clock
//! that the bytes do not say. A stream is a row of [`Segment`]s, each a slice of a mapped file with the file offset of
//! its first byte and how it joins the one before. A raw `.pt` file is one segment; a format that interleaves the
//! trace of many cpus gives many. What lies behind this crate sees only segments.
//!
//! This crate knows no packet.
#![forbid(unsafe_code)]

mod error;
mod facts;
mod raw;
mod stream;

pub use error::TraceError;
pub use facts::{CpuModel, Facts};
pub use raw::{RawOptions, open_raw};
pub use stream::{Join, Segment, Stream, Trace};
