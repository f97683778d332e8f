//! A perf.data of a watched node, as `perf record -a -e intel_pt//` would have written it on a Linux host.
//!
//! Each cpu has a ring of trace and a ring of the kernel's records. When so much trace has come, an interrupt stops the
//! trace, in root operation and for a moment; the driver says in an AUX record what the ring has got, and turns it on
//! again. perf then writes out what all rings hold, one round.

use std::collections::{HashMap, HashSet};
use std::io::{self, Seek, Write};

use havana_trace::Thread;
use havana_trace::perf_data::record::{self, By};
use havana_trace::perf_data::{About, Attribute, Event, Flags, Piece, PtBits, PtConfig, Start, TimeConv, Writer};

use crate::hw::{Hw, Watch};
use crate::node::{Node, Task};
use crate::pt::Pt;
use crate::rng::Rng;
use crate::scenario::Scenario;

/// What sysfs would say of Intel PT.
const PMU: u32 = 9;
/// The kernel's clock when the TSC was zero.
const CLOCK_ZERO: u64 = 5_000_000_000;
/// The kernel's records are written out when a ring has so many bytes.
const SIDE: usize = 1 << 16;
/// The driver stops the trace for so long, microseconds.
const STOP_US: f64 = 3.0;
const IDLE: Thread = Thread { pid: 0, tid: 0 };

/// A cpu's rings.
#[derive(Debug)]
struct Cpu {
    pt: Pt,
    /// The kernel's records.
    side: Vec<u8>,
    /// Bytes of trace that perf has taken.
    taken: u64,
    /// Bytes of trace up to the last AUX record.
    told: u64,
    /// Who runs.
    current: Thread,
    /// It was switched to, and its record is to come: from whom, and TSC at the latest.
    arriving: Option<(Thread, i64)>,
    /// The trace is off.
    off: bool,
    /// The kernel's ring is full: so many records are lost, and until when.
    lost: Option<(u64, i64)>,
    next_lost: i64,
}

/// Writes a perf.data. An error of the writer is kept for [`finish`](PerfData::finish).
pub struct PerfData<W: Write + Seek> {
    writer: Writer<W>,
    clock: TimeConv,
    cpus: Vec<Cpu>,
    tasks: HashMap<i32, Task>,
    known: HashSet<i32>,
    /// Bytes of trace from one AUX record to the next.
    watermark: u64,
    /// Only the last bytes of a ring are kept.
    snapshot: Option<u64>,
    stop: i64,
    cpu: (u16, u8, u8),
    /// When it begins, by the wall clock and by that of the events.
    wall: Option<(u64, u64)>,
    /// Records of the kernel are lost: mean ticks from one time to the next, and for how long.
    losing: Option<(f64, f64)>,
    rng: Rng,
    /// Of trace, written.
    bytes: u64,
    failed: Option<io::Error>,
}

impl<W: Write + Seek> PerfData<W> {
    /// The recording of a node that is about to be run, as its scenario asks for.
    ///
    /// # Errors
    /// The writer's own.
    pub fn new(out: W, scenario: &Scenario, node: &Node) -> io::Result<Self> {
        let (tsc, tasks) = (node.begin(), node.tasks());
        let khz = u32::try_from(scenario.node.tsc_hz / 1000).unwrap_or(u32::MAX);
        let clock = TimeConv::of_khz(khz, CLOCK_ZERO);
        let snapshot = (scenario.trace.snapshot_kb > 0).then_some(scenario.trace.snapshot_kb << 10);
        let mut writer = Writer::new(out, &start(scenario, clock, snapshot.is_some()))?;
        writer.records(&record::kernel())?;
        let mut rng = Rng::new(scenario.node.seed);
        let ticks_a_us = scenario.node.tsc_hz as f64 / 1e6;
        let loss = &scenario.loss;
        let losing =
            (loss.records_hz > 0.0).then(|| (1e6 / loss.records_hz * ticks_a_us, loss.records_ms * 1e3 * ticks_a_us));
        let cpus = node.host_cr3().into_iter().map(|cr3| Cpu {
            pt: Pt::new(scenario.mode(), scenario.clock(), rng.fork(), tsc, cr3),
            side: Vec::new(),
            taken: 0,
            told: 0,
            current: IDLE,
            arriving: None,
            off: false,
            lost: None,
            next_lost: i64::MAX,
        });
        let cpus = cpus.collect();
        let mut this = PerfData {
            writer,
            clock,
            cpus,
            tasks: tasks.iter().map(|t| (t.tid, t.clone())).collect(),
            known: HashSet::new(),
            watermark: watermark(scenario),
            snapshot,
            stop: (STOP_US * ticks_a_us) as i64,
            cpu: scenario.cpu(),
            wall: (scenario.node.wall > 0).then(|| (scenario.node.wall * 1_000_000_000, clock.ns(tsc))),
            losing,
            rng,
            bytes: 0,
            failed: None,
        };
        let mut found = Vec::new();
        for task in tasks.iter().filter(|t| t.from <= tsc) {
            this.known.insert(task.tid);
            found.extend(begins(task, &By::perf()));
        }
        this.writer.records(&found)?;
        for cpu in 0..this.cpus.len() {
            let by = this.by(cpu, tsc, PT);
            this.cpus[cpu].side = record::itrace_start(&by);
            this.cpus[cpu].next_lost = this.next_loss(tsc);
        }
        Ok(this)
    }

