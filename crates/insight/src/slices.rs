//! What vCPUs and cpus did, a slice of time after the other: rows of one time together in memory, whatever the file order,
//! and not more of them than fit.
//!
//! Slices are read by some threads at once, each every so many, and given on in the order of time by one: so what is found
//! does not depend on how many there are.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use havana_rows::parquet::{CpuTurn, Table, VcpuTurn};
use havana_rows::{CpuStateKind, ThreadKind, VcpuStateKind};
use havana_store::{Dataset, StoreError};
use rustc_hash::FxHashSet;

use crate::grid::{BUCKETS, Grid};
use crate::ids::ById;

/// Rows of a slice, on average: some 30 MB.
const SLICE_ROWS: u64 = 300_000;

/// More threads than this would have more slices in memory than they are worth.
const MOST_THREADS: usize = 4;

/// A stretch of a cpu that a vCPU was on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) vm_id: i32,
    pub(crate) process: Option<i32>,
}

/// All rows that overlap a stretch of time, by their start.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// Whole: a row that reaches out is in the slices beside, too.
    pub(crate) rows: Vec<VcpuTurn>,
    /// Of each cpu who was on it: these do not overlap.
    pub(crate) on: ById<Vec<Piece>>,
    /// Of each cpu when it slept.
    pub(crate) idle: ById<Vec<CpuTurn>>,
    /// When a thread of the kernel's own ran with a VM's address space, where that was told.
    pub(crate) borrowed: Vec<CpuTurn>,
}

impl Slice {
    /// Of rows in the order of their start.
    pub(crate) fn new((from, to): (i64, i64), rows: Vec<VcpuTurn>) -> Slice {
        let mut on: ById<Vec<Piece>> = ById::default();
        for row in &rows {
            if let Some(cpu) = row.cpu.filter(|_| is_on(row)) {
                let piece = Piece { start: row.start_tsc, end: row.end_tsc, vm_id: row.vm_id, process: row.process_id };
                on.or_default(cpu).push(piece);
            }
        }
        Slice { from, to, rows, on, ..Slice::default() }
    }

    /// What of a row is in the slice.
    pub(crate) fn inside(&self, row: &VcpuTurn) -> (i64, i64) {
        (row.start_tsc.max(self.from), row.end_tsc.min(self.to))
    }

    /// Whether a row begins here: true in one slice, of all that have it.
    pub(crate) fn begins(&self, row: &VcpuTurn) -> bool {
        (self.from..self.to).contains(&row.start_tsc)
    }

    /// Who was on a cpu in a stretch of time, cut to it.
    pub(crate) fn on(&self, cpu: i32, from: i64, to: i64) -> impl Iterator<Item = Piece> {
        let there = self.on.get(cpu).map_or(&[][..], |pieces| pieces);
        let first = there.partition_point(|piece| piece.end <= from);
        let overlapping = there[first..].iter().take_while(move |piece| piece.start < to);
        overlapping.map(move |piece| Piece { start: piece.start.max(from), end: piece.end.min(to), ..*piece })
    }
}

/// The vCPU is on a cpu.
pub(crate) fn is_on(row: &VcpuTurn) -> bool {
    matches!(row.state, VcpuStateKind::Guest | VcpuStateKind::Hypervisor)
}

/// Reads slices of a dataset.
struct Reader<'a> {
    dataset: &'a Dataset,
    grid: Grid,
    slices: usize,
    /// Threads of the kernel's own.
    kernel: FxHashSet<i32>,
}

impl Reader<'_> {
    fn read(&self, i: usize) -> Result<Slice, StoreError> {
        let start = |i: usize| self.grid.start(i * BUCKETS / self.slices);
        let (from, to) = (start(i), start(i + 1));
        let mut rows = Vec::new();
        self.dataset.scan(Table::VcpuStates).overlapping(from..=to).each(|row: &VcpuTurn| {
            if row.start_tsc < to && row.end_tsc > from {
                rows.push(*row);
            }
        })?;
        rows.sort_by_key(|row| (row.start_tsc, row.end_tsc));
        let mut slice = Slice::new((from, to), rows);
        self.dataset.scan(Table::CpuStates).overlapping(from..=to).each(|row: &CpuTurn| {
            let inside = row.start_tsc < to && row.end_tsc > from;
            match row.state {
                CpuStateKind::Idle if inside => slice.idle.or_default(row.cpu).push(*row),
                CpuStateKind::Hypervisor if inside && row.tid.is_some_and(|tid| self.kernel.contains(&tid)) => {
                    slice.borrowed.push(*row);
                }
                _ => {}
            }
        })?;
        Ok(slice)
    }
}

