//! What is told of a window: who had how much time, by numbers and names that last.
//!
//! Times are ticks of the host's TSC. A share is of one cpu: a VM of four vCPUs that are all in their guests has 4.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use havana_capture::host;
use havana_rows::{CpuStateKind as C, LossCause, TakerKind, VcpuStateKind as V, Vm, reason};
use havana_timeline::{Analysis, Summary, Survey};
use havana_trace::{Stream, Trace};
use serde::Serialize;

use crate::known::{Known, KnownVm};
use crate::tally::{TakenBy, Tally, VcpuSum};
use crate::window::Window;

/// Ticks by state of a vCPU, or of all of a VM's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct States {
    pub guest: i64,
    pub hypervisor: i64,
    pub preempted: i64,
    pub waiting: i64,
    pub off_cpu: i64,
    pub lost: i64,
    pub unknown: i64,
    /// The window says nothing of it: it was not seen yet.
    pub unseen: i64,
    /// Of `preempted` and `waiting`, what no record of the kernel says: it follows from a rule.
    pub inferred: i64,
}

impl States {
    fn of(sum: &VcpuSum, ticks: i64) -> States {
        let of = |state: V| sum.ticks[state as usize];
        let inferred = |state: V| of(state) - sum.observed[state as usize];
        let seen: i64 = sum.ticks.iter().sum();
        States {
            guest: of(V::Guest),
            hypervisor: of(V::Hypervisor),
            preempted: of(V::Preempted),
            waiting: of(V::Waiting),
            off_cpu: of(V::OffCpu),
            lost: of(V::Lost),
            unknown: of(V::Unknown),
            unseen: (ticks - seen).max(0),
            inferred: inferred(V::Preempted) + inferred(V::Waiting),
        }
    }

    fn add(&mut self, other: &States) {
        self.guest += other.guest;
        self.hypervisor += other.hypervisor;
        self.preempted += other.preempted;
        self.waiting += other.waiting;
        self.off_cpu += other.off_cpu;
        self.lost += other.lost;
        self.unknown += other.unknown;
        self.unseen += other.unseen;
        self.inferred += other.inferred;
    }
}

/// What a cpu did: ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct CpuFrame {
    pub cpu: i32,
    pub guest: i64,
    pub hypervisor: i64,
    pub host: i64,
    pub idle: i64,
    pub lost: i64,
    pub unknown: i64,
}

/// Who took time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum By {
    /// A VM, by its number.
    Vm {
        /// Its number.
        number: u32,
        /// What it is called.
        name: String,
    },
    /// A process of the host.
    Host {
        /// Its page table.
        cr3: i64,
        /// What it is called, where that is known.
        name: Option<String>,
    },
    /// A thread of the kernel's own.
    Thread {
        /// Its number, where that is known.
        tid: Option<i32>,
        /// What it is called, where that is known.
        name: Option<String>,
    },
}

/// Time that somebody took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// Who.
    pub by: By,
    /// How much.
    pub ticks: i64,
}

/// A vCPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VcpuFrame {
    /// Its index where that is known, else its number among those that were seen.
    pub number: i32,
    /// Physical address of its VMCS.
    pub vmcs: i64,
    /// Its thread, where the kernel told.
    pub tid: Option<i32>,
    /// What it did.
    pub states: States,
    /// How often it left its guest.
    pub exits: u64,
    /// Who had its cpu while it was preempted, most first.
    pub taken: Vec<Taken>,
}

/// A guest process: an address space of a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProcessFrame {
    /// Its page table, masked.
    pub cr3: i64,
    /// Ticks in which it ran.
    pub ticks: i64,
}