    /// The recording ends at `tsc`: gives back the writer, and how many bytes of trace it was given.
    ///
    /// # Errors
    /// A writer's own.
    pub fn finish(mut self, tsc: i64) -> io::Result<(W, u64)> {
        for cpu in 0..self.cpus.len() {
            self.arrive(cpu, |soon| soon.min(tsc));
            self.found_room(cpu, tsc, true);
            if !self.cpus[cpu].off {
                // Whoever stops the trace wakes the cpu.
                if self.cpus[cpu].pt.asleep() {
                    self.cpus[cpu].pt.see(tsc, &Hw::Wake);
                }
                self.cpus[cpu].pt.end(tsc);
                self.aux(cpu, tsc, 0);
            }
        }
        self.round(tsc, true);
        if let Some(error) = self.failed {
            return Err(error);
        }
        let (family, model, stepping) = self.cpu;
        let about = About {
            hostname: "simulated".into(),
            os_release: "6.1.0-simulated".into(),
            cpu_name: "a processor that is simulated".into(),
            cpu_id: format!("GenuineIntel,{family},{model},{stepping}"),
            command: ["perf", "record", "-a", "-e", "intel_pt//"].map(String::from).to_vec(),
            clock: self.wall,
            ..About::default()
        };
        Ok((self.writer.finish(&about)?, self.bytes))
    }

    fn by(&self, cpu: usize, tsc: i64, event: u64) -> By {
        By { thread: self.cpus[cpu].current, ns: self.clock.ns(tsc), cpu: cpu as u32, id: id(event, cpu) }
    }

    fn thread(&self, tid: i32) -> Thread {
        self.tasks.get(&tid).map_or(IDLE, |task| Thread { pid: task.pid, tid })
    }

    fn next_loss(&mut self, tsc: i64) -> i64 {
        self.losing.map_or(i64::MAX, |(every, _)| tsc + self.rng.exponential(every) as i64)
    }

    /// A record of the kernel's, unless its ring is full.
    fn side(&mut self, cpu: usize, tsc: i64, record: &[u8]) {
        if tsc >= self.cpus[cpu].next_lost
            && let Some((_, mean)) = self.losing
        {
            let until = tsc + self.rng.exponential(mean) as i64;
            self.cpus[cpu].lost = Some((0, until));
            self.cpus[cpu].next_lost = i64::MAX;
        }
        self.found_room(cpu, tsc, false);
        match &mut self.cpus[cpu].lost {
            Some((count, _)) => *count += 1,
            None => self.cpus[cpu].side.extend(record),
        }
    }

    /// The kernel's ring has room again: it says what was lost.
    fn found_room(&mut self, cpu: usize, tsc: i64, ends: bool) {
        if let Some((count, _)) = self.cpus[cpu].lost.take_if(|(_, until)| tsc >= *until || ends) {
            if count > 0 {
                let by = self.by(cpu, tsc, DUMMY);
                self.cpus[cpu].side.extend(record::lost(count, &by));
            }
            self.cpus[cpu].next_lost = self.next_loss(tsc);
        }
    }

    /// An AUX record of what the ring has got since the last one.
    fn aux(&mut self, cpu: usize, tsc: i64, flags: u64) {
        let by = self.by(cpu, tsc, PT);
        let cpu = &mut self.cpus[cpu];
        let (at, size, flags) = match self.snapshot {
            // Of a ring that is overwritten: where it ends, and all of it.
            Some(ring) => (cpu.pt.bytes, ring, flags | record::aux::OVERWRITE),
            None => (cpu.told, cpu.pt.bytes - cpu.told, flags),
        };
        cpu.side.extend(record::aux(at, size, flags, &by));
        cpu.told = cpu.pt.bytes;
    }

