//! A host: cpus, a scheduler, threads, and what KVM does for its vCPUs. A discrete-event model: nothing happens between
//! two events, and of two at one time the one that was planned first comes first, so that all follows from the seed.
//!
//! ```text
//! vCPU's thread:  … CR3 (VMM's) ─ VMPTRLD ─ entry ─ guest … exit ─ handled ─┬─ entry …
//!                                                                          ├─ HLT: polls, then waits for its timer
//!                                                                          └─ another thread wants the cpu
//! ```

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::guest::{Act, Guest, Pages, reason};
use crate::hw::{Hw, Watch};
use crate::pt::GuestClock;
use crate::rng::Rng;
use crate::scenario::{Loss, Process, Scenario};

/// Where things lie in memory.
const SWAPPER: u64 = 0x1c0_a000;
const VMM_PAGES: u64 = 0x1_0000_0000;
const PROCESS_PAGES: u64 = 0x2_0000_0000;
const VMCS_PAGES: u64 = 0x3_0000_0000;
const VMM: &str = "/usr/bin/qemu-system-x86_64";
/// Guests that are alike use the same pages of theirs.
const GUEST_PAGES: u64 = 0x540_0000;
/// A thread that has waited is not more than this ahead of others, microseconds.
const CREDIT_US: f64 = 3000.0;
/// And takes the cpu at once where it is more than this ahead.
const WAKEUP_US: f64 = 1000.0;
/// Those that want a cpu share so long a time, each at least for the second, before the next has it (`sched_latency_ns`,
/// `sched_min_granularity_ns` of one cpu).
const LATENCY_US: f64 = 6000.0;
const LEAST_SLICE_US: f64 = 750.0;
/// KVM's first time to poll (`halt_poll_ns_grow_start`).
const POLL_US: f64 = 10.0;

/// A driver that cannot turn a trace off or on now tries again after so long, microseconds.
const RETRY_US: f64 = 15.0;

/// Threads are numbered from here on.
const FIRST_TID: i32 = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A cpu does what it is about to, unless that was planned anew since.
    Cpu(usize, u64),
    /// A thread wants to run.
    Wake(usize),
    /// An interrupt wakes a cpu.
    Interrupt(usize),
    /// Trace of a cpu is lost, or no longer.
    Loss(usize, Fault),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Overflow,
    OverflowEnds,
    Full,
    Off,
    On,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Vcpu(usize),
    Process(usize),
    Kernel,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Running,
    Ready,
    Waiting,
    Ended,
}

/// What the kernel knows of a thread by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its number.
    pub tid: i32,
    /// Of its process.
    pub pid: i32,
    /// What it is called.
    pub comm: String,
    /// The file that its process runs; none: of the kernel.
    pub program: Option<&'static str>,
    /// VM/vcpuN, of a vCPU; VM/vmm, of the process it belongs to.
    pub role: Option<String>,
    /// TSC when it begins.
    pub from: i64,
}

/// A vCPU, as its host knows it.
#[derive(Debug)]
pub(crate) struct VcpuOf {
    /// Which of the node's VMs.
    pub(crate) vm: usize,
    pub(crate) vmcs: u64,
    pub(crate) host_cr3: u64,
    pub(crate) tid: i32,
    pub(crate) pid: i32,
    /// VM/vcpuN, the VM, and N.
    pub(crate) name: String,
    pub(crate) vm_name: String,
    pub(crate) index: Option<i32>,
}

#[derive(Debug)]
struct Thread {
    tid: i32,
    kind: Kind,
    mm: Option<u64>,
    state: State,
    /// Time on cpus, less what it was forgiven.
    vruntime: i64,
    since: i64,
    cpu: usize,
    pin: Option<usize>,
    /// Of a process or the kernel: what is left of its run.
    left: i64,
    limits: Limits,
}

/// What a cgroup allows a thread, and how long it is there.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Ticks on cpus in each period; none: as many as it wants.
    max: Option<(i64, i64)>,
    /// What it has had in the period that began then.
    used: i64,
    period_from: i64,
    /// It could run, and may not.
    throttled: bool,
    /// It ends then.
    until: i64,
}

impl Limits {
    const NONE: Limits = Limits { max: None, used: 0, period_from: 0, throttled: false, until: i64::MAX };

