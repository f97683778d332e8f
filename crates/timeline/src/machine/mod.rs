//! The whole node: from the events of all cpus, in the order of time, to VMs, vCPUs, processes and their states.
//!
//! Identity: a vCPU is a VMCS as long as its exits return to one host CR3 (masked); that CR3 is the VM's VMM process.
//! A VMCS whose exits return to another host CR3 is another vCPU of another VM: the page was reused. A guest process is
//! (VM, masked CR3).
//!
//! What a vCPU does off the cpu only its next entry tells: *preempted* where another address space took its cpu, its
//! next entry is there again, and the cpu was not idle in between; *waiting* where its cpu went idle right after its
//! exit; else *off the cpu*, and nothing says why. Rows that wait for this come late.
//!
//! Where the kernel's own records are at hand ([`sideband`]), a vCPU's thread says what it does off the cpu ([`vcpus`]),
//! and who has the cpu then. Entries, exits and guest processes are the trace's alone, with or without them.

mod sideband;
mod takers;
mod threads;
mod vcpus;

use std::collections::VecDeque;

use havana_rows::{
    CpuState, CpuStateKind as C, Evidence, Exit, Loss, LossCause, Process, Sink, Taker, TakerKind, Time, Vcpu,
    VcpuStateKind as V,
};
use rustc_hash::FxHashMap;

use takers::{Takers, Whose};
use threads::{Threads, Vote};
use vcpus::{Off, Place};

use crate::event::{Loaded, What, Why};
use crate::rule::{Rule, holds};
use crate::sure::Share;
use crate::walk::space_of;

type Id = usize;

/// Exits of a vCPU that wait for what may yet come between them and their re-entries.
const MOST_TOLD: usize = 512;
/// Where there are several cpus so many wait in any case: what comes next on another may be earlier.
const LEAST_TOLD: usize = 64;

/// Who has a cpu.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    /// Before its first packet.
    Before,
    Unknown,
    Lost,
    /// Asleep; whether a packet said so.
    Idle(bool),
    /// In a guest; `None` where its VMCS is not known.
    Guest(Option<Id>),
    Hypervisor(Id),
    Host(Option<Id>),
}

#[derive(Debug)]
struct Cpu {
    mode: Mode,
    since: Time,
    host_cr3: Option<u64>,
    /// When that was last seen to be loaded.
    host_at: Time,
    guest_cr3: Option<u64>,
    loaded: Loaded,
    /// The vCPU whose thread is taken to be on this cpu.
    current: Option<Id>,
    /// When the guest that it is in was entered, where that was seen.
    entry: Option<Time>,
    /// The interrupt that its guest took first after the last entry.
    vector: Option<u8>,
    takers: Takers,
    /// Up to here, at the latest, nothing said which vCPU was on it.
    blind_until: i64,
    /// The loss that is going on: since when, why, offset and bytes.
    lost: Option<(i64, LossCause, u64, u64)>,
    last: Time,
    source: String,
    /// While it seemed to sleep, the kernel gave it to a thread.
    ran: Option<i64>,
    /// The thread on it, where the kernel said.
    tid: Option<i32>,
}

#[derive(Debug)]
struct Vc {
    vmcs: u64,
    vm: Id,
    place: Place,
    /// Guest process current on it.
    process: Option<i32>,
    /// Its last exit, which waits for the next entry.
    exit: Option<Exit>,
    /// Those before, with their re-entries, as long as an entry elsewhere may lie between the two.
    told: VecDeque<Exit>,
    /// On each cpu, its last entry was not after this.
    entered: Vec<(Id, i64)>,
    /// It may have been in its guest on another cpu after this stretch, and not before.
    unordered: bool,
    first: i64,
    last: i64,
    guest_lo: i64,
    guest_hi: i64,
    /// The thread that it was, where that has ended, and its name.
    thread: Option<(i32, Option<String>)>,
}

#[derive(Debug)]
pub(crate) struct VmInfo {
    pub(crate) host_cr3: u64,
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) vmcs: Vec<u64>,
    pub(crate) pid: Option<i32>,
}

#[derive(Debug)]
struct Proc {
    vm: Option<Id>,
    cr3: u64,
    first: i64,
    last: i64,
}

/// Where a vCPU may have been in its guest, and was not seen.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Unseen {
    Nowhere,
    /// On the cpu that it left, or on that where it is seen again.
    Here,
    /// On another.
    Elsewhere,
}

/// Whether the trace shows that a cpu is awake: then what it does in root is seen, and not only inferred.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) sleep_shows: bool,
}

