//! One struct a table, one enum a column of named values, and [`Sink`], which takes them.

use std::collections::BTreeMap;

/// A moment, known within bounds: the truth lies in `lo..=hi`, and so does the best estimate `tsc` (host TSC ticks).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time {
    /// Best estimate.
    pub tsc: i64,
    /// Not before this.
    pub lo: i64,
    /// Not after this.
    pub hi: i64,
}

impl Time {
    /// A moment known to the tick.
    pub const fn exact(tsc: i64) -> Self {
        Time { tsc, lo: tsc, hi: tsc }
    }
}

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value, in the order of its dictionary code.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The name in the dataset.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }

            /// The value of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|v| v.name() == name)
            }
        }
    };
}

names! {
    /// How a state is known.
    Evidence {
        /// A packet or a record says so.
        Observed = "observed",
        /// It follows from a rule.
        Inferred = "inferred",
        /// Nothing says.
        Unknown = "unknown",
        /// The trace of this stretch was lost.
        Lost = "lost",
    }
}

names! {
    /// What a cpu does.
    CpuStateKind {
        /// Non-root: in a guest.
        Guest = "guest",
        /// Root after a VM exit with the VM's host CR3 still loaded, awake.
        Hypervisor = "hypervisor",
        /// Root, in another address space.
        Host = "host",
        /// Asleep.
        Idle = "idle",
        /// Trace lost.
        Lost = "lost",
        /// Not known.
        Unknown = "unknown",
    }
}

names! {
    /// What a vCPU does.
    VcpuStateKind {
        /// In its guest.
        Guest = "guest",
        /// In root, on its cpu, as far as can be told.
        Hypervisor = "hypervisor",
        /// Off the cpu though runnable.
        Preempted = "preempted",
        /// Off the cpu, not runnable.
        Waiting = "waiting",
        /// Off the cpu, and nothing says which.
        OffCpu = "off_cpu",
        /// Trace lost.
        Lost = "lost",
        /// Not known.
        Unknown = "unknown",
    }
}

names! {
    /// What a track of [`Lod`] does: the states of cpus and those of vCPUs, in the order in which they are stacked.
    State {
        /// [`CpuStateKind::Guest`], [`VcpuStateKind::Guest`].
        Guest = "guest",
        /// [`CpuStateKind::Hypervisor`], [`VcpuStateKind::Hypervisor`].
        Hypervisor = "hypervisor",
        /// [`VcpuStateKind::Preempted`].
        Preempted = "preempted",
        /// [`VcpuStateKind::Waiting`].
        Waiting = "waiting",
        /// [`VcpuStateKind::OffCpu`].
        OffCpu = "off_cpu",
        /// [`CpuStateKind::Host`].
        Host = "host",
        /// [`CpuStateKind::Idle`].
        Idle = "idle",
        /// [`CpuStateKind::Unknown`], [`VcpuStateKind::Unknown`].
        Unknown = "unknown",
        /// [`CpuStateKind::Lost`], [`VcpuStateKind::Lost`].
        Lost = "lost",
    }
}

impl State {
    /// Who has a cpu in this state: the VM, where it works for one.
    pub fn owner(self, vm_id: Option<i32>) -> Option<Taker> {
        let its_vm = vm_id.filter(|_| matches!(self, State::Guest | State::Hypervisor));
        its_vm.map(|vm| Taker { kind: TakerKind::Vm, id: Some(vm) })
    }
}

impl From<CpuStateKind> for State {
    fn from(kind: CpuStateKind) -> State {
        match kind {
            CpuStateKind::Guest => State::Guest,
            CpuStateKind::Hypervisor => State::Hypervisor,
            CpuStateKind::Host => State::Host,
            CpuStateKind::Idle => State::Idle,
            CpuStateKind::Lost => State::Lost,
            CpuStateKind::Unknown => State::Unknown,
        }
    }
}

impl From<VcpuStateKind> for State {
    fn from(kind: VcpuStateKind) -> State {
        match kind {
            VcpuStateKind::Guest => State::Guest,
            VcpuStateKind::Hypervisor => State::Hypervisor,
            VcpuStateKind::Preempted => State::Preempted,
            VcpuStateKind::Waiting => State::Waiting,
            VcpuStateKind::OffCpu => State::OffCpu,
            VcpuStateKind::Lost => State::Lost,
            VcpuStateKind::Unknown => State::Unknown,
        }
    }
}

