//! Why a question has no answer: a sentence each.

use std::path::PathBuf;

use datafusion::error::DataFusionError;
use havana_store::StoreError;

/// What can go wrong between a question and its answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// A dataset cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Two datasets are of one capture: each of its rows would count twice.
    #[error("{} and {}: both are capture {capture} of node {node}, whose rows would count twice; name one of them",
        first.display(), second.display())]
    Twice {
        /// One of them.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// Its node.
        node: String,
        /// Its id.
        capture: String,
    },
    /// No dataset was named.
    #[error("no dataset to ask")]
    NoDataset,
    /// The question is not SQL, or asks for what is not there, or cannot be answered.
    #[error("{}", sentence(.0))]
    Sql(#[from] DataFusionError),
    /// The answer cannot be written.
    #[error("{name}: cannot write: {source}")]
    Write {
        /// Where to.
        name: String,
        /// Why not.
        source: arrow::error::ArrowError,
    },
}

/// The error as one line: what it is, without the names of the engine's own parts around it.
fn sentence(error: &DataFusionError) -> String {
    let mut root = error;
    loop {
        root = match root {
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => inner,
            DataFusionError::Collection(errors) if !errors.is_empty() => &errors[0],
            DataFusionError::Shared(inner) => inner,
            _ => break,
        };
    }
    let text = root.message().into_owned();
    // What follows a blank line, or names a source file, is for who works on the engine.
    let text = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}
