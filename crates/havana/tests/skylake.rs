//! Traces of real processors, which are public and not ours to ship.
//!
//! What is expected of them is what libipt and perf find in them.

use std::collections::{BTreeMap, BTreeSet};

use havana_rows::CpuStateKind;

use crate::common::{analyze, at_hand, havana};

/// A ring snapshot of one cpu of a Skylake host: branches, no MTC, no CYC; a VM of four vCPUs.
const SNAPSHOT: &str = "traces/skylake-4vcpu/snapshot.pt";

#[test]
fn one_vm_of_four_vcpus() {
    let Some(snapshot) = at_hand("skylake: one VM", SNAPSHOT) else { return };
    let out = tempfile::tempdir().unwrap();
    let dataset = analyze(&snapshot, &out.path().join("dataset"));

    let vms = dataset.vms().unwrap();
    let vcpus = dataset.vcpus().unwrap();
    assert_eq!((vms.len(), vcpus.len()), (1, 4));
    assert_eq!(vms[0].host_cr3, 0x7c6c_8000);
    let offset = vms[0].tsc_offset.unwrap();
    println!("guest - host: {offset:?}, {} ticks wide", offset.hi - offset.lo);
    assert!(-0xa10_a03a_7e5c <= offset.lo && offset.lo <= offset.tsc, "{offset:?}");
    assert!(offset.tsc <= offset.hi && offset.hi <= -0xa10_a02c_9724, "{offset:?}");

    let exits: Vec<_> = dataset.exits().unwrap().map(Result::unwrap).collect();
    assert_eq!(exits.len(), 41);
    assert_eq!(exits.iter().filter(|e| e.entry.is_some()).count(), 41);
    let mut guests: BTreeMap<i64, (BTreeSet<i64>, BTreeSet<i32>, usize)> = BTreeMap::new();
    for exit in &exits {
        let vmcs = vcpus.iter().find(|v| v.vcpu_id == exit.vcpu_id).unwrap().vmcs;
        let (cr3s, processes, count) = guests.entry(vmcs).or_default();
        cr3s.insert(exit.guest_cr3);
        processes.insert(exit.process_id);
        *count += 1;
    }
    assert!(guests.values().all(|(_, processes, _)| processes.len() == 1), "{guests:x?}");
    let told: Vec<(i64, i64, usize)> =
        guests.iter().map(|(v, (cr3s, _, n))| (*v, *cr3s.first().unwrap(), *n)).collect();
    assert_eq!(
        told,
        [
            (0x7c43_d000, 0x1c0b000, 6),
            (0x3_f9f9_8000, 0x7bb6_1000, 22),
            (0x4_18c9_3000, 0x79f9_e000, 6),
            (0x4_5aff_4000, 0x7937_3000, 7)
        ]
    );

    // Host time never runs backwards, and who had the cpu.
    let mut ticks: BTreeMap<&str, i64> = BTreeMap::new();
    let mut at = i64::MIN;
    for row in dataset.cpu_states().unwrap().map(Result::unwrap) {
        assert!(at <= row.start.tsc && row.start.tsc <= row.end.tsc, "{row:?} after {at}");
        at = row.end.tsc;
        *ticks.entry(row.state.name()).or_default() += row.end.tsc - row.start.tsc;
    }
    for pair in exits.windows(2) {
        assert!(pair[0].exit.tsc <= pair[1].exit.tsc, "{pair:?}");
    }
    let all: i64 = ticks.values().sum();
    let percent = |state: CpuStateKind| 100.0 * ticks.get(state.name()).copied().unwrap_or(0) as f64 / all as f64;
    let (idle, guest) = (percent(CpuStateKind::Idle), percent(CpuStateKind::Guest));
    println!("idle {idle:.2} %, guest {guest:.2} % of {all} ticks");
    assert!(idle > 90.0, "{idle}");
    assert!((2.0..2.6).contains(&guest), "{guest}");
}

#[test]
fn packets_are_counted() {
    let Some(snapshot) = at_hand("skylake: packets", SNAPSHOT) else { return };
    let done = havana().args(["packets", "--count", "--format", "json"]).arg(snapshot).output().unwrap();
    assert!(done.status.success());
    let counts: BTreeMap<String, u64> = serde_json::from_slice(&done.stdout).unwrap();
    let counts: Vec<String> = counts.iter().map(|(kind, n)| format!("{kind} {n}")).collect();
    // No `bad` among them.
    assert_eq!(
        counts.join(", "),
        "cbr 1077, fup 1096, mode.exec 1049, mode.tsx 1017, pad 349354, pip 1148, psb 1017, psbend 1017, tip 262353, \
         tip.pgd 1, tnt8 574323, tsc 1077, vmcs 1025"
    );
}

/// Two cpus of a Cascade Lake; without PIP and VMCS.
#[test]
fn a_trace_without_a_vm() {
    let Some(folder) = at_hand("skylake: no VM", "traces/lldb") else { return };
    for name in ["45.intelpt_trace", "51.intelpt_trace"] {
        let out = tempfile::tempdir().unwrap();
        let done = havana().arg("analyze").arg(folder.join(name)).arg("-o").arg(out.path().join("d")).output().unwrap();
        let report = String::from_utf8(done.stdout).unwrap();
        assert!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
        assert!(report.contains("\nNo VM ran in this trace.\n"), "{report}");
    }
}
