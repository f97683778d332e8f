//! Captures of many nodes under one root, on a disk or in an S3-compatible store.
//!
//! ```text
//! ROOT/TABLE/hour=HOUR/node=NODE/capture=ID/part-0000.DIGEST.parquet    the files of datasets, table by table
//! ROOT/manifests/hour=HOUR/node=NODE/capture=ID.DIGEST.vN.json          a capture that is there whole, of schema version N
//!                                                                       (vNm: made of others, which do not count beside it)
//! ```
//!
//! HOUR is when a capture began (UTC, `2026-11-28-21`; `unknown` where its clock does not say), DIGEST what is in all files of
//! the dataset: files of one name have one content, whoever wrote them and how often.
//!
//! * [`Root`]: where it is.
//! * [`push`]: a dataset goes there.
//! * [`Catalogue`]: which captures are there.
//! * [`fetch`]: a capture comes back, as a dataset.
//! * [`compact`]: many small captures become one.
//! * [`prune`]: what is old goes.
//! * [`Complete`]: the files of whole captures alone, for who lists files.
//!
//! Invariants: a capture counts from when its manifest is there, and that is written last and removed first; nothing that is
//! there is ever written to, so what was begun and broken off is gone on with or swept, and never mixed.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod catalogue;
mod compact;
mod complete;
mod entry;
mod error;
mod fetch;
mod layout;
mod prune;
mod push;
mod root;
mod summary;

pub use catalogue::{Catalogue, Kept};
pub use compact::{Compacted, Share, compact};
pub use complete::{Complete, Part};
pub use entry::{Entry, File};
pub use error::FleetError;
pub use fetch::fetch;
pub use layout::{HOUR_UNKNOWN, MANIFESTS, seconds as hour_begins};
pub use prune::{Keep, Pruned, prune};
pub use push::{Outcome, Pushed, Step, push};
pub use root::Root;
pub use summary::{FindingSummary, Summary, VmSummary};