/// A VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VmFrame {
    /// Its number, from frame to frame.
    pub number: u32,
    /// What it is called, where that is known.
    pub name: Option<String>,
    /// Its UUID, where that is known.
    pub uuid: Option<String>,
    /// Its VMM's process, where that is known.
    pub pid: Option<i32>,
    /// Its VMM's page table, masked.
    pub host_cr3: i64,
    /// It was in this window.
    pub seen: bool,
    /// Ticks of the cpus in its guest,
    pub guest: i64,
    /// and in root for it.
    pub hypervisor: i64,
    /// What its vCPUs did, together.
    pub states: States,
    /// How often they left their guest.
    pub exits: u64,
    /// Why, where the trace says it: basic exit reasons, most first.
    pub reasons: Vec<(String, u64)>,
    /// Its vCPUs, by number.
    pub vcpus: Vec<VcpuFrame>,
    /// Its processes that ran, most first.
    pub processes: Vec<ProcessFrame>,
    /// Who had their cpus while they were preempted, most first.
    pub taken: Vec<Taken>,
}

impl VmFrame {
    /// What to call it.
    pub fn label(&self) -> String {
        label(self.name.as_deref(), self.number)
    }
}

fn label(name: Option<&str>, number: u32) -> String {
    name.map_or_else(|| format!("vm {number}"), str::to_owned)
}

/// Trace that was lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Why.
    pub cause: &'static str,
    /// In how many stretches,
    pub count: u64,
    /// how long they are together.
    pub ticks: i64,
}

/// What a frame itself cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Bytes of trace that were read for it.
    pub bytes: u64,
    /// Seconds that the analysis took,
    pub seconds: f64,
    /// CPU time of this program since the frame before, of one cpu: 0.01 is a hundredth.
    pub cpu_share: f64,
}

/// What is told of a window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Frame {
    /// From 1 on.
    pub number: u64,
    /// The node's name, where it is known.
    pub node: Option<String>,
    /// Host TSC.
    pub start_tsc: i64,
    /// See `start_tsc`.
    pub end_tsc: i64,
    /// Ticks a second, where that is known.
    pub tsc_hz: Option<u64>,
    /// Seconds from the begin of the first frame to that of this one.
    pub since: Option<f64>,
    /// When it ended: nanoseconds since 1970 UTC, where that is known.
    pub wall_ns: Option<i64>,
    /// The cpus, by number.
    pub cpus: Vec<CpuFrame>,
    /// VMs that were seen lately, by number.
    pub vms: Vec<VmFrame>,
    /// Ticks in guests of which no VM is known.
    pub nameless_guest: i64,
    /// Trace that was lost, by cause.
    pub losses: Vec<Lost>,
    /// What else is not known: sentences.
    pub says: Vec<String>,
    /// What it cost.
    pub cost: Cost,
}

impl Frame {
    /// How long it is.
    pub fn ticks(&self) -> i64 {
        self.end_tsc - self.start_tsc
    }

    /// Seconds, where the rate is known.
    pub fn seconds(&self) -> Option<f64> {
        self.tsc_hz.map(|hz| self.ticks() as f64 / hz as f64)
    }

    /// A share of one cpu.
    pub fn share(&self, ticks: i64) -> f64 {
        if self.ticks() > 0 { ticks as f64 / self.ticks() as f64 } else { 0.0 }
    }
}

/// Time that this program has had, and when that was asked.
#[derive(Debug, Clone, Copy)]
struct Used {
    at: Instant,
    cpu: Duration,
}

impl Used {
    fn now() -> Used {
        Used { at: Instant::now(), cpu: host::cpu_time() }
    }
}

/// Says what the VMs of a trace are called.
type Namer<'a> = Box<dyn FnMut(&Trace, &mut [Vm]) + Send + 'a>;

/// Looks at windows, one after the other, and knows who is who.
pub struct Looker<'a> {
    known: Known,
    used: Used,
    first: Option<i64>,
    name: Namer<'a>,
}

