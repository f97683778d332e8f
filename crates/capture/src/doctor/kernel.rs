//! The kernel: its release, how it was built, and whether it is locked down.

use std::io::Read;

use flate2::read::GzDecoder;

use super::{Check, Look, Subject, Verdict};
use crate::Host;

const SUBJECT: Subject = Subject::Kernel;
/// The first Linux whose SWITCH records say that a thread was preempted.
const SAYS_PREEMPTED: (u32, u32) = (4, 17);
/// More of a configuration is none.
const MOST: u64 = 4 << 20;

pub(super) fn checks(look: &Look<'_>) -> Vec<Check> {
    let mut checks = vec![release(look.host)];
    checks.extend(built(look));
    checks.push(lockdown(look.host));
    checks
}

fn release(host: &Host) -> Check {
    let Some(version) = host.version() else {
        return Check::new(SUBJECT, "release", Verdict::Unknown, "/proc/sys/kernel/osrelease does not say it");
    };
    let release = host.release();
    if version < SAYS_PREEMPTED {
        let (major, minor) = SAYS_PREEMPTED;
        let found = format!("Linux {release} does not say whether a thread was preempted: that is inferred");
        return Check::new(SUBJECT, "release", Verdict::NotOk, found).advise(format!("Linux {major}.{minor} or later"));
    }
    Check::new(SUBJECT, "release", Verdict::Ok, format!("Linux {release}"))
}

/// How it was built: the file itself, or where a distribution puts it.
fn config(host: &Host) -> Option<String> {
    let mut text = String::new();
    if let Ok(file) = host.open("/proc/config.gz")
        && GzDecoder::new(file).take(MOST).read_to_string(&mut text).is_ok()
    {
        return Some(text);
    }
    let release = host.release();
    let files = [format!("/boot/config-{release}"), format!("/lib/modules/{release}/config")];
    files.iter().find_map(|file| host.read(file).ok())
}

/// What must be built in or a module, and what comes of it where it is not.
const OPTIONS: [(&str, bool, &str); 3] = [
    ("CONFIG_PERF_EVENTS", true, "it has no events to trace with"),
    ("CONFIG_CPU_SUP_INTEL", true, "it has no Intel PT"),
    ("CONFIG_KVM_INTEL", false, "no VM of KVM can run on it"),
];

fn built(look: &Look<'_>) -> Vec<Check> {
    let Some(config) = config(look.host) else {
        let found = "neither /proc/config.gz nor /boot nor /lib/modules has it";
        return vec![Check::new(SUBJECT, "config", Verdict::Unknown, found)];
    };
    let value = |option: &str| config.lines().find_map(|line| line.strip_prefix(option)?.strip_prefix('='));
    let check = |(option, prevents, else_what)| match value(option) {
        Some(how @ ("y" | "m")) => Check::new(SUBJECT, option, Verdict::Ok, how),
        _ => {
            let found = format!("not set: {else_what}");
            let check = Check::new(SUBJECT, option, Verdict::NotOk, found).advise("a kernel that was built with it");
            Check { prevents, ..check }
        }
    };
    OPTIONS.into_iter().map(check).collect()
}

/// In confidentiality mode nobody may see what the kernel does (Linux `security/lockdown`).
fn lockdown(host: &Host) -> Check {
    let line = host.line("/sys/kernel/security/lockdown").unwrap_or_default();
    match line.split_once('[').and_then(|(_, rest)| rest.split_once(']')) {
        Some(("confidentiality", _)) => {
            let check = Check::new(SUBJECT, "lockdown", Verdict::NotOk, "confidentiality: nobody may trace the kernel");
            Check { prevents: true, ..check }.advise("boot with lockdown=integrity, or without it")
        }
        Some((mode, _)) => Check::new(SUBJECT, "lockdown", Verdict::Ok, mode),
        None => Check::new(SUBJECT, "lockdown", Verdict::Ok, "not said to be"),
    }
}
