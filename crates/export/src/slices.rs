//! Rows by their start, in bounded memory, whatever their order in the files.
//!
//! Files hold rows that came late at their end. So time is halved until a stretch has few enough rows, by the page
//! index, or pages cannot be told apart; these are read, sorted and given on, while a thread reads the next ones.

use std::ops::RangeInclusive;
use std::panic::resume_unwind;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use havana_rows::parquet::{Row, Table};
use havana_store::{Dataset, StoreError};

use crate::{ExportError, Selection};

/// Rows of a slice, at most, if not more are in the pages of one moment: some 25 MB.
const ROWS: u64 = 256 * 1024;

/// A stretch of starts.
#[derive(Debug, Clone)]
pub(crate) enum Slice {
    /// What began before the part, and reaches into it.
    Before(i64),
    Starting(RangeInclusive<i64>),
}

impl Slice {
    /// The rows of a table, by start and then by end.
    pub(crate) fn read<R: Row + Clone>(
        &self,
        dataset: &Dataset,
        end: impl Fn(&R) -> i64,
    ) -> Result<Vec<R>, StoreError> {
        let mut rows = Vec::new();
        let scan = dataset.scan(R::TABLE);
        match self {
            Slice::Before(from) => scan.overlapping(*from..=*from).each(|row: &R| {
                if row.start_tsc() < *from && end(row) > *from {
                    rows.push(row.clone());
                }
            })?,
            Slice::Starting(range) => scan.starting(range.clone()).each(|row: &R| rows.push(row.clone()))?,
        }
        rows.sort_by_key(|row| (row.start_tsc(), end(row)));
        Ok(rows)
    }
}

/// Reads slices of some tables together with `read`, on a thread of its own, and gives each to `take`, in the order of time.
pub(crate) fn each<T: Send>(
    selection: &Selection<'_>,
    tables: &[Table],
    read: impl Fn(&Slice) -> Result<T, StoreError> + Send,
    take: impl FnMut(T) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    each_of(selection, tables, ROWS, read, take)
}

/// The same with at most so many rows a slice.
fn each_of<T: Send>(
    selection: &Selection<'_>,
    tables: &[Table],
    most: u64,
    read: impl Fn(&Slice) -> Result<T, StoreError> + Send,
    take: impl FnMut(T) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let (give, taken) = sync_channel(0);
    thread::scope(|scope| {
        let reader = scope.spawn(move || read_all(selection, tables, most, read, give));
        let outcome = taken.iter().try_for_each(take);
        // So that it does not wait for us.
        drop(taken);
        let done = reader.join().unwrap_or_else(|panic| resume_unwind(panic));
        outcome?;
        Ok(done?)
    })
}

fn read_all<T>(
    selection: &Selection<'_>,
    tables: &[Table],
    most: u64,
    read: impl Fn(&Slice) -> Result<T, StoreError>,
    give: SyncSender<T>,
) -> Result<(), StoreError> {
    let rows_of = |range: &RangeInclusive<i64>| rows_at_most(selection.dataset, tables, range);
    let whole = match selection.window {
        Some((from, to)) => {
            let before = read(&Slice::Before(from))?;
            if give.send(before).is_err() {
                return Ok(());
            }
            from..=to - 1
        }
        None => i64::MIN..=i64::MAX,
    };
    let mut left = vec![(rows_of(&whole)?, whole)];
    while let Some((rows, range)) = left.pop() {
        if rows == 0 {
            continue;
        }
        let (from, to) = (*range.start(), *range.end());
        if rows > most && from < to {
            let middle = i64::midpoint(from, to);
            let (early, late) = (from..=middle, middle + 1..=to);
            let (early_rows, late_rows) = (rows_of(&early)?, rows_of(&late)?);
            // Where it is not so, both are the same pages.
            if early_rows + late_rows <= rows + rows / 2 {
                left.extend([(late_rows, late), (early_rows, early)]);
                continue;
            }
        }
        // Who takes has failed, and says why.
        if give.send(read(&Slice::Starting(range))?).is_err() {
            break;
        }
    }
    Ok(())
}

