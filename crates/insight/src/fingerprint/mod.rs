//! What a guest process is known by, whatever its page table is called: the rhythm of its running, its exits and its
//! waits. And which process of one capture is which of another.
//!
//! | part | of what | says |
//! | --- | --- | --- |
//! | `runs` | guest time until another process has the vCPU or it waits, each weighted by itself; and from one such run to the next, of those that are not much less than the typical one | how long it works at once, how often it comes |
//! | | the gaps between them, weighted by themselves | where it is not |
//! | `turns` | the same, where being preempted ends one, too | the same, where a neighbour hides that it waits |
//! | `stretches` | guest time from entry to exit, weighted by itself | how often it exits |
//! | `latencies` | time in root for each exit, where the vCPU stayed on its cpu | what its exits are |
//! | `waits` | how long the vCPU waited after it | what follows on it |
//! | `waited`, `reasons` | how many of its runs ended so; SDM basic reasons, where known | |
//!
//! Each is a distribution over half octaves of nanoseconds (of ticks, where no rate is known). Two are as far apart as their parts
//! are: the root of the weighted mean square of their Jensen-Shannon distances (Lin, *Divergence measures based on the Shannon
//! entropy*, 1991; Endres and Schindelin, 2003), over the parts that both have. Of runs and turns the nearer counts.
//!
//! How much a process ran is no part: one that does more of the same is the same.

mod gather;
mod histogram;
mod pairs;

pub use histogram::Histogram;
pub use pairs::{Pair, pairs};

pub(crate) use gather::Gather;
pub(crate) use pairs::{FAR, FAR_VM, match_up, role, roles_apart};

use std::collections::BTreeMap;

use havana_store::{Dataset, StoreError};
use serde::{Deserialize, Serialize};

use crate::exits::{self, Exits};
use crate::grid::Grid;
use crate::ids::ById;
use crate::slices;

/// Longer runs are alike: one that never ends is cut by a capture's end, whenever that is.
const LONGEST_NS: f64 = 67e6;
/// Fewer runs are no rhythm, nor is less guest time; unless it never ends.
const LEAST_RUNS: f64 = 6.0;

/// How long something takes, and how often it comes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Rhythm {
    /// Guest time at once, weighted by itself.
    pub lengths: Histogram,
    /// From one to the next.
    pub periods: Histogram,
    /// From the end of one to the next, each weighted by itself: where most of the time without it is.
    pub gaps: Histogram,
    /// How many.
    pub count: f64,
}

impl Rhythm {
    fn distance(&self, other: &Rhythm) -> Option<f64> {
        let lengths = self.lengths.distance(&other.lengths)?;
        let parts = [Some(lengths), self.periods.distance(&other.periods), self.gaps.distance(&other.gaps)];
        let squares: f64 = parts.iter().flatten().map(|distance| distance * distance).sum();
        Some((squares / parts.iter().flatten().count() as f64).sqrt())
    }

    fn merge(&mut self, other: &Rhythm) {
        self.lengths.merge(&other.lengths);
        self.periods.merge(&other.periods);
        self.gaps.merge(&other.gaps);
        self.count += other.count;
    }
}

/// What a guest process is known by.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Fingerprint {
    /// Until another has the vCPU, or it waits.
    pub runs: Rhythm,
    /// Until another has the vCPU, or it leaves its cpu.
    pub turns: Rhythm,
    /// From entry to exit, weighted by itself.
    pub stretches: Histogram,
    /// In root for an exit.
    pub latencies: Histogram,
    /// What a vCPU waited after it.
    pub waits: Histogram,
    /// Runs that ended with a wait.
    pub waited: f64,
    /// Exits.
    pub exits: f64,
    /// Exits by SDM basic reason, where known.
    pub reasons: BTreeMap<i32, f64>,
}

impl Fingerprint {
    /// How far it is from another: 0 is the same, 1 nothing in common. None where there is nothing to compare.
    pub fn distance(&self, other: &Fingerprint) -> Option<f64> {
        let of = |weight: f64, distance: Option<f64>| Some((weight, distance?));
        let waited = |of: &Fingerprint| {
            let part = of.waited / of.runs.count;
            [part, 1.0 - part]
        };
        let both = |of: fn(&Fingerprint) -> f64| of(self) > 0.0 && of(other) > 0.0;
        let (runs, turns) = (self.runs.distance(&other.runs), self.turns.distance(&other.turns));
        let rhythm = runs.map_or(turns, |runs| Some(turns.map_or(runs, |turns| turns.min(runs))));
        let parts = [
            of(9.0, rhythm),
            of(1.0, self.stretches.distance(&other.stretches)),
            of(1.0, self.latencies.distance(&other.latencies)),
            of(1.0, self.waits.distance(&other.waits)),
            both(|of| of.runs.count).then(|| (1.0, histogram::jensen_shannon(&waited(self), &waited(other)))),
            of(1.0, self.reasons_apart(other)),
        ];
        let weights: f64 = parts.iter().flatten().map(|(weight, _)| weight).sum();
        let squares: f64 = parts.iter().flatten().map(|(weight, distance)| weight * distance * distance).sum();
        (weights > 0.0).then(|| (squares / weights).sqrt())
    }

