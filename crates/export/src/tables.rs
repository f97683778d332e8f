//! Tables as text: CSV and JSON lines.
//!
//! Columns, names and numbers are the dataset's, in the order of its files (rows that came late are at the end). Addresses
//! are hexadecimal text, as the report has them: as signed numbers a guest's kernel would be below zero. Nulls are empty
//! in CSV, and `null` in JSON.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray, StringBuilder, new_null_array,
};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use havana_rows::Finding;
use havana_rows::parquet::{Row, Table};
use rustc_hash::FxHashSet;

use crate::names::Names;
use crate::{ExportError, Selection};

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// With a line of names first.
    Csv,
    /// An object a line.
    Jsonl,
}

impl Form {
    /// What files of it end in.
    pub fn extension(self) -> &'static str {
        match self {
            Form::Csv => "csv",
            Form::Jsonl => "jsonl",
        }
    }
}

/// Columns of addresses.
const ADDRESSES: [&str; 5] = ["host_cr3", "guest_cr3", "cr3", "vmcs", "guest_ip"];
/// Columns that name a host, a VM or a program.
const NAMES: [&str; 4] = ["name", "uuid", "source", "title"];

/// Writes a table.
///
/// # Errors
/// Where it cannot be read, or not be written.
pub fn write(selection: &Selection<'_>, table: Table, form: Form, out: impl Write) -> Result<(), ExportError> {
    // A table without rows has columns, too.
    let empty = RecordBatch::new_empty(table.schema());
    let batches = std::iter::once(Ok(empty)).chain(selection.scan(table).batches()?);
    let about = About::of(selection, table)?;
    let batches = batches.map(|batch| part_of(selection, &about, table, &batch?));
    match form {
        Form::Csv => {
            let mut csv = arrow_csv::WriterBuilder::new().with_header(true).build(out);
            for batch in batches {
                csv.write(&batch?)?;
            }
            Ok(csv.into_inner().flush()?)
        }
        Form::Jsonl => {
            let json = arrow_json::WriterBuilder::new().with_explicit_nulls(true);
            let mut json = json.build::<_, arrow_json::writer::LineDelimited>(out);
            for batch in batches {
                json.write(&batch?)?;
            }
            json.finish()?;
            Ok(json.into_inner().flush()?)
        }
    }
}

/// Who and what is in the part.
struct About {
    names: Names,
    /// Where the table tells of such.
    findings: FxHashSet<i32>,
    vcpus: FxHashSet<i32>,
    processes: FxHashSet<i32>,
}

impl About {
    fn of(selection: &Selection<'_>, table: Table) -> Result<About, ExportError> {
        if matches!(table, Table::Lod | Table::LodExits) && !selection.has_all_cpus() {
            return Err(ExportError::NotByCpu { table: table.name() });
        }
        let names = selection.names()?;
        let findings = match table {
            Table::Findings | Table::FindingSpans => selection.findings()?,
            _ => Vec::new(),
        };
        Ok(About {
            findings: findings.iter().map(|found| found.finding.finding_id).collect(),
            vcpus: names.vcpus.iter().map(|vcpu| vcpu.vcpu_id).collect(),
            processes: names.processes.iter().map(|process| process.process_id).collect(),
            names,
        })
    }

    /// What the cpus did stays whole.
    fn has_track(&self, selection: &Selection<'_>, kind: &str, id: i32) -> bool {
        match kind {
            _ if selection.has_all_vms() => true,
            "vcpu" => self.vcpus.contains(&id),
            "process" => self.processes.contains(&id),
            _ => true,
        }
    }
}

/// Columns that say from when to when a row is, the first of these that a table has.
const TIMES: [(&str, &str); 5] = [
    ("start_tsc", "end_tsc"),
    ("exit_tsc", "exit_tsc"),
    ("first_tsc", "last_tsc"),
    ("bucket_start_tsc", "bucket_end_tsc"),
    ("bucket_start_tsc", "bucket_start_tsc"),
];

/// The rows of a batch that are in the part, cut, and as they are written.
fn part_of(
    selection: &Selection<'_>,
    about: &About,
    table: Table,
    batch: &RecordBatch,
) -> Result<RecordBatch, ExportError> {
    let kept = kept(selection, about, table, batch);
    let batch = if kept.true_count() == kept.len() { batch.clone() } else { filter_record_batch(batch, &kept)? };
    // Buckets stay whole.
    let lasts = table.end_column() == Some("end_tsc");
    let batch = match selection.window.filter(|_| lasts) {
        Some(window) => cut(selection, window, &batch)?,
        None => batch,
    };
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let name = field.name().as_str();
        let column = match name {
            "title" if selection.redact && table == Table::Findings => titles(&about.names, &batch)?,
            _ if selection.redact && (ADDRESSES.contains(&name) || NAMES.contains(&name)) => {
                new_null_array(&DataType::Utf8, column.len())
            }
            _ if ADDRESSES.contains(&name) => hexadecimal(column),
            _ => Arc::clone(column),
        };
        fields.push(Field::new(name, column.data_type().clone(), true));
        columns.push(column);
    }
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// Numbers of a column, none where it has not such.
fn ticks<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a Int64Array> {
    batch.column_by_name(name)?.as_primitive_opt::<Int64Type>()
}

