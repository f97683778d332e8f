//! Reading a dataset, a batch at a time.
//!
//! A range of start times is looked up three times, each time in less: in the statistics of row groups, in those of
//! pages, and, since pages hold what is before and after, row by row.

use std::fs::{self, File};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use havana_rows::parquet::{Error as RowError, Row, Table};
use havana_rows::{CpuState, Exit, Loss, Process, Thread, Vcpu, VcpuState, Vm, VmOffset};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowFilter,
    RowSelection, RowSelector,
};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;

use crate::{Manifest, StoreError, partition};

/// Rows of a batch: about 1 MB of the widest table.
const BATCH_ROWS: usize = 8 * 1024;

/// A dataset on disk.
#[derive(Debug, Clone)]
pub struct Dataset {
    dir: PathBuf,
    manifest: Manifest,
}

impl Dataset {
    /// Opens it: reads the manifest and sees that every table has its files.
    pub fn open(dir: &Path) -> Result<Dataset, StoreError> {
        if !dir.exists() {
            return Err(StoreError::NotFound { path: dir.into() });
        }
        let manifest = Manifest::read(dir)?;
        let dataset = Dataset { dir: dir.into(), manifest };
        for &table in Table::ALL {
            dataset.files(table)?;
        }
        Ok(dataset)
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it is about.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The files of a table, in the order they are read: the main ones, in the order of time, then the late ones.
    pub fn files(&self, table: Table) -> Result<Vec<PathBuf>, StoreError> {
        let below = partition::directory(&self.manifest.node, &self.manifest.capture);
        let dir = self.dir.join(table.name()).join(below);
        let mut files = Vec::new();
        for entry in fs::read_dir(&dir).map_err(StoreError::io("read", &dir))? {
            let path = entry.map_err(StoreError::io("read", &dir))?.path();
            if path.extension().is_some_and(|extension| extension == "parquet") {
                files.push(path);
            }
        }
        // Shorter first: `part-10000` comes after `part-9999`, and every `part-late-` after every `part-`.
        files.sort_by_cached_key(|path| (path.as_os_str().len(), path.clone()));
        let expected = self.manifest.tables.get(table.name()).map_or(0, |files| files.files);
        let found = u32::try_from(files.len()).unwrap_or(u32::MAX);
        if found == expected { Ok(files) } else { Err(StoreError::FileCount { path: dir, found, expected }) }
    }

    /// Reads a table's columns.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), havana_store::StoreError> {
    /// # use havana_rows::parquet::Table;
    /// let dataset = havana_store::Dataset::open("host.havana".as_ref())?;
    /// for batch in dataset.scan(Table::Exits).columns(&["exit_tsc", "vm_id"]).starting(1_000..=2_000).batches()? {
    ///     println!("{} exits", batch?.num_rows());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan(&self, table: Table) -> Scan<'_> {
        Scan { dataset: self, table, columns: None, range: None }
    }

    /// The rows of a table, in the order of its files.
    pub fn rows<R: Row>(&self) -> Result<Rows<R>, StoreError> {
        self.scan(R::TABLE).rows()
    }

    /// The rows of `cpu_states`.
    pub fn cpu_states(&self) -> Result<Rows<CpuState>, StoreError> {
        self.rows()
    }

    /// The rows of `vcpu_states`.
    pub fn vcpu_states(&self) -> Result<Rows<VcpuState>, StoreError> {
        self.rows()
    }

    /// The rows of `exits`.
    pub fn exits(&self) -> Result<Rows<Exit>, StoreError> {
        self.rows()
    }

    /// The rows of `losses`.
    pub fn losses(&self) -> Result<Rows<Loss>, StoreError> {
        self.rows()
    }

    /// The rows of `threads`.
    pub fn threads(&self) -> Result<Rows<Thread>, StoreError> {
        self.rows()
    }

    /// The VMs, by the time they were first seen.
    pub fn vms(&self) -> Result<Vec<Vm>, StoreError> {
        self.rows()?.collect()
    }

