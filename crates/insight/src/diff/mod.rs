//! What is different in two stretches of time: [`diff`] compares two [`Side`]s, of one dataset or of two.
//!
//! ```text
//! side A ─┬─► pairs (who is who) ─┬─► measure A ─┐
//! side B ─┘                       └─► measure B ─┴─► noise (is it more than chance?) ─► rank: one list
//! ```
//!
//! | module | its one question |
//! | --- | --- |
//! | `side` | which stretch of which dataset? |
//! | `pairs` | who of one is who of the other? |
//! | `what` | what is compared? |
//! | `measure` | how much of it, in each block of time? |
//! | `noise` | is the difference more than what each side differs from itself? |
//! | `student` | how often is t so large? |
//! | `change` | what is told of it? |
//! | `rank` | what is read first, what follows from what? |
//!
//! All is a rate or a share, so that lengths do not matter. Compared are, of VMs, and of vCPUs where a VM has several: time in
//! the guest, in the hypervisor, preempted, waiting, off the cpu; of each VM who had its cpus while it wanted them, exits, exits
//! of each reason known, how long they take (median, 99 %); of guest processes: time on cpus, time in root, exits; of
//! cpus: busy, idle, lost.
//!
//! A change is told where chance does so much in at most 1 of 100 such comparisons *together* (`adjusted_p`), and where it
//! matters: somebody has at least half a percent of a cpu more or less, and that is a twentieth of what it was or is. What
//! can be of no such size is not tested, and so takes nothing from the others.
//!
//! What is lost or unknown takes from the time that shares are of; the bounds say what they would be with all of it. Time off
//! the cpu of which nothing says whether it was waiting or preempted is in the bounds of both, and no change of it is told that
//! may be one of words only.

mod change;
mod measure;
mod noise;
mod pairs;
mod rank;
mod side;
mod student;
mod what;

pub use change::{Change, Ids, Unmatched};
pub use noise::CONFIDENCE;
pub use pairs::{By, Presence};
pub use side::{DiffError, Side};
pub use what::{Unit, What};

use std::collections::BTreeSet;

use havana_rows::reason;
use serde::Serialize;

use crate::names::Names;
use measure::{Key, Latencies, Measured, Owner, Whose};
use noise::{BLOCKS, Estimate, Shift};
use pairs::Pairs;

/// Of what is told, so much may be chance.
pub const CHANCE: f64 = 0.01;
/// What matters at least, of one cpu.
pub const MATTERS: f64 = 0.005;
/// What matters at least, of the larger of both.
pub const MATTERS_OF_VALUE: f64 = 0.05;
/// Exits beyond a quantile that there must be on each side.
const EXITS_BEYOND: f64 = 10.0;

/// What is compared, and what is different.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    /// The first.
    pub a: SideFacts,
    /// The second.
    pub b: SideFacts,
    /// Whether both are of one dataset: then ids and times mean the same in both.
    pub one_dataset: bool,
    /// What could matter: what is told first, what explains most of all before the rest.
    pub changes: Vec<Change>,
    /// How many quantities there are in all, also those that are too small to matter.
    pub compared: usize,
    /// VMs of A of which nothing says who they are in B.
    pub unmatched_a: Vec<Unmatched>,
    /// VMs of B of which nothing says who they are in A.
    pub unmatched_b: Vec<Unmatched>,
}

/// One side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SideFacts {
    /// What the dataset's directory is called.
    pub dataset: String,
    /// Its host.
    pub node: String,
    /// Which capture of that.
    pub capture: String,
    /// Ticks a second, where known.
    pub tsc_hz: Option<f64>,
    /// The stretch, ticks …
    pub from_tsc: i64,
    /// … to here.
    pub to_tsc: i64,
    /// The same since the dataset's first event: seconds, or ticks.
    pub from: f64,
    /// To here.
    pub to: f64,
    /// Whether that is all of it.
    pub whole: bool,
    /// How many cpus there are.
    pub cpus: usize,
    /// How many VMs are there then.
    pub vms: usize,
    /// Lost or unknown, as a part of all cpus' time.
    pub hidden_share: f64,
}

