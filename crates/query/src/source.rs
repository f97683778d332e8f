//! What is asked: datasets that were named, or all captures under a root.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use havana_fleet::{Catalogue, Complete, FleetError, Kept, Part, Root};
use havana_rows::parquet::Table;
use havana_store::{Dataset, Scan, StoreError};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;

use crate::asked::Asked;
use crate::hours::Hours;
use crate::meter::{Meter, Metered};
use crate::{QueryError, tables};

/// Where the tables come from.
pub(crate) enum Source {
    /// Datasets on this disk, each of another capture.
    Datasets(Vec<Dataset>),
    /// What is whole under a root.
    Root(Box<Under>),
}

/// The captures of a root.
pub(crate) struct Under {
    root: Root,
    files: Arc<Complete>,
    /// Hours that are asked of all that there are, where not all are.
    hours: Option<Hours>,
    /// How many hours there were.
    count: usize,
}

impl Under {
    /// What there is of what a question asks for.
    async fn catalogue(&self, shown: &Shown) -> Result<Catalogue, FleetError> {
        match &shown.nodes {
            Some(nodes) => Catalogue::of_nodes(&self.root, &shown.hours, nodes).await,
            None => Catalogue::of_hours(&self.root, &shown.hours).await,
        }
    }
}

/// Of these hours those that are asked of.
fn asked_of<'a>(there: &'a [String], asked: Option<&Hours>) -> impl Iterator<Item = &'a String> {
    there.iter().filter(move |hour| asked.is_none_or(|asked| asked.has(hour)))
}

/// What a question was shown.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    hours: Vec<String>,
    /// Where only some are asked for.
    nodes: Option<Vec<String>>,
    pub(crate) warnings: Vec<String>,
}

impl Source {
    /// Opens them; `meter` counts what is read of their files.
    pub(crate) async fn open(
        paths: &[PathBuf],
        hours: Option<Hours>,
        meter: &Arc<Meter>,
    ) -> Result<Source, QueryError> {
        let is_root = |path: &Path| path.to_str().is_some_and(Root::is_url) || Root::is_in(path);
        match paths {
            [] => Err(QueryError::NoDataset),
            [one] if is_root(one) => {
                let root = Root::open(&one.to_string_lossy())?;
                let there = Catalogue::hours(&root).await?;
                let count = asked_of(&there, hours.as_ref()).count();
                match (there.len(), count) {
                    (0, _) => return Err(QueryError::EmptyRoot(root.name().into())),
                    (_, 0) => return Err(QueryError::NoSuchHour(root.name().into())),
                    _ => {}
                }
                let bucket = Metered { store: Arc::clone(root.bucket()), meter: Arc::clone(meter) };
                let files = Arc::new(Complete::of(&root, Arc::new(bucket)));
                Ok(Source::Root(Box::new(Under { root, files, hours, count })))
            }
            _ => match paths.iter().find(|path| is_root(path)) {
                Some(root) => {
                    let beside = paths.iter().find(|path| path != &root).unwrap_or(root);
                    let hint = if beside.exists() { "" } else { ": there is no such file, and no question of --list" };
                    Err(QueryError::RootBeside(root.display().to_string(), format!("{}{hint}", beside.display())))
                }
                None if hours.is_some() => Err(QueryError::HoursOfDatasets),
                None => Ok(Source::Datasets(datasets(paths)?)),
            },
        }
    }

    /// Makes the tables known, whose names are of type `text`.
    pub(crate) fn register(
        &self,
        context: &SessionContext,
        meter: &Arc<Meter>,
        text: &DataType,
    ) -> Result<(), QueryError> {
        match self {
            Source::Datasets(datasets) => {
                let store = Metered { store: LocalFileSystem::new(), meter: Arc::clone(meter) };
                tables::of_datasets(context, store, datasets, text)
            }
            Source::Root(under) => {
                tables::of_root(context, &under.root, Arc::clone(&under.files) as Arc<dyn ObjectStore>, text)
            }
        }
    }

    /// Sees to it that the captures are there that a plan asks for: of a root these alone are listed. Gives what who asks
    /// should know of them.
    pub(crate) async fn show(&self, plan: &LogicalPlan, state: &SessionState) -> Result<Shown, QueryError> {
        let Source::Root(under) = self else { return Ok(Shown::default()) };
        let Under { root, files, .. } = &**under;
        let asked = Asked::of(plan, state)?;
        let there = Catalogue::hours(root).await?;
        let hours: Vec<&str> = asked_of(&there, under.hours.as_ref()).map(String::as_str).collect();
        let keeps = asked.keeps(std::slice::from_ref(&hours))?;
        let hours: Vec<String> =
            hours.into_iter().zip(keeps).filter(|(_, keeps)| *keeps).map(|(hour, _)| hour.into()).collect();
        let mut shown = Shown { hours, nodes: asked.nodes(), warnings: Vec::new() };
        let catalogue = under.catalogue(&shown).await?;
        let captures: Vec<&Kept> = catalogue.readable().collect();
        let keys = [Kept::hour, Kept::node, Kept::capture].map(|key| captures.iter().map(|kept| key(kept)).collect());
        let keeps = asked.keeps(&keys)?;
        let captures: Vec<(&Kept, bool)> = captures.into_iter().zip(keeps).collect();
        let of = match &shown.nodes {
            Some(_) => Part::Nodes,
            None if shown.hours.len() == there.len() => Part::Root,
            None => Part::Hours,
        };
        files.show(&captures, of);
        shown.warnings = catalogue.warnings().into_iter().map(|said| format!("{}: {said}", root.name())).collect();
        Ok(shown)
    }

    /// Whether what is shown was there until now: else its files may have been listed in part.
    pub(crate) async fn is_there(&self, shown: &Shown) -> Result<bool, QueryError> {
        let Source::Root(under) = self else { return Ok(true) };
        Ok(!under.files.misses(&under.catalogue(shown).await?))
    }

    /// What there is to be asked, in words.
    pub(crate) fn about(&self) -> String {
        let (count, one, many) = match self {
            Source::Datasets(datasets) => (datasets.len(), "dataset", "datasets"),
            Source::Root(under) => (under.count, "hour of captures", "hours of captures"),
        };
        format!("{count} {}", if count == 1 { one } else { many })
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

    /// What who asks should know from the beginning.
    pub(crate) fn warnings(&self) -> Vec<String> {
        match self {
            Source::Datasets(datasets) => datasets.iter().filter_map(lacking).collect(),
            Source::Root(_) => Vec::new(),
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
