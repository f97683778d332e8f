//! The rows of a dataset, in memory.

use std::convert::Infallible;

use havana_rows::{CpuState, Exit, Loss, Process, Sink, Thread, Vcpu, VcpuState, Vm, VmOffset};
use havana_store::{Dataset, StoreError};
use havana_timeline::{Analysis, Survey};
use havana_trace::Trace;

/// The tables that are compared.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) cpu_states: Vec<CpuState>,
    pub(crate) vcpu_states: Vec<VcpuState>,
    pub(crate) exits: Vec<Exit>,
    pub(crate) vms: Vec<Vm>,
    pub(crate) vm_offsets: Vec<VmOffset>,
    pub(crate) vcpus: Vec<Vcpu>,
    pub(crate) processes: Vec<Process>,
    pub(crate) losses: Vec<Loss>,
}

impl Rows {
    /// What an analysis tells of a trace.
    pub(crate) fn of(trace: &Trace) -> Rows {
        let mut rows = Rows::default();
        let Ok(_) = Analysis::new(trace, &Survey::of(trace), None).run(&mut rows, &mut |_| {});
        rows
    }

    pub(crate) fn read(dataset: &Dataset) -> Rows {
        fn all<T>(rows: impl Iterator<Item = Result<T, StoreError>>) -> Vec<T> {
            rows.map(Result::unwrap).collect()
        }
        Rows {
            cpu_states: all(dataset.cpu_states().unwrap()),
            vcpu_states: all(dataset.vcpu_states().unwrap()),
            exits: all(dataset.exits().unwrap()),
            vms: dataset.vms().unwrap(),
            vm_offsets: dataset.vm_offsets().unwrap(),
            vcpus: dataset.vcpus().unwrap(),
            processes: dataset.processes().unwrap(),
            losses: all(dataset.losses().unwrap()),
        }
    }
}

impl Sink for Rows {
    type Error = Infallible;

    fn cpu_state(&mut self, row: CpuState) -> Result<(), Infallible> {
        self.cpu_states.push(row);
        Ok(())
    }

    fn vcpu_state(&mut self, row: VcpuState) -> Result<(), Infallible> {
        self.vcpu_states.push(row);
        Ok(())
    }

    fn exit(&mut self, row: Exit) -> Result<(), Infallible> {
        self.exits.push(row);
        Ok(())
    }

    fn loss(&mut self, row: Loss) -> Result<(), Infallible> {
        self.losses.push(row);
        Ok(())
    }

    fn vm(&mut self, row: Vm) -> Result<(), Infallible> {
        self.vms.push(row);
        Ok(())
    }

    fn vm_offset(&mut self, row: VmOffset) -> Result<(), Infallible> {
        self.vm_offsets.push(row);
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

    fn thread(&mut self, _: Thread) -> Result<(), Infallible> {
        Ok(())
    }
}
