//! Windows of recorded traces, held against the analysis of the whole.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use havana_rows::{CpuState, CpuStateKind, Exit, Loss, Process, Sink, Thread, Time, Vcpu, VcpuState, VcpuStateKind, Vm, VmOffset};
use havana_trace::{OpenOptions, open};

use super::*;
use crate::tally::Tally;

/// Traces of this repository, and more where they are at hand.
fn traces() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    let mut all: Vec<PathBuf> = ["hog-vma", "smp-idle", "tsc-only"].map(|name| own.join("captures").join(name)).into();
    let recordings = ["steal-two-hogs", "compressed", "piped", "threads"];
    all.extend(recordings.map(|name| own.join("recordings").join(format!("{name}.perf.data"))));
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

#[test]
fn measure() {
    for path in traces() {
        let trace = open(&[path.clone()], &OpenOptions::default()).unwrap();
        let mut replay = Replay::new(&trace, Duration::from_millis(100)).unwrap();
        let mut all = Tally::new(replay.first(), i64::MAX / 4);
        let survey = Survey::of(&trace);
        let Ok(summary) = Analysis::new(&trace, &survey, None).run(&mut all, &mut |_| {});
        let mut whole = Sums::default();
        whole.add(&all);
        let mut sums = Sums::default();
        let mut n = 0;
        let mut bytes = 0;
        while let Some(window) = replay.next(&|| false).unwrap() {
            let (tally, last) = tally(&window);
            bytes += window.trace.streams.iter().map(Stream::len).sum::<u64>();
            sums.add(&tally);
            n += 1;
            replay.told(last);
        }
        let span = (summary.last_tsc.unwrap() - summary.first_tsc.unwrap()) as f64;
        println!("{} span {:.2}s windows {n} bytes {} read {bytes}", path.file_name().unwrap().display(), span / trace.facts.tsc_hz.unwrap() as f64, trace.streams.iter().map(Stream::len).sum::<u64>());
        let mut totals: BTreeMap<i32, (i64,i64)> = BTreeMap::new();
        for (k, v) in &whole.cpus { totals.entry(k.0).or_default().0 += v; }
        for (k, v) in &sums.cpus { totals.entry(k.0).or_default().1 += v; }
        println!("  cpu totals {:?}", totals.values().map(|(a,b)| b-a).collect::<Vec<_>>());
        let keys = |a: &BTreeMap<(i32, CpuStateKind), i64>| a.keys().copied().collect::<Vec<_>>();
        for k in keys(&whole.cpus) { let d = sums.cpus.get(&k).unwrap_or(&0) - whole.cpus[&k]; if d != 0 { println!("  cpu {k:?} {} {:+} {:.4}%", whole.cpus[&k], d, 100.0*d as f64/span); } }
        for k in whole.exits.keys().chain(sums.exits.keys()).collect::<std::collections::BTreeSet<_>>() { println!("  vm {k:x} exits {:?} {:?} guest {:?} {:?}", whole.exits.get(k), sums.exits.get(k), whole.guest.get(k), sums.guest.get(k)); }
        for (k, v) in &whole.vcpus { let d = sums.vcpus.get(k).unwrap_or(&0) - v; if d != 0 { println!("  vcpu {k:x?} {v} {:+} {:.4}%", d, 100.0*d as f64/span); } }
    }
}
