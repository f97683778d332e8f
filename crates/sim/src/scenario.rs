//! A scenario: what is on the node and what it does. TOML, every value with a default.
//!
//! Defaults are what was measured on an unmodified Linux 6.1 KVM host; docs/simulator.md says which, and where.

use serde::{Deserialize, Serialize};

use crate::pt::{Clock, Mode};
use crate::rng::Rng;

/// What is on a node, and how it is traced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// The machine.
    pub node: Node,
    /// How it is traced.
    pub trace: Trace,
    /// What of the trace is lost.
    pub loss: Loss,
    /// The kernel's scheduler and its latencies.
    pub host: Host,
    /// Programs of the host.
    pub process: Vec<Process>,
    /// Its virtual machines.
    pub vm: Vec<Vm>,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Node {
    /// Logical processors.
    pub cpus: u32,
    /// How long it is watched.
    pub seconds: f64,
    /// Everything follows from it.
    pub seed: u64,
    /// TSC ticks a second.
    pub tsc_hz: u64,
    /// TSC ticks a crystal tick.
    pub tsc_ctc_ratio: [u32; 2],
    /// TSC when it is first watched.
    pub tsc: i64,
    /// What the wall clock says then, seconds since 1970; 0: nothing. A perf.data tells it.
    pub wall: u64,
}

impl Default for Node {
    fn default() -> Self {
        Node {
            cpus: 1,
            seconds: 1.0,
            seed: 1,
            tsc_hz: 2_100_000_000,
            tsc_ctc_ratio: [168, 2],
            tsc: 47_000_000_000,
            wall: 0,
        }
    }
}

/// How it is traced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trace {
    /// Branches too.
    pub branches: bool,
    /// An MTC each 2^N crystal ticks; −1: none.
    pub mtc_period: i8,
    /// CYC packets.
    pub cyc: bool,
    /// Power events.
    pub power: bool,
    /// Event Trace.
    pub event: bool,
    /// A PSB+ each so many bytes.
    pub psb_bytes: u64,
    /// Inside PSB+ packets stand in any order.
    pub any_order: bool,
    /// Raw streams, or a perf.data with what the kernel says beside it.
    pub form: Form,
    /// Of a perf.data: a cpu's ring of trace.
    pub ring_kb: u64,
    /// Of a perf.data: rings are overwritten, and have this size; 0: they are written out as they fill.
    pub snapshot_kb: u64,
    /// What its processors get wrong: names of errata of Intel's specification updates.
    pub errata: Vec<Erratum>,
}

/// What a trace is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// A stream of packets a cpu, `cpuN.pt`.
    #[default]
    Raw,
    /// `perf.data`.
    Perf,
}

/// What processors get wrong (`Errata` in the packet crate says more).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Erratum {
    /// A TMA in a guest whose TSC is offset is corrupt, and a bogus byte follows it.
    SKZ84,
    /// An OVF comes amid a CYC.
    SKD007,
    /// A CYC right before a PSB is dropped, perhaps its MTC too.
    SKL168,
    /// PSB+ holds a FUP and a MODE.Exec that do not belong there.
    BDM70,
    /// No FUP follows an OVF.
    SKD010,
    /// A FUP that does not belong there follows an OVF.
    APL12,
}

/// What of a trace is lost. Rates are of each cpu; what hits a cpu that is lost already does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Loss {
    /// The processor cannot write as fast as it makes packets, so often a second: OVF.
    pub overflow_hz: f64,
    /// For so long.
    pub overflow_us: f64,
    /// The ring is full, so often a second: AUX with TRUNCATED, and no trace until perf has come. In a perf.data.
    pub full_hz: f64,
    /// For so long.
    pub full_ms: f64,
    /// Somebody turns the trace off, so often a second. In a perf.data.
    pub off_hz: f64,
    /// And on again after so long.
    pub off_ms: f64,
    /// The kernel's other ring is full, so often a second: LOST. In a perf.data.
    pub records_hz: f64,
    /// For so long.
    pub records_ms: f64,
}

