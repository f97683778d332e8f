//! The exact truth as a dataset: the rows that an analysis would write which knew everything.
//!
//! Every time is exact and every state observed. Off its cpu a vCPU is *preempted* while its thread could run, from its
//! wake on as well, else *waiting*. A CR3 names one process of its VM, as in a trace. Losses are told as rows; states go
//! on through them.

use std::collections::HashMap;

use havana_rows::{
    CpuState, CpuStateKind as C, Evidence, Exit, Loss, LossCause, Process, Sink, Taker, TakerKind, Time, Vcpu,
    VcpuState, VcpuStateKind as V, Vm, VmOffset,
};

use crate::hw::{Hw, Watch};
use crate::node::{Node, VcpuOf};
use crate::pt::GuestClock;

/// CR3 without PCID and half.
fn space(cr3: u64) -> u64 {
    cr3 & 0x000f_ffff_ffff_e000
}

/// What a cpu does, and since when.
#[derive(Debug, Clone, Copy)]
struct Cpu {
    since: i64,
    state: C,
    vcpu: Option<usize>,
    host_cr3: u64,
    guest_cr3: u64,
    entry: i64,
    /// Who has it, for those who wait for it.
    taker: Option<Taker>,
    /// Its trace is lost since then.
    lost: Option<(i64, LossCause)>,
}

/// What a vCPU does.
#[derive(Debug)]
struct Vc {
    of: VcpuOf,
    state: Option<(V, i64)>,
    cpu: usize,
    process: Option<i32>,
    exit: Option<Exit>,
    first: i64,
    last: i64,
    guest: i64,
}

/// A VM.
#[derive(Debug)]
struct Host {
    name: String,
    pid: i32,
    host_cr3: u64,
    clocks: Vec<(GuestClock, i64)>,
}

/// Hands the truth to a sink. An error of the sink is kept for [`finish`](Tables::finish).
pub struct Tables<S: Sink> {
    sink: S,
    cpus: Vec<Cpu>,
    vcpus: Vec<Vc>,
    vms: Vec<Host>,
    of_vmcs: HashMap<u64, usize>,
    of_tid: HashMap<i32, usize>,
    /// By the VM, or the host, and CR3.
    processes: HashMap<(Option<usize>, u64), i32>,
    lives: Vec<Process>,
    exits: i32,
    failed: Option<S::Error>,
}

impl<S: Sink> Tables<S> {
    /// The truth of a node that is about to be run.
    pub fn new(sink: S, node: &Node) -> Self {
        let begin = node.begin();
        let cpu = |host_cr3| Cpu {
            since: begin,
            state: C::Host,
            vcpu: None,
            host_cr3,
            guest_cr3: 0,
            entry: begin,
            taker: None,
            lost: None,
        };
        let mut this = Tables {
            sink,
            cpus: node.host_cr3().into_iter().map(cpu).collect(),
            vcpus: Vec::new(),
            vms: Vec::new(),
            of_vmcs: HashMap::new(),
            of_tid: HashMap::new(),
            processes: HashMap::new(),
            lives: Vec::new(),
            exits: 0,
            failed: None,
        };
        for of in node.vcpus() {
            if of.vm == this.vms.len() {
                let VcpuOf { pid, host_cr3, .. } = of;
                this.vms.push(Host { name: of.vm_name.clone(), pid, host_cr3, clocks: Vec::new() });
            }
            this.of_vmcs.insert(of.vmcs, this.vcpus.len());
            this.of_tid.insert(of.tid, this.vcpus.len());
            this.vcpus.push(Vc {
                of,
                state: None,
                cpu: 0,
                process: None,
                exit: None,
                first: i64::MAX,
                last: 0,
                guest: 0,
            });
        }
        this
    }

