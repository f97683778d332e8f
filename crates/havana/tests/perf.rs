//! perf.data: in every form the same, as true as raw streams, and clear about what it lacks.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use havana_rows::{CpuStateKind, LossCause, Time};
use havana_store::Dataset;
use snapbox::str;

use crate::common::perf_file::PerfFile;
use crate::common::rows::Rows;
use crate::common::truth::{Stretch, Truth};
use crate::common::{analyze, at_hand, havana, recording, skipped};

/// Features and flags of `perf_event_attr`.
const ARCH: u64 = 6;
const CPUID: u64 = 9;
const EXCLUDE_USER: u8 = 1 << 4;
const EXCLUDE_KERNEL: u8 = 1 << 5;

fn hogs() -> PerfFile {
    PerfFile::read(&recording("steal-two-hogs"))
}

/// What the program says of a file: exit status, stdout, stderr.
fn said(args: &[&str], file: &Path, out: &Path) -> (Option<i32>, String, String) {
    let done = havana().arg("analyze").args(args).arg(file).arg("-o").arg(out).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&file.display().to_string(), "FILE");
    (done.status.code(), text(&done.stdout), text(&done.stderr))
}

/// All rows of all tables, as text; the names of files left out.
fn rows(dataset: &Dataset) -> String {
    let mut text = String::new();
    let mut add = |row: String| {
        text.push_str(&row);
        text.push('\n');
    };
    dataset.cpu_states().unwrap().for_each(|r| add(format!("{:?}", r.unwrap())));
    dataset.vcpu_states().unwrap().for_each(|r| add(format!("{:?}", r.unwrap())));
    dataset.exits().unwrap().for_each(|r| add(format!("{:?}", r.unwrap())));
    dataset.vms().unwrap().iter().for_each(|r| add(format!("{r:?}")));
    dataset.vcpus().unwrap().iter().for_each(|r| add(format!("{r:?}")));
    dataset.processes().unwrap().iter().for_each(|r| add(format!("{r:?}")));
    dataset.threads().unwrap().for_each(|r| add(format!("{:?}", r.unwrap())));
    text
}

/// One recording as a file, compressed, through a pipe and in a directory: one dataset, under one id.
#[test]
fn every_form_is_one_dataset() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let plain = recording("steal-two-hogs");
    let file = hogs();
    fs::write(at("compressed"), file.compressed()).unwrap();
    fs::write(at("piped"), file.piped()).unwrap();
    fs::create_dir_all(at("kcore/kcore_dir")).unwrap();
    fs::copy(&plain, at("kcore/data")).unwrap();
    fs::write(at("kcore/kcore_dir/kallsyms"), "ffffffff81000000 T _text\n").unwrap();

    let expected = analyze(&plain, &at("0.havana"));
    assert!(fs::metadata(at("compressed")).unwrap().len() < fs::metadata(&plain).unwrap().len() * 9 / 10);
    let forms = ["compressed", "piped", "kcore"];
    // perf itself turns a file into what a pipe has.
    let inject = std::process::Command::new("perf").args(["inject", "-o", "-", "-i"]).arg(&plain).output();
    match inject {
        Ok(done) if done.status.success() && !done.stdout.is_empty() => {
            fs::write(at("perf-piped"), done.stdout).unwrap();
            let dataset = analyze(&at("perf-piped"), &at("perf-piped.havana"));
            // It says its own machine's name and processor.
            assert_eq!(dataset.manifest().capture, expected.manifest().capture);
            assert_eq!(dataset.manifest().packets, expected.manifest().packets);
            assert!(told(&dataset).exits.len() == told(&expected).exits.len());
        }
        _ => skipped("perf: a pipe by perf inject", "there is no perf, or it cannot"),
    }
    let same = |name: &str, dataset: &Dataset| {
        assert_eq!(dataset.manifest().capture, expected.manifest().capture, "{name}");
        assert_eq!(dataset.manifest().clock, expected.manifest().clock, "{name}");
        assert_eq!(dataset.manifest().packets, expected.manifest().packets, "{name}");
        assert!(rows(dataset) == rows(&expected), "{name}: other rows");
    };
    for name in forms {
        same(name, &analyze(&at(name), &at(&format!("{name}.havana"))));
    }
    // And from standard input, piped or not.
    for name in ["piped", "compressed"] {
        let out = at(&format!("{name}-stdin.havana"));
        let input = fs::File::open(at(name)).unwrap();
        let done = havana().args(["analyze", "-q", "-", "-o"]).arg(&out).stdin(Stdio::from(input)).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        same(name, &Dataset::open(&out).unwrap());
    }
}