impl Default for Loss {
    fn default() -> Self {
        Loss {
            overflow_hz: 0.0,
            overflow_us: 30.0,
            full_hz: 0.0,
            full_ms: 4.0,
            off_hz: 0.0,
            off_ms: 4.0,
            records_hz: 0.0,
            records_ms: 1.0,
        }
    }
}

impl Default for Trace {
    fn default() -> Self {
        Trace {
            branches: false,
            mtc_period: 9,
            cyc: false,
            power: false,
            event: false,
            psb_bytes: 16 << 10,
            any_order: false,
            form: Form::Raw,
            ring_kb: 1024,
            snapshot_kb: 0,
            errata: Vec::new(),
        }
    }
}

/// The kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Host {
    /// Its timer tick, and the shortest time that a thread has before another gets the cpu.
    pub tick_us: f64,
    /// Handling an exit that KVM alone has to do with, entry included.
    pub exit_us: f64,
    /// A switch of threads, without what the new one does first.
    pub switch_us: f64,
    /// Waking up a sleeping cpu.
    pub wake_us: f64,
    /// A kernel thread runs now and then: so often a second and cpu.
    pub kernel_threads_hz: f64,
    /// And for so long.
    pub kernel_thread_us: f64,
    /// The longest that KVM polls for a wake-up after an HLT, while no other thread wants the cpu (`halt_poll_ns`); 0: it
    /// does not.
    pub halt_poll_us: f64,
    /// From an HLT's exit until the vCPU waits, or polls.
    pub halt_us: f64,
    /// Handling an interrupt: an exit by one takes as much longer.
    pub interrupt_us: f64,
    /// Handling an EPT violation.
    pub fault_us: f64,
    /// Handling I/O and MMIO, in the VMM.
    pub vmm_us: f64,
    /// From a switch to a vCPU's thread to its entry.
    pub enter_us: f64,
    /// How far each of these times may be off, as a part of it.
    pub jitter: f64,
}

impl Default for Host {
    fn default() -> Self {
        Host {
            tick_us: 4000.0,
            exit_us: 3.5,
            switch_us: 4.2,
            wake_us: 5.0,
            kernel_threads_hz: 20.0,
            kernel_thread_us: 25.0,
            halt_poll_us: 200.0,
            halt_us: 9.0,
            interrupt_us: 12.5,
            fault_us: 9.4,
            vmm_us: 34.6,
            enter_us: 4.6,
            jitter: 0.5,
        }
    }
}

/// A program that runs for a while, waits for a while, and again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Process {
    /// What it is called.
    pub name: String,
    /// From one run to the next; 0: it never waits.
    pub period_ms: f64,
    /// How long a run takes.
    pub burst_ms: f64,
    /// It begins so long after the start.
    pub from_ms: f64,
    /// Of a guest: it ends so long after the start, when a run is over, and its page table is free for one that forks; 0: it
    /// does not.
    pub until_ms: f64,
    /// Of a guest: its work is exits, one each so many microseconds of guest time; 0: it is not.
    pub exit_every_us: f64,
    /// Their basic reason: 30 is I/O, 49 EPT misconfiguration (MMIO), 48 EPT violation.
    pub exit_reason: u16,
    /// Each run is a process of its own, whose page table uses the pages of one that ended.
    pub forks: bool,
    /// Of a guest: the vCPU that it runs on.
    pub vcpu: u32,
    /// Of the host: the only cpu that it may use.
    pub cpu: Option<u32>,
    /// How far a run and a wait may be off, as a part of them.
    pub jitter: f64,
    /// Of a guest: how long its exits are handled; 0: as others of their reason.
    pub exit_us: f64,
    /// Of a guest: a process that begins (`forks`) executes CPUID so often.
    pub cpuids: u32,
    /// Of a guest: in its first run it touches so many pages that no guest touched before, an EPT violation each.
    pub touches: u32,
    /// Of a guest with KPTI: a run begins with so many short system calls.
    pub syscalls: u32,
    /// And has so many a second; none: as its VM.
    pub syscalls_hz: Option<f64>,
}

