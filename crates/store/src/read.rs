//! Reading a dataset, a batch at a time.
//!
//! A range of start times is looked up three times, each time in less: in the statistics of row groups, in those of
//! pages, and, since pages hold what is before and after, row by row. A range of time that rows overlap is looked up in the
//! first two, by their starts and ends both: so what began long before it is found, and little else is read.

use std::collections::HashMap;
use std::fs::{self, File};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::vec;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use havana_rows::parquet::{Error as RowError, Row, Table, View};
use havana_rows::{CpuState, Exit, Finding, FindingSpan, Loss, Process, Thread, Vcpu, VcpuState, Vm, VmOffset};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowFilter, RowSelection, RowSelector,
};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::statistics::Statistics;

use crate::{Manifest, StoreError, partition};

/// Rows of a batch: about 1 MB of the widest table.
const BATCH_ROWS: usize = 8 * 1024;

/// A dataset on disk.
#[derive(Debug, Clone)]
pub struct Dataset {
    dir: PathBuf,
    manifest: Manifest,
    /// Of files of which a stretch was read: the next one is found without reading them again.
    footers: Arc<Mutex<HashMap<PathBuf, ArrowReaderMetadata>>>,
}

impl Dataset {
    /// Opens it: reads the manifest and sees that every table has its files.
    pub fn open(dir: &Path) -> Result<Dataset, StoreError> {
        if !dir.exists() {
            return Err(StoreError::NotFound { path: dir.into() });
        }
        let manifest = Manifest::read(dir)?;
        let dataset = Dataset::of(dir, manifest);
        for &table in Table::ALL {
            dataset.files(table)?;
        }
        Ok(dataset)
    }

    /// One whose manifest is known.
    pub(crate) fn of(dir: &Path, manifest: Manifest) -> Dataset {
        Dataset { dir: dir.into(), manifest, footers: Arc::default() }
    }

    pub(crate) fn into_manifest(self) -> Manifest {
        self.manifest
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
        // A table that its version did not have yet.
        if !self.manifest.tables.contains_key(table.name()) && !dir.exists() {
            return Ok(files);
        }
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
        Scan { dataset: self, table, columns: None, range: None, only: Vec::new() }
    }

    /// What is known of a file before it is read.
    fn footer(&self, path: &Path, file: &File) -> Result<ArrowReaderMetadata, StoreError> {
        // A thread that panicked has left it whole: entries are put in at once.
        let footers = || self.footers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(footer) = footers().get(path) {
            return Ok(footer.clone());
        }
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let footer = ArrowReaderMetadata::load(file, options)
            .map_err(|source| StoreError::Parquet { path: path.into(), source })?;
        footers().insert(path.into(), footer.clone());
        Ok(footer)
    }

    /// The rows of a table, in the order of its files.
    pub fn rows<R: Row>(&self) -> Result<Rows<'_, R>, StoreError> {
        self.scan(R::TABLE).rows()
    }

    /// The rows of `cpu_states`.
    pub fn cpu_states(&self) -> Result<Rows<'_, CpuState>, StoreError> {
        self.rows()
    }

    /// The rows of `vcpu_states`.
    pub fn vcpu_states(&self) -> Result<Rows<'_, VcpuState>, StoreError> {
        self.rows()
    }

    /// The rows of `exits`.
    pub fn exits(&self) -> Result<Rows<'_, Exit>, StoreError> {
        self.rows()
    }

    /// The rows of `losses`.
    pub fn losses(&self) -> Result<Rows<'_, Loss>, StoreError> {
        self.rows()
    }

    /// The rows of `findings`, the first first; none where nobody looked for any.
    pub fn findings(&self) -> Result<Option<Vec<Finding>>, StoreError> {
        if !self.manifest.tables.contains_key(Table::Findings.name()) {
            return Ok(None);
        }
        self.rows()?.collect::<Result<_, _>>().map(Some)
    }

    /// The rows of `finding_spans`, by their start.
    pub fn finding_spans(&self) -> Result<Vec<FindingSpan>, StoreError> {
        self.rows()?.collect()
    }

    /// The rows of `threads`.
    pub fn threads(&self) -> Result<Rows<'_, Thread>, StoreError> {
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
    range: Option<Range>,
    only: Vec<(&'static str, Only)>,
}

/// A value of a column.
#[derive(Debug, Clone)]
enum Only {
    Id(i32),
    Name(&'static str),
}

impl Only {
    /// Whether a row group of these statistics may hold it.
    fn may_be_in(&self, statistics: Option<&Statistics>) -> bool {
        match (self, statistics) {
            (Only::Id(value), Some(Statistics::Int32(of))) => {
                of.min_opt().is_none_or(|min| min <= value) && of.max_opt().is_none_or(|max| max >= value)
            }
            (Only::Name(value), Some(Statistics::ByteArray(of))) => {
                let value = value.as_bytes();
                of.min_opt().is_none_or(|min| min.data() <= value) && of.max_opt().is_none_or(|max| max.data() >= value)
            }
            _ => true,
        }
    }
}

/// A stretch of time.
#[derive(Debug, Clone)]
enum Range {
    /// Rows that start in it, and no other.
    Starting(RangeInclusive<i64>),
    /// Pages that may hold rows that overlap it.
    Overlapping(RangeInclusive<i64>),
}

impl<'a> Scan<'a> {
    /// Only these columns, whatever their order here in that of the table.
    pub fn columns(mut self, columns: &[&str]) -> Self {
        self.columns = Some(columns.iter().map(|&column| column.into()).collect());
        self
    }

