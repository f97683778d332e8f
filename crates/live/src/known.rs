//! Who is who, from window to window.
//!
//! Ids of an analysis mean nothing in the next. What lasts is what the hardware says: a VM is the host CR3 of its VMM (and
//! its process, where that is known: a page table is used again), a vCPU is a VMCS of its VM. Each is given a number when it
//! is first seen, and keeps it, and the name that it had last.

use havana_rows::{Vcpu, Vm};

/// A VM that was in no window for so long is forgotten.
const KEPT: u64 = 60;

/// A vCPU.
#[derive(Debug, Clone)]
pub(crate) struct KnownVcpu {
    pub(crate) vmcs: i64,
    /// Its index where its thread's name says it, else how many of its VM were seen before it.
    pub(crate) number: i32,
    pub(crate) tid: Option<i32>,
    pub(crate) seen: u64,
}

/// A VM.
#[derive(Debug, Clone)]
pub(crate) struct KnownVm {
    pub(crate) number: u32,
    pub(crate) host_cr3: i64,
    pub(crate) pid: Option<i32>,
    pub(crate) name: Option<String>,
    pub(crate) uuid: Option<String>,
    pub(crate) vcpus: Vec<KnownVcpu>,
    seen: u64,
}

/// VMs that were seen, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Known {
    vms: Vec<KnownVm>,
    numbers: u32,
    window: u64,
}

impl Known {
    /// Another window begins: who was not seen for long is forgotten.
    pub(crate) fn begin(&mut self) -> u64 {
        self.window += 1;
        let oldest = self.window.saturating_sub(KEPT);
        self.vms.retain(|vm| vm.seen >= oldest);
        for vm in &mut self.vms {
            vm.vcpus.retain(|vcpu| vcpu.seen >= oldest);
        }
        self.window
    }

    /// The VM of a row: its number.
    pub(crate) fn vm(&mut self, row: &Vm) -> u32 {
        let window = self.window;
        let same = |vm: &&mut KnownVm| {
            vm.host_cr3 == row.host_cr3 && vm.pid.zip(row.pid).is_none_or(|(known, told)| known == told)
        };
        if let Some(vm) = self.vms.iter_mut().find(same) {
            vm.pid = row.pid.or(vm.pid);
            vm.name = row.name.clone().or_else(|| vm.name.take());
            vm.uuid = row.uuid.clone().or_else(|| vm.uuid.take());
            vm.seen = window;
            return vm.number;
        }
        let number = self.numbers;
        self.numbers += 1;
        self.vms.push(KnownVm {
            number,
            host_cr3: row.host_cr3,
            pid: row.pid,
            name: row.name.clone(),
            uuid: row.uuid.clone(),
            vcpus: Vec::new(),
            seen: window,
        });
        number
    }

    /// The vCPU of a row, of the VM of that number: its own.
    pub(crate) fn vcpu(&mut self, vm: u32, row: &Vcpu) -> i32 {
        let window = self.window;
        let Some(vm) = self.vms.iter_mut().find(|known| known.number == vm) else { return 0 };
        if let Some(vcpu) = vm.vcpus.iter_mut().find(|vcpu| vcpu.vmcs == row.vmcs) {
            vcpu.number = row.index.unwrap_or(vcpu.number);
            vcpu.tid = row.tid.or(vcpu.tid);
            vcpu.seen = window;
            return vcpu.number;
        }
        let free = (0..).find(|n| vm.vcpus.iter().all(|vcpu| vcpu.number != *n)).unwrap_or(0);
        let number = row.index.unwrap_or(free);
        vm.vcpus.push(KnownVcpu { vmcs: row.vmcs, number, tid: row.tid, seen: window });
        number
    }

    pub(crate) fn vms(&self) -> &[KnownVm] {
        &self.vms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(host_cr3: i64, pid: Option<i32>, name: Option<&str>) -> Vm {
        Vm {
            vm_id: 0,
            host_cr3,
            first_tsc: 0,
            last_tsc: 0,
            tsc_offset: None,
            tsc_scale: None,
            name: name.map(Into::into),
            uuid: None,
            pid,
        }
    }

    fn vcpu(vmcs: i64, index: Option<i32>) -> Vcpu {
        Vcpu {
            vcpu_id: 0,
            vm_id: 0,
            vmcs,
            first_tsc: 0,
            last_tsc: 0,
            guest_lo_tsc: 0,
            guest_hi_tsc: 0,
            index,
            tid: None,
            name: None,
        }
    }

    #[test]
    fn numbers_stay() {
        let mut known = Known::default();
        known.begin();
        assert_eq!([vm(0x1000, None, None), vm(0x3000, Some(7), Some("a"))].map(|row| known.vm(&row)), [0, 1]);
        assert_eq!([vcpu(0x10, None), vcpu(0x20, Some(0)), vcpu(0x30, None)].map(|row| known.vcpu(0, &row)), [0, 0, 1]);
        known.begin();
        // In another order, with other ids; and what was not known before is.
        assert_eq!([vm(0x3000, None, None), vm(0x1000, Some(6), Some("b"))].map(|row| known.vm(&row)), [1, 0]);
        assert_eq!([vcpu(0x30, None), vcpu(0x10, Some(5))].map(|row| known.vcpu(0, &row)), [1, 5]);
        let names: Vec<_> = known.vms().iter().map(|vm| (vm.name.as_deref(), vm.pid)).collect();
        assert_eq!(names, [(Some("b"), Some(6)), (Some("a"), Some(7))]);
        // Another process has this page table now.
        assert_eq!(known.vm(&vm(0x1000, Some(8), None)), 2);
    }

    #[test]
    fn who_is_gone_is_forgotten_and_its_number_is_not_given_again() {
        let mut known = Known::default();
        known.begin();
        known.vm(&vm(0x1000, None, None));
        for _ in 0..=KEPT {
            known.begin();
        }
        assert!(known.vms().is_empty());
        assert_eq!(known.vm(&vm(0x1000, None, None)), 1);
    }
}
