//! What somebody did in a side, block by block: one pass over each large table, of the columns needed, in whatever order rows
//! come.
//!
//! Memory is 512 bytes a quantity, and 256 a slot of a VM's latencies; it does not grow with rows.

use havana_rows::parquet::{CpuUse, ExitCost, Table, VcpuStretch};
use havana_rows::{CpuStateKind, Evidence, Taker, TakerKind, VcpuStateKind, slot};
use havana_store::StoreError;
use rustc_hash::FxHashMap;

use super::noise::{BLOCKS, Blocks, Estimate};
use super::pairs::{Pairs, Presence};
use super::side::Side;
use super::what::What;

/// Who had a cpu that a vCPU wanted: a pair, where it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Owner {
    Vm(u32),
    Host(u32),
    /// The host's kernel: a thread without an address space.
    Kernel,
    /// VMs of which nothing says who they are in the other side.
    Unmatched,
}

/// A quantity of somebody: indices are of [`Pairs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) what: What,
    pub(super) whose: Whose,
    pub(super) process: Option<u32>,
    pub(super) taker: Option<Owner>,
    pub(super) reason: Option<i32>,
}

/// What is whole, of which a quantity is a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Whose {
    Cpu(i32),
    Vm(u32),
    /// Its VM, and itself.
    Vcpu(u32, u32),
}

impl Key {
    pub(super) const fn new(what: What, whose: Whose) -> Key {
        Key { what, whose, process: None, taker: None, reason: None }
    }
}

/// A quantity.
#[derive(Debug, Clone)]
pub(super) struct Sum {
    /// Ticks, or exits.
    pub(super) blocks: Blocks,
    /// Ticks that a rule says, and no record.
    pub(super) inferred: f64,
}

/// What was done in a side.
pub(super) struct Measured {
    side: usize,
    /// Ticks of a block.
    width: f64,
    pub(super) sums: FxHashMap<Key, Sum>,
    /// Ticks lost or unknown.
    hidden: FxHashMap<Whose, Blocks>,
    /// Exits by how long it took to the next entry, in nanoseconds, or ticks: a VM's slot.
    latencies: FxHashMap<(u32, u16), [u32; BLOCKS]>,
}

impl Measured {
    /// Reads a side. `ns` is nanoseconds a tick, where both sides know them, else 1.
    pub(super) fn read(side: &Side<'_>, which: usize, ns: f64, pairs: &Pairs) -> Result<Measured, StoreError> {
        let mut measured = Measured {
            side: which,
            width: side.grid.width(),
            sums: FxHashMap::default(),
            hidden: FxHashMap::default(),
            latencies: FxHashMap::default(),
        };
        let grid = side.grid;
        let range = grid.from..=grid.to;
        side.dataset.scan(Table::CpuStates).overlapping(range.clone()).each(|row: &CpuUse| {
            measured.cpu(side, row);
        })?;
        measured.hide_rest_of_cpus(&side.dataset.manifest().cpus);
        side.dataset.scan(Table::VcpuStates).overlapping(range.clone()).each(|row: &VcpuStretch| {
            measured.vcpu(side, row, pairs);
        })?;
        side.dataset.scan(Table::Exits).overlapping(range).each(|row: &ExitCost| {
            if (grid.from..grid.to).contains(&row.exit_tsc) {
                measured.exit(side, row, ns, pairs);
            }
        })?;
        Ok(measured)
    }

    fn add(&mut self, key: Key, side: &Side<'_>, (start, end): (i64, i64), inferred: bool) {
        let sum = self.sums.entry(key).or_insert_with(|| Sum { blocks: [0.0; BLOCKS], inferred: 0.0 });
        side.grid.each(start, end, |block, ticks| {
            sum.blocks[block] += ticks;
            sum.inferred += if inferred { ticks } else { 0.0 };
        });
    }

    fn hide(&mut self, whose: Whose, side: &Side<'_>, (start, end): (i64, i64)) {
        let blocks = self.hidden.entry(whose).or_insert([0.0; BLOCKS]);
        side.grid.each(start, end, |block, ticks| blocks[block] += ticks);
    }

    fn cpu(&mut self, side: &Side<'_>, row: &CpuUse) {
        let what = match row.state {
            CpuStateKind::Guest | CpuStateKind::Hypervisor | CpuStateKind::Host => What::Busy,
            CpuStateKind::Idle => What::Idle,
            CpuStateKind::Lost | CpuStateKind::Unknown => return,
        };
        self.add(Key::new(what, Whose::Cpu(row.cpu)), side, (row.start_tsc, row.end_tsc), false);
    }

    /// What of cpus is neither busy nor idle, whether a row says that it is lost or no row says anything.
    fn hide_rest_of_cpus(&mut self, cpus: &[i32]) {
        for whose in cpus.iter().map(|cpu| Whose::Cpu(*cpu)) {
            let mut blocks = [self.width; BLOCKS];
            for seen in [What::Busy, What::Idle].iter().filter_map(|what| self.sums.get(&Key::new(*what, whose))) {
                blocks.iter_mut().zip(&seen.blocks).for_each(|(hidden, seen)| *hidden = (*hidden - seen).max(0.0));
            }
            self.hidden.insert(whose, blocks);
            self.sums.insert(Key::new(What::Lost, whose), Sum { blocks, inferred: 0.0 });
        }
    }