    /// Only rows whose [`Table::start_column`] lies in the range. An interval that began before it is not among them,
    /// even where it reaches into it.
    pub fn starting(mut self, range: RangeInclusive<i64>) -> Self {
        self.range = Some(Range::Starting(range));
        self
    }

    /// The rows that overlap the range, whenever they began, and others beside them: whole pages come. A row without a
    /// length overlaps where it lies.
    pub fn overlapping(mut self, range: RangeInclusive<i64>) -> Self {
        self.range = Some(Range::Overlapping(range));
        self
    }

    /// Leaves out row groups that have no row of this id in that column. Others may come beside it.
    pub fn only(mut self, column: &'static str, id: i32) -> Self {
        self.only.push((column, Only::Id(id)));
        self
    }

    /// Leaves out row groups that have no row of this name in that column. Others may come beside it.
    pub fn only_named(mut self, column: &'static str, name: &'static str) -> Self {
        self.only.push((column, Only::Name(name)));
        self
    }

    /// The batches, in the order of the files.
    pub fn batches(self) -> Result<Batches<'a>, StoreError> {
        Ok(Batches { files: self.dataset.files(self.table)?.into_iter(), scan: self, current: None })
    }

    /// How many rows would come, before any is read.
    pub fn rows_at_most(&self) -> Result<u64, StoreError> {
        let mut rows = 0;
        for path in self.dataset.files(self.table)? {
            let file = File::open(&path).map_err(StoreError::io("open", &path))?;
            let footer = self.dataset.footer(&path, &file)?;
            let (groups, pages) = self.wanted(&path, footer.metadata())?;
            rows += match pages {
                Some(pages) => pages.row_count() as u64,
                None => groups.iter().map(|&g| footer.metadata().row_group(g).num_rows().unsigned_abs()).sum(),
            };
        }
        Ok(rows)
    }

    /// Gives every row that comes to `take`.
    pub fn each<V: View>(self, mut take: impl FnMut(&V)) -> Result<(), StoreError> {
        let mut batches = Scan { columns: Some(V::columns()), ..self }.batches()?;
        let mut rows: Vec<V> = Vec::with_capacity(BATCH_ROWS);
        while let Some(batch) = batches.next() {
            rows.clear();
            V::decode(&batch?, &mut rows).map_err(|source| batches.wrong_columns(source))?;
            rows.iter().for_each(&mut take);
        }
        Ok(())
    }

    /// The row groups that may hold rows wanted, and the pages of these, where not all.
    fn wanted(
        &self,
        path: &Path,
        metadata: &ParquetMetaData,
    ) -> Result<(Vec<usize>, Option<RowSelection>), StoreError> {
        let leaves = metadata.file_metadata().schema_descr().columns();
        let leaf = |name: &str| {
            let no_column = || StoreError::no_column(path, name);
            leaves.iter().position(|leaf| leaf.name() == name).ok_or_else(no_column)
        };
        let mut groups: Vec<usize> = (0..metadata.num_row_groups()).collect();
        for (column, value) in &self.only {
            let leaf = leaf(column)?;
            groups.retain(|&group| value.may_be_in(metadata.row_group(group).column(leaf).statistics()));
        }
        let Some(range) = &self.range else { return Ok((groups, None)) };
        let start = leaf(self.table.start_column())?;
        let (range, end) = match range {
            Range::Starting(range) => (range, start),
            Range::Overlapping(range) => (range, self.table.end_column().map_or(Ok(start), leaf)?),
        };
        let (groups, pages) = overlapping(metadata, groups, (start, end), range);
        Ok((groups, Some(pages)))
    }

    /// The rows. `R` must be the row of the table, and no columns be left out, or reading gives an error.
    pub fn rows<R: Row>(self) -> Result<Rows<'a, R>, StoreError> {
        Ok(Rows { batches: self.batches()?, decoded: Vec::new().into_iter() })
    }
}

/// The batches of a [`Scan`]. After an error it is at its end.
pub struct Batches<'a> {
    files: vec::IntoIter<PathBuf>,
    scan: Scan<'a>,
    current: Option<(PathBuf, ParquetRecordBatchReader)>,
}