impl<'a> Looker<'a> {
    /// `name`: what VMs are called, where more is known than their trace says.
    pub fn new(name: impl FnMut(&Trace, &mut [Vm]) + Send + 'a) -> Looker<'a> {
        Looker { known: Known::default(), used: Used::now(), first: None, name: Box::new(name) }
    }

    /// Analyzes a window. Also the last moment that the trace tells of.
    pub fn look(&mut self, window: &Window) -> (Frame, Option<i64>) {
        let began = Instant::now();
        let Window { trace, from, to, .. } = window;
        let survey = Survey::of(trace);
        let mut tally = Tally::new(*from, *to);
        let analysis = Analysis::new(trace, &survey, Some((*from, *to)));
        let Ok(summary) = analysis.run(&mut tally, &mut |_| {});
        (self.name)(trace, &mut tally.vms);
        // After the end of the trace there is nothing to be a share of.
        tally.to = summary.last_tsc.map_or(*to, |last| last.clamp(*from, *to));
        let mut frame = frame_of(tally, &mut self.known);
        let hz = trace.facts.tsc_hz;
        let first = *self.first.get_or_insert(*from);
        frame.since = hz.map(|hz| (from - first) as f64 / hz as f64);
        frame.node = trace.node.clone();
        frame.tsc_hz = hz;
        frame.wall_ns = trace.recording.wall.zip(hz).map(|(wall, hz)| {
            let since = i128::from(frame.end_tsc - wall.tsc) * 1_000_000_000 / i128::from(hz);
            wall.ns.saturating_add(i64::try_from(since).unwrap_or(0))
        });
        frame.says = window.says.iter().cloned().chain(says(&summary)).collect();
        let before = std::mem::replace(&mut self.used, Used::now());
        let passed = self.used.at.duration_since(before.at).as_secs_f64();
        frame.cost = Cost {
            bytes: trace.streams.iter().map(Stream::len).sum(),
            seconds: began.elapsed().as_secs_f64(),
            cpu_share: self.used.cpu.saturating_sub(before.cpu).as_secs_f64() / passed.max(1e-9),
        };
        (frame, summary.last_tsc)
    }
}

/// What a window lacks.
fn says(summary: &Summary) -> Vec<String> {
    let mut all = Vec::new();
    if !summary.timeless.is_empty() {
        let cpus: Vec<String> = summary.timeless.iter().map(u32::to_string).collect();
        all.push(format!("cpu {}: nothing of it can be dated in this interval", cpus.join(", ")));
    }
    if summary.nameless_exits > 0 {
        all.push(format!("{} VM exits are of no known vCPU", summary.nameless_exits));
    }
    if summary.late_records > 0 {
        all.push(format!("{} of the kernel's records came too late to be used", summary.late_records));
    }
    if summary.nested {
        all.push("a vCPU runs guests of its own: nested guests are shown as further vCPUs".into());
    }
    if summary.never_in_guest {
        all.push("VMs were loaded and none was seen to run (is kvm_intel loaded with pt_mode=1?)".into());
    }
    all
}

/// Ids of an analysis, and who they are.
struct Names {
    vms: HashMap<i32, u32>,
    /// Of the host's processes.
    processes: HashMap<i32, (i64, Option<String>)>,
    threads: BTreeMap<i32, String>,
}

impl Names {
    fn by(&self, (taker, tid): TakenBy, known: &Known) -> By {
        match (taker.kind, taker.id) {
            (TakerKind::Vm, Some(id)) if self.vms.contains_key(&id) => {
                let number = self.vms[&id];
                let name = known.vms().iter().find(|vm| vm.number == number).and_then(|vm| vm.name.as_deref());
                By::Vm { number, name: label(name, number) }
            }
            (TakerKind::Host, Some(id)) => {
                let (cr3, name) = self.processes.get(&id).cloned().unwrap_or_default();
                By::Host { cr3, name }
            }
            _ => By::Thread { tid, name: tid.and_then(|tid| self.threads.get(&tid).cloned()) },
        }
    }

