//! The report as a person wants to read it: the answer first, then who, then how sure.

use std::io::{self, Write};

use super::Facts;
use super::facts::{Share, VcpuFacts, VmFacts};
use havana_insight::Severity;
use havana_insight::words::{Rate, bytes, count, percent};

/// Rows under this share of the time are folded.
const SMALL: f64 = 0.001;
/// No more guest processes than this.
const TOP: usize = 10;

struct Style {
    bold: &'static str,
    dim: &'static str,
    warn: &'static str,
    end: &'static str,
}

pub(super) fn write(facts: &Facts, colour: bool, out: &mut impl Write) -> io::Result<()> {
    let style = if colour {
        Style { bold: "\x1b[1m", dim: "\x1b[2m", warn: "\x1b[33m", end: "\x1b[0m" }
    } else {
        Style { bold: "", dim: "", warn: "", end: "" }
    };
    let rate = Rate(facts.tsc_hz);
    head(facts, rate, &style, out)?;
    if facts.vms.is_empty() {
        let Style { bold, end, .. } = style;
        writeln!(out, "\n{bold}No VM ran in this trace.{end}")?;
    }
    findings(facts, &style, out)?;
    who_had_the_cpus(facts, &style, out)?;
    if !facts.vms.is_empty() {
        vms(facts, &style, out)?;
        processes(facts, &style, out)?;
        exits(facts, rate, &style, out)?;
    }
    sureness(facts, rate, &style, out)
}

fn vm_label(vm: &VmFacts) -> String {
    vm.name.clone().unwrap_or_else(|| format!("vm {}", vm.vm_id))
}

fn head(facts: &Facts, rate: Rate, style: &Style, out: &mut impl Write) -> io::Result<()> {
    let Style { bold, end, .. } = style;
    let plural = |n: usize, one: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") };
    let vcpus: usize = facts.vms.iter().map(|v| v.vcpus.len()).sum();
    writeln!(
        out,
        "{bold}node {}{end} · {} · {} · {} of {} · {} exits · lost {}",
        facts.node,
        rate.span(facts.span_ticks as f64),
        plural(facts.cpus.len(), "cpu"),
        plural(facts.vms.len(), "VM"),
        plural(vcpus, "vCPU"),
        count(facts.exits),
        percent(facts.lost_share),
    )
}

/// No more findings than this.
const FOUND: usize = 8;

fn findings(facts: &Facts, style: &Style, out: &mut impl Write) -> io::Result<()> {
    let Style { bold, dim, warn, end } = style;
    if facts.vms.is_empty() && facts.findings.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{bold}FINDINGS{end}")?;
    // What matters little is only counted.
    let matters = facts.findings.iter().filter(|finding| finding.severity != Severity::Low.name()).count();
    if matters == 0 {
        writeln!(out, "  {dim}nothing that matters{end}")?;
    }
    let shown = matters.min(FOUND);
    for finding in &facts.findings[..shown] {
        let mark = if finding.severity == Severity::High.name() { warn } else { "" };
        let maybe = if finding.sure < 0.75 { ", perhaps" } else { "" };
        let what = format!("{}{maybe}", finding.kind);
        let unmark = if mark.is_empty() { "" } else { end };
        writeln!(out, "  {mark}{:<8}{unmark} {what:<20}  {}", finding.severity, finding.title)?;
    }
    let (more, low) = (matters - shown, facts.findings.len() - matters);
    let rest = [(more, "more"), (low, "of low severity")].map(|(n, what)| (n > 0).then(|| format!("{n} {what}")));
    let rest: Vec<String> = rest.into_iter().flatten().collect();
    if !rest.is_empty() {
        writeln!(out, "  {dim}{}{end}", rest.join(", "))?;
    }
    Ok(())
}

const BAR: usize = 40;

fn bar(share: f64) -> String {
    let eighths = (share.clamp(0.0, 1.0) * (BAR * 8) as f64).round() as usize;
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    format!("{}{part}", "█".repeat(eighths / 8))
}