impl Batches<'_> {
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
            self.current = self.open(&path)?.map(|reader| (path, reader));
        }
    }

    /// A reader of a file; none where nothing in it is wanted.
    fn open(&self, path: &Path) -> Result<Option<ParquetRecordBatchReader>, StoreError> {
        let damaged = |source| StoreError::Parquet { path: path.into(), source };
        let file = File::open(path).map_err(StoreError::io("open", path))?;
        let scan = &self.scan;
        let builder = if scan.range.is_some() || !scan.only.is_empty() {
            ParquetRecordBatchReaderBuilder::new_with_metadata(
                file.try_clone().map_err(StoreError::io("open", path))?,
                scan.dataset.footer(path, &file)?,
            )
        } else {
            let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Skip);
            ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).map_err(damaged)?
        };
        let mut builder = builder.with_batch_size(BATCH_ROWS);
        let leaf = |name: &str| {
            let leaves = builder.parquet_schema().columns();
            leaves.iter().position(|leaf| leaf.name() == name).ok_or_else(|| StoreError::no_column(path, name))
        };
        let start = leaf(scan.table.start_column())?;
        let projection = match &scan.columns {
            Some(columns) => Some(columns.iter().map(|column| leaf(column)).collect::<Result<Vec<_>, _>>()?),
            None => None,
        };
        if let Some(leaves) = projection {
            let mask = ProjectionMask::leaves(builder.parquet_schema(), leaves);
            builder = builder.with_projection(mask);
        }
        let (groups, pages) = scan.wanted(path, builder.metadata())?;
        if groups.is_empty() || pages.as_ref().is_some_and(|pages| !pages.selects_any()) {
            return Ok(None);
        }
        builder = builder.with_row_groups(groups);
        if let Some(pages) = pages {
            builder = builder.with_row_selection(pages);
        }
        if let Some(Range::Starting(range)) = &scan.range {
            let mask = ProjectionMask::leaves(builder.parquet_schema(), [start]);
            let range = range.clone();
            let inside = ArrowPredicateFn::new(mask, move |batch| rows_inside(&batch, &range));
            builder = builder.with_row_filter(RowFilter::new(vec![Box::new(inside)]));
        }
        Ok(Some(builder.build().map_err(damaged)?))
    }

    /// A batch that has not the columns it should have: the end.
    fn wrong_columns(&mut self, source: RowError) -> StoreError {
        let path = self.current.take().map(|(path, _)| path).unwrap_or_default();
        self.files = Vec::new().into_iter();
        StoreError::Columns { path, source }
    }
}

impl Iterator for Batches<'_> {
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

/// Those of the row groups that may hold rows of the range, by their start and end columns, and of their rows the pages
/// that may. Where there are no statistics all may.
fn overlapping(
    metadata: &ParquetMetaData,
    among: Vec<usize>,
    (start, end): (usize, usize),
    range: &RangeInclusive<i64>,
) -> (Vec<usize>, RowSelection) {
    let begins = |min: Option<&i64>| min.is_none_or(|min| min <= range.end());
    let ends = |max: Option<&i64>| max.is_none_or(|max| max >= range.start());
    let mut groups = Vec::new();
    let mut selectors = Vec::new();
    for index in among {
        let group = metadata.row_group(index);
        let of = |column: usize| match group.column(column).statistics() {
            Some(Statistics::Int64(statistics)) => Some(statistics),
            _ => None,
        };
        if !begins(of(start).and_then(|of| of.min_opt())) || !ends(of(end).and_then(|of| of.max_opt())) {
            continue;
        }
        groups.push(index);
        let group_rows = usize::try_from(group.num_rows()).unwrap_or(0);
        let pages_of = |column: usize| Some(metadata.offset_index()?.get(index)?.get(column)?.page_locations());
        let bounds_of = |column: usize| match metadata.column_index()?.get(index)?.get(column)? {
            ColumnIndexMetaData::INT64(bounds) => Some(bounds),
            _ => None,
        };
        let first_rows = |pages: &[PageLocation]| pages.iter().map(|page| page.first_row_index).collect::<Vec<_>>();
        let (Some(pages), Some(starts), Some(stops)) = (pages_of(start), bounds_of(start), bounds_of(end)) else {
            selectors.push(RowSelector::select(group_rows));
            continue;
        };
        let firsts = first_rows(pages);
        // Pages of both columns are of the same rows where we wrote them; another writer's may not be.
        let same = pages_of(end).is_some_and(|others| first_rows(others) == firsts);
        let firsts = firsts.into_iter().map(|row| usize::try_from(row).unwrap_or(0));
        let next = firsts.clone().skip(1).chain([group_rows]);
        for (page, (first, next)) in firsts.zip(next).enumerate() {
            let may = begins(starts.min_value(page)) && (!same || ends(stops.max_value(page)));
            let rows = next.saturating_sub(first);
            selectors.push(if may { RowSelector::select(rows) } else { RowSelector::skip(rows) });
        }
    }
    (groups, selectors.into())
}

/// The rows of a table. After an error it is at its end.
pub struct Rows<'a, R> {
    batches: Batches<'a>,
    decoded: vec::IntoIter<R>,
}

impl<R: Row> Iterator for Rows<'_, R> {
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
                return Some(Err(self.batches.wrong_columns(source)));
            }
            self.decoded = rows.into_iter();
        }
    }
}
