//! What this host can record, and what to do about what it cannot.
//!
//! What is judged is what the recorder would do: its settings, its events, its rings, its output. Files are read under
//! the host's root; what only a real machine can answer is asked of [`Probes`].
//!
//! | module | what it looks at |
//! | --- | --- |
//! | `processor` | the processor, its cpus, what its Intel PT can do |
//! | `kernel` | release, configuration, lockdown |
//! | `permissions` | who may trace the host, lock memory, open files |
//! | `kvm` | what of KVM hides guests |
//! | `clock` | whether times can be told |
//! | `in_use` | who else has Intel PT |
//! | `room` | disk and memory |

mod clock;
mod in_use;
mod kernel;
mod kvm;
mod permissions;
mod probes;
mod processor;
mod room;
#[cfg(test)]
mod tests;

pub use probes::{Probes, ThisMachine};

use crate::host::{Pmu, Processor};
use crate::session::Events;
use crate::{CaptureError, Host, Options, Settings};

/// What a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The processor and its Intel PT.
    Processor,
    /// The kernel.
    Kernel,
    /// What this program may do.
    Permissions,
    /// KVM.
    Kvm,
    /// The clock.
    Clock,
    /// Who else has Intel PT.
    InUse,
    /// Disk and memory.
    Room,
}

impl Subject {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Subject::Processor => "processor",
            Subject::Kernel => "kernel",
            Subject::Permissions => "permissions",
            Subject::Kvm => "kvm",
            Subject::Clock => "clock",
            Subject::InUse => "in use",
            Subject::Room => "room",
        }
    }
}

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Not so: a recording lacks something, or there can be none.
    NotOk,
    /// That cannot be told.
    Unknown,
    /// No fault, and good to know.
    Note,
}

impl Verdict {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::NotOk => "not ok",
            Verdict::Unknown => "unknown",
            Verdict::Note => "note",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What it is about.
    pub subject: Subject,
    /// What was looked at, as the kernel or the processor's manual calls it.
    pub name: String,
    /// How it is.
    pub verdict: Verdict,
    /// It is so that there can be no recording.
    pub prevents: bool,
    /// What was found.
    pub found: String,
    /// What to do, where something can be done.
    pub to_do: Option<String>,
}

impl Check {
    fn new(subject: Subject, name: impl Into<String>, verdict: Verdict, found: impl Into<String>) -> Check {
        Check { subject, name: name.into(), verdict, prevents: false, found: found.into(), to_do: None }
    }

    fn advise(self, to_do: impl Into<String>) -> Check {
        Check { to_do: Some(to_do.into()), ..self }
    }

    /// The recorder would end with this error.
    fn prevented(subject: Subject, name: &str, error: &CaptureError) -> Check {
        let (found, to_do) = error.parts();
        Check { prevents: true, to_do, ..Check::new(subject, name, Verdict::NotOk, found) }
    }
}

/// Whether there can be a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Of all that there is to record.
    Can,
    /// Of less: what is not ok says of what.
    WithLimits,
    /// No, and why: a sentence.
    Cannot(String),
}

/// All that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether there can be a recording.
    pub outcome: Outcome,
    /// What was looked at, by subject.
    pub checks: Vec<Check>,
}

/// What all checks need to know.
struct Look<'a> {
    host: &'a Host,
    probes: &'a dyn Probes,
    options: &'a Options,
    processor: Processor,
    online: Vec<u32>,
    /// The cpus that would be recorded.
    cpus: Vec<u32>,
    pmu: Result<Pmu, CaptureError>,
    /// Of Intel PT, where there is one.
    settings: Option<Result<Settings, CaptureError>>,
    /// As the recorder would open them. Without Intel PT: the kernel's records alone.
    events: Events,
    /// What opening Intel PT said, where there is one.
    opened: Vec<(u32, Result<(), CaptureError>)>,
}

impl<'a> Look<'a> {
    fn new(host: &'a Host, probes: &'a dyn Probes, options: &'a Options) -> Look<'a> {
        let processor = host.processor();
        let online = host.online();
        let cpus = if options.cpus.is_empty() { online.clone() } else { options.cpus.clone() };
        let pmu = host.pmu();
        let settings = pmu.as_ref().ok().map(|pmu| Settings::new(pmu, &processor, options.mode, options.precision));
        let mut events = Events::records_only(options.rings.data, false);
        let mut opened = Vec::new();
        if let (Ok(pmu), Some(Ok(settings))) = (&pmu, &settings) {
            events = Events::new(pmu, settings, options.mode, options.rings);
            opened = cpus.iter().map(|cpu| (*cpu, probes.open(events, *cpu))).collect();
        }
        Look { host, probes, options, processor, online, cpus, pmu, settings, events, opened }
    }

    /// The kernel refused to let us trace.
    fn was_refused(&self) -> bool {
        self.opened.iter().any(|(_, result)| matches!(result, Err(CaptureError::NotPermitted)))
    }
}

/// Bytes, as a person reads them.
fn size(bytes: u64) -> String {
    match bytes as f64 / 1e6 {
        mb if mb < 10_000.0 => format!("{mb:.1} MB"),
        mb => format!("{:.1} GB", mb / 1e3),
    }
}

/// Looks at all of it. Nothing is recorded, and nothing changed.
pub fn examine(host: &Host, probes: &dyn Probes, options: &Options) -> Report {
    let look = Look::new(host, probes, options);
    let mut checks = [
        processor::checks(&look),
        kernel::checks(&look),
        permissions::checks(&look),
        kvm::checks(&look),
        clock::checks(&look),
        in_use::checks(&look),
        room::checks(&look),
    ]
    .concat();
    if look.pmu.is_err() && !look.processor.has("intel_pt") {
        // Whatever else is done here, there will be none.
        checks.iter_mut().filter(|check| check.name != processor::INTEL_PT).for_each(|check| check.to_do = None);
    }
    let prevents = checks.iter().find(|check| check.prevents);
    let outcome = match (&look.pmu, prevents) {
        (Err(error), _) => Outcome::Cannot(error.to_string()),
        (Ok(_), Some(check)) => Outcome::Cannot(format!("this host cannot be recorded: {}", check.found)),
        (Ok(_), None) if checks.iter().any(|check| check.verdict == Verdict::NotOk) => Outcome::WithLimits,
        (Ok(_), None) => Outcome::Can,
    };
    Report { outcome, checks }
}
