//! A part of a trace: a sink before the sink, which keeps the rows of some time and some VMs.

use havana_rows::{CpuState, Exit, Loss, Process, Sink, Thread, Time, Vcpu, VcpuState, Vm, VmOffset};

/// What to keep. The default keeps all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keep {
    /// Host TSC, from and (exclusive) to.
    pub(crate) window: Option<(i64, i64)>,
    /// `vm_id`s; none: all. What the cpus did is kept whole, so that who took a VM's time stays in it.
    pub(crate) vms: Vec<i32>,
}

/// Hands on the rows of a part. Intervals are cut at its ends, and the cut is exact.
pub(crate) struct Parted<'a, S> {
    keep: Keep,
    sink: &'a mut S,
    /// A cpu was seen in the time asked for.
    any_time: bool,
    /// The VMs there are.
    vms: Vec<i32>,
}

impl<'a, S: Sink> Parted<'a, S> {
    pub(crate) fn new(keep: Keep, sink: &'a mut S) -> Self {
        Parted { keep, sink, any_time: false, vms: Vec::new() }
    }

    /// Whether there was what was asked for, once all rows are told.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if !self.any_time {
            anyhow::bail!("the trace has nothing between --from and --to");
        }
        if let Some(missing) = self.keep.vms.iter().find(|vm| !self.vms.contains(vm)) {
            anyhow::bail!("the trace has no VM {missing}; it has {:?}", self.vms);
        }
        Ok(())
    }

    /// Cuts an interval; false where nothing is left of it.
    fn cut(&self, start: &mut Time, end: &mut Time) -> bool {
        let Some((from, to)) = self.keep.window else { return true };
        if end.tsc <= from || start.tsc >= to {
            return false;
        }
        if start.tsc < from {
            *start = Time::exact(from);
        }
        if end.tsc > to {
            *end = Time::exact(to);
        }
        true
    }

    fn in_time(&self, tsc: i64) -> bool {
        self.keep.window.is_none_or(|(from, to)| (from..to).contains(&tsc))
    }

    fn in_vms(&self, vm_id: i32) -> bool {
        self.keep.vms.is_empty() || self.keep.vms.contains(&vm_id)
    }

    fn overlaps(&self, first: i64, last: i64) -> bool {
        self.keep.window.is_none_or(|(from, to)| first < to && last >= from)
    }
}

impl<S: Sink> Sink for Parted<'_, S> {
    type Error = S::Error;

    fn cpu_state(&mut self, mut row: CpuState) -> Result<(), S::Error> {
        if !self.cut(&mut row.start, &mut row.end) {
            return Ok(());
        }
        self.any_time = true;
        self.sink.cpu_state(row)
    }

    fn vcpu_state(&mut self, mut row: VcpuState) -> Result<(), S::Error> {
        let keep = self.in_vms(row.vm_id) && self.cut(&mut row.start, &mut row.end);
        if keep { self.sink.vcpu_state(row) } else { Ok(()) }
    }

    fn exit(&mut self, row: Exit) -> Result<(), S::Error> {
        if self.in_vms(row.vm_id) && self.in_time(row.exit.tsc) { self.sink.exit(row) } else { Ok(()) }
    }

    fn loss(&mut self, row: Loss) -> Result<(), S::Error> {
        if self.overlaps(row.start_tsc, row.end_tsc) { self.sink.loss(row) } else { Ok(()) }
    }

    fn vm(&mut self, row: Vm) -> Result<(), S::Error> {
        self.vms.push(row.vm_id);
        let keep = self.in_vms(row.vm_id) && self.overlaps(row.first_tsc, row.last_tsc);
        if keep { self.sink.vm(row) } else { Ok(()) }
    }

    fn vm_offset(&mut self, row: VmOffset) -> Result<(), S::Error> {
        let keep = self.in_vms(row.vm_id) && self.overlaps(row.start_tsc, row.end_tsc);
        if keep { self.sink.vm_offset(row) } else { Ok(()) }
    }

    fn vcpu(&mut self, row: Vcpu) -> Result<(), S::Error> {
        let keep = self.in_vms(row.vm_id) && self.overlaps(row.first_tsc, row.last_tsc);
        if keep { self.sink.vcpu(row) } else { Ok(()) }
    }

    fn process(&mut self, row: Process) -> Result<(), S::Error> {
        let mine = row.vm_id.is_none_or(|vm| self.in_vms(vm));
        if mine && self.overlaps(row.first_tsc, row.last_tsc) { self.sink.process(row) } else { Ok(()) }
    }

    fn thread(&mut self, row: Thread) -> Result<(), S::Error> {
        if self.overlaps(row.first_tsc, row.last_tsc) { self.sink.thread(row) } else { Ok(()) }
    }
}