    fn reasons_apart(&self, other: &Fingerprint) -> Option<f64> {
        let parts = |of: &Fingerprint| {
            let all: f64 = of.reasons.values().sum();
            let of = of.reasons.clone();
            (all > 0.0).then_some(move |reason: &i32| of.get(reason).copied().unwrap_or(0.0) / all)
        };
        let (mine, its) = (parts(self)?, parts(other)?);
        let all: std::collections::BTreeSet<i32> = self.reasons.keys().chain(other.reasons.keys()).copied().collect();
        let (p, q): (Vec<f64>, Vec<f64>) = all.iter().map(|reason| (mine(reason), its(reason))).unzip();
        Some(histogram::jensen_shannon(&p, &q))
    }

    /// Whether enough was seen to know it again.
    pub fn is_clear(&self) -> bool {
        self.turns.count >= LEAST_RUNS || self.turns.lengths.total() >= LONGEST_NS
    }

    /// To whole numbers, which a file keeps as they are.
    pub(crate) fn round(&mut self) {
        for rhythm in [&mut self.runs, &mut self.turns] {
            rhythm.lengths.round();
            rhythm.periods.round();
            rhythm.gaps.round();
        }
        [&mut self.stretches, &mut self.latencies, &mut self.waits].into_iter().for_each(Histogram::round);
    }

    /// Takes another capture of the same process in.
    pub fn merge(&mut self, other: &Fingerprint) {
        self.runs.merge(&other.runs);
        self.turns.merge(&other.turns);
        self.stretches.merge(&other.stretches);
        self.latencies.merge(&other.latencies);
        self.waits.merge(&other.waits);
        self.waited += other.waited;
        self.exits += other.exits;
        other.reasons.iter().for_each(|(reason, count)| *self.reasons.entry(*reason).or_default() += count);
    }
}

/// The fingerprints of a dataset's guest processes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Prints {
    /// Whether lengths are nanoseconds; else ticks.
    pub nanoseconds: bool,
    /// Each guest process, by its id.
    pub processes: BTreeMap<i32, Print>,
    /// What VMs are known by beside what runs in them: uuid, else name; by id.
    pub vms: BTreeMap<i32, Option<String>>,
}

/// A guest process of a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Print {
    /// Its VM.
    pub vm_id: i32,
    /// What it had of a cpu.
    pub share: f64,
    /// What it is known by.
    pub fingerprint: Fingerprint,
}

/// The fingerprints of a dataset's guest processes; none of one that has hardly any time.
///
/// # Errors
/// Those of reading it.
pub fn fingerprints(dataset: &Dataset) -> Result<Prints, StoreError> {
    let Some(grid) = Grid::of(dataset) else { return Ok(Prints::default()) };
    let mut gather = Gather::new(dataset.manifest().clock.tsc_hz);
    slices::each(dataset, grid, |slice| gather.add(slice, |process, _| process))?;
    let exits = exits::count(dataset, grid)?;
    Prints::of(dataset, grid, gather, &exits)
}

impl Prints {
    /// Those of which enough was seen.
    fn clear(&self) -> impl Iterator<Item = (i32, &Print)> {
        self.processes.iter().filter(|(_, print)| print.fingerprint.is_clear()).map(|(id, print)| (*id, print))
    }

    /// Those of a VM.
    pub(crate) fn clear_of(&self, vm: i32) -> impl Iterator<Item = (i32, &Print)> {
        self.clear().filter(move |(_, print)| print.vm_id == vm)
    }

    pub(crate) fn of(dataset: &Dataset, grid: Grid, gather: Gather, exits: &ById<Exits>) -> Result<Prints, StoreError> {
        let known = |(id, process): (i32, gather::Process)| {
            let (vm_id, share) = (process.vm_id, process.on as f64 / grid.span());
            let mut fingerprint = process.fingerprint();
            if let Some(exits) = exits.get(id) {
                let known = exits.reasons.iter().filter_map(|(reason, count)| Some(((*reason)?, *count as f64)));
                fingerprint.reasons = known.collect();
            }
            (id, Print { vm_id, share, fingerprint })
        };
        Ok(Prints {
            nanoseconds: dataset.manifest().clock.tsc_hz.is_some(),
            processes: gather.finish().into_iter().map(known).collect(),
            vms: dataset.vms()?.into_iter().map(|vm| (vm.vm_id, vm.uuid.or(vm.name))).collect(),
        })
    }
}
