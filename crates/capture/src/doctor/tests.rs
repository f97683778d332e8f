//! Hosts as they may be, each with what is said of it. What is in `testdata/host` can be recorded, but for its `pt_mode`.

use std::io::{self, Write};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::host::FakeHost;
use crate::output::{OutputOptions, Target};
use crate::ring::Size;
use crate::settings::{Mode, Precision};

/// A machine that answers as it was told to.
struct Told {
    busy: Vec<u32>,
    refused: bool,
    clock: bool,
    ratio: (u32, u32),
    free: u64,
    read_only: bool,
}

impl Probes for Told {
    fn open(&self, events: Events, cpu: u32) -> Result<(), CaptureError> {
        assert!(events.trace.is_some());
        if self.refused {
            return Err(CaptureError::NotPermitted);
        }
        if self.busy.contains(&cpu) { Err(CaptureError::Busy { cpu }) } else { Ok(()) }
    }

    fn has_clock(&self, _: u32) -> Result<bool, CaptureError> {
        if self.refused { Err(CaptureError::NotPermitted) } else { Ok(self.clock) }
    }

    fn tsc_ctc_ratio(&self) -> (u32, u32) {
        self.ratio
    }

    fn room(&self, _: &OutputOptions) -> Result<u64, CaptureError> {
        if self.read_only {
            let error = io::Error::from(io::ErrorKind::ReadOnlyFilesystem);
            return Err(CaptureError::Output { path: "perf.data".into(), error });
        }
        Ok(self.free)
    }
}

/// A host, a machine, and what is to be recorded.
struct Case {
    fake: FakeHost,
    probes: Told,
    options: Options,
}

const CAPS: &str = "sys/bus/event_source/devices/intel_pt/caps";
const LIMITS: &str = "proc/self/limits";
const STATUS: &str = "proc/self/status";

fn options(target: Target) -> Options {
    Options {
        mode: Mode::Envelope,
        precision: Precision::Normal,
        cpus: Vec::new(),
        rings: Size { data: 512 << 10, aux: 4 << 20 },
        output: OutputOptions::to(target),
        max_duration: None,
        flush: Duration::from_secs(2),
        on: Vec::new(),
        command: Vec::new(),
        version: String::new(),
    }
}

impl Case {
    /// Nothing is amiss.
    fn new() -> Case {
        let fake = FakeHost::like(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/host"));
        fake.write("sys/module/kvm_intel/parameters/pt_mode", "0\n");
        for cap in ["event_trace", "power_event_trace"] {
            fake.write(&format!("{CAPS}/{cap}"), "1\n");
        }
        let case = Case {
            fake,
            probes: Told {
                busy: Vec::new(),
                refused: false,
                clock: true,
                ratio: (248, 2),
                free: 1 << 40,
                read_only: false,
            },
            options: options(Target::File("perf.data".into())),
        };
        case.msr(1 << 14);
        case
    }

    fn msr(&self, vmx_misc: u64) {
        self.fake.write("dev/cpu/0/msr", "");
        let file = std::fs::OpenOptions::new().write(true).open(self.fake.host.path("dev/cpu/0/msr")).unwrap();
        file.write_all_at(&vmx_misc.to_le_bytes(), 0x485).unwrap();
    }

    /// Nobody in particular.
    fn no_root(&self) {
        self.fake.write(STATUS, "CapEff:\t0000000000000000\n");
    }

    fn examine(&self) -> Report {
        examine(&self.fake.host, &self.probes, &self.options)
    }

    /// The check of this name, in a report that says that all else is well but for notes.
    fn only(&self, name: &str) -> (Check, Outcome) {
        let report = self.examine();
        for check in &report.checks {
            let well = matches!(check.verdict, Verdict::Ok | Verdict::Note);
            assert!(well || check.name == name, "{check:?}");
        }
        (find(&report, name).clone(), report.outcome)
    }

    /// The check of this name prevents a recording, and says so.
    fn prevented(&self, name: &str) -> Check {
        let report = self.examine();
        let check = find(&report, name).clone();
        assert!(check.prevents && check.verdict == Verdict::NotOk && check.to_do.is_some(), "{check:?}");
        assert!(matches!(&report.outcome, Outcome::Cannot(why) if why.contains(&check.found)), "{:?}", report.outcome);
        check
    }
}

fn find<'a>(report: &'a Report, name: &str) -> &'a Check {
    report.checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no {name}: {report:?}"))
}