names! {
    /// What has a track: a row of pictures.
    TrackKind {
        /// A cpu.
        Cpu = "cpu",
        /// A vCPU.
        Vcpu = "vcpu",
        /// A guest process, on whichever vCPUs it is.
        Process = "process",
    }
}

names! {
    /// Who had the cpu that a vCPU was off.
    TakerKind {
        /// Another VM (`taken_by_id` is its `vm_id`).
        Vm = "vm",
        /// A host address space (`taken_by_id` is its `process_id`).
        Host = "host",
    }
}

names! {
    /// What runs as a thread of the host.
    ThreadKind {
        /// A program's.
        User = "user",
        /// The kernel's own.
        Kernel = "kernel",
        /// What a cpu runs when there is nothing to run.
        Idle = "idle",
    }
}

names! {
    /// Why a stretch of trace is not usable.
    LossCause {
        /// OVF packet: the processor dropped packets.
        Overflow = "overflow",
        /// Bytes that are no packets.
        Damaged = "damaged",
        /// Bytes before the first PSB: packets, but nothing says where they begin.
        BeforeSync = "before_sync",
        /// The stream ends inside a packet.
        Truncated = "truncated",
        /// The packets contradict each other: something between them is missing.
        Inconsistent = "inconsistent",
        /// A recorder dropped data (AUX record flags).
        Dropped = "dropped",
        /// Tracing was off.
        TraceOff = "trace_off",
    }
}

names! {
    /// What kind of thing was found: the one first that explains most. Of findings about one process, an earlier kind is
    /// the reason of a later.
    FindingKind {
        /// The trace itself: losses, clocks that were set, VMs that came or went.
        Trace = "trace",
        /// Exits out of proportion.
        Exits = "exits",
        /// A vCPU that is stopped again and again.
        Waiting = "waiting",
        /// A process that comes again and again.
        Period = "period",
        /// A process that has most of a cpu, perhaps from some time on.
        Consumption = "consumption",
        /// Who had the cpu that a vCPU wanted.
        Steal = "steal",
        /// What is not as the profile of normal has it.
        Baseline = "baseline",
    }
}

names! {
    /// How much a finding matters.
    Severity {
        /// Good to know.
        Low = "low",
        /// Worth a look.
        Medium = "medium",
        /// Somebody suffers, or what is told cannot be relied on.
        High = "high",
    }
}

/// Who had the cpu that a vCPU was off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Taker {
    /// Which kind.
    pub kind: TakerKind,
    /// Which one; none where a thread of the kernel's own had it, which has no address space.
    pub id: Option<i32>,
}

/// A cpu in one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct CpuState {
    pub cpu: i32,
    pub start: Time,
    pub end: Time,
    pub state: CpuStateKind,
    pub evidence: Evidence,
    pub vm_id: Option<i32>,
    pub vcpu_id: Option<i32>,
    /// Of the guest in state `guest`, else of the host.
    pub process_id: Option<i32>,
    pub host_cr3: Option<i64>,
    pub guest_cr3: Option<i64>,
    /// The host's thread that was on it, where the kernel told; 0 is an idle one.
    pub tid: Option<i32>,
}

/// A vCPU in one state; split where cpu, guest process or taker changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct VcpuState {
    pub vcpu_id: i32,
    pub vm_id: i32,
    pub start: Time,
    pub end: Time,
    pub state: VcpuStateKind,
    pub evidence: Evidence,
    pub cpu: Option<i32>,
    /// The guest process current on it.
    pub process_id: Option<i32>,
    pub taken_by: Option<Taker>,
    /// The thread that had its cpu then, where the kernel told.
    pub taken_by_tid: Option<i32>,
}

/// One VM exit and the stretch in the guest before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Exit {
    pub exit_id: i32,
    pub vcpu_id: i32,
    pub vm_id: i32,
    pub cpu: i32,
    pub entry: Option<Time>,
    pub exit: Time,
    /// That vCPU's next entry, wherever it was.
    pub reentry: Option<Time>,
    pub reentry_cpu: Option<i32>,
    /// The interrupt that the guest took first then, where an event says so: of a halt, what ended it.
    pub reentry_vector: Option<i32>,
    /// As the last PIP had it, low bits and all.
    pub guest_cr3: i64,
    pub process_id: i32,
    /// SDM basic exit reason.
    pub reason: Option<i32>,
    /// `observed`: an event says so. `inferred`: KVM went to the handler of that reason.
    pub reason_evidence: Option<Evidence>,
    pub guest_ip: Option<i64>,
    pub evidence: Evidence,
}

