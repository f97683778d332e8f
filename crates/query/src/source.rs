//! What is asked: datasets that were named, or all captures under a root.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::prelude::SessionContext;
use havana_fleet::{Catalogue, Complete, Root};
use havana_rows::parquet::Table;
use havana_store::{Dataset, Scan, StoreError};
use object_store::local::LocalFileSystem;

use crate::meter::{Meter, Metered};
use crate::{QueryError, tables};

/// Where the tables come from.
pub(crate) enum Source {
    /// Datasets on this disk, each of another capture.
    Datasets(Vec<Dataset>),
    /// What is whole under a root.
    Root(Root, Catalogue),
}

impl Source {
    pub(crate) async fn open(paths: &[PathBuf]) -> Result<Source, QueryError> {
        let is_root = |path: &Path| path.to_str().is_some_and(Root::is_url) || Root::is_in(path);
        match paths {
            [] => Err(QueryError::NoDataset),
            [one] if is_root(one) => {
                let root = Root::open(&one.to_string_lossy())?;
                let catalogue = Catalogue::read(&root).await?;
                if catalogue.is_empty() {
                    return Err(QueryError::EmptyRoot(root.name().into()));
                }
                Ok(Source::Root(root, catalogue))
            }
            _ => match paths.iter().find(|path| is_root(path)) {
                Some(root) => Err(QueryError::RootBeside(root.display().to_string())),
                None => Ok(Source::Datasets(datasets(paths)?)),
            },
        }
    }

    /// Makes the tables known, and what is read of their files counted.
    pub(crate) fn register(&self, context: &SessionContext, meter: &Arc<Meter>) -> Result<(), QueryError> {
        let meter = Arc::clone(meter);
        match self {
            Source::Datasets(datasets) => {
                tables::of_datasets(context, Metered { store: LocalFileSystem::new(), meter }, datasets)
            }
            Source::Root(root, catalogue) => {
                tables::of_root(context, Metered { store: Complete::of(root, catalogue), meter })
            }
        }
    }

    /// How many captures there are.
    pub(crate) fn captures(&self) -> usize {
        match self {
            Source::Datasets(datasets) => datasets.len(),
            Source::Root(_, catalogue) => catalogue.readable().count(),
        }
    }

    /// The size of all files, where that is known without asking for it.
    pub(crate) fn bytes(&self) -> Option<u64> {
        let Source::Datasets(datasets) = self else { return None };
        let tables = datasets.iter().flat_map(|dataset| dataset.manifest().tables.values());
        Some(tables.map(|files| files.bytes).sum())
    }

    /// The file that cannot be read, which the engine does not name.
    pub(crate) fn damaged(&self, sql: &str) -> Option<QueryError> {
        let Source::Datasets(datasets) = self else { return None };
        let tables = Table::ALL.iter().filter(|table| sql.contains(table.name()));
        let files = datasets.iter().flat_map(|dataset| tables.clone().map(move |&table| dataset.scan(table)));
        let broken = |scan: Scan<'_>| match scan.batches() {
            Ok(mut batches) => batches.find_map(Result::err),
            Err(error) => Some(error),
        };
        files.into_iter().find_map(broken).map(QueryError::Store)
    }

    /// What who asks should know: what is left out, and what is not right.
    pub(crate) fn warnings(&self) -> Vec<String> {
        match self {
            Source::Datasets(datasets) => datasets.iter().filter_map(lacking).collect(),
            Source::Root(root, catalogue) => {
                catalogue.warnings().into_iter().map(|said| format!("{}: {said}", root.name())).collect()
            }
        }
    }
}

/// Datasets that are open, each of another capture.
fn datasets(paths: &[PathBuf]) -> Result<Vec<Dataset>, QueryError> {
    let mut captures: BTreeMap<(String, String), PathBuf> = BTreeMap::new();
    let mut datasets = Vec::new();
    for path in paths {
        // Whole: the engine takes no `..` in a path.
        let path = fs::canonicalize(path).map_err(|_| StoreError::NotFound { path: path.clone() })?;
        let dataset = Dataset::open(&path)?;
        let (node, capture) = (dataset.manifest().node.clone(), dataset.manifest().capture.clone());
        if let Some(first) = captures.insert((node.clone(), capture.clone()), path.clone()) {
            return Err(QueryError::Twice { first, second: path, node, capture });
        }
        datasets.push(dataset);
    }
    Ok(datasets)
}

/// Tables that a dataset's version did not write yet.
fn lacking(dataset: &Dataset) -> Option<String> {
    let lacks = |table: &&Table| !dataset.manifest().tables.contains_key(table.name());
    let names: Vec<&str> = Table::ALL.iter().filter(lacks).map(|table| table.name()).collect();
    let version = &dataset.manifest().tool_version;
    (!names.is_empty()).then(|| {
        let (path, names) = (dataset.dir().display(), names.join(", "));
        format!("{path}: written without {names} (havana {version}): no row of it is there; analyze its trace again")
    })
}