fn who_had_the_cpus(facts: &Facts, style: &Style, out: &mut impl Write) -> io::Result<()> {
    let Style { bold, dim, end, .. } = style;
    let whose = if facts.cpus.len() == 1 { "the cpu" } else { "the cpus" };
    writeln!(out, "\n{bold}WHO HAD {}{end}", whose.to_uppercase())?;
    let cpu_time: f64 = facts.cpus.iter().map(|c| c.ticks as f64).sum();
    let state = |name: &str| -> f64 {
        let ticks: f64 = facts.cpus.iter().map(|c| c.states.get(name).copied().unwrap_or(0.0) * c.ticks as f64).sum();
        if cpu_time > 0.0 { ticks / cpu_time } else { 0.0 }
    };
    let mut rows: Vec<(String, f64)> = Vec::new();
    for vm in &facts.vms {
        rows.push((format!("{} guest", vm_label(vm)), vm.guest_share));
        rows.push((format!("{} hypervisor", vm_label(vm)), vm.hypervisor_share));
    }
    // Of no known VM, or of one that is not in this part of the trace.
    let guests: f64 = facts.vms.iter().map(|v| v.guest_share).sum();
    let hypervisor: f64 = facts.vms.iter().map(|v| v.hypervisor_share).sum();
    rows.push(("other guests".into(), state("guest") - guests));
    rows.push(("other hypervisor".into(), state("hypervisor") - hypervisor));
    rows.push(("host".into(), state("host")));
    rows.push(("idle".into(), state("idle")));
    rows.push(("lost".into(), facts.lost_share));
    rows.push(("unknown".into(), facts.unknown_share));
    rows.retain(|r| r.1 > 1e-9);
    rows.sort_by(|a, b| b.1.total_cmp(&a.1));
    let (large, small): (Vec<_>, Vec<_>) = rows.into_iter().partition(|r| r.1 >= SMALL);
    for (label, share) in &large {
        writeln!(out, "  {label:<20} {:>7}  {}", percent(*share), bar(*share))?;
    }
    if !small.is_empty() {
        let sum: f64 = small.iter().map(|r| r.1).sum();
        writeln!(out, "  {dim}{} more under 0.1 %: {} in all{end}", small.len(), percent(sum))?;
    }
    if facts.cpus.len() > 1 {
        writeln!(out, "  {dim}each cpu: guest + hypervisor / host / idle{end}")?;
        for cpu in &facts.cpus {
            let s = |name: &str| cpu.states.get(name).copied().unwrap_or(0.0);
            writeln!(
                out,
                "  cpu {:<16} {:>7} / {:>7} / {:>7}",
                cpu.cpu,
                percent(s("guest") + s("hypervisor")),
                percent(s("host")),
                percent(s("idle"))
            )?;
            let seen = cpu.ticks as f64 / facts.span_ticks.max(1) as f64;
            let mut more: Vec<String> = Vec::new();
            more.extend(["lost", "unknown"].iter().filter(|h| s(h) >= SMALL).map(|h| format!("{h} {}", percent(s(h)))));
            if seen < 0.99 {
                more.push(format!("shares of the {} of the time that it is in the trace", percent(seen)));
            }
            if !more.is_empty() {
                writeln!(out, "    {dim}{}{end}", more.join(", "))?;
            }
        }
    }
    Ok(())
}

/// A share, and a mark for how it is known: none where it is observed, `~` where a rule says so.
fn marked(share: Share) -> String {
    let mark = if share.share > 0.0 && share.observed < 0.5 * share.share { "~" } else { "" };
    format!("{mark}{}", percent(share.share))
}

fn vms(facts: &Facts, style: &Style, out: &mut impl Write) -> io::Result<()> {
    let Style { bold, dim, end, .. } = style;
    writeln!(
        out,
        "\n{bold}VMs{end}   {dim}share of the time; [sure bounds]; ~ inferred from a rule, not observed{end}"
    )?;
    writeln!(
        out,
        "  {dim}{:<16} {:>8} {:>19} {:>11} {:>10} {:>9} {:>9} {:>10}{end}",
        "", "guest", "[at least, at most]", "hypervisor", "preempted", "waiting", "off cpu", "exits"
    )?;
    for vm in &facts.vms {
        // A VM with a name has a number too: `--vm` takes it.
        let number = if vm.name.is_some() { format!("vm {}, ", vm.vm_id) } else { String::new() };
        writeln!(out, "  {bold}{}{end}  {dim}{number}VMM's CR3 {:#x}{}{end}", vm_label(vm), vm.host_cr3, clock(vm))?;
        for (i, v) in vm.vcpus.iter().enumerate() {
            vcpu(i, v, out)?;
            takers(vm, v, style, out)?;
        }
    }
    Ok(())
}