    /// The node was watched up to `tsc`: the tables of few rows, and the sink back.
    ///
    /// # Errors
    /// The sink's own.
    pub fn finish(mut self, tsc: i64) -> Result<S, S::Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        for c in 0..self.cpus.len() {
            self.turn(c, tsc, self.cpus[c].state, self.cpus[c].vcpu)?;
            self.found(c, tsc)?;
        }
        for v in 0..self.vcpus.len() {
            if self.vcpus[v].state.is_some() {
                self.vcpu_turns(v, tsc, V::Unknown)?;
            }
            if let Some(exit) = self.vcpus[v].exit.take() {
                self.sink.exit(exit)?;
            }
        }
        let seen = |vm: usize| self.vcpus.iter().filter(move |v| v.of.vm == vm && v.first < i64::MAX);
        for (id, vm) in self.vms.iter().enumerate() {
            let (Some(first), Some(last)) = (seen(id).map(|v| v.first).min(), seen(id).map(|v| v.last).max()) else {
                continue;
            };
            let scale = |clock: &GuestClock| (clock.scale != 1.0).then_some(clock.scale);
            let one = vm.clocks.first().filter(|_| vm.clocks.len() == 1).map(|(clock, _)| clock);
            self.sink.vm(Vm {
                vm_id: id as i32,
                host_cr3: space(vm.host_cr3) as i64,
                first_tsc: first,
                last_tsc: last,
                tsc_offset: one.map(|clock| Time::exact(clock.offset)),
                tsc_scale: one.and_then(scale),
                name: Some(vm.name.clone()),
                uuid: None,
                pid: Some(vm.pid),
            })?;
            for (i, (clock, from)) in vm.clocks.iter().enumerate() {
                self.sink.vm_offset(VmOffset {
                    vm_id: id as i32,
                    start_tsc: *from,
                    end_tsc: vm.clocks.get(i + 1).map_or(last, |(_, next)| *next),
                    tsc_offset: Time::exact(clock.offset),
                    tsc_scale: scale(clock),
                })?;
            }
        }
        for (id, v) in self.vcpus.iter().enumerate().filter(|(_, v)| v.first < i64::MAX) {
            self.sink.vcpu(Vcpu {
                vcpu_id: id as i32,
                vm_id: v.of.vm as i32,
                vmcs: v.of.vmcs as i64,
                first_tsc: v.first,
                last_tsc: v.last,
                guest_lo_tsc: v.guest,
                guest_hi_tsc: v.guest,
                index: v.of.index,
                tid: Some(v.of.tid),
                name: Some(v.of.name.clone()),
            })?;
        }
        for process in self.lives {
            self.sink.process(process)?;
        }
        Ok(self.sink)
    }

    /// The process of an address space: of a VM's guest, or of the host.
    fn process(&mut self, vm: Option<usize>, cr3: u64, tsc: i64) -> i32 {
        let (lives, key) = (&mut self.lives, (vm, space(cr3)));
        let id = *self.processes.entry(key).or_insert_with(|| {
            let process_id = lives.len() as i32;
            let vm_id = vm.map(|vm| vm as i32);
            let (cr3, evidence) = (key.1 as i64, Evidence::Observed);
            lives.push(Process { process_id, vm_id, cr3, first_tsc: tsc, last_tsc: tsc, evidence, name: None });
            process_id
        });
        lives[id as usize].last_tsc = tsc;
        id
    }

    /// A cpu does something else from now on.
    fn turn(&mut self, c: usize, tsc: i64, state: C, vcpu: Option<usize>) -> Result<(), S::Error> {
        let was = self.cpus[c];
        let guest = was.state == C::Guest;
        let vm = was.vcpu.map(|v| self.vcpus[v].of.vm);
        let process = if guest { self.process(vm, was.guest_cr3, tsc) } else { self.process(None, was.host_cr3, tsc) };
        if tsc > was.since || guest {
            self.sink.cpu_state(CpuState {
                cpu: c as i32,
                start: Time::exact(was.since),
                end: Time::exact(tsc),
                state: was.state,
                evidence: Evidence::Observed,
                vm_id: vm.map(|vm| vm as i32),
                vcpu_id: was.vcpu.map(|v| v as i32),
                process_id: Some(process),
                host_cr3: Some(was.host_cr3 as i64),
                guest_cr3: guest.then_some(was.guest_cr3 as i64),
                tid: None,
            })?;
        }
        let cpu = &mut self.cpus[c];
        (cpu.since, cpu.state, cpu.vcpu) = (tsc, state, vcpu);
        Ok(())
    }

    /// A vCPU does something else from now on.
    fn vcpu_turns(&mut self, v: usize, tsc: i64, state: V) -> Result<(), S::Error> {
        let vc = &mut self.vcpus[v];
        vc.first = vc.first.min(tsc);
        vc.last = tsc;
        let Some((was, since)) = vc.state.replace((state, tsc)) else { return Ok(()) };
        let off = !matches!(was, V::Guest | V::Hypervisor);
        if was == V::Guest {
            vc.guest += tsc - since;
        } else if tsc <= since {
            return Ok(());
        }
        self.sink.vcpu_state(VcpuState {
            vcpu_id: v as i32,
            vm_id: vc.of.vm as i32,
            start: Time::exact(since),
            end: Time::exact(tsc),
            state: was,
            evidence: Evidence::Observed,
            cpu: (!off).then_some(vc.cpu as i32),
            process_id: vc.process,
            taken_by: self.cpus[vc.cpu].taker.filter(|_| was == V::Preempted),
            taken_by_tid: None,
        })
    }

    fn enter(&mut self, c: usize, tsc: i64, v: usize, cr3: u64, clock: GuestClock) -> Result<(), S::Error> {
        self.turn(c, tsc, C::Guest, Some(v))?;
        (self.cpus[c].guest_cr3, self.cpus[c].entry) = (cr3, tsc);
        self.vcpus[v].cpu = c;
        self.vcpu_turns(v, tsc, V::Guest)?;
        let vm = self.vcpus[v].of.vm;
        self.vcpus[v].process = Some(self.process(Some(vm), cr3, tsc));
        if self.vms[vm].clocks.last().is_none_or(|(last, _)| *last != clock) {
            self.vms[vm].clocks.push((clock, tsc));
        }
        match self.vcpus[v].exit.take() {
            Some(exit) => self.sink.exit(Exit { reentry: Some(Time::exact(tsc)), reentry_cpu: Some(c as i32), ..exit }),
            None => Ok(()),
        }
    }

    fn exit(&mut self, c: usize, tsc: i64, v: usize, (reason, cr3, ip): (u16, u64, u64)) -> Result<(), S::Error> {
        self.turn(c, tsc, C::Hypervisor, Some(v))?;
        self.vcpu_turns(v, tsc, V::Hypervisor)?;
        let vm = self.vcpus[v].of.vm;
        let process_id = self.process(Some(vm), cr3, tsc);
        let exit_id = self.exits;
        self.exits = self.exits.saturating_add(1);
        self.vcpus[v].exit = Some(Exit {
            exit_id,
            vcpu_id: v as i32,
            vm_id: vm as i32,
            cpu: c as i32,
            entry: Some(Time::exact(self.cpus[c].entry)),
            exit: Time::exact(tsc),
            reentry: None,
            reentry_cpu: None,
            reentry_vector: None,
            guest_cr3: cr3 as i64,
            process_id,
            reason: Some(i32::from(reason)),
            reason_evidence: Some(Evidence::Observed),
            guest_ip: Some(ip as i64),
            evidence: Evidence::Observed,
        });
        Ok(())
    }

    fn switch(&mut self, c: usize, tsc: i64, (from, to): (i32, i32), runnable: bool) -> Result<(), S::Error> {
        if let Some(&v) = self.of_tid.get(&from) {
            self.vcpu_turns(v, tsc, if runnable { V::Preempted } else { V::Waiting })?;
        }
        if let Some(&v) = self.of_tid.get(&to) {
            self.vcpus[v].cpu = c;
            self.vcpu_turns(v, tsc, V::Hypervisor)?;
        }
        // Those who wait for this cpu see another have it.
        let taker = self.of_tid.get(&to).map(|v| Taker { kind: TakerKind::Vm, id: Some(self.vcpus[*v].of.vm as i32) });
        let taker = taker.or((to != 0).then_some(Taker { kind: TakerKind::Host, id: None }));
        for v in 0..self.vcpus.len() {
            if self.vcpus[v].cpu == c && matches!(self.vcpus[v].state, Some((V::Preempted, _))) {
                self.vcpu_turns(v, tsc, V::Preempted)?;
            }
        }
        self.cpus[c].taker = taker;
        Ok(())
    }

    /// A loss ends.
    fn found(&mut self, c: usize, tsc: i64) -> Result<(), S::Error> {
        let Some((start_tsc, cause)) = self.cpus[c].lost.take() else { return Ok(()) };
        let source = String::new();
        self.sink.loss(Loss { cpu: c as i32, start_tsc, end_tsc: tsc, cause, source, offset_bytes: 0, bytes: 0 })
    }

    fn watch(&mut self, c: usize, tsc: i64, hw: &Hw) -> Result<(), S::Error> {
        match *hw {
            Hw::HostCr3 { cr3 } => {
                if space(cr3) != space(self.cpus[c].host_cr3) {
                    self.turn(c, tsc, C::Host, None)?;
                }
                self.cpus[c].host_cr3 = cr3;
                Ok(())
            }
            Hw::GuestCr3 { vmcs, cr3 } => {
                let v = self.of_vmcs[&vmcs];
                if space(cr3) != space(self.cpus[c].guest_cr3) {
                    self.turn(c, tsc, C::Guest, Some(v))?;
                    self.vcpu_turns(v, tsc, V::Guest)?;
                    self.vcpus[v].process = Some(self.process(Some(self.vcpus[v].of.vm), cr3, tsc));
                }
                self.cpus[c].guest_cr3 = cr3;
                Ok(())
            }
            Hw::Enter { vmcs, cr3, clock, .. } => self.enter(c, tsc, self.of_vmcs[&vmcs], cr3, clock),
            Hw::Exit { vmcs, reason, cr3, ip, .. } => self.exit(c, tsc, self.of_vmcs[&vmcs], (reason, cr3, ip)),
            Hw::Sleep => self.turn(c, tsc, C::Idle, None),
            Hw::Wake => self.turn(c, tsc, C::Host, None),
            Hw::Switch { from, runnable, to } => self.switch(c, tsc, (from, to), runnable),
            Hw::Wakeup { tid } => match self.of_tid.get(&tid) {
                Some(&v) if matches!(self.vcpus[v].state, Some((V::Waiting, _))) => {
                    self.vcpus[v].cpu = c;
                    self.vcpu_turns(v, tsc, V::Preempted)
                }
                _ => Ok(()),
            },
            Hw::Overflow => {
                self.cpus[c].lost = Some((tsc, LossCause::Overflow));
                Ok(())
            }
            Hw::TraceOff { full } => {
                let cause = if full { LossCause::Dropped } else { LossCause::TraceOff };
                self.cpus[c].lost = Some((tsc, cause));
                Ok(())
            }
            Hw::OverflowEnds | Hw::TraceOn => self.found(c, tsc),
            Hw::Load { .. } | Hw::Ended { .. } => Ok(()),
        }
    }
}

impl<S: Sink> Watch for Tables<S> {
    fn see(&mut self, cpu: usize, tsc: i64, hw: &Hw) {
        if self.failed.is_none()
            && let Err(error) = self.watch(cpu, tsc, hw)
        {
            self.failed = Some(error);
        }
    }
}
