//! The files of one table, each sorted by start, from rows that come nearly sorted.
//!
//! Rows of several cpus come interleaved, and some wait for what completes them (an exit for the vCPU's next entry), so
//! they are out of order by a little all the time and by a lot now and then. Two buffers, both bounded:
//!
//! ```text
//! buffer: 2N rows full ──► sort, write the N earliest to the main file, keep N
//! late:   rows earlier than what the main file already has; L rows full ──► sort, write a file of their own
//! ```
//!
//! Main files follow each other in time; late files lie anywhere. Every row is in exactly one file.

use std::path::{Path, PathBuf};

use super::{Error, FileSummary, NsClock, Row, TableWriter};

/// The files of a table that was finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableSummary {
    /// Rows in all of them.
    pub rows: u64,
    /// Their sizes together.
    pub bytes: u64,
    /// How many they are.
    pub files: u32,
}

/// How much an [`OrderedTable`] holds back, and where it ends a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// N: a row that comes this many rows too late still finds its place in the main file.
    pub reorder_rows: usize,
    /// Rows of a late file.
    pub late_rows: usize,
    /// Rows after which the next main file begins (seen to whenever `reorder_rows` were written) …
    pub file_rows: u64,
    /// … or bytes, whichever comes first.
    pub file_bytes: u64,
}

impl Default for Limits {
    /// Holds back 64 k rows (about 15 MB of [`CpuState`](crate::CpuState)), files of 64 M rows or 1 GiB.
    fn default() -> Self {
        Limits { reorder_rows: 64 << 10, late_rows: 128 << 10, file_rows: 64 << 20, file_bytes: 1 << 30 }
    }
}

/// Writes the files of one table into a directory.
pub struct OrderedTable<R: Row> {
    limits: Limits,
    buffer: Vec<R>,
    late: Vec<R>,
    /// The start of the last row in the main files: what is earlier is late.
    written_tsc: i64,
    order: Vec<(i64, u32)>,
    written: Vec<bool>,
    main: Option<TableWriter<R>>,
    files: Files,
}

impl<R: Row> OrderedTable<R> {
    /// A table in a directory that exists and has no files of it.
    pub fn new(dir: &Path, clock: Option<NsClock>, limits: Limits) -> Self {
        Self::part(dir, "part", clock, limits)
    }

    /// A part of a table, whose files' names begin with `part`: no other part's may.
    pub fn part(dir: &Path, part: &str, clock: Option<NsClock>, limits: Limits) -> Self {
        // Places in a buffer are 32 bits wide.
        let rows = |rows: usize| rows.clamp(1, 1 << 30);
        OrderedTable {
            limits: Limits { reorder_rows: rows(limits.reorder_rows), late_rows: rows(limits.late_rows), ..limits },
            buffer: Vec::new(),
            late: Vec::new(),
            written_tsc: i64::MIN,
            order: Vec::new(),
            written: Vec::new(),
            main: None,
            files: Files {
                dir: dir.into(),
                part: part.into(),
                clock,
                main_files: 0,
                late_files: 0,
                summary: TableSummary::default(),
            },
        }
    }

    /// Takes a row.
    #[inline]
    pub fn push(&mut self, row: R) -> Result<(), Error> {
        if row.start_tsc() < self.written_tsc {
            self.late.push(row);
            return if self.late.len() == self.limits.late_rows { self.write_late() } else { Ok(()) };
        }
        self.buffer.push(row);
        if self.buffer.len() == 2 * self.limits.reorder_rows {
            self.write_earliest(self.limits.reorder_rows)
        } else {
            Ok(())
        }
    }

    /// Writes what is held back and ends the files. A table without rows is one file without rows, so that every
    /// reader finds its columns.
    pub fn finish(mut self) -> Result<TableSummary, Error> {
        self.write_earliest(self.buffer.len())?;
        if self.main.is_none() && self.files.main_files == 0 {
            self.main = Some(self.files.next_main()?);
        }
        self.end_main()?;
        if !self.late.is_empty() {
            self.write_late()?;
        }
        Ok(self.files.summary)
    }

    /// Removes what was written: there will be no such files.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub fn abandon(mut self) -> Result<(), Error> {
        self.main = None;
        let files = (0..self.files.main_files).map(|n| self.files.main(n));
        for path in files.chain((0..self.files.late_files).map(|n| self.files.late(n))) {
            std::fs::remove_file(&path).map_err(|source| Error::Remove { path, source })?;
        }
        Ok(())
    }

    /// Moves the `count` earliest rows of the buffer to the main file.
    #[cold]
    fn write_earliest(&mut self, count: usize) -> Result<(), Error> {
        sort_places(&self.buffer, &mut self.order);
        let earliest = &self.order[..count];
        let Some(&(last_tsc, _)) = earliest.last() else { return Ok(()) };
        let main = match &mut self.main {
            Some(main) => main,
            none => none.insert(self.files.next_main()?),
        };
        self.written.clear();
        self.written.resize(self.buffer.len(), false);
        for &(_, place) in earliest {
            main.push(&self.buffer[place as usize])?;
            self.written[place as usize] = true;
        }
        let mut written = self.written.iter();
        self.buffer.retain(|_| written.next() == Some(&false));
        self.written_tsc = last_tsc;

        let size = main.written();
        if size.rows >= self.limits.file_rows || size.bytes >= self.limits.file_bytes {
            self.end_main()
        } else {
            Ok(())
        }
    }

    fn end_main(&mut self) -> Result<(), Error> {
        if let Some(main) = self.main.take() {
            self.files.summary.add(main.finish()?);
        }
        Ok(())
    }

    #[cold]
    fn write_late(&mut self) -> Result<(), Error> {
        sort_places(&self.late, &mut self.order);
        let mut file = self.files.next_late()?;
        for &(_, place) in &self.order {
            file.push(&self.late[place as usize])?;
        }
        self.files.summary.add(file.finish()?);
        self.late.clear();
        Ok(())
    }
}

/// Names and creates the files.
struct Files {
    dir: PathBuf,
    part: String,
    clock: Option<NsClock>,
    main_files: u32,
    late_files: u32,
    summary: TableSummary,
}

impl Files {
    fn main(&self, number: u32) -> PathBuf {
        self.dir.join(format!("{}-{number:04}.parquet", self.part))
    }

    fn late(&self, number: u32) -> PathBuf {
        self.dir.join(format!("{}-late-{number:04}.parquet", self.part))
    }

    fn next_main<R: Row>(&mut self) -> Result<TableWriter<R>, Error> {
        self.main_files += 1;
        TableWriter::create(&self.main(self.main_files - 1), self.clock)
    }

    fn next_late<R: Row>(&mut self) -> Result<TableWriter<R>, Error> {
        self.late_files += 1;
        TableWriter::create(&self.late(self.late_files - 1), self.clock)
    }
}

impl std::ops::AddAssign for TableSummary {
    fn add_assign(&mut self, other: TableSummary) {
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.files += other.files;
    }
}

impl TableSummary {
    fn add(&mut self, file: FileSummary) {
        self.rows += file.rows;
        self.bytes += file.bytes;
        self.files += 1;
    }
}

/// The places of the rows in the order of their start. Keys are sorted and not rows, which are seven times as large; the
/// sort is the stable one because it finds the runs that each cpu's rows make.
fn sort_places<R: Row>(rows: &[R], order: &mut Vec<(i64, u32)>) {
    order.clear();
    order.extend(rows.iter().zip(0..).map(|(row, place)| (row.start_tsc(), place)));
    order.sort_by_key(|&(start_tsc, _)| start_tsc);
}
