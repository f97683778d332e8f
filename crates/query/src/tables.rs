//! The tables of datasets, as the engine sees them: each table is the files of all datasets, with `node` and `capture`
//! beside its columns.
//!
//! What a table has is what this version of the program says it has. A column that a dataset's version did not write yet
//! is null in its rows, a table that it did not write has no rows of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::prelude::SessionContext;
use havana_rows::parquet::Table;
use havana_store::{Dataset, StoreError};
use object_store::local::LocalFileSystem;
use url::Url;

use crate::QueryError;
use crate::meter::{Meter, Metered};

/// The columns that say whose a row is, in every table.
pub(crate) const KEYS: [&str; 2] = ["node", "capture"];

/// Datasets that are open, each of another capture.
pub(crate) fn open(paths: &[PathBuf]) -> Result<Vec<Dataset>, QueryError> {
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
    if datasets.is_empty() { Err(QueryError::NoDataset) } else { Ok(datasets) }
}

/// Makes the tables known, and what is read of their files counted.
pub(crate) fn register(context: &SessionContext, datasets: &[Dataset], meter: &Arc<Meter>) -> Result<(), QueryError> {
    let disk = Metered { store: LocalFileSystem::new(), meter: Arc::clone(meter) };
    let here = url::Url::parse("file://").expect("a URL");
    context.register_object_store(&here, Arc::new(disk));
    for &table in Table::ALL {
        context.register_table(table.name(), files_of(table, datasets)?)?;
    }
    Ok(())
}

/// A table: the directories of it in all datasets that have it.
fn files_of(table: Table, datasets: &[Dataset]) -> Result<Arc<dyn TableProvider>, QueryError> {
    let mut directories = Vec::new();
    for dataset in datasets {
        if !dataset.files(table)?.is_empty() {
            directories.push(ListingTableUrl::try_new(directory_url(&dataset.dir().join(table.name()))?, None)?);
        }
    }
    let schema = schema(table);
    if directories.is_empty() {
        let columns =
            schema.fields().iter().cloned().chain(KEYS.map(|key| Arc::new(Field::new(key, DataType::Utf8View, true))));
        let schema = Arc::new(Schema::new(columns.collect::<Vec<_>>()));
        return Ok(Arc::new(datafusion::datasource::empty::EmptyTable::new(schema)));
    }
    let options = ListingOptions::new(Arc::new(ParquetFormat::default()))
        .with_file_extension(".parquet")
        .with_table_partition_cols(KEYS.map(|key| (key.to_string(), DataType::Utf8View)).into());
    let config =
        ListingTableConfig::new_with_multi_paths(directories).with_listing_options(options).with_schema(schema);
    Ok(Arc::new(ListingTable::try_new(config)?))
}

/// A table's columns. Each may be null: a file of an older version may lack it. Names are read as text.
fn schema(table: Table) -> SchemaRef {
    let field = |field: &Arc<Field>| {
        let data_type = match field.data_type() {
            DataType::Dictionary(..) | DataType::Utf8 => DataType::Utf8View,
            other => other.clone(),
        };
        Field::new(field.name(), data_type, true)
    };
    Arc::new(Schema::new(table.schema().fields().iter().map(field).collect::<Vec<_>>()))
}

fn directory_url(path: &Path) -> Result<Url, StoreError> {
    Url::from_directory_path(path).map_err(|()| StoreError::NotFound { path: path.into() })
}