/// perf's own compression and its own pipe: recordings of their own.
#[test]
fn what_perf_compressed_and_piped() {
    let dir = tempfile::tempdir().unwrap();
    for (name, exits) in [("compressed", 702), ("piped", 759)] {
        let dataset = analyze(&recording(name), &dir.path().join(name));
        assert_eq!(dataset.exits().unwrap().count(), exits, "{name}");
        assert_eq!(dataset.manifest().losses.count, 0, "{name}");
        let named: Vec<_> = dataset.vms().unwrap().into_iter().map(|vm| (vm.name.unwrap(), vm.pid.unwrap())).collect();
        assert!(named.contains(&("vma".into(), 101)) && named.contains(&("vmb".into(), 110)), "{named:?}");
    }
}

/// A moment's bounds.
type Bounds = Option<(i64, i64)>;

/// What a trace says without the kernel's help.
#[derive(Debug, PartialEq)]
struct Told {
    /// VMCS, cpu, guest CR3; bounds of entry, exit and re-entry.
    exits: Vec<(i64, i32, i64, [Bounds; 3])>,
    /// Their estimates: a guess may hang on how many packets are looked at together.
    estimates: Vec<[Option<i64>; 3]>,
    /// Guest address spaces: host CR3 of the VM, CR3.
    processes: Vec<(i64, i64)>,
    /// Ticks by cpu and state.
    states: BTreeMap<(i32, &'static str), i64>,
}

impl Told {
    /// How far two that say the same are apart in their guesses, ticks: the worst of a moment, and of a cpu's state.
    fn apart(&self, other: &Told) -> (i64, i64) {
        let moments = |told: &Told| told.estimates.iter().flatten().flatten().copied().collect::<Vec<_>>();
        let (mine, others) = (moments(self), moments(other));
        assert_eq!(mine.len(), others.len());
        let moment = mine.iter().zip(&others).map(|(a, b)| (a - b).abs()).max().unwrap_or(0);
        assert!(self.states.keys().eq(other.states.keys()));
        let state = self.states.iter().map(|(key, ticks)| (ticks - other.states[key]).abs()).max().unwrap_or(0);
        (moment, state)
    }
}

fn told(dataset: &Dataset) -> Told {
    let vmcs: BTreeMap<i32, i64> = dataset.vcpus().unwrap().iter().map(|v| (v.vcpu_id, v.vmcs)).collect();
    let vms: BTreeMap<i32, i64> = dataset.vms().unwrap().iter().map(|v| (v.vm_id, v.host_cr3)).collect();
    let mut all: Vec<_> = dataset.exits().unwrap().map(Result::unwrap).collect();
    all.sort_by_key(|e| (e.cpu, e.exit_id));
    let times = |e: &havana_rows::Exit| [e.entry, Some(e.exit), e.reentry];
    let bounds = |t: Option<Time>| t.map(|t| (t.lo, t.hi));
    let exits = all.iter().map(|e| (vmcs[&e.vcpu_id], e.cpu, e.guest_cr3, times(e).map(bounds))).collect();
    let estimates = all.iter().map(|e| times(e).map(|t| t.map(|t| t.tsc))).collect();
    let processes = dataset.processes().unwrap();
    let mut processes: Vec<_> = processes.iter().filter_map(|p| Some((vms[&p.vm_id?], p.cr3))).collect();
    processes.sort_unstable();
    let mut states: BTreeMap<(i32, &'static str), i64> = BTreeMap::new();
    for row in dataset.cpu_states().unwrap().map(Result::unwrap) {
        *states.entry((row.cpu, row.state.name())).or_default() += row.end.tsc - row.start.tsc;
    }
    Told { exits, estimates, processes, states }
}

/// The trace bytes alone say the same: the kernel's records only name and sharpen.
#[test]
fn the_same_trace_without_its_sideband() {
    let mut files = vec![recording("steal-two-hogs"), recording("compressed")];
    if let Some(folder) = at_hand("perf: all recordings as raw streams", "captures/perf") {
        let all = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
        files.extend(all.filter(|p| p.extension().is_some_and(|e| e == "data")));
    }
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let dir = tempfile::tempdir().unwrap();
        let raw = dir.path().join("raw");
        let with = analyze(&file, &dir.path().join("with"));
        PerfFile::read(&file).write_raw(&raw, &with);
        let without = analyze(&raw, &dir.path().join("without"));
        assert_eq!(with.manifest().clock.tsc_hz, Some(2_100_000_000));
        assert_eq!(with.manifest().capture, without.manifest().capture, "{name}");
        let (with, mut without) = (told(&with), told(&without));
        if name.starts_with("small-buffer-loss") {
            // The recorder knows that the trace goes on; the bytes do not.
            without.states = with.states.clone();
        }
        let differ = with.exits.iter().zip(&without.exits).find(|(a, b)| a != b);
        assert_eq!(differ, None, "{name}: {} and {} exits", with.exits.len(), without.exits.len());
        assert_eq!(with.exits.len(), without.exits.len(), "{name}");
        assert_eq!(with.processes, without.processes, "{name}");
        let (moment, state) = with.apart(&without);
        let all: i64 = with.states.values().sum();
        // There the recorder stopped for moments, and knows it: bytes alone look as if the cpu had slept.
        let stops = name.starts_with("idle-envelope-kvm-tracepoints");
        let (most, part) = if stops { (50_000, 1_000) } else { (2_000, 10_000) };
        assert!(moment < most && state * part < all, "{name}: {moment} and {state} ticks apart");
        println!(
            "{name}: {} exits and {} guest processes alike; estimates at most {moment} ticks apart, states {state} of {all}",
            with.exits.len(),
            with.processes.len()
        );
    }
}

/// Where the kernel tells of switches, what a vCPU did off its cpu is observed.
#[test]
fn switches_make_states_observed() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = analyze(&recording("steal-two-hogs"), &dir.path().join("d"));
    let mut ticks: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for row in dataset.vcpu_states().unwrap().map(Result::unwrap) {
        *ticks.entry((row.state.name(), row.evidence.name())).or_default() += row.end.tsc - row.start.tsc;
    }
    let all: i64 = ticks.values().sum();
    let inferred: i64 = ticks.iter().filter(|t| t.0.1 == "inferred").map(|t| t.1).sum();
    assert!(inferred * 200 < all, "{ticks:?}");
    assert!(ticks[&("preempted", "observed")] * 10 > 3 * all, "{ticks:?}");
    // Both VMs are named, their vCPUs have threads, and they took each other's time.
    let vcpus = dataset.vcpus().unwrap();
    let names: Vec<_> = vcpus.iter().map(|v| (v.name.clone().unwrap(), v.tid.unwrap(), v.index)).collect();
    assert_eq!(names, [("vmb/vcpu0".into(), 124, Some(0)), ("vma/vcpu0".into(), 123, Some(0))]);
    let hosts = dataset.processes().unwrap().into_iter().filter(|p| p.vm_id.is_none());
    assert_eq!(hosts.filter(|p| p.name.as_deref() == Some("tvmm")).count(), 2);
}

