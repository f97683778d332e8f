//! The Parquet form of every table: its columns, a writer that takes rows one at a time, and the way back.
//!
//! ```text
//! row ──► OrderedTable ─── nearly sorted ───► TableWriter ──► part-0000.parquet, part-0001.parquet, …
//!            │                 (columns, batches, row groups)
//!            └─ too late ──► sorted, 128 k at a time ─────────► part-late-0000.parquet, …
//! ```
//!
//! * [`Row`]: what a row type must be to become a table; `tables.rs` names the columns, once, for both ways.
//! * [`View`]: some of a table's columns.
//! * [`TableWriter`]: one file. [`OrderedTable`]: the files of one table, each sorted by the table's start column.
//! * [`NsClock`]: ticks to nanoseconds, for the `_ns` columns.
//!
//! Invariants: all integers are signed; a file is sorted by [`Table::start_column`]; a row group holds at most
//! [`ROW_GROUP_ROWS`] rows, so that a reader's memory is bounded; every file has an offset and a column index. Memory
//! does not grow with the number of rows, but for the page index, which Parquet keeps until the file ends.

#[cfg(test)]
mod arbitrary;
mod clock;
mod columns;
mod ordered;
mod tables;
#[cfg(test)]
mod tests;
mod views;
mod writer;

use std::io;
use std::path::PathBuf;

use arrow::datatypes::DataType;

pub use clock::{NsClock, Scale};
pub use ordered::{Limits, OrderedTable, TableSummary};
pub use tables::{Row, Table};
pub use views::{
    CpuStretch, CpuTurn, CpuUse, ExitBounds, ExitCost, ExitOf, ExitStretch, ProcessPlace, VcpuStretch, VcpuTurn, View,
};
pub use writer::{FileSummary, TableWriter};

/// Version of the tables' columns and their meaning. Adding a column or a table does not change it; anything that
/// would make an old reader misread a new dataset does, and so does what a new reader cannot do without.
///
/// 2: threads of the host (`threads`, `cpu_states.tid`, `vcpu_states.taken_by_tid`; a taker without an id).
pub const SCHEMA_VERSION: u32 = 2;

/// Key of the Parquet file metadata that holds [`SCHEMA_VERSION`].
pub const SCHEMA_VERSION_KEY: &str = "havana.schema_version";

/// Rows of a row group, at most.
pub const ROW_GROUP_ROWS: usize = 128 * 1024;

/// What can go wrong between rows and a Parquet file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be created.
    #[error("{}: cannot create: {source}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Rows could not be encoded, or their bytes not be written (a full disk).
    #[error("{}: cannot write: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ::parquet::errors::ParquetError,
    },
    /// A written file could not be brought to the disk.
    #[error("{}: cannot sync: {source}", path.display())]
    Sync {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A written file that is not wanted any more could not be removed.
    #[error("{}: cannot remove: {source}", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A table read has not this column.
    #[error("no column {column}; if another version of havana wrote it: analyze the trace again")]
    NoColumn {
        /// Its name.
        column: String,
    },
    /// A column is of another type than the table's.
    #[error("column {column} is of type {found}")]
    ColumnType {
        /// Its name.
        column: String,
        /// The type it has.
        found: DataType,
    },
    /// A column that never is null is null somewhere.
    #[error("column {column} holds nulls")]
    Null {
        /// Its name.
        column: String,
    },
    /// A column of named values holds a name that this version does not know.
    #[error("column {column} holds {value:?}, which is none of its names")]
    UnknownName {
        /// Its name.
        column: String,
        /// The value.
        value: String,
    },
}
