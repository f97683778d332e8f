//! What the machine is and can do, as sysfs, procfs and the processor say.
//!
//! All files are read under a root, `/` but in tests. A file that is not there is a fact too: nothing here fails but
//! [`Host::pmu`].

mod cpus;
mod own;
mod pmu;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use havana_trace::UNNAMED;
pub use havana_trace::{cpu_list, parse_cpu_list};
pub use own::{be_nice, cpu_time, end_of, run_on};
pub use pmu::{Field, Pmu};

/// A machine.
#[derive(Debug, Clone)]
pub struct Host {
    root: PathBuf,
    here: bool,
}

/// A processor, as `/proc/cpuinfo` has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Processor {
    /// `GenuineIntel`.
    pub vendor: String,
    /// Family, model, stepping.
    pub model: Option<(u32, u32, u32)>,
    /// In words.
    pub name: String,
    /// What it can do, and the hypervisor lets it.
    pub flags: Vec<String>,
}

impl Processor {
    /// As perf writes it: `GenuineIntel,6,85,4`.
    pub fn id(&self) -> String {
        self.model.map_or_else(String::new, |(f, m, s)| format!("{},{f},{m},{s}", self.vendor))
    }

    /// It has this flag.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }

    /// Broadwell: it traces branches or nothing (Linux `arch/x86/events/intel/pt.c`, BDM106).
    pub fn always_branches(&self) -> bool {
        matches!(self.model, Some((6, 0x3d | 0x47 | 0x4f | 0x56, _)))
    }
}

impl Host {
    /// This machine.
    pub fn here() -> Host {
        Host { root: "/".into(), here: true }
    }

    /// One whose files lie under `root`.
    pub fn at(root: &Path) -> Host {
        Host { root: root.into(), here: false }
    }

    /// A path of it, absolute.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A file of it.
    ///
    /// # Errors
    /// The system's own.
    pub fn read(&self, path: &str) -> io::Result<String> {
        fs::read_to_string(self.path(path))
    }

    /// A file of it, to read bytes from.
    ///
    /// # Errors
    /// The system's own.
    pub fn open(&self, path: &str) -> io::Result<fs::File> {
        fs::File::open(self.path(path))
    }

    /// The first line of a file, without what is white around it. `None` where it cannot be read.
    pub fn line(&self, path: &str) -> Option<String> {
        Some(self.read(path).ok()?.lines().next()?.trim().to_string())
    }

    /// A number in a file.
    pub fn number(&self, path: &str) -> Option<i64> {
        self.line(path)?.parse().ok()
    }

    /// Its kernel's release.
    pub fn release(&self) -> String {
        self.line("/proc/sys/kernel/osrelease").unwrap_or_default()
    }

    /// The same as numbers: `(6, 1)`.
    pub fn version(&self) -> Option<(u32, u32)> {
        let release = self.release();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }

    /// Its name; empty where it has none.
    pub fn name(&self) -> String {
        self.line("/proc/sys/kernel/hostname").filter(|name| name != UNNAMED).unwrap_or_default()
    }

    /// Whether KVM lets guests have guests of their own. `None` where it is not loaded.
    pub fn nested(&self) -> Option<bool> {
        self.line("/sys/module/kvm_intel/parameters/nested").map(|on| on == "Y" || on == "1")
    }

    /// Its first processor.
    pub fn processor(&self) -> Processor {
        let text = self.read("/proc/cpuinfo").unwrap_or_default();
        let first = text.split("\n\n").next().unwrap_or_default();
        let value = |key: &str| {
            let line = first.lines().find(|line| line.split(':').next().is_some_and(|k| k.trim() == key))?;
            Some(line.split_once(':')?.1.trim().to_string())
        };
        let number = |key: &str| value(key)?.parse().ok();
        Processor {
            vendor: value("vendor_id").unwrap_or_default(),
            model: number("cpu family")
                .zip(number("model"))
                .zip(number("stepping"))
                .map(|((family, model), stepping)| (family, model, stepping)),
            name: value("model name").unwrap_or_default(),
            flags: value("flags").unwrap_or_default().split_whitespace().map(String::from).collect(),
        }
    }

    /// TSC ticks a crystal tick: CPUID leaf 15H, EBX and EAX. Zeros where it does not say, or is not this machine.
    pub fn tsc_ctc_ratio(&self) -> (u32, u32) {
        #[cfg(target_arch = "x86_64")]
        if self.here && std::arch::x86_64::__cpuid(0).eax >= 0x15 {
            let leaf = std::arch::x86_64::__cpuid(0x15);
            if leaf.eax > 0 && leaf.ebx > 0 {
                return (leaf.ebx, leaf.eax);
            }
        }
        (0, 0)
    }
}

/// The TSC now. 0 where there is none.
pub fn tsc() -> i64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has RDTSC, and Linux lets user space use it.
    return unsafe { std::arch::x86_64::_rdtsc() }.cast_signed();
    #[cfg(not(target_arch = "x86_64"))]
    0
}

/// A host that is a directory, for tests to put files into.
#[cfg(test)]
pub(crate) struct FakeHost {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) host: Host,
}

#[cfg(test)]
impl FakeHost {
    pub(crate) fn new() -> FakeHost {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::at(dir.path());
        FakeHost { dir, host }
    }

    /// One with all that there is under a directory.
    pub(crate) fn like(from: &Path) -> FakeHost {
        let fake = FakeHost::new();
        copy(from, fake.dir.path()).unwrap();
        fake
    }

    pub(crate) fn remove(&self, path: &str) {
        fs::remove_file(self.host.path(path)).unwrap();
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.host.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[cfg(test)]
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_in_words_and_numbers() {
        let fake = FakeHost::new();
        fake.write(
            "proc/cpuinfo",
            "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 79\nmodel name\t: Xeon: a big one\n\
             stepping\t: 1\nflags\t\t: fpu vme intel_pt\n\nprocessor\t: 1\nvendor_id\t: Other\n",
        );
        let processor = fake.host.processor();
        assert_eq!(processor.id(), "GenuineIntel,6,79,1");
        assert_eq!(processor.name, "Xeon: a big one");
        assert!(processor.has("intel_pt") && !processor.has("pt") && processor.always_branches());
        assert_eq!(Host::at(&fake.dir.path().join("nothing")).processor(), Processor::default());
    }
}