/// Only some cpus are shown: what a vCPU does on the others is not taken for waiting or being preempted.
#[test]
fn of_one_cpu_only() {
    let Some(file) = at_hand("perf: one cpu of two", "captures/perf/steal-overcommit-io.perf.data") else { return };
    let dir = tempfile::tempdir().unwrap();
    let of = |args: &[&str], out: &str| {
        let (status, _, errors) = said(&[&["-q"], args].concat(), &file, &dir.path().join(out));
        assert_eq!(status, Some(0), "{errors}");
        let dataset = Dataset::open(&dir.path().join(out)).unwrap();
        let vmcs: BTreeMap<i32, i64> = dataset.vcpus().unwrap().iter().map(|v| (v.vcpu_id, v.vmcs)).collect();
        let mut ticks: BTreeMap<(i64, &str), i64> = BTreeMap::new();
        for row in dataset.vcpu_states().unwrap().map(Result::unwrap).filter(|r| r.evidence.name() == "observed") {
            *ticks.entry((vmcs[&row.vcpu_id], row.state.name())).or_default() += row.end.tsc - row.start.tsc;
        }
        ticks
    };
    let (whole, one) = (of(&[], "whole"), of(&["--cpu", "0"], "one"));
    let mut compared = 0;
    for (key, ticks) in one.iter().filter(|(key, _)| ["preempted", "waiting", "off_cpu"].contains(&key.1)) {
        let most = whole.get(key).copied().unwrap_or(0);
        assert!(*ticks <= most + most / 100 + 1_000_000, "{key:x?}: {ticks} of {most}");
        compared += 1;
    }
    assert!(compared > 4, "{one:?}");
}