    /// The thread that was switched to says so.
    fn arrive(&mut self, cpu: usize, at: impl FnOnce(i64) -> i64) {
        if let Some((from, soon)) = self.cpus[cpu].arriving.take() {
            let at = at(soon);
            let by = self.by(cpu, at, DUMMY);
            self.side(cpu, at, &record::switch_in(from, &by));
        }
    }

    /// Up to `tsc` rings get their share, each time: an interrupt stops the trace for a moment.
    fn interrupts(&mut self, cpu: usize, tsc: i64) {
        loop {
            let Cpu { pt, told, off, .. } = &mut self.cpus[cpu];
            let due = (*told / self.watermark + 1) * self.watermark;
            if *off || self.snapshot.is_some() || !pt.until_full(tsc, due) {
                return;
            }
            // Not longer than up to the next thing that happens.
            let from = pt.last();
            let to = (from + self.stop).min(tsc);
            pt.pause(from, to);
            // The driver says so a while after it.
            let said = from + (to - from) / 2;
            self.aux(cpu, said, 0);
            self.round(said, false);
        }
    }

    /// perf writes out what the rings hold.
    fn round(&mut self, tsc: i64, ends: bool) {
        if self.failed.is_none()
            && let Err(error) = self.write_round(tsc, ends)
        {
            self.failed = Some(error);
        }
    }

    fn write_round(&mut self, tsc: i64, ends: bool) -> io::Result<()> {
        let mut wrote = false;
        for (index, cpu) in self.cpus.iter_mut().enumerate() {
            wrote |= !cpu.side.is_empty();
            self.writer.records(&cpu.side)?;
            cpu.side.clear();
            let len = match self.snapshot {
                // Nobody wants it before the end.
                Some(ring) if ends => cpu.pt.out.len().min(ring as usize),
                Some(_) => 0,
                // What the kernel has not told of yet is not there.
                None => (cpu.told - cpu.taken) as usize,
            };
            if len == 0 {
                continue;
            }
            let (from, at) = match self.snapshot {
                Some(_) => (cpu.pt.out.len() - len, cpu.pt.bytes - len as u64),
                None => (0, cpu.taken),
            };
            let piece = Piece { index: index as u32, cpu: index as u32, at, read: tsc.max(0) as u64 };
            self.writer.trace(piece, [&cpu.pt.out[from..from + len], &[]])?;
            self.bytes += len as u64;
            cpu.taken = at + len as u64;
            if self.snapshot.is_none() {
                cpu.pt.out.drain(..len);
            }
            wrote = true;
        }
        if wrote { self.writer.finished_round() } else { Ok(()) }
    }

    fn switch(&mut self, cpu: usize, tsc: i64, tids: (i32, i32), runnable: bool) {
        let (from, to) = (self.cpus[cpu].current, self.thread(tids.1));
        debug_assert_eq!(from.tid, tids.0);
        if self.known.insert(tids.1)
            && let Some(task) = self.tasks.get(&tids.1)
        {
            let said = begins(task, &self.by(cpu, tsc, DUMMY));
            self.side(cpu, tsc, &said);
        }
        let by = self.by(cpu, tsc, DUMMY);
        self.side(cpu, tsc, &record::switch_out(to, runnable, &by));
        self.cpus[cpu].current = to;
        self.cpus[cpu].arriving = Some((from, tsc + self.stop));
    }

    fn ended(&mut self, cpu: usize, tsc: i64, tid: i32) {
        let thread = self.thread(tid);
        let by = By { thread, ..self.by(cpu, tsc, DUMMY) };
        self.side(cpu, tsc, &record::exit(thread, thread, &by));
    }
}

