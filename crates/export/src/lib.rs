//! A dataset in the formats of other tools.
//!
//! ```text
//! Selection ─┬─► slices: rows by their start, some at a time ─┬─► perfetto   tracks, slices, counters
//! (a part)   │                                                └─► ctf        streams of events
//!            ├─► stacks: sums by VM, vCPU, process, state ────┬─► folded
//!            │                                                └─► pprof
//!            └─► tables: batches ─────────────────────────────┬─► CSV
//!                                                             └─► JSON lines
//! ```
//!
//! Invariants: of a part of the time, what lasts is cut at its ends, and what is a moment is in it or not. Times are the
//! dataset's `_ns`, or its ticks where no rate is known: nothing is made up. Memory does not grow with the rows, but for what a VM, a vCPU or a
//! process takes. Redacted, nothing is written that names a host, a VM or a program, nor any address.
#![forbid(unsafe_code)]

pub mod ctf;
mod error;
pub mod folded;
mod names;
pub mod perfetto;
pub mod pprof;
mod selection;
mod slices;
mod stacks;
pub mod tables;

pub use error::ExportError;
pub use selection::{Part, Selection};