    /// It ran for so long; when it may again, if it may not now.
    fn ran(&mut self, ticks: i64, now: i64) -> Option<i64> {
        let (quota, period) = self.max?;
        if now - self.period_from >= period {
            self.period_from = now - (now - self.period_from) % period;
            self.used = 0;
        }
        self.used += ticks;
        (self.used >= quota).then_some(self.period_from + period)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Cr3(u64),
    Load(u64),
    Enter,
    Handled(u16),
    Start,
    Sleep,
    Pick,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Doing {
    Asleep,
    Steps,
    Guest,
    /// Its vCPU halted, and KVM polls for what ends that.
    Polling,
    Running,
}

#[derive(Debug)]
struct Cpu {
    doing: Doing,
    current: Option<usize>,
    steps: VecDeque<(i64, Step)>,
    plan: u64,
    host_cr3: u64,
    loaded: Option<u64>,
    ready: Vec<usize>,
    resched: bool,
    tick: i64,
    /// It found nothing to do at a tick, and sleeps through the next ones.
    tickless: bool,
    /// An interrupt for it has come while it is in a guest.
    kicked: bool,
    waking: bool,
    /// Its trace is lost.
    blind: bool,
    /// What it does next if nothing comes between, and when.
    due: i64,
}

/// A node, about to be run.
#[derive(Debug)]
pub struct Node {
    now: i64,
    end: i64,
    begin: i64,
    ticks_a_us: f64,
    exit: i64,
    switch: i64,
    wake: i64,
    tick: i64,
    halt_poll: i64,
    halt: i64,
    interrupt: i64,
    fault: i64,
    vmm: i64,
    enter: i64,
    jitter: f64,
    rng: Rng,
    events: BinaryHeap<Reverse<(i64, u64, Event)>>,
    planned: u64,
    cpus: Vec<Cpu>,
    threads: Vec<Thread>,
    guests: Vec<Guest>,
    pages: Vec<Pages>,
    processes: Vec<Process>,
    tasks: Vec<Task>,
    kernel: (f64, f64),
    loss: Loss,
    /// Losses have a row of their own: what happens does not hang on what of it is seen.
    loss_rng: Rng,
}

impl Node {
    /// The node of a scenario. It has been [checked](Scenario::check).
    pub fn new(scenario: &Scenario) -> Node {
        let ticks_a_us = scenario.node.tsc_hz as f64 / 1e6;
        let us = |us: f64| (us * ticks_a_us).max(1.0) as i64;
        let begin = scenario.node.tsc;
        let count = scenario.node.cpus as usize;
        let mut node = Node {
            now: begin,
            end: begin + (scenario.node.seconds * scenario.node.tsc_hz as f64) as i64,
            begin,
            ticks_a_us,
            exit: us(scenario.host.exit_us),
            switch: us(scenario.host.switch_us),
            wake: us(scenario.host.wake_us),
            tick: us(scenario.host.tick_us),
            halt_poll: (scenario.host.halt_poll_us * ticks_a_us) as i64,
            halt: us(scenario.host.halt_us),
            interrupt: us(scenario.host.interrupt_us),
            fault: us(scenario.host.fault_us),
            vmm: us(scenario.host.vmm_us),
            enter: us(scenario.host.enter_us),
            jitter: scenario.host.jitter,
            rng: Rng::new(scenario.node.seed),
            events: BinaryHeap::new(),
            planned: 0,
            cpus: Vec::new(),
            threads: Vec::new(),
            guests: Vec::new(),
            pages: Vec::new(),
            processes: scenario.process.clone(),
            tasks: Vec::new(),
            kernel: (scenario.host.kernel_threads_hz, scenario.host.kernel_thread_us),
            loss: scenario.loss,
            loss_rng: Rng::new(!scenario.node.seed),
        };
        node.cpus.extend((0..count).map(|c| Cpu {
            doing: Doing::Asleep,
            current: None,
            steps: VecDeque::new(),
            plan: 0,
            host_cr3: SWAPPER,
            loaded: None,
            ready: Vec::new(),
            resched: false,
            // Not all at once.
            tick: begin + us(scenario.host.tick_us) * (c as i64 + 1) / (count as i64 + 1),
            tickless: false,
            kicked: false,
            waking: false,
            blind: false,
            due: i64::MAX,
        }));
        // Awake, and about to see that there is nothing to do.
        for c in 0..count {
            node.cpus[c].doing = Doing::Steps;
            node.steps(c, &[(us(3.0), Step::Sleep)]);
        }
        for c in 0..count {
            [Fault::Overflow, Fault::Full, Fault::Off].into_iter().for_each(|fault| node.plan_loss(c, fault));
        }
        node.vms(scenario);
        for (i, process) in scenario.process.iter().enumerate() {
            let pin = process.cpu.map(|c| c as usize);
            let thread = node.thread(Kind::Process(i), Some(PROCESS_PAGES + 0x2000 * i as u64), pin);
            node.task(None, &process.name, Some("/usr/bin/program"), None, begin);
            let wait = if process.from_ms > 0.0 { process.from_ms * 1e3 } else { node.rng.unit() * 1e3 };
            node.plan(begin + us(wait), Event::Wake(thread));
        }
        if node.kernel.0 > 0.0 {
            for c in 0..count {
                let thread = node.thread(Kind::Kernel, None, Some(c));
                node.task(None, &format!("kworker/{c}:0"), None, None, begin);
                let wait = node.rng.exponential(1e6 / node.kernel.0);
                node.plan(begin + us(wait), Event::Wake(thread));
            }
        }
        node
    }

    fn vms(&mut self, scenario: &Scenario) {
        let mut placed = 0;
        for vm in scenario.vm.iter().flat_map(|vm| std::iter::repeat_n(vm, vm.count as usize)) {
            let v = self.pages.len();
            self.pages.push(Pages::new(GUEST_PAGES));
            let offset = vm.tsc_offset.unwrap_or_else(|| -(self.rng.below(1 << 34) as i64) - (1 << 33));
            let clock = GuestClock { offset, scale: vm.tsc_scale };
            let at = |ms: f64| self.begin + (ms * 1e3 * self.ticks_a_us) as i64;
            let (from, jump) = (at(vm.from_ms), (vm.tsc_jump_ms > 0.0).then(|| (at(vm.tsc_jump_ms), vm.tsc_jump)));
            let [quota, period] = vm.cpu_max_ms.map(|ms| (ms * 1e3 * self.ticks_a_us) as i64);
            let limits = Limits {
                max: (period > 0).then_some((quota, period)),
                period_from: self.begin,
                until: if vm.until_ms > 0.0 { at(vm.until_ms) } else { i64::MAX },
                ..Limits::NONE
            };
            let mm = VMM_PAGES + 0x2000 * v as u64;
            let name = if vm.count > 1 { format!("{}-{v}", vm.name) } else { vm.name.clone() };
            let pid = self.task(None, &name, Some(VMM), Some(format!("{name}/vmm")), from);
            for index in 0..vm.vcpus {
                let specs: Vec<Process> = vm.process.iter().filter(|p| p.vcpu == index).cloned().collect();
                let vmcs = VMCS_PAGES + 0x1000 * self.guests.len() as u64;
                let rng = self.rng.fork();
                let mut guest = Guest::new(v, vmcs, clock, vm, &specs, &mut self.pages[v], from, self.ticks_a_us, rng);
                guest.jump = jump;
                let pin = (!vm.pin.is_empty()).then(|| vm.pin[index as usize % vm.pin.len()] as usize);
                guest.thread = self.thread(Kind::Vcpu(self.guests.len()), Some(mm), pin);
                let thread = guest.thread;
                self.threads[thread].cpu = pin.unwrap_or(placed % self.cpus.len());
                self.threads[thread].limits = limits;
                placed += 1;
                self.task(Some(pid), &format!("CPU {index}/KVM"), Some(VMM), Some(format!("{name}/vcpu{index}")), from);
                self.guests.push(guest);
                if limits.until < self.end {
                    self.plan(limits.until, Event::Wake(thread));
                }
                let wait = self.rng.below(2_000_000) as i64;
                self.plan(from + 1 + wait, Event::Wake(thread));
            }
        }
    }

    fn thread(&mut self, kind: Kind, mm: Option<u64>, pin: Option<usize>) -> usize {
        let i = self.threads.len();
        let cpu = pin.unwrap_or(i % self.cpus.len());
        self.threads.push(Thread {
            tid: self.next_tid(),
            kind,
            mm,
            state: State::Waiting,
            vruntime: 0,
            since: 0,
            cpu,
            pin,
            left: 0,
            limits: Limits::NONE,
        });
        i
    }

    fn next_tid(&self) -> i32 {
        FIRST_TID + self.tasks.len() as i32
    }

    /// Names a thread, that was just made or never runs, and gives its number. Its process: none is itself.
    fn task(
        &mut self,
        pid: Option<i32>,
        comm: &str,
        program: Option<&'static str>,
        role: Option<String>,
        from: i64,
    ) -> i32 {
        let tid = self.next_tid();
        self.tasks.push(Task { tid, pid: pid.unwrap_or(tid), comm: comm.into(), program, role, from });
        tid
    }

    /// TSC at which it is first watched.
    pub fn begin(&self) -> i64 {
        self.begin
    }

    /// TSC up to which it is watched.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// Each cpu's CR3 at the begin; all are in root operation.
    pub fn host_cr3(&self) -> Vec<u64> {
        vec![SWAPPER; self.cpus.len()]
    }

    /// All vCPUs, those of a VM together.
    pub(crate) fn vcpus(&self) -> impl Iterator<Item = VcpuOf> + '_ {
        self.guests.iter().map(|guest| {
            let thread = &self.threads[guest.thread];
            let task = &self.tasks[(thread.tid - FIRST_TID) as usize];
            let name = task.role.clone().unwrap_or_default();
            let (vm_name, index) = name.rsplit_once("/vcpu").unwrap_or_default();
            VcpuOf {
                vm: guest.vm,
                vmcs: guest.vmcs,
                host_cr3: thread.mm.unwrap_or(0),
                tid: thread.tid,
                pid: task.pid,
                vm_name: vm_name.to_string(),
                index: index.parse().ok(),
                name,
            }
        })
    }

    /// All threads, by their numbers.
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// Runs it to its end.
    pub fn run(&mut self, watch: &mut impl Watch) {
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            if at >= self.end {
                break;
            }
            self.now = at;
            match event {
                Event::Cpu(c, plan) if self.cpus[c].plan == plan => self.cpu(c, watch),
                Event::Cpu(..) => {}
                Event::Wake(thread) => self.wakes(thread, watch),
                Event::Loss(c, fault) => self.lose(c, fault, watch),
                Event::Interrupt(c) => {
                    self.cpus[c].waking = false;
                    if self.cpus[c].doing == Doing::Asleep {
                        watch.see(c, self.now, &Hw::Wake);
                        self.tick_served(c);
                        self.cpus[c].tickless = self.cpus[c].ready.is_empty();
                        let after = self.about(self.interrupt);
                        self.steps(c, &[(after, Step::Pick)]);
                    }
                }
            }
        }
    }

