//! Windows of recorded traces, held against the analysis of the whole.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Write;
use std::path::{Path, PathBuf};

use havana_rows::{
    CpuState, CpuStateKind, Exit, Loss, Process, Sink, Thread, Vcpu, VcpuState, VcpuStateKind, Vm, VmOffset,
};
use havana_trace::{OpenOptions, open};

use super::*;
use crate::tally::Tally;

/// Something of this repository.
fn own(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

/// Traces of this repository, and more where they are at hand.
fn traces() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = ["hog-vma", "smp-idle", "tsc-only"].map(|name| own(&format!("captures/{name}"))).into();
    let recordings = ["steal-two-hogs", "compressed", "piped", "threads"];
    all.extend(recordings.map(|name| own(&format!("recordings/{name}.perf.data"))));
    match std::env::var_os("HAVANA_TESTDATA").map(|dir| Path::new(&dir).join("captures")) {
        Some(dir) => {
            let files = std::fs::read_dir(dir.join("perf")).into_iter().flatten().flatten().map(|entry| entry.path());
            all.extend(files.filter(|path| path.extension().is_some_and(|ext| ext == "data")));
            all.extend(["both-hog", "idle-cyc", "io-exits", "smp-preempt", "lifecycle"].map(|name| dir.join(name)));
        }
        None => {
            let _ = writeln!(std::io::stderr(), "skipped: more traces: HAVANA_TESTDATA is not set");
        }
    }
    all.sort();
    all
}

/// Ticks and counts by who lasts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Sums {
    cpus: BTreeMap<(i32, CpuStateKind), i64>,
    /// By host CR3.
    guest: BTreeMap<i64, i64>,
    exits: BTreeMap<i64, i64>,
    /// By VMCS.
    vcpus: BTreeMap<(i64, VcpuStateKind), i64>,
}

impl Sums {
    fn add(&mut self, tally: &Tally) {
        for (cpu, ticks) in &tally.cpus {
            for state in CpuStateKind::ALL {
                *self.cpus.entry((*cpu, *state)).or_default() += ticks[*state as usize];
            }
        }
        for vm in &tally.vms {
            let sum = tally.vm_sums.get(&vm.vm_id).cloned().unwrap_or_default();
            *self.guest.entry(vm.host_cr3).or_default() += sum.guest;
            *self.exits.entry(vm.host_cr3).or_default() += sum.reasons.values().sum::<u64>() as i64;
        }
        for vcpu in &tally.vcpus {
            let sum = tally.vcpu_sums.get(&vcpu.vcpu_id).cloned().unwrap_or_default();
            for state in VcpuStateKind::ALL {
                *self.vcpus.entry((vcpu.vmcs, *state)).or_default() += sum.ticks[*state as usize];
            }
        }
    }
}

fn tally(window: &Window) -> (Tally, Option<i64>) {
    let mut tally = Tally::new(window.from, window.to);
    let survey = Survey::of(&window.trace);
    let analysis = Analysis::new(&window.trace, &survey, Some((window.from, window.to)));
    let Ok(summary) = analysis.run(&mut tally, &mut |_| {});
    (tally, summary.last_tsc)
}

/// Exits, and when they were.
#[derive(Default)]
struct Exits(Vec<Exit>);

macro_rules! passes_over {
    ($($method:ident: $row:ty),+) => {
        $(fn $method(&mut self, _: $row) -> Result<(), Infallible> {
            Ok(())
        })+
    };
}

impl Sink for Exits {
    type Error = Infallible;

    fn exit(&mut self, row: Exit) -> Result<(), Infallible> {
        self.0.push(row);
        Ok(())
    }

    passes_over! {
        cpu_state: CpuState, vcpu_state: VcpuState, loss: Loss, vm: Vm, vm_offset: VmOffset, vcpu: Vcpu, process: Process,
        thread: Thread
    }
}

/// What an estimate may be off by, of the trace's time: where something lies between its bounds is learnt from all that
/// is read, and a window is read without the rest. Without MTC a guest's clock is learnt so too, and bounds are wide.
fn tolerance(trace: &Trace) -> f64 {
    if trace.facts.mtc_period.is_some() { 0.0025 } else { 0.02 }
}