/// Which rows are in the part.
fn kept(selection: &Selection<'_>, about: &About, table: Table, batch: &RecordBatch) -> BooleanArray {
    let ids = |name: &str| batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int32Type>());
    // What the cpus did stays whole.
    let vm = ids("vm_id").filter(|_| table != Table::CpuStates);
    let cpu = ids("cpu");
    let finding = ids("finding_id");
    let kinds = batch.column_by_name("track_kind").and_then(|kinds| kinds.as_any_dictionary_opt());
    let kinds = kinds.and_then(|kinds| cast(kinds, &DataType::Utf8).ok());
    let tracks = kinds.as_ref().and_then(|kinds| kinds.as_string_opt::<i32>()).zip(ids("track_id"));
    // What a finding is about has been looked at.
    let time = TIMES
        .iter()
        .filter(|_| table != Table::Findings)
        .find_map(|(start, end)| Some((ticks(batch, start)?, ticks(batch, end)?)));
    let is_kept = |row: usize| {
        let in_vms = vm.is_none_or(|ids| ids.is_null(row) || selection.has_vm(ids.value(row)));
        let in_cpus = cpu.is_none_or(|ids| match ids.is_valid(row) {
            true => selection.has_cpu(ids.value(row)),
            // A vCPU that is on no cpu is on none of those.
            false => table != Table::VcpuStates || selection.has_all_cpus(),
        });
        in_vms
            && in_cpus
            && finding.is_none_or(|ids| about.findings.contains(&ids.value(row)))
            && tracks.as_ref().is_none_or(|(kinds, ids)| about.has_track(selection, kinds.value(row), ids.value(row)))
            && time.is_none_or(|(starts, ends)| {
                let start = starts.is_valid(row).then(|| starts.value(row));
                let end = ends.is_valid(row).then(|| ends.value(row)).or(start).unwrap_or(i64::MAX);
                selection.cut(start.unwrap_or(i64::MIN), end).is_some()
            })
    };
    (0..batch.num_rows()).map(|row| Some(is_kept(row))).collect()
}

/// Ends of rows that reach out of the part: the cut is exact.
fn cut(selection: &Selection<'_>, (from, to): (i64, i64), batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let outside = |name: &str, is_out: &dyn Fn(i64) -> bool| -> Vec<bool> {
        ticks(batch, name).map(|all| all.values().iter().map(|&tsc| is_out(tsc)).collect()).unwrap_or_default()
    };
    let early = outside("start_tsc", &|tsc| tsc < from);
    let late = outside("end_tsc", &|tsc| tsc > to);
    let column = |(field, column): (&Arc<Field>, &ArrayRef)| -> ArrayRef {
        let name = field.name().as_str();
        let (out, at) = match name {
            "start_tsc" | "start_lo_tsc" | "start_hi_tsc" | "start_ns" => (&early, from),
            "end_tsc" | "end_lo_tsc" | "end_hi_tsc" | "end_ns" => (&late, to),
            _ => return Arc::clone(column),
        };
        let Some(values) = column.as_primitive_opt::<Int64Type>() else { return Arc::clone(column) };
        let at = if name.ends_with("_ns") { selection.time(at) } else { at };
        let cut = |(value, &out): (Option<i64>, &bool)| value.map(|value| if out { at } else { value });
        Arc::new(values.iter().zip(out).map(cut).collect::<Int64Array>())
    };
    let columns = batch.schema().fields().iter().zip(batch.columns()).map(column).collect();
    RecordBatch::try_new(batch.schema(), columns)
}

fn hexadecimal(column: &ArrayRef) -> ArrayRef {
    let Some(addresses) = column.as_primitive_opt::<Int64Type>() else { return Arc::clone(column) };
    let mut text = StringBuilder::with_capacity(addresses.len(), addresses.len() * 12);
    for address in addresses {
        if let Some(address) = address {
            // Into memory: it cannot fail.
            let _ = write!(text, "{address:#x}");
            text.append_value("");
        } else {
            text.append_null();
        }
    }
    Arc::new(text.finish())
}

/// Titles without names.
fn titles(names: &Names, batch: &RecordBatch) -> Result<ArrayRef, ExportError> {
    let mut rows = Vec::new();
    Finding::decode(batch, &mut rows)?;
    Ok(Arc::new(rows.iter().map(|row| Some(names.finding(row))).collect::<StringArray>()))
}
