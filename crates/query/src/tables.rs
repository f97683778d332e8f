//! The tables of captures, as the engine sees them: each table is the files of all captures, with whose they are beside its
//! columns.
//!
//! What a table has is what this version of the program says it has. A column that a dataset's version did not write yet
//! is null in its rows, a table that it did not write has no rows of it.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::prelude::SessionContext;
use havana_fleet::Root;
use havana_rows::parquet::Table;
use havana_store::{Dataset, StoreError};
use object_store::ObjectStore;
use url::Url;

use crate::QueryError;

/// The columns that say whose a row is, in every table of datasets.
const KEYS: [&str; 2] = ["node", "capture"];

/// The same under a root: the hour in which its capture began, too.
pub(crate) const ROOT_KEYS: [&str; 3] = ["hour", "node", "capture"];

/// Bytes of a file's end that are read at first: of most files they hold what says where the columns are (about 5 kB, and the
/// index of pages), and are little beside these.
const END: usize = 16 << 10;

/// The tables of datasets, whose files this store has.
pub(crate) fn of_datasets(
    context: &SessionContext,
    store: impl ObjectStore,
    datasets: &[Dataset],
    text: &DataType,
) -> Result<(), QueryError> {
    context.register_object_store(&Url::parse("file://").expect("a URL"), Arc::new(store));
    for &table in Table::ALL {
        let mut directories = Vec::new();
        for dataset in datasets {
            if !dataset.files(table)?.is_empty() {
                directories.push(ListingTableUrl::try_new(directory_url(&dataset.dir().join(table.name()))?, None)?);
            }
        }
        context.register_table(table.name(), files_of(table, directories, &KEYS, text)?)?;
    }
    Ok(())
}

/// The tables of a root. Their files have the addresses that they have for everybody; `store` is the one that the root is in.
pub(crate) fn of_root(
    context: &SessionContext,
    root: &Root,
    store: Arc<dyn ObjectStore>,
    text: &DataType,
) -> Result<(), QueryError> {
    context.register_object_store(root.url(), store);
    for &table in Table::ALL {
        let directory = ListingTableUrl::try_new(root.url_of(table.name()), None)?;
        context.register_table(table.name(), files_of(table, vec![directory], &ROOT_KEYS, text)?)?;
    }
    Ok(())
}

/// A table: the files in these directories, and below them by these keys.
fn files_of(
    table: Table,
    directories: Vec<ListingTableUrl>,
    keys: &[&str],
    text: &DataType,
) -> Result<Arc<dyn TableProvider>, QueryError> {
    let schema = schema(table, text);
    let keys = || keys.iter().map(|key| (key.to_string(), text.clone()));
    if directories.is_empty() {
        let keys = keys().map(|(key, data_type)| Arc::new(Field::new(key, data_type, true)));
        let schema = Schema::new(schema.fields().iter().cloned().chain(keys).collect::<Vec<_>>());
        return Ok(Arc::new(EmptyTable::new(Arc::new(schema))));
    }
    let format = ParquetFormat::default().with_metadata_size_hint(Some(END));
    let options = ListingOptions::new(Arc::new(format))
        .with_file_extension(".parquet")
        .with_table_partition_cols(keys().collect());
    let config =
        ListingTableConfig::new_with_multi_paths(directories).with_listing_options(options).with_schema(schema);
    Ok(Arc::new(ListingTable::try_new(config)?))
}

/// A table's columns. Each may be null: a file of an older version may lack it. Names are read as `text`.
fn schema(table: Table, text: &DataType) -> SchemaRef {
    let field = |field: &Arc<Field>| {
        let data_type = match field.data_type() {
            DataType::Dictionary(..) | DataType::Utf8 => text.clone(),
            other => other.clone(),
        };
        Field::new(field.name(), data_type, true)
    };
    Arc::new(Schema::new(table.schema().fields().iter().map(field).collect::<Vec<_>>()))
}

fn directory_url(path: &Path) -> Result<Url, StoreError> {
    Url::from_directory_path(path).map_err(|()| StoreError::NotFound { path: path.into() })
}