#[test]
fn all_is_well() {
    let report = Case::new().examine();
    assert_eq!(report.outcome, Outcome::Can, "{report:#?}");
    let bad = report.checks.iter().find(|c| !matches!(c.verdict, Verdict::Ok | Verdict::Note) || c.to_do.is_some());
    assert_eq!(bad, None);
    assert_eq!(find(&report, "VMs").found, "1: web-2");
    assert_eq!(find(&report, "cpus").found, "36 online: 0-35");
    assert_eq!(find(&report, "mtc").found, "MTC packets, periods 0,3,6,9 (2^N crystal ticks)");
    // Subjects come one after the other.
    let mut subjects: Vec<&str> = report.checks.iter().map(|check| check.subject.name()).collect();
    subjects.dedup();
    assert_eq!(subjects, ["processor", "kernel", "permissions", "kvm", "clock", "in use", "room"]);
}

#[test]
fn an_empty_host_is_no_panic() {
    let fake = FakeHost::new();
    let mut case = Case::new();
    case.fake = fake;
    let report = case.examine();
    assert!(matches!(report.outcome, Outcome::Cannot(_)));
    assert_eq!(find(&report, "config").verdict, Verdict::Unknown);
    assert_eq!(find(&report, "cap_sys_ptrace").verdict, Verdict::Unknown);
}

#[test]
fn without_intel_pt_one_sentence_and_nothing_else_to_do() {
    let case = Case::new();
    case.fake
        .write("proc/cpuinfo", "vendor_id : AuthenticAMD\ncpu family : 25\nmodel : 1\nstepping : 1\nflags : fpu\n");
    case.fake.remove("sys/bus/event_source/devices/intel_pt/type");
    case.fake.write("boot/config-6.1.0-28-amd64", "CONFIG_PERF_EVENTS=y\nCONFIG_CPU_SUP_INTEL=y\n");
    let report = case.examine();
    let Outcome::Cannot(why) = &report.outcome else { panic!("{report:?}") };
    assert!(why.starts_with("no Intel PT on this host (this is no Intel processor)"), "{why}");
    assert!(why.contains("analyze, view, simulate and demo work"), "{why}");
    let to_do: Vec<&str> = report.checks.iter().filter(|c| c.to_do.is_some()).map(|c| c.name.as_str()).collect();
    assert_eq!(to_do, ["intel_pt"]);
    assert_eq!(find(&report, "CONFIG_KVM_INTEL").verdict, Verdict::NotOk);
    assert_eq!(find(&report, "Intel PT").found, "there is none");
}

#[test]
fn a_kernel_without_events_keeps_the_processors_trace_away() {
    let case = Case::new();
    case.fake.remove("sys/bus/event_source/devices/intel_pt/type");
    case.fake.remove("boot/config-6.1.0-28-amd64");
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(b"# CONFIG_PERF_EVENTS is not set\nCONFIG_CPU_SUP_INTEL=y\nCONFIG_KVM_INTEL_X=y\n").unwrap();
    std::fs::write(case.fake.host.path("proc/config.gz"), gz.finish().unwrap()).unwrap();
    let report = case.examine();
    assert!(matches!(report.outcome, Outcome::Cannot(_)));
    let config = |name| (find(&report, name).verdict, find(&report, name).to_do.is_some());
    assert_eq!(config("CONFIG_PERF_EVENTS"), (Verdict::NotOk, true));
    assert_eq!(config("CONFIG_CPU_SUP_INTEL"), (Verdict::Ok, false));
    assert_eq!(config("CONFIG_KVM_INTEL"), (Verdict::NotOk, true));
}

#[test]
fn a_config_that_is_no_gzip_is_looked_for_elsewhere() {
    let case = Case::new();
    case.fake.write("proc/config.gz", "CONFIG_PERF_EVENTS=n");
    assert_eq!(case.examine().outcome, Outcome::Can);
}

#[test]
fn what_the_processor_lacks() {
    for (cap, verdict, outcome, says) in [
        ("psb_cyc", Verdict::NotOk, Outcome::WithLimits, "no CYC packets"),
        ("mtc", Verdict::NotOk, Outcome::WithLimits, "no MTC packets"),
        ("event_trace", Verdict::Note, Outcome::Can, "no Event Trace"),
        ("power_event_trace", Verdict::Note, Outcome::Can, "no power event trace"),
        ("topa_multiple_entries", Verdict::Note, Outcome::Can, "one piece of memory"),
    ] {
        let case = Case::new();
        case.fake.write(&format!("{CAPS}/{cap}"), "0\n");
        let (check, of_all) = case.only(cap);
        assert_eq!((check.verdict, check.prevents, &of_all), (verdict, false, &outcome), "{cap}");
        assert!(check.found.contains(says), "{check:?}");
    }
}