fn rows_at_most(dataset: &Dataset, tables: &[Table], range: &RangeInclusive<i64>) -> Result<u64, StoreError> {
    tables.iter().map(|&table| dataset.scan(table).starting(range.clone()).rows_at_most()).sum()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use havana_rows::parquet::Limits;
    use havana_rows::{CpuState, CpuStateKind, Evidence, Sink, Time};
    use havana_store::{DatasetWriter, Manifest, WriterOptions};

    use super::*;
    use crate::Part;

    /// States of two cpus, each of ten ticks and some of a hundred; each ninth comes a thousand rows late.
    fn dataset(dir: &Path) -> (Dataset, Vec<CpuState>) {
        let state = |i: i64| CpuState {
            cpu: (i % 2) as i32,
            start: Time::exact(5 * i),
            end: Time::exact(5 * i + if i % 50 == 0 { 100 } else { 10 }),
            state: CpuStateKind::Host,
            evidence: Evidence::Observed,
            vm_id: None,
            vcpu_id: None,
            process_id: None,
            host_cr3: None,
            guest_cr3: None,
            tid: None,
        };
        let rows: Vec<CpuState> = (0..100_000).map(state).collect();
        let limits = Limits { reorder_rows: 64, late_rows: 3000, file_rows: 40_000, ..Limits::default() };
        let options = WriterOptions { node: "n".into(), capture: "c".into(), limits, ..WriterOptions::default() };
        let mut writer = DatasetWriter::create(&dir.join("d"), options).unwrap();
        for (i, row) in rows.iter().enumerate() {
            if i % 9 != 0 {
                writer.cpu_state(*row).unwrap();
            }
            if i >= 1000 && (i - 1000) % 9 == 0 {
                writer.cpu_state(rows[i - 1000]).unwrap();
            }
        }
        // What would have come later still.
        rows[99_000..].iter().step_by(9).for_each(|row| writer.cpu_state(*row).unwrap());
        let dataset = writer.finish(Manifest::default()).unwrap();
        assert!(dataset.files(Table::CpuStates).unwrap().len() > 3);
        (dataset, rows)
    }

    fn read(dataset: &Dataset, part: Part, most: u64) -> (Vec<CpuState>, usize) {
        let selection = Selection::new(dataset, part).unwrap();
        let (mut rows, mut slices) = (Vec::new(), 0);
        let read = |slice: &Slice| slice.read(dataset, |row: &CpuState| row.end.tsc);
        each_of(&selection, &[Table::CpuStates], most, read, |slice| {
            slices += 1;
            rows.extend(slice);
            Ok(())
        })
        .unwrap();
        (rows, slices)
    }

    #[test]
    fn every_row_comes_once_in_the_order_of_time() {
        let dir = tempfile::tempdir().unwrap();
        let (dataset, rows) = dataset(dir.path());
        for (most, at_least) in [(u64::MAX, 1), (40_000, 3), (1, 4)] {
            let (told, slices) = read(&dataset, Part::default(), most);
            assert!(slices >= at_least, "{slices} slices of {most}");
            assert!(told == rows, "{most} rows a slice");
        }
    }

    #[test]
    fn of_a_part_what_began_before_it_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let (dataset, rows) = dataset(dir.path());
        let (from, to) = (123_456, 345_678);
        let part = Part { from: Some(from as f64), to: Some(to as f64), ..Part::default() };
        let inside = rows.iter().filter(|row| row.start.tsc < to && row.end.tsc > from).copied();
        let inside: Vec<CpuState> = inside.collect();
        let (told, _) = read(&dataset, part, 40_000);
        assert!(inside[0].start.tsc < from);
        assert!(told == inside, "{} rows, not {}", told.len(), inside.len());
    }

    #[test]
    fn who_takes_no_more_ends_it() {
        let dir = tempfile::tempdir().unwrap();
        let (dataset, _) = dataset(dir.path());
        let selection = Selection::new(&dataset, Part::default()).unwrap();
        let read = |slice: &Slice| slice.read(&dataset, |row: &CpuState| row.end.tsc);
        let outcome = each_of(&selection, &[Table::CpuStates], 1, read, |_| Err(ExportError::Backwards));
        assert!(matches!(outcome, Err(ExportError::Backwards)));
    }
}