/// A bit of a TSC that flips: the packet still looks like one, and what it says is not believed.
#[test]
fn a_flipped_bit_in_a_tsc() {
    let dir = tempfile::tempdir().unwrap();
    let file = hogs();
    let psb = [2, 0x82].repeat(8);
    let all: Vec<usize> = file.bytes.windows(16).enumerate().filter(|w| w.1 == psb).map(|w| w.0).collect();
    // PSB, PIP, VMCS, TSC; of the host.
    let host = |at: &&usize| file.bytes[**at + 18] & 1 == 0 && file.bytes[**at + 31] == 0x19;
    let at = *all[1..].iter().find(host).unwrap();
    let whole = analyze(&recording("steal-two-hogs"), &dir.path().join("whole"));
    for bit in [30, 34, 40, 47] {
        let mut bytes = file.bytes.clone();
        bytes[at + 32 + bit / 8] ^= 1 << (bit % 8);
        let path = dir.path().join("flipped");
        fs::write(&path, bytes).unwrap();
        let flipped = analyze(&path, &dir.path().join(format!("{bit}")));
        let end = |d: &Dataset| d.manifest().last_tsc.unwrap();
        assert!((end(&flipped) - end(&whole)).abs() < 1_000_000, "bit {bit}: {} for {}", end(&flipped), end(&whole));
        let idle = flipped.cpu_states().unwrap().filter(|r| r.as_ref().unwrap().state == CpuStateKind::Idle).count();
        assert_eq!(idle, 0, "bit {bit}");
        assert_eq!(flipped.exits().unwrap().count(), whole.exits().unwrap().count(), "bit {bit}");
    }
}

#[test]
fn names_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let names = dir.path().join("names");
    fs::write(&names, "101 4dea22b3-1d52-d8f3-2516-782e98ab3fa0 web-2\n110 qemu-kvm -name guest=db-1,x=y\n").unwrap();
    let args = ["--names", names.to_str().unwrap()];
    let (status, report, _) = said(&args, &recording("steal-two-hogs"), &dir.path().join("d"));
    assert_eq!(status, Some(0));
    assert!(report.contains("\n  web-2 guest ") && report.contains("its cpu was taken by db-1 "), "{report}");
    let vms = Dataset::open(&dir.path().join("d")).unwrap().vms().unwrap();
    let web = vms.iter().find(|vm| vm.name.as_deref() == Some("web-2")).unwrap();
    assert_eq!(web.uuid.as_deref(), Some("4dea22b3-1d52-d8f3-2516-782e98ab3fa0"));
    fs::write(&names, "what\n").unwrap();
    let (status, _, error) = said(&args, &recording("steal-two-hogs"), &dir.path().join("e"));
    assert_eq!(status, Some(1));
    assert!(error.ends_with("names: no VM in it; a line should have a pid or uuid, and a name\n"), "{error}");
}

/// A ring that filled and stayed full: what is before is told, the rest is lost.
#[test]
fn a_buffer_that_stayed_full() {
    let Some(file) = at_hand("perf: small-buffer-loss", "captures/perf/small-buffer-loss.perf.data") else { return };
    let dir = tempfile::tempdir().unwrap();
    let dataset = analyze(&file, &dir.path().join("d"));
    assert_eq!(dataset.exits().unwrap().count(), 2);
    let rows: Vec<_> = dataset.cpu_states().unwrap().map(Result::unwrap).collect();
    let lost = rows.last().unwrap();
    assert_eq!(lost.state, CpuStateKind::Lost);
    let (span, whole) = (lost.end.tsc - lost.start.tsc, lost.end.tsc - rows[0].start.tsc);
    assert!(span * 100 > 98 * whole && rows.iter().filter(|r| r.state == CpuStateKind::Lost).count() <= 2);
    let causes: Vec<_> = dataset.losses().unwrap().map(|l| l.unwrap().cause).collect();
    assert!(causes.contains(&LossCause::TraceOff), "{causes:?}");
}

