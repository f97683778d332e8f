//! What HAVAna's own recorder says in a perf.data, beside what perf knows of.
//!
//! Records of type 65 (`PERF_RECORD_HEADER_EVENT_TYPE`), which perf has not written since Linux 3.x and passes over:
//!
//! | bytes of the body | field |
//! | --- | --- |
//! | 0..8 | `HAVAna01` |
//! | 8..12 | length of the text |
//! | 12.. | the text: a [`RecorderNote`] as JSON; filled up to eight bytes |
//!
//! Whoever changes what a note means changes the last digits of the magic. Notes stand among the other records, so that
//! a recorder that was killed has said what it knew.

use serde::{Deserialize, Serialize};

use super::bytes::u32_at;
use super::record::kind;
use super::write::record::record;

const MAGIC: &[u8; 8] = b"HAVAna01";

/// No text is longer: the size of a record has 16 bits.
pub const LONGEST_NOTE: usize = 60_000;

/// One thing that the recorder says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecorderNote {
    /// The machine, and how it is recorded. Stands first.
    Machine(MachineNote),
    /// Two clocks at one moment.
    Clock {
        /// Host TSC.
        tsc: i64,
        /// Nanoseconds since 1970 UTC.
        wall_ns: i64,
    },
    /// This file goes on where another ended: what its trace tells of the time before is in that one too.
    Continues {
        /// Host TSC: what is before is the other's.
        tsc: i64,
        /// How many files came before it.
        files: u64,
    },
    /// VMs that were found on the host: those said before stay, unless of the same process.
    Vms {
        /// Host TSC.
        tsc: i64,
        /// Them.
        vms: Vec<VmNote>,
    },
    /// What the recorder has cost up to now.
    Cost(CostNote),
    /// The recording ends here, on purpose.
    End {
        /// Why.
        why: String,
        /// Host TSC: what is later is the next file's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<i64>,
    },
}

/// The machine, and how it is recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineNote {
    /// Version of the recorder.
    pub version: String,
    /// Its name.
    pub hostname: String,
    /// Its kernel's release.
    pub os_release: String,
    /// Its processor in words,
    pub cpu_name: String,
    /// and in numbers: `GenuineIntel,6,85,4`.
    pub cpu_id: String,
    /// Logical processors that were online.
    pub cpus: u32,
    /// The command.
    pub command: Vec<String>,
    /// `envelope`, `full` or `snapshot`.
    pub mode: String,
    /// `coarse`, `normal`, …
    pub precision: String,
    /// Cpus that share a core, a list a core, such as `0,4`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub thread_siblings: Vec<String>,
    /// What KVM lets its guests do with VMX: `nested` of its module is on.
    pub nested: Option<bool>,
}

/// A VM as the host sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VmNote {
    /// Its VMM's process.
    pub pid: i32,
    /// Which VMM: `qemu`, `firecracker`, `cloud-hypervisor`, `crosvm`, `other`.
    pub vmm: String,
    /// What it is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its UUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// It is libvirt's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub libvirt: bool,
    /// Its guest is offered VMX: it may have guests of its own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub nested: bool,
    /// Threads that run vCPUs: thread, index of the vCPU.
    pub vcpus: Vec<(i32, u32)>,
    /// Threads that work for its virtio devices in the kernel (`vhost-PID`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vhost: Vec<i32>,
}

/// What the recorder has cost since it began.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CostNote {
    /// Seconds.
    pub seconds: f64,
    /// Its CPU time, in user space and in the kernel.
    pub cpu_seconds: f64,
    /// Peak of its resident memory, bytes.
    pub memory_bytes: u64,
    /// Bytes written, all told.
    pub bytes: u64,
    /// A cpu each.
    pub cpus: Vec<CpuCost>,
}

/// What came of one cpu.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuCost {
    /// Which.
    pub cpu: u32,
    /// Bytes of trace.
    pub trace_bytes: u64,
    /// Bytes of the kernel's records.
    pub record_bytes: u64,
    /// Times that its trace stopped because its ring was full (or PARTIAL, COLLISION).
    pub stops: u64,
    /// The kernel's records that were lost.
    pub lost_records: u64,
    /// Bytes of trace that were taken out of the ring and could not be written.
    pub unwritten_bytes: u64,
}

impl RecorderNote {
    /// The record; `None` where the text is longer than a record.
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        let text = serde_json::to_vec(self).ok().filter(|text| text.len() <= LONGEST_NOTE)?;
        let mut body = MAGIC.to_vec();
        body.extend((text.len() as u32).to_le_bytes());
        body.extend(text);
        body.resize(body.len().next_multiple_of(8), 0);
        Some(record(kind::NOTE, 0, &body))
    }

    /// What a record of type 65 says; `None` where it is not ours, or damaged.
    pub(super) fn read(body: &[u8]) -> Option<RecorderNote> {
        let rest = body.strip_prefix(MAGIC)?;
        let len = usize::try_from(u32_at(rest, 0)?).ok()?;
        serde_json::from_slice(rest.get(4..)?.get(..len)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let vm = VmNote { pid: 7, name: Some("web-2".into()), vcpus: vec![(8, 0), (9, 1)], ..VmNote::default() };
        let notes = [
            RecorderNote::Machine(MachineNote { hostname: "kvm-07".into(), ..MachineNote::default() }),
            RecorderNote::Clock { tsc: -5, wall_ns: 1 << 60 },
            RecorderNote::Continues { tsc: 7, files: 3 },
            RecorderNote::Vms { tsc: 1, vms: vec![vm] },
            RecorderNote::Cost(CostNote { seconds: 1.5, cpus: vec![CpuCost::default()], ..CostNote::default() }),
            RecorderNote::End { why: "SIGINT".into(), until: Some(8) },
        ];
        for note in notes {
            let bytes = note.bytes().unwrap();
            assert_eq!(bytes.len() % 8, 0);
            assert_eq!(RecorderNote::read(&bytes[8..]), Some(note));
            for cut in 8..bytes.len() - 8 {
                assert_eq!(RecorderNote::read(&bytes[8..cut]), None);
            }
        }
        assert_eq!(RecorderNote::read(b"something else that is long enough"), None);
    }

    #[test]
    fn one_that_is_too_long_is_no_record() {
        assert_eq!(RecorderNote::End { why: "x".repeat(LONGEST_NOTE), until: None }.bytes(), None);
    }
}