#[test]
fn a_kernel_that_is_too_old() {
    let case = Case::new();
    case.fake.write(&format!("{CAPS}/event_trace"), "0\n");
    case.fake.write("proc/sys/kernel/osrelease", "4.16.2\n");
    case.fake.write("boot/config-4.16.2", "CONFIG_PERF_EVENTS=y\nCONFIG_CPU_SUP_INTEL=y\nCONFIG_KVM_INTEL=y\n");
    let (check, outcome) = case.only("release");
    assert!(check.to_do.unwrap().contains("4.17") && outcome == Outcome::WithLimits);
    let report = case.examine();
    assert!(find(&report, "event_trace").found.contains("this kernel does not know"));
    case.fake.remove("sys/bus/event_source/devices/intel_pt/format/pt");
    let check = case.prevented("branch");
    assert!(check.to_do.unwrap().contains("--mode full"));
}

#[test]
fn broadwell() {
    let case = Case::new();
    case.fake.write(
        "proc/cpuinfo",
        "vendor_id : GenuineIntel\ncpu family : 6\nmodel : 79\nstepping : 1\n\
         flags : vmx constant_tsc nonstop_tsc intel_pt\n",
    );
    let (check, outcome) = case.only("branch");
    assert!(check.found.contains("branches or nothing") && outcome == Outcome::WithLimits);
}

#[test]
fn who_may_not_trace() {
    let mut case = Case::new();
    case.no_root();
    case.probes.refused = true;
    let check = case.prevented("perf_event_paranoid");
    assert!(check.found.contains("not permitted") && check.found.contains("3, and this program has neither"));
    assert!(check.to_do.unwrap().contains("setcap cap_perfmon"));
    let report = case.examine();
    assert_eq!(find(&report, "Intel PT").verdict, Verdict::Unknown);
    assert_eq!(find(&report, "cap_sys_ptrace").verdict, Verdict::NotOk);
    // All is there that should do, and does not.
    case.fake.write(STATUS, "CapEff:\t0000004000084000\n");
    let check = case.prevented("perf_event_paranoid");
    assert!(check.found.contains("(cap_perfmon); the kernel refuses nevertheless"), "{check:?}");
    case.probes.refused = false;
    assert_eq!(case.examine().outcome, Outcome::Can);
    // A host that lets all.
    case.fake.write("proc/sys/kernel/perf_event_paranoid", "-1\n");
    case.no_root();
    let (check, outcome) = case.only("cap_sys_ptrace");
    assert_eq!((check.verdict, outcome), (Verdict::NotOk, Outcome::WithLimits));
}

#[test]
fn memory_that_may_not_be_locked() {
    let case = Case::new();
    // 36 cpus have 36 times 516 kB, and 8 MB.
    case.fake.write(STATUS, "CapEff:\t0000004000080000\n");
    let check = case.prevented("locked memory");
    assert!(check.found.contains("rings of 36 cpus need 171.3 MB (4.8 MB each), and 27.4 MB may be"), "{check:?}");
    assert!(check.to_do.unwrap().contains("--buffer"));
    for (path, text) in [
        (LIMITS, "Max open files  1024  1024  files\nMax locked memory  unlimited  unlimited  bytes\n"),
        (LIMITS, "Max open files  1024  1024  files\nMax locked memory  160000000  160000000  bytes\n"),
        ("proc/sys/kernel/perf_event_mlock_kb", "5000\n"),
        ("proc/sys/kernel/perf_event_paranoid", "-1\n"),
        (STATUS, "CapEff:\t0000004000084000\n"),
    ] {
        let other = Case::new();
        other.fake.write(STATUS, "CapEff:\t0000004000080000\n");
        other.fake.write(path, text);
        assert_eq!(other.examine().outcome, Outcome::Can, "{path}");
    }
}

#[test]
fn too_few_files_may_be_open() {
    let case = Case::new();
    case.fake.write(LIMITS, "Max open files  100  100  files\n");
    assert_eq!(case.prevented("open files").to_do.unwrap(), "ulimit -n 172");
}

