//! Who took whose cpu, as a table: what findings of steal are made of.

use havana_rows::Taker;
use havana_store::{Dataset, StoreError};

use crate::grid::Grid;
use crate::slices;
use crate::steal::{Culprit, Steal, Taken};

/// What one taker had of the time in which one vCPU was preempted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stolen {
    /// The vCPU that could run and had no cpu.
    pub victim: i32,
    /// Who had it.
    pub taker: Taker,
    /// Of a VM, which of its guest processes was on that cpu then; none: it was the VM, and its trace tells no process.
    pub process: Option<i32>,
    /// Ticks in all.
    pub ticks: f64,
    /// Of these, as a record says it: of the others, a halt may be taken for being preempted.
    pub observed: f64,
}

/// Who took whose cpu: a row for each vCPU that was preempted and each taker, in order.
///
/// # Errors
/// Those of reading the dataset.
pub fn stolen(dataset: &Dataset) -> Result<Vec<Stolen>, StoreError> {
    let Some(grid) = Grid::of(dataset) else { return Ok(Vec::new()) };
    let mut steal = Steal::new(grid);
    slices::each(dataset, grid, |slice| steal.add(slice))?;
    let row = |(&(culprit, victim), taken): (&(Culprit, i32), &Taken)| Stolen {
        victim,
        taker: culprit.taker,
        process: culprit.process,
        ticks: taken.ticks,
        observed: taken.observed,
    };
    Ok(steal.matrix.iter().map(row).collect())
}