impl Default for Process {
    fn default() -> Self {
        Process {
            name: "process".into(),
            period_ms: 10.0,
            burst_ms: 0.5,
            from_ms: 0.0,
            until_ms: 0.0,
            exit_every_us: 0.0,
            exit_reason: 30,
            forks: false,
            vcpu: 0,
            cpu: None,
            jitter: 0.5,
            exit_us: 0.0,
            cpuids: 61,
            touches: 0,
            syscalls: 2,
            syscalls_hz: None,
        }
    }
}

/// A virtual machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Vm {
    /// What it is called.
    pub name: String,
    /// So many alike.
    pub count: u32,
    /// Its vCPUs.
    pub vcpus: u32,
    /// The only cpus that they may use, one after the other; none: any.
    pub pin: Vec<u32>,
    /// Guest TSC minus the host's; none: some seconds less.
    pub tsc_offset: Option<i64>,
    /// Guest ticks a host tick.
    pub tsc_scale: f64,
    /// So long after the start its clock is set anew; 0: never.
    pub tsc_jump_ms: f64,
    /// By so many ticks.
    pub tsc_jump: i64,
    /// It comes to this node so long after the start,
    pub from_ms: f64,
    /// and leaves it; 0: it stays.
    pub until_ms: f64,
    /// Its cgroup's cpu.max: how long each of its vCPUs may run in each period; 0 of 0: no limit.
    pub cpu_max_ms: [f64; 2],
    /// Its kernel has KPTI.
    pub kpti: bool,
    /// How many system calls a second of running, where it has.
    pub syscalls_hz: f64,
    /// And how long one takes.
    pub syscall_us: f64,
    /// Its kernel's timer ticks so often a second, unless it idles; 0: never.
    pub tick_hz: f64,
    /// It first does so long after the start, or the VM's coming; none: at some time.
    pub tick_at_ms: Option<f64>,
    /// From the timer's interrupt to the WRMSR that arms it again.
    pub timer_us: f64,
    /// What a tick does after that where no process runs.
    pub tick_us: f64,
    /// From the end of what there was to do to HLT.
    pub idle_us: f64,
    /// Timers that run out so soon after another run out with it.
    pub timer_slack_us: f64,
    /// Of how many of its timer's interrupts it is to be told when it takes interrupts again, as a part of 1.
    pub interrupt_window: f64,
    /// Its processes.
    pub process: Vec<Process>,
}

impl Default for Vm {
    fn default() -> Self {
        Vm {
            name: "vm".into(),
            count: 1,
            vcpus: 1,
            pin: Vec::new(),
            tsc_offset: None,
            tsc_scale: 1.0,
            tsc_jump_ms: 0.0,
            tsc_jump: 0,
            from_ms: 0.0,
            until_ms: 0.0,
            cpu_max_ms: [0.0, 0.0],
            kpti: false,
            syscalls_hz: 5300.0,
            syscall_us: 9.0,
            tick_hz: 250.0,
            tick_at_ms: None,
            timer_us: 7.7,
            tick_us: 14.0,
            idle_us: 5.5,
            timer_slack_us: 50.0,
            interrupt_window: 0.0,
            process: Vec::new(),
        }
    }
}