/// Gives each slice to `take`, in the order of time.
pub(crate) fn each(dataset: &Dataset, grid: Grid, take: impl FnMut(&Slice)) -> Result<(), StoreError> {
    let rows = dataset.scan(Table::VcpuStates).rows_at_most()?;
    let slices = usize::try_from(rows / SLICE_ROWS + 1).unwrap_or(BUCKETS).min(BUCKETS);
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    each_of(dataset, grid, (slices, threads), take)
}

/// The same with so many slices, read by so many threads.
fn each_of(
    dataset: &Dataset,
    grid: Grid,
    (slices, threads): (usize, usize),
    mut take: impl FnMut(&Slice),
) -> Result<(), StoreError> {
    let mut kernel = FxHashSet::default();
    for thread in dataset.threads()? {
        let thread = thread?;
        if thread.kind == ThreadKind::Kernel {
            kernel.insert(thread.tid);
        }
    }
    let reader = &Reader { dataset, grid, slices, kernel };
    let threads = threads.min(slices);
    if threads < 2 {
        return (0..slices).try_for_each(|i| reader.read(i).map(|slice| take(&slice)));
    }
    thread::scope(|scope| {
        let readers: Vec<Receiver<_>> = (0..threads)
            .map(|first| {
                // The next one is read while this one waits.
                let (give, taken) = sync_channel(0);
                scope.spawn(move || {
                    // Nobody takes any more: an error ended it.
                    (first..slices).step_by(threads).try_for_each(|i| give.send(reader.read(i)).ok())
                });
                taken
            })
            .collect();
        for i in 0..slices {
            // A reader that has panicked ends the scope so, too.
            let Ok(slice) = readers[i % threads].recv() else { break };
            take(&slice?);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steal::Steal;
    use havana_sim::{Node, Scenario, Tables};
    use havana_store::{DatasetWriter, Manifest, WriterOptions};

    /// What a scenario's truth says, as a dataset.
    fn dataset(dir: &std::path::Path) -> Dataset {
        let mut scenario = Scenario::named("overcommit").unwrap();
        scenario.node.seconds = 1.0;
        let mut node = Node::new(&scenario);
        let options = WriterOptions { node: "n".into(), capture: "c".into(), ..WriterOptions::default() };
        let mut tables = Tables::new(DatasetWriter::create(&dir.join("d"), options).unwrap(), &node);
        node.run(&mut tables);
        tables.finish(node.end()).unwrap().finish(Manifest::default()).unwrap();
        Dataset::open(&dir.join("d")).unwrap()
    }

    #[test]
    fn what_comes_does_not_depend_on_threads_nor_what_is_found_on_slices() {
        let dir = tempfile::tempdir().unwrap();
        let dataset = dataset(dir.path());
        let grid = Grid::of(&dataset).unwrap();
        let mut matrices = Vec::new();
        for slices in [1, 7, 64] {
            let come = |threads| {
                let (mut all, mut steal) = (Vec::new(), Steal::new(grid));
                each_of(&dataset, grid, (slices, threads), |slice| {
                    all.push((slice.from, slice.to, slice.rows.clone()));
                    steal.add(slice);
                })
                .unwrap();
                let sums: Vec<_> = steal.matrix.iter().map(|(key, taken)| (*key, taken.ticks, taken.count)).collect();
                (all, sums)
            };
            let serial = come(1);
            assert!(serial.0.len() == slices && serial.0.iter().all(|slice| !slice.2.is_empty()));
            for threads in [2, 3, 100] {
                assert_eq!(come(threads), serial, "{slices} slices, {threads} threads");
            }
            matrices.push(serial.1);
        }
        assert!(matrices[0].len() > 10 && matrices.iter().all(|matrix| *matrix == matrices[0]));
    }
}
