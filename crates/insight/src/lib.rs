//! What is unexpected in a dataset, who did it, and since when: [`find`] reads one and gives [`Finding`]s, the culprit
//! first.
//!
//! ```text
//! vcpu_states ─► slices ─┬─► series ──► consumption (changes), period
//!                        ├─► steal ───► steal, and who paid for what is consumed
//!                        ├─► latencies ► latency
//!                        ├─► waits ───► waiting
//!                        └─► wakeup ──► wakeup
//! exits ─────────────────────────────► exits
//! losses, vm_offsets, series ────────► trouble
//!                                         └──► rank: one list
//! ```
//!
//! | module | its one question |
//! | --- | --- |
//! | `ids` | what is known of an id? |
//! | `slices` | what did vCPUs do in a stretch of time, in bounded memory? |
//! | `series` | how much did each process have of each bucket of time (`grid`)? |
//! | `changes` | where does the level of a series change? |
//! | `steal` | who had the cpu that a vCPU wanted? |
//! | `stolen` | the same as a table |
//! | `siblings` | how long was the other thread of a vCPU's core at work, too? |
//! | `consumption` | who has the cpu, from when on, and who pays? |
//! | `exits` | whose exits are out of proportion? |
//! | `latency` | which exits took far longer than others? |
//! | `waiting` | who is stopped again and again? |
//! | `wakeup` | how long may a vCPU have waited for a cpu after it was woken? |
//! | `period` | who comes again and again? |
//! | `trouble` | what is wrong with the trace, which VM came or went? |
//! | `fingerprint` | what is a process known by, and which is which of another dataset? |
//! | `closer` | is it a guest's kernel alone, or two processes after another with one page table? |
//! | `baseline` | what is normal, and what of a dataset is not? |
//! | `rank` | what is read first? |
//! | `words` | how do numbers read? |
//!
//! Invariants: findings do not depend on names, ids or the order of rows; what only may be is told as a bound ("at
//! most"), and never made more severe for that; severity is a rule on parts of something, said at each kind's module.
//! Memory does not grow with the rows, but for one series a guest process (2 kB).
#![forbid(unsafe_code)]

mod baseline;
mod changes;
mod closer;
mod consumption;
pub mod diff;
mod exits;
mod finding;
mod fingerprint;
mod grid;
mod ids;
mod latency;
mod names;
mod period;
mod rank;
mod series;
mod siblings;
mod slices;
mod steal;
mod stolen;
mod trouble;
mod waiting;
mod wakeup;
pub mod words;

pub use baseline::{BaselineError, Metric, ProcessProfile, Profile, Spread, Usual, VmProfile, find_against, learn};
pub use finding::{Finding, Kind, Severity, Span, Who, rows};
pub use fingerprint::{Fingerprint, Histogram, Pair, Print, Prints, Rhythm, fingerprints, pairs};
pub use stolen::{Stolen, stolen};
pub use wakeup::{Wakeup, wakeups};

use std::panic::resume_unwind;
use std::thread;

use havana_store::{Clock, Dataset, StoreError};

use crate::closer::{Closer, Two};
use crate::exits::Exits;
use crate::grid::Grid;
use crate::ids::ById;
use crate::latency::Latencies;
use crate::names::Names;
use crate::series::Series;
use crate::siblings::Siblings;
use crate::slices::Slice;
use crate::steal::Steal;
use crate::waiting::Waits;
use crate::wakeup::Wakeups;

/// What is unexpected in a dataset, most severe first; nothing of one that has hardly any time.
///
/// # Errors
/// Those of reading it.
pub fn find(dataset: &Dataset) -> Result<Vec<Finding>, StoreError> {
    let Some(grid) = Grid::of(dataset) else { return Ok(Vec::new()) };
    let mut findings = Looked::at(dataset, grid, |_| {})?.findings(dataset)?;
    rank::rank(&mut findings);
    dated(&mut findings, &dataset.manifest().clock);
    Ok(findings)
}

/// What findings are made of.
struct Looked {
    names: Names,
    series: Series,
    steal: Steal,
    waits: Waits,
    wakeups: Wakeups,
    latencies: Latencies,
    siblings: Siblings,
    exits: ById<Exits>,
    two: Vec<Two>,
}

impl Looked {
    /// Reads a dataset; what else wants its slices gets them.
    fn at(dataset: &Dataset, grid: Grid, mut also: impl FnMut(&Slice)) -> Result<Looked, StoreError> {
        let (mut series, mut steal) = (Series::new(grid), Steal::new(grid));
        let (mut waits, mut wakeups) = (Waits::default(), Wakeups::default());
        let (mut latencies, mut siblings) = (Latencies::default(), Siblings::of(dataset));
        let exits = thread::scope(|scope| {
            let exits = scope.spawn(|| exits::count(dataset, grid));
            slices::each(dataset, grid, |slice| {
                series.add(slice);
                steal.add(slice);
                waits.add(slice);
                wakeups.add(slice);
                latencies.add(slice);
                siblings.add(slice);
                also(slice);
            })?;
            exits.join().unwrap_or_else(|panic| resume_unwind(panic))
        })?;
        let Closer { kernels, two } = closer::look(dataset, &series, &exits)?;
        let mut names = Names::read(dataset)?;
        names.kernels = kernels;
        Ok(Looked { names, series, steal, waits, wakeups, latencies, siblings, exits, two })
    }

    /// Findings of every kind, in no order.
    fn findings(&self, dataset: &Dataset) -> Result<Vec<Finding>, StoreError> {
        let Looked { names, series, steal, waits, wakeups, latencies, siblings, exits, two } = self;
        let grid = series.grid;
        let mut findings = trouble::findings(dataset, series, names)?;
        findings.extend(exits::findings(exits, series, steal, names));
        findings.extend(exits::halts(exits, series, names));
        findings.extend(latency::findings(latencies, grid, names));
        findings.extend(waiting::findings(waits, grid, names));
        findings.extend(wakeup::findings(wakeups, grid, names));
        findings.extend(period::findings(series, steal, names));
        findings.extend(consumption::findings(series, steal, names));
        findings.extend(steal::findings(steal, series, names));
        findings.extend(siblings::findings(siblings, grid, names));
        findings.extend(closer::findings(two, series, names));
        Ok(findings)
    }
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
    let Some(clock) = clock.ns() else { return };
    for finding in findings {
        finding.start_ns = finding.start_tsc.map(|tsc| clock.ns(tsc));
        finding.end_ns = finding.end_tsc.map(|tsc| clock.ns(tsc));
    }
}
