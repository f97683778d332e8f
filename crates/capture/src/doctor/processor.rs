//! The processor, its cpus, and what its Intel PT can do (SDM, CPUID leaf 14H; Linux `arch/x86/events/intel/pt.c`,
//! `pt_caps`).

use super::{Check, Look, Subject, Verdict};
use crate::host::{Pmu, cpu_list};
use crate::{CaptureError, Settings};

const SUBJECT: Subject = Subject::Processor;
/// Whether there is any.
pub(super) const INTEL_PT: &str = "intel_pt";
/// The first Linux that knows the capability `event_trace`.
const KNOWS_EVENT_TRACE: (u32, u32) = (5, 18);
/// Capabilities with a check of their own.
const JUDGED: [&str; 7] =
    ["psb_cyc", "psb_periods", "mtc", "mtc_periods", "event_trace", "power_event_trace", "topa_multiple_entries"];

pub(super) fn checks(look: &Look<'_>) -> Vec<Check> {
    let mut checks = vec![model(look), cpus(look), intel_pt(look)];
    if let (Ok(pmu), Some(settings)) = (&look.pmu, &look.settings) {
        checks.push(branch(settings));
        checks.extend(settings.iter().flat_map(|settings| caps(look, pmu, settings)));
        checks.push(others(pmu));
    }
    checks
}

fn model(look: &Look<'_>) -> Check {
    let processor = &look.processor;
    let id = processor.id();
    if id.is_empty() {
        return Check::new(SUBJECT, "model", Verdict::Unknown, "/proc/cpuinfo does not say it");
    }
    let found = format!("{} ({id})", processor.name);
    if processor.has("hypervisor") {
        return Check::new(SUBJECT, "model", Verdict::Note, format!("{found}, of a virtual machine"));
    }
    Check::new(SUBJECT, "model", if processor.vendor == "GenuineIntel" { Verdict::Ok } else { Verdict::Note }, found)
}

fn cpus(look: &Look<'_>) -> Check {
    if look.online.is_empty() {
        return Check::new(SUBJECT, "cpus", Verdict::Unknown, "/sys/devices/system/cpu/online cannot be read");
    }
    let missing: Vec<u32> = look.cpus.iter().copied().filter(|cpu| !look.online.contains(cpu)).collect();
    match missing.first() {
        Some(&cpu) => {
            Check::prevented(SUBJECT, "cpus", &CaptureError::NoSuchCpu { cpu, online: cpu_list(&look.online) })
        }
        None => Check::new(
            SUBJECT,
            "cpus",
            Verdict::Ok,
            format!("{} online: {}", look.online.len(), cpu_list(&look.online)),
        ),
    }
}

fn intel_pt(look: &Look<'_>) -> Check {
    match &look.pmu {
        Ok(pmu) => Check::new(SUBJECT, INTEL_PT, Verdict::Ok, format!("there, as PMU {}", pmu.number)),
        Err(error) => Check::prevented(SUBJECT, INTEL_PT, error),
    }
}

fn branch(settings: &Result<Settings, CaptureError>) -> Check {
    match settings {
        Ok(settings) => {
            let lack = settings.lacks.iter().find(|lack| lack.of == "branch");
            lack.map_or_else(
                || Check::new(SUBJECT, "branch", Verdict::Ok, "branches can be left out"),
                |lack| Check::new(SUBJECT, "branch", Verdict::NotOk, &lack.says),
            )
        }
        Err(error) => Check::prevented(SUBJECT, "branch", error),
    }
}

fn caps(look: &Look<'_>, pmu: &Pmu, settings: &Settings) -> Vec<Check> {
    // A lack that costs no time and no VM is no fault: most processors have it.
    let cap = |name: &'static str, lacking: Verdict, has: String| {
        let lack = settings.lacks.iter().find(|lack| lack.of == name);
        lack.map_or_else(
            || Check::new(SUBJECT, name, Verdict::Ok, has),
            |lack| Check::new(SUBJECT, name, lacking, &lack.says),
        )
    };
    let psb = format!("CYC packets, and PSB periods {} (2^(N + 11) bytes)", values(pmu.cap("psb_periods")));
    let mtc = format!("MTC packets, periods {} (2^N crystal ticks)", values(pmu.cap("mtc_periods")));
    let mut event = cap("event_trace", Verdict::Note, "Event Trace: exits come with their reasons".into());
    if event.verdict == Verdict::Note && look.host.version().is_some_and(|version| version < KNOWS_EVENT_TRACE) {
        let (major, minor) = KNOWS_EVENT_TRACE;
        event.found = "this kernel does not know Event Trace: exits are without their reasons".into();
        event = event.advise(format!("Linux {major}.{minor} or later, where the processor has Event Trace"));
    }
    let power = cap("power_event_trace", Verdict::Note, "power events: sleep is observed".into());
    let regions = if pmu.cap("topa_multiple_entries") == 1 {
        Check::new(SUBJECT, "topa_multiple_entries", Verdict::Ok, "a ring may lie in many pieces of memory")
    } else {
        let found = "a ring must be one piece of memory, and the kernel may find none that large";
        Check::new(SUBJECT, "topa_multiple_entries", Verdict::Note, found)
            .advise("if it has no memory for the rings, say a smaller --buffer")
    };
    vec![cap("psb_cyc", Verdict::NotOk, psb), cap("mtc", Verdict::NotOk, mtc), event, power, regions]
}

/// Those that nothing here needs.
fn others(pmu: &Pmu) -> Check {
    let (has, lacks): (Vec<_>, Vec<_>) =
        pmu.caps.iter().filter(|(name, _)| !JUDGED.contains(&name.as_str())).partition(|(_, value)| **value > 0);
    let say = |(name, value): (&String, &u64)| if *value == 1 { name.clone() } else { format!("{name} {value:#x}") };
    let mut has: Vec<String> = has.into_iter().map(say).collect();
    has.push(format!("max_nonturbo_ratio {}", pmu.max_nonturbo_ratio));
    let lacks: Vec<&str> = lacks.into_iter().map(|(name, _)| name.as_str()).collect();
    let without = if lacks.is_empty() { String::new() } else { format!("; without {}", lacks.join(", ")) };
    Check::new(SUBJECT, "others", Verdict::Note, format!("{}{without}", has.join(", ")))
}

/// The numbers that a bitmap allows.
fn values(bits: u64) -> String {
    let all: Vec<u32> = (0..64).filter(|n| bits >> n & 1 == 1).collect();
    cpu_list(&all)
}
