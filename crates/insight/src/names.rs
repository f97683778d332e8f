//! What VMs, processes and times are called in a title.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use havana_rows::{Process, Taker, TakerKind, Vcpu, Vm, numbers};
use havana_store::{Dataset, StoreError};

use crate::words::{self, Rate, rate_of};

/// Names of a dataset, by their ids.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) vms: HashMap<i32, Vm>,
    pub(crate) vcpus: HashMap<i32, Vcpu>,
    /// Of vCPUs, each in its VM.
    numbers: BTreeMap<i32, i32>,
    pub(crate) processes: HashMap<i32, Process>,
    /// Those that are only a guest's kernel.
    pub(crate) kernels: BTreeSet<i32>,
    rate: Rate,
    /// What titles count from.
    first_tsc: i64,
}

impl Names {
    pub(crate) fn read(dataset: &Dataset) -> Result<Names, StoreError> {
        let manifest = dataset.manifest();
        let vcpus = dataset.vcpus()?;
        Ok(Names {
            numbers: numbers(&vcpus),
            vms: dataset.vms()?.into_iter().map(|vm| (vm.vm_id, vm)).collect(),
            vcpus: vcpus.into_iter().map(|vcpu| (vcpu.vcpu_id, vcpu)).collect(),
            processes: dataset.processes()?.into_iter().map(|process| (process.process_id, process)).collect(),
            kernels: BTreeSet::new(),
            rate: rate_of(&manifest.clock),
            first_tsc: manifest.first_tsc.unwrap_or(0),
        })
    }

    /// `VM web-2`.
    pub(crate) fn vm(&self, vm: i32) -> String {
        let name = self.vms.get(&vm).and_then(|vm| vm.name.as_deref());
        format!("VM {}", name.map_or_else(|| vm.to_string(), ToString::to_string))
    }

    /// `VM web-2 vCPU 1`; only the VM where it has one vCPU.
    pub(crate) fn vcpu(&self, vcpu: i32) -> String {
        let Some(row) = self.vcpus.get(&vcpu) else { return format!("vCPU {vcpu}") };
        let vm = self.vm(row.vm_id);
        if self.vcpus.values().filter(|other| other.vm_id == row.vm_id).count() == 1 {
            return vm;
        }
        format!("{vm} vCPU {}", self.numbers[&vcpu])
    }

    /// `process 0x5494000`.
    pub(crate) fn process(&self, process: i32) -> String {
        match self.processes.get(&process) {
            Some(Process { name: Some(name), .. }) => format!("process {name}"),
            Some(row) if self.kernels.contains(&process) => format!("the guest's kernel ({:#x})", row.cr3),
            Some(row) => format!("process {:#x}", row.cr3),
            None => format!("process {process}"),
        }
    }

    /// `VM web-2: process 0x5494000`.
    pub(crate) fn process_of(&self, vm: i32, process: i32) -> String {
        format!("{}: {}", self.vm(vm), self.process(process))
    }

    /// Who took a cpu.
    pub(crate) fn culprit(&self, taker: Taker, process: Option<i32>) -> String {
        match (taker.kind, taker.id, process) {
            (TakerKind::Vm, Some(vm), Some(process)) => format!("{} of {}", self.process(process), self.vm(vm)),
            (TakerKind::Vm, Some(vm), None) => self.vm(vm),
            (TakerKind::Vm, None, _) => "a VM".into(),
            (TakerKind::Host, Some(process), _) => format!("the host's {}", self.process(process)),
            (TakerKind::Host, None, _) => "the host's kernel".into(),
        }
    }

    /// A length of time: `3.1 s`.
    pub(crate) fn length(&self, ticks: f64) -> String {
        self.rate.span(ticks)
    }

    /// A moment: since the first event.
    pub(crate) fn moment(&self, tsc: i64) -> String {
        self.length((tsc - self.first_tsc) as f64)
    }

    /// How often, where a rate is known: `31,204 times a second`.
    pub(crate) fn often(&self, count: f64, ticks: f64) -> String {
        match self.rate.ns(ticks.max(1.0)) {
            Some(ns) => format!("{} times a second", words::count((count * 1e9 / ns).round() as u64)),
            None => format!("{} times", words::count(count as u64)),
        }
    }

    /// `91 %`.
    pub(crate) fn percent(&self, share: f64) -> String {
        let percent = share * 100.0;
        if percent >= 9.95 { format!("{percent:.0} %") } else { format!("{percent:.1} %") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_called_so_unless_it_has_a_name() {
        let row = |process_id, name: Option<&str>| Process {
            process_id,
            vm_id: Some(0),
            cr3: 0x540_4000,
            first_tsc: 0,
            last_tsc: 9,
            evidence: havana_rows::Evidence::Observed,
            name: name.map(ToString::to_string),
        };
        let rows = [row(1, None), row(2, None), row(3, Some("init"))];
        let processes = rows.into_iter().map(|row| (row.process_id, row)).collect();
        let names = Names { processes, kernels: [1, 3].into(), ..Names::default() };
        let said = [1, 2, 3].map(|process| names.process(process));
        assert_eq!(said, ["the guest's kernel (0x5404000)", "process 0x5404000", "process init"]);
    }
}