/// Turns events into rows.
#[derive(Debug)]
pub(crate) struct Machine {
    options: Options,
    cpu_numbers: Vec<i32>,
    cpus: Vec<Cpu>,
    vms: Vec<VmInfo>,
    vcpus: Vec<Vc>,
    processes: Vec<Proc>,
    vm_of_cr3: FxHashMap<u64, Id>,
    /// Which vCPU a VMCS is now, and which it was with each VM.
    vcpu_of: FxHashMap<u64, Id>,
    vcpu_with: FxHashMap<(u64, u64), Id>,
    /// The vCPU that is given what a VMCS did while its VM was not known.
    vcpu_without: FxHashMap<u64, Id>,
    process_of: FxHashMap<(u32, u64), Id>,
    /// The process of each host address space, by most votes.
    owners: FxHashMap<usize, Vote<i32>>,
    /// What the kernel says of threads.
    threads: Option<Threads>,
    /// The kernel spoke of all cpus: a thread that is off one is off all.
    all_cpus: bool,
    /// Ticks from one moment of its clock to the next.
    resolution: i64,
    /// The latest `blind_until`.
    blind_until: i64,
    /// Cpus that are blind now.
    blind_now: usize,
    /// The first moment of all cpus.
    first: i64,
    exits: i64,
    /// Exits whose vCPU could not be told.
    pub(crate) nameless_exits: u64,
}

const OF_HOST: u32 = u32::MAX;

fn id(i: Id) -> i32 {
    i32::try_from(i).unwrap_or(i32::MAX)
}

impl Mode {
    /// Any vCPU may be in its guest here.
    fn blind(self) -> bool {
        matches!(self, Mode::Unknown | Mode::Lost | Mode::Guest(None))
    }
}

impl Machine {
    pub(crate) fn new(cpus: impl Iterator<Item = (u32, String)>, options: Options) -> Self {
        let (numbers, sources): (Vec<u32>, Vec<String>) = cpus.unzip();
        Machine {
            options,
            cpu_numbers: numbers.iter().map(|&n| n as i32).collect(),
            cpus: sources
                .into_iter()
                .map(|source| Cpu {
                    mode: Mode::Before,
                    since: Time::default(),
                    host_cr3: None,
                    host_at: Time::default(),
                    guest_cr3: None,
                    loaded: Loaded::Unknown(0),
                    current: None,
                    entry: None,
                    vector: None,
                    takers: Takers::new(),
                    blind_until: i64::MIN,
                    lost: None,
                    last: Time::default(),
                    source,
                    ran: None,
                    tid: None,
                })
                .collect(),
            vms: Vec::new(),
            vcpus: Vec::new(),
            processes: Vec::new(),
            vm_of_cr3: FxHashMap::default(),
            vcpu_of: FxHashMap::default(),
            vcpu_with: FxHashMap::default(),
            vcpu_without: FxHashMap::default(),
            process_of: FxHashMap::default(),
            owners: FxHashMap::default(),
            threads: None,
            all_cpus: true,
            resolution: 0,
            blind_until: i64::MIN,
            blind_now: 0,
            first: 0,
            exits: 0,
            nameless_exits: 0,
        }
    }

    /// The first moment of all cpus is this.
    pub(crate) fn begin(&mut self, first: i64) {
        self.first = first;
    }

    /// A vCPU's thread runs several VMCSs: its guest is a host of guests.
    pub(crate) fn nested(&self) -> bool {
        self.threads.as_ref().is_some_and(|threads| threads.nested)
    }

    pub(crate) fn vms(&self) -> &[VmInfo] {
        &self.vms
    }

    pub(crate) fn share(&mut self, share: Share) {
        let (vmcs, host_cr3) = share.key;
        let v = if host_cr3 != 0 {
            self.vcpu_with.get(&share.key).copied()
        } else if let Some(&now) = self.vcpu_of.get(&vmcs) {
            // All to one, also when the VMCS has become another's: lo and hi come apart, and belong together.
            Some(*self.vcpu_without.entry(vmcs).or_insert(now))
        } else {
            None
        };
        let Some(v) = v else { return };
        self.vcpus[v].guest_lo += share.lo;
        self.vcpus[v].guest_hi += share.hi;
    }