    fn plan(&mut self, at: i64, event: Event) {
        self.planned += 1;
        self.events.push(Reverse((at, self.planned, event)));
    }

    /// A cpu does its next thing then.
    fn due(&mut self, c: usize, at: i64) {
        let cpu = &mut self.cpus[c];
        cpu.plan += 1;
        cpu.due = at;
        let plan = cpu.plan;
        self.plan(at, Event::Cpu(c, plan));
    }

    /// A cpu does these steps, each so long after the one before.
    fn steps(&mut self, c: usize, steps: &[(i64, Step)]) {
        let cpu = &mut self.cpus[c];
        cpu.doing = Doing::Steps;
        cpu.steps.clear();
        cpu.steps.extend(steps);
        if let Some((after, _)) = steps.first() {
            self.due(c, self.now + after.max(&1));
        }
    }

    fn about(&mut self, ticks: i64) -> i64 {
        (self.rng.near(ticks as f64, self.jitter) as i64).max(1)
    }

    fn cpu(&mut self, c: usize, watch: &mut impl Watch) {
        match self.cpus[c].doing {
            Doing::Asleep => {}
            Doing::Steps => {
                let Some((_, step)) = self.cpus[c].steps.pop_front() else { return };
                self.step(c, step, watch);
                if self.cpus[c].doing == Doing::Steps
                    && let Some(&(after, _)) = self.cpus[c].steps.front()
                    && self.cpus[c].due <= self.now
                {
                    self.due(c, self.now + after.max(1));
                }
            }
            Doing::Guest => self.in_guest(c, watch),
            Doing::Polling => self.polled(c, watch),
            Doing::Running => self.running(c, watch),
        }
    }