    fn vcpu(&mut self, side: &Side<'_>, row: &VcpuStretch, pairs: &Pairs) {
        let Some(vm) = pairs.vms.of(self.side, row.vm_id) else { return };
        let time = (row.start_tsc, row.end_tsc);
        let inferred = row.evidence != Evidence::Observed;
        let its = Whose::Vm(vm);
        let vcpu = pairs.vcpus.of(self.side, row.vcpu_id).filter(|_| pairs.has_several(vm));
        let what = match row.state {
            VcpuStateKind::Guest => What::Guest,
            VcpuStateKind::Hypervisor => What::Hypervisor,
            VcpuStateKind::Preempted => What::Preempted,
            VcpuStateKind::Waiting => What::Waiting,
            VcpuStateKind::OffCpu => What::OffCpu,
            VcpuStateKind::Lost | VcpuStateKind::Unknown => {
                self.hide(its, side, time);
                vcpu.into_iter().for_each(|vcpu| self.hide(Whose::Vcpu(vm, vcpu), side, time));
                return;
            }
        };
        self.add(Key::new(what, its), side, time, inferred);
        if let Some(vcpu) = vcpu {
            self.add(Key::new(what, Whose::Vcpu(vm, vcpu)), side, time, inferred);
        }
        if let (What::Preempted, Some(taker)) = (what, row.taken_by) {
            let taker = Some(self.owner(taker, pairs));
            self.add(Key { taker, ..Key::new(What::Stolen, its) }, side, time, inferred);
        }
        let process = row.process_id.and_then(|process| pairs.processes.of(self.side, process));
        if let (What::Guest | What::Hypervisor, Some(_)) = (what, process) {
            self.add(Key { process, ..Key::new(What::Process, its) }, side, time, false);
            if what == What::Hypervisor {
                self.add(Key { process, ..Key::new(What::Root, its) }, side, time, inferred);
            }
        }
    }

    fn owner(&self, taker: Taker, pairs: &Pairs) -> Owner {
        match (taker.kind, taker.id) {
            (TakerKind::Vm, Some(vm)) => match pairs.vms.of(self.side, vm) {
                Some(vm) if pairs.vms.get(vm).presence != Presence::Unmatched => Owner::Vm(vm),
                _ => Owner::Unmatched,
            },
            (TakerKind::Vm, None) => Owner::Unmatched,
            (TakerKind::Host, Some(process)) => {
                pairs.processes.of(self.side, process).map_or(Owner::Kernel, Owner::Host)
            }
            (TakerKind::Host, None) => Owner::Kernel,
        }
    }

    fn exit(&mut self, side: &Side<'_>, row: &ExitCost, ns: f64, pairs: &Pairs) {
        let Some(vm) = pairs.vms.of(self.side, row.vm_id) else { return };
        let block = side.grid.bucket(row.exit_tsc);
        let key = Key::new(What::Exits, Whose::Vm(vm));
        let mut count = |key: Key| {
            let sum = self.sums.entry(key).or_insert_with(|| Sum { blocks: [0.0; BLOCKS], inferred: 0.0 });
            sum.blocks[block] += 1.0;
        };
        count(key);
        if row.reason.is_some() {
            count(Key { reason: row.reason, ..key });
        }
        let process = pairs.processes.of(self.side, row.process_id);
        if process.is_some() {
            count(Key { process, ..key });
        }
        if let Some(reentry) = row.reentry_tsc {
            let took = (reentry - row.exit_tsc).max(0) as f64 * ns;
            // A slot is below 1,024.
            let slot = slot::of(took as u64) as u16;
            self.latencies.entry((vm, slot)).or_insert([0; BLOCKS])[block] += 1;
        }
    }

    /// A quantity as a part of the time that is known of whose it is: ticks in it, or exits a tick.
    pub(super) fn estimate(&self, key: &Key, pairs: &Pairs) -> Option<Estimate> {
        const NOTHING: Blocks = [0.0; BLOCKS];
        let y = self.sums.get(key).map_or(&NOTHING, |sum| &sum.blocks);
        Estimate::ratio(y, &self.known(key, pairs))
    }

    /// Ticks of each block that are known, on average of its vCPUs.
    fn known(&self, key: &Key, pairs: &Pairs) -> Blocks {
        let parts = match key.whose {
            // What is lost of a cpu is known to be.
            Whose::Cpu(_) if key.what == What::Lost => return [self.width; BLOCKS],
            Whose::Vm(vm) => pairs.vcpus_of[vm as usize][self.side].max(1),
            Whose::Cpu(_) | Whose::Vcpu(..) => 1,
        };
        let hidden = self.hidden.get(&key.whose);
        std::array::from_fn(|block| {
            let hidden = hidden.map_or(0.0, |blocks| blocks[block]) / parts as f64;
            // Of less than a thousandth nothing is said.
            Some(self.width - hidden).filter(|known| *known > self.width / 1e3).unwrap_or(0.0)
        })
    }