/// Compares two stretches.
///
/// # Errors
/// Where a dataset cannot be read, or both are the same time.
pub fn diff(a: &Side<'_>, b: &Side<'_>) -> Result<Diff, DiffError> {
    a.check_apart(b)?;
    let pairs = Pairs::of(a, b)?;
    let rates = a.hz().zip(b.hz());
    let ns = |hz: fn((f64, f64)) -> f64| rates.map_or(1.0, |rates| 1e9 / hz(rates));
    let read = [ns(|rates| rates.0), ns(|rates| rates.1)];
    let measured = [Measured::read(a, 0, read[0], &pairs)?, Measured::read(b, 1, read[1], &pairs)?];
    let names = [Names::read(a.dataset)?, Names::read(b.dataset)?];
    let comparison = Comparison { sides: [a, b], pairs: &pairs, measured: &measured, names: &names, ns: read };
    let (changes, compared) = comparison.changes();
    let facts = |which: usize, side: &Side<'_>| facts(side, &measured[which], &pairs, which);
    let unmatched = |which: usize| comparison.unmatched(which);
    Ok(Diff {
        a: facts(0, a),
        b: facts(1, b),
        one_dataset: a.is_of_one_dataset(b),
        changes,
        compared,
        unmatched_a: unmatched(0),
        unmatched_b: unmatched(1),
    })
}

fn facts(side: &Side<'_>, measured: &Measured, pairs: &Pairs, which: usize) -> SideFacts {
    let manifest = side.dataset.manifest();
    let dir = side.dataset.dir();
    let name = dir.file_name().map_or_else(|| dir.display().to_string(), |name| name.to_string_lossy().into_owned());
    SideFacts {
        dataset: name,
        node: manifest.node.clone(),
        capture: manifest.capture.clone(),
        tsc_hz: side.hz(),
        from_tsc: side.grid.from,
        to_tsc: side.grid.to,
        from: side.moment(side.grid.from),
        to: side.moment(side.grid.to),
        whole: manifest.first_tsc == Some(side.grid.from) && manifest.last_tsc == Some(side.grid.to),
        cpus: manifest.cpus.len(),
        vms: pairs.vms.pairs.iter().filter(|pair| !pair.ids[which].is_empty()).count(),
        hidden_share: measured.hidden_share(manifest.cpus.len()),
    }
}

/// Both sides, measured.
struct Comparison<'a> {
    sides: [&'a Side<'a>; 2],
    pairs: &'a Pairs,
    measured: &'a [Measured; 2],
    names: &'a [Names; 2],
    /// Nanoseconds a tick; 1 where not both are known.
    ns: [f64; 2],
}

