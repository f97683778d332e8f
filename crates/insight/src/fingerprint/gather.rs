//! What guest processes did, as distributions: from the rows of vCPUs, in memory that does not grow with them.
//!
//! A *run* is guest time of one process on one vCPU until another process has it, or it waits. An exit does not end it, nor
//! does the vCPU's being preempted: that is the host's doing, and what the process does is not to depend on it. But where
//! another VM has the cpu all the time that is only inferred, and a wait looks alike. A *turn* ends with either.

use std::collections::BTreeMap;

use havana_rows::VcpuStateKind as State;
use rustc_hash::FxHashMap;

use super::histogram::Histogram;
use super::{Fingerprint, LONGEST_NS, Rhythm};
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
    runs: Ladder,
    turns: Ladder,
}

/// Runs, or turns, so far.
#[derive(Default)]
struct Ladder {
    /// Of those that take at least each octave: the last one's start, and how long from one to the next.
    rungs: Vec<(i64, Histogram)>,
    /// The last one's end.
    end: Option<i64>,
}

impl Ladder {
    /// One that took so many nanoseconds, or ticks, of guest time.
    fn add(&mut self, rhythm: &mut Rhythm, run: Run, scale: f64) {
        let length = (run.guest as f64 * scale).min(LONGEST_NS);
        rhythm.lengths.add(length, length.max(1.0));
        rhythm.count += 1.0;
        if let Some(end) = self.end.replace(run.end) {
            let gap = (run.start - end) as f64 * scale;
            rhythm.gaps.add(gap, gap.max(1.0));
        }
        let class = Histogram::class(length) / 2;
        for (last, periods) in self.rungs.iter_mut().take(class + 1) {
            periods.add((run.start - std::mem::replace(last, run.start)) as f64 * scale, 1.0);
        }
        while self.rungs.len() <= class {
            self.rungs.push((run.start, Histogram::default()));
        }
    }

    /// From one to the next, of those that are not much less than the typical one: an idle guest's timer tick finds the page
    /// table of who ran last.
    fn periods(mut self, rhythm: &Rhythm) -> Histogram {
        let typical = rhythm.lengths.quantile_class(0.5).unwrap_or(0).saturating_sub(3) / 2;
        if typical < self.rungs.len() { self.rungs.swap_remove(typical).1 } else { Histogram::default() }
    }
}

/// What a vCPU does.
#[derive(Default)]
struct OnVcpu {
    run: Option<Run>,
    turn: Option<Run>,
    /// In the guest since its entry or the process' begin, and in root since its exit; ticks.
    guest: Option<i64>,
    root: Option<i64>,
}

#[derive(Clone, Copy)]
struct Run {
    process: i32,
    start: i64,
    end: i64,
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
                    let goes_on = of.run.is_some_and(|run| run.process == process);
                    let so_far = of.guest.filter(|_| goes_on).unwrap_or(0);
                    of.guest = Some(so_far + length);
                    let begins = Run { process, start: row.start_tsc, end: row.end_tsc, guest: 0 };
                    let ended = if goes_on { (None, None) } else { (of.run.take(), of.turn.take()) };
                    for run in [&mut of.run, &mut of.turn].map(|run| run.get_or_insert(begins)) {
                        run.guest += length;
                        run.end = row.end_tsc;
                    }
                    self.end(ended.0, false);
                    self.end_turn(ended.1);
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
                    let (ended, turn) = (of.run.take(), of.turn.take());
                    (of.guest, of.root) = (None, None);
                    if let Some(process) = ended.and_then(|run| self.processes.get_mut(&run.process)) {
                        process.print.waits.add(length as f64 * self.scale, 1.0);
                    }
                    self.end(ended, true);
                    self.end_turn(turn);
                }
                // Its run goes on; what it is away is not the hypervisor's work.
                (State::Preempted | State::OffCpu, _) => {
                    (of.guest, of.root) = (None, None);
                    let turn = of.turn.take();
                    self.end_turn(turn);
                }
                _ => {
                    // Nobody knows whether that was its end.
                    (of.run, of.turn, of.guest, of.root) = (None, None, None, None);
                }
            }
        }
    }

    fn end(&mut self, run: Option<Run>, waits: bool) {
        let Some(run) = run else { return };
        let Some(process) = self.processes.get_mut(&run.process) else { return };
        process.runs.add(&mut process.print.runs, run, self.scale);
        process.print.waited += f64::from(u8::from(waits));
    }

    fn end_turn(&mut self, turn: Option<Run>) {
        let Some(turn) = turn else { return };
        let Some(process) = self.processes.get_mut(&turn.process) else { return };
        process.turns.add(&mut process.print.turns, turn, self.scale);
    }

    /// The fingerprint of each.
    pub(crate) fn finish(mut self) -> BTreeMap<i32, Process> {
        let open: Vec<_> = self.vcpus.values_mut().map(|vcpu| (vcpu.run.take(), vcpu.turn.take())).collect();
        for (run, turn) in open {
            self.end(run, false);
            self.end_turn(turn);
        }
        self.processes
    }
}

impl Process {
    fn new(vm_id: i32) -> Process {
        Process { vm_id, on: 0, print: Fingerprint::default(), runs: Ladder::default(), turns: Ladder::default() }
    }

    pub(crate) fn fingerprint(self) -> Fingerprint {
        let Process { mut print, runs, turns, .. } = self;
        print.runs.periods = runs.periods(&print.runs);
        print.turns.periods = turns.periods(&print.turns);
        print
    }
}
