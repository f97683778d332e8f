//! What the reader should know before believing the rest: what a trace lacks, why, and what to record instead.

use havana_timeline::Summary;
use havana_trace::Trace;

use havana_insight::words::{bytes, count};

pub(crate) fn of(trace: &Trace, summary: &Summary) -> Vec<String> {
    let mut all: Vec<String> = trace.recording.notes.iter().map(ToString::to_string).collect();
    let has = |kind: &str| summary.packets.contains_key(kind);
    let facts = &trace.facts;
    if has("mtc") && !summary.sleep_shows {
        let lacks = match (facts.tsc_ctc_ratio, facts.mtc_period) {
            (Some(_), Some(_)) => "no TSC of the host with its TMA ties them to it",
            _ => "nothing says their period and the crystal's ratio (mtc_period, tsc_ctc_ratio)",
        };
        all.push(format!("the trace has MTC packets, and {lacks}: they are not used, and times are less sure"));
    }
    if facts.tsc_hz.is_none() {
        all.push("the TSC rate is not known (tsc_hz): times are ticks".into());
    }
    let said = |kernel: Option<bool>| kernel == Some(false);
    if !has("pip") && !said(trace.recording.kernel) {
        all.push(
            "there is no PIP packet: what ran cannot be told; record the kernel too, as with -e intel_pt/branch=0/"
                .into(),
        );
    }
    if summary.no_host_time {
        all.push("no TSC packet was made by the host: guests' clocks cannot be tied to it".into());
    }
    if summary.never_in_guest {
        all.push(
            "VMs were loaded (VMCS packets) and none was seen to run: kvm_intel may trace guests apart (pt_mode=1); load \
             it with pt_mode=0, or no VM ran"
                .into(),
        );
    }
    if summary.late_records > 0 {
        all.push(format!(
            "{} records of the kernel came too late to be sorted: who was switched to is not always known; record with a \
             smaller buffer (-m)",
            count(summary.late_records)
        ));
    }
    if summary.nested {
        all.push(
            "a vCPU runs guests of its own (several VMCSs on one thread): nested guests are not supported, and their time \
             is shown as that of further vCPUs"
                .into(),
        );
    }
    let cost = trace.recording.recorder.as_ref().and_then(|r| r.cost.as_ref());
    for cpu in cost.iter().flat_map(|cost| &cost.cpus).filter(|cpu| cpu.unwritten_bytes > 0) {
        all.push(format!(
            "cpu {}: {} of trace could not be written at the end: the output had no room",
            cpu.cpu,
            bytes(cpu.unwritten_bytes)
        ));
    }
    for cpu in &summary.timeless {
        all.push(format!("cpu {cpu}: nothing in its stream can be dated; it is left out"));
    }
    if summary.nameless_exits > 0 {
        all.push(format!("{} VM exits are of no known vCPU: no VMCS packet names it", count(summary.nameless_exits)));
    }
    if summary.damaged > 0 {
        let what =
            if summary.damaged == 1 { "stretch of bytes is no packet" } else { "stretches of bytes are no packets" };
        all.push(format!("{} {what}: see losses", count(summary.damaged)));
    }
    all
}
