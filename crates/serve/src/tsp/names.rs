//! What VMs, vCPUs and processes are called, as the page calls them.

use rustc_hash::FxHashMap;

use havana_rows::{Taker, TakerKind, numbers};

use crate::view::{Key, Opened};

/// Names by id.
#[derive(Debug, Default)]
pub(super) struct Names {
    vms: FxHashMap<i32, String>,
    vcpus: FxHashMap<i32, String>,
    processes: FxHashMap<i32, String>,
}

impl Names {
    pub(super) fn of(opened: &Opened) -> Names {
        let vms = opened.vms.iter().filter_map(|vm| Some((vm.vm_id, vm.name.clone()?)));
        let numbers = numbers(&opened.vcpus);
        let vcpus = opened.vcpus.iter().map(|vcpu| {
            let number = || format!("vCPU {}", numbers[&vcpu.vcpu_id]);
            (vcpu.vcpu_id, vcpu.name.clone().unwrap_or_else(number))
        });
        let processes = opened
            .processes
            .iter()
            .map(|process| (process.process_id, process.name.clone().unwrap_or_else(|| format!("{:#x}", process.cr3))));
        Names { vms: vms.collect(), vcpus: vcpus.collect(), processes: processes.collect() }
    }

    pub(super) fn vm(&self, id: i32) -> String {
        if id == Key::SEVERAL {
            return "several VMs".into();
        }
        self.vms.get(&id).cloned().unwrap_or_else(|| format!("VM {id}"))
    }

    pub(super) fn vcpu(&self, id: i32) -> String {
        self.vcpus.get(&id).cloned().unwrap_or_else(|| format!("vCPU {id}"))
    }

    pub(super) fn process(&self, id: i32) -> String {
        self.processes.get(&id).cloned().unwrap_or_else(|| format!("process {id}"))
    }

    pub(super) fn taker(&self, by: Taker) -> String {
        match (by.kind, by.id) {
            (TakerKind::Vm, id) => self.vm(id.unwrap_or(Key::SEVERAL)),
            (TakerKind::Host, Some(id)) => format!("host ({})", self.process(id)),
            (TakerKind::Host, None) => "the host".into(),
        }
    }
}
