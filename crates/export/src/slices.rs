//! Rows by their start, in bounded memory, whatever their order in the files.
//!
//! Files hold rows that came late at their end. So time is halved until a stretch has few enough rows, by the page index; these are read,
//! sorted and given on, while a thread reads the next ones.

use std::ops::RangeInclusive;
use std::panic::resume_unwind;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use havana_rows::parquet::{Row, Table};
use havana_store::{Dataset, StoreError};

use crate::{ExportError, Selection};

/// Rows of a slice, at most, if they do not all begin in one moment: some 25 MB.
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
    pub(crate) fn read<R: Row + Clone>(&self, dataset: &Dataset, end: impl Fn(&R) -> i64) -> Result<Vec<R>, StoreError> {
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
    let (give, taken) = sync_channel(0);
    thread::scope(|scope| {
        let reader = scope.spawn(move || read_all(selection, tables, read, give));
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
    read: impl Fn(&Slice) -> Result<T, StoreError>,
    give: SyncSender<T>,
) -> Result<(), StoreError> {
    let mut left = match selection.window {
        Some((from, to)) => vec![Slice::Starting(from..=to - 1), Slice::Before(from)],
        None => vec![Slice::Starting(i64::MIN..=i64::MAX)],
    };
    while let Some(slice) = left.pop() {
        if let Slice::Starting(range) = &slice {
            let rows = rows_at_most(selection.dataset, tables, range)?;
            if rows == 0 {
                continue;
            }
            let (from, to) = (*range.start(), *range.end());
            if rows > ROWS && from < to {
                let middle = i64::midpoint(from, to);
                left.extend([Slice::Starting(middle + 1..=to), Slice::Starting(from..=middle)]);
                continue;
            }
        }
        // Who takes has failed, and says why.
        if give.send(read(&slice)?).is_err() {
            break;
        }
    }
    Ok(())
}

fn rows_at_most(dataset: &Dataset, tables: &[Table], range: &RangeInclusive<i64>) -> Result<u64, StoreError> {
    tables.iter().map(|&table| dataset.scan(table).starting(range.clone()).rows_at_most()).sum()
}