    /// One event of a cpu. Events of a cpu come in the order of its packets.
    pub(crate) fn event<S: Sink>(&mut self, c: Id, at: Time, what: What, sink: &mut S) -> Result<(), S::Error> {
        self.cpus[c].last = at;
        match what {
            What::Known => Ok(()),
            What::Lost { .. } | What::Resume if !holds(Rule::LossIsInterval) => Ok(()),
            What::Entry { cr3, host_cr3, loaded, vector } => {
                self.cpus[c].loaded = loaded;
                self.cpus[c].vector = vector;
                let v = self.vcpu(loaded, host_cr3.or(self.cpus[c].host_cr3), at);
                self.cpus[c].guest_cr3 = Some(cr3);
                self.enter(c, v, cr3, at, true, sink)
            }
            What::Exit { host_cr3, guest_ip, reason } => self.exit(c, host_cr3, guest_ip, reason, at, sink),
            What::GuestCr3(cr3) => self.guest_cr3(c, cr3, at, sink),
            What::HostCr3(cr3) => self.host_cr3(c, cr3, at, sink),
            What::Load(loaded) => self.load(c, loaded, at, sink),
            What::Sleep { seen } => self.sleep(c, at, seen, sink),
            What::Wake => self.wake(c, at, sink),
            What::Lost { cause, offset, bytes } => self.lose(c, cause, offset, bytes, at, sink),
            What::Resume => self.resume(c, at, sink),
            What::Found { nr, cr3, host_cr3, loaded } => self.found(c, nr, cr3, host_cr3, loaded, at, sink),
            What::End => self.end(c, at, sink),
        }
    }

    // ── identity ──

    fn vm(&mut self, host_cr3: u64, at: Time) -> Id {
        let space = space_of(host_cr3);
        if !holds(Rule::VmIsHostCr3) {
            self.vm_of_cr3.remove(&space);
        }
        let vms = &mut self.vms;
        *self.vm_of_cr3.entry(space).or_insert_with(|| {
            vms.push(VmInfo { host_cr3: space, first: at.tsc, last: at.tsc, vmcs: Vec::new(), pid: None });
            vms.len() - 1
        })
    }

    fn vcpu(&mut self, loaded: Loaded, host_cr3: Option<u64>, at: Time) -> Option<Id> {
        let vmcs = loaded.vmcs()?;
        let known = self.vcpu_of.get(&vmcs).copied();
        let host_cr3 = match (known, host_cr3) {
            (Some(v), _) if !holds(Rule::VmcsIsReused) => return Some(v),
            (Some(v), None) => return Some(v),
            (Some(v), Some(cr3)) if self.vms[self.vcpus[v].vm].host_cr3 == space_of(cr3) => return Some(v),
            (_, cr3) => cr3?,
        };
        let life = (vmcs, space_of(host_cr3));
        if let Some(&v) = self.vcpu_with.get(&life) {
            self.vcpu_of.insert(vmcs, v);
            return Some(v);
        }
        let vm = self.vm(host_cr3, at);
        let v = self.vcpus.len();
        self.vcpu_with.insert(life, v);
        self.vcpus.push(Vc {
            vmcs,
            vm,
            place: Place::Off(Off { cpu: 0, since: at, waiting: false, takers: 0, back: Some(at) }),
            process: None,
            exit: None,
            told: VecDeque::new(),
            entered: Vec::new(),
            unordered: false,
            first: at.tsc,
            last: at.tsc,
            guest_lo: 0,
            guest_hi: 0,
            thread: None,
        });
        self.vms[vm].vmcs.push(vmcs);
        self.vcpu_of.insert(vmcs, v);
        Some(v)
    }

    fn process(&mut self, vm: Option<Id>, cr3: u64, at: Time) -> i32 {
        let space = space_of(cr3);
        let processes = &mut self.processes;
        let whose = |vm| if holds(Rule::KeyHasVm) { vm as u32 } else { 0 };
        let p = *self.process_of.entry((vm.map_or(OF_HOST, whose), space)).or_insert_with(|| {
            processes.push(Proc { vm, cr3: space, first: at.tsc, last: at.tsc });
            processes.len() - 1
        });
        let process = &mut self.processes[p];
        process.last = process.last.max(at.tsc);
        id(p)
    }

    /// The host's address space on a cpu.
    fn load_host(&mut self, c: Id, cr3: u64, at: Time) {
        self.cpus[c].host_cr3 = Some(cr3);
        self.cpus[c].host_at = at;
    }

    fn host_process(&mut self, c: Id, at: Time) -> Option<Id> {
        let cr3 = self.cpus[c].host_cr3?;
        Some(self.process(None, cr3, at) as usize)
    }

    // ── cpu states ──

    /// Ends the cpu's row at `at`, and begins one of `mode`.
    fn turn<S: Sink>(&mut self, c: Id, mode: Mode, at: Time, sink: &mut S) -> Result<(), S::Error> {
        self.close_row(c, at, sink)?;
        let was = self.cpus[c].mode;
        self.set_mode(c, mode, at);
        self.cpus[c].since = at;
        self.taken(c, mode, at);
        let hidden = |mode| matches!(mode, Mode::Lost | Mode::Idle(_));
        if hidden(was) != hidden(mode) || was == Mode::Lost {
            self.seen_anew(c, at, sink)?;
        }
        Ok(())
    }

