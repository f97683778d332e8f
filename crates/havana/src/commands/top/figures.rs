//! What stands in a row, and in which order rows are: the same for text and terminal.

use std::cmp::Reverse;

use havana_live::{By, Frame, States, Taken, VcpuFrame, VmFrame};

use crate::cli::Sort;
use havana_insight::words::{self, count};

/// `48.7`, of one cpu.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

/// Heads of the columns of a VM, a vCPU.
pub(super) const HEADS: [&str; 7] = ["guest", "hyp", "preempted", "waiting", "off cpu", "unknown", "exits/s"];

/// Exits a second.
fn rate(frame: &Frame, exits: u64) -> String {
    match frame.seconds().filter(|seconds| *seconds > 0.0) {
        Some(seconds) => count((exits as f64 / seconds).round() as u64),
        None => count(exits),
    }
}

/// What a row says: percent of one cpu, and exits a second.
fn cells(frame: &Frame, guest: i64, hypervisor: i64, states: &States, exits: u64) -> [String; 7] {
    let share = |ticks: i64| percent(frame.share(ticks));
    // What no record says is told by a rule.
    let guessed =
        |ticks: i64| if states.inferred > 0 && ticks > 0 { format!("~{}", share(ticks)) } else { share(ticks) };
    [
        share(guest),
        share(hypervisor),
        guessed(states.preempted),
        guessed(states.waiting),
        share(states.off_cpu),
        share(states.lost + states.unknown + states.unseen),
        rate(frame, exits),
    ]
}

pub(super) fn of_vm(frame: &Frame, vm: &VmFrame) -> [String; 7] {
    cells(frame, vm.guest, vm.hypervisor, &vm.states, vm.exits)
}

pub(super) fn of_vcpu(frame: &Frame, vcpu: &VcpuFrame) -> [String; 7] {
    cells(frame, vcpu.states.guest, vcpu.states.hypervisor, &vcpu.states, vcpu.exits)
}

/// VMs in order.
pub(super) fn sorted(frame: &Frame, sort: Sort) -> Vec<&VmFrame> {
    let mut vms: Vec<&VmFrame> = frame.vms.iter().collect();
    let key = |vm: &VmFrame| match sort {
        Sort::Guest => vm.guest,
        Sort::Hypervisor => vm.hypervisor,
        Sort::Preempted => vm.states.preempted,
        Sort::Exits => i64::try_from(vm.exits).unwrap_or(i64::MAX),
        Sort::Number => 0,
    };
    vms.sort_by_key(|vm| (Reverse(key(vm)), vm.number));
    vms
}

/// Who it is that took time.
pub(super) fn who(by: &By) -> String {
    match by {
        By::Vm { name, .. } => name.clone(),
        By::Host { name: Some(name), .. } | By::Thread { name: Some(name), .. } => name.clone(),
        By::Host { cr3, name: None } => format!("host process {cr3:#x}"),
        By::Thread { tid: Some(tid), name: None } => format!("thread {tid}"),
        By::Thread { tid: None, name: None } => "the host".into(),
    }
}

/// `web-2 48.1, kworker/0:1 0.2`: percent of one cpu.
pub(super) fn takers(frame: &Frame, taken: &[Taken], most: usize) -> String {
    // What would be nought is nobody.
    let some = taken.iter().filter(|taken| frame.share(taken.ticks) >= 0.0005).take(most);
    let some: Vec<String> = some.map(|t| format!("{} {}", who(&t.by), percent(frame.share(t.ticks)))).collect();
    some.join(", ")
}

/// What the cpus did: name and share of their time.
pub(super) fn busy(frame: &Frame) -> [(&'static str, f64); 6] {
    let all = frame.cpus.len().max(1) as f64;
    let sum = |of: fn(&havana_live::CpuFrame) -> i64| frame.share(frame.cpus.iter().map(of).sum()) / all;
    [
        ("guest", sum(|cpu| cpu.guest)),
        ("hypervisor", sum(|cpu| cpu.hypervisor)),
        ("host", sum(|cpu| cpu.host)),
        ("idle", sum(|cpu| cpu.idle)),
        ("lost", sum(|cpu| cpu.lost)),
        ("unknown", sum(|cpu| cpu.unknown)),
    ]
}

/// When it was.
pub(super) fn when(frame: &Frame) -> String {
    let long = frame.seconds().map_or_else(String::new, |seconds| words::duration(seconds * 1e9));
    match (frame.wall_ns, frame.since) {
        (Some(ns), _) => format!("{long} up to {}", utc(ns)),
        (None, Some(since)) => format!("{long} from {since:.3} s on"),
        (None, None) => long,
    }
}

/// `2026-03-01 12:00:00.250 UTC`.
fn utc(ns: i64) -> String {
    let (seconds, ms) = (ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000) / 1_000_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year}-{month:02}-{day:02} {h:02}:{m:02}:{s:02}.{ms:03} UTC")
}

/// Year, month and day of a day since 1970, by the Gregorian calendar: years are counted from March, so that a leap day is
/// their last.
fn date(days: i64) -> (i64, i64, i64) {
    // Days in 400 years; 0000-03-01 was 719,468 days before 1970.
    const ERA: i64 = 146_097;
    let since = days + 719_468;
    let (era, day) = (since.div_euclid(ERA), since.rem_euclid(ERA));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (400 * era + year + next, month, of_month)
}

/// What is not known, or was lost: a line each.
pub(super) fn lacks(frame: &Frame) -> Vec<String> {
    let mut lines: Vec<String> = frame
        .losses
        .iter()
        .map(|lost| {
            let share = words::percent(frame.share(lost.ticks) / frame.cpus.len().max(1) as f64);
            format!("lost: {} ({} of the cpus' time, {} times)", lost.cause, share, count(lost.count))
        })
        .collect();
    if frame.share(frame.nameless_guest) >= 0.0005 {
        lines.push(format!(
            "in guests of which no VM is known: {} % of a cpu",
            percent(frame.share(frame.nameless_guest))
        ));
    }
    lines.extend(frame.says.iter().cloned());
    lines
}

/// What it cost to look.
pub(super) fn cost(frame: &Frame) -> String {
    format!(
        "{} of trace, analyzed in {}; havana top: {} % of a cpu",
        words::bytes(frame.cost.bytes),
        words::duration(frame.cost.seconds * 1e9),
        percent(frame.cost.cpu_share),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (ns, text) in [
            (0, "1970-01-01 00:00:00.000 UTC"),
            (951_782_399_999_000_000, "2000-02-28 23:59:59.999 UTC"),
            (951_782_400_000_000_000, "2000-02-29 00:00:00.000 UTC"),
            (1_772_366_400_250_000_000, "2026-03-01 12:00:00.250 UTC"),
            (4_107_542_400_000_000_000, "2100-03-01 00:00:00.000 UTC"),
            (-1_000_000, "1969-12-31 23:59:59.999 UTC"),
        ] {
            assert_eq!(utc(ns), text);
        }
    }
}