    fn step(&mut self, c: usize, step: Step, watch: &mut impl Watch) {
        match step {
            Step::Cr3(cr3) => {
                self.cpus[c].host_cr3 = cr3;
                watch.see(c, self.now, &Hw::HostCr3 { cr3 });
            }
            Step::Load(vmcs) => {
                self.cpus[c].loaded = Some(vmcs);
                watch.see(c, self.now, &Hw::Load { vmcs });
            }
            Step::Enter => self.enter(c, watch),
            Step::Handled(reason) => self.handled(c, reason, watch),
            Step::Start => {
                self.cpus[c].doing = Doing::Running;
                self.run_on(c);
            }
            Step::Sleep if self.cpus[c].ready.is_empty() => {
                self.cpus[c].doing = Doing::Asleep;
                watch.see(c, self.now, &Hw::Sleep);
                self.tick_served(c);
                if !self.cpus[c].tickless {
                    self.plan(self.cpus[c].tick, Event::Interrupt(c));
                }
            }
            Step::Sleep => self.pick(c, false, watch),
            Step::Pick => self.pick(c, false, watch),
        }
    }

    fn vcpu(&self, c: usize) -> Option<usize> {
        match self.threads[self.cpus[c].current?].kind {
            Kind::Vcpu(v) => Some(v),
            _ => None,
        }
    }