    fn set_mode(&mut self, c: Id, mode: Mode, at: Time) {
        let was = std::mem::replace(&mut self.cpus[c].mode, mode);
        if was.blind() {
            self.cpus[c].blind_until = at.hi;
            self.blind_until = self.blind_until.max(at.hi);
        }
        self.blind_now = self.blind_now + usize::from(mode.blind()) - usize::from(was.blind());
    }

    /// Who has the cpu, told to those who are off it. Where the kernel says, it is not told from the trace.
    fn taken(&mut self, c: Id, mode: Mode, at: Time) {
        if self.threads.is_some() {
            return;
        }
        let whose = self.whose_is(mode);
        if matches!(mode, Mode::Idle(_) | Mode::Lost | Mode::Unknown) {
            self.cpus[c].takers.pause();
        } else {
            self.cpus[c].takers.take(at, whose);
        }
    }

    fn close_row<S: Sink>(&mut self, c: Id, at: Time, sink: &mut S) -> Result<(), S::Error> {
        self.close_loss(c, at, sink)?;
        if self.cpus[c].ran.take().is_some_and(|ran| ran < at.lo) && self.cpus[c].mode == Mode::Idle(false) {
            // No sleep: its trace was off, and nothing in it says so.
            self.set_mode(c, Mode::Lost, at);
            self.cpus[c].lost = Some((self.cpus[c].since.tsc, LossCause::TraceOff, 0, 0));
            self.close_loss(c, at, sink)?;
        }
        let cpu = &self.cpus[c];
        let start = cpu.since;
        let mode = cpu.mode;
        if mode == Mode::Before || (at.tsc <= start.tsc && matches!(mode, Mode::Lost | Mode::Unknown | Mode::Idle(_))) {
            return Ok(());
        }
        let awake = if self.options.sleep_shows { Evidence::Observed } else { Evidence::Inferred };
        let (state, evidence) = match mode {
            Mode::Guest(_) => (C::Guest, Evidence::Observed),
            Mode::Hypervisor(_) => (C::Hypervisor, awake),
            Mode::Host(_) => (C::Host, awake),
            Mode::Idle(true) => (C::Idle, Evidence::Observed),
            Mode::Idle(false) => (C::Idle, Evidence::Inferred),
            Mode::Lost => (C::Lost, Evidence::Lost),
            Mode::Before | Mode::Unknown => (C::Unknown, Evidence::Unknown),
        };
        let vcpu = match mode {
            Mode::Guest(v) => v,
            Mode::Hypervisor(v) => Some(v),
            _ => None,
        };
        let guest = matches!(mode, Mode::Guest(_));
        let tid = match (mode, &self.threads) {
            (Mode::Guest(Some(v)), Some(threads)) => threads.tid_of(v),
            (Mode::Guest(None) | Mode::Lost, _) => None,
            _ => cpu.tid,
        };
        let (host_cr3, guest_cr3) = (cpu.host_cr3, cpu.guest_cr3.filter(|_| guest));
        let known = !matches!(mode, Mode::Lost | Mode::Unknown);
        let process_id = match mode {
            // Not what its vCPU has now: that may be on another cpu already.
            Mode::Guest(v) => v.zip(guest_cr3).map(|(v, cr3)| self.process(Some(self.vcpus[v].vm), cr3, at)),
            Mode::Host(p) => p.map(id),
            Mode::Hypervisor(_) | Mode::Idle(_) => self.host_process(c, at).map(id),
            _ => None,
        };
        sink.cpu_state(CpuState {
            cpu: self.cpu_numbers[c],
            start,
            end: at,
            state,
            evidence,
            vm_id: vcpu.map(|v| id(self.vcpus[v].vm)),
            vcpu_id: vcpu.map(id),
            process_id,
            host_cr3: host_cr3.filter(|_| known).map(|c| c as i64),
            guest_cr3: guest_cr3.map(|c| c as i64),
            tid,
        })
    }

    /// Who has the cpu, seen by one who wants it.
    fn whose_is(&self, mode: Mode) -> Whose {
        let vm = |vm: Id| Taker { kind: TakerKind::Vm, id: Some(id(vm)) };
        let taker = match mode {
            Mode::Guest(Some(v)) | Mode::Hypervisor(v) => Some(vm(self.vcpus[v].vm)),
            Mode::Host(Some(p)) => match self.vm_of_cr3.get(&self.processes[p].cr3) {
                Some(&of) => Some(vm(of)),
                None => Some(Taker { kind: TakerKind::Host, id: Some(id(p)) }),
            },
            _ => None,
        };
        (taker, None)
    }