    fn taken(&self, sum: &VcpuSum, known: &Known) -> Vec<Taken> {
        let mut by: BTreeMap<By, i64> = BTreeMap::new();
        for (who, ticks) in &sum.taken {
            *by.entry(self.by(*who, known)).or_default() += ticks;
        }
        most_first(by)
    }
}

fn most_first(by: BTreeMap<By, i64>) -> Vec<Taken> {
    let mut taken: Vec<Taken> = by.into_iter().map(|(by, ticks)| Taken { by, ticks }).collect();
    taken.sort_by_key(|taken| -taken.ticks);
    taken
}

impl VmFrame {
    fn of(vm: &KnownVm) -> VmFrame {
        VmFrame {
            number: vm.number,
            name: vm.name.clone(),
            uuid: vm.uuid.clone(),
            pid: vm.pid,
            host_cr3: vm.host_cr3,
            seen: false,
            guest: 0,
            hypervisor: 0,
            states: States::default(),
            exits: 0,
            reasons: Vec::new(),
            vcpus: Vec::new(),
            processes: Vec::new(),
            taken: Vec::new(),
        }
    }
}

/// The sums of a window, told by who lasts.
pub(crate) fn frame_of(tally: Tally, known: &mut Known) -> Frame {
    let number = known.begin();
    let ticks = tally.to - tally.from;
    let mut vm_numbers: HashMap<i32, u32> = HashMap::new();
    for vm in &tally.vms {
        vm_numbers.insert(vm.vm_id, known.vm(vm));
    }
    for vcpu in &tally.vcpus {
        if let Some(vm) = vm_numbers.get(&vcpu.vm_id) {
            known.vcpu(*vm, vcpu);
        }
    }
    let names = Names {
        vms: vm_numbers,
        processes: tally
            .processes
            .iter()
            .filter(|process| process.vm_id.is_none())
            .map(|process| (process.process_id, (process.cr3, process.name.clone())))
            .collect(),
        threads: tally.threads,
    };
    let mut vms: BTreeMap<u32, VmFrame> = known.vms().iter().map(|vm| (vm.number, VmFrame::of(vm))).collect();
    for (id, sum) in &tally.vm_sums {
        let Some(vm) = names.vms.get(id).and_then(|number| vms.get_mut(number)) else { continue };
        vm.seen = true;
        vm.guest += sum.guest;
        vm.hypervisor += sum.hypervisor;
        let named = sum.reasons.iter().filter_map(|(why, count)| Some((reason::name((*why)?), *count)));
        vm.reasons.extend(named);
        vm.reasons.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    }
    // One that this window says nothing of is there all the same.
    let sums: HashMap<(u32, i64), &VcpuSum> = tally
        .vcpus
        .iter()
        .filter_map(|vcpu| Some(((*names.vms.get(&vcpu.vm_id)?, vcpu.vmcs), tally.vcpu_sums.get(&vcpu.vcpu_id)?)))
        .collect();
    let none = VcpuSum::default();
    for known_vm in known.vms() {
        let Some(vm) = vms.get_mut(&known_vm.number) else { continue };
        let mut taken: BTreeMap<By, i64> = BTreeMap::new();
        for vcpu in &known_vm.vcpus {
            let sum = sums.get(&(known_vm.number, vcpu.vmcs)).copied();
            vm.seen |= sum.is_some();
            let sum = sum.unwrap_or(&none);
            let told = VcpuFrame {
                number: vcpu.number,
                vmcs: vcpu.vmcs,
                tid: vcpu.tid,
                states: States::of(sum, ticks),
                exits: sum.exits,
                taken: names.taken(sum, known),
            };
            vm.states.add(&told.states);
            vm.exits += told.exits;
            for Taken { by, ticks } in &told.taken {
                *taken.entry(by.clone()).or_default() += ticks;
            }
            vm.vcpus.push(told);
        }
        vm.vcpus.sort_by_key(|vcpu| (vcpu.number, vcpu.vmcs));
        vm.taken = most_first(taken);
    }
    for process in &tally.processes {
        let ticks = tally.process_sums.get(&process.process_id).copied().unwrap_or(0);
        let vm = process.vm_id.and_then(|vm| names.vms.get(&vm)).and_then(|number| vms.get_mut(number));
        if let Some(vm) = vm.filter(|_| ticks > 0) {
            vm.processes.push(ProcessFrame { cr3: process.cr3, ticks });
        }
    }
    let mut vms: Vec<VmFrame> = vms.into_values().collect();
    vms.iter_mut().for_each(|vm| vm.processes.sort_by_key(|process| (-process.ticks, process.cr3)));
    let cpus = tally.cpus.iter().map(|(cpu, ticks)| {
        let of = |state: C| ticks[state as usize];
        CpuFrame {
            cpu: *cpu,
            guest: of(C::Guest),
            hypervisor: of(C::Hypervisor),
            host: of(C::Host),
            idle: of(C::Idle),
            lost: of(C::Lost),
            unknown: of(C::Unknown),
        }
    });
    let lost = |(cause, sum): (&LossCause, &crate::tally::LossSum)| Lost {
        cause: cause.name(),
        count: sum.count,
        ticks: sum.ticks,
    };
    Frame {
        number,
        node: None,
        start_tsc: tally.from,
        end_tsc: tally.to,
        tsc_hz: None,
        since: None,
        wall_ns: None,
        cpus: cpus.collect(),
        vms,
        nameless_guest: tally.nameless,
        losses: tally.losses.iter().map(lost).collect(),
        says: Vec::new(),
        cost: Cost::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use havana_trace::{OpenOptions, open};

    use super::*;
    use crate::{Replay, Windows};

    fn frames(name: &str, interval: Duration) -> Vec<Frame> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name);
        let trace = open(&[path], &OpenOptions::default()).unwrap();
        let mut replay = Replay::new(&trace, interval).unwrap();
        let mut looker = Looker::new(|_, _| {});
        let mut frames = Vec::new();
        while let Some(window) = replay.next(&|| false).unwrap() {
            let (frame, last) = looker.look(&window);
            replay.told(last);
            frames.push(frame);
        }
        frames
    }

