//! Whether times can be told: the kernel's clock and the processor's (SDM, "Time-Stamp Counter", CPUID leaf 15H).

use super::{Check, Look, Subject, Verdict};
use crate::CaptureError;

const SUBJECT: Subject = Subject::Clock;

pub(super) fn checks(look: &Look<'_>) -> Vec<Check> {
    vec![clocksource(look), stable(look), tied(look), ratio(look)]
}

fn clocksource(look: &Look<'_>) -> Check {
    const NAME: &str = "clocksource";
    match look.host.line("/sys/devices/system/clocksource/clocksource0/current_clocksource") {
        None => Check::new(SUBJECT, NAME, Verdict::Unknown, "the kernel does not say which it has"),
        Some(name) if name == "tsc" => Check::new(SUBJECT, NAME, Verdict::Ok, name),
        Some(name) => {
            let found = format!("{name}: the kernel does not keep time by the TSC");
            Check::new(SUBJECT, NAME, Verdict::NotOk, found)
                .advise("see why (dmesg | grep -i -e tsc -e clocksource); time of day may drift from the trace's")
        }
    }
}

/// The TSC counts at one rate, also in sleep.
fn stable(look: &Look<'_>) -> Check {
    const NAME: &str = "TSC";
    let lacking: Vec<&str> =
        ["constant_tsc", "nonstop_tsc"].into_iter().filter(|flag| !look.processor.has(flag)).collect();
    if look.processor.flags.is_empty() {
        Check::new(SUBJECT, NAME, Verdict::Unknown, "/proc/cpuinfo does not say it")
    } else if lacking.is_empty() {
        Check::new(SUBJECT, NAME, Verdict::Ok, "constant_tsc, nonstop_tsc: one rate, also in sleep")
    } else {
        let found = format!("without {}: its rate changes, and times with it", lacking.join(" and "));
        Check::new(SUBJECT, NAME, Verdict::NotOk, found)
    }
}

fn tied(look: &Look<'_>) -> Check {
    const NAME: &str = "kernel's clock";
    let Some(&cpu) = look.cpus.first() else {
        return Check::new(SUBJECT, NAME, Verdict::Unknown, "no cpu is known to be online");
    };
    match look.probes.has_clock(cpu) {
        Ok(true) => Check::new(SUBJECT, NAME, Verdict::Ok, "tied to the TSC"),
        Ok(false) => Check::prevented(SUBJECT, NAME, &CaptureError::NoClock),
        Err(error) => Check::new(SUBJECT, NAME, Verdict::Unknown, format!("cannot be asked: {}", error.parts().0)),
    }
}

fn ratio(look: &Look<'_>) -> Check {
    const NAME: &str = "CPUID 15H";
    match look.probes.tsc_ctc_ratio() {
        (0, _) | (_, 0) if look.processor.vendor != "GenuineIntel" => {
            Check::new(SUBJECT, NAME, Verdict::Note, "does not say the TSC's ratio to the crystal")
        }
        (0, _) | (_, 0) => {
            let found = "does not say the TSC's ratio to the crystal: MTC packets tell no time";
            Check::new(SUBJECT, NAME, Verdict::NotOk, found)
                .advise("where the ratio is known, say it to havana analyze (--tsc-ctc-ratio N/D)")
        }
        (tsc, crystal) => {
            Check::new(SUBJECT, NAME, Verdict::Ok, format!("{tsc} TSC ticks in {crystal} of the crystal"))
        }
    }
}