    // ── events ──

    fn enter<S: Sink>(
        &mut self,
        c: Id,
        v: Option<Id>,
        cr3: u64,
        at: Time,
        entered: bool,
        sink: &mut S,
    ) -> Result<(), S::Error> {
        if let Some(before) = self.cpus[c].current.filter(|&b| Some(b) != v) {
            self.take_off(before, c, at, false, sink)?;
        }
        let Some(v) = v else {
            return self.turn(c, Mode::Guest(None), at, sink);
        };
        // Where the clocks of two cpus leave room, a vCPU may seem to enter here before it has left there.
        let mut mine = at;
        if let Place::On { cpu, since, .. } = self.vcpus[v].place
            && cpu != c
        {
            if mine.tsc < since.tsc {
                mine.tsc = since.tsc.min(mine.hi).max(mine.tsc);
            }
            if self.cpus[cpu].current == Some(v) {
                self.cpus[cpu].current = None;
            }
        }
        if entered && let Some(threads) = &mut self.threads {
            threads.entered(c, v, at.lo, at.hi);
            self.proves(v, c, at, sink)?;
        }
        self.put_on(v, c, V::Guest, mine, sink)?;
        let vm = self.vcpus[v].vm;
        let process = self.process(Some(vm), cr3, at);
        self.vcpus[v].process = Some(process);
        self.cpus[c].entry = entered.then_some(at);
        self.reenter(v, c, at, entered, sink)?;
        self.turn(c, Mode::Guest(Some(v)), at, sink)
    }

    /// An entry tells the last exit its re-entry, unless the bounds of the two stretches let them be in the other order.
    /// Stretches of a vCPU on two cpus exclude each other: either order is possible where the later began, at the
    /// earliest, before the other did, at the latest.
    fn reenter<S: Sink>(&mut self, v: Id, c: Id, at: Time, entered: bool, sink: &mut S) -> Result<(), S::Error> {
        let number = self.cpu_numbers[c];
        let many_cpus = self.cpus.len() > 1;
        let vcpu = &mut self.vcpus[v];
        let unordered = vcpu.entered.iter().any(|(cpu, hi)| *cpu != c && at.lo < *hi);
        match vcpu.entered.iter_mut().find(|(cpu, _)| *cpu == c) {
            Some((_, hi)) => *hi = at.hi.max(*hi),
            None => vcpu.entered.push((c, at.hi)),
        }
        while let Some(first) = vcpu.told.front()
            && (first.reentry.is_none_or(|reentry| reentry.hi <= at.lo) && (!many_cpus || vcpu.told.len() > LEAST_TOLD)
                || vcpu.told.len() > MOST_TOLD)
        {
            let Some(mut exit) = vcpu.told.pop_front() else { break };
            if many_cpus && exit.reentry.is_some_and(|reentry| reentry.hi > at.lo) {
                // Too many wait. It may still be seen on another cpu before that.
                (exit.reentry, exit.reentry_cpu, exit.reentry_vector) = (None, None, None);
            }
            sink.exit(exit)?;
        }
        if unordered {
            for told in vcpu.told.iter_mut().filter(|t| t.reentry.is_some_and(|reentry| reentry.hi > at.lo)) {
                (told.reentry, told.reentry_cpu, told.reentry_vector) = (None, None, None);
            }
        }
        let before = std::mem::replace(&mut vcpu.unordered, unordered);
        let Some(mut exit) = vcpu.exit.take() else { return Ok(()) };
        if entered && !unordered && !before {
            match self.unseen_between(&exit, c) {
                Unseen::Nowhere => (exit.reentry, exit.reentry_cpu) = (Some(at), Some(number)),
                Unseen::Elsewhere => {
                    (exit.reentry, exit.reentry_cpu) = (Some(at), Some(number));
                    exit.evidence = Evidence::Inferred;
                }
                Unseen::Here => {}
            }
            exit.reentry_vector = exit.reentry.and(self.cpus[c].vector).map(i32::from);
        }
        self.vcpus[v].told.push_back(exit);
        Ok(())
    }

    /// Where, between an exit and an entry now on cpu `c`, a vCPU may have been in its guest and was not seen.
    fn unseen_between(&self, exit: &Exit, c: Id) -> Unseen {
        let since = exit.exit.lo;
        let anywhere = self.blind_until > since || self.blind_now > 0;
        if !anywhere {
            return Unseen::Nowhere;
        }
        let mut unseen = Unseen::Nowhere;
        for (x, cpu) in self.cpus.iter().enumerate() {
            if cpu.blind_until > since || cpu.mode.blind() {
                if x == c || self.cpu_numbers[x] == exit.cpu {
                    return Unseen::Here;
                }
                unseen = Unseen::Elsewhere;
            }
        }
        unseen
    }