    #[test]
    fn two_hogs_take_each_others_time() {
        let frames = frames("recordings/steal-two-hogs.perf.data", Duration::from_millis(250));
        assert_eq!(frames.iter().map(|f| f.number).collect::<Vec<_>>(), (1..=frames.len() as u64).collect::<Vec<_>>());
        let names = |frame: &Frame| frame.vms.iter().map(|vm| (vm.number, vm.host_cr3, vm.label())).collect::<Vec<_>>();
        assert_eq!(names(&frames[0]).len(), 2);
        for frame in &frames {
            assert_eq!(names(frame), names(&frames[0]), "numbers and names stay");
            let cpu = frame.cpus[0];
            let all = cpu.guest + cpu.hypervisor + cpu.host + cpu.idle + cpu.lost + cpu.unknown;
            assert_eq!(all, frame.ticks(), "every instant is in a state");
            assert_eq!((frame.nameless_guest, frame.losses.len(), frame.says.len()), (0, 0, 0));
            assert_eq!(frame.vms.iter().map(|vm| vm.guest).sum::<i64>(), cpu.guest);
        }
        // The last one is short.
        for frame in &frames[..frames.len() - 1] {
            for (vm, other) in [(0, 1), (1, 0)] {
                let (vm, other) = (&frame.vms[vm], &frame.vms[other]);
                assert!(vm.seen && vm.exits > 100, "{vm:?}");
                assert!(frame.share(vm.guest) > 0.3, "{vm:?}");
                assert!(frame.share(vm.states.preempted) > 0.3, "{vm:?}");
                let By::Vm { number, name } = &vm.taken[0].by else { panic!("{:?}", vm.taken) };
                assert_eq!((*number, name), (other.number, &other.label()));
                assert!(vm.taken[0].ticks > vm.states.preempted * 9 / 10, "{vm:?}");
                assert_eq!(vm.processes.iter().map(|p| p.ticks).sum::<i64>(), vm.guest);
                assert_eq!(vm.states.inferred, 0, "the kernel said so");
            }
        }
    }

    #[test]
    fn a_vcpu_that_is_not_seen_is_said_not_to_be() {
        for frame in frames("captures/smp-idle", Duration::from_millis(20)) {
            for vm in &frame.vms {
                let States { guest, hypervisor, preempted, waiting, off_cpu, lost, unknown, unseen, .. } = vm.states;
                let all = guest + hypervisor + preempted + waiting + off_cpu + lost + unknown + unseen;
                // Bounds of an entry on another cpu may let two stretches of a vCPU overlap.
                let due = vm.vcpus.len() as i64 * frame.ticks();
                assert!((due..due + due / 100 + 1).contains(&all), "{all} of {due}: {vm:?}");
            }
        }
    }
}