impl Comparison<'_> {
    /// The changes in their order, and how many quantities there are.
    fn changes(&self) -> (Vec<Change>, usize) {
        let keys: BTreeSet<Key> = self.measured.iter().flat_map(|side| side.sums.keys().copied()).collect();
        let keys: Vec<Key> = keys.into_iter().filter(|key| self.presence(key).0 != Presence::Unmatched).collect();
        let vms: BTreeSet<u32> = keys.iter().filter_map(|key| vm_of(key.whose)).collect();
        let mut compared = keys.len();
        let mut changes: Vec<Change> = keys.iter().filter_map(|key| self.change(key)).collect();
        for vm in vms {
            let latencies = [0, 1].map(|side: usize| self.measured[side].latencies(vm));
            for what in [What::ExitMedian, What::ExitP99] {
                compared += 1;
                changes.extend(self.latency(what, vm, &latencies));
            }
        }
        let another_name = another_name(&changes);
        let p: Vec<f64> = changes.iter().map(|change| change.p).collect();
        for ((change, adjusted_p), another_name) in changes.iter_mut().zip(noise::adjusted(&p)).zip(another_name) {
            change.adjusted_p = adjusted_p;
            change.sure = 1.0 - adjusted_p;
            let larger = change.a.abs().max(change.b.abs());
            change.told = !another_name
                && adjusted_p <= CHANCE
                && change.cpu_share >= MATTERS
                && change.change.abs() >= MATTERS_OF_VALUE * larger;
        }
        rank::rank(&mut changes);
        (changes, compared)
    }

    fn change(&self, key: &Key) -> Option<Change> {
        // Who is not there does not wait either.
        if matches!(key.what, What::Waiting | What::OffCpu) && self.presence(key).0 != Presence::Both {
            return None;
        }
        let [a, b] = [0, 1].map(|side: usize| self.measured[side].estimate(key, self.pairs));
        let (mut a, mut b) = (a?, b?);
        let mut cost = 1.0;
        if key.what == What::Exits {
            // Exits a tick: of each side's own.
            (a, b) = (a.scaled(1.0 / self.ns[0]), b.scaled(1.0 / self.ns[1]));
            cost = self.cost_of_an_exit(key);
        }
        if a.value.max(b.value) * cost < MATTERS {
            return None;
        }
        let mut change = self.told(key, &a, &b, cost);
        if change.unit == Unit::Share {
            let [a, b] = [0, 1].map(|side: usize| self.measured[side].bounds(key, self.pairs));
            (change.a_bounds, change.b_bounds) = (Some(a), Some(b));
            change.in_doubt = b[0] - a[1] <= 0.0 && b[1] - a[0] >= 0.0;
        }
        let [[a, of_a], [b, of_b]] = [0, 1].map(|side: usize| self.measured[side].inferred(key));
        change.inferred = a + b > (of_a + of_b) / 2.0;
        Some(change)
    }

    fn latency(&self, what: What, vm: u32, [a, b]: &[Latencies; 2]) -> Option<Change> {
        let q = what.quantile()?;
        if a.count().min(b.count()) * (1.0 - q) < EXITS_BEYOND {
            return None;
        }
        let (a, b) = (a.quantile(q)?, b.quantile(q)?);
        let key = Key::new(What::Exits, Whose::Vm(vm));
        let often = |side: usize| {
            let rate = self.measured[side].estimate(&key, self.pairs).map_or(0.0, |rate| rate.value);
            rate / self.ns[side]
        };
        // Of as many as both have.
        let cost = (1.0 - q) * often(0).min(often(1));
        if a.value.max(b.value) * cost < MATTERS {
            return None;
        }
        Some(self.told(&Key::new(what, Whose::Vm(vm)), &a, &b, cost))
    }

    /// The time in root that an exit costs, ticks or nanoseconds: of the process, or of the VM.
    fn cost_of_an_exit(&self, key: &Key) -> f64 {
        let what = if key.process.is_some() { What::Root } else { What::Hypervisor };
        let root = Key { what, reason: None, ..*key };
        let exits = Key { reason: None, ..*key };
        let both = |key: &Key, ns: [f64; 2]| -> f64 {
            let of = |side: usize| self.measured[side].sums.get(key).map_or(0.0, |sum| sum.blocks.iter().sum());
            (0..2).map(|side| of(side) * ns[side]).sum()
        };
        both(&root, self.ns) / both(&exits, [1.0; 2]).max(1.0)
    }

    /// What a test says of two values; `cost` makes a share of a cpu of their unit.
    fn told(&self, key: &Key, a: &Estimate, b: &Estimate, cost: f64) -> Change {
        let shift = Shift::between(a, b);
        let is_rate_known = self.sides.iter().all(|side| side.hz().is_some());
        // As they are read: a second has 10⁹ ns.
        let read = if key.what == What::Exits { 1e9 } else { 1.0 };
        let surely = if shift.lo > 0.0 || shift.hi < 0.0 { shift.lo.abs().min(shift.hi.abs()) } else { 0.0 };
        let (presence, matched_by) = self.presence(key);
        let [a_ids, b_ids] = [0, 1].map(|side| self.ids(key, side));
        let step = |side: usize, of: &Estimate| {
            let grid = self.sides[side].grid;
            of.step.map(|block| self.sides[side].moment(grid.start(block.min(BLOCKS))))
        };
        Change {
            kind: key.what,
            who: self.who(key),
            taker: key.taker.map(|taker| self.taker(taker)),
            reason: key.reason.map(reason::name),
            a_ids,
            b_ids,
            presence,
            matched_by,
            unit: key.what.unit(is_rate_known),
            a: a.value * read,
            b: b.value * read,
            change: shift.change * read,
            lo: shift.lo * read,
            hi: shift.hi * read,
            a_bounds: None,
            b_bounds: None,
            in_doubt: false,
            inferred: false,
            p: shift.p,
            adjusted_p: shift.p,
            sure: 0.0,
            cpu_share: shift.change.abs() * cost,
            surely_cpu_share: surely * cost,
            a_step: step(0, a),
            b_step: step(1, b),
            told: false,
            explained_by: None,
        }
    }

    /// In which sides somebody is, and what tells that it is the same.
    fn presence(&self, key: &Key) -> (Presence, By) {
        let of = |pair: &pairs::Pair| (pair.presence, pair.by);
        match (key.whose, key.process) {
            (Whose::Vm(vm), _) if self.pairs.vms.get(vm).presence == Presence::Unmatched => {
                (Presence::Unmatched, By::Nothing)
            }
            (_, Some(process)) => of(self.pairs.processes.get(process)),
            (Whose::Vm(vm), None) => of(self.pairs.vms.get(vm)),
            (Whose::Vcpu(vm, _), None) if self.pairs.vms.get(vm).presence == Presence::Unmatched => {
                (Presence::Unmatched, By::Nothing)
            }
            (Whose::Vcpu(_, vcpu), None) => of(self.pairs.vcpus.get(vcpu)),
            (Whose::Cpu(cpu), None) => {
                let there = |side: usize| self.sides[side].dataset.manifest().cpus.contains(&cpu);
                match (there(0), there(1)) {
                    (true, true) => (Presence::Both, By::Index),
                    (true, false) => (Presence::Gone, By::Nothing),
                    (false, _) => (Presence::New, By::Nothing),
                }
            }
        }
    }

    fn ids(&self, key: &Key, side: usize) -> Ids {
        let all = |pair: &pairs::Pair| pair.ids[side].clone();
        let one = |pair: &pairs::Pair| pair.ids[side].first().copied();
        let (cpu, vcpu) = match key.whose {
            Whose::Cpu(cpu) => (Some(cpu), None),
            Whose::Vm(_) => (None, None),
            Whose::Vcpu(_, vcpu) => (None, Some(vcpu)),
        };
        Ids {
            cpu: cpu.filter(|cpu| self.sides[side].dataset.manifest().cpus.contains(cpu)),
            vm_id: vm_of(key.whose).and_then(|vm| one(self.pairs.vms.get(vm))),
            vcpu_id: vcpu.and_then(|vcpu| one(self.pairs.vcpus.get(vcpu))),
            process_ids: key.process.map(|process| all(self.pairs.processes.get(process))).unwrap_or_default(),
            taker_vm_id: match key.taker {
                Some(Owner::Vm(vm)) => one(self.pairs.vms.get(vm)),
                _ => None,
            },
            taker_process_ids: match key.taker {
                Some(Owner::Host(process)) => all(self.pairs.processes.get(process)),
                _ => Vec::new(),
            },
        }
    }

    /// What B calls it, else A.
    fn named(&self, pair: &pairs::Pair, name: impl Fn(&Names, i32) -> String) -> String {
        let [a, b] = [0, 1].map(|side: usize| pair.ids[side].first().map(|id| name(&self.names[side], *id)));
        b.or(a).unwrap_or_default()
    }

    fn who(&self, key: &Key) -> String {
        let vm = |vm: u32| self.named(self.pairs.vms.get(vm), Names::vm);
        match (key.whose, key.process) {
            (Whose::Cpu(cpu), _) => format!("cpu {cpu}"),
            (Whose::Vm(of), Some(process)) => {
                let process = self.named(self.pairs.processes.get(process), Names::process);
                format!("{}: {process}", vm(of))
            }
            (Whose::Vm(of), None) => vm(of),
            (Whose::Vcpu(_, vcpu), _) => self.named(self.pairs.vcpus.get(vcpu), Names::vcpu),
        }
    }

    fn taker(&self, taker: Owner) -> String {
        match taker {
            Owner::Vm(vm) => self.named(self.pairs.vms.get(vm), Names::vm),
            Owner::Host(process) => {
                let name = self.named(self.pairs.processes.get(process), Names::process);
                format!("the host's {name}")
            }
            Owner::Kernel => "the host's kernel".into(),
            Owner::Unmatched => "VMs that are not matched".into(),
        }
    }

    /// VMs of a side that are compared with nobody.
    fn unmatched(&self, side: usize) -> Vec<Unmatched> {
        let pairs = self.pairs.vms.pairs.iter().enumerate();
        let mine = pairs.filter(|(_, pair)| pair.presence == Presence::Unmatched);
        let of = |(at, pair): (usize, &pairs::Pair)| {
            let vm_id = *pair.ids[side].first()?;
            let share = |what| {
                let key = Key::new(what, Whose::Vm(at as u32));
                self.measured[side].estimate(&key, self.pairs).map_or(0.0, |estimate| estimate.value)
            };
            let cpu_share = share(What::Guest) + share(What::Hypervisor);
            Some(Unmatched { who: self.names[side].vm(vm_id), vm_id, cpu_share })
        };
        let mut all: Vec<Unmatched> = mine.filter_map(of).collect();
        all.sort_by(|x, y| y.cpu_share.total_cmp(&x.cpu_share));
        all
    }
}

/// Who is off the cpu, and nothing says why, may have done the same before under another name: of each change whether what it
/// waits more, or is off the cpu, is at least half of it the other less.
fn another_name(changes: &[Change]) -> Vec<bool> {
    let away = |change: &Change| matches!(change.kind, What::Waiting | What::OffCpu);
    let is = |change: &Change| {
        let one = |other: &&Change| {
            away(other) && other.kind != change.kind && other.a_ids == change.a_ids && other.b_ids == change.b_ids
        };
        let other = changes.iter().find(one).map_or(0.0, |other| other.change);
        away(change) && (change.change + other).abs() < change.change.abs() / 2.0
    };
    changes.iter().map(is).collect()
}

fn vm_of(whose: Whose) -> Option<u32> {
    match whose {
        Whose::Cpu(_) => None,
        Whose::Vm(vm) | Whose::Vcpu(vm, _) => Some(vm),
    }
}
