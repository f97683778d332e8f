//! One of the two that are compared: a dataset, and a stretch of its time.

use std::path::PathBuf;

use havana_rows::Vm;
use havana_store::{Clock, Dataset, Epoch, StoreError};

use super::noise::BLOCKS;
use crate::grid::Grid;

/// Why two stretches cannot be compared. The text is what the user reads.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiffError {
    /// A dataset cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing was recorded.
    #[error("{}: nothing in it has a time: there is nothing to compare", path.display())]
    Empty {
        /// The dataset.
        path: PathBuf,
    },
    /// The stretch has no time, or hardly any.
    #[error("{}: there is nothing from {from} to {to}: it has 0 to {end} {unit}", path.display())]
    Nothing {
        /// The dataset.
        path: PathBuf,
        /// Where the stretch would begin …
        from: f64,
        /// … and end.
        to: f64,
        /// Where the dataset ends.
        end: f64,
        /// What these are: `s`, or `ticks`.
        unit: &'static str,
    },
    /// One dataset, and the same time twice.
    #[error(
        "{}: both sides have the time from {from} to {to} {unit}: give stretches that do not overlap (--a-from, --a-to, --b-from, \
         --b-to), or another dataset",
        path.display()
    )]
    Overlap {
        /// The dataset.
        path: PathBuf,
        /// From where …
        from: f64,
        /// … to where.
        to: f64,
        /// What these are: `s`, or `ticks`.
        unit: &'static str,
    },
}

/// A dataset and a stretch of its time.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) grid: Grid<BLOCKS>,
    pub(super) first_tsc: i64,
}

impl<'a> Side<'a> {
    /// From one moment to another: seconds since the dataset's first event, ticks where no rate is known. None: from its begin,
    /// to its end.
    ///
    /// # Errors
    /// Where there is hardly any time between.
    pub fn new(dataset: &'a Dataset, from: Option<f64>, to: Option<f64>) -> Result<Side<'a>, DiffError> {
        let manifest = dataset.manifest();
        let path = || dataset.dir().to_path_buf();
        let (first, last) =
            manifest.first_tsc.zip(manifest.last_tsc).ok_or_else(|| DiffError::Empty { path: path() })?;
        let (hz, unit) = rate(&manifest.clock).map_or((1.0, "ticks"), |hz| (hz, "s"));
        let end = (last - first) as f64 / hz;
        let (from, to) = (from.unwrap_or(0.0).max(0.0), to.unwrap_or(end).min(end));
        // What is no number is no time.
        let at = |time: f64| first.saturating_add((time * hz).round() as i64).min(last);
        let grid = Grid::new(at(from), at(to)).filter(|_| from < to);
        // As it is read, not to the tick.
        let end = (end * 1e3).round() / 1e3;
        let nothing = || DiffError::Nothing { path: path(), from, to: to.min(end), end, unit };
        Ok(Side { dataset, grid: grid.ok_or_else(nothing)?, first_tsc: first })
    }

    /// Ticks a second, where known.
    pub(super) fn hz(&self) -> Option<f64> {
        rate(&self.dataset.manifest().clock)
    }

    /// A moment as [`Side::new`] takes it.
    pub(super) fn moment(&self, tsc: i64) -> f64 {
        (tsc - self.first_tsc) as f64 / self.hz().unwrap_or(1.0)
    }

    /// Whether both are of one dataset: then ids mean the same.
    pub(super) fn is_of_one_dataset(&self, other: &Side<'_>) -> bool {
        let (mine, others) = (self.dataset.manifest(), other.dataset.manifest());
        let same_place = self.dataset.dir() == other.dataset.dir();
        same_place || (mine.capture == others.capture && mine.node == others.node && mine.tables == others.tables)
    }

    /// Refuses the same time twice.
    pub(super) fn check_apart(&self, other: &Side<'_>) -> Result<(), DiffError> {
        let (from, to) = (self.grid.from.max(other.grid.from), self.grid.to.min(other.grid.to));
        if !self.is_of_one_dataset(other) || from >= to {
            return Ok(());
        }
        Err(DiffError::Overlap {
            path: other.dataset.dir().to_path_buf(),
            from: self.moment(from),
            to: self.moment(to),
            unit: if self.hz().is_some() { "s" } else { "ticks" },
        })
    }

    /// When this host's TSC was 0, Unix seconds, where the clock says so: one boot has one such moment.
    pub(super) fn boot(&self) -> Option<f64> {
        let clock = &self.dataset.manifest().clock;
        let hz = self.hz().filter(|_| clock.epoch == Epoch::Unix)?;
        Some(clock.origin_ns? as f64 / 1e9 - clock.origin_tsc as f64 / hz)
    }

    /// VMs that are in the stretch.
    pub(super) fn vms(&self) -> Result<Vec<Vm>, StoreError> {
        let mut vms = self.dataset.vms()?;
        vms.retain(|vm| self.overlaps(vm.first_tsc, vm.last_tsc));
        Ok(vms)
    }

    pub(super) fn overlaps(&self, first_tsc: i64, last_tsc: i64) -> bool {
        first_tsc < self.grid.to && last_tsc >= self.grid.from
    }
}

fn rate(clock: &Clock) -> Option<f64> {
    clock.hz().map(|hz| hz as f64)
}
