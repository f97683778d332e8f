//! A frame as a block of text: for pipes, and for who has no terminal.

use std::fmt::Write;

use havana_live::{Frame, VmFrame};

use super::figures::{HEADS, busy, cost, lacks, of_vcpu, of_vm, percent, sorted, takers, when};
use crate::cli::Sort;

/// So many guest processes of a VM are told.
const PROCESSES: usize = 5;
/// So many who take its time.
const TAKERS: usize = 3;

/// A line: what it is of, its figures, and what follows.
fn line(out: &mut String, name: &str, cells: &[impl AsRef<str>], rest: &str) {
    let mut text = format!("{name:<24}");
    for (cell, width) in cells.iter().zip([7, 7, 10, 8, 8, 8, 9]) {
        let _ = write!(text, " {:>width$}", cell.as_ref());
    }
    if !rest.is_empty() {
        let _ = write!(text, "  {rest}");
    }
    let _ = writeln!(out, "{}", text.trim_end());
}

/// The block. Percent are of one cpu.
pub(super) fn text(frame: &Frame, sort: Sort) -> String {
    let mut out = String::new();
    let node = frame.node.as_deref().unwrap_or("unknown");
    let cpus = frame.cpus.len();
    let _ = writeln!(out, "frame {}  node {node}  {}", frame.number, when(frame));
    let shares: Vec<String> = busy(frame).iter().map(|(name, share)| format!("{name} {} %", percent(*share))).collect();
    let _ = writeln!(out, "{cpus} cpu{}: {}", if cpus == 1 { "" } else { "s" }, shares.join("  "));
    if frame.vms.is_empty() {
        let _ = writeln!(out, "no VM was seen");
    } else {
        line(&mut out, "% of a cpu", &HEADS, "who takes its time");
    }
    for vm in sorted(frame, sort) {
        of_one(&mut out, frame, vm);
    }
    for lack in lacks(frame) {
        let _ = writeln!(out, "! {lack}");
    }
    let _ = writeln!(out, "{}", cost(frame));
    out
}

fn of_one(out: &mut String, frame: &Frame, vm: &VmFrame) {
    let name: String = vm.label().chars().take(24).collect();
    if !vm.seen {
        let _ = writeln!(out, "{name:<24} not seen in this interval");
        return;
    }
    line(out, &name, &of_vm(frame, vm), &takers(frame, &vm.taken, TAKERS));
    if vm.vcpus.len() > 1 {
        for vcpu in &vm.vcpus {
            let rest = takers(frame, &vcpu.taken, TAKERS);
            line(out, &format!("  vCPU {}", vcpu.number), &of_vcpu(frame, vcpu), &rest);
        }
    }
    let processes = vm.processes.iter().filter(|process| frame.share(process.ticks) >= 0.0005);
    for process in processes.take(PROCESSES) {
        line(out, &format!("  process {:#x}", process.cr3), &[percent(frame.share(process.ticks))], "");
    }
    if let Some(reasons) = reasons(vm) {
        let _ = writeln!(out, "  exits: {reasons}");
    }
}

/// Why it exited, where the trace says so.
pub(super) fn reasons(vm: &VmFrame) -> Option<String> {
    let some = vm.reasons.iter().take(4);
    let some: Vec<String> =
        some.map(|(name, exits)| format!("{name} {}", havana_insight::words::count(*exits))).collect();
    (!some.is_empty()).then(|| some.join(", "))
}
