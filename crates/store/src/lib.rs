//! A dataset on disk: written whole or not at all, read back in bounded memory.
//!
//! ```text
//! DIR/manifest.json                                 what was recorded, how, and what is in the tables
//! DIR/cpu_states/node=NODE/capture=ID/part-0000.parquet, …, part-late-0000.parquet, …
//! DIR/vcpu_states/…   DIR/exits/…   DIR/vms/…   DIR/vm_offsets/…   DIR/vcpus/…   DIR/processes/…   DIR/losses/…
//! DIR/findings/…   DIR/finding_spans/…              what is unexpected in it, where somebody looked
//! DIR/lod/…/part-0000.parquet, …/cpu-level-04-0000.parquet, …   DIR/lod_exits/…
//! ```
//!
//! * [`DatasetWriter`] takes rows ([`havana_rows::Sink`]) and, at its end, puts the directory in place; [`Ended`] can be read
//!   before that, so that what is found in it comes with it.
//! * [`Dataset`] opens one: its [`Manifest`], its rows ([`Dataset::rows`]), the columns of a stretch of time
//!   ([`Dataset::scan`]).
//!
//! Invariants: a directory with a `manifest.json` is complete; the manifest is written last. Until then everything is
//! in a hidden directory beside it, which nothing takes for a dataset. Every table
//! of the manifest has at least one file.
#![forbid(unsafe_code)]

mod error;
mod lod;
mod manifest;
mod merge;
mod partition;
mod read;
#[cfg(test)]
mod tests;
mod worker;
mod write;

pub use error::StoreError;
pub use manifest::{CaptureSettings, Clock, Epoch, LossSummary, MANIFEST_FILE, Manifest, Source, TableFiles};
pub use merge::{Apart, follows, merge};
pub use partition::{decode as partition_text, directory as partition_directory, encode as partition_value};
pub use read::{Batches, Dataset, Rows, Scan};
pub use write::{DatasetWriter, Ended, WriterOptions};