fn clock(vm: &VmFacts) -> String {
    match (vm.tsc_offset, vm.clocks) {
        (Some([tsc, lo, hi]), _) => format!(", TSC offset {tsc} ±{}", count((hi - lo).unsigned_abs().div_ceil(2))),
        (None, 0) => ", TSC offset not known".into(),
        (None, n) => format!(", TSC offset changed: {n} of them"),
    }
}

fn vcpu(index: usize, v: &VcpuFacts, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "    vCPU {:<9} {:>8} {:>19} {:>11} {:>10} {:>9} {:>9} {:>10}",
        index,
        percent(v.guest.share),
        format!("[{}, {}]", percent(v.guest_at_least), percent(v.guest_at_most)),
        marked(v.hypervisor),
        marked(v.preempted),
        marked(v.waiting),
        marked(v.off_cpu),
        count(v.exits),
    )?;
    let seen = [v.guest, v.hypervisor, v.preempted, v.waiting, v.off_cpu, v.lost, v.unknown];
    let absent = 1.0 - seen.iter().map(|s| s.share).sum::<f64>();
    let hidden = [
        ("lost", v.lost.share, SMALL),
        ("unknown", v.unknown.share, SMALL),
        ("not there, or not seen yet,", absent, 0.01),
    ];
    let hidden: Vec<String> =
        hidden.iter().filter(|h| h.1 >= h.2).map(|(what, share, _)| format!("{what} {}", percent(*share))).collect();
    if !hidden.is_empty() {
        writeln!(out, "      {}", hidden.join(", "))?;
    }
    Ok(())
}

fn takers(vm: &VmFacts, v: &VcpuFacts, style: &Style, out: &mut impl Write) -> io::Result<()> {
    let Style { dim, end, .. } = style;
    let whole = v.preempted.share;
    if whole < SMALL {
        return Ok(());
    }
    let list: Vec<String> = v
        .taken_by
        .iter()
        .filter(|t| t.share >= 0.01 * whole)
        .take(3)
        .map(|t| {
            let sibling = t.kind == "vm" && t.id == Some(vm.vm_id);
            format!("{}{} {}", t.name, if sibling { " itself" } else { "" }, percent(t.share / whole))
        })
        .collect();
    if list.is_empty() { Ok(()) } else { writeln!(out, "      {dim}its cpu was taken by {}{end}", list.join(", ")) }
}

fn processes(facts: &Facts, style: &Style, out: &mut impl Write) -> io::Result<()> {
    let Style { bold, dim, end, .. } = style;
    writeln!(out, "\n{bold}TOP GUEST PROCESSES{end}   {dim}share of one cpu's time{end}")?;
    for p in facts.processes.iter().take(TOP) {
        let vm = facts.vms.iter().find(|v| v.vm_id == p.vm_id).map(vm_label).unwrap_or_default();
        let name = p.name.clone().unwrap_or_else(|| format!("CR3 {:#x}", p.cr3));
        writeln!(out, "  {vm:<8} {name:<18} {:>9}  {}", percent(p.share), bar(p.share))?;
    }
    if facts.processes.len() > TOP {
        let rest: f64 = facts.processes[TOP..].iter().map(|p| p.share).sum();
        writeln!(out, "  {dim}{} more: {} in all{end}", facts.processes.len() - TOP, percent(rest))?;
    }
    Ok(())
}

fn exits(facts: &Facts, rate: Rate, style: &Style, out: &mut impl Write) -> io::Result<()> {
    let Style { bold, dim, end, .. } = style;
    let (unit, width) = if rate.0.is_some() { ("", 9) } else { (", ticks", 13) };
    let cell = |ticks: f64| if rate.0.is_some() { rate.span(ticks) } else { count(ticks as u64) };
    writeln!(out, "\n{bold}VM EXITS{end}   {dim}from an exit to the vCPU's next entry{unit}{end}")?;
    writeln!(
        out,
        "  {dim}{:<8} {:>10} {:>width$} {:>width$} {:>width$} {:>width$}  {}{end}",
        "",
        if rate.0.is_some() { "a second" } else { "exits" },
        "p50",
        "p90",
        "p99",
        "max",
        edges(facts, rate)
    )?;
    for vm in &facts.vms {
        let often = vm.exits_per_second.map_or_else(|| count(vm.exits), |n| count(n.round() as u64));
        let Some(q) = vm.reentry_ticks else {
            writeln!(out, "  {:<8} {often:>10}", vm_label(vm))?;
            about_exits(vm, style, out)?;
            continue;
        };
        let [p50, p90, p99, max] = [q.p50, q.p90, q.p99, q.max].map(cell);
        writeln!(
            out,
            "  {:<8} {often:>10} {p50:>width$} {p90:>width$} {p99:>width$} {max:>width$}  {}",
            vm_label(vm),
            sparkline(vm)
        )?;
        about_exits(vm, style, out)?;
    }
    Ok(())
}