/// Why a scenario cannot be simulated. The text is what the user sees.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// It is no TOML, or has what no scenario has.
    #[error("line {line}: {why}")]
    Toml {
        /// Where.
        line: usize,
        /// What.
        why: String,
    },
    /// A value that no node has.
    #[error("{what} = {value}: should be {should}")]
    Value {
        /// Which.
        what: &'static str,
        /// What it is.
        value: f64,
        /// What it should be.
        should: &'static str,
    },
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// Any [`ScenarioError`].
    pub fn parse(text: &str) -> Result<Scenario, ScenarioError> {
        let scenario: Scenario = toml::from_str(text).map_err(|error| ScenarioError::Toml {
            line: error.span().map_or(1, |span| text.get(..span.start).map_or(1, |t| t.matches('\n').count() + 1)),
            why: error.message().replace('\n', " "),
        })?;
        scenario.check()?;
        Ok(scenario)
    }

    /// A scenario that is known by its name.
    pub fn named(name: &str) -> Option<Scenario> {
        let (_, text) = NAMED.iter().find(|(known, _)| *known == name)?;
        Scenario::parse(text).ok()
    }

    /// A small one, drawn from this seed: some cpus, VMs, processes and ways to trace, for some milliseconds.
    pub fn random(seed: u64) -> Scenario {
        let mut rng = Rng::new(seed);
        let rng = &mut rng;
        let cpus = 1 + rng.below(3) as u32;
        let node = Node {
            cpus,
            seconds: 0.02 + 0.08 * rng.unit(),
            seed: rng.next_u64() >> 1,
            tsc_hz: pick(rng, &[1_900_000_000, 2_100_000_000, 3_400_000_000]),
            tsc_ctc_ratio: pick(rng, &[[168, 2], [84, 1], [176, 2], [216, 2]]),
            tsc: 1_000_000_000 + rng.below(1 << 50) as i64,
            wall: 0,
        };
        let trace = Trace {
            branches: rng.chance(0.2),
            mtc_period: pick(rng, &[-1, 3, 3, 6, 9, 9]),
            cyc: rng.chance(0.3),
            power: rng.chance(0.3),
            event: rng.chance(0.3),
            psb_bytes: pick(rng, &[512, 2 << 10, 4 << 10, 16 << 10]),
            any_order: rng.chance(0.3),
            ..Trace::default()
        };
        let host = Host {
            tick_us: pick(rng, &[1000.0, 4000.0]),
            exit_us: 1.0 + 9.0 * rng.unit(),
            kernel_threads_hz: 200.0 * rng.unit(),
            halt_poll_us: if rng.chance(0.3) { 0.0 } else { 400.0 * rng.unit() },
            halt_us: 0.5 + 12.0 * rng.unit(),
            interrupt_us: 0.5 + 12.0 * rng.unit(),
            fault_us: 1.0 + 12.0 * rng.unit(),
            vmm_us: 5.0 + 50.0 * rng.unit(),
            enter_us: 0.5 + 8.0 * rng.unit(),
            jitter: 0.5 * rng.unit(),
            ..Host::default()
        };
        let process = (0..rng.below(3)).map(|_| draw_process(rng, None, cpus)).collect();
        let mut vm: Vec<Vm> = (0..1 + rng.below(4)).map(|i| draw_vm(rng, i, cpus)).collect();
        // Without MTC a reader has the guests' clocks for its own, and few samples cannot tell that one is scaled.
        vm.iter_mut().filter(|_| trace.mtc_period < 0).for_each(|vm| vm.tsc_scale = 1.0);
        Scenario { node, trace, loss: Loss::default(), host, process, vm }
    }

    /// The same, recorded by perf, with losses and errata drawn too.
    pub fn random_lossy(seed: u64) -> Scenario {
        let mut scenario = Scenario::random(seed);
        let mut rng = Rng::new(!seed);
        let rng = &mut rng;
        let mut hz = |most: f64| if rng.chance(0.4) { most * rng.unit() } else { 0.0 };
        let loss = Loss {
            overflow_hz: hz(400.0),
            full_hz: hz(100.0),
            off_hz: hz(50.0),
            records_hz: hz(100.0),
            ..Loss::default()
        };
        scenario.loss = Loss {
            overflow_us: 2.0 + 200.0 * rng.unit() * rng.unit(),
            full_ms: 0.5 + 8.0 * rng.unit() * rng.unit(),
            off_ms: 0.5 + 8.0 * rng.unit() * rng.unit(),
            records_ms: 0.1 + 4.0 * rng.unit(),
            ..loss
        };
        let trace = &mut scenario.trace;
        trace.form = Form::Perf;
        trace.ring_kb = if trace.branches { 256 } else { pick(rng, &[16, 64, 256]) };
        trace.snapshot_kb = if rng.chance(0.1) { (trace.psb_bytes >> 10).max(1) * pick(rng, &[3, 8]) } else { 0 };
        if trace.snapshot_kb > 0 {
            // Such a ring is never full; and that it was off, its bytes do not say.
            (scenario.loss.full_hz, scenario.loss.off_hz) = (0.0, 0.0);
        }
        trace.errata = match rng.below(4) {
            0 => vec![Erratum::SKZ84, Erratum::BDM70],
            1 => vec![Erratum::SKD007, Erratum::SKL168, Erratum::SKD010, Erratum::BDM70],
            2 => vec![Erratum::APL12],
            _ => Vec::new(),
        };
        // Where the byte behind a TMA is bogus, what follows it is what tells.
        trace.any_order &= !trace.errata.contains(&Erratum::SKZ84);
        scenario
    }

    /// Refuses values that no node has.
    ///
    /// # Errors
    /// [`ScenarioError::Value`].
    pub fn check(&self) -> Result<(), ScenarioError> {
        let is = |good: bool, what, value: f64, should| {
            if good { Ok(()) } else { Err(ScenarioError::Value { what, value, should }) }
        };
        let Node { cpus, seconds, tsc_hz, tsc_ctc_ratio: [n, d], tsc, .. } = self.node;
        is((1..=4096).contains(&cpus), "node.cpus", f64::from(cpus), "1 to 4096")?;
        is(seconds > 0.0 && seconds <= 1e6, "node.seconds", seconds, "more than 0, and at most 1e6")?;
        is((1_000_000..=100_000_000_000).contains(&tsc_hz), "node.tsc_hz", tsc_hz as f64, "1e6 to 1e11")?;
        is(d > 0 && n >= d && n <= 1 << 20, "node.tsc_ctc_ratio", f64::from(n), "N/D, at least 1")?;
        is((0..1 << 54).contains(&tsc), "node.tsc", tsc as f64, "0 to 2^54")?;
        is(self.node.wall < 1 << 33, "node.wall", self.node.wall as f64, "seconds since 1970, less than 2^33")?;
        is(self.trace.mtc_period <= 15, "trace.mtc_period", f64::from(self.trace.mtc_period), "-1 to 15")?;
        is(self.trace.psb_bytes >= 256, "trace.psb_bytes", self.trace.psb_bytes as f64, "at least 256")?;
        let Trace { form, ring_kb, snapshot_kb, .. } = self.trace;
        is((16..=1 << 20).contains(&ring_kb), "trace.ring_kb", ring_kb as f64, "16 to 2^20")?;
        let raw = form == Form::Raw;
        is(snapshot_kb == 0 || !raw, "trace.snapshot_kb", snapshot_kb as f64, "0, where trace.form is raw")?;
        let l = &self.loss;
        for (what, hz, how_long, longest) in [
            ("loss.overflow_hz", l.overflow_hz, l.overflow_us, 1e6),
            ("loss.full_hz", l.full_hz, l.full_ms, 1e6),
            ("loss.off_hz", l.off_hz, l.off_ms, 1e6),
            ("loss.records_hz", l.records_hz, l.records_ms, 1e6),
        ] {
            is((0.0..=1e5).contains(&hz), what, hz, "0 to 1e5")?;
            is(hz == 0.0 || how_long > 0.0 && how_long <= longest, what, how_long, "for more than 0, up to 1e6")?;
            let ring = what == "loss.full_hz" || what == "loss.off_hz";
            is(hz == 0.0 || snapshot_kb == 0 || !ring, what, hz, "0, where rings are overwritten")?;
            let said = !raw || what == "loss.overflow_hz" || hz == 0.0;
            is(said, what, hz, "0, where trace.form is raw: a stream alone cannot say so")?;
        }
        let Host { tick_us, exit_us, switch_us, wake_us, kernel_threads_hz, kernel_thread_us, .. } = self.host;
        let Host { halt_poll_us, halt_us, interrupt_us, fault_us, vmm_us, enter_us, jitter, .. } = self.host;
        for (what, value) in [
            ("host.tick_us", tick_us),
            ("host.exit_us", exit_us),
            ("host.switch_us", switch_us),
            ("host.wake_us", wake_us),
            ("host.kernel_thread_us", kernel_thread_us),
            ("host.halt_us", halt_us),
            ("host.interrupt_us", interrupt_us),
            ("host.fault_us", fault_us),
            ("host.vmm_us", vmm_us),
            ("host.enter_us", enter_us),
        ] {
            is((0.01..=1e6).contains(&value), what, value, "0.01 to 1e6")?;
        }
        is((0.0..=1e5).contains(&kernel_threads_hz), "host.kernel_threads_hz", kernel_threads_hz, "0 to 1e5")?;
        is((0.0..=1e6).contains(&halt_poll_us), "host.halt_poll_us", halt_poll_us, "0 to 1e6")?;
        is((0.0..1.0).contains(&jitter), "host.jitter", jitter, "0 up to 1")?;
        for vm in &self.vm {
            is((1..=512).contains(&vm.vcpus), "vm.vcpus", f64::from(vm.vcpus), "1 to 512")?;
            is((1..=4096).contains(&vm.count), "vm.count", f64::from(vm.count), "1 to 4096")?;
            is((0.01..=100.0).contains(&vm.tsc_scale), "vm.tsc_scale", vm.tsc_scale, "0.01 to 100")?;
            is((0.0..=1e6).contains(&vm.syscalls_hz), "vm.syscalls_hz", vm.syscalls_hz, "0 to 1e6")?;
            is((0.0..=1e5).contains(&vm.tick_hz), "vm.tick_hz", vm.tick_hz, "0 to 1e5")?;
            is((0.0..=1.0).contains(&vm.interrupt_window), "vm.interrupt_window", vm.interrupt_window, "0 to 1")?;
            let at = vm.tick_at_ms.unwrap_or(0.0);
            is((0.0..=1e9).contains(&at), "vm.tick_at_ms", at, "0 to 1e9")?;
            for (what, us) in [
                ("vm.syscall_us", vm.syscall_us),
                ("vm.timer_us", vm.timer_us),
                ("vm.tick_us", vm.tick_us),
                ("vm.idle_us", vm.idle_us),
                ("vm.timer_slack_us", vm.timer_slack_us),
            ] {
                is((0.0..=1e6).contains(&us), what, us, "0 to 1e6")?;
            }
            for (what, ms) in
                [("vm.tsc_jump_ms", vm.tsc_jump_ms), ("vm.from_ms", vm.from_ms), ("vm.until_ms", vm.until_ms)]
            {
                is((0.0..=1e9).contains(&ms), what, ms, "0 to 1e9")?;
            }
            is(vm.tsc_jump.unsigned_abs() < 1 << 50, "vm.tsc_jump", vm.tsc_jump as f64, "-2^50 to 2^50")?;
            let [quota, period] = vm.cpu_max_ms;
            let limits =
                quota == 0.0 && period == 0.0 || (0.1..=1e4).contains(&period) && quota > 0.0 && quota < period;
            is(limits, "vm.cpu_max_ms", quota, "less than its period of 0.1 to 1e4, or 0 and 0")?;
            is(vm.pin.iter().all(|c| *c < cpus), "vm.pin", f64::from(cpus), "cpus that there are")?;
        }
        for process in self.process.iter().chain(self.vm.iter().flat_map(|vm| &vm.process)) {
            is((0.0..=1e9).contains(&process.period_ms), "process.period_ms", process.period_ms, "0 to 1e9")?;
            is((0.0..=1e9).contains(&process.until_ms), "process.until_ms", process.until_ms, "0 to 1e9")?;
            is((0.001..=1e9).contains(&process.burst_ms), "process.burst_ms", process.burst_ms, "0.001 to 1e9")?;
            let every = process.exit_every_us;
            is(every == 0.0 || (0.1..=1e9).contains(&every), "process.exit_every_us", every, "0, or 0.1 and more")?;
            is((0.0..1.0).contains(&process.jitter), "process.jitter", process.jitter, "0 up to 1")?;
            is((0.0..=1e6).contains(&process.exit_us), "process.exit_us", process.exit_us, "0 to 1e6")?;
            let calls = process.syscalls_hz.unwrap_or(0.0);
            is((0.0..=1e6).contains(&calls), "process.syscalls_hz", calls, "0 to 1e6")?;
            for (what, count) in [
                ("process.cpuids", process.cpuids),
                ("process.touches", process.touches),
                ("process.syscalls", process.syscalls),
            ] {
                is(count <= 10_000, what, f64::from(count), "at most 10,000")?;
            }
            is(process.cpu.is_none_or(|c| c < cpus), "process.cpu", f64::from(cpus), "a cpu that there is")?;
        }
        Ok(())
    }

    /// Some of its trace is lost.
    pub fn loses(&self) -> bool {
        let Loss { overflow_hz, full_hz, off_hz, records_hz, .. } = self.loss;
        [overflow_hz, full_hz, off_hz, records_hz].iter().any(|hz| *hz > 0.0) || self.trace.snapshot_kb > 0
    }

    /// The node's clock.
    pub fn clock(&self) -> Clock {
        let [n, d] = self.node.tsc_ctc_ratio;
        // The crystal began a little before the TSC.
        Clock {
            tsc_hz: self.node.tsc_hz,
            ratio: (n, d),
            origin: 4321,
            cbr: (self.node.tsc_hz / 100_000_000).min(255) as u8,
        }
    }

    /// How its processors are traced.
    pub fn mode(&self) -> Mode {
        let Trace { branches, mtc_period, cyc, power, event, psb_bytes, any_order, .. } = self.trace;
        let has = |erratum| self.trace.errata.contains(&erratum);
        Mode {
            branches,
            mtc_period: u8::try_from(mtc_period).ok(),
            cyc,
            power,
            event,
            psb_bytes,
            any_order,
            skz84: has(Erratum::SKZ84),
            skd007: has(Erratum::SKD007),
            skl168: has(Erratum::SKL168),
            bdm70: has(Erratum::BDM70),
            skd010: has(Erratum::SKD010),
            apl12: has(Erratum::APL12),
        }
    }

    /// Family, model and stepping of its processors: one that has the errata that are asked for.
    pub fn cpu(&self) -> (u16, u8, u8) {
        let has = |erratum| self.trace.errata.contains(&erratum);
        if has(Erratum::SKD007) || has(Erratum::SKL168) || has(Erratum::SKD010) {
            // A Skylake client.
            (6, 0x5e, 3)
        } else if has(Erratum::APL12) {
            // Goldmont.
            (6, 0x5c, 9)
        } else {
            // Sapphire Rapids.
            (6, 0x8f, 8)
        }
    }

    /// What a raw stream does not say: `trace.toml`.
    pub fn facts(&self) -> String {
        let [n, d] = self.node.tsc_ctc_ratio;
        let (family, model, stepping) = self.cpu();
        let mut text = format!(
            "tsc_hz = {}\ntsc_ctc_ratio = [{n}, {d}]\ncpu = \"{family}/{model}/{stepping}\"\n",
            self.node.tsc_hz
        );
        if let Ok(period) = u8::try_from(self.trace.mtc_period) {
            text += &format!("mtc_period = {period}\n");
        }
        text
    }
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

