//! `perf_event_attr` (Linux `include/uapi/linux/perf_event.h`), as far as recordings of Intel PT need it.
//!
//! | offset | field | offset | field |
//! | --- | --- | --- | --- |
//! | 0 | type: the PMU | 32 | read_format |
//! | 4 | size | 40 | flags |
//! | 8 | config | 48 | wakeup_watermark |
//! | 16 | sample_period | 104 | aux_watermark |
//! | 24 | sample_type | | |

use super::super::header::{flag, sample};

/// An event, as the kernel takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute {
    /// Which PMU: a number from sysfs, or 1 for the kernel's own.
    pub pmu: u32,
    /// What of it.
    pub config: u64,
    /// What its samples hold, and what stands behind its records: [`Attribute::BEHIND_RECORDS`] in what is recorded here.
    pub sample_type: u64,
    /// [`Flags`].
    pub flags: u64,
    /// What a read of the event gives: [`Attribute::READ`], less where a kernel knows less.
    pub read_format: u64,
    /// The reader is woken each time that so many bytes of records have come ([`Flags::WATERMARK`]).
    pub wakeup_watermark: u32,
    /// Bytes of trace from one AUX record to the next; 0: half a ring.
    pub aux_watermark: u32,
}

/// Bits of `perf_event_attr`'s flags.
#[derive(Debug)]
pub struct Flags;

impl Flags {
    /// Begins switched off.
    pub const DISABLED: u64 = 1;
    /// Not of user space, of the kernel, of a hypervisor.
    pub const EXCLUDE_USER: u64 = flag::EXCLUDE_USER;
    /// As above.
    pub const EXCLUDE_KERNEL: u64 = flag::EXCLUDE_KERNEL;
    /// As above.
    pub const EXCLUDE_HV: u64 = 1 << 6;
    /// MMAP records.
    pub const MMAP: u64 = 1 << 8;
    /// COMM records.
    pub const COMM: u64 = 1 << 9;
    /// FORK and EXIT records.
    pub const TASK: u64 = 1 << 13;
    /// Each record says when, where and by whom.
    pub const SAMPLE_ID_ALL: u64 = flag::SAMPLE_ID_ALL;
    /// MMAP2 records.
    pub const MMAP2: u64 = 1 << 23;
    /// COMM records tell an exec.
    pub const COMM_EXEC: u64 = 1 << 24;
    /// Wakes its reader by bytes, not by events.
    pub const WATERMARK: u64 = 1 << 14;
    /// SWITCH records.
    pub const CONTEXT_SWITCH: u64 = 1 << 26;
    /// Records are written from the ring's end to its begin, each before the one that is older.
    pub const WRITE_BACKWARD: u64 = 1 << 27;
    /// NAMESPACES records (Linux 4.12).
    pub const NAMESPACES: u64 = 1 << 28;
    /// KSYMBOL records (5.1).
    pub const KSYMBOL: u64 = 1 << 29;
    /// CGROUP records (5.7).
    pub const CGROUP: u64 = 1 << 32;
    /// What the event beside Intel PT records of threads and processes: it samples nothing itself.
    pub const SIDEBAND: u64 = Self::EXCLUDE_KERNEL
        | Self::EXCLUDE_HV
        | Self::MMAP
        | Self::MMAP2
        | Self::COMM
        | Self::COMM_EXEC
        | Self::TASK
        | Self::CONTEXT_SWITCH
        | Self::SAMPLE_ID_ALL;
}

impl Attribute {
    /// Bytes: `PERF_ATTR_SIZE_VER7`.
    pub const SIZE: usize = 128;
    /// `PERF_TYPE_SOFTWARE`.
    pub const SOFTWARE: u32 = 1;
    /// `PERF_TYPE_TRACEPOINT`.
    pub const TRACEPOINT: u32 = 2;
    /// `PERF_COUNT_SW_DUMMY`: an event that is only there for its records.
    pub const DUMMY: u64 = 9;
    /// What stands behind each record: thread, time, cpu, identifier. And in samples the IP.
    pub const BEHIND_RECORDS: u64 = 1 | sample::TID | sample::TIME | sample::CPU | sample::IDENTIFIER;
    /// A sample of a tracepoint: thread, time, cpu, and what the tracepoint says.
    pub const OF_TRACEPOINT: u64 = sample::TID | sample::TIME | sample::CPU | sample::RAW;
    /// Its id, and how many records were lost (`PERF_FORMAT_LOST`, Linux 6.0).
    pub const READ: u64 = 0x14;
    /// As kernels before 6.0 know it.
    pub const READ_ID: u64 = 0x4;
    /// What a sampling event needs; of trace and records it decides nothing.
    pub const PERIOD: u64 = 1;

    /// As it stands in a file.
    pub(super) fn bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let mut put = |at: usize, word: &[u8]| bytes[at..at + word.len()].copy_from_slice(word);
        put(0, &self.pmu.to_le_bytes());
        put(4, &(Self::SIZE as u32).to_le_bytes());
        put(8, &self.config.to_le_bytes());
        put(16, &Self::PERIOD.to_le_bytes());
        put(24, &self.sample_type.to_le_bytes());
        put(32, &self.read_format.to_le_bytes());
        put(40, &self.flags.to_le_bytes());
        put(48, &self.wakeup_watermark.to_le_bytes());
        put(104, &self.aux_watermark.to_le_bytes());
        bytes
    }
}

/// Bits of Intel PT's `config`: those of IA32_RTIT_CTL (SDM), but for `PT`, which only says that the others are meant.
#[derive(Debug)]
pub struct PtConfig;

impl PtConfig {
    /// These bits, and nothing added.
    pub const PT: u64 = 1;
    /// CYC packets.
    pub const CYC: u64 = 1 << 1;
    /// Power events.
    pub const POWER: u64 = 1 << 4;
    /// TSC packets.
    pub const TSC: u64 = 1 << 10;
    /// MTC packets.
    pub const MTC: u64 = 1 << 9;
    /// Returns are not compressed.
    pub const NORETCOMP: u64 = 1 << 11;
    /// Branches.
    pub const BRANCH: u64 = super::super::BRANCH_EN;
    /// N: an MTC each 2^N crystal ticks.
    pub const MTC_PERIOD: u64 = 0xf << 14;
    /// N: a PSB each 2^(N + 11) bytes.
    pub const PSB_PERIOD: u64 = 0xf << 24;
    /// Event Trace.
    pub const EVENT: u64 = 1 << 31;
}
