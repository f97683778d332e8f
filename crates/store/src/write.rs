//! Writing a dataset.

use std::fs;
use std::path::{Path, PathBuf};

use havana_rows::parquet::{Limits, NsClock, OrderedTable, Row, Table, TableSummary};
use havana_rows::{
    Capture, CpuState, Exit, Finding, FindingSpan, Lod, LodExits, Loss, Process, Sink, Thread, Vcpu, VcpuState, Vm,
    VmOffset,
};

use crate::lod::{Output, Part, Summed};
use crate::worker::{Target, Worker};
use crate::{Dataset, LossSummary, Manifest, StoreError, partition};
use havana_whole::WholeDirectory;

/// What a dataset is called and how it is written.
#[derive(Debug, Clone, Default)]
pub struct WriterOptions {
    /// The host; any text but the empty one.
    pub node: String,
    /// Which capture of it: a hash of its sources, with a letter in front, since some engines take a partition's value
    /// that looks like a number for one.
    pub capture: String,
    /// For the `_ns` columns; none: they are null.
    pub ns_clock: Option<NsClock>,
    /// Whether a dataset that stands there already may be replaced. Nothing else ever is.
    pub overwrite: bool,
    /// How much is held in memory, and where files end.
    pub limits: Limits,
}

/// Takes the rows of a dataset, and at the end puts it in its place.
///
/// Dropped without [`finish`](Self::finish) or [`end`](Self::end), or where these fail, it leaves nothing, and what stood there stands there
/// still. Memory: some 80 MB for the summaries of a large trace, 15 MB for each of the three large tables that rows come for out of order, about 5 MB a table, and at most 10
/// MB of rows under way to each large one.
pub struct DatasetWriter {
    // Dropped in this order: the files are closed before their directory is removed.
    cpu_states: Worker<CpuState>,
    vcpu_states: Worker<VcpuState>,
    exits: Worker<Exit>,
    vms: OrderedTable<Vm>,
    vm_offsets: OrderedTable<VmOffset>,
    vcpus: OrderedTable<Vcpu>,
    processes: OrderedTable<Process>,
    threads: OrderedTable<Thread>,
    losses: OrderedTable<Loss>,
    lod: OrderedTable<Lod>,
    lod_exits: OrderedTable<LodExits>,
    seen: Seen,
    node: String,
    capture: String,
    ns_clock: Option<NsClock>,
    limits: Limits,
    place: WholeDirectory,
}

/// A dataset whose rows are all told, and that is not in its place: what is found in it may be added.
///
/// Dropped without [`put`](Self::put), it leaves nothing.
#[derive(Debug)]
pub struct Ended {
    dataset: Dataset,
    ns_clock: Option<NsClock>,
    limits: Limits,
    place: WholeDirectory,
}

/// What the manifest tells of the rows.
#[derive(Default)]
struct Seen {
    span: Option<(i64, i64)>,
    cpus: Vec<i32>,
    losses: LossSummary,
}