    /// The VMs' clocks, by their start.
    pub fn vm_offsets(&self) -> Result<Vec<VmOffset>, StoreError> {
        self.rows()?.collect()
    }

    /// The vCPUs, by the time they were first seen.
    pub fn vcpus(&self) -> Result<Vec<Vcpu>, StoreError> {
        self.rows()?.collect()
    }

    /// The processes, by the time they were first seen.
    pub fn processes(&self) -> Result<Vec<Process>, StoreError> {
        self.rows()?.collect()
    }
}

/// What to read of a table: at first all of it.
#[derive(Debug, Clone)]
#[must_use]
pub struct Scan<'a> {
    dataset: &'a Dataset,
    table: Table,
    columns: Option<Vec<String>>,
    range: Option<RangeInclusive<i64>>,
}

impl Scan<'_> {
    /// Only these columns, whatever their order here in that of the table.
    pub fn columns(mut self, columns: &[&str]) -> Self {
        self.columns = Some(columns.iter().map(|&column| column.into()).collect());
        self
    }

    /// Only rows whose [`Table::start_column`] lies in the range. An interval that began before it is not among them,
    /// even where it reaches into it.
    pub fn starting(mut self, range: RangeInclusive<i64>) -> Self {
        self.range = Some(range);
        self
    }

    /// The batches, in the order of the files.
    pub fn batches(self) -> Result<Batches, StoreError> {
        Ok(Batches {
            files: self.dataset.files(self.table)?.into_iter(),
            table: self.table,
            columns: self.columns,
            range: self.range,
            current: None,
        })
    }

    /// The rows. `R` must be the row of the table, and no columns be left out, or reading gives an error.
    pub fn rows<R: Row>(self) -> Result<Rows<R>, StoreError> {
        Ok(Rows { batches: self.batches()?, decoded: Vec::new().into_iter() })
    }
}

/// The batches of a [`Scan`]. After an error it is at its end.
pub struct Batches {
    files: vec::IntoIter<PathBuf>,
    table: Table,
    columns: Option<Vec<String>>,
    range: Option<RangeInclusive<i64>>,
    current: Option<(PathBuf, ParquetRecordBatchReader)>,
}

impl Batches {
    fn try_next(&mut self) -> Result<Option<RecordBatch>, StoreError> {
        loop {
            if let Some((path, reader)) = &mut self.current {
                match reader.next() {
                    Some(Ok(batch)) => return Ok(Some(batch)),
                    Some(Err(source)) => {
                        return Err(StoreError::Parquet { path: path.clone(), source: source.into() });
                    }
                    None => self.current = None,
                }
            }
            let Some(path) = self.files.next() else { return Ok(None) };
            let reader = self.open(&path)?;
            self.current = Some((path, reader));
        }
    }

    fn open(&self, path: &Path) -> Result<ParquetRecordBatchReader, StoreError> {
        let damaged = |source| StoreError::Parquet { path: path.into(), source };
        let no_column = |column: &str| StoreError::Columns {
            path: path.into(),
            source: RowError::NoColumn { column: column.into() },
        };
        let file = File::open(path).map_err(StoreError::io("open", path))?;
        let policy = if self.range.is_some() { PageIndexPolicy::Optional } else { PageIndexPolicy::Skip };
        let options = ArrowReaderOptions::new().with_page_index_policy(policy);
        let mut builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
            .map_err(damaged)?
            .with_batch_size(BATCH_ROWS);
        let leaf = |name: &str| {
            let leaves = builder.parquet_schema().columns();
            leaves.iter().position(|leaf| leaf.name() == name).ok_or_else(|| no_column(name))
        };
        let start = leaf(self.table.start_column())?;
        let projection = match &self.columns {
            Some(columns) => Some(columns.iter().map(|column| leaf(column)).collect::<Result<Vec<_>, _>>()?),
            None => None,
        };
        if let Some(leaves) = projection {
            let mask = ProjectionMask::leaves(builder.parquet_schema(), leaves);
            builder = builder.with_projection(mask);
        }
        if let Some(range) = &self.range {
            let (groups, pages) = overlapping(builder.metadata(), start, range);
            let mask = ProjectionMask::leaves(builder.parquet_schema(), [start]);
            let range = range.clone();
            let inside = ArrowPredicateFn::new(mask, move |batch| rows_inside(&batch, &range));
            builder = builder
                .with_row_groups(groups)
                .with_row_selection(pages)
                .with_row_filter(RowFilter::new(vec![Box::new(inside)]));
        }
        builder.build().map_err(damaged)
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.try_next();
        if next.is_err() {
            self.current = None;
            self.files = Vec::new().into_iter();
        }
        next.transpose()
    }
}

