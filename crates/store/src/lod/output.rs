//! Where the rows of a pyramid go.
//!
//! Of a small trace all of them stay in memory, and all pyramids share one file at the end: thirty files with a handful of
//! rows each would cost more than they tell. When they are many each level has files of its own, so that a reader opens
//! the one it draws from, and one that does not pay can be dropped.

use std::path::{Path, PathBuf};

use havana_rows::parquet::{Error, Limits, OrderedTable, Row, TableSummary};

use super::pyramid::{COARSEST, FINEST};

/// Rows that are kept in memory.
const HELD_ROWS: usize = 32 << 10;
/// How much a level's table holds back to sort it, and of what is late: there are many such tables.
const REORDER_ROWS: usize = 8 << 10;
const LATE_ROWS: usize = 16 << 10;

/// Takes the rows of a pyramid, by level.
pub(crate) struct Output<R: Row> {
    dir: PathBuf,
    name: &'static str,
    limits: Limits,
    levels: Vec<Level<R>>,
    held_rows: usize,
    spilled: bool,
}

enum Level<R: Row> {
    Held(Vec<R>),
    Table(Box<OrderedTable<R>>),
    Abandoned,
}

/// What a pyramid wrote.
pub(crate) struct Part<R> {
    /// Which pyramid.
    pub(crate) name: &'static str,
    /// Its finest level.
    pub(crate) finest: i32,
    /// Rows that are in no file yet.
    pub(crate) held: Vec<R>,
    /// The files.
    pub(crate) files: TableSummary,
}

impl<R: Row> Output<R> {
    pub(crate) fn new(dir: &Path, name: &'static str, limits: Limits) -> Self {
        let limits = Limits {
            reorder_rows: limits.reorder_rows.min(REORDER_ROWS),
            late_rows: limits.late_rows.min(LATE_ROWS),
            ..limits
        };
        let levels = (FINEST..=COARSEST).map(|_| Level::Held(Vec::new())).collect();
        Output { dir: dir.into(), name, limits, levels, held_rows: 0, spilled: false }
    }

    pub(crate) fn push(&mut self, level: i32, row: R) -> Result<(), Error> {
        match &mut self.levels[(level - FINEST) as usize] {
            Level::Held(rows) => {
                rows.push(row);
                self.held_rows += 1;
                if self.held_rows > HELD_ROWS { self.spill() } else { Ok(()) }
            }
            Level::Table(table) => table.push(row),
            Level::Abandoned => Ok(()),
        }
    }

    /// From now on into files.
    #[cold]
    fn spill(&mut self) -> Result<(), Error> {
        self.spilled = true;
        for (level, at) in (FINEST..).zip(&mut self.levels) {
            if let Level::Held(rows) = at {
                let name = format!("{}-level-{level:02}", self.name);
                let mut table = OrderedTable::part(&self.dir, &name, None, self.limits);
                rows.drain(..).try_for_each(|row| table.push(row))?;
                *at = Level::Table(Box::new(table));
            }
        }
        self.held_rows = 0;
        Ok(())
    }

    /// Forgets a level.
    pub(crate) fn abandon(&mut self, level: i32) -> Result<(), Error> {
        match std::mem::replace(&mut self.levels[(level - FINEST) as usize], Level::Abandoned) {
            Level::Held(rows) => self.held_rows -= rows.len(),
            Level::Table(table) => table.abandon()?,
            Level::Abandoned => {}
        }
        Ok(())
    }

    pub(crate) fn finish(self, finest: i32) -> Result<Part<R>, Error> {
        let mut part = Part { name: self.name, finest, held: Vec::new(), files: TableSummary::default() };
        for level in self.levels {
            match level {
                Level::Held(mut rows) => part.held.append(&mut rows),
                Level::Table(table) => part.files += table.finish()?,
                Level::Abandoned => {}
            }
        }
        debug_assert!(!self.spilled || part.held.is_empty());
        Ok(part)
    }
}
