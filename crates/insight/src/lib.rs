//! What is unexpected in a dataset, who did it, and since when: [`find`] reads one and gives [`Finding`]s, the culprit
//! first.
//!
//! ```text
//! vcpu_states ─► slices ─┬─► series ──► consumption (changes), period
//!                        ├─► steal ───► steal, and who paid for what is consumed
//!                        └─► waits ───► waiting
//! exits ─────────────────────────────► exits
//! losses, vm_offsets, series ────────► trouble
//!                                         └──► rank: one list
//! ```
//!
//! | module | its one question |
//! | --- | --- |
//! | `slices` | what did vCPUs do in a stretch of time, in bounded memory? |
//! | `series` | how much did each process have of each bucket of time (`grid`)? |
//! | `changes` | where does the level of a series change? |
//! | `steal` | who had the cpu that a vCPU wanted? |
//! | `consumption` | who has the cpu, from when on, and who pays? |
//! | `exits` | whose exits are out of proportion? |
//! | `waiting` | who is stopped again and again? |
//! | `period` | who comes again and again? |
//! | `trouble` | what is wrong with the trace, which VM came or went? |
//! | `rank` | what is read first? |
//! | `words` | how do numbers read? |
//!
//! Invariants: findings do not depend on names, ids or the order of rows; what only may be is told as a bound ("at
//! most"), and never made more severe for that; severity is a rule on parts of something, said at each kind's module.
//! Memory does not grow with the rows, but for one series a guest process (2 kB).
#![forbid(unsafe_code)]

mod changes;
mod consumption;
pub mod diff;
mod exits;
mod finding;
mod grid;
mod names;
mod period;
mod rank;
mod series;
mod slices;
mod steal;
mod trouble;
mod waiting;
pub mod words;

pub use finding::{Finding, Kind, Severity, Span, Who, rows};

use havana_rows::parquet::NsClock;
use havana_store::{Clock, Dataset, StoreError};

use crate::grid::Grid;
use crate::names::Names;
use crate::series::Series;
use crate::steal::Steal;
use crate::waiting::Waits;

/// What is unexpected in a dataset, most severe first; nothing of one that has hardly any time.
///
/// # Errors
/// Those of reading it.
pub fn find(dataset: &Dataset) -> Result<Vec<Finding>, StoreError> {
    let manifest = dataset.manifest();
    let Some(grid) = manifest.first_tsc.zip(manifest.last_tsc).and_then(|(from, to)| Grid::new(from, to)) else {
        return Ok(Vec::new());
    };
    let names = Names::read(dataset)?;
    let (mut series, mut steal, mut waits) = (Series::new(grid), Steal::new(grid), Waits::default());
    slices::each(dataset, grid, |slice| {
        series.add(slice);
        steal.add(slice);
        waits.add(slice);
    })?;
    let exits = exits::count(dataset, grid)?;
    let mut findings = trouble::findings(dataset, &series, &names)?;
    findings.extend(exits::findings(&exits, &series, &names));
    findings.extend(waiting::findings(&waits, grid, &names));
    findings.extend(period::findings(&series, &names));
    findings.extend(consumption::findings(&series, &steal, &names));
    findings.extend(steal::findings(&steal, &series, &names));
    rank::rank(&mut findings);
    dated(&mut findings, &manifest.clock);
    Ok(findings)
}

/// What its tables say was found in a dataset; where nobody looked, what [`find`] finds.
///
/// # Errors
/// Those of reading it.
pub fn found(dataset: &Dataset) -> Result<Vec<Finding>, StoreError> {
    let Some(rows) = dataset.findings()? else { return find(dataset) };
    let mut findings = finding::of_rows(rows, &dataset.finding_spans()?);
    dated(&mut findings, &dataset.manifest().clock);
    Ok(findings)
}

/// Moments by the dataset's clock, where it has one.
fn dated(findings: &mut [Finding], clock: &Clock) {
    let Some(clock) = clock.origin_ns.and_then(|ns| NsClock::of(clock.tsc_hz, (clock.origin_tsc, ns))) else { return };
    for finding in findings {
        finding.start_ns = finding.start_tsc.map(|tsc| clock.ns(tsc));
        finding.end_ns = finding.end_tsc.map(|tsc| clock.ns(tsc));
    }
}