/// Which rows of a batch that has only the start column lie in the range.
fn rows_inside(batch: &RecordBatch, range: &RangeInclusive<i64>) -> Result<BooleanArray, ArrowError> {
    let column = batch.column(0);
    let starts = column
        .as_primitive_opt::<Int64Type>()
        .ok_or_else(|| ArrowError::SchemaError(format!("the start column is of type {}", column.data_type())))?;
    let starts = starts.values();
    Ok(BooleanArray::new(BooleanBuffer::collect_bool(starts.len(), |row| range.contains(&starts[row])), None))
}

/// The row groups that may hold rows of the range, and of their rows the pages that may. Where there are no statistics
/// all may.
fn overlapping(
    metadata: &Arc<ParquetMetaData>,
    start: usize,
    range: &RangeInclusive<i64>,
) -> (Vec<usize>, RowSelection) {
    let overlaps = |min: i64, max: i64| min <= *range.end() && max >= *range.start();
    let mut groups = Vec::new();
    let mut selectors = Vec::new();
    for (index, group) in metadata.row_groups().iter().enumerate() {
        if let Some(Statistics::Int64(statistics)) = group.column(start).statistics()
            && let (Some(&min), Some(&max)) = (statistics.min_opt(), statistics.max_opt())
            && !overlaps(min, max)
        {
            continue;
        }
        groups.push(index);
        let group_rows = usize::try_from(group.num_rows()).unwrap_or(0);
        let pages = metadata.offset_index().and_then(|groups| Some(groups.get(index)?.get(start)?.page_locations()));
        let bounds = metadata.column_index().and_then(|groups| groups.get(index)?.get(start));
        let (Some(pages), Some(ColumnIndexMetaData::INT64(bounds))) = (pages, bounds) else {
            selectors.push(RowSelector::select(group_rows));
            continue;
        };
        let firsts = pages.iter().map(|page| usize::try_from(page.first_row_index).unwrap_or(0));
        let ends = firsts.clone().skip(1).chain([group_rows]);
        for (page, (first, end)) in firsts.zip(ends).enumerate() {
            let may = match (bounds.min_value(page), bounds.max_value(page)) {
                (Some(&min), Some(&max)) => overlaps(min, max),
                _ => true,
            };
            let rows = end.saturating_sub(first);
            selectors.push(if may { RowSelector::select(rows) } else { RowSelector::skip(rows) });
        }
    }
    (groups, selectors.into())
}

/// The rows of a table. After an error it is at its end.
pub struct Rows<R> {
    batches: Batches,
    decoded: vec::IntoIter<R>,
}

impl<R: Row> Iterator for Rows<R> {
    type Item = Result<R, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.decoded.next() {
                return Some(Ok(row));
            }
            let batch = match self.batches.next()? {
                Ok(batch) => batch,
                Err(error) => return Some(Err(error)),
            };
            let mut rows = Vec::with_capacity(batch.num_rows());
            if let Err(source) = R::decode(&batch, &mut rows) {
                let path = self.batches.current.take().map(|(path, _)| path).unwrap_or_default();
                self.batches.files = Vec::new().into_iter();
                return Some(Err(StoreError::Columns { path, source }));
            }
            self.decoded = rows.into_iter();
        }
    }
}