impl<W: Write + Seek> Watch for PerfData<W> {
    fn see(&mut self, cpu: usize, tsc: i64, hw: &Hw) {
        self.interrupts(cpu, tsc);
        // The record of an arrival follows the new address space.
        if !matches!(hw, Hw::HostCr3 { .. }) {
            self.arrive(cpu, |soon| soon.min(tsc));
        }
        if let Hw::TraceOn = hw {
            // Whoever was late has come, and made room.
            self.round(tsc, false);
            self.cpus[cpu].off = false;
        }
        self.cpus[cpu].pt.see(tsc, hw);
        match *hw {
            Hw::HostCr3 { .. } => self.arrive(cpu, |_| tsc + 1),
            Hw::Switch { from, runnable, to } => self.switch(cpu, tsc, (from, to), runnable),
            Hw::Ended { tid } => self.ended(cpu, tsc, tid),
            Hw::TraceOff { full } => {
                let cpu_now = &self.cpus[cpu];
                if self.snapshot.is_none() && cpu_now.pt.bytes / self.watermark > cpu_now.told / self.watermark {
                    // The interrupt came at that very moment.
                    self.aux(cpu, tsc + self.stop / 4, 0);
                }
                let flags = if full { record::aux::TRUNCATED } else { 0 };
                self.aux(cpu, tsc + self.stop / 2, flags);
                self.cpus[cpu].off = true;
            }
            _ => {}
        }
        if let Some(ring) = self.snapshot {
            // What is overwritten anyway need not be held.
            let out = &mut self.cpus[cpu].pt.out;
            if out.len() > 2 * ring as usize {
                out.drain(..out.len() - ring as usize);
            }
        }
        if self.cpus[cpu].side.len() >= SIDE {
            self.round(tsc, false);
        }
    }
}

/// Events, by their place.
const PT: u64 = 0;
const DUMMY: u64 = 1;

/// The id of an event on a cpu.
fn id(event: u64, cpu: usize) -> u64 {
    1 + event * 4096 + cpu as u64
}

/// Bytes of trace from one interrupt to the next: a quarter of a ring.
fn watermark(scenario: &Scenario) -> u64 {
    (scenario.trace.ring_kb << 10) / 4
}

/// A thread begins: records of it.
fn begins(task: &Task, by: &By) -> Vec<u8> {
    let thread = Thread { pid: task.pid, tid: task.tid };
    // A process's thread is made by it, a process by init, what is of the kernel by kthreadd.
    let parent = match task.program {
        Some(_) if task.pid != task.tid => task.pid,
        Some(_) => 1,
        None => 2,
    };
    let mut said = record::fork(thread, Thread { pid: parent, tid: parent }, by);
    said.extend(record::comm(thread, &task.comm, by));
    if let Some(file) = task.program.filter(|_| task.pid == task.tid) {
        said.extend(record::program(thread, file, by));
    }
    said
}

/// What holds from the start.
fn start(scenario: &Scenario, clock: TimeConv, snapshot: bool) -> Start {
    let trace = &scenario.trace;
    let bits = [
        (true, PtConfig::PT | PtConfig::TSC),
        (trace.branches, PtConfig::BRANCH),
        (trace.mtc_period >= 0, PtConfig::MTC),
        (trace.cyc, PtConfig::CYC),
        (trace.power, PtConfig::POWER),
        (trace.event, PtConfig::EVENT),
    ];
    let mut config: u64 = bits.iter().filter(|(on, _)| *on).map(|(_, bits)| bits).sum();
    let period = u64::try_from(trace.mtc_period).unwrap_or(0);
    config |= period * (PtConfig::MTC_PERIOD & PtConfig::MTC_PERIOD.wrapping_neg());
    // A PSB each 2^(N + 11) bytes, or the nearest that there is.
    let psb = u64::from(trace.psb_bytes.max(2048).ilog2() - 11).min(15);
    config |= psb * (PtConfig::PSB_PERIOD & PtConfig::PSB_PERIOD.wrapping_neg());
    let pt = Attribute {
        pmu: PMU,
        config,
        sample_type: Attribute::BEHIND_RECORDS,
        flags: Flags::DISABLED | Flags::SAMPLE_ID_ALL,
        read_format: Attribute::READ,
        wakeup_watermark: 0,
        aux_watermark: if snapshot { 0 } else { u32::try_from(watermark(scenario)).unwrap_or(u32::MAX) },
    };
    let dummy = Attribute {
        pmu: Attribute::SOFTWARE,
        config: Attribute::DUMMY,
        sample_type: Attribute::BEHIND_RECORDS,
        flags: Flags::SIDEBAND,
        read_format: Attribute::READ,
        wakeup_watermark: 0,
        aux_watermark: 0,
    };
    let cpus = 0..scenario.node.cpus;
    let event = |name: &str, attribute, place| Event {
        name: name.into(),
        attribute,
        ids: cpus.clone().map(|cpu| id(place, cpu as usize)).collect(),
    };
    let [n, d] = scenario.node.tsc_ctc_ratio;
    Start {
        events: vec![event("intel_pt//", pt, PT), event("dummy:u", dummy, DUMMY)],
        cpus: cpus.collect(),
        clock,
        bits: PtBits::default(),
        tsc_ctc_ratio: (n, d),
        max_nonturbo_ratio: scenario.clock().cbr,
        snapshot,
        event_trace: trace.event,
    }
}
