//! Why a host cannot be recorded. The text is what the user reads, and says what to do.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why a host cannot be recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// No Intel PT.
    #[error(
        "no Intel PT on this host ({why}): record on one that has it; here analyze, view, simulate and demo work, and top --from"
    )]
    NoPt {
        /// Why, as far as can be told.
        why: &'static str,
    },
    /// The kernel does not let us.
    #[error(
        "not permitted to trace all of this host: run as root, or give the program cap_perfmon, cap_ipc_lock and \
         cap_sys_ptrace (setcap cap_perfmon,cap_ipc_lock,cap_sys_ptrace=ep havana), or set kernel.perf_event_paranoid=-1"
    )]
    NotPermitted,
    /// Another has it.
    #[error(
        "Intel PT of cpu {cpu} is in use: stop what traces with it (a perf record -e intel_pt//, another havana record, KVM \
         with pt_mode=1), then try again"
    )]
    Busy {
        /// Where.
        cpu: u32,
    },
    /// The kernel locks no more memory for us.
    #[error(
        "not permitted to lock {mb} MB of memory a cpu for the rings: say a smaller --buffer, raise ulimit -l or \
         kernel.perf_event_mlock_kb, or give the program cap_ipc_lock"
    )]
    MayNotLock {
        /// Of a cpu's rings.
        mb: u64,
    },
    /// There is none.
    #[error("no memory for rings of {mb} MB a cpu: say a smaller --buffer, or fewer --cpus")]
    NoMemory {
        /// Of a cpu's rings.
        mb: u64,
    },
    /// Times could not be told.
    #[error(
        "the kernel does not tie its clock to the TSC, so times could not be told: see which clock it has, and why, in \
         /sys/devices/system/clocksource/clocksource0/current_clocksource and dmesg"
    )]
    NoClock,
    /// A setting that this processor or kernel does not take.
    #[error("cpu {cpu}: the kernel refuses these settings of intel_pt ({config:#x}): {source}")]
    Refused {
        /// Where.
        cpu: u32,
        /// `perf_event_attr.config`.
        config: u64,
        /// What it says.
        source: io::Error,
    },
    /// Something asked for that cannot be.
    #[error("{what}")]
    CannotDo {
        /// What, and what to do instead.
        what: String,
    },
    /// A cpu that is not there.
    #[error("cpu {cpu} is not online: those that are: {online}")]
    NoSuchCpu {
        /// Which.
        cpu: u32,
        /// Those that are.
        online: String,
    },
    /// A command that cannot be run.
    #[error("{program}: {source}")]
    Command {
        /// Its name.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// A command that failed, so that its times say nothing.
    #[error(
        "the command failed ({status}) with {way} recorded, so its times say nothing: say --ignore-status if it ends so \
         always"
    )]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// What was recorded meanwhile.
        way: String,
    },
    /// Somebody wants an end.
    #[error("{signal}: ended before all was done")]
    Interrupted {
        /// Which signal said so.
        signal: &'static str,
    },
    /// The output cannot be written.
    #[error("{}: {}", path.display(), output_says(error))]
    Output {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A call that does not fail.
    #[error("{call}: {source}")]
    System {
        /// Which.
        call: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

fn output_says(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            "the file system is read-only: say -o FILE on one that can be written".into()
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "no room left on the file system: make room, or say -o FILE elsewhere (--max-size, --rotate-size bound what \
             is written)"
                .into()
        }
        io::ErrorKind::PermissionDenied => "not permitted to write here: say -o FILE elsewhere".into(),
        _ => error.to_string(),
    }
}

impl CaptureError {
    /// Of a system call that does not fail.
    pub(crate) fn system(call: &'static str) -> impl Fn(rustix::io::Errno) -> CaptureError {
        move |errno| CaptureError::System { call, source: errno.into() }
    }

    /// Whether the host stands in the way, so that it helps to look at all of it.
    pub fn is_of_host(&self) -> bool {
        use CaptureError::{Busy, MayNotLock, NoClock, NoMemory, NoPt, NotPermitted, Refused};
        matches!(
            self,
            NoPt { .. } | NotPermitted | Busy { .. } | MayNotLock { .. } | NoMemory { .. } | NoClock | Refused { .. }
        )
    }

    /// What is wrong; what to do, where the text says it.
    pub(crate) fn parts(&self) -> (String, Option<String>) {
        let text = self.to_string();
        let says_no_more =
            matches!(self, CaptureError::Refused { .. } | CaptureError::Output { .. } | CaptureError::System { .. });
        match text.rsplit_once(": ").filter(|_| !says_no_more) {
            Some((what, advice)) => (what.into(), Some(advice.into())),
            None => (text, None),
        }
    }

    /// What `perf_event_open` of Intel PT says (man 2 perf_event_open; Linux `pt_event_init`, `exclusive_event_init`).
    pub(crate) fn of_open(errno: rustix::io::Errno, cpu: u32, config: u64) -> CaptureError {
        use rustix::io::Errno;
        match errno {
            Errno::ACCESS | Errno::PERM => CaptureError::NotPermitted,
            Errno::BUSY => CaptureError::Busy { cpu },
            Errno::MFILE | Errno::NFILE => {
                CaptureError::CannotDo { what: "too many open files: raise ulimit -n, three a cpu are needed".into() }
            }
            _ => CaptureError::Refused { cpu, config, source: errno.into() },
        }
    }

    /// What mapping its rings says.
    pub(crate) fn of_map(errno: rustix::io::Errno, mb: u64) -> CaptureError {
        use rustix::io::Errno;
        match errno {
            Errno::PERM | Errno::AGAIN => CaptureError::MayNotLock { mb },
            Errno::NOMEM => CaptureError::NoMemory { mb },
            _ => CaptureError::System { call: "mmap of a ring", source: errno.into() },
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    /// What a user reads where the kernel refuses.
    #[test]
    fn each_refusal_is_one_sentence_that_says_what_to_do() {
        let output = |errno: Errno| CaptureError::Output { path: "/mnt/x.data".into(), error: errno.into() };
        let open = |errno| CaptureError::of_open(errno, 3, 0x2401);
        for (error, what, to_do) in [
            (open(Errno::ACCESS), "not permitted to trace all of this host", "run as root"),
            (open(Errno::PERM), "not permitted to trace all of this host", "cap_perfmon"),
            (open(Errno::BUSY), "Intel PT of cpu 3 is in use", "stop what traces with it"),
            (open(Errno::MFILE), "too many open files", "raise ulimit -n"),
            (open(Errno::INVAL), "cpu 3: the kernel refuses these settings of intel_pt (0x2401)", "Invalid argument"),
            (CaptureError::of_map(Errno::PERM, 5), "not permitted to lock 5 MB", "a smaller --buffer"),
            (CaptureError::of_map(Errno::NOMEM, 5), "no memory for rings of 5 MB a cpu", "fewer --cpus"),
            (
                output(Errno::ROFS),
                "/mnt/x.data: the file system is read-only",
                "say -o FILE on one that can be written",
            ),
            (output(Errno::NOSPC), "/mnt/x.data: no room left on the file system", "--max-size"),
            (output(Errno::ACCESS), "/mnt/x.data: not permitted to write here", "say -o FILE elsewhere"),
        ] {
            let text = error.to_string();
            assert!(text.starts_with(what) && text.contains(to_do) && !text.contains('\n'), "{text}");
        }
    }
}
