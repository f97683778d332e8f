//! Threads that were there before, and the kernel's code, as perf makes such records up: of no time.

use havana_trace::Thread;
use havana_trace::perf_data::record::{self, By};

use super::Process;
use crate::Host;

/// Of each thread its begin and its name; of each process where its program's code is.
pub fn threads(host: &Host) -> Vec<u8> {
    let by = By::perf();
    let mut out = Vec::new();
    for process in Process::all(host) {
        let pid = process.pid;
        let parent = process.parent();
        for (tid, name) in process.threads() {
            let thread = Thread { pid, tid };
            let parent = if tid == pid { Thread { pid: parent, tid: parent } } else { Thread { pid, tid: pid } };
            out.extend(record::fork(thread, parent, &by));
            out.extend(record::comm(thread, &name, &by));
        }
        let Some(program) = process.program().and_then(|p| p.into_os_string().into_string().ok()) else { continue };
        if let Some((begin, end, offset)) = process.code(&program) {
            let thread = Thread { pid, tid: pid };
            out.extend(record::code(thread, &program, (begin, end.saturating_sub(begin), offset), &by));
        }
    }
    out
}

/// Where the kernel's own code is. That takes reading all of its symbols, and does not change while it runs.
pub fn kernel(host: &Host) -> Vec<u8> {
    let symbols = host.read("/proc/kallsyms").unwrap_or_default();
    let address = |name: &str| {
        let line = symbols.lines().find(|line| line.split(' ').nth(2) == Some(name))?;
        u64::from_str_radix(line.split(' ').next()?, 16).ok().filter(|at| *at > 0)
    };
    // Without the right to see them, addresses are zeros.
    match (address("_text"), address("_etext")) {
        (Some(text), Some(end)) => record::kernel_code(text, end.saturating_sub(text), "[kernel.kallsyms]_text"),
        _ => Vec::new(),
    }
}

/// Where the code of its modules is, of those that are loaded now.
pub fn modules(host: &Host) -> Vec<u8> {
    let mut out = Vec::new();
    for line in host.read("/proc/modules").unwrap_or_default().lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, size, ..] = words[..] else { continue };
        let at = words.get(5).and_then(|w| u64::from_str_radix(w.trim_start_matches("0x"), 16).ok());
        if let (Some(at), Ok(size)) = (at.filter(|at| *at > 0), size.parse()) {
            out.extend(record::kernel_code(at, size, &format!("[{name}]")));
        }
    }
    out
}