impl DatasetWriter {
    /// Begins the dataset that will be at `dir`: nothing may be there yet but an empty directory, or, with `overwrite`,
    /// a dataset.
    pub fn create(dir: &Path, options: WriterOptions) -> Result<Self, StoreError> {
        let WriterOptions { node, capture, ns_clock, overwrite, limits } = options;
        for (key, value) in [("node", &node), ("capture", &capture)] {
            if value.is_empty() {
                return Err(StoreError::EmptyKey { path: dir.into(), key });
            }
        }
        let place = WholeDirectory::create(dir, overwrite, Manifest::is_in)?;
        let below = partition::directory(&node, &capture);
        for table in Table::ALL.iter().filter(|table| !LAST.contains(table)) {
            let dir = place.partial().join(table.name()).join(&below);
            fs::create_dir_all(&dir).map_err(StoreError::io("create", &dir))?;
        }
        let dir_of = |table: Table| place.partial().join(table.name()).join(&below);
        fn small<R: Row>(dir: &Path, clock: Option<NsClock>, limits: Limits) -> OrderedTable<R> {
            OrderedTable::new(dir, clock, limits)
        }
        fn large<R: Summed>(dir: PathBuf, lod: PathBuf, clock: Option<NsClock>, limits: Limits) -> Worker<R> {
            Worker::new(move || Target {
                table: OrderedTable::new(&dir, clock, limits),
                lod: R::PYRAMIDS.iter().map(|name| Output::new(&lod, name, limits)).collect(),
            })
        }
        Ok(DatasetWriter {
            cpu_states: large(dir_of(Table::CpuStates), dir_of(Table::Lod), ns_clock, limits),
            vcpu_states: large(dir_of(Table::VcpuStates), dir_of(Table::Lod), ns_clock, limits),
            exits: large(dir_of(Table::Exits), dir_of(Table::LodExits), ns_clock, limits),
            vms: small(&dir_of(Table::Vms), ns_clock, limits),
            vm_offsets: small(&dir_of(Table::VmOffsets), ns_clock, limits),
            vcpus: small(&dir_of(Table::Vcpus), ns_clock, limits),
            processes: small(&dir_of(Table::Processes), ns_clock, limits),
            threads: small(&dir_of(Table::Threads), ns_clock, limits),
            losses: small(&dir_of(Table::Losses), ns_clock, limits),
            lod: small(&dir_of(Table::Lod), None, limits),
            lod_exits: small(&dir_of(Table::LodExits), None, limits),
            seen: Seen::default(),
            node,
            capture,
            ns_clock,
            limits,
            place,
        })
    }

    /// [`end`](Self::end), and puts it in its place without findings: nobody looked for any.
    pub fn finish(self, manifest: Manifest) -> Result<Dataset, StoreError> {
        self.end(manifest)?.put(None)
    }

    /// Ends the tables. The fields of the manifest that say "set by the writer" are; the others are the caller's.
    pub fn end(self, mut manifest: Manifest) -> Result<Ended, StoreError> {
        let cpu_states = self.cpu_states.finish()?;
        let vcpu_states = self.vcpu_states.finish()?;
        let exits = self.exits.finish()?;
        let finest = |name: &str, level: i32| (name.to_string(), level);
        let parts = cpu_states.lod.iter().chain(&vcpu_states.lod).map(|part| finest(part.name, part.finest));
        manifest.lod = parts.chain(exits.lod.iter().map(|part| finest(part.name, part.finest))).collect();
        let lod = end_lod(self.lod, cpu_states.lod.into_iter().chain(vcpu_states.lod).collect())?;
        let lod_exits = end_lod(self.lod_exits, exits.lod)?;
        let summaries = [
            (CpuState::TABLE, cpu_states.table),
            (VcpuState::TABLE, vcpu_states.table),
            (Exit::TABLE, exits.table),
            (Lod::TABLE, lod),
            (LodExits::TABLE, lod_exits),
            (Vm::TABLE, self.vms.finish()?),
            (VmOffset::TABLE, self.vm_offsets.finish()?),
            (Vcpu::TABLE, self.vcpus.finish()?),
            (Process::TABLE, self.processes.finish()?),
            (Thread::TABLE, self.threads.finish()?),
            (Loss::TABLE, self.losses.finish()?),
        ];
        manifest.tables = summaries.map(|(table, summary)| (table.name().to_string(), summary.into())).into();
        manifest.node = self.node;
        manifest.capture = self.capture;
        manifest.losses = self.seen.losses;
        manifest.first_tsc = self.seen.span.map(|(first, _)| first);
        manifest.last_tsc = self.seen.span.map(|(_, last)| last);
        manifest.cpus = self.seen.cpus;
        let dataset = Dataset::of(self.place.partial(), manifest);
        Ok(Ended { dataset, ns_clock: self.ns_clock, limits: self.limits, place: self.place })
    }

    /// Where the dataset will be.
    pub fn dir(&self) -> &Path {
        self.place.target()
    }
}

/// Tables that are written once the others are: what is found in them, and what they are as a whole.
const LAST: [Table; 3] = [Table::Findings, Table::FindingSpans, Table::Captures];

