//! Rows through files and back.

use std::fs::{self, File};
use std::num::NonZeroU64;
use std::path::Path;

use ::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use ::parquet::basic::Encoding;
use ::parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use proptest::prelude::*;

use super::*;
use crate::{CpuState, CpuStateKind, Evidence, Time};

fn clock() -> NsClock {
    NsClock { origin_tsc: 0, origin_ns: 7, num: 1, den: NonZeroU64::new(3).unwrap() }
}

fn read<R: Row>(path: &Path) -> Vec<R> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    let mut rows = Vec::new();
    for batch in reader {
        R::decode(&batch.unwrap(), &mut rows).unwrap();
    }
    rows
}

fn metadata(path: &Path) -> ParquetMetaData {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    let metadata = ArrowReaderMetadata::load(&File::open(path).unwrap(), options).unwrap();
    metadata.metadata().as_ref().clone()
}

/// Every row is in exactly one file, every file is sorted, and so are the main files together.
fn write_in_order<R: Row + Clone + std::fmt::Debug>(rows: &[R], limits: Limits) {
    let dir = tempfile::tempdir().unwrap();
    let mut table = OrderedTable::new(dir.path(), Some(clock()), limits);
    for row in rows {
        table.push(row.clone()).unwrap();
    }
    let summary = table.finish().unwrap();
    assert_eq!(summary.rows, rows.len() as u64);

    let mut paths: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert_eq!(summary.files as usize, paths.len());
    assert_eq!(summary.bytes, paths.iter().map(|path| path.metadata().unwrap().len()).sum::<u64>());
    let mut found: Vec<String> = Vec::new();
    let mut end_of_main = i64::MIN;
    for path in paths {
        let rows = read::<R>(&path);
        assert!(rows.is_sorted_by_key(|row| row.start_tsc()), "{path:?}");
        if !path.file_name().unwrap().to_string_lossy().starts_with("part-late-") {
            assert!(rows.first().is_none_or(|row| row.start_tsc() >= end_of_main));
            end_of_main = rows.last().map_or(end_of_main, |row| row.start_tsc());
        }
        found.extend(rows.iter().map(|row| format!("{row:?}")));
    }
    let mut expected: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

fn small_limits() -> impl Strategy<Value = Limits> {
    (0..20usize, 0..20usize, 1..100u64, prop_oneof![Just(1), Just(u64::MAX)]).prop_map(
        |(reorder_rows, late_rows, file_rows, file_bytes)| Limits { reorder_rows, late_rows, file_rows, file_bytes },
    )
}

macro_rules! round_trips {
    ($($name:ident),+) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(48))]
            $(#[test]
            fn $name(rows in prop::collection::vec(super::arbitrary::$name(), 0..200), limits in small_limits()) {
                write_in_order(&rows, limits);
            })+
        }
    };
}

round_trips!(
    cpu_state,
    vcpu_state,
    exit,
    vm,
    vm_offset,
    vcpu,
    process,
    thread,
    loss,
    finding,
    finding_span,
    lod,
    lod_exits
);

fn state_at(tsc: i64) -> CpuState {
    CpuState {
        cpu: 0,
        start: Time { tsc, lo: tsc - 5, hi: tsc + 5 },
        end: Time::exact(tsc + 10),
        state: CpuStateKind::Host,
        evidence: Evidence::Observed,
        vm_id: None,
        vcpu_id: None,
        process_id: Some(1),
        host_cr3: Some(0x1000),
        guest_cr3: None,
        tid: None,
    }
}

#[test]
fn a_large_file_has_pages_and_row_groups_that_can_be_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.parquet");
    let mut writer = TableWriter::create(&path, None).unwrap();
    for n in 0..300_000 {
        writer.push(&state_at(n * 10)).unwrap();
    }
    let summary = writer.finish().unwrap();
    assert_eq!(summary, FileSummary { rows: 300_000, bytes: path.metadata().unwrap().len() });

    let metadata = metadata(&path);
    let rows: Vec<_> = metadata.row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(rows, [131_072, 131_072, 37_856]);
    let group = metadata.row_group(0);
    let start = group.columns().iter().position(|column| column.column_path().string() == "start_tsc").unwrap();
    assert_eq!(group.sorting_columns().unwrap()[0].column_idx as usize, start);
    let encodings: Vec<_> = group.column(start).encodings().collect();
    assert!(encodings.contains(&Encoding::DELTA_BINARY_PACKED), "{encodings:?}");
    for column in 0..group.num_columns() {
        let pages = metadata.offset_index().unwrap()[0][column].page_locations();
        let firsts: Vec<_> = pages.iter().map(|page| page.first_row_index).collect();
        assert_eq!(firsts, [0, 16_384, 32_768, 49_152, 65_536, 81_920, 98_304, 114_688]);
    }
    let index = &metadata.column_index().unwrap()[0][start];
    assert!(format!("{index:?}").contains("163840"), "the second page's smallest start: {index:?}");
    let keys = metadata.file_metadata().key_value_metadata().unwrap();
    assert!(keys.iter().any(|key| key.key == SCHEMA_VERSION_KEY && key.value.as_deref() == Some("2")));
}

#[test]
fn nanoseconds_are_null_without_a_clock_and_where_there_is_no_moment() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.parquet");
    let ns = |clock| {
        let mut writer = TableWriter::create(&path, clock).unwrap();
        writer.push(&state_at(30)).unwrap();
        writer.finish().unwrap();
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap().build().unwrap();
        let batch = reader.next().unwrap().unwrap();
        let column = batch.column_by_name("start_ns").unwrap().as_primitive::<Int64Type>();
        column.is_valid(0).then(|| column.value(0))
    };
    assert_eq!(ns(Some(clock())), Some(17));
    assert_eq!(ns(None), None);
}
