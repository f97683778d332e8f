//! What is found in datasets, against the truth: the culprit of captures, who took whose cpu.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use havana_insight::{Finding, Kind, Severity, find};
use havana_rows::TakerKind;
use havana_sim::scenario::Form;
use havana_sim::{NAMED, Scenario};
use havana_store::Dataset;

use crate::common::perf_file::PerfFile;
use crate::common::sched::{By, Marked, Sched, marked};
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

/// Programs that had so much of the cpus' time or more, each from its begin on, by the truth: host CR3 and CR3.
fn busy(truth: &Truth, of: &HashMap<Marked, i64>) -> HashMap<(i64, i64), (i64, f64)> {
    let mut busy: HashMap<(i64, i64), (i64, f64)> = HashMap::new();
    for ((vmcs, cr3), begin) in of {
        let mine = |doing: &Doing| *doing == Doing::Guest { vmcs: *vmcs, cr3: *cr3 };
        let pieces = truth.cpus.values().flat_map(|cpu| &cpu.pieces).filter(|p| mine(&p.doing) && p.start >= *begin);
        let ticks: i64 = pieces.map(|piece| piece.end - piece.start).sum();
        busy.insert((truth.host_cr3[vmcs], *cr3), (*begin, ticks as f64));
    }
    busy
}

/// The loops of a capture are found, before anything else: each VM and process, and the begin where it is inside.
fn loops_are_first(name: &str, markers: &[u32], kinds: &[Kind]) {
    let Some(place) = at_hand(&format!("found: {name}"), &format!("captures/{name}")) else { return };
    let truth_text = text(&truth_of(&place));
    let truth = Truth::parse(&truth_text);
    let culprits = busy(&truth, &marked(&truth_text, markers));
    assert!(!culprits.is_empty(), "{name}");
    let dir = tempfile::tempdir().unwrap();
    for dataset in datasets(&place, dir.path()) {
        let (first, last) = (dataset.manifest().first_tsc.unwrap(), dataset.manifest().last_tsc.unwrap());
        let span = (last - first) as f64;
        let findings = find(&dataset).unwrap();
        println!("{name}\n{}  truth:", said(&findings));
        culprits.iter().for_each(|c| println!("    {:x?} from {:.4}, {:.3} of the time", c.0, (c.1.0 - first) as f64 / span, c.1.1 / span));
        let mut told: Vec<(i64, i64)> = Vec::new();
        for finding in findings.iter().filter(|finding| kinds.contains(&finding.kind)) {
            let Some(who) = spaces(&dataset, finding) else { continue };
            if told.len() == culprits.len() { break; }
            if told.contains(&who) { continue; }
            let Some((begin, _)) = culprits.get(&who) else { break };
            told.push(who);
            let inside = (*begin - first) as f64 / span;
            let off = finding.start_tsc.map(|start| (start - begin) as f64 / span);
            println!("  told: {finding}: begin {inside:.4}, off by {off:?}");
        }
    }
}

#[test]
fn loops_of_captures() {
    for name in ["both-hog", "hog-vma", "kpti-hog-branch", "smp-preempt", "lifecycle"] {
        loops_are_first(name, &[HOG], &[Kind::Consumption]);
    }
    for name in ["event-smp", "smp-hog-envelope", "steal-host-spinner", "steal-overcommit-io", "steal-smp-pinned", "steal-two-hogs"] {
        loops_are_first(&format!("perf/{name}.perf.data"), &[HOG], &[Kind::Consumption]);
    }
    for name in ["io-exits", "tsc-only", "perf/io-envelope-cyc.perf.data", "perf/event-io.perf.data"] {
        loops_are_first(name, IO_LOOPS, &[Kind::Exits]);
    }
}

#[test]
fn quiet_captures() {
    for name in ["idle-branch", "idle-cyc", "idle-two-vms", "kpti-idle", "smp-idle", "perf/idle-envelope.perf.data", "perf/idle-envelope-kvm-tracepoints.perf.data", "perf/idle-full.perf.data", "perf/small-buffer-loss.perf.data"] {
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
    let mut found: BTreeMap<(i32, By), f64> = BTreeMap::new();
    for row in havana_insight::stolen(dataset).unwrap() {
        let by = match (row.taker.kind, row.taker.id) {
            (TakerKind::Vm, Some(vm)) => By::Vm(vm_of.get(&vm).copied().unwrap_or("?").into()),
            _ => By::Host,
        };
        *found.entry((tid_of[&row.victim], by)).or_default() += row.ticks;
    }
    let keys: BTreeSet<_> = want.keys().chain(found.keys()).collect();
    let mut told = Stolen { rows: 0, all: 0.0, worst: 0.0, wrong: Vec::new() };
    for key in keys.into_iter().filter(|key| key.1 != By::Nobody) {
        let (want, found) = (want.get(key).map_or(0.0, |ticks| *ticks as f64), found.get(key).copied().unwrap_or(0.0));
        let off = (found - want).abs() / span;
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
        let Stolen { rows, all, worst, wrong } = told;
        println!("| {name} | {rows} | {:.1} % | {:.3} % |", all * 100.0, worst * 100.0);
        assert!(wrong.is_empty(), "{name}: {wrong:#?}");
    }
}

/// The same of simulated nodes whose trace has switch records.
#[test]
fn who_took_whose_cpu_of_simulated_nodes() {
    let named = NAMED.iter().map(|(name, _)| (name.to_string(), small(name)));
    let drawn = (0..100).map(|seed| (format!("seed {seed}"), Scenario::random(seed)));
    for (name, mut scenario) in named.chain(drawn) {
        scenario.trace.form = Form::Perf;
        let dir = tempfile::tempdir().unwrap();
        let (input, truth) = play(&scenario, &dir.path().join("node"));
        let told = stolen_is_true(&analyze(&input, &dir.path().join("dataset")), &truth);
        let Stolen { rows, all, worst, wrong } = told;
        println!("| {name} | {rows} | {:.1} % | {:.3} % |", all * 100.0, worst * 100.0);
        assert!(wrong.is_empty(), "{name}: {wrong:#?}");
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