    // ── the trace ──

    /// The next loss of this kind, if there are any.
    fn plan_loss(&mut self, c: usize, fault: Fault) {
        let hz = match fault {
            Fault::Overflow => self.loss.overflow_hz,
            Fault::Full => self.loss.full_hz,
            _ => self.loss.off_hz,
        };
        if hz > 0.0 {
            let after = self.loss_rng.exponential(1e6 / hz) * self.ticks_a_us;
            self.plan(self.now + 1 + after as i64, Event::Loss(c, fault));
        }
    }

    fn lose(&mut self, c: usize, fault: Fault, watch: &mut impl Watch) {
        let Cpu { doing, blind, .. } = self.cpus[c];
        let awake = doing != Doing::Asleep;
        // The driver runs in root operation.
        let can = match fault {
            Fault::Overflow | Fault::OverflowEnds => awake,
            Fault::Full | Fault::Off | Fault::On => awake && doing != Doing::Guest,
        };
        let ends = matches!(fault, Fault::OverflowEnds | Fault::On);
        if !can && (ends || fault != Fault::Overflow) {
            let later = (RETRY_US * self.ticks_a_us) as i64;
            return self.plan(self.now + later.max(1), Event::Loss(c, fault));
        }
        let (us, end) = match fault {
            Fault::Overflow => (self.loss.overflow_us, Fault::OverflowEnds),
            Fault::Full => (self.loss.full_ms * 1e3, Fault::On),
            _ => (self.loss.off_ms * 1e3, Fault::On),
        };
        if ends {
            self.cpus[c].blind = false;
            return watch.see(c, self.now, if fault == Fault::On { &Hw::TraceOn } else { &Hw::OverflowEnds });
        }
        if can && !blind {
            self.cpus[c].blind = true;
            let hw = match fault {
                Fault::Overflow => Hw::Overflow,
                _ => Hw::TraceOff { full: fault == Fault::Full },
            };
            watch.see(c, self.now, &hw);
            let after = self.loss_rng.about(us) * self.ticks_a_us;
            self.plan(self.now + 1 + after as i64, Event::Loss(c, end));
        }
        self.plan_loss(c, fault);
    }

    // ── KVM ──

    fn enter(&mut self, c: usize, watch: &mut impl Watch) {
        let Some(v) = self.vcpu(c) else { return };
        self.ticked(c);
        let guest = &mut self.guests[v];
        let ip = 0xffff_ffff_8100_0000 + (guest.vmcs >> 8 & 0xffff);
        let hw = Hw::Enter { vmcs: guest.vmcs, cr3: guest.cr3, clock: guest.clock_at(self.now), ip };
        let next = guest.enter(self.now, &mut self.pages[guest.vm]);
        watch.see(c, self.now, &hw);
        self.cpus[c].doing = Doing::Guest;
        self.guest_due(c, next);
    }

    fn guest_due(&mut self, c: usize, next: i64) {
        let tick = self.cpus[c].tick;
        let at = if self.cpus[c].resched || self.cpus[c].kicked { self.now + 1 } else { next.min(tick) };
        self.due(c, at.max(self.now));
    }

