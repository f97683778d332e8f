//! What a dataset calls observed, against the truth: between a row's inner bounds there is no doubt, and it must hold
//! to the tick.

use std::collections::{BTreeMap, HashMap};

use havana_rows::{CpuState, CpuStateKind as C, Evidence, Exit, VcpuState, VcpuStateKind as V};

use super::compare::Comparison;
use super::rows::Rows;
use super::truth::{Doing, Piece, Truth, page};

/// Basic exit reason (SDM, appendix C).
const HLT: i32 = 12;

/// Which of them overlap a stretch.
fn within(pieces: &[Piece], from: i64, to: i64) -> impl Iterator<Item = usize> {
    let first = pieces.partition_point(|piece| piece.end <= from);
    (first..pieces.len()).take_while(move |at| pieces[*at].start < to).filter(|at| pieces[*at].start < pieces[*at].end)
}

/// A cpu's row says what the cpu does, and who does it. `vmcs`: of each vCPU.
pub(crate) fn does(row: &CpuState, doing: Doing, vmcs: &HashMap<i32, i64>) -> bool {
    let in_space = |cr3: Option<i64>| cr3.is_none_or(|cr3| row.host_cr3.map(page) == Some(cr3));
    match doing {
        Doing::Guest { vmcs: true_vmcs, cr3 } => {
            row.state == C::Guest
                && row.vcpu_id.is_none_or(|id| vmcs[&id] == true_vmcs)
                && row.guest_cr3.map(page) == Some(cr3)
        }
        Doing::Hypervisor { cr3 } => row.state == C::Hypervisor && in_space(cr3),
        Doing::Host { cr3 } => row.state == C::Host && in_space(cr3),
        Doing::Idle => row.state == C::Idle,
    }
}

impl Comparison {
    pub(crate) fn observed(&mut self, rows: &Rows, truth: &Truth) {
        self.observed_cpus(rows, truth);
        self.observed_vcpus(rows, truth);
        self.guest_processes(rows, truth);
        self.exits_tell(rows, truth);
    }

    /// A cpu does what it was seen to do, and a row ends only where it does something else.
    fn observed_cpus(&mut self, rows: &Rows, truth: &Truth) {
        let vmcs: HashMap<i32, i64> = rows.vcpus.iter().map(|v| (v.vcpu_id, v.vmcs)).collect();
        let process: HashMap<i32, i64> = rows.processes.iter().map(|p| (p.process_id, p.cr3)).collect();
        let is = |row: &CpuState, doing: Doing| does(row, doing, &vmcs);
        let mut before: HashMap<i32, CpuState> = HashMap::new();
        for row in &rows.cpu_states {
            let whose = |row: &CpuState| (row.state == C::Guest).then(|| (row.vcpu_id, row.guest_cr3.map(page)));
            let same = |before: CpuState| whose(row).is_some() && whose(&before) == whose(row);
            if before.insert(row.cpu, *row).is_some_and(same) {
                self.wrong.push(format!("two rows of one guest process: {row:x?}"));
            }
            if row.state == C::Guest && row.process_id.map(|id| process[&id]) != row.guest_cr3.map(page) {
                self.wrong.push(format!("of another guest process: {row:x?}"));
            }
            self.idle_inferred += usize::from(row.state == C::Idle && row.evidence == Evidence::Inferred);
            if row.evidence != Evidence::Observed {
                continue;
            }
            let pieces = truth.cpus.get(&row.cpu).map_or(&[][..], |cpu| &cpu.pieces);
            for at in within(pieces, row.start.hi.saturating_add(truth.cut), row.end.lo.saturating_sub(truth.cut)) {
                // That a cpu slept only shows where an MTC is missing; and then it is as if it had not.
                let hidden = match (pieces[at].doing, at.checked_sub(1).map(|before| pieces[before])) {
                    (Doing::Idle, _) if row.state != C::Idle => Some(pieces[at]),
                    (Doing::Host { cr3 }, Some(before @ Piece { doing: Doing::Idle, .. }))
                        if is(row, Doing::Hypervisor { cr3 }) =>
                    {
                        Some(before)
                    }
                    _ => None,
                };
                if let Some(Piece { start, end, .. }) = hidden {
                    self.hidden_sleep = self.hidden_sleep.max(end - start);
                } else if !is(row, pieces[at].doing) {
                    self.wrong.push(format!("not {:x?}: observed {row:x?}", pieces[at]));
                    break;
                }
            }
        }
    }

