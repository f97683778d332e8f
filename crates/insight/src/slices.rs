//! What vCPUs did, a slice of time after the other: rows of one time together in memory, whatever the file order, and
//! not more of them than fit.

use havana_rows::parquet::{Table, VcpuStretch};
use havana_store::{Dataset, StoreError};

use crate::grid::{BUCKETS, Grid};

/// Rows of a slice, on average: some 30 MB.
const SLICE_ROWS: u64 = 400_000;

/// All rows that overlap a stretch of time, by their start.
pub(crate) struct Slice {
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// Whole: a row that reaches out is in the slices beside, too.
    pub(crate) rows: Vec<VcpuStretch>,
}

impl Slice {
    /// What of a row is in the slice.
    pub(crate) fn inside(&self, row: &VcpuStretch) -> (i64, i64) {
        (row.start_tsc.max(self.from), row.end_tsc.min(self.to))
    }

    /// Whether a row begins here: true in one slice, of all that have it.
    pub(crate) fn begins(&self, row: &VcpuStretch) -> bool {
        (self.from..self.to).contains(&row.start_tsc)
    }
}

/// Gives each slice to `take`, in the order of time.
pub(crate) fn each(dataset: &Dataset, grid: Grid, mut take: impl FnMut(&Slice)) -> Result<(), StoreError> {
    let rows = dataset.scan(Table::VcpuStates).rows_at_most()?;
    let slices = usize::try_from(rows / SLICE_ROWS + 1).unwrap_or(BUCKETS).min(BUCKETS);
    for i in 0..slices {
        let (from, to) = (grid.start(i * BUCKETS / slices), grid.start((i + 1) * BUCKETS / slices));
        let mut slice = Slice { from, to, rows: Vec::new() };
        dataset.scan(Table::VcpuStates).overlapping(from..=to).each(|row: &VcpuStretch| {
            if row.start_tsc < to && row.end_tsc > from {
                slice.rows.push(*row);
            }
        })?;
        slice.rows.sort_by_key(|row| (row.start_tsc, row.end_tsc));
        take(&slice);
    }
    Ok(())
}
