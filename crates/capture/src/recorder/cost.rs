//! What the recorder itself costs.

use std::time::Instant;

use havana_trace::perf_data::{CostNote, CpuCost};

use crate::host::cpu_time;

/// What a recorder has counted since it began.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counted {
    /// What it cost, a cpu each; one that went offline and came again is there twice.
    pub cost: CostNote,
    /// Files that were begun.
    pub files: u64,
    /// Snapshots that were written on demand.
    pub snapshots: u64,
    /// Times that it woke up.
    pub wakeups: u64,
    /// VMs that are known.
    pub vms: usize,
}

/// Up to now. `bytes`: written, all told.
pub(super) fn now(began: Instant, bytes: u64, cpus: Vec<CpuCost>) -> CostNote {
    CostNote {
        seconds: began.elapsed().as_secs_f64(),
        cpu_seconds: cpu_time().as_secs_f64(),
        memory_bytes: peak_memory().unwrap_or(0),
        bytes,
        cpus,
    }
}

/// The most memory that was resident, rings counted.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}
