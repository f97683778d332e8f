//! How a trace was recorded, as far as it says; and what is to be known before it is believed.

use std::collections::BTreeMap;
use std::fmt;

use crate::perf_data::{CostNote, MachineNote, RecorderNote, VmNote};

/// How a trace was recorded. `None`: it does not say.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Recording {
    /// The command, a word an item.
    pub command: Vec<String>,
    /// The kernel's release, as `uname -r` has it.
    pub os_release: Option<String>,
    /// The processor, in words.
    pub cpu_name: Option<String>,
    /// Cpus that share a core; none where each has its own, or nothing is said.
    pub thread_siblings: Vec<Vec<u32>>,
    /// All of the cpu, or some threads only.
    pub system_wide: Option<bool>,
    /// Root operation of the kernel was traced.
    pub kernel: Option<bool>,
    /// And of user space.
    pub user: Option<bool>,
    /// With branches.
    pub branches: Option<bool>,
    /// What ties the TSC to the time of day.
    pub wall: Option<Wall>,
    /// What our own recorder said, where it made the recording.
    pub recorder: Option<Recorder>,
    /// What the trace may be missing, and what to record instead.
    pub notes: Vec<Note>,
}

/// No more VMs are remembered: a damaged file may tell of any number.
const MOST_VMS: usize = 1 << 16;

/// What HAVAna's own recorder said beside the trace.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Recorder {
    /// The machine, and how it was recorded.
    pub machine: MachineNote,
    /// What ties the TSC to the time of day.
    pub wall: Option<Wall>,
    /// Host TSC: what the trace tells of the time before stands in the file before, too.
    pub continues: Option<i64>,
    /// Host TSC: what is later stands in the next file, too.
    pub until: Option<i64>,
    /// VMs of the host, by the process of their VMM.
    pub vms: BTreeMap<i32, VmNote>,
    /// What it cost, as last said.
    pub cost: Option<CostNote>,
    /// Why it ended, where it did so itself.
    pub ended: Option<String>,
}

impl Recorder {
    pub(crate) fn hear(&mut self, note: RecorderNote) {
        match note {
            RecorderNote::Machine(machine) => self.machine = machine,
            RecorderNote::Clock { tsc, wall_ns } => self.wall = Some(Wall { tsc, ns: wall_ns }),
            RecorderNote::Continues { tsc, .. } => self.continues = Some(tsc),
            RecorderNote::Vms { vms, .. } => {
                let room = MOST_VMS.saturating_sub(self.vms.len());
                self.vms.extend(vms.into_iter().take(room).map(|vm| (vm.pid, vm)));
            }
            RecorderNote::Cost(cost) => self.cost = Some(cost),
            RecorderNote::End { why, until } => (self.ended, self.until) = (Some(why), until),
        }
    }
}

/// A moment by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wall {
    /// Host TSC.
    pub tsc: i64,
    /// Nanoseconds since 1970 UTC.
    pub ns: i64,
}

/// Something about a recording that its reader should know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// User space only.
    NoKernel,
    /// The kernel only.
    NoUser,
    /// Some threads only.
    ThreadsOnly,
    /// A stream a thread: its cpus are not told.
    NoCpus,
    /// Tracing stopped while VMX was on.
    NoVmx,
    /// Neither the file nor the kernel ties event times to the TSC.
    NoTime {
        /// What event times are of.
        clock: &'static str,
    },
    /// Records of the kernel's events were lost.
    EventsLost {
        /// How many.
        count: u64,
    },
    /// The recorder did not end by itself.
    Unfinished,
    /// The file ends in the middle.
    Cut {
        /// Where.
        offset: u64,
    },
    /// From here on nothing in the file makes sense.
    Damaged {
        /// Where.
        offset: u64,
        /// What is wrong there.
        why: &'static str,
    },
    /// Cpus that the kernel spoke of, and no trace of them.
    NoTraceOf {
        /// Which.
        cpus: Vec<u32>,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::NoKernel => f.write_str(
                "recorded in user space only: VM entries and exits are the kernel's, and not in it; record with \
                 -e intel_pt/branch=0/ and no :u",
            ),
            Note::NoUser => f.write_str(
                "recorded in the kernel only: an entry into a guest's user space can be missed; record with \
                 -e intel_pt/branch=0/ and no :k",
            ),
            Note::ThreadsOnly => f.write_str(
                "recorded for some threads only: what else ran is not in it, and lost here; record all cpus with -a",
            ),
            Note::NoCpus => f.write_str(
                "recorded a stream a thread: on which cpus is not in it, and cpu N here is thread N; record without \
                 --per-thread",
            ),
            Note::NoVmx => f.write_str(
                "this processor stops its trace while VMX is on (no IA32_VMX_MISC[14]): what KVM did is not in it; record \
                 on a newer one",
            ),
            Note::NoTime { clock } => write!(
                f,
                "event times are of {clock} and not tied to the TSC: switches between threads are not used; record \
                 without --clockid"
            ),
            Note::EventsLost { count } => write!(
                f,
                "{count} records of the kernel were lost: who was switched to is not always known; record with a larger \
                 buffer (-m)"
            ),
            Note::Unfinished => f.write_str("the recorder did not end by itself: what it had written is read"),
            Note::Cut { offset } => write!(f, "the file ends in the middle, at offset {offset:#x}: the rest is lost"),
            Note::Damaged { offset, why } => {
                write!(f, "damaged at offset {offset:#x}: {why}; what is behind it is lost")
            }
            Note::NoTraceOf { cpus } => {
                let list: Vec<String> = cpus.iter().map(u32::to_string).collect();
                write!(f, "no trace of cpu {}: was its buffer never read?", list.join(", "))
            }
        }
    }
}
