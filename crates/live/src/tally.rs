//! How long was who in which state: a sink that sums rows up, each cut at the ends of its window.
//!
//! Ids are those of one analysis, and mean nothing outside it: [`known`](crate::known) says who is who.

use std::collections::BTreeMap;
use std::convert::Infallible;

use havana_rows::{
    CpuState, CpuStateKind, Evidence, Exit, Loss, LossCause, Process, Sink, Taker, Thread, Time, Vcpu, VcpuState,
    VcpuStateKind, Vm, VmOffset,
};

/// Ticks by state of a cpu.
pub(crate) type CpuTicks = [i64; CpuStateKind::ALL.len()];
/// Ticks by state of a vCPU.
pub(crate) type VcpuTicks = [i64; VcpuStateKind::ALL.len()];

/// Who took a cpu; of one without an id, its thread.
pub(crate) type TakenBy = (Taker, Option<i32>);

/// What a vCPU did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VcpuSum {
    pub(crate) ticks: VcpuTicks,
    /// And how much of it is observed.
    pub(crate) observed: VcpuTicks,
    pub(crate) exits: u64,
    /// Who had its cpu while it was preempted.
    pub(crate) taken: BTreeMap<TakenBy, i64>,
}

/// What the cpus did for a VM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VmSum {
    pub(crate) guest: i64,
    pub(crate) hypervisor: i64,
    /// Exits by their basic reason, where the trace says it.
    pub(crate) reasons: BTreeMap<Option<i32>, u64>,
}

/// Trace that was lost for a cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LossSum {
    pub(crate) count: u64,
    pub(crate) ticks: i64,
}

/// The sums of a window, and the small tables of its analysis.
#[derive(Debug)]
pub struct Tally {
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) cpus: BTreeMap<i32, CpuTicks>,
    pub(crate) vm_sums: BTreeMap<i32, VmSum>,
    pub(crate) vcpu_sums: BTreeMap<i32, VcpuSum>,
    /// Ticks of guest processes in their guests.
    pub(crate) process_sums: BTreeMap<i32, i64>,
    /// Ticks in guests of which no VM is known.
    pub(crate) nameless: i64,
    pub(crate) losses: BTreeMap<LossCause, LossSum>,
    pub(crate) vms: Vec<Vm>,
    pub(crate) vcpus: Vec<Vcpu>,
    pub(crate) processes: Vec<Process>,
    /// Of threads that have one: what they are called.
    pub(crate) threads: BTreeMap<i32, String>,
}

impl Tally {
    /// Of what lies from one moment to another, host TSC; the other not counted.
    pub fn new(from: i64, to: i64) -> Tally {
        Tally {
            from,
            to,
            cpus: BTreeMap::new(),
            vm_sums: BTreeMap::new(),
            vcpu_sums: BTreeMap::new(),
            process_sums: BTreeMap::new(),
            nameless: 0,
            losses: BTreeMap::new(),
            vms: Vec::new(),
            vcpus: Vec::new(),
            processes: Vec::new(),
            threads: BTreeMap::new(),
        }
    }

    /// Ticks of it that count.
    fn within(&self, start: i64, end: i64) -> i64 {
        (end.min(self.to) - start.max(self.from)).max(0)
    }

    fn ticks(&self, start: Time, end: Time) -> i64 {
        self.within(start.tsc, end.tsc)
    }
}

impl Sink for Tally {
    type Error = Infallible;

    fn cpu_state(&mut self, row: CpuState) -> Result<(), Infallible> {
        let ticks = self.ticks(row.start, row.end);
        if ticks == 0 {
            return Ok(());
        }
        self.cpus.entry(row.cpu).or_default()[row.state as usize] += ticks;
        match (row.state, row.vm_id) {
            (CpuStateKind::Guest, Some(vm)) => {
                self.vm_sums.entry(vm).or_default().guest += ticks;
                if let Some(process) = row.process_id {
                    *self.process_sums.entry(process).or_default() += ticks;
                }
            }
            (CpuStateKind::Guest, None) => self.nameless += ticks,
            (CpuStateKind::Hypervisor, Some(vm)) => self.vm_sums.entry(vm).or_default().hypervisor += ticks,
            _ => {}
        }
        Ok(())
    }

    fn vcpu_state(&mut self, row: VcpuState) -> Result<(), Infallible> {
        let ticks = self.ticks(row.start, row.end);
        if ticks == 0 {
            return Ok(());
        }
        let sum = self.vcpu_sums.entry(row.vcpu_id).or_default();
        sum.ticks[row.state as usize] += ticks;
        if row.evidence == Evidence::Observed {
            sum.observed[row.state as usize] += ticks;
        }
        if let (VcpuStateKind::Preempted, Some(taker)) = (row.state, row.taken_by) {
            let tid = row.taken_by_tid.filter(|_| taker.id.is_none());
            *sum.taken.entry((taker, tid)).or_default() += ticks;
        }
        Ok(())
    }

    fn exit(&mut self, row: Exit) -> Result<(), Infallible> {
        if (self.from..self.to).contains(&row.exit.tsc) {
            self.vcpu_sums.entry(row.vcpu_id).or_default().exits += 1;
            *self.vm_sums.entry(row.vm_id).or_default().reasons.entry(row.reason).or_default() += 1;
        }
        Ok(())
    }

    fn loss(&mut self, row: Loss) -> Result<(), Infallible> {
        // One of no length is at the moment at which it begins.
        if row.start_tsc < self.to
            && row.end_tsc >= self.from
            && (row.end_tsc > self.from || row.start_tsc >= self.from)
        {
            let ticks = self.within(row.start_tsc, row.end_tsc);
            let sum = self.losses.entry(row.cause).or_default();
            sum.count += 1;
            sum.ticks += ticks;
        }
        Ok(())
    }

