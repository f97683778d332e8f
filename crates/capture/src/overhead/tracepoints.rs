//! The kernel's tracepoints, as perf records them (man 2 perf_event_open, `PERF_TYPE_TRACEPOINT`; Linux
//! `Documentation/trace/events.rst`): every hit is a sample with thread, time, cpu and what the tracepoint says.
//!
//! A cpu has one ring, of its first event; the others write into that. It is read as rings of trace are, and written to a
//! file as it is: so the comparison is one of what is recorded, and not of who reads it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use havana_trace::perf_data::{Attribute, CpuCost, Flags};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::event::{Control, Event};
use crate::ring::{Rings, Size};
use crate::session::{Cpu, Events, Filled, Session, Taker};
use crate::{CaptureError, Host};

/// Where the kernel tells of them: since Linux 4.1, and before.
const PLACES: [&str; 2] = ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"];

/// Which tracepoints: `GROUP:NAME`, or `GROUP:*` for all of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    group: String,
    name: String,
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Pattern, String> {
        let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let (group, name) = text
            .split_once(':')
            .filter(|(group, name)| is_name(group) && (*name == "*" || is_name(name)))
            .ok_or("should be GROUP:NAME or GROUP:*, such as kvm:kvm_exit or kvm:*")?;
        Ok(Pattern { group: group.into(), name: name.into() })
    }
}

/// Tracepoints of a kernel, one at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracepoints {
    first: u64,
    others: Vec<u64>,
    names: Vec<String>,
}

impl Tracepoints {
    /// All that are meant.
    ///
    /// # Errors
    /// That they cannot be looked up here, or that there is none for one of the patterns.
    pub fn find(host: &Host, patterns: &[Pattern]) -> Result<Tracepoints, CaptureError> {
        let cannot = |what: String| CaptureError::CannotDo { what };
        let events = PLACES.into_iter().find(|place| host.path(place).is_dir()).ok_or_else(|| {
            cannot(
                "tracefs is not mounted, or not to be read: as root, mount -t tracefs nodev /sys/kernel/tracing".into(),
            )
        })?;
        let mut found = BTreeMap::new();
        for Pattern { group, name } in patterns {
            let dir = format!("{events}/{group}");
            let names = if name == "*" { names_in(&host.path(&dir)) } else { vec![name.clone()] };
            let mut meant = 0;
            for name in names {
                if let Some(id) = host.number(&format!("{dir}/{name}/id")).and_then(|id| u64::try_from(id).ok()) {
                    found.insert(format!("{group}:{name}"), id);
                    meant += 1;
                }
            }
            if meant == 0 {
                let hint = if group == "kvm" { " (is kvm loaded?)" } else { "" };
                return Err(cannot(format!("this kernel has no tracepoint {group}:{name}{hint}")));
            }
        }
        let (names, ids): (Vec<String>, Vec<u64>) = found.into_iter().unzip();
        let (&first, others) = ids.split_first().ok_or_else(|| cannot("no tracepoint was named".into()))?;
        Ok(Tracepoints { first, others: others.into(), names })
    }

    /// What they are called.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The tracepoints of one cpu, which all write into the ring of the first.
struct Group {
    first: Event,
    others: Vec<Event>,
}

impl Group {
    fn all(&self) -> impl Iterator<Item = &Event> {
        [&self.first].into_iter().chain(&self.others)
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.first.as_fd()
    }
}

impl Control for Group {
    fn id(&self) -> u64 {
        self.first.id()
    }

    fn enable(&self) -> Result<(), Errno> {
        self.all().try_for_each(Control::enable)
    }

    fn disable(&self) -> Result<(), Errno> {
        self.all().try_for_each(Control::disable)
    }

    /// A sample is in the ring as soon as it is written.
    fn flush(&self) -> Result<(), Errno> {
        Ok(())
    }

    fn pause_output(&self, pause: bool) -> Result<(), Errno> {
        self.first.pause_output(pause)
    }
}

/// A recording of tracepoints that goes on.
pub(super) struct Recording {
    session: Session,
    file: Plain,
}

impl Recording {
    /// Begins, on these cpus, with rings of so many bytes.
    pub(super) fn start(
        tracepoints: &Tracepoints,
        cpus: &[u32],
        ring_bytes: usize,
        path: &Path,
    ) -> Result<Recording, CaptureError> {
        let file = File::create(path).map_err(|error| CaptureError::Output { path: path.into(), error })?;
        let file = Plain { file, path: path.into() };
        let attribute = |id| Attribute {
            pmu: Attribute::TRACEPOINT,
            config: id,
            sample_type: Attribute::OF_TRACEPOINT,
            flags: Flags::DISABLED | Flags::WATERMARK,
            read_format: Attribute::READ_ID,
            wakeup_watermark: u32::try_from(ring_bytes / 4).unwrap_or(u32::MAX),
            aux_watermark: 0,
        };
        let size = Size { data: ring_bytes, aux: 0 };
        let wanted = cpus.len() * (1 + tracepoints.others.len());
        let cpus = with_more_files(|| {
            let each = cpus.iter().map(|&cpu| {
                let open = |id| Event::open(&attribute(id), cpu).map_err(|errno| of_open(errno, wanted));
                let first = open(tracepoints.first)?;
                let mb = ring_bytes.div_ceil(1 << 20) as u64;
                let rings = Rings::of_event(first.as_fd(), size, false);
                let rings = rings.map_err(|errno| CaptureError::of_map(errno, mb))?;
                let others = tracepoints.others.iter().map(|&id| {
                    let event = open(id)?;
                    event.write_into(&first).map_err(CaptureError::system("PERF_EVENT_IOC_SET_OUTPUT"))?;
                    Ok(event)
                });
                let others = others.collect::<Result<_, CaptureError>>()?;
                Ok(Cpu::new(cpu, None, Filled { control: Box::new(Group { first, others }), rings }))
            });
            each.collect::<Result<Vec<Cpu>, CaptureError>>()
        })?;
        let events = Events { trace: None, records: attribute(tracepoints.first), size, overwritten: false };
        let session = Session::of(events, cpus)?;
        session.enable()?;
        Ok(Recording { session, file })
    }