/// A process of a guest with so many vCPUs, or of the host.
fn draw_process(rng: &mut Rng, vcpus: Option<u32>, cpus: u32) -> Process {
    let endless = rng.chance(0.15);
    Process {
        name: format!("p{}", rng.below(100)),
        period_ms: if endless { 0.0 } else { 0.3 + 10.0 * rng.unit() },
        burst_ms: 0.02 + 2.0 * rng.unit() * rng.unit(),
        from_ms: if rng.chance(0.3) { 30.0 * rng.unit() } else { 0.0 },
        until_ms: 0.0,
        exit_every_us: if vcpus.is_some() && rng.chance(0.3) { 2.0 + 100.0 * rng.unit() } else { 0.0 },
        exit_reason: pick(rng, &[30, 48, 49]),
        forks: rng.chance(0.3),
        vcpu: vcpus.map_or(0, |n| rng.below(u64::from(n)) as u32),
        cpu: if vcpus.is_none() && rng.chance(0.3) { Some(rng.below(u64::from(cpus)) as u32) } else { None },
        jitter: 0.5 * rng.unit(),
        exit_us: if rng.chance(0.3) { 1.0 + 20.0 * rng.unit() } else { 0.0 },
        cpuids: rng.below(30) as u32,
        touches: rng.below(20) as u32,
        syscalls: rng.below(4) as u32,
        syscalls_hz: if rng.chance(0.2) { Some(20_000.0 * rng.unit()) } else { None },
    }
}