    fn vm(&mut self, row: Vm) -> Result<(), Infallible> {
        self.vms.push(row);
        Ok(())
    }

    fn vm_offset(&mut self, _: VmOffset) -> Result<(), Infallible> {
        Ok(())
    }

    fn vcpu(&mut self, row: Vcpu) -> Result<(), Infallible> {
        self.vcpus.push(row);
        Ok(())
    }

    fn process(&mut self, row: Process) -> Result<(), Infallible> {
        self.processes.push(row);
        Ok(())
    }

    fn thread(&mut self, row: Thread) -> Result<(), Infallible> {
        self.threads.extend(row.name.map(|name| (row.tid, name)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use havana_rows::TakerKind;

    use super::*;

    fn cpu_state(state: CpuStateKind, start: i64, end: i64, vm: Option<i32>, process: Option<i32>) -> CpuState {
        CpuState {
            cpu: 3,
            start: Time::exact(start),
            end: Time::exact(end),
            state,
            evidence: Evidence::Observed,
            vm_id: vm,
            vcpu_id: vm,
            process_id: process,
            host_cr3: None,
            guest_cr3: None,
            tid: None,
        }
    }

    #[test]
    fn rows_are_cut_at_the_window() {
        let mut tally = Tally::new(100, 200);
        let rows = [
            cpu_state(CpuStateKind::Host, 0, 100, None, None),
            cpu_state(CpuStateKind::Guest, 90, 130, Some(1), Some(5)),
            cpu_state(CpuStateKind::Hypervisor, 130, 131, Some(1), Some(6)),
            cpu_state(CpuStateKind::Guest, 131, 150, None, None),
            cpu_state(CpuStateKind::Lost, 150, 900, None, None),
            cpu_state(CpuStateKind::Idle, 900, 950, None, None),
        ];
        for row in rows {
            let Ok(()) = tally.cpu_state(row);
        }
        let ticks = |state: CpuStateKind| tally.cpus[&3][state as usize];
        assert_eq!(CpuStateKind::ALL.iter().map(|s| ticks(*s)).collect::<Vec<_>>(), [49, 1, 0, 0, 50, 0]);
        assert_eq!(tally.vm_sums[&1], VmSum { guest: 30, hypervisor: 1, reasons: BTreeMap::new() });
        assert_eq!((tally.process_sums, tally.nameless), (BTreeMap::from([(5, 30)]), 19));
    }

    #[test]
    fn who_took_whose_time() {
        let mut tally = Tally::new(100, 200);
        let row = |state, start, end, by: Option<(TakerKind, Option<i32>)>, tid| VcpuState {
            vcpu_id: 2,
            vm_id: 1,
            start: Time::exact(start),
            end: Time::exact(end),
            state,
            evidence: if start < 150 { Evidence::Observed } else { Evidence::Inferred },
            cpu: Some(3),
            process_id: None,
            taken_by: by.map(|(kind, id)| Taker { kind, id }),
            taken_by_tid: tid,
        };
        use VcpuStateKind::{OffCpu, Preempted};
        let rows = [
            row(Preempted, 50, 110, Some((TakerKind::Vm, Some(0))), Some(77)),
            row(Preempted, 150, 170, Some((TakerKind::Vm, Some(0))), Some(78)),
            row(Preempted, 170, 175, Some((TakerKind::Host, None)), Some(9)),
            row(OffCpu, 175, 180, Some((TakerKind::Host, None)), Some(9)),
            row(Preempted, 180, 300, None, None),
        ];
        for row in rows {
            let Ok(()) = tally.vcpu_state(row);
        }
        let sum = &tally.vcpu_sums[&2];
        assert_eq!((sum.ticks[Preempted as usize], sum.observed[Preempted as usize]), (55, 10));
        let vm = (Taker { kind: TakerKind::Vm, id: Some(0) }, None);
        let thread = (Taker { kind: TakerKind::Host, id: None }, Some(9));
        assert_eq!(sum.taken, BTreeMap::from([(vm, 30), (thread, 5)]));
    }

    #[test]
    fn an_exit_is_in_one_window() {
        let exit = |at| Exit {
            exit_id: 0,
            vcpu_id: 2,
            vm_id: 1,
            cpu: 3,
            entry: None,
            exit: Time { tsc: at, lo: at - 50, hi: at + 50 },
            reentry: None,
            reentry_cpu: None,
            reentry_vector: None,
            guest_cr3: 0,
            process_id: 5,
            reason: (at == 150).then_some(12),
            reason_evidence: None,
            guest_ip: None,
            evidence: Evidence::Observed,
        };
        let mut tally = Tally::new(100, 200);
        for at in [99, 100, 150, 199, 200] {
            let Ok(()) = tally.exit(exit(at));
        }
        assert_eq!(tally.vcpu_sums[&2].exits, 3);
        assert_eq!(tally.vm_sums[&1].reasons, BTreeMap::from([(None, 2), (Some(12), 1)]));
    }

    #[test]
    fn a_loss_of_no_length_counts_once() {
        let loss = |start_tsc, end_tsc| Loss {
            cpu: 3,
            start_tsc,
            end_tsc,
            cause: LossCause::Damaged,
            source: String::new(),
            offset_bytes: 0,
            bytes: 1,
        };
        let counts = |from, to| {
            let mut tally = Tally::new(from, to);
            for (start, end) in [(100, 100), (50, 150), (20, 100)] {
                let Ok(()) = tally.loss(loss(start, end));
            }
            tally.losses.get(&LossCause::Damaged).map_or((0, 0), |sum| (sum.count, sum.ticks))
        };
        assert_eq!([counts(0, 100), counts(100, 200), counts(200, 300)], [(2, 130), (2, 50), (0, 0)]);
    }
}
