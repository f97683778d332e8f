//! Why a question has no answer: a sentence each.

use std::path::PathBuf;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use havana_fleet::FleetError;
use havana_store::StoreError;
use havana_whole::WholeError;

/// What can go wrong between a question and its answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// A dataset cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The root of a fleet cannot be read.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// A root was named beside something else.
    #[error("{0}: a root is asked alone, and not with {1}")]
    RootBeside(String, String),
    /// Of a root no capture began in the hours that were named.
    #[error("{0}: no capture began in these hours")]
    NoSuchHour(String),
    /// Hours were named of datasets.
    #[error("--hours is of the root of a fleet: datasets are named one by one")]
    HoursOfDatasets,
    /// There is nothing under a root.
    #[error("{0}: no capture is there yet: havana push brings them")]
    EmptyRoot(String),
    /// A cluster does not answer.
    #[error("{url}: {why}")]
    Cluster {
        /// Its scheduler.
        url: String,
        /// Why not.
        why: String,
    },
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
    // Its causes are in the sentence.
    Sql(DataFusionError),
    /// It takes more memory than it may.
    #[error("the answer takes more than the {} MiB of memory it may take: narrow the question down, or give more with --memory", .0 >> 20)]
    Memory(u64),
    /// A column of the answer holds lists.
    #[error("CSV has no lists: unnest() them, or take another --format")]
    Nested,
    /// The answer cannot be written there; or nobody reads it any more.
    #[error(transparent)]
    Output(#[from] WholeError),
    /// The answer cannot be written.
    #[error("{name}: cannot write: {source}")]
    Write {
        /// Where to.
        name: String,
        /// Why not.
        source: ArrowError,
    },
}

impl QueryError {
    /// Whether a file of a dataset may be why.
    pub(crate) fn is_of_a_file(&self) -> bool {
        let QueryError::Sql(error) = self else { return false };
        match error.find_root() {
            DataFusionError::ParquetError(_) | DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => true,
            DataFusionError::ArrowError(error, _) => {
                matches!(**error, ArrowError::ParquetError(_) | ArrowError::ExternalError(_) | ArrowError::IoError(..))
            }
            // What a condition gives is no matter of the file that it is tried on.
            DataFusionError::External(error) => !error.to_string().contains("evaluating filter predicate"),
            _ => false,
        }
    }
}

impl QueryError {
    /// Whether there was not memory enough.
    pub(crate) fn is_of_memory(&self) -> bool {
        matches!(self, QueryError::Sql(error) if matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)))
    }
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> QueryError {
        QueryError::Sql(error)
    }
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
    let text = match root {
        DataFusionError::SQL(error, _) => error.to_string(),
        _ => root.message().into_owned(),
    };
    // What follows a blank line, or names a source file, is for who works on the engine.
    let text = text.split("\n\n").next().unwrap_or_default();
    // Of a call it first says at length what each of its parts tried.
    let text = text.find("No function matches").map_or(text, |at| &text[at..]);
    let text = text.split(" You might need to").next().unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().collect();
    // Where the engine has its tables, and which part of it tries conditions, is no matter of who asks.
    let text = words.join(" ").replace("datafusion.public.", "");
    match text.rsplit_once("evaluating filter predicate: ") {
        Some((_, cause)) => format!("a condition fails: {}", told(cause)),
        None => text,
    }
}

/// What an error that comes as code (`ArrowError(CastError("…"), …)`) says, or is called.
fn told(code: &str) -> &str {
    let said = code.split('"').nth(1).filter(|said| !said.is_empty());
    let name = || {
        code.rsplit('(').find_map(|part| part.split(',').next().filter(|name| name.starts_with(char::is_alphabetic)))
    };
    said.or_else(name).unwrap_or(code)
}
