//! One Parquet file of one table.
//!
//! Rows become columns of a page's values, which the Parquet encoder turns into one page a column and holds,
//! encoded, until a row group is full: a table takes about 5 MB, whatever its length.
//!
//! How it is encoded was measured, on one core with 4 M rows of `cpu_states` from eight cpus (`examples/write_speed.rs`;
//! bounds at the edges of a clock packet / bounds of random width up to 20 000 ticks):
//!
//! | time columns | other columns | bytes a row | million rows/s |
//! | --- | --- | --- | --- |
//! | **delta, zstd 1** | **dictionary, zstd 1** | 13.9 / 20.3 | 3.1 / 3.3 |
//! | delta, zstd 3 | dictionary, zstd 3 | 13.8 / 20.3 | 2.8 / 2.9 |
//! | delta, not compressed | dictionary, zstd 1 | 20.2 / 20.4 | 3.6 / 3.5 |
//! | plain, zstd 1 | dictionary, zstd 1 | 16.0 / 23.6 | 2.7 / 2.4 |
//! | byte stream split, zstd 1 | dictionary, zstd 1 | 15.4 / 22.5 | 3.1 / 3.3 |
//! | dictionary, zstd 1 | dictionary, zstd 1 | 28.8 / 39.2 | 1.3 / 1.1 |
//! | delta, zstd 1 | delta, zstd 1 | 15.4 / 21.7 | 3.0 / 3.3 |
//! | delta, zstd 1 | plain, zstd 1 | 15.0 / 21.3 | 2.9 / 3.1 |
//!
//! Pages of 8 k rows cost 1.5 % of size and a tenth of the speed against 16 k, pages of 32 k gain nothing. No part
//! stands out in a profile: sorting takes an eighth, delta encoding a tenth, zstd a twentieth.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, Encoding as ParquetEncoding, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::{KeyValue, SortingColumn};
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use ::parquet::schema::types::ColumnPath;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::clock::Scale;
use super::columns::Encoding;
use super::tables::sealed::Fill;
use super::{Error, NsClock, ROW_GROUP_ROWS, Row, SCHEMA_VERSION, SCHEMA_VERSION_KEY, Table};

/// Rows of a page, at most: what a reader of a short stretch of time has to decode. As many go to the encoder at once:
/// more would only hold more memory.
const fn page_rows(table: Table) -> usize {
    match table {
        // Written by twenty at a time, and read a window at a time.
        Table::Lod | Table::LodExits => 4 * 1024,
        _ => 16 * 1024,
    }
}

/// Rows of a row group, at most.
const fn group_rows(table: Table) -> usize {
    match table {
        Table::Lod | Table::LodExits => ROW_GROUP_ROWS / 4,
        _ => ROW_GROUP_ROWS,
    }
}

/// A file that was finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileSummary {
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

/// Writes one file. The rows must come in the order of their start.
pub struct TableWriter<R: Row> {
    path: PathBuf,
    columns: R::Columns,
    batched_rows: usize,
    schema: SchemaRef,
    clock: Option<Scale>,
    file: ArrowWriter<File>,
    rows: u64,
    #[cfg(debug_assertions)]
    last_start_tsc: i64,
}

impl<R: Row> TableWriter<R> {
    /// Creates the file. Without a clock the `_ns` columns are null.
    pub fn create(path: &Path, clock: Option<NsClock>) -> Result<Self, Error> {
        let schema = R::TABLE.schema();
        let file = File::create(path).map_err(|source| Error::Create { path: path.into(), source })?;
        let file = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties(R::TABLE)))
            .map_err(|source| Error::Write { path: path.into(), source })?;
        Ok(TableWriter {
            path: path.into(),
            columns: R::Columns::new(),
            batched_rows: 0,
            schema,
            clock: clock.map(Scale::new),
            file,
            rows: 0,
            #[cfg(debug_assertions)]
            last_start_tsc: i64::MIN,
        })
    }

    /// Adds a row.
    #[inline]
    pub fn push(&mut self, row: &R) -> Result<(), Error> {
        #[cfg(debug_assertions)]
        {
            assert!(row.start_tsc() >= self.last_start_tsc, "rows of a file come in the order of their start");
            self.last_start_tsc = row.start_tsc();
        }
        self.columns.push(row);
        self.batched_rows += 1;
        if self.batched_rows == page_rows(R::TABLE) { self.write_batch() } else { Ok(()) }
    }

    /// Rows and bytes so far; the bytes of whole row groups only.
    pub fn written(&self) -> FileSummary {
        FileSummary { rows: self.rows + self.batched_rows as u64, bytes: self.file.bytes_written() as u64 }
    }

    /// Writes what is left and the footer, and waits until the file is on the disk.
    pub fn finish(mut self) -> Result<FileSummary, Error> {
        self.write_batch()?;
        self.file.finish().map_err(|source| self.write_error(source))?;
        self.file.inner().sync_all().map_err(|source| Error::Sync { path: self.path.clone(), source })?;
        Ok(self.written())
    }

    #[cold]
    fn write_batch(&mut self) -> Result<(), Error> {
        let arrays = self.columns.take(self.clock.as_ref());
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .map_err(|source| self.write_error(ParquetError::from(source)))?;
        self.file.write(&batch).map_err(|source| self.write_error(source))?;
        self.rows += self.batched_rows as u64;
        self.batched_rows = 0;
        Ok(())
    }

    fn write_error(&self, source: ParquetError) -> Error {
        Error::Write { path: self.path.clone(), source }
    }
}

fn properties(table: Table) -> WriterProperties {
    let columns = table.columns();
    let start = columns.iter().position(|column| column.field.name() == table.start_column());
    let sorting =
        start.map(|index| vec![SortingColumn { column_idx: index as i32, descending: false, nulls_first: false }]);
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("havana ", env!("CARGO_PKG_VERSION")).into())
        .set_key_value_metadata(Some(vec![
            KeyValue::new(SCHEMA_VERSION_KEY.into(), SCHEMA_VERSION.to_string()),
            KeyValue::new("havana.table".into(), table.name().to_string()),
        ]))
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_data_page_row_count_limit(page_rows(table))
        .set_write_batch_size(page_rows(table))
        .set_max_row_group_row_count(Some(group_rows(table)))
        .set_sorting_columns(sorting);
    for column in columns.iter().filter(|column| column.encoding == Encoding::Rises) {
        let path = ColumnPath::from(column.field.name().as_str());
        builder = builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, ParquetEncoding::DELTA_BINARY_PACKED);
    }
    builder.build()
}