/// A VM.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Vm {
    pub vm_id: i32,
    /// Masked: `cr3 & !0x1fff`.
    pub host_cr3: i64,
    pub first_tsc: i64,
    pub last_tsc: i64,
    /// Guest minus host, ticks; none where there were several, or none is known.
    pub tsc_offset: Option<Time>,
    pub tsc_scale: Option<f64>,
    pub name: Option<String>,
    pub uuid: Option<String>,
    pub pid: Option<i32>,
}

/// A VM's clock while it did not change.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct VmOffset {
    pub vm_id: i32,
    pub start_tsc: i64,
    pub end_tsc: i64,
    /// Guest minus host, ticks (with a scale: guest − host × scale).
    pub tsc_offset: Time,
    pub tsc_scale: Option<f64>,
}

/// A vCPU.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Vcpu {
    pub vcpu_id: i32,
    pub vm_id: i32,
    /// Physical address of its VMCS.
    pub vmcs: i64,
    pub first_tsc: i64,
    pub last_tsc: i64,
    /// Sure bounds of its whole time in the guest, outside losses.
    pub guest_lo_tsc: i64,
    pub guest_hi_tsc: i64,
    pub index: Option<i32>,
    pub tid: Option<i32>,
    pub name: Option<String>,
}

/// What each vCPU is called in its VM, by id: its index, else its place among the VM's by id.
pub fn numbers(vcpus: &[Vcpu]) -> BTreeMap<i32, i32> {
    let by_id: BTreeMap<i32, &Vcpu> = vcpus.iter().map(|vcpu| (vcpu.vcpu_id, vcpu)).collect();
    let mut places: BTreeMap<i32, i32> = BTreeMap::new();
    let number = |(id, vcpu): (i32, &Vcpu)| {
        let place = places.entry(vcpu.vm_id).or_default();
        *place += 1;
        (id, vcpu.index.unwrap_or(*place - 1))
    };
    by_id.into_iter().map(number).collect()
}

/// An address space.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Process {
    pub process_id: i32,
    /// None: of the host.
    pub vm_id: Option<i32>,
    /// Masked: `cr3 & !0x1fff`.
    pub cr3: i64,
    pub first_tsc: i64,
    pub last_tsc: i64,
    pub evidence: Evidence,
    pub name: Option<String>,
}

/// A thread of the host that was seen on a cpu, where the kernel told of its switches. A `tid` is used again after its
/// thread's end: then there are several rows.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Thread {
    pub tid: i32,
    pub pid: i32,
    pub kind: ThreadKind,
    /// First and last switch.
    pub first_tsc: i64,
    pub last_tsc: i64,
    pub name: Option<String>,
    /// Its VMM is that VM's.
    pub vm_id: Option<i32>,
    /// It is that vCPU.
    pub vcpu_id: Option<i32>,
}

/// A stretch of trace not usable.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Loss {
    pub cpu: i32,
    pub start_tsc: i64,
    pub end_tsc: i64,
    pub cause: LossCause,
    /// The file it is in.
    pub source: String,
    pub offset_bytes: i64,
    pub bytes: i64,
}

/// Something unexpected.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Its place among all, from 0: the one first that is read first.
    pub finding_id: i32,
    /// What it is.
    pub kind: FindingKind,
    /// How much it matters.
    pub severity: Severity,
    /// How much it is, 0 to 1: orders findings of one severity.
    pub score: f64,
    /// How surely it is so, 0 to 1.
    pub sure: f64,
    /// In plain words.
    pub title: String,
    /// Whom it is about, as far as is known.
    pub vm_id: Option<i32>,
    /// One of that VM, or the one it is about.
    pub vcpu_id: Option<i32>,
    /// The guest's.
    pub process_id: Option<i32>,
    /// From when on; none: all along.
    pub start_tsc: Option<i64>,
    /// Until when; none: to the end, or it is a moment. Of a moment that is known within bounds, the later one.
    pub end_tsc: Option<i64>,
}

impl Finding {
    /// From when to when it is so, in a capture of that first and last tick: alike for a moment, which only what is found of
    /// the trace itself is.
    pub fn span(&self, first: i64, last: i64) -> (i64, i64) {
        let start = self.start_tsc.unwrap_or(first);
        let is_moment = self.kind == FindingKind::Trace && self.start_tsc.is_some();
        (start, self.end_tsc.unwrap_or(if is_moment { start } else { last }).max(start))
    }
}

/// An interval that proves a finding: a cpu's, or a vCPU's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct FindingSpan {
    pub finding_id: i32,
    pub cpu: Option<i32>,
    pub vcpu_id: Option<i32>,
    pub process_id: Option<i32>,
    pub start_tsc: i64,
    pub end_tsc: i64,
}

