//! What is found in datasets, against the truth: the culprit of captures, who took whose cpu.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use havana_insight::{Finding, Kind, Severity, Wakeup, find};
use havana_rows::TakerKind;
use havana_sim::scenario::Form;
use havana_sim::{NAMED, Scenario};
use havana_store::Dataset;

use crate::common::perf_file::PerfFile;
use crate::common::sched::{By, Sched, Woken, marked};
use crate::common::truth::{Doing, Truth, text};
use crate::common::{analyze, at_hand};
use crate::simulated::play;

/// Markers of the guests' programs that run without an end.
const HOG: u32 = 5;
const IO_LOOPS: &[u32] = &[6, 7];

/// A begin that is told may be off by so much of the time.
const NEAR: f64 = 0.02;

/// A capture by the trace alone: its dataset, and the truth. A perf.data is analyzed without what its kernel said, and
/// with it as well.
fn datasets(place: &Path, dir: &Path) -> Vec<Dataset> {
    let whole = analyze(place, &dir.join("whole"));
    if place.is_dir() {
        return vec![whole];
    }
    PerfFile::read(place).write_raw(&dir.join("raw"), &whole);
    vec![analyze(&dir.join("raw"), &dir.join("alone")), whole]
}

/// The truth that stands beside a capture, or a perf.data.
fn truth_of(place: &Path) -> PathBuf {
    match place.is_dir() {
        true => place.join("truth.zst"),
        false => PathBuf::from(place.display().to_string().replace(".perf.data", ".truth.zst")),
    }
}

fn said(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("    {finding}\n")).collect()
}

/// Host CR3 of the VM that a finding is about, and CR3 of the guest's process.
fn spaces(dataset: &Dataset, finding: &Finding) -> Option<(i64, i64)> {
    let vm = dataset.vms().unwrap().into_iter().find(|vm| Some(vm.vm_id) == finding.who.vm_id)?;
    let process = dataset.processes().unwrap().into_iter().find(|p| Some(p.process_id) == finding.who.process_id)?;
    Some((vm.host_cr3, process.cr3))
}

/// A program that runs without an end.
#[derive(Debug, Clone, Copy)]
struct Loop {
    /// Host CR3 of its VM, and its own.
    spaces: (i64, i64),
    /// When it said for the first time that it is there.
    begin: i64,
    /// What it had of one cpu from then on, by the truth.
    share: f64,
}

/// The loops of a capture, and what they had of it up to its end.
fn loops(text: &str, markers: &[u32], (first, last): (i64, i64)) -> Vec<Loop> {
    let truth = Truth::parse(text);
    let all = marked(text, markers).into_iter().map(|((vmcs, cr3), begin)| {
        let is = |doing: &Doing| *doing == Doing::Guest { vmcs, cr3 };
        let pieces = truth.cpus.values().flat_map(|cpu| &cpu.pieces).filter(|piece| is(&piece.doing));
        let from = begin.max(first);
        let ticks: i64 = pieces.map(|piece| (piece.end.min(last) - piece.start.max(from)).max(0)).sum();
        Loop { spaces: (truth.host_cr3[&vmcs], cr3), begin, share: ticks as f64 / (last - from) as f64 }
    });
    all.collect()
}

/// The loops of a capture are found before anything else, each VM and process, and the moment where it began inside.
fn loops_come_first(name: &str, markers: &[u32], kinds: &[Kind]) {
    let Some(place) = at_hand(&format!("found: {name}"), &format!("captures/{name}")) else { return };
    let text = text(&truth_of(&place));
    let dir = tempfile::tempdir().unwrap();
    for dataset in datasets(&place, dir.path()) {
        let (first, last) = (dataset.manifest().first_tsc.unwrap(), dataset.manifest().last_tsc.unwrap());
        let loops = loops(&text, markers, (first, last));
        assert!(!loops.is_empty(), "{name}");
        let part = |tsc: i64| (tsc - first) as f64 / (last - first) as f64;
        let findings = find(&dataset).unwrap();
        let said = said(&findings);
        // VMs that come and go are told first, and are no culprits; nor is a process of the host, which has no marker.
        let by_guests =
            findings.iter().filter(|f| f.kind != Kind::Trace).filter_map(|f| Some((f, spaces(&dataset, f)?)));
        let mut left: Vec<Loop> = loops.clone();
        for (finding, who) in by_guests.filter(|(finding, _)| kinds.contains(&finding.kind)) {
            if left.is_empty() {
                break;
            }
            let Some(is) = loops.iter().find(|known| known.spaces == who) else {
                panic!("{name}: no loop, and before {left:x?}: {finding}\n{said}");
            };
            let told = left.iter().any(|other| other.spaces == who);
            left.retain(|other| other.spaces != who);
            if told && finding.kind != Kind::Steal {
                let (begin, start) = (part(is.begin), finding.start_tsc.map_or(0.0, part));
                println!(
                    "| {name} | {finding} | {:.1} % of a cpu from {:.1} % on; told from {:.1} % on |",
                    is.share * 100.0,
                    begin.max(0.0) * 100.0,
                    start * 100.0
                );
                // One that begins right after the first bucket may look as if it were there all along.
                assert!(
                    (start - begin.max(0.0)).abs() < NEAR || begin < EARLY && start < EARLY,
                    "{name}: {begin}\n{said}"
                );
            }
        }
        assert!(left.is_empty(), "{name}: {left:x?} is not told\n{said}");
    }
}