#[test]
fn no_vm_says_so() {
    let Some(file) = at_hand("perf: no-vm", "captures/perf/no-vm.perf.data") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (status, report, errors) = said(&[], &file, &dir.path().join("d"));
    assert_eq!(status, Some(0));
    assert!(report.contains("\nNo VM ran in this trace.\n"), "{report}");
    assert!(errors.contains("recorded in the kernel only"), "{errors}");
}

/// Of a Core m7, Linux 4.14: some threads on two cpus; no VM.
#[test]
fn a_public_recording() {
    let Some(file) = at_hand("perf: of a Core m7", "traces/perf-data/perf.data.intel_pt-4.14") else { return };
    let pips: usize = ["0", "3"]
        .iter()
        .map(|cpu| {
            let done = havana().args(["packets", "--only", "pip", "--cpu", cpu]).arg(&file).output().unwrap();
            let text = String::from_utf8(done.stdout).unwrap();
            assert!(done.status.success());
            text.lines().filter(|line| line.contains("  pip ")).count()
        })
        .sum();
    assert_eq!(pips, 441);
    let dir = tempfile::tempdir().unwrap();
    let (status, report, errors) = said(&[], &file, &dir.path().join("d"));
    assert_eq!(status, Some(0));
    assert!(report.contains("\nNo VM ran in this trace.\n"), "{report}");
    assert!(errors.contains("recorded for some threads only"), "{errors}");
    let dataset = Dataset::open(&dir.path().join("d")).unwrap();
    assert_eq!(dataset.manifest().packets["pip"], 441);
    assert_eq!(dataset.manifest().packets["mtc"], 2802);
    assert_eq!(dataset.manifest().losses.ticks.keys().collect::<Vec<_>>(), ["trace_off"]);
}