/// A capture as a whole: what its dataset's manifest says that a query needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// Version of the tables.
    pub schema_version: i32,
    /// Version of the program that wrote them.
    pub tool_version: String,
    /// Ticks of the TSC a second, where known.
    pub tsc_hz: Option<i64>,
    /// What nanoseconds count from: `unix`, `first_event`, or `ticks` where there are none.
    pub epoch: String,
    /// Start of the first row of `cpu_states`.
    pub first_tsc: Option<i64>,
    /// End of the last.
    pub last_tsc: Option<i64>,
    /// How many cpus it has.
    pub cpus: i32,
}

/// A summary for drawing: how long a track was in one state within a bucket of 16^`level` ticks.
///
/// Buckets begin at multiples of their width, so a bucket of one level is sixteen of the finer. Rows of the same bucket, track, state,
/// evidence and `by` may be several: they add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Lod {
    pub level: i32,
    /// Which 256 buckets: the start of the bucket by 256 times its width, rounded down.
    pub tile: i64,
    pub track_kind: TrackKind,
    pub track_id: i32,
    /// Of a process: on which vCPU.
    pub vcpu_id: Option<i32>,
    pub bucket_start_tsc: i64,
    /// The end of the bucket; of the last one, where several of one tile follow each other that are wholly in this state.
    pub bucket_end_tsc: i64,
    pub state: State,
    pub evidence: Evidence,
    /// Of a cpu: the VM that has it. Else: who had the cpu that it was off (of the host without an id).
    pub by: Option<Taker>,
    /// Ticks in this state, of all buckets of the row.
    pub busy_tsc: i64,
    /// Intervals of this state that begin here.
    pub count: i64,
}

impl Lod {
    /// The coarsest level that is written: some six minutes a bucket.
    pub const COARSEST: i32 = 10;

    /// log2 of the width of a level's buckets, ticks; also of those of [`LodExits`].
    pub const fn bits(level: i32) -> u32 {
        4 * level as u32
    }
}

/// A summary of exits: how many left a vCPU's guest within a bucket, and how long they took.
///
/// Buckets are those of [`Lod`]; rows of the same bucket, vCPU, reason and class may be several: they add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct LodExits {
    pub level: i32,
    pub tile: i64,
    pub vcpu_id: i32,
    pub vm_id: i32,
    pub bucket_start_tsc: i64,
    pub reason: Option<i32>,
    /// From exit to re-entry in half octaves ([`latency_class`]); none where no re-entry is known.
    pub latency_class: Option<i32>,
    /// All latencies together, ticks.
    pub latency_tsc: i64,
    pub count: i64,
}

/// The class of a latency: `2k` from 2^k ticks to below 1.5 × 2^k, `2k + 1` from there to below 2^(k+1). What is below a tick is in class 0.
pub const fn latency_class(ticks: i64) -> i32 {
    if ticks < 2 {
        return 0;
    }
    let octave = 63 - ticks.leading_zeros() as i32;
    2 * octave + (ticks >> (octave - 1) & 1) as i32
}

/// Takes the rows as they become known.
///
/// Rows of one cpu arrive in the order of their start; rows of a vCPU and exits may arrive late (when what they wait
/// for is known). Tables of few rows come once, at the end.
pub trait Sink {
    /// What can go wrong where the rows go.
    type Error;
    /// A row of `cpu_states`.
    fn cpu_state(&mut self, row: CpuState) -> Result<(), Self::Error>;
    /// A row of `vcpu_states`.
    fn vcpu_state(&mut self, row: VcpuState) -> Result<(), Self::Error>;
    /// A row of `exits`.
    fn exit(&mut self, row: Exit) -> Result<(), Self::Error>;
    /// A row of `losses`.
    fn loss(&mut self, row: Loss) -> Result<(), Self::Error>;
    /// A row of `vms`.
    fn vm(&mut self, row: Vm) -> Result<(), Self::Error>;
    /// A row of `vm_offsets`.
    fn vm_offset(&mut self, row: VmOffset) -> Result<(), Self::Error>;
    /// A row of `vcpus`.
    fn vcpu(&mut self, row: Vcpu) -> Result<(), Self::Error>;
    /// A row of `processes`.
    fn process(&mut self, row: Process) -> Result<(), Self::Error>;
    /// A row of `threads`.
    fn thread(&mut self, row: Thread) -> Result<(), Self::Error>;
}