    /// No entry of a vCPU follows in what is seen.
    fn tell_exits<S: Sink>(&mut self, v: Id, sink: &mut S) -> Result<(), S::Error> {
        let vcpu = &mut self.vcpus[v];
        vcpu.told.drain(..).chain(vcpu.exit.take()).try_for_each(|exit| sink.exit(exit))
    }

    fn exit<S: Sink>(
        &mut self,
        c: Id,
        host_cr3: u64,
        guest_ip: Option<u64>,
        reason: Option<Why>,
        at: Time,
        sink: &mut S,
    ) -> Result<(), S::Error> {
        let v = match self.cpus[c].mode {
            Mode::Guest(Some(v)) => v,
            _ => {
                self.nameless_exits += 1;
                self.load_host(c, host_cr3, at);
                let p = self.host_process(c, at);
                return self.turn(c, Mode::Host(p), at, sink);
            }
        };
        let cr3 = self.cpus[c].guest_cr3.unwrap_or(0);
        let vm = self.vcpus[v].vm;
        let process = self.process(Some(vm), cr3, at);
        self.exits += 1;
        let exit = Exit {
            exit_id: i32::try_from(self.exits - 1).unwrap_or(i32::MAX),
            vcpu_id: id(v),
            vm_id: id(vm),
            cpu: self.cpu_numbers[c],
            entry: self.cpus[c].entry.take(),
            exit: at,
            reentry: None,
            reentry_cpu: None,
            reentry_vector: None,
            guest_cr3: cr3 as i64,
            process_id: process,
            reason: reason.map(|why| i32::from(why.reason)),
            reason_evidence: reason.map(|why| if why.seen { Evidence::Observed } else { Evidence::Inferred }),
            guest_ip: guest_ip.map(|ip| ip as i64),
            evidence: Evidence::Observed,
        };
        if self.vcpus[v].exit.is_some() {
            self.tell_exits(v, sink)?;
        }
        self.vcpus[v].exit = Some(exit);
        let mode = if holds(Rule::Hypervisor) { Mode::Hypervisor(v) } else { Mode::Host(None) };
        self.turn(c, mode, at, sink)?;
        self.load_host(c, host_cr3, at);
        if self.is_on(v, c) {
            self.put_on(v, c, V::Hypervisor, at, sink)?;
        }
        self.bind_if_sure(c, v, at, sink)
    }

    fn guest_cr3<S: Sink>(&mut self, c: Id, cr3: u64, at: Time, sink: &mut S) -> Result<(), S::Error> {
        let before = self.cpus[c].guest_cr3;
        if before.map(space_of) == Some(space_of(cr3)) && holds(Rule::HalfIsNoSwitch) {
            self.cpus[c].guest_cr3 = Some(cr3);
            return Ok(());
        }
        let Mode::Guest(v) = self.cpus[c].mode else {
            self.cpus[c].guest_cr3 = Some(cr3);
            return Ok(());
        };
        self.turn(c, Mode::Guest(v), at, sink)?;
        self.cpus[c].guest_cr3 = Some(cr3);
        if let Some(v) = v {
            let vm = self.vcpus[v].vm;
            if self.is_on(v, c) {
                self.put_on(v, c, V::Guest, at, sink)?;
            }
            let process = self.process(Some(vm), cr3, at);
            self.vcpus[v].process = Some(process);
        }
        Ok(())
    }

    fn host_cr3<S: Sink>(&mut self, c: Id, cr3: u64, at: Time, sink: &mut S) -> Result<(), S::Error> {
        let same = self.cpus[c].host_cr3.map(space_of) == Some(space_of(cr3)) && holds(Rule::HalfIsNoSwitch);
        if same && matches!(self.cpus[c].mode, Mode::Host(_) | Mode::Hypervisor(_)) {
            // The user half of the same address space, or a switch between threads of one.
            self.load_host(c, cr3, at);
            return Ok(());
        }
        self.close_row(c, at, sink)?;
        self.cpus[c].since = at;
        if let Some(v) = self.cpus[c].current.filter(|_| !same) {
            self.take_off(v, c, at, false, sink)?;
        }
        let before = self.cpus[c].mode;
        self.load_host(c, cr3, at);
        let p = self.process(None, cr3, at) as usize;
        // The row is closed already.
        let mode = if before == Mode::Before { Mode::Before } else { Mode::Host(Some(p)) };
        self.set_mode(c, mode, at);
        self.taken(c, Mode::Host(Some(p)), at);
        self.maybe_back(c, at);
        Ok(())
    }