/// Why a VM exited, and which exits no figure of it is of.
fn about_exits(vm: &VmFacts, style: &Style, out: &mut impl Write) -> io::Result<()> {
    let Style { dim, end, .. } = style;
    let of_all = |n: u64| percent(n as f64 / vm.exits.max(1) as f64);
    if !vm.reasons.is_empty() {
        let (most, rest) = vm.reasons.split_at(vm.reasons.len().min(5));
        let mut list: Vec<String> = most
            .iter()
            .map(|r| format!("{} {}{}", r.name, if 2 * r.observed < r.exits { "~" } else { "" }, of_all(r.exits)))
            .collect();
        if !rest.is_empty() {
            list.push(format!("{} more {}", rest.len(), of_all(rest.iter().map(|r| r.exits).sum())));
        }
        writeln!(out, "    {dim}{}{end}", list.join(", "))?;
    }
    // The last exit of a vCPU never has one.
    if vm.exits_without_reentry > vm.vcpus.len() as u64 {
        let n = vm.exits_without_reentry;
        writeln!(out, "    {dim}not in these: {} exits ({}) whose re-entry is not seen{end}", count(n), of_all(n))?;
    }
    Ok(())
}

/// One column a bucket, three characters wide.
fn sparkline(vm: &VmFacts) -> String {
    let most = vm.reentry_histogram.iter().map(|b| b.count).max().unwrap_or(0).max(1) as f64;
    let column = |n: u64| match n {
        0 => "·",
        n => ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"][((n as f64 / most * 8.0).ceil() as usize).clamp(1, 8) - 1],
    };
    vm.reentry_histogram.iter().map(|b| column(b.count).repeat(3)).collect::<Vec<_>>().join(" ")
}

/// The edges between the sparkline's columns.
fn edges(facts: &Facts, rate: Rate) -> String {
    let Some(vm) = facts.vms.iter().find(|v| !v.reentry_histogram.is_empty()) else { return String::new() };
    let short = |ticks: f64| match rate.ns(ticks) {
        Some(ns) if ns < 99.5e3 => format!("{:.0}µ", ns / 1e3),
        Some(ns) if ns < 999.5e3 => format!("{:.1}m", ns / 1e6).trim_start_matches('0').into(),
        Some(ns) => format!("{:.0}m", ns / 1e6),
        None => format!("{ticks:.0e}"),
    };
    let text: String =
        vm.reentry_histogram.iter().filter_map(|b| b.below_ticks).map(|t| format!("{:<4}", short(t))).collect();
    format!("  {}", text.trim_end())
}

fn sureness(facts: &Facts, rate: Rate, style: &Style, out: &mut impl Write) -> io::Result<()> {
    let Style { bold, warn, end, .. } = style;
    writeln!(out, "\n{bold}HOW SURE{end}")?;
    if let Some(q) = facts.exit_time_within_ticks {
        let [p50, p99] = [q.p50, q.p99].map(|t| rate.span(t));
        writeln!(out, "  an exit is known to ±{p50} (median), ±{p99} (99 %)")?;
    }
    if facts.losses.count == 0 {
        writeln!(out, "  no trace was lost")?;
    } else {
        let causes: Vec<String> =
            facts.losses.ticks.iter().map(|(c, t)| format!("{c} {}", rate.span(*t as f64))).collect();
        writeln!(
            out,
            "  {warn}lost: {} {}, {} of trace ({}){end}",
            count(facts.losses.count),
            if facts.losses.count == 1 { "stretch" } else { "stretches" },
            bytes(facts.losses.bytes.unsigned_abs()),
            causes.join(", ")
        )?;
    }
    if facts.unknown_share > 0.0 {
        writeln!(out, "  what ran is unknown for {} of the cpus' time", percent(facts.unknown_share))?;
    }
    for warning in &facts.warnings {
        writeln!(out, "  {warn}{warning}{end}")?;
    }
    Ok(())
}
