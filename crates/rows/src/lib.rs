//! The rows of a dataset: what the timeline says, as plain values.
//!
//! This is a leaf. With the feature `parquet` it also has the Arrow schema of every table and a writer for it
//! ([`parquet`]); without it there are only the types, so that a live view can use them and link no file format.
//!
//! Units and names: `tsc` is a tick of the host's time-stamp counter, an address is a physical address or CR3 value
//! with its 64 bits kept in an `i64`. Identifiers (`vm_id`, `vcpu_id`, `process_id`, `exit_id`) are stable within one
//! capture and mean nothing outside it.
#![forbid(unsafe_code)]

pub mod reason;
pub mod slot;
mod table;

#[cfg(feature = "parquet")]
pub mod parquet;

pub use table::*;
