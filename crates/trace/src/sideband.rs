//! What the host's kernel says beside the trace: who was switched to, and what threads are called.
//!
//! It names things and sharpens states. Nothing is found by it.

use crate::perf;

/// What the kernel says beside a trace, to be read front to back, as often as wanted.
#[derive(Debug)]
pub struct Sideband {
    pub(crate) kept: Kept,
    /// The kernel tells a thread that was preempted from one that waits (Linux 4.17 and later).
    pub tells_preemption: bool,
    /// It is of all cpus of the node: a thread that is off one of them is off all.
    pub all_cpus: bool,
    /// Ticks of the TSC from one moment of the kernel's clock to the next, at the most: a record's time is not before
    /// what it says, and not after that.
    pub resolution: i64,
}

/// Where records come from.
#[derive(Debug)]
pub(crate) enum Kept {
    /// A perf.data.
    File(perf::Events),
    /// Memory; whether switches between threads are told.
    Told(Vec<Record>, bool),
}

/// One thing that it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Host TSC; `i64::MIN` for what held before the recording began.
    pub tsc: i64,
    /// On which cpu, where that is known.
    pub cpu: Option<u32>,
    /// What.
    pub what: Said,
}

/// A thread, by its kernel's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Thread {
    /// Its process. 0: an idle thread.
    pub pid: i32,
    /// Itself.
    pub tid: i32,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The cpu runs this thread from here on.
    In(Thread),
    /// It stops to.
    Out {
        /// Which.
        thread: Thread,
        /// It would have run on. Always false where the kernel does not tell.
        preempted: bool,
    },
    /// A thread's name.
    Name(Thread, String),
    /// A file that holds code of a process.
    Program {
        /// The process.
        pid: i32,
        /// The file.
        file: String,
    },
    /// A thread begins.
    Fork {
        /// Which.
        thread: Thread,
        /// The process that made it. 2: the kernel's own.
        parent: i32,
    },
    /// A thread ends.
    Exit(Thread),
    /// Records of this cpu are missing here.
    Lost,
}

impl Sideband {
    /// The same kernel, of which only these records are told: in the order of time.
    #[must_use]
    pub fn only(&self, records: Vec<Record>) -> Sideband {
        let Sideband { tells_preemption, all_cpus, resolution, .. } = *self;
        Sideband { kept: Kept::Told(records, self.tells_switches()), tells_preemption, all_cpus, resolution }
    }

    /// It tells of switches between threads, and of their time and cpu.
    pub fn tells_switches(&self) -> bool {
        match &self.kept {
            Kept::File(events) => events.switches,
            Kept::Told(_, switches) => *switches,
        }
    }

    /// All records in the order of time.
    ///
    /// Memory is bounded: what comes late by more than the recorder's buffers hold comes out of order.
    pub fn records(&self) -> Box<dyn Iterator<Item = Record> + Send + '_> {
        match &self.kept {
            Kept::File(events) => Box::new(events.records()),
            Kept::Told(records, _) => Box::new(records.iter().cloned()),
        }
    }
}
