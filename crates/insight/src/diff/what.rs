//! What is compared, and what it is called.

use serde::{Serialize, Serializer};

/// A quantity that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// A vCPU, or all of a VM's, in the guest.
    Guest,
    /// In root on its cpu.
    Hypervisor,
    /// Off the cpu though runnable.
    Preempted,
    /// Off the cpu, not runnable.
    Waiting,
    /// Off the cpu, and nothing says which.
    OffCpu,
    /// Preempted, for one that had its cpu.
    Stolen,
    /// A guest process on cpus, in the guest and in root for it.
    Process,
    /// In root for a guest process.
    Root,
    /// Exits of a VM or process, or those for a reason.
    Exits,
    /// From an exit to the next entry: the half takes longer.
    ExitMedian,
    /// One of a hundred takes longer.
    ExitP99,
    /// A cpu, awake.
    Busy,
    /// A cpu, asleep.
    Idle,
    /// A cpu whose trace is lost, or says not what it does.
    Lost,
}

/// What a quantity is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Of one cpu's time, 0 to 1; of several more.
    Share,
    /// How often.
    PerSecond,
    /// How often, where no rate is known: in 10⁹ ticks.
    PerGigatick,
    /// How long.
    Ns,
    /// How long, where no rate is known.
    Ticks,
}

impl What {
    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            What::Guest => "guest",
            What::Hypervisor => "hypervisor",
            What::Preempted => "preempted",
            What::Waiting => "waiting",
            What::OffCpu => "off_cpu",
            What::Stolen => "stolen",
            What::Process => "process",
            What::Root => "root",
            What::Exits => "exits",
            What::ExitMedian => "exit_median",
            What::ExitP99 => "exit_p99",
            What::Busy => "busy",
            What::Idle => "idle",
            What::Lost => "lost",
        }
    }

    /// In what it is measured, with a rate known or not.
    pub(super) const fn unit(self, is_rate_known: bool) -> Unit {
        match (self, is_rate_known) {
            (What::Exits, true) => Unit::PerSecond,
            (What::Exits, false) => Unit::PerGigatick,
            (What::ExitMedian | What::ExitP99, true) => Unit::Ns,
            (What::ExitMedian | What::ExitP99, false) => Unit::Ticks,
            _ => Unit::Share,
        }
    }

    /// What part of exits takes less.
    pub(super) const fn quantile(self) -> Option<f64> {
        match self {
            What::ExitMedian => Some(0.5),
            What::ExitP99 => Some(0.99),
            _ => None,
        }
    }
}

impl Serialize for What {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