#[test]
fn guests_that_are_hidden() {
    let case = Case::new();
    case.fake.write("sys/module/kvm_intel/parameters/pt_mode", "1\n");
    let (check, outcome) = case.only("pt_mode");
    assert_eq!(check.found, "kvm_intel has pt_mode=1: guests are hidden from the host's trace");
    assert!(check.to_do.unwrap().ends_with("modprobe kvm_intel pt_mode=0") && outcome == Outcome::WithLimits);

    let case = Case::new();
    case.msr(!(1 << 14));
    let (check, outcome) = case.only("IA32_VMX_MISC[14]");
    assert!(check.found.contains("PARTIAL") && outcome == Outcome::WithLimits);
    case.fake.remove("dev/cpu/0/msr");
    let (check, outcome) = case.only("IA32_VMX_MISC[14]");
    assert!(check.verdict == Verdict::Unknown && check.to_do.is_some() && outcome == Outcome::Can);

    let case = Case::new();
    std::fs::remove_dir_all(case.fake.host.path("sys/module/kvm_intel")).unwrap();
    let (check, outcome) = case.only("kvm_intel");
    assert_eq!((check.verdict, outcome), (Verdict::Note, Outcome::Can));
}

#[test]
fn times_that_cannot_be_told() {
    let mut case = Case::new();
    case.fake.write("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n");
    assert_eq!(case.only("clocksource").1, Outcome::WithLimits);
    case.probes.clock = false;
    case.prevented("kernel's clock");
    let mut case = Case::new();
    case.probes.ratio = (0, 0);
    assert_eq!(case.only("CPUID 15H").1, Outcome::WithLimits);
    let case = Case::new();
    let cpuinfo = case.fake.host.read("proc/cpuinfo").unwrap();
    case.fake.write("proc/cpuinfo", &cpuinfo.replace("nonstop_tsc", ""));
    assert!(case.only("TSC").0.found.starts_with("without nonstop_tsc"));
}

#[test]
fn another_has_it() {
    let mut case = Case::new();
    case.probes.busy = vec![3, 4, 5, 9];
    assert_eq!(case.prevented("Intel PT").found, "Intel PT is in use on cpu 3-5,9");
    case.fake.write("proc/77/cmdline", "perf\0record\0-e\0intel_pt//\0");
    std::fs::create_dir_all(case.fake.host.path("proc/77/fd")).unwrap();
    symlink("anon_inode:[perf_event]", case.fake.host.path("proc/77/fd/5")).unwrap();
    let check = case.prevented("Intel PT");
    assert!(check.found.ends_with("perhaps by pid 77 (perf record -e intel_pt//)"), "{check:?}");
    // A recorder that leaves these cpus alone.
    case.options.cpus = vec![0, 1];
    let (check, outcome) = case.only("other perf events");
    assert!(check.verdict == Verdict::Note && check.found.contains("pid 77") && outcome == Outcome::Can);
    case.options.cpus = vec![40];
    assert!(case.prevented("cpus").to_do.unwrap().contains("0-35"));
}

#[test]
fn a_kernel_that_is_locked_down() {
    let case = Case::new();
    case.fake.write("sys/kernel/security/lockdown", "none integrity [confidentiality]\n");
    case.prevented("lockdown");
    case.fake.write("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
    assert_eq!(case.examine().outcome, Outcome::Can);
}

#[test]
fn no_room() {
    let mut case = Case::new();
    case.probes.free = 100_000_000;
    let (check, outcome) = case.only("disk");
    assert!(check.to_do.unwrap().contains("--max-size") && outcome == Outcome::WithLimits);
    case.probes.free = 1_000_000;
    case.prevented("disk");
    case.probes.read_only = true;
    assert!(case.prevented("disk").found.contains("read-only"));
    case.options.output.target = Target::Stdout;
    assert_eq!(case.only("disk").0.verdict, Verdict::Note);
    case.fake.write("proc/meminfo", "MemAvailable: 100000 kB\n");
    case.prevented("memory");
}

#[test]
fn this_machine_tells_its_room() {
    let dir = tempfile::tempdir().unwrap();
    let room = |path: PathBuf| ThisMachine.room(&options(Target::File(path)).output);
    assert!(room(dir.path().join("perf.data")).unwrap() > 0);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing stays");
    assert!(matches!(room(dir.path().join("no/perf.data")), Err(CaptureError::Output { .. })));
}
