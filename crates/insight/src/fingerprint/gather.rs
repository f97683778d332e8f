//! What guest processes did, as distributions: from the rows of vCPUs, in memory that does not grow with them.
//!
//! A *run* is guest time of one process on one vCPU until another process has it, or it waits. An exit does not end it, nor
//! does the vCPU's being preempted: that is the host's doing, and what the process does is not to depend on it.

use std::collections::BTreeMap;

use havana_rows::VcpuStateKind as State;
use rustc_hash::FxHashMap;

use super::histogram::{CLASSES, Histogram};
use super::{Fingerprint, LONGEST_NS};
use crate::slices::Slice;

/// All processes of a dataset, or of one side of a moment.
pub(crate) struct Gather {
    /// Nanoseconds a tick, or 1.
    scale: f64,
    vcpus: FxHashMap<i32, OnVcpu>,
    pub(crate) processes: BTreeMap<i32, Process>,
}

/// What is known of a process so far.
pub(crate) struct Process {
    pub(crate) vm_id: i32,
    /// On cpus, in the guest and in root for it; ticks.
    pub(crate) on: i64,
    print: Fingerprint,
    /// Of runs of at least each class: the last one's start, and how long from one to the next.
    ladder: Vec<(Option<i64>, Histogram)>,
}

/// What a vCPU does.
#[derive(Default)]
struct OnVcpu {
    run: Option<Run>,
    /// In the guest since its entry or the process' begin, and in root since its exit; ticks.
    guest: Option<i64>,
    root: Option<i64>,
}

#[derive(Clone, Copy)]
struct Run {
    process: i32,
    start: i64,
    guest: i64,
}

impl Gather {
    pub(crate) fn new(tsc_hz: Option<u64>) -> Gather {
        let scale = tsc_hz.map_or(1.0, |hz| 1e9 / hz as f64);
        Gather { scale, vcpus: FxHashMap::default(), processes: BTreeMap::new() }
    }

    /// Takes a slice, where a process of the rows is the one that `which` says: a row's process may be one before and another
    /// after some time.
    pub(crate) fn add(&mut self, slice: &Slice, which: impl Fn(i32, i64) -> i32) {
        for row in slice.rows.iter().filter(|row| slice.begins(row)) {
            let length = row.end_tsc - row.start_tsc;
            let of = self.vcpus.entry(row.vcpu_id).or_default();
            let process = row.process_id.map(|process| which(process, row.start_tsc));
            match (row.state, process) {
                (State::Guest, Some(process)) => {
                    let known = self.processes.entry(process).or_insert_with(|| Process::new(row.vm_id));
                    known.on += length;
                    if let Some(root) = of.root.take() {
                        known.print.latencies.add(root as f64 * self.scale, 1.0);
                    }
                    match &mut of.run {
                        Some(run) if run.process == process => {
                            run.guest += length;
                            of.guest = Some(of.guest.unwrap_or(0) + length);
                        }
                        _ => {
                            let ended = of.run.replace(Run { process, start: row.start_tsc, guest: length });
                            of.guest = Some(length);
                            self.end(ended, false);
                        }
                    }
                }
                (State::Hypervisor, Some(process)) => {
                    let Some(known) = self.processes.get_mut(&process) else { continue };
                    known.on += length;
                    match (&mut of.root, of.guest.take()) {
                        (Some(root), _) => *root += length,
                        (root, Some(guest)) => {
                            known.print.exits += 1.0;
                            let guest = guest as f64 * self.scale;
                            known.print.stretches.add(guest, guest.max(1.0));
                            *root = Some(length);
                        }
                        _ => {}
                    }
                }
                (State::Waiting, _) => {
                    let ended = of.run.take();
                    (of.guest, of.root) = (None, None);
                    if let Some(process) = ended.and_then(|run| self.processes.get_mut(&run.process)) {
                        process.print.waits.add(length as f64 * self.scale, 1.0);
                    }
                    self.end(ended, true);
                }
                // Its run goes on; what it is away is not the hypervisor's work.
                (State::Preempted, _) => (of.guest, of.root) = (None, None),
                _ => {
                    // Nobody knows whether that was its end.
                    (of.run, of.guest, of.root) = (None, None, None);
                }
            }
        }
    }

    fn end(&mut self, run: Option<Run>, waits: bool) {
        let Some(run) = run else { return };
        let Some(process) = self.processes.get_mut(&run.process) else { return };
        let guest = (run.guest as f64 * self.scale).min(LONGEST_NS);
        process.print.runs.add(guest, guest.max(1.0));
        process.print.count += 1.0;
        process.print.waited += f64::from(u8::from(waits));
        for (last, periods) in process.ladder.iter_mut().take(Histogram::class(guest) + 1) {
            if let Some(last) = last.replace(run.start) {
                periods.add((run.start - last) as f64 * self.scale, 1.0);
            }
        }
    }

    /// The fingerprint of each.
    pub(crate) fn finish(mut self) -> BTreeMap<i32, Process> {
        let open: Vec<Run> = self.vcpus.values_mut().filter_map(|vcpu| vcpu.run.take()).collect();
        open.into_iter().for_each(|run| self.end(Some(run), false));
        self.processes
    }
}

impl Process {
    fn new(vm_id: i32) -> Process {
        let ladder = vec![(None, Histogram::default()); CLASSES];
        Process { vm_id, on: 0, print: Fingerprint::default(), ladder }
    }

    pub(crate) fn fingerprint(mut self) -> Fingerprint {
        // Runs that are not much less than the typical one: an idle guest's timer tick finds the page table of who ran last.
        let typical = self.print.runs.quantile_class(0.5).unwrap_or(0);
        self.print.periods = self.ladder.swap_remove(typical.saturating_sub(3)).1;
        self.print
    }
}