    /// Goes on until `end` becomes readable; then takes the rest.
    pub(super) fn run(&mut self, end: BorrowedFd<'_>) -> Result<Vec<CpuCost>, CaptureError> {
        self.session.watch(end, END)?;
        loop {
            let woken = self.session.wait(PATIENCE)?;
            if woken.contains(&END) {
                break;
            }
            self.take()?;
        }
        // Events are closed by who drops this: to take hundreds of them down costs more than to read them.
        self.take()?;
        Ok(self.session.cpus.iter().map(|cpu| cpu.cost).collect())
    }

    fn take(&mut self) -> Result<(), CaptureError> {
        let Recording { session, file } = self;
        let taken = session.take(file);
        taken.map(|_| ()).map_err(|error| CaptureError::Output { path: file.path.clone(), error })
    }
}

const END: u64 = 0;
/// Rings are emptied this often, if not full before: as a recording of trace is.
const PATIENCE: Duration = Duration::from_secs(2);

/// A file of records as they come.
struct Plain {
    file: File,
    path: PathBuf,
}

impl Taker for Plain {
    fn records(&mut self, _: u32, bytes: [&[u8]; 2]) -> io::Result<()> {
        bytes.into_iter().try_for_each(|bytes| self.file.write_all(bytes))
    }

    fn trace(&mut self, _: u32, _: u64, _: [&[u8]; 2]) -> io::Result<()> {
        Ok(())
    }
}

fn of_open(errno: Errno, wanted: usize) -> CaptureError {
    match errno {
        Errno::ACCESS | Errno::PERM => CaptureError::NotPermitted,
        Errno::MFILE | Errno::NFILE => CaptureError::CannotDo {
            what: format!("too many open files: raise ulimit -n, tracepoints need {wanted} (or say fewer --cpus)"),
        },
        errno => CaptureError::system("perf_event_open of a tracepoint")(errno),
    }
}

/// With as many open files as this process may ever have: a group of events has some hundred, each opened on each cpu. The
/// workload is left the limit that it would have had.
fn with_more_files<T>(open: impl FnOnce() -> T) -> T {
    let before = getrlimit(Resource::Nofile);
    // Where it may not be raised, opening says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, ..before });
    let opened = open();
    let _ = setrlimit(Resource::Nofile, before);
    opened
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FakeHost;

    fn patterns(list: &[&str]) -> Vec<Pattern> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn tracepoints_by_name_and_by_group() {
        let fake = FakeHost::new();
        let find = |list: &[&str]| Tracepoints::find(&fake.host, &patterns(list));
        assert!(find(&["kvm:*"]).unwrap_err().to_string().contains("mount -t tracefs"));
        for (name, id) in [("kvm/kvm_exit", 71), ("kvm/kvm_entry", 70), ("sched/sched_switch", 9), ("sched/other", 8)] {
            fake.write(&format!("sys/kernel/debug/tracing/events/{name}/id"), &format!("{id}\n"));
        }
        fake.write("sys/kernel/debug/tracing/events/kvm/enable", "0\n");
        let found = find(&["kvm:*", "sched:sched_switch", "kvm:kvm_exit"]).unwrap();
        assert_eq!(found.names(), ["kvm:kvm_entry", "kvm:kvm_exit", "sched:sched_switch"]);
        assert_eq!((found.first, &found.others[..]), (70, &[71, 9][..]));
        assert_eq!(find(&["irq:*"]).unwrap_err().to_string(), "this kernel has no tracepoint irq:*");
        fs::remove_dir_all(fake.host.path("sys/kernel/debug/tracing/events/kvm")).unwrap();
        assert!(find(&["kvm:*"]).unwrap_err().to_string().contains("is kvm loaded?"));
    }

    #[test]
    fn patterns_that_are_none() {
        for bad in ["", "kvm", "kvm:", ":x", "kvm:kvm_*", "../x:y", "kvm:a/b", "a:b:c"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }
}
