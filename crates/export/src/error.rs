//! What can go wrong, each with what to do.

use std::io;

use arrow::error::ArrowError;
use havana_rows::parquet;
use havana_store::StoreError;

/// Why a dataset could not be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The dataset could not be read.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// The columns of a table are not what they should be.
    #[error(transparent)]
    Columns(#[from] parquet::Error),
    /// What was made could not be written.
    #[error(transparent)]
    Write(#[from] io::Error),
    /// Rows could not be turned into text, or that not be written.
    #[error(transparent)]
    Text(#[from] ArrowError),
    /// The part ends before it begins.
    #[error("the part ends before it begins: --from must be before --to")]
    Backwards,
    /// Nothing happened in the time that was asked for.
    #[error("the dataset has nothing in that time: it is {length} {unit} long")]
    NoTime {
        /// How long it is.
        length: f64,
        /// Seconds, or ticks where no rate is known.
        unit: &'static str,
    },
    /// A VM that was asked for is not there.
    #[error("the dataset has no VM {id}; it has {there:?}")]
    NoVm {
        /// Asked for.
        id: i32,
        /// There.
        there: Vec<i32>,
    },
    /// A table that is of all cpus together.
    #[error("{table} sums up all cpus: it has no part by --cpu")]
    NotByCpu {
        /// Which.
        table: &'static str,
    },
    /// A cpu that was asked for is not there.
    #[error("the dataset has no cpu {cpu}; it has {there:?}")]
    NoCpu {
        /// Asked for.
        cpu: i32,
        /// There.
        there: Vec<i32>,
    },
}