    fn in_guest(&mut self, c: usize, watch: &mut impl Watch) {
        let Some(v) = self.vcpu(c) else { return };
        if self.now >= self.cpus[c].tick || self.cpus[c].resched || self.cpus[c].kicked {
            self.cpus[c].kicked = false;
            self.ticked(c);
            self.guests[v].leave(self.now);
            return self.exit(c, v, reason::EXTERNAL_INTERRUPT, watch);
        }
        let vm = self.guests[v].vm;
        let (act, next) = self.guests[v].act(self.now, &mut self.pages[vm]);
        match act {
            Act::Cr3(cr3) => {
                watch.see(c, self.now, &Hw::GuestCr3 { vmcs: self.guests[v].vmcs, cr3 });
                self.guest_due(c, next);
            }
            Act::Inside => self.guest_due(c, next),
            Act::Exit(reason) => self.exit(c, v, reason, watch),
        }
    }

    fn exit(&mut self, c: usize, v: usize, reason: u16, watch: &mut impl Watch) {
        let guest = &self.guests[v];
        let ip = 0xffff_ffff_8100_0000 + (self.now as u64 >> 4 & 0xffff);
        let hw = Hw::Exit { vmcs: guest.vmcs, reason, cr3: guest.cr3, host_cr3: self.cpus[c].host_cr3, ip };
        watch.see(c, self.now, &hw);
        let us = |us: f64| (us * self.ticks_a_us) as i64;
        let own = guest.exit_us(reason).map(|said| us(said) - self.exit / 2);
        let after = own.unwrap_or(match reason {
            reason::EXTERNAL_INTERRUPT => self.interrupt + self.exit / 2,
            reason::HLT => self.halt,
            reason::IO | reason::EPT_MISCONFIGURATION => self.vmm - self.exit / 2,
            reason::EPT_VIOLATION => self.fault - self.exit / 2,
            _ => self.exit / 2,
        });
        let after = self.about(after.max(1));
        self.steps(c, &[(after, Step::Handled(reason))]);
    }

    fn handled(&mut self, c: usize, why: u16, watch: &mut impl Watch) {
        let Some(v) = self.vcpu(c) else { return };
        if self.now >= self.threads[self.guests[v].thread].limits.until {
            // The VMM ends it.
            let thread = self.guests[v].thread;
            self.pick(c, false, watch);
            return self.plan(self.now + 1, Event::Wake(thread));
        }
        self.ticked(c);
        if why == reason::HLT {
            self.guests[v].halt.since = Some(self.now);
            self.cpus[c].doing = Doing::Polling;
            return self.polled(c, watch);
        }
        if self.cpus[c].resched {
            return self.pick(c, true, watch);
        }
        let after = self.about(self.exit / 2);
        self.steps(c, &[(after, Step::Enter)]);
    }

    /// A halted vCPU goes on, or KVM polls, or its thread waits for what ends the halt (`kvm_vcpu_halt`).
    fn polled(&mut self, c: usize, watch: &mut impl Watch) {
        let Some(v) = self.vcpu(c) else { return };
        let guest = &self.guests[v];
        let poll_end = guest.halt.since.unwrap_or(self.now) + guest.halt.poll.min(self.halt_poll);
        match guest.timer() {
            Some(timer) if timer <= self.now => {
                self.halt_over(v);
                if self.cpus[c].resched {
                    return self.pick(c, true, watch);
                }
                let after = self.about(self.exit / 2);
                self.steps(c, &[(after, Step::Enter)]);
            }
            timer if self.now < poll_end && self.cpus[c].ready.is_empty() => {
                self.due(c, timer.map_or(poll_end, |timer| timer.min(poll_end)));
            }
            timer => {
                if let Some(timer) = timer {
                    self.plan(timer, Event::Wake(self.guests[v].thread));
                }
                self.pick(c, false, watch);
            }
        }
    }

    /// A vCPU's halt is over.
    fn halt_over(&mut self, v: usize) {
        let start = (POLL_US * self.ticks_a_us) as i64;
        self.guests[v].halt.over(self.now, start, self.halt_poll);
    }

    // ── the scheduler ──