fn draw_vm(rng: &mut Rng, i: u64, cpus: u32) -> Vm {
    let vcpus = 1 + rng.below(3) as u32;
    let pins = if rng.chance(0.3) { u64::from(vcpus) } else { 0 };
    Vm {
        name: format!("vm-{i}"),
        count: 1,
        vcpus,
        pin: (0..pins).map(|_| rng.below(u64::from(cpus)) as u32).collect(),
        tsc_offset: if rng.chance(0.2) { Some(-(rng.below(900_000_000) as i64)) } else { None },
        tsc_scale: if rng.chance(0.1) { pick(rng, &[0.8, 1.1, 1.0003]) } else { 1.0 },
        tsc_jump_ms: if rng.chance(0.1) { 10.0 + 40.0 * rng.unit() } else { 0.0 },
        tsc_jump: -(rng.below(1 << 34) as i64),
        from_ms: if rng.chance(0.1) { 30.0 * rng.unit() } else { 0.0 },
        until_ms: if rng.chance(0.1) { 31.0 + 30.0 * rng.unit() } else { 0.0 },
        cpu_max_ms: if rng.chance(0.1) { [2.0 + 3.0 * rng.unit(), 10.0] } else { [0.0, 0.0] },
        kpti: rng.chance(0.4),
        syscalls_hz: 500.0 + 20_000.0 * rng.unit(),
        syscall_us: 0.2 + 10.0 * rng.unit(),
        tick_hz: pick(rng, &[0.0, 100.0, 250.0, 250.0, 1000.0]),
        tick_at_ms: if rng.chance(0.3) { Some(4.0 * rng.unit()) } else { None },
        timer_us: 0.2 + 8.0 * rng.unit(),
        tick_us: 0.2 + 15.0 * rng.unit(),
        idle_us: 0.2 + 8.0 * rng.unit(),
        timer_slack_us: pick(rng, &[0.0, 50.0]),
        interrupt_window: 0.1 * rng.unit(),
        process: (0..1 + rng.below(4)).map(|_| draw_process(rng, Some(vcpus), cpus)).collect(),
    }
}

