//! Which table a picture is made of: the rows themselves where they are few, else a level of the summaries.

use havana_rows::parquet::Table;
use havana_rows::{Lod, TrackKind};
use havana_store::{Dataset, Scan, StoreError};

use super::Window;

/// The coarsest level that a dataset has.
pub(crate) const COARSEST: i32 = Lod::COARSEST;

/// log2 of the width of a level's buckets.
pub(crate) const fn bits(level: i32) -> u32 {
    Lod::bits(level)
}

/// The summaries of some tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pyramid {
    Tracks(TrackKind),
    Exits,
}

impl Pyramid {
    /// Its name in the manifest.
    fn name(self) -> &'static str {
        match self {
            Pyramid::Tracks(kind) => kind.name(),
            Pyramid::Exits => "exits",
        }
    }

    /// The table that it sums up.
    pub(crate) fn table(self) -> Table {
        match self {
            Pyramid::Tracks(TrackKind::Cpu) => Table::CpuStates,
            Pyramid::Tracks(_) => Table::VcpuStates,
            Pyramid::Exits => Table::Exits,
        }
    }

    /// The finest level that the dataset has of it; none: there are no summaries.
    pub(crate) fn finest(self, dataset: &Dataset) -> Option<i32> {
        let finest = *dataset.manifest().lod.get(self.name())?;
        // A damaged manifest must not make us shift by any number of bits.
        (0..=COARSEST).contains(&finest).then_some(finest)
    }

    /// The pages of a level that may overlap a window. Rows of other levels and tracks may come beside them.
    pub(crate) fn scan(self, dataset: &Dataset, level: i32, window: Window) -> Scan<'_> {
        match self {
            Pyramid::Tracks(kind) => {
                let scan = dataset.scan(Table::Lod).only("level", level).only_named("track_kind", kind.name());
                scan.overlapping(window.range())
            }
            // Rows of one bucket, which say where it begins.
            Pyramid::Exits => {
                let from = window.from >> bits(level) << bits(level);
                dataset.scan(Table::LodExits).only("level", level).overlapping(from..=window.to - 1)
            }
        }
    }
}

/// Where to read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// The rows themselves.
    Rows,
    /// Summaries of this level.
    Level(i32),
}

/// How much a picture may read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// Of the tables.
    pub(crate) rows: u64,
    /// Of the summaries.
    pub(crate) lod_rows: u64,
}

impl Budget {
    /// What is read in a moment.
    pub(crate) const MOMENT: Budget = Budget { rows: 100_000, lod_rows: 200_000 };
    /// What is read in a second or so.
    pub(crate) const PATIENT: Budget = Budget { rows: 10_000_000, lod_rows: 10_000_000 };
}

/// Where to read a picture from whose bins are 2^`pixel_bits` ticks wide: what makes such bins exactly, where the budget allows, else the finest that
/// it does.
pub(crate) fn choose(
    dataset: &Dataset,
    pyramid: Pyramid,
    window: Window,
    pixel_bits: u32,
    budget: Budget,
) -> Result<From, StoreError> {
    let table = dataset.scan(pyramid.table()).overlapping(window.range());
    if table.rows_at_most()? <= budget.rows {
        return Ok(From::Rows);
    }
    let Some(finest) = pyramid.finest(dataset) else { return Ok(From::Rows) };
    // The coarsest level whose buckets are no wider than the bins, and then those above.
    let exact = (finest..=COARSEST).rev().find(|&level| bits(level) <= pixel_bits).unwrap_or(finest);
    for level in exact..COARSEST {
        if pyramid.scan(dataset, level, window).rows_at_most()? <= budget.lod_rows {
            return Ok(From::Level(level));
        }
    }
    Ok(From::Level(COARSEST))
}