/// Which input it was, what it lacks, and what to record instead.
#[test]
fn what_is_missing_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let file = hogs();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = file.bytes.clone();
        change(&mut bytes);
        let path = dir.path().join("perf.data");
        fs::write(&path, bytes).unwrap();
        let (status, _, errors) = said(&["-q", "-f"], &path, &dir.path().join("d"));
        (status.unwrap(), errors)
    };
    let put = |feature: u64, text: &'static [u8]| {
        let at = file.feature_at(feature).start + 4;
        move |bytes: &mut Vec<u8>| bytes[at..at + text.len()].copy_from_slice(text)
    };
    let flags = file.flags_at(0);

    let (status, error) = with(&|bytes| bytes[..8].reverse());
    assert_eq!(status, 1);
    assert!(error.starts_with("havana: FILE: recorded on a big-endian one"), "{error}");

    // AUXTRACE_INFO: its type, and the record itself.
    let (from, size) = file.data();
    let info = (from..from + size).find(|&at| file.bytes[at..].starts_with(&[70, 0, 0, 0, 0, 0])).unwrap();
    let (status, error) = with(&|bytes| bytes[info + 8] = 4);
    assert_eq!((status, error.as_str()), (1, "havana: FILE: its trace is arm_spe (Arm), and not intel_pt\n"));
    let (status, error) = with(&|bytes| bytes[info] = 99);
    snapbox::assert_data_eq!(
        error,
        str!["havana: FILE: no intel_pt event in this file (it has intel_pt/branch=0,mtc_period=9/, dummy:u, dummy:u); record with: perf record -a -e intel_pt/branch=0/ -- sleep 10

"]
    );
    assert_eq!(status, 1);
    let (status, error) = with(&|bytes| {
        bytes[info] = 99;
        put(ARCH, b"aarch64\0")(bytes);
    });
    assert_eq!((status, error.as_str()), (1, "havana: FILE: recorded on aarch64: Intel PT is of x86 processors\n"));
    let (status, error) = with(&|bytes| {
        bytes[info] = 99;
        put(CPUID, b"AuthenticAMD,25,1,1\0")(bytes);
    });
    let amd = "havana: FILE: recorded on an AMD host: these have no Intel PT, and are not supported\n";
    assert_eq!((status, error.as_str()), (1, amd));

    let (status, error) = with(&|bytes| bytes[flags] |= EXCLUDE_KERNEL);
    assert_eq!(status, 0);
    assert!(error.starts_with("havana: warning: recorded in user space only"), "{error}");
    let (status, error) = with(&|bytes| bytes[flags] |= EXCLUDE_USER);
    assert_eq!(status, 0);
    assert!(error.starts_with("havana: warning: recorded in the kernel only"), "{error}");

    // AUX: the flags of the driver.
    let aux = (from..from + size).find(|&at| file.bytes[at..].starts_with(&[11, 0, 0, 0, 0, 0, 64, 0])).unwrap();
    let (status, error) = with(&|bytes| bytes[aux + 24] = 4);
    assert_eq!(status, 0);
    assert!(error.starts_with("havana: warning: this processor stops its trace while VMX is on"), "{error}");
    // A kernel whose switches do not say whether they preempt: off the cpu, and nothing says why.
    let release = file.feature_at(4).start + 4;
    let switches: Vec<usize> =
        (from..from + size).step_by(8).filter(|&at| file.bytes[at..].starts_with(&[15, 0, 0, 0, 0])).collect();
    let (status, _) = with(&|bytes| {
        bytes[release..release + 5].copy_from_slice(b"4.14\0");
        switches.iter().for_each(|at| bytes[at + 5] &= !0x40);
    });
    assert_eq!(status, 0);
    let dataset = Dataset::open(&dir.path().join("d")).unwrap();
    let states: std::collections::BTreeSet<&str> = dataset
        .vcpu_states()
        .unwrap()
        .map(|r| r.unwrap())
        .filter(|r| r.taken_by_tid.is_some())
        .map(|r| r.state.name())
        .collect();
    assert!(states.is_empty(), "{states:?}");

    // The recorder was killed: it had not yet written where its records end.
    let (status, error) = with(&|bytes| {
        bytes[48..56].fill(0);
        bytes.truncate(from + size);
    });
    assert_eq!(status, 0);
    assert!(error.starts_with("havana: warning: the recorder did not end by itself"), "{error}");
    let (status, error) = with(&|bytes| bytes.clear());
    assert_eq!((status, error.as_str()), (1, "havana: FILE: the file is empty\n"));
    let (status, error) = with(&|bytes| bytes.truncate(50));
    let cut = "havana: FILE: the file ends at offset 0x32, before there is any trace in it\n";
    assert_eq!((status, error.as_str()), (1, cut));
}

/// A file cut off anywhere: what is before the cut is told, the rest is a loss, and there is a word.
#[test]
fn a_file_cut_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let file = hogs();
    let whole = analyze(&recording("steal-two-hogs"), &dir.path().join("whole"));
    let sorted = |dataset: &Dataset| {
        let mut exits: Vec<_> = dataset.exits().unwrap().map(Result::unwrap).collect();
        exits.sort_by_key(|e| (e.exit.tsc, e.exit_id));
        exits
    };
    let whole = sorted(&whole);
    let (from, size) = file.data();
    let mut told = Vec::new();
    for i in 1..=40 {
        let cut = from + size * i / 41;
        let path = dir.path().join("cut");
        fs::write(&path, &file.bytes[..cut]).unwrap();
        let out = dir.path().join(format!("d{i}"));
        let (status, _, errors) = said(&["-q"], &path, &out);
        if status == Some(1) {
            assert!(errors.contains(" offset 0x") && errors.lines().count() == 1, "{errors}");
            continue;
        }
        assert_eq!(status, Some(0), "{errors}");
        assert!(errors.contains("the file ends in the middle, at offset 0x"), "{errors}");
        let dataset = Dataset::open(&out).unwrap();
        assert!(dataset.losses().unwrap().any(|l| l.unwrap().cause == LossCause::Truncated), "cut at {cut}");
        let exits = sorted(&dataset);
        told.push(exits.len());
        // The last ones lie before a known time that is not there any more.
        for (found, truth) in exits.iter().zip(&whole).take(exits.len().saturating_sub(400)) {
            assert_eq!((found.exit.lo, found.exit.hi), (truth.exit.lo, truth.exit.hi), "cut at {cut}");
            assert_eq!(found.guest_cr3, truth.guest_cr3, "cut at {cut}");
        }
    }
    assert!(told.len() > 10 && told.is_sorted() && told.last().unwrap() * 10 > whole.len() * 9, "{told:?}");
}

