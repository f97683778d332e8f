//! What of KVM hides guests from the trace (Linux `arch/x86/kvm/vmx/vmx.c`; SDM, "Tracing post-VMXON").

use std::os::unix::fs::FileExt;

use super::{Check, Look, Subject, Verdict};
use crate::Host;
use crate::before::Inventory;
use crate::settings::hides_vms;

const SUBJECT: Subject = Subject::Kvm;
/// `IA32_VMX_MISC`; its bit 14: Intel PT can be used in VMX operation.
const VMX_MISC: u64 = 0x485;
const PT_IN_VMX: u32 = 14;

pub(super) fn checks(look: &Look<'_>) -> Vec<Check> {
    let mut checks = module(look.host);
    checks.push(vmx_misc(look));
    checks.push(guests(look.host));
    checks
}

/// The module and its parameters.
fn module(host: &Host) -> Vec<Check> {
    let lacks = hides_vms(host);
    let lack = |of| lacks.iter().find(|lack| lack.of == of).map(|lack| &lack.says);
    if let Some(says) = lack("kvm_intel") {
        let amd = host.path("/sys/module/kvm_amd").exists();
        let found = if amd { format!("{says}; kvm_amd is, and AMD hosts are not supported") } else { says.clone() };
        return vec![Check::new(SUBJECT, "kvm_intel", Verdict::Note, found)];
    }
    let pt_mode = match lack("pt_mode") {
        Some(says) => {
            let (found, to_do) = says.split_once("; ").unwrap_or((says, ""));
            Check::new(SUBJECT, "pt_mode", Verdict::NotOk, found).advise(to_do)
        }
        None => {
            let found = host.line("/sys/module/kvm_intel/parameters/pt_mode");
            let found = found
                .map_or("no such parameter: guests are in the host's trace", |_| "0: guests are in the host's trace");
            Check::new(SUBJECT, "pt_mode", Verdict::Ok, found)
        }
    };
    let nested = if host.nested() == Some(true) {
        let found = "on: guests may have guests of their own, which are not supported";
        Check::new(SUBJECT, "nested", Verdict::Note, found)
    } else {
        Check::new(SUBJECT, "nested", Verdict::Ok, "off: no guest has guests of its own")
    };
    vec![Check::new(SUBJECT, "kvm_intel", Verdict::Ok, "loaded"), pt_mode, nested]
}

/// The register, as the module `msr` gives it: a file whose places are registers.
fn read_vmx_misc(host: &Host, cpu: u32) -> Option<u64> {
    let mut bytes = [0; 8];
    host.open(&format!("/dev/cpu/{cpu}/msr")).ok()?.read_exact_at(&mut bytes, VMX_MISC).ok()?;
    Some(u64::from_le_bytes(bytes))
}

fn vmx_misc(look: &Look<'_>) -> Check {
    const NAME: &str = "IA32_VMX_MISC[14]";
    if look.processor.vendor != "GenuineIntel" {
        return Check::new(SUBJECT, NAME, Verdict::Unknown, "this is no Intel processor");
    }
    if !look.processor.has("vmx") {
        let found = "the processor has no VMX, or the firmware switched it off: no VM of KVM can run";
        return Check::new(SUBJECT, NAME, Verdict::NotOk, found).advise("switch VT-x on in the firmware");
    }
    match look.online.iter().find_map(|cpu| read_vmx_misc(look.host, *cpu)) {
        Some(value) if value >> PT_IN_VMX & 1 == 1 => {
            Check::new(SUBJECT, NAME, Verdict::Ok, "1: Intel PT goes on while VMs run")
        }
        Some(_) => {
            let found =
                "0: Intel PT stops on a cpu while KVM has VMX on there; the trace says PARTIAL, and no VM is in it";
            Check::new(SUBJECT, NAME, Verdict::NotOk, found).advise("record on a host with another processor")
        }
        None => {
            let found = "cannot be read; where it is 0, the trace says PARTIAL and no VM is in it";
            Check::new(SUBJECT, NAME, Verdict::Unknown, found).advise("modprobe msr, and look again as root")
        }
    }
}

fn guests(host: &Host) -> Check {
    let vms = Inventory::default().refresh(host);
    let name = |vm: &havana_trace::perf_data::VmNote| vm.name.clone().unwrap_or_else(|| format!("pid {}", vm.pid));
    let names: Vec<String> = vms.iter().take(8).map(name).collect();
    let more = if vms.len() > names.len() { format!(" and {} more", vms.len() - names.len()) } else { String::new() };
    let found = match vms.len() {
        0 => "none runs, or none may be seen".into(),
        count => format!("{count}: {}{more}", names.join(", ")),
    };
    Check::new(SUBJECT, "VMs", Verdict::Note, found)
}