/// A begin in the first part of the time: no level is told that is shorter.
const EARLY: f64 = 1.0 / 8.0;

/// A process that never stops: whatever else goes on, it is first.
#[test]
fn hogs_of_captures() {
    for name in ["both-hog", "hog-vma", "kpti-hog-branch", "smp-preempt", "lifecycle"] {
        loops_come_first(name, &[HOG], &[Kind::Consumption, Kind::Steal, Kind::Exits, Kind::Period]);
    }
    for name in ["event-smp", "smp-hog-envelope", "steal-smp-pinned", "steal-two-hogs"] {
        let name = format!("perf/{name}.perf.data");
        loops_come_first(&name, &[HOG], &[Kind::Consumption, Kind::Steal, Kind::Exits, Kind::Period]);
    }
    // Of a hog, a loop of reads and a process of the host that never stops, all are culprits.
    loops_come_first("perf/steal-overcommit-io.perf.data", &[HOG, 6], &[Kind::Consumption, Kind::Exits]);
}

/// Reads of a port in a loop: of all exits, these.
#[test]
fn loops_of_exits_of_captures() {
    for name in ["io-exits", "tsc-only", "perf/io-envelope-cyc.perf.data", "perf/event-io.perf.data"] {
        loops_come_first(name, IO_LOOPS, &[Kind::Exits]);
    }
    loops_come_first("perf/steal-overcommit-io.perf.data", IO_LOOPS, &[Kind::Exits]);
}

/// A process of the host that never stops is who takes the hog's time.
#[test]
fn a_hog_of_the_host() {
    let Some(place) = at_hand("found: a hog of the host", "captures/perf/steal-host-spinner.perf.data") else { return };
    let dir = tempfile::tempdir().unwrap();
    let text = text(&truth_of(&place));
    for dataset in datasets(&place, dir.path()) {
        let findings = find(&dataset).unwrap();
        let said = said(&findings);
        let first = &findings[0];
        println!("{first}");
        let host = dataset.processes().unwrap().into_iter().find(|p| Some(p.process_id) == first.who.process_id);
        assert!(first.kind == Kind::Steal && first.who.vm_id.is_none(), "{said}");
        // Of the host's address spaces that one had most, by the truth.
        let mut had: HashMap<i64, i64> = HashMap::new();
        let truth = Truth::parse(&text);
        for piece in truth.cpus.values().flat_map(|cpu| &cpu.pieces) {
            if let Doing::Host { cr3: Some(cr3) } = piece.doing {
                *had.entry(cr3).or_default() += piece.end - piece.start;
            }
        }
        let most = had.into_iter().filter(|(cr3, _)| !truth.host_cr3.values().any(|vmm| vmm == cr3));
        assert_eq!(host.map(|host| host.cr3), most.max_by_key(|(_, ticks)| *ticks).map(|(cr3, _)| cr3), "{said}");
    }
}

/// Where nobody is in the way of others for long, nothing is of severity high.
#[test]
fn quiet_captures() {
    let raw = ["idle-branch", "idle-cyc", "idle-two-vms", "kpti-idle", "smp-idle", "lifecycle"].map(String::from);
    let recorded = ["idle-envelope", "idle-envelope-kvm-tracepoints", "idle-full", "small-buffer-loss"];
    for name in raw.into_iter().chain(recorded.map(|name| format!("perf/{name}.perf.data"))) {
        let Some(place) = at_hand(&format!("found: {name}"), &format!("captures/{name}")) else { return };
        let dir = tempfile::tempdir().unwrap();
        for dataset in datasets(&place, dir.path()) {
            let findings = find(&dataset).unwrap();
            println!("{name}\n{}", said(&findings));
            assert!(findings.iter().all(|finding| finding.severity < Severity::High), "{name}\n{}", said(&findings));
        }
    }
}

/// The worst of a comparison of who took whose time, as a part of the span.
struct Stolen {
    rows: usize,
    /// Preempted, of all vCPUs, by the truth: parts of the span.
    all: f64,
    worst: f64,
    /// How far the truth is outside of what is observed and what is told at most.
    bounded: f64,
    wrong: Vec<String>,
}