    /// What a thread has had, by now.
    fn vruntime(&self, thread: usize) -> i64 {
        let t = &self.threads[thread];
        t.vruntime + if t.state == State::Running { self.now - t.since } else { 0 }
    }

    /// The timer of a cpu ticks: whether another should run.
    fn ticked(&mut self, c: usize) {
        if self.now < self.cpus[c].tick {
            return;
        }
        self.tick_served(c);
        if let Some(current) = self.cpus[c].current {
            let (now, t) = (self.now, &self.threads[current]);
            let mut limits = t.limits;
            self.cpus[c].resched |= limits.ran(now - t.since, now).is_some();
        }
        let waits = self.cpus[c].ready.iter().map(|t| self.vruntime(*t)).min();
        if let (Some(current), Some(least)) = (self.cpus[c].current, waits) {
            let slice = (LATENCY_US / (self.cpus[c].ready.len() + 1) as f64).max(LEAST_SLICE_US);
            let slice = (slice * self.ticks_a_us) as i64;
            let ran = self.now - self.threads[current].since;
            self.cpus[c].resched |= ran > slice || self.vruntime(current) - least > slice;
        }
    }

    /// The ticks up to now are over; the next is on the same grid.
    fn tick_served(&mut self, c: usize) {
        let past = self.now - self.cpus[c].tick;
        if past >= 0 {
            self.cpus[c].tick += (past / self.tick + 1) * self.tick;
        }
    }

    fn running(&mut self, c: usize, watch: &mut impl Watch) {
        let Some(current) = self.cpus[c].current else { return };
        let ran = self.now - self.threads[current].since;
        let done = ran >= self.threads[current].left;
        self.ticked(c);
        if done {
            return self.rest(current, c, watch);
        }
        if self.cpus[c].resched {
            self.threads[current].left -= ran;
            return self.pick(c, true, watch);
        }
        self.run_on(c);
    }

    /// A host's thread has run as long as it wanted to.
    fn rest(&mut self, thread: usize, c: usize, watch: &mut impl Watch) {
        let wait = match self.threads[thread].kind {
            Kind::Process(p) => self.rng.about(self.processes[p].period_ms.max(0.001) * 1e3),
            _ => self.rng.exponential(1e6 / self.kernel.0.max(1e-6)),
        };
        self.plan(self.now + (wait * self.ticks_a_us).max(1.0) as i64, Event::Wake(thread));
        self.pick(c, false, watch);
    }

    fn run_on(&mut self, c: usize) {
        let Some(current) = self.cpus[c].current else { return };
        let done = self.threads[current].since + self.threads[current].left;
        let at = if self.cpus[c].resched { self.now + 1 } else { done.min(self.cpus[c].tick) };
        self.due(c, at.max(self.now + 1));
    }

    /// Another thread gets the cpu. `runnable`: the one that has it would run on.
    fn pick(&mut self, c: usize, runnable: bool, watch: &mut impl Watch) {
        let before = self.cpus[c].current;
        if let Some(thread) = before {
            let vruntime = self.vruntime(thread);
            let t = &mut self.threads[thread];
            t.vruntime = vruntime;
            let again = t.limits.ran(self.now - t.since, self.now);
            t.state = if runnable && again.is_none() { State::Ready } else { State::Waiting };
            match again {
                Some(again) if runnable => {
                    t.limits.throttled = true;
                    self.plan(again, Event::Wake(thread));
                }
                None if runnable => self.cpus[c].ready.push(thread),
                _ => {}
            }
        }
        self.cpus[c].resched = false;
        let least = (0..self.cpus[c].ready.len()).min_by_key(|i| {
            let thread = self.cpus[c].ready[*i];
            (self.threads[thread].vruntime, thread)
        });
        let next = least.map(|i| self.cpus[c].ready.swap_remove(i));
        let tid = |thread: Option<usize>| thread.map_or(0, |t| self.threads[t].tid);
        if before != next {
            let hw = Hw::Switch { from: tid(before), runnable: runnable && before.is_some(), to: tid(next) };
            watch.see(c, self.now, &hw);
        }
        self.cpus[c].current = next;
        let Some(thread) = next else {
            let after = self.about(self.switch);
            return self.steps(c, &[(after, Step::Sleep)]);
        };
        let (now, cpu) = (self.now, c);
        let t = &mut self.threads[thread];
        (t.state, t.since, t.cpu) = (State::Running, now, cpu);
        self.cpus[c].tickless = false;
        let mut steps = Vec::with_capacity(3);
        let (mm, kind) = (t.mm, t.kind);
        let mut after = self.about(self.switch);
        if let Some(mm) = mm.filter(|mm| *mm != self.cpus[c].host_cr3) {
            steps.push((std::mem::take(&mut after), Step::Cr3(mm)));
        }
        match kind {
            Kind::Vcpu(v) => {
                let vmcs = self.guests[v].vmcs;
                after += self.about(self.switch / 4);
                if self.cpus[c].loaded != Some(vmcs) {
                    steps.push((std::mem::take(&mut after), Step::Load(vmcs)));
                }
                steps.push((after + self.about(self.enter), Step::Enter));
                self.halt_over(v);
            }
            Kind::Process(_) | Kind::Kernel => steps.push((after + self.about(self.switch / 4), Step::Start)),
        }
        self.steps(c, &steps);
    }

