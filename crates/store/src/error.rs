//! What can go wrong with a dataset, each with the path it went wrong at.

use std::io;
use std::path::{Path, PathBuf};

use havana_rows::parquet;
use havana_whole::WholeError;

/// Why a dataset could not be written, opened or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is nothing at this path.
    #[error("{}: no such dataset", path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// There is something here, but it has no manifest of ours.
    #[error("{}: not a dataset (no manifest.json of HAVAna in it)", path.display())]
    NotADataset {
        /// The path.
        path: PathBuf,
    },
    /// The manifest is no JSON, or lacks what every manifest has.
    #[error("{}: damaged manifest: {source}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The dataset was written by another version, in a form that this one does not read: analyze the trace again, or
    /// use the version that wrote it.
    #[error("{}: dataset of schema version {found}; this program reads version {supported}", path.display())]
    Version {
        /// The dataset.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version that is read.
        supported: u32,
    },
    /// A table has not as many files as its manifest says: some were removed or added.
    #[error("{}: damaged dataset: {found} files of {expected}", path.display())]
    FileCount {
        /// The table's directory.
        path: PathBuf,
        /// Files in it.
        found: u32,
        /// Files the manifest tells of.
        expected: u32,
    },
    /// A Parquet file cannot be read: it is damaged, or cut off.
    #[error("{}: damaged Parquet file: {source}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ::parquet::errors::ParquetError,
    },
    /// The columns of a Parquet file are not those of its table.
    #[error("{}: {source}", path.display())]
    Columns {
        /// The file.
        path: PathBuf,
        /// Which.
        source: parquet::Error,
    },
    /// It cannot be written there.
    #[error(transparent)]
    Whole(#[from] WholeError),
    /// The node or the capture has no name.
    #[error("{}: the dataset needs a {key} that is not empty", path.display())]
    EmptyKey {
        /// The dataset.
        path: PathBuf,
        /// `node` or `capture`.
        key: &'static str,
    },
    /// A table was written to after an error in it.
    #[error("a table could not be written, as was said before")]
    Broken,
    /// A table could not be written.
    #[error(transparent)]
    Table(#[from] parquet::Error),
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// What was to be done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl StoreError {
    pub(crate) fn no_column(path: &Path, name: &str) -> StoreError {
        StoreError::Columns { path: path.into(), source: parquet::Error::NoColumn { column: name.into() } }
    }

    /// Makes an [`io::Error`] one of ours, for `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
        move |source| StoreError::Io { action, path: path.into(), source }
    }
}