/// Who took whose cpu, a row each, against the scheduler's lines.
fn stolen_is_true(dataset: &Dataset, text: &str) -> Stolen {
    let truth = Sched::parse(text);
    let (first, last) = (dataset.manifest().first_tsc.unwrap(), dataset.manifest().last_tsc.unwrap());
    let span = (last - first) as f64;
    let vcpus = dataset.vcpus().unwrap();
    let tid_of: HashMap<i32, i32> =
        vcpus.iter().filter_map(|v| Some((v.vcpu_id, *truth.of_vmcs.get(&v.vmcs)?))).collect();
    let vm_of: HashMap<i32, &str> =
        vcpus.iter().filter_map(|v| Some((v.vm_id, truth.vm(*tid_of.get(&v.vcpu_id)?)?))).collect();
    let want = truth.stolen(first, last);
    // All, and what is observed of it.
    let mut found: BTreeMap<(i32, By), [f64; 2]> = BTreeMap::new();
    for row in havana_insight::stolen(dataset).unwrap() {
        let by = match (row.taker.kind, row.taker.id) {
            (TakerKind::Vm, Some(vm)) => By::Vm(vm_of.get(&vm).copied().unwrap_or("?").into()),
            _ => By::Host,
        };
        let sums = found.entry((tid_of[&row.victim], by)).or_default();
        *sums = [sums[0] + row.ticks, sums[1] + row.observed];
    }
    let keys: BTreeSet<_> = want.keys().chain(found.keys()).collect();
    let mut told = Stolen { rows: 0, all: 0.0, worst: 0.0, bounded: 0.0, wrong: Vec::new() };
    for key in keys.into_iter().filter(|key| key.1 != By::Nobody) {
        let want = want.get(key).map_or(0.0, |ticks| *ticks as f64);
        let [found, observed] = found.get(key).copied().unwrap_or_default();
        let off = (found - want).abs() / span;
        told.bounded = told.bounded.max((observed - want).max(want - found) / span);
        told.rows += 1;
        told.all += want / span;
        told.worst = told.worst.max(off);
        if off > 0.01 {
            told.wrong.push(format!("{key:?}: {:.4} of the time, and not {:.4}", found / span, want / span));
        }
    }
    told
}

/// Preempted time and its takers, on recordings whose truth has the scheduler's lines.
#[test]
fn who_took_whose_cpu_of_captures() {
    for name in SCHEDULED {
        let name = format!("captures/perf/{name}.perf.data");
        let Some(place) = at_hand("found: who took whose cpu", &name) else { return };
        let dir = tempfile::tempdir().unwrap();
        let told = stolen_is_true(&analyze(&place, &dir.path().join("dataset")), &text(&truth_of(&place)));
        println!("{}", told.line(&name));
        assert!(told.wrong.is_empty(), "{name}: {:#?}", told.wrong);
    }
}

/// The same of all simulated scenarios, with switch records.
#[test]
fn who_took_whose_cpu_of_simulated_nodes() {
    for (name, _) in NAMED {
        let told = simulated(small(name));
        println!("{}", told.line(name));
        assert!(told.wrong.is_empty(), "{name}: {:#?}", told.wrong);
    }
}

/// In nodes of some milliseconds it takes much of the time to know which thread a vCPU is: there the truth is between what
/// is observed and what is told at most.
#[test]
fn who_took_whose_cpu_of_small_nodes() {
    // Without MTC the trace's times cannot be held against the records' at all.
    let drawn = (0..100).map(|seed| (seed, Scenario::random(seed))).filter(|(_, s)| s.trace.mtc_period >= 0);
    let mut worst: f64 = 0.0;
    for (seed, scenario) in drawn {
        let told = simulated(scenario);
        worst = worst.max(told.bounded);
        assert!(told.bounded < 0.01, "{}", told.line(&format!("seed {seed}")));
    }
    println!("outside of the bounds by at most {:.3} % of the time", worst * 100.0);
}

fn simulated(mut scenario: Scenario) -> Stolen {
    scenario.trace.form = Form::Perf;
    let dir = tempfile::tempdir().unwrap();
    let (input, truth) = play(&scenario, &dir.path().join("node"));
    stolen_is_true(&analyze(&input, &dir.path().join("dataset")), &truth)
}

impl Stolen {
    fn line(&self, name: &str) -> String {
        let [all, worst, bounded] = [self.all, self.worst, self.bounded].map(|part| part * 100.0);
        format!("| {name} | {} | {all:.1} % | {worst:.3} % | {bounded:.3} % |", self.rows)
    }
}