impl Ended {
    /// What is in it.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Adds what was found in it, where somebody looked, writes the manifest and puts the dataset in its place.
    pub fn put(self, found: Option<(Vec<Finding>, Vec<FindingSpan>)>) -> Result<Dataset, StoreError> {
        let Ended { dataset, ns_clock, limits, place } = self;
        let mut manifest = dataset.into_manifest();
        let below = partition::directory(&manifest.node, &manifest.capture);
        let at = |table: Table| place.partial().join(table.name()).join(&below);
        let capture = vec![manifest.capture_row()];
        let mut tables = vec![(Capture::TABLE, write_all(&at(Capture::TABLE), capture, ns_clock, limits)?)];
        if let Some((findings, spans)) = found {
            tables.push((Finding::TABLE, write_all(&at(Finding::TABLE), findings, ns_clock, limits)?));
            tables.push((FindingSpan::TABLE, write_all(&at(FindingSpan::TABLE), spans, ns_clock, limits)?));
        }
        manifest.tables.extend(tables.into_iter().map(|(table, summary)| (table.name().to_string(), summary.into())));
        manifest.write(place.partial())?;
        Dataset::open(&place.put()?)
    }
}

/// A whole table at once.
fn write_all<R: Row>(
    dir: &Path,
    rows: Vec<R>,
    clock: Option<NsClock>,
    limits: Limits,
) -> Result<TableSummary, StoreError> {
    fs::create_dir_all(dir).map_err(StoreError::io("create", dir))?;
    let mut table = OrderedTable::new(dir, clock, limits);
    rows.into_iter().try_for_each(|row| table.push(row))?;
    Ok(table.finish()?)
}

/// Writes the rows of summaries that are in no file yet into one.
fn end_lod<R: Row>(mut table: OrderedTable<R>, parts: Vec<Part<R>>) -> Result<TableSummary, StoreError> {
    let mut files = TableSummary::default();
    for part in parts {
        files += part.files;
        part.held.into_iter().try_for_each(|row| table.push(row))?;
    }
    files += table.finish()?;
    Ok(files)
}

impl Seen {
    #[inline]
    fn cpu_state(&mut self, row: &CpuState) {
        self.span = Some(match self.span {
            Some((first, last)) => (first.min(row.start.tsc), last.max(row.end.tsc)),
            None => (row.start.tsc, row.end.tsc),
        });
        if let Err(place) = self.cpus.binary_search(&row.cpu) {
            self.cpus.insert(place, row.cpu);
        }
    }

    fn loss(&mut self, row: &Loss) {
        self.losses.count += 1;
        self.losses.bytes = self.losses.bytes.saturating_add(row.bytes);
        let ticks = self.losses.ticks.entry(row.cause.name().into()).or_default();
        *ticks = ticks.saturating_add(row.end_tsc.saturating_sub(row.start_tsc));
    }
}

impl Sink for DatasetWriter {
    type Error = StoreError;

    #[inline]
    fn cpu_state(&mut self, row: CpuState) -> Result<(), StoreError> {
        self.seen.cpu_state(&row);
        self.cpu_states.push(row)
    }

    #[inline]
    fn vcpu_state(&mut self, row: VcpuState) -> Result<(), StoreError> {
        self.vcpu_states.push(row)
    }

    #[inline]
    fn exit(&mut self, row: Exit) -> Result<(), StoreError> {
        self.exits.push(row)
    }

    fn loss(&mut self, row: Loss) -> Result<(), StoreError> {
        self.seen.loss(&row);
        Ok(self.losses.push(row)?)
    }

    fn vm(&mut self, row: Vm) -> Result<(), StoreError> {
        Ok(self.vms.push(row)?)
    }

    fn vm_offset(&mut self, row: VmOffset) -> Result<(), StoreError> {
        Ok(self.vm_offsets.push(row)?)
    }

    fn vcpu(&mut self, row: Vcpu) -> Result<(), StoreError> {
        Ok(self.vcpus.push(row)?)
    }

    fn process(&mut self, row: Process) -> Result<(), StoreError> {
        Ok(self.processes.push(row)?)
    }

    fn thread(&mut self, row: Thread) -> Result<(), StoreError> {
        Ok(self.threads.push(row)?)
    }
}