fn holds(name: &str, trace: &Trace, interval: Duration) {
    let mut replay = Replay::new(trace, interval).unwrap();
    let survey = Survey::of(trace);
    let mut tally = Tally::new(replay.first(), i64::MAX / 4);
    let Ok(summary) = Analysis::new(trace, &survey, None).run(&mut tally, &mut |_| {});
    let span = summary.last_tsc.unwrap() - replay.first();
    let mut whole = Sums::default();
    whole.add(&tally);
    let mut exits = Exits::default();
    let Ok(_) = Analysis::new(trace, &survey, None).run(&mut exits, &mut |_| {});

    let mut sums = Sums::default();
    let mut borders = Vec::new();
    while let Some(window) = replay.next(&|| false).unwrap() {
        let (tally, last) = self::tally(&window);
        assert_eq!(borders.last().copied().unwrap_or(replay.first()), window.from, "{name}: windows follow each other");
        borders.push(window.to);
        sums.add(&tally);
        replay.told(last);
    }
    let wanted = span as u64 / ticks(interval, trace.facts.tsc_hz.unwrap()).unsigned_abs() + 1;
    assert!((wanted..=wanted + 1).contains(&(borders.len() as u64)), "{name}: {} windows", borders.len());

    let most = (span as f64 * tolerance(trace)) as i64;
    // Every instant of every cpu is in one state of one window; but for the last moment, which is an estimate too.
    let totals = |sums: &Sums| {
        let mut totals: BTreeMap<i32, i64> = BTreeMap::new();
        sums.cpus.iter().for_each(|((cpu, _), ticks)| *totals.entry(*cpu).or_default() += ticks);
        totals
    };
    let (here, there) = (totals(&sums), totals(&whole));
    assert_eq!(here.keys().collect::<Vec<_>>(), there.keys().collect::<Vec<_>>(), "{name}");
    for (cpu, ticks) in &there {
        let last = if trace.facts.mtc_period.is_some() { 500 } else { most };
        assert!((here[cpu] - ticks).abs() <= last, "{name}: cpu {cpu}: {} of {ticks} ticks", here[cpu]);
    }
    for (key, ticks) in &whole.cpus {
        let off = sums.cpus[key] - ticks;
        assert!(off.abs() <= most, "{name}: cpu {key:?}: {ticks} {off:+}");
    }
    for (vm, ticks) in &whole.guest {
        let off = sums.guest.get(vm).unwrap_or(&0) - ticks;
        assert!(off.abs() <= most, "{name}: guest of {vm:#x}: {ticks} {off:+}");
    }
    // An exit whose bounds allow either side of a border may be counted on both, or on none. No other.
    for (vm, count) in &whole.exits {
        let row = |exit: &&Exit| tally_vm(&tally, exit.vm_id) == Some(*vm);
        let either = |exit: &&Exit| borders.iter().any(|at| exit.exit.lo < *at && *at <= exit.exit.hi);
        let either = exits.0.iter().filter(row).filter(either).count() as i64;
        let off = sums.exits.get(vm).unwrap_or(&0) - count;
        assert!(off.abs() <= either, "{name}: exits of {vm:#x}: {count} {off:+}, {either} at borders");
    }
    // A vCPU that a window does not see is in no state there: never in more than the whole analysis says.
    for (key, ticks) in &whole.vcpus {
        let off = sums.vcpus.get(key).unwrap_or(&0) - ticks;
        let seen = key.1 != VcpuStateKind::Guest || off >= -most;
        assert!(off <= most && seen, "{name}: vCPU {key:x?}: {ticks} {off:+}");
    }
}

fn tally_vm(tally: &Tally, id: i32) -> Option<i64> {
    tally.vms.iter().find(|vm| vm.vm_id == id).map(|vm| vm.host_cr3)
}

#[test]
fn windows_say_together_what_the_whole_says() {
    for path in traces() {
        let trace = open(std::slice::from_ref(&path), &OpenOptions::default()).unwrap();
        holds(&path.display().to_string(), &trace, Duration::from_millis(100));
    }
}

#[test]
fn a_window_needs_little_but_itself() {
    let trace = open(&[own("captures/hog-vma")], &OpenOptions::default()).unwrap();
    let whole: u64 = trace.streams.iter().map(Stream::len).sum();
    let mut replay = Replay::new(&trace, Duration::from_millis(100)).unwrap();
    let mut windows = Vec::new();
    while let Some(window) = replay.next(&|| false).unwrap() {
        windows.push(window.trace.streams.iter().map(Stream::len).sum::<u64>());
        replay.told(
            Analysis::new(&window.trace, &Survey::of(&window.trace), None)
                .run(&mut Exits::default(), &mut |_| {})
                .unwrap()
                .last_tsc,
        );
    }
    assert!(windows.len() > 30, "{}", windows.len());
    // One before it, one after it, and up to the next PSB+ of the host.
    assert!(windows.iter().all(|bytes| *bytes < whole / 4), "{windows:?} of {whole}");
}

#[test]
fn without_seconds_there_are_no_intervals() {
    let mut trace = open(&[own("captures/tsc-only")], &OpenOptions::default()).unwrap();
    trace.facts.tsc_hz = None;
    let error = Replay::new(&trace, Duration::from_secs(1)).err().unwrap();
    assert!(error.to_string().ends_with("say --tsc-hz"), "{error}");
    trace.facts.tsc_hz = Some(2_100_000_000);
    trace.streams.clear();
    let error = Replay::new(&trace, Duration::from_secs(1)).err().unwrap();
    assert!(error.to_string().starts_with("no moment of the input can be dated"), "{error}");
}
