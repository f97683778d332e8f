//! Which metrics there are: here and nowhere else are they named.
//!
//! Names follow Prometheus' habit: base units, and `_total` for what only grows. Every sample also has the label `node`.
//! `docs/metrics.md` lists them as they stand here; a test holds it to that.

/// What a metric does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It is what it is now.
    Gauge,
}

impl Kind {
    /// As Prometheus calls it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        }
    }
}

/// A metric, whatever its labels' values.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// What it is called, with its unit.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// What tells its samples apart, beside the node.
    pub labels: &'static [&'static str],
    /// What it means: a sentence without markup.
    pub help: &'static str,
}

macro_rules! families {
    ($(#[$doc:meta])* $all:ident: $($family:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(crate) static $family: Family =
            Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*
        $(#[$doc])*
        pub static $all: &[&Family] = &[$(&$family),*];
    };
}

families! {
    /// Those of `havana top`.
    TOP:
    CPU_SECONDS = Counter "havana_cpu_seconds_total" ["cpu", "state"]
        "Time of a cpu, by what it did: guest, hypervisor, host, idle, lost, unknown.";
    VCPU_SECONDS = Counter "havana_vcpu_seconds_total" ["vm", "vcpu", "state"]
        "Time of a vCPU, by its state: guest, hypervisor, preempted, waiting, off_cpu, lost, unknown, unseen.";
    VCPU_INFERRED = Counter "havana_vcpu_inferred_seconds_total" ["vm", "vcpu"]
        "Of preempted and waiting: what follows from a rule, and no record of the kernel says.";
    VCPU_EXITS = Counter "havana_vcpu_exits_total" ["vm", "vcpu"]
        "VM exits of a vCPU.";
    VM_EXITS = Counter "havana_vm_exits_total" ["vm", "reason"]
        "VM exits by basic exit reason; untold where the trace does not say it.";
    STOLEN_SECONDS = Counter "havana_stolen_seconds_total" ["vm", "by_kind", "by"]
        "Time in which vCPUs of the VM were preempted, by who had their cpu: a vm, a process of the host, a kernel's thread, other.";
    PROCESS_SECONDS = Counter "havana_vm_process_seconds_total" ["vm", "rank"]
        "Time in the guest of the VM's busiest, second and third busiest process of each window, and of the rest.";
    NAMELESS_SECONDS = Counter "havana_nameless_guest_seconds_total" []
        "Time of cpus in guests of which no VM is known.";
    LOST_SECONDS = Counter "havana_lost_seconds_total" ["cause"]
        "Time of cpus of which the trace was lost, by cause.";
    LOSSES = Counter "havana_losses_total" ["cause"]
        "Stretches of trace that were lost, by cause.";
    VM_INFO = Gauge "havana_vm_info" ["vm", "uuid", "pid"]
        "1 for each VM that was seen lately: its UUID and its VMM's process, where they are known.";
    VMS = Gauge "havana_vms" []
        "VMs that the last window saw.";
    TOP_WINDOWS = Counter "havana_top_windows_total" []
        "Windows that were looked at.";
    TOP_SECONDS = Counter "havana_top_seconds_total" []
        "Time that these windows are of.";
    TOP_BYTES = Counter "havana_top_trace_bytes_total" []
        "Trace that was read for them.";
    TOP_ANALYSIS = Counter "havana_top_analysis_seconds_total" []
        "Time that their analysis took.";
    TOP_CPU = Counter "havana_top_cpu_seconds_total" []
        "CPU time of havana top itself.";
    TOP_END = Gauge "havana_top_window_end_timestamp_seconds" []
        "When the last window ended, Unix time; only where the trace tells.";
}

families! {
    /// Those of `havana record`.
    RECORD:
    RECORD_INFO = Gauge "havana_record_info" ["version", "event"]
        "1: the version of the recorder, and what it records in perf's words.";
    RECORD_SECONDS = Counter "havana_record_seconds_total" []
        "How long it has recorded.";
    RECORD_TRACE = Counter "havana_record_trace_bytes_total" ["cpu"]
        "Trace that was taken from a cpu's ring.";
    RECORD_RECORDS = Counter "havana_record_kernel_records_bytes_total" ["cpu"]
        "Records of the kernel that were taken from a cpu's ring.";
    RECORD_STOPS = Counter "havana_record_stops_total" ["cpu"]
        "Times that a cpu's trace stopped, its ring being full: what follows is missing.";
    RECORD_LOST = Counter "havana_record_lost_records_total" ["cpu"]
        "Records that the kernel lost, the ring being full.";
    RECORD_UNWRITTEN = Counter "havana_record_unwritten_bytes_total" ["cpu"]
        "Trace that was left in the ring at the end, as it could not be written.";
    RECORD_WRITTEN = Counter "havana_record_written_bytes_total" []
        "Bytes of all files, those removed since too.";
    RECORD_FILES = Counter "havana_record_files_total" []
        "Files that were begun.";
    RECORD_SNAPSHOTS = Counter "havana_record_snapshots_total" []
        "Snapshots that were written on demand.";
    RECORD_WAKEUPS = Counter "havana_record_wakeups_total" []
        "Times that the recorder woke up.";
    RECORD_CPU = Counter "havana_record_cpu_seconds_total" []
        "CPU time of the recorder.";
    RECORD_MEMORY = Gauge "havana_record_memory_peak_bytes" []
        "The most memory that was resident, rings counted.";
    RECORD_VMS = Gauge "havana_record_vms" []
        "VMs that were found on the host.";
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn names_are_as_prometheus_wants_them() {
        let mut names: Vec<&str> = TOP.iter().chain(RECORD).map(|family| family.name).collect();
        for family in TOP.iter().chain(RECORD) {
            let Family { name, kind, labels, help } = family;
            assert!(name.starts_with("havana_") && name.bytes().all(|b| b == b'_' || b.is_ascii_lowercase()), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(help.ends_with('.') && !help.contains(['\n', '\\', '|']), "{name}: {help}");
            assert!(!labels.contains(&"node"), "{name} has it anyway");
        }
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }

    #[test]
    fn the_page_of_the_docs_lists_them_all() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
        let page = std::fs::read_to_string(page).unwrap();
        let listed: Vec<&str> = page.lines().filter(|line| line.starts_with("| `havana_")).collect();
        let due: Vec<String> = TOP
            .iter()
            .chain(RECORD)
            .map(|f| format!("| `{}` | {} | {} | {} |", f.name, f.kind.name(), f.labels.join(", "), f.help))
            .collect();
        let text = due.join("\n");
        assert!(listed == due, "docs/metrics.md should have these rows:\n{text}");
    }
}
