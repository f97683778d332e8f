//! The events of our CTF traces, once for both versions of the metadata.
//!
//! Every field is aligned to bytes, in little-endian order: a record is its header and then its fields, without gaps. An id
//! or a time that is not known is −1, an address 0.

use havana_rows::{CpuStateKind, Evidence, FindingKind, LossCause, Severity, TakerKind, VcpuStateKind, reason};

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// 32 bits, signed.
    Id,
    /// 64 bits, signed.
    Number,
    /// 64 bits, shown as hexadecimal.
    Address,
    /// IEEE 754, 64 bits.
    Ratio,
    /// Ends in a zero byte.
    Text,
    /// A byte; 255 where it has no name.
    Name(fn() -> Vec<(i32, &'static str)>),
    /// As `Id`, some of whose values have names.
    NamedId(fn() -> Vec<(i32, &'static str)>),
}

/// A field of an event: its name, and what it holds.
pub(super) type Field = (&'static str, Kind);

/// A class of streams: one file for each cpu, or one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Streams {
    /// What cpus did, a stream a cpu.
    Cpu = 0,
    /// What vCPUs did.
    Vcpus = 1,
    /// Who there is, and what was found.
    Notes = 2,
}

impl Streams {
    pub(super) const ALL: [Streams; 3] = [Streams::Cpu, Streams::Vcpus, Streams::Notes];
}

/// A class of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Event {
    CpuState,
    Exit,
    Loss,
    VcpuState,
    Vm,
    Vcpu,
    Process,
    Finding,
}

macro_rules! codes {
    ($name:ident of $kind:ident) => {
        fn $name() -> Vec<(i32, &'static str)> {
            $kind::ALL.iter().map(|value| (*value as i32, value.name())).collect()
        }
    };
}
codes!(cpu_states of CpuStateKind);
codes!(vcpu_states of VcpuStateKind);
codes!(evidence of Evidence);
codes!(causes of LossCause);
codes!(takers of TakerKind);
codes!(finding_kinds of FindingKind);
codes!(severities of Severity);

fn reasons() -> Vec<(i32, &'static str)> {
    reason::NAMES.to_vec()
}

impl Event {
    pub(super) const ALL: [Event; 8] = [
        Event::CpuState,
        Event::Exit,
        Event::Loss,
        Event::VcpuState,
        Event::Vm,
        Event::Vcpu,
        Event::Process,
        Event::Finding,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Event::CpuState => "cpu_state",
            Event::Exit => "exit",
            Event::Loss => "loss",
            Event::VcpuState => "vcpu_state",
            Event::Vm => "vm",
            Event::Vcpu => "vcpu",
            Event::Process => "process",
            Event::Finding => "finding",
        }
    }

    pub(super) fn streams(self) -> Streams {
        match self {
            Event::CpuState | Event::Exit | Event::Loss => Streams::Cpu,
            Event::VcpuState => Streams::Vcpus,
            _ => Streams::Notes,
        }
    }

    /// In the order in which they are written.
    pub(super) fn fields(self) -> &'static [Field] {
        use Kind::{Address, Id, Name, NamedId, Number, Ratio, Text};
        match self {
            Event::CpuState => &[
                ("state", Name(cpu_states)),
                ("evidence", Name(evidence)),
                ("until", Number),
                ("start_lo", Number),
                ("start_hi", Number),
                ("vm_id", Id),
                ("vcpu_id", Id),
                ("process_id", Id),
                ("tid", Id),
            ],
            Event::VcpuState => &[
                ("state", Name(vcpu_states)),
                ("evidence", Name(evidence)),
                ("until", Number),
                ("start_lo", Number),
                ("start_hi", Number),
                ("vm_id", Id),
                ("vcpu_id", Id),
                ("cpu", Id),
                ("process_id", Id),
                ("taken_by_kind", Name(takers)),
                ("taken_by_id", Id),
            ],
            Event::Exit => &[
                ("exit_id", Id),
                ("vm_id", Id),
                ("vcpu_id", Id),
                ("process_id", Id),
                ("reason", NamedId(reasons)),
                ("evidence", Name(evidence)),
                ("exit_lo", Number),
                ("exit_hi", Number),
                ("reentry", Number),
                ("reentry_cpu", Id),
                ("guest_cr3", Address),
                ("guest_ip", Address),
            ],
            Event::Loss => &[
                ("cause", Name(causes)),
                ("until", Number),
                ("offset_bytes", Number),
                ("bytes", Number),
                ("source", Text),
            ],
            Event::Vm => &[("vm_id", Id), ("host_cr3", Address), ("name", Text)],
            Event::Vcpu => &[("vcpu_id", Id), ("vm_id", Id), ("vmcs", Address), ("name", Text)],
            Event::Process => &[("process_id", Id), ("vm_id", Id), ("cr3", Address), ("name", Text)],
            Event::Finding => &[
                ("finding_id", Id),
                ("kind", Name(finding_kinds)),
                ("severity", Name(severities)),
                ("score", Ratio),
                ("until", Number),
                ("vm_id", Id),
                ("vcpu_id", Id),
                ("process_id", Id),
                ("title", Text),
            ],
        }
    }
}
