//! What VMs, vCPUs and processes are called: as the report calls them; redacted, by their ids alone.

use havana_rows::{Finding, Process, Vcpu, Vm, numbers};
use havana_store::StoreError;
use rustc_hash::FxHashMap;

use crate::Selection;

/// Who is in a part of a dataset, and what they are called.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// By the time they were first seen.
    pub(crate) vms: Vec<Vm>,
    pub(crate) vcpus: Vec<Vcpu>,
    pub(crate) processes: Vec<Process>,
    pub(crate) node: String,
    vm_names: FxHashMap<i32, String>,
    vcpu_names: FxHashMap<i32, String>,
    process_names: FxHashMap<i32, String>,
    redact: bool,
}

impl Names {
    pub(crate) fn read(selection: &Selection<'_>) -> Result<Names, StoreError> {
        let dataset = selection.dataset;
        let redact = selection.redact;
        let shown = |name: &Option<String>| name.clone().filter(|_| !redact);
        let mut names = Names {
            node: if redact { "redacted".into() } else { dataset.manifest().node.clone() },
            redact,
            ..Names::default()
        };
        for vm in dataset.vms()?.into_iter().filter(|vm| selection.has_vm(vm.vm_id)) {
            names.vm_names.insert(vm.vm_id, shown(&vm.name).unwrap_or_else(|| format!("vm {}", vm.vm_id)));
            names.vms.push(vm);
        }
        names.vcpus = dataset.vcpus()?.into_iter().filter(|vcpu| selection.has_vm(vcpu.vm_id)).collect();
        for (id, number) in numbers(&names.vcpus) {
            names.vcpu_names.insert(id, format!("vCPU {number}"));
        }
        for process in dataset.processes()?.into_iter().filter(|process| selection.has_process(process)) {
            let by_address = || match redact {
                true => format!("process {}", process.process_id),
                false => format!("CR3 {:#x}", process.cr3),
            };
            names.process_names.insert(process.process_id, shown(&process.name).unwrap_or_else(by_address));
            names.processes.push(process);
        }
        Ok(names)
    }

    /// `web-2`, else `vm 2`.
    pub(crate) fn vm(&self, id: i32) -> String {
        self.vm_names.get(&id).cloned().unwrap_or_else(|| format!("vm {id}"))
    }

    /// `vCPU 1`, of its VM.
    pub(crate) fn vcpu(&self, id: i32) -> String {
        self.vcpu_names.get(&id).cloned().unwrap_or_else(|| format!("vCPU {id}"))
    }

    /// `nginx`, else `CR3 0x5494000`.
    pub(crate) fn process(&self, id: i32) -> String {
        self.process_names.get(&id).cloned().unwrap_or_else(|| format!("process {id}"))
    }

    /// What was found. Titles name VMs and processes: redacted it is the kind, and ids.
    pub(crate) fn finding(&self, finding: &Finding) -> String {
        if !self.redact {
            return finding.title.clone();
        }
        let who = [("vm", finding.vm_id), ("vCPU", finding.vcpu_id), ("process", finding.process_id)];
        let who = who.iter().filter_map(|(what, id)| Some(format!(" {what} {}", (*id)?)));
        format!("{}:{}", finding.kind.name(), who.collect::<String>())
    }

    /// The file that lost trace: its name may be a host's.
    pub(crate) fn source<'a>(&self, source: &'a str) -> &'a str {
        if self.redact { "" } else { source }
    }
}