/// A recording of one VMM's threads: what they did is as sure as ever, and when they were not on a cpu is lost.
#[test]
fn threads_only() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("d");
    let (status, _, errors) = said(&["-q"], &recording("threads"), &out);
    assert_eq!(status, Some(0));
    assert!(errors.contains("recorded for some threads only"), "{errors}");
    let dataset = Dataset::open(&out).unwrap();
    let vcpus = dataset.vcpus().unwrap();
    assert_eq!(vcpus.len(), 1);
    let truth: PathBuf = recording("threads").with_file_name("threads.truth.zst");
    let (exits, on) = crate::common::truth::exits_while_traced(&truth, vcpus[0].vmcs);
    let found: Vec<_> = dataset.exits().unwrap().map(Result::unwrap).collect();
    assert_eq!(found.len(), exits.len());
    for (found, truth) in found.iter().zip(&exits) {
        let entry = found.entry.unwrap();
        assert!(found.exit.lo <= truth.1 && truth.1 <= found.exit.hi, "{found:?} for {truth:?}");
        assert!(entry.lo <= truth.0 && truth.0 <= entry.hi, "{found:?} for {truth:?}");
    }
    let mut ticks: BTreeMap<&str, i64> = BTreeMap::new();
    for row in dataset.cpu_states().unwrap().map(Result::unwrap) {
        *ticks.entry(row.state.name()).or_default() += row.end.tsc - row.start.tsc;
    }
    let all: i64 = ticks.values().sum();
    let traced = 100.0 * (all - ticks["lost"]) as f64 / all as f64;
    let truth = 100.0 * on as f64 / all as f64;
    assert!((traced - truth).abs() < 2.0, "{traced} % traced, {truth} % in truth");
}

/// Where Event Trace is recorded, the interrupt that a guest takes first after an entry is the one that KVM injected; so it is
/// known what ended a halt.
#[test]
fn an_interrupt_that_ends_a_halt_is_told() {
    const HLT: i32 = 12;
    for name in ["event-io", "event-smp"] {
        let test = "an_interrupt_that_ends_a_halt_is_told";
        let Some(recording) = at_hand(test, &format!("captures/perf/{name}.perf.data")) else { return };
        let truth = Truth::read(&recording.with_file_name(format!("{name}.truth.zst")));
        let out = tempfile::tempdir().unwrap();
        let rows = Rows::read(&analyze(&recording, &out.path().join("dataset")));
        let vmcs: HashMap<i32, i64> = rows.vcpus.iter().map(|vcpu| (vcpu.vcpu_id, vcpu.vmcs)).collect();
        let mut of: HashMap<i64, Vec<&Stretch>> = HashMap::new();
        for stretch in truth.cpus.values().flat_map(|cpu| &cpu.stretches) {
            of.entry(stretch.vmcs).or_default().push(stretch);
        }
        let (mut halts, mut injected, mut told) = (0, 0, 0);
        for exit in rows.exits.iter().filter(|exit| exit.reentry.is_some()) {
            let here = |stretch: &&&Stretch| (exit.exit.lo..=exit.exit.hi).contains(&stretch.exit);
            let [truth] = of[&vmcs[&exit.vcpu_id]].iter().filter(here).collect::<Vec<_>>()[..] else { continue };
            assert!(
                exit.reentry_vector.is_none() || exit.reentry_vector == truth.injected,
                "{name}: {exit:?}, {truth:?}"
            );
            if exit.reason == Some(HLT) {
                halts += 1;
                injected += usize::from(truth.injected.is_some());
                told += usize::from(exit.reentry_vector.is_some());
            }
        }
        println!("{name}: of {halts} halts {injected} ended with an interrupt injected, and {told} are told");
        assert!(told > 0 && told == injected, "{name}: {told} of {injected}");
    }
}
