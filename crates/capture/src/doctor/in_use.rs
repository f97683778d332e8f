//! Who else has Intel PT: it has one owner a cpu (Linux `kernel/events/core.c`, `exclusive_event_init`).
//!
//! Opening an event as the recorder would is the proof. Whose it is instead the kernel does not say; processes that have
//! events of any kind open can be named.

use super::{Check, Look, Subject, Verdict};
use crate::before::Process;
use crate::host::cpu_list;
use crate::{CaptureError, Host};

const SUBJECT: Subject = Subject::InUse;
/// As many are named.
const NAMED: usize = 8;

pub(super) fn checks(look: &Look<'_>) -> Vec<Check> {
    let suspects = suspects(look.host);
    vec![free(look, &suspects), others(&suspects)]
}

/// Processes but this one that have perf events open.
fn suspects(host: &Host) -> Vec<String> {
    let me = std::process::id();
    let has = |process: &Process| u32::try_from(process.pid) != Ok(me) && process.has_open("anon_inode:[perf_event]");
    let mut found: Vec<Process> = Process::all(host).filter(has).collect();
    found.sort_by_key(|process| process.pid);
    let name = |process: &Process| {
        let command: String = process.command().join(" ").chars().take(60).collect();
        format!("pid {} ({command})", process.pid)
    };
    found.iter().map(name).collect()
}

fn list(suspects: &[String]) -> String {
    let more = suspects.len().saturating_sub(NAMED);
    let names = suspects[..suspects.len() - more].join(", ");
    if more > 0 { format!("{names} and {more} more") } else { names }
}

fn free(look: &Look<'_>, suspects: &[String]) -> Check {
    const NAME: &str = "Intel PT";
    let failed = || look.opened.iter().filter_map(|(cpu, result)| Some((*cpu, result.as_ref().err()?)));
    let busy: Vec<u32> =
        failed().filter(|(_, error)| matches!(error, CaptureError::Busy { .. })).map(|(cpu, _)| cpu).collect();
    if let Some(&cpu) = busy.first() {
        let check = Check::prevented(SUBJECT, NAME, &CaptureError::Busy { cpu });
        let mut found = format!("Intel PT is in use on cpu {}", cpu_list(&busy));
        if !suspects.is_empty() {
            found = format!("{found}, perhaps by {}", list(suspects));
        }
        return Check { found, ..check };
    }
    match failed().next() {
        // What permission is missing is said there.
        Some((_, CaptureError::NotPermitted)) => {
            Check::new(SUBJECT, NAME, Verdict::Unknown, "the kernel does not let us see")
        }
        Some((_, error)) => Check::prevented(SUBJECT, NAME, error),
        None if look.opened.is_empty() => {
            let why = if look.pmu.is_err() { "there is none" } else { "it was not tried: see above" };
            Check::new(SUBJECT, NAME, Verdict::Unknown, why)
        }
        None => Check::new(SUBJECT, NAME, Verdict::Ok, format!("free on cpu {}", cpu_list(&look.cpus))),
    }
}

fn others(suspects: &[String]) -> Check {
    const NAME: &str = "other perf events";
    if suspects.is_empty() {
        return Check::new(SUBJECT, NAME, Verdict::Ok, "no process that we may look at has any open");
    }
    let found = format!(
        "{}: in the way only where they trace with Intel PT, or before Ice Lake with LBR or BTS",
        list(suspects)
    );
    Check::new(SUBJECT, NAME, Verdict::Note, found)
}