/// Scenarios that are known by name: stories that an operator knows.
pub const NAMED: &[(&str, &str)] = &[
    ("quiet", include_str!("../scenarios/quiet.toml")),
    ("noisy-neighbour", include_str!("../scenarios/noisy-neighbour.toml")),
    ("cron-burst", include_str!("../scenarios/cron-burst.toml")),
    ("exit-storm", include_str!("../scenarios/exit-storm.toml")),
    ("overcommit", include_str!("../scenarios/overcommit.toml")),
    ("throttled", include_str!("../scenarios/throttled.toml")),
    ("migration", include_str!("../scenarios/migration.toml")),
    ("clock-jump", include_str!("../scenarios/clock-jump.toml")),
    ("lossy", include_str!("../scenarios/lossy.toml")),
    ("big", include_str!("../scenarios/big.toml")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_again() {
        for (name, _) in NAMED {
            let scenario = Scenario::named(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(Scenario::parse(&toml::to_string(&scenario).unwrap()).unwrap(), scenario, "{name}");
        }
        for scenario in (0..200).flat_map(|seed| [Scenario::random(seed), Scenario::random_lossy(seed)]) {
            scenario.check().unwrap();
            let seed = scenario.node.seed;
            assert_eq!(Scenario::parse(&toml::to_string(&scenario).unwrap()).unwrap(), scenario, "{seed}");
        }
    }

    #[test]
    fn errors_say_where() {
        let said = |text: &str| Scenario::parse(text).unwrap_err().to_string();
        assert!(said("[node]\ncpu = 3\n").starts_with("line 2: unknown field `cpu`"), "{}", said("[node]\ncpu = 3\n"));
        assert_eq!(said("[node]\ncpus = 0\n"), "node.cpus = 0: should be 1 to 4096");
        assert_eq!(said("[[vm]]\npin = [1]\n"), "vm.pin = 1: should be cpus that there are");
    }
}