    /// The address space of the loaded VMCS's VM is current: its vCPU may be on this cpu again.
    fn maybe_back(&mut self, c: Id, at: Time) {
        let cpu = &self.cpus[c];
        let Some(v) = cpu.loaded.vmcs().and_then(|vmcs| self.vcpu_of.get(&vmcs).copied()) else { return };
        let mine = cpu.host_cr3.map(space_of) == Some(self.vms[self.vcpus[v].vm].host_cr3);
        if let Place::Off(off) = &mut self.vcpus[v].place
            && off.cpu == c
        {
            off.back = mine.then_some(at);
        }
    }

    /// The vCPU that may have been back was not: its cpu sleeps, or another's VMCS is loaded.
    fn not_back(&mut self, c: Id) {
        let Some(v) = self.cpus[c].loaded.vmcs().and_then(|vmcs| self.vcpu_of.get(&vmcs)) else { return };
        if let Place::Off(off) = &mut self.vcpus[*v].place
            && off.cpu == c
        {
            off.back = None;
        }
    }

    fn load<S: Sink>(&mut self, c: Id, loaded: Loaded, at: Time, sink: &mut S) -> Result<(), S::Error> {
        if self.cpus[c].loaded.vmcs() != loaded.vmcs() {
            self.not_back(c);
        }
        self.cpus[c].loaded = loaded;
        let Some(v) = loaded.vmcs().and_then(|vmcs| self.vcpu_of.get(&vmcs).copied()) else {
            return Ok(());
        };
        let mine = self.cpus[c].host_cr3.map(space_of) == Some(self.vms[self.vcpus[v].vm].host_cr3);
        if self.cpus[c].current == Some(v) || !mine || matches!(self.cpus[c].mode, Mode::Guest(_)) {
            return Ok(());
        }
        let there = matches!(self.vcpus[v].place, Place::On { .. } | Place::Watched(_) | Place::Gone(_));
        if let Some(before) = self.cpus[c].current.filter(|_| !there) {
            self.take_off(before, c, at, false, sink)?;
        }
        // KVM loads a vCPU's VMCS when its thread is on the cpu: from one vCPU to its sibling it is the same hypervisor.
        if let Mode::Hypervisor(_) = self.cpus[c].mode {
            self.turn(c, Mode::Hypervisor(v), at, sink)?;
        }
        if there { Ok(()) } else { self.put_on(v, c, V::Hypervisor, at, sink) }
    }

    fn sleep<S: Sink>(&mut self, c: Id, at: Time, seen: bool, sink: &mut S) -> Result<(), S::Error> {
        if let Some(v) = self.cpus[c].current {
            self.take_off(v, c, at, true, sink)?;
        }
        self.not_back(c);
        let mode = match self.cpus[c].mode {
            Mode::Hypervisor(v) if !holds(Rule::IdleGoesFirst) => Mode::Hypervisor(v),
            _ => Mode::Idle(seen),
        };
        self.turn(c, mode, at, sink)
    }

    fn wake<S: Sink>(&mut self, c: Id, at: Time, sink: &mut S) -> Result<(), S::Error> {
        let p = self.host_process(c, at);
        self.turn(c, Mode::Host(p), at, sink)?;
        self.maybe_back(c, at);
        Ok(())
    }

    fn lose<S: Sink>(
        &mut self,
        c: Id,
        cause: LossCause,
        offset: u64,
        bytes: u64,
        at: Time,
        sink: &mut S,
    ) -> Result<(), S::Error> {
        if let Some(v) = self.cpus[c].current.take() {
            match self.vcpus[v].place {
                Place::Watched(_) => self.watch(v, at, |w| w.guest = None, sink)?,
                _ => self.settle(v, at, None, sink)?,
            }
            self.tell_exits(v, sink)?;
        }
        self.turn(c, Mode::Lost, at, sink)?;
        self.cpus[c].host_cr3 = None;
        self.cpus[c].guest_cr3 = None;
        self.cpus[c].entry = None;
        self.cpus[c].loaded = Loaded::Unknown(0);
        self.cpus[c].lost = Some((at.tsc, cause, offset, bytes));
        Ok(())
    }