    /// The least and the most that a share may be, with all that is hidden of whose it is. Off the cpu without a word of why is
    /// waiting or preempted.
    pub(super) fn bounds(&self, key: &Key, pairs: &Pairs) -> [f64; 2] {
        let whole = self.width * BLOCKS as f64;
        let seen: f64 = self.sums.get(key).map_or(0.0, |sum| sum.blocks.iter().sum());
        let of = |whose: &Whose| self.hidden.get(whose).map_or(0.0, |blocks| blocks.iter().sum());
        let absent = |vm: u32| pairs.vms.get(vm).ids[self.side].is_empty();
        let hidden: f64 = match key.whose {
            Whose::Cpu(_) if key.what == What::Lost => 0.0,
            // Who is not seen at all may have been where nothing was.
            Whose::Vm(vm) | Whose::Vcpu(vm, _) if absent(vm) => self.hidden_of_cpus(),
            whose => of(&whose),
        };
        let off_cpu = self.sums.get(&Key::new(What::OffCpu, key.whose)).map_or(0.0, |sum| sum.blocks.iter().sum());
        let [least, most] = match key.what {
            What::OffCpu => [0.0, seen],
            What::Waiting | What::Preempted => [seen, seen + off_cpu],
            _ => [seen, seen],
        };
        [least / whole, (most + hidden) / whole]
    }

    fn hidden_of_cpus(&self) -> f64 {
        let cpus = self.hidden.iter().filter(|(whose, _)| matches!(whose, Whose::Cpu(_)));
        cpus.map(|(_, blocks)| blocks.iter().sum::<f64>()).sum()
    }

    /// Lost or unknown, as a part of all cpus' time.
    pub(super) fn hidden_share(&self, cpus: usize) -> f64 {
        self.hidden_of_cpus() / (self.width * BLOCKS as f64 * cpus.max(1) as f64)
    }

    /// How much of a quantity is inferred.
    pub(super) fn inferred(&self, key: &Key) -> [f64; 2] {
        self.sums.get(key).map_or([0.0; 2], |sum| [sum.inferred, sum.blocks.iter().sum()])
    }

    /// How long a VM's exits took.
    pub(super) fn latencies(&self, vm: u32) -> Latencies {
        let mut slots: Vec<(u16, &[u32; BLOCKS])> = Vec::new();
        for slot in 0..slot::SLOTS as u16 {
            slots.extend(self.latencies.get(&(vm, slot)).map(|blocks| (slot, blocks)));
        }
        let mut of_slot = Vec::new();
        let mut all = [0.0; BLOCKS];
        for (slot, blocks) in slots {
            of_slot.push((slot, blocks.map(f64::from)));
            all.iter_mut().zip(blocks).for_each(|(all, count)| *all += f64::from(*count));
        }
        Latencies { of_slot, all }
    }
}

/// How long exits of a VM took.
pub(super) struct Latencies {
    of_slot: Vec<(u16, Blocks)>,
    all: Blocks,
}

impl Latencies {
    /// How many there are.
    pub(super) fn count(&self) -> f64 {
        self.all.iter().sum()
    }

    /// What has a part `q` of them below it.
    pub(super) fn quantile(&self, q: f64) -> Option<Estimate> {
        let value = self.at(q)?;
        let mut below = [0.0; BLOCKS];
        for (slot, blocks) in &self.of_slot {
            let (begin, width) = slot::begin_and_width(usize::from(*slot));
            // Evenly within a slot.
            let part = if width > 0.0 {
                ((value - begin) / width).clamp(0.0, 1.0)
            } else {
                f64::from(u8::from(value >= begin))
            };
            below.iter_mut().zip(blocks).for_each(|(below, count)| *below += part * count);
        }
        Estimate::quantile(q, &Estimate::ratio(&below, &self.all)?, |q| self.at(q))
    }

    fn at(&self, q: f64) -> Option<f64> {
        let mut left = q.clamp(0.0, 1.0) * self.count();
        for (at, (slot, blocks)) in self.of_slot.iter().enumerate() {
            let count: f64 = blocks.iter().sum();
            if left <= count || at + 1 == self.of_slot.len() {
                let (begin, width) = slot::begin_and_width(usize::from(*slot));
                return Some(begin + width * (left / count).min(1.0));
            }
            left -= count;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_slots() {
        let mut of_slot: std::collections::BTreeMap<u16, Blocks> = std::collections::BTreeMap::new();
        for ticks in 1..=64_000_u64 {
            of_slot.entry(slot::of(ticks) as u16).or_insert([0.0; BLOCKS])[(ticks % 64) as usize] += 1.0;
        }
        let latencies = Latencies { of_slot: of_slot.into_iter().collect(), all: [1000.0; BLOCKS] };
        for q in [0.5, 0.99] {
            let found = latencies.quantile(q).unwrap().value;
            assert!((found / (64_000.0 * q) - 1.0).abs() < 0.01, "{q}: {found}");
        }
        assert_eq!(Latencies { of_slot: Vec::new(), all: [0.0; BLOCKS] }.at(0.5), None);
    }
}