    /// A vCPU that was seen in its guest was there all the time; one that was seen elsewhere was not.
    fn observed_vcpus(&mut self, rows: &Rows, truth: &Truth) {
        let process: HashMap<i32, i64> = rows.processes.iter().map(|p| (p.process_id, p.cr3)).collect();
        let mut guest: HashMap<i64, Vec<(i32, i64, Piece)>> = HashMap::new();
        for (cpu, was) in &truth.cpus {
            for piece in &was.pieces {
                if let Doing::Guest { vmcs, cr3 } = piece.doing {
                    guest.entry(vmcs).or_default().push((*cpu, cr3, *piece));
                }
            }
        }
        guest.values_mut().for_each(|stretches| stretches.sort_by_key(|(.., piece)| piece.start));
        let vmcs: HashMap<i32, i64> = rows.vcpus.iter().map(|v| (v.vcpu_id, v.vmcs)).collect();
        for row in rows.vcpu_states.iter().filter(|row| row.evidence == Evidence::Observed) {
            // The truth of a cpu may end before its trace does.
            let known_to = row.cpu.and_then(|cpu| truth.cpus.get(&cpu)).map_or(i64::MAX, |cpu| cpu.last);
            let from = row.start.hi.saturating_add(truth.cut);
            let to = row.end.lo.min(known_to).saturating_sub(truth.cut).max(from);
            let stretches = guest.get(&vmcs[&row.vcpu_id]).map_or(&[][..], |stretches| stretches);
            let first = stretches.partition_point(|(.., piece)| piece.end <= from);
            let ticks: i64 = stretches[first..]
                .iter()
                .take_while(|(.., piece)| piece.start < to)
                .filter(|(cpu, cr3, _)| {
                    row.state != V::Guest
                        || row.cpu == Some(*cpu) && row.process_id.is_none_or(|id| process[&id] == *cr3)
                })
                .map(|(.., piece)| piece.end.min(to) - piece.start.max(from))
                .sum();
            let want = if row.state == V::Guest { to - from } else { 0 };
            if ticks != want {
                self.wrong.push(format!("{ticks} ticks in the guest, not {want}: observed {row:x?}"));
            }
        }
    }

    /// Each guest process is one row, by VM and CR3.
    fn guest_processes(&mut self, rows: &Rows, truth: &Truth) {
        // Of each, how often it is told, less one.
        let mut off: BTreeMap<(i64, i64), i32> = BTreeMap::new();
        let host_cr3: HashMap<i32, i64> = rows.vms.iter().map(|vm| (vm.vm_id, vm.host_cr3)).collect();
        for piece in truth.cpus.values().flat_map(|cpu| &cpu.pieces) {
            if let Doing::Guest { vmcs, cr3 } = piece.doing
                && let Some(host_cr3) = truth.host_cr3.get(&vmcs)
            {
                off.insert((*host_cr3, cr3), -1);
            }
        }
        for process in &rows.processes {
            if let Some(vm) = process.vm_id {
                *off.entry((host_cr3[&vm], process.cr3)).or_default() += 1;
            }
        }
        for ((host_cr3, cr3), off) in off.into_iter().filter(|(_, off)| *off != 0) {
            self.wrong.push(format!("guest process {cr3:x} of host CR3 {host_cr3:x}: {} rows", off + 1));
        }
    }

    /// Where an exit says why and where it was, that is so; and a vCPU that halted and left its cpu waits.
    fn exits_tell(&mut self, rows: &Rows, truth: &Truth) {
        let mut of_cpu: HashMap<i32, Vec<&Exit>> = HashMap::new();
        let mut of_vcpu: HashMap<i32, Vec<&Exit>> = HashMap::new();
        for exit in &rows.exits {
            of_cpu.entry(exit.cpu).or_default().push(exit);
            of_vcpu.entry(exit.vcpu_id).or_default().push(exit);
        }
        for (cpu, exits) in &mut of_cpu {
            exits.sort_by_key(|exit| (exit.exit.tsc, exit.exit_id));
            for (got, want) in exits.iter().zip(truth.cpus.get(cpu).map_or(&[][..], |cpu| &cpu.stretches)) {
                self.reasons += usize::from(got.reason.is_some());
                self.guest_ips += usize::from(got.guest_ip.is_some());
                if got.reason.is_some_and(|is| is != want.reason) || got.guest_ip.is_some_and(|is| is != want.guest_ip)
                {
                    let (reason, ip) = (want.reason, want.guest_ip);
                    self.wrong.push(format!("cpu {cpu}: reason {reason} at {ip:x} is told as {got:x?}"));
                }
            }
        }
        of_vcpu.values_mut().for_each(|exits| exits.sort_by_key(|exit| (exit.exit.tsc, exit.exit_id)));
        let off = |row: &&VcpuState| matches!(row.state, V::Preempted | V::OffCpu) && truth.cut == 0;
        for row in rows.vcpu_states.iter().filter(off) {
            let exits = of_vcpu.get(&row.vcpu_id).map_or(&[][..], |exits| exits);
            let left = exits.partition_point(|exit| exit.exit.tsc <= row.start.tsc).checked_sub(1);
            if left.is_some_and(|i| exits[i].reason == Some(HLT)) {
                self.wrong.push(format!("it halted, and does not wait: {row:?}"));
            }
        }
    }
}
