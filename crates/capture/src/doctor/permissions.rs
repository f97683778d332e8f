//! What this program may do (Linux `include/linux/perf_event.h`, `perf_allow_cpu`; `kernel/events/core.c`, `perf_mmap`;
//! man 7 capabilities).

use super::{Check, Look, Subject, Verdict, size};
use crate::{CaptureError, Host};

const SUBJECT: Subject = Subject::Permissions;

/// Capabilities, by their bits.
const IPC_LOCK: u32 = 14;
const SYS_PTRACE: u32 = 19;
const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;

/// What this process may do.
struct May {
    /// Effective capabilities; `None` where they cannot be told.
    caps: Option<u64>,
    paranoid: Option<i64>,
}

impl May {
    fn of(host: &Host) -> May {
        let status = host.read("/proc/self/status").unwrap_or_default();
        let caps = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        May {
            caps: caps.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()),
            paranoid: host.number("/proc/sys/kernel/perf_event_paranoid"),
        }
    }

    fn has(&self, bit: u32) -> bool {
        self.caps.is_some_and(|caps| caps >> bit & 1 == 1)
    }
}

pub(super) fn checks(look: &Look<'_>) -> Vec<Check> {
    let may = May::of(look.host);
    vec![tracing(look, &may), names(&may), memory(look, &may), files(look)]
}

fn tracing(look: &Look<'_>, may: &May) -> Check {
    const NAME: &str = "perf_event_paranoid";
    let Some(paranoid) = may.paranoid else {
        let found =
            "/proc/sys/kernel/perf_event_paranoid is not there: the kernel has no perf events, or this is a container";
        return Check::new(SUBJECT, NAME, Verdict::Unknown, found);
    };
    let held = [(PERFMON, "cap_perfmon"), (SYS_ADMIN, "cap_sys_admin")];
    let held = held.iter().find(|(bit, _)| may.has(*bit)).map(|(_, name)| *name);
    let opened = look.opened.iter().any(|(_, result)| result.is_ok());
    let why = match held {
        Some(name) => format!("{paranoid}, which does not bind this program ({name})"),
        None => format!("{paranoid}, and this program has neither cap_perfmon nor cap_sys_admin"),
    };
    let allowed = held.is_some() || paranoid <= 0 || opened;
    if !allowed {
        let check = Check::prevented(SUBJECT, NAME, &CaptureError::NotPermitted);
        Check { found: format!("{}: {why}", check.found), ..check }
    } else if look.was_refused() {
        let found = format!("{why}; the kernel refuses nevertheless: a rule of a container or of a security module");
        let check = Check::new(SUBJECT, NAME, Verdict::NotOk, found);
        Check { prevents: true, ..check }.advise("run outside of the container, or change that rule (seccomp, SELinux)")
    } else {
        Check::new(SUBJECT, NAME, Verdict::Ok, why)
    }
}

/// Whose files in `/proc` may be read.
fn names(may: &May) -> Check {
    const NAME: &str = "cap_sys_ptrace";
    if may.caps.is_none() {
        return Check::new(SUBJECT, NAME, Verdict::Unknown, "/proc/self/status does not say it");
    }
    if may.has(SYS_PTRACE) {
        return Check::new(SUBJECT, NAME, Verdict::Ok, "all processes can be looked at");
    }
    let found = "lacking: VMs and programs of other users may stay without a name";
    Check::new(SUBJECT, NAME, Verdict::NotOk, found)
        .advise("run as root, or give the program cap_sys_ptrace beside what it has (setcap)")
}

/// A limit in `/proc/self/limits`, the one that holds now; `u64::MAX` where there is none.
fn limit(host: &Host, name: &str) -> Option<u64> {
    let text = host.read("/proc/self/limits").ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?;
    if value == "unlimited" { Some(u64::MAX) } else { value.parse().ok() }
}

/// A user may lock `perf_event_mlock_kb` a cpu, and the process its `ulimit -l` beyond that.
fn memory(look: &Look<'_>, may: &May) -> Check {
    const NAME: &str = "locked memory";
    let each = look.events.locked_bytes();
    let all = each * look.cpus.len() as u64;
    let needs = format!(
        "rings of {} cpu{} need {} ({} each)",
        look.cpus.len(),
        if look.cpus.len() == 1 { "" } else { "s" },
        size(all),
        size(each)
    );
    if may.has(IPC_LOCK) {
        return Check::new(
            SUBJECT,
            NAME,
            Verdict::Ok,
            format!("{needs}, and no limit binds this program (cap_ipc_lock)"),
        );
    }
    if may.paranoid.is_some_and(|paranoid| paranoid < 0) {
        return Check::new(
            SUBJECT,
            NAME,
            Verdict::Ok,
            format!("{needs}, and with perf_event_paranoid -1 there is no limit"),
        );
    }
    let kb = look.host.number("/proc/sys/kernel/perf_event_mlock_kb").and_then(|kb| u64::try_from(kb).ok());
    let (Some(kb), Some(ulimit)) = (kb, limit(look.host, "Max locked memory")) else {
        return Check::new(SUBJECT, NAME, Verdict::Unknown, format!("{needs}; the limits cannot be read"));
    };
    let user = (kb << 10).saturating_mul(look.online.len() as u64);
    let most = user.saturating_add(ulimit);
    if most == u64::MAX {
        return Check::new(SUBJECT, NAME, Verdict::Ok, format!("{needs}, and there is no limit (ulimit -l)"));
    }
    let limits = format!(
        "{needs}, and {} may be locked (perf_event_mlock_kb {kb} a cpu, and {} by ulimit -l)",
        size(most),
        size(ulimit)
    );
    if all <= most {
        return Check::new(SUBJECT, NAME, Verdict::Ok, limits);
    }
    let check = Check::prevented(SUBJECT, NAME, &CaptureError::MayNotLock { mb: each.div_ceil(1 << 20) });
    Check { found: limits, ..check }
}

/// The recorder's events, and some more files.
fn files(look: &Look<'_>) -> Check {
    const NAME: &str = "open files";
    let needed = 3 * look.cpus.len() as u64;
    match limit(look.host, "Max open files") {
        None => Check::new(SUBJECT, NAME, Verdict::Unknown, "/proc/self/limits does not say how many there may be"),
        Some(u64::MAX) => Check::new(SUBJECT, NAME, Verdict::Ok, format!("{needed} needed, no limit")),
        Some(most) if most >= needed => Check::new(SUBJECT, NAME, Verdict::Ok, format!("{needed} needed of {most}")),
        Some(most) => {
            let found = format!("{needed} open files are needed, three a cpu, and {most} allowed");
            let check = Check::new(SUBJECT, NAME, Verdict::NotOk, found).advise(format!("ulimit -n {}", needed + 64));
            Check { prevents: true, ..check }
        }
    }
}