    fn close_loss<S: Sink>(&mut self, c: Id, at: Time, sink: &mut S) -> Result<(), S::Error> {
        let Some((start_tsc, cause, offset, bytes)) = self.cpus[c].lost.take() else { return Ok(()) };
        sink.loss(Loss {
            cpu: self.cpu_numbers[c],
            start_tsc,
            end_tsc: at.tsc,
            cause,
            source: self.cpus[c].source.clone(),
            offset_bytes: offset as i64,
            bytes: bytes as i64,
        })
    }

    fn resume<S: Sink>(&mut self, c: Id, at: Time, sink: &mut S) -> Result<(), S::Error> {
        self.turn(c, Mode::Unknown, at, sink)
    }

    #[allow(clippy::too_many_arguments)]
    fn found<S: Sink>(
        &mut self,
        c: Id,
        nr: bool,
        cr3: u64,
        host_cr3: Option<u64>,
        loaded: Loaded,
        at: Time,
        sink: &mut S,
    ) -> Result<(), S::Error> {
        self.cpus[c].loaded = loaded;
        if nr {
            let v = self.vcpu(loaded, host_cr3, at);
            // Which row it ends does not hang on the CR3 that follows.
            self.turn(c, Mode::Unknown, at, sink)?;
            self.cpus[c].guest_cr3 = Some(cr3);
            self.enter(c, v, cr3, at, false, sink)
        } else {
            self.turn(c, Mode::Unknown, at, sink)?;
            self.load_host(c, cr3, at);
            let p = self.host_process(c, at);
            self.turn(c, Mode::Host(p), at, sink)?;
            self.maybe_back(c, at);
            Ok(())
        }
    }

    fn end<S: Sink>(&mut self, c: Id, at: Time, sink: &mut S) -> Result<(), S::Error> {
        self.turn(c, Mode::Before, at, sink)
    }

    /// The end of all cpus: what is open ends with them, and the tables of few rows are told.
    pub(crate) fn finish<S: Sink>(&mut self, sink: &mut S) -> Result<(), S::Error> {
        let end = self.cpus.iter().map(|c| c.last).max_by_key(|t| t.tsc).unwrap_or_default();
        for v in 0..self.vcpus.len() {
            let at = match &self.vcpus[v].place {
                Place::On { cpu, since, .. } => {
                    let last = self.cpus[*cpu].last;
                    if last.tsc < since.tsc { *since } else { last }
                }
                Place::Watched(watched) => match watched.guest {
                    Some(cpu) => self.cpus[cpu].last,
                    None => end,
                },
                _ => end,
            };
            self.settle(v, at, None, sink)?;
            self.tell_exits(v, sink)?;
        }
        for (i, v) in self.vcpus.iter().enumerate() {
            let (tid, name) = self.thread_of(i).unzip();
            let name = name.flatten();
            sink.vcpu(Vcpu {
                vcpu_id: id(i),
                vm_id: id(v.vm),
                vmcs: v.vmcs as i64,
                first_tsc: v.first,
                last_tsc: v.last,
                guest_lo_tsc: v.guest_lo,
                guest_hi_tsc: v.guest_hi,
                index: name.as_deref().and_then(sideband::index_of),
                tid,
                name,
            })?;
        }
        for (i, p) in self.processes.iter().enumerate() {
            sink.process(Process {
                process_id: id(i),
                vm_id: p.vm.map(id),
                cr3: p.cr3 as i64,
                first_tsc: p.first,
                last_tsc: p.last,
                evidence: Evidence::Observed,
                name: self.process_name(i),
            })?;
        }
        let threads = self.threads.as_ref().map(Threads::rows).unwrap_or_default();
        threads.into_iter().try_for_each(|row| sink.thread(row))
    }

    /// The thread of a vCPU, and its name.
    fn thread_of(&self, v: Id) -> Option<(i32, Option<String>)> {
        let threads = self.threads.as_ref()?;
        let now = threads.tid_of(v).map(|tid| (tid, threads.name(tid).map(str::to_owned)));
        now.or_else(|| self.vcpus[v].thread.clone())
    }

    fn process_name(&self, process: usize) -> Option<String> {
        self.threads.as_ref()?.process_name(self.owners.get(&process)?.winner()?)
    }

    /// What the kernel calls a VM: by the names of its vCPUs' threads, else its process.
    pub(crate) fn vm_name(&self, vm: usize) -> Option<String> {
        let threads = self.threads.as_ref()?;
        let of_thread = |v: usize| sideband::vm_in(self.thread_of(v)?.1.as_deref()?).map(str::to_owned);
        let named = (0..self.vcpus.len()).filter(|v| self.vcpus[*v].vm == vm).find_map(of_thread);
        let pid = self.vms[vm].pid?;
        named.or_else(|| Some(format!("{}[{pid}]", threads.process_name(pid)?)))
    }
}