    fn wakes(&mut self, thread: usize, watch: &mut impl Watch) {
        if self.threads[thread].state != State::Waiting {
            return;
        }
        if self.now >= self.threads[thread].limits.until {
            let t = &mut self.threads[thread];
            t.state = State::Ended;
            return watch.see(t.cpu, self.now, &Hw::Ended { tid: t.tid });
        }
        if let Some(again) = self.threads[thread].limits.ran(0, self.now) {
            return self.plan(again, Event::Wake(thread));
        }
        let c = self.place(thread);
        let burst = match self.threads[thread].kind {
            Kind::Process(p) if self.processes[p].period_ms == 0.0 => 1e12,
            Kind::Process(p) => self.rng.about(self.processes[p].burst_ms * 1e3),
            Kind::Kernel => self.rng.about(self.kernel.1),
            Kind::Vcpu(_) => 0.0,
        };
        let others = self.cpus[c].ready.iter().copied().chain(self.cpus[c].current);
        let least = others.map(|t| self.vruntime(t)).min().unwrap_or(i64::MIN);
        let credit = (CREDIT_US * self.ticks_a_us) as i64;
        let t = &mut self.threads[thread];
        t.left = (burst * self.ticks_a_us).min(1e15) as i64;
        t.vruntime = t.vruntime.max(least.saturating_sub(credit));
        t.state = State::Ready;
        t.cpu = c;
        let (tid, vruntime) = (t.tid, t.vruntime);
        self.cpus[c].ready.push(thread);
        if !std::mem::take(&mut self.threads[thread].limits.throttled) {
            watch.see(c, self.now, &Hw::Wakeup { tid });
        }
        match (self.cpus[c].doing, self.cpus[c].current) {
            (Doing::Asleep, _) if !self.cpus[c].waking => {
                self.cpus[c].waking = true;
                let after = self.about(self.wake);
                self.plan(self.now + after, Event::Interrupt(c));
            }
            (doing, Some(current)) => {
                let soon = self.now + (0.5 * self.ticks_a_us) as i64 + 1;
                if matches!(doing, Doing::Guest | Doing::Polling) {
                    // What wakes the thread is an interrupt here; and KVM polls no longer.
                    self.cpus[c].kicked = doing == Doing::Guest;
                    if soon < self.cpus[c].due {
                        self.due(c, soon);
                    }
                }
                let ahead = (WAKEUP_US * self.ticks_a_us) as i64;
                if self.vruntime(current) - vruntime > ahead {
                    self.cpus[c].resched = true;
                    if doing == Doing::Running && soon < self.cpus[c].due {
                        self.due(c, soon);
                    }
                }
            }
            _ => {}
        }
    }

    /// Which cpu a thread that wakes goes to: its last one, unless that is busy and another is not.
    fn place(&mut self, thread: usize) -> usize {
        let t = &self.threads[thread];
        if let Some(pin) = t.pin {
            return pin;
        }
        let load = |c: usize| self.cpus[c].ready.len() + usize::from(self.cpus[c].current.is_some());
        let last = t.cpu;
        if load(last) == 0 {
            return last;
        }
        let count = self.cpus.len();
        let other = (1..count.min(8)).map(|i| (last + i) % count).min_by_key(|c| (load(*c), *c));
        other.filter(|c| load(*c) < load(last)).unwrap_or(last)
    }
}