/// A scenario of this name, the large one on a few cpus.
fn small(name: &str) -> Scenario {
    let mut scenario = Scenario::named(name).unwrap();
    scenario.node.seconds = scenario.node.seconds.min(2.0);
    if name == "big" {
        scenario.node.cpus = 4;
        scenario.vm.iter_mut().for_each(|vm| vm.count /= 10);
    }
    scenario
}

/// Recordings whose truth has the scheduler's lines.
const SCHEDULED: &[&str] = &[
    "event-io",
    "event-smp",
    "idle-envelope",
    "idle-envelope-kvm-tracepoints",
    "idle-full",
    "io-envelope-cyc",
    "smp-hog-envelope",
    "steal-host-spinner",
    "steal-overcommit-io",
    "steal-smp-pinned",
    "steal-two-hogs",
];

/// Delays from a wake-up to the run, and the bounds that are told.
#[derive(Debug, Default)]
struct Delays {
    woken: usize,
    bounded: usize,
    /// Ticks: all delays, all upper bounds.
    delays: i64,
    most: i64,
    wrong: Vec<String>,
}

/// Each delay that the scheduler's lines tell, while the cpu was awake, lies between the bounds of that run.
fn wake_ups_are_bounded(dataset: &Dataset, text: &str) -> Delays {
    let truth = Sched::parse(text);
    let tid_of: HashMap<i32, i32> =
        dataset.vcpus().unwrap().iter().filter_map(|v| Some((v.vcpu_id, *truth.of_vmcs.get(&v.vmcs)?))).collect();
    let mut told: HashMap<i32, Vec<Wakeup>> = HashMap::new();
    havana_insight::wakeups(dataset, |wakeup| told.entry(tid_of[&wakeup.vcpu_id]).or_default().push(*wakeup)).unwrap();
    let mut found = Delays::default();
    let (first, last) = (dataset.manifest().first_tsc.unwrap(), dataset.manifest().last_tsc.unwrap());
    for (tid, woken) in truth.woken() {
        let told = told.get(&tid).map_or(&[][..], |told| told);
        for Woken { wake, awake, run } in woken.into_iter().filter(|w| w.wake > first && w.run < last) {
            found.woken += 1;
            // The run that is told next, if it is this one: it was off then, and runs not before it could.
            let at = told.partition_point(|told| told.run_hi_tsc < run);
            let Some(told) = told.get(at).filter(|told| told.off_lo_tsc <= wake) else { continue };
            found.bounded += 1;
            found.delays += run - awake;
            found.most += told.hi_tsc;
            if !(told.lo_tsc..=told.hi_tsc).contains(&(run - awake)) {
                found
                    .wrong
                    .push(format!("thread {tid}: {} ticks from {wake}, {awake} to {run}: {told:?}", run - awake));
            }
        }
    }
    found
}

impl Delays {
    fn line(&self, name: &str) -> String {
        let mean = |ticks: i64| ticks as f64 / self.bounded.max(1) as f64 / 2100.0;
        let (delay, most) = (mean(self.delays), mean(self.most));
        format!("| {name} | {} | {} | {delay:.0} µs | {most:.0} µs |", self.woken, self.bounded)
    }
}

#[test]
fn wake_ups_of_captures() {
    for name in SCHEDULED {
        let name = format!("captures/perf/{name}.perf.data");
        let Some(place) = at_hand("found: wake-ups", &name) else { return };
        let dir = tempfile::tempdir().unwrap();
        let text = text(&truth_of(&place));
        for dataset in datasets(&place, dir.path()) {
            let found = wake_ups_are_bounded(&dataset, &text);
            println!("{}", found.line(&name));
            assert!(found.wrong.is_empty(), "{name}: {:#?}", found.wrong);
            // The trace alone does not see each time that a vCPU was off its cpu.
            let with_switches = dataset.threads().unwrap().next().is_some();
            let least = if with_switches { 95 } else { 50 };
            assert!(found.bounded * 100 >= found.woken * least, "{name}: {found:?}");
        }
    }
}

#[test]
fn wake_ups_of_simulated_nodes() {
    for (name, _) in NAMED {
        // Where trace is lost a run is not seen, and the next that is told is another.
        let forms = if *name == "lossy" { &[Form::Perf][..] } else { &[Form::Raw, Form::Perf] };
        for form in forms.iter().copied() {
            let mut scenario = small(name);
            scenario.trace.form = form;
            let dir = tempfile::tempdir().unwrap();
            let (input, truth) = play(&scenario, &dir.path().join("node"));
            let found = wake_ups_are_bounded(&analyze(&input, &dir.path().join("dataset")), &truth);
            println!("{}", found.line(name));
            assert!(
                found.wrong.is_empty(),
                "{name}, {form:?}: {} {:#?}",
                found.wrong.len(),
                &found.wrong[..3.min(found.wrong.len())]
            );
        }
    }
}
