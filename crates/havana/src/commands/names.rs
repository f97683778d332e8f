//! `--names FILE`: what VMs are called, for traces that do not say.
//!
//! Either TOML, or a VM a line, as `ps` prints them; programs that are no VMM are passed over:
//!
//! ```text
//! [[vm]]                                          4711  4dea22b3-1d52-d8f3-2516-782e98ab3fa0  web-2
//! pid = 4711
//! name = "web-2"                                  4711 qemu-system-x86_64 -name guest=web-2,debug-threads=on -uuid …
//! ```
//!
//! A VM is found by `pid` (of its VMM), by `host_cr3` or by the name that it has already.

use std::path::Path;

use anyhow::{Context, bail};
use havana_capture::before::guest_of;
use havana_rows::{CpuState, Exit, Loss, Process, Sink, Thread, Vcpu, VcpuState, Vm, VmOffset};
use havana_trace::perf_data::VmNote;
use serde::Deserialize;

/// What one VM is called.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pid: Option<i32>,
    uuid: Option<String>,
    name: Option<String>,
    host_cr3: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    vm: Vec<Entry>,
}

/// What VMs are called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    entries: Vec<Entry>,
    /// So many of them, the first, were given by the user.
    given: usize,
}

impl Names {
    /// Reads a file of either kind.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Names> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Names::parse(&text).with_context(|| path.display().to_string())
    }

    /// These, and where they say nothing what the recorder found on the host.
    pub(crate) fn and_found<'a>(&self, vms: impl Iterator<Item = &'a VmNote>) -> Names {
        let found =
            vms.map(|vm| Entry { pid: Some(vm.pid), uuid: vm.uuid.clone(), name: vm.name.clone(), host_cr3: None });
        let mut all = self.clone();
        all.given = self.entries.len();
        all.entries.extend(found);
        all
    }

    fn parse(text: &str) -> anyhow::Result<Names> {
        if text.lines().any(|line| line.starts_with("[[")) {
            let file: File = toml::from_str(text).map_err(|error| {
                let at = error.span().map_or(0, |span| span.start);
                let line = text.get(..at).map_or(0, |t| t.matches('\n').count()) + 1;
                anyhow::anyhow!("line {line}: {}", error.message().replace('\n', " "))
            })?;
            return Ok(Names::given(file.vm));
        }
        let mut entries = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            let ruled = line.chars().all(|c| c == '-' || c.is_whitespace());
            if line.starts_with('#') || ruled {
                continue;
            }
            let entry = line_entry(line);
            // A command line that names no VM.
            if entry.name.is_none() && entry.pid.is_some() {
                continue;
            }
            if entry.name.is_some() && (entry.pid.is_some() || entry.uuid.is_some()) {
                entries.push(entry);
            } else if i > 0 {
                bail!("line {}: not a VM's pid or uuid, and name: {line}", i + 1);
            }
        }
        if entries.is_empty() {
            bail!("no VM in it; a line should have a pid or uuid, and a name");
        }
        Ok(Names::given(entries))
    }

    fn given(entries: Vec<Entry>) -> Names {
        Names { given: entries.len(), entries }
    }

    /// What this VM is called, and whether the user says so.
    fn of(&self, vm: &Vm) -> Option<(&Entry, bool)> {
        let (given, found) = self.entries.split_at(self.given);
        let of = |entries| Self::among(entries, vm);
        of(given).map(|e| (e, true)).or_else(|| of(found).map(|e| (e, false)))
    }

    /// Names a VM: whether the user says what it is called.
    pub(crate) fn name(&self, row: &mut Vm) -> bool {
        let Some((entry, given)) = self.of(row) else { return false };
        row.name = entry.name.clone().or(row.name.take());
        row.uuid = entry.uuid.clone().or(row.uuid.take());
        row.pid = row.pid.or(entry.pid);
        given
    }

    fn among<'a>(entries: &'a [Entry], vm: &Vm) -> Option<&'a Entry> {
        let by = |same: &dyn Fn(&Entry) -> bool| entries.iter().find(|e| same(e));
        by(&|e| e.pid.is_some() && e.pid == vm.pid)
            .or_else(|| by(&|e| e.host_cr3.is_some_and(|cr3| cr3 & !0x1fff == vm.host_cr3)))
            .or_else(|| by(&|e| e.name.is_some() && e.name == vm.name))
    }
}

/// A VM as `virsh` or `ps` prints it: words in any order.
fn line_entry(line: &str) -> Entry {
    let mut entry = Entry::default();
    let words: Vec<&str> = line.split_whitespace().collect();
    let option = |name: &str| words.iter().position(|w| *w == name).and_then(|i| words.get(i + 1)).copied();
    entry.uuid = words.iter().find(|w| is_uuid(w)).map(|w| (*w).to_string());
    entry.pid = words.iter().find_map(|w| w.parse().ok());
    // QEMU's `-name guest=NAME,…` or `-name NAME`; Firecracker's `--id NAME`.
    let guest = option("-name").map(guest_of);
    let plain = |w: &&&str| !is_uuid(w) && w.parse::<i64>().is_err();
    let program = words.iter().any(|w| w.starts_with('-') && w.len() > 1);
    let name =
        guest.or_else(|| option("--id")).or_else(|| if program { None } else { words.iter().find(plain).copied() });
    entry.name = name.map(str::to_string);
    entry
}

fn is_uuid(word: &str) -> bool {
    word.len() == 36
        && word.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// A sink before the sink, which names VMs.
pub(crate) struct Named<'a, S> {
    names: &'a Names,
    named: usize,
    pub(crate) sink: S,
}

impl<'a, S> Named<'a, S> {
    pub(crate) fn new(names: &'a Names, sink: S) -> Self {
        Named { names, named: 0, sink }
    }

    /// What to say where names were given and nobody has one.
    pub(crate) fn warning(&self) -> Option<String> {
        let given = self.names.given;
        (given > 0 && self.named == 0)
            .then(|| format!("none of the {given} names is of a VM of this trace: by no pid, host_cr3 or name"))
    }
}

macro_rules! hands_on {
    ($($method:ident: $row:ty),+ $(,)?) => {
        $(fn $method(&mut self, row: $row) -> Result<(), S::Error> {
            self.sink.$method(row)
        })+
    };
}

impl<S: Sink> Sink for Named<'_, S> {
    type Error = S::Error;

    hands_on! {
        cpu_state: CpuState, vcpu_state: VcpuState, exit: Exit, loss: Loss, vm_offset: VmOffset, vcpu: Vcpu,
        process: Process, thread: Thread,
    }

    fn vm(&mut self, mut row: Vm) -> Result<(), S::Error> {
        self.named += usize::from(self.names.name(&mut row));
        self.sink.vm(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0";

    fn entry(pid: Option<i32>, uuid: Option<&str>, name: &str) -> Entry {
        Entry { pid, uuid: uuid.map(Into::into), name: Some(name.into()), host_cr3: None }
    }

    #[test]
    fn lines_as_tools_print_them() {
        let text = format!(
            " Id   Name     State\n----------------------\n 4711 web-2 running\n{UUID} db-1\n\
             700 /usr/bin/vim --name foo bar\n114 cloud-hypervisor --api-socket /a\n\
             4712 /usr/bin/qemu-system-x86_64 -name guest=mail,debug-threads=on -uuid {UUID} -m 512\n\
             4713 qemu-kvm -name old -smp 2\n4714 firecracker --id f1 --api-sock /a\n"
        );
        let expected = [
            entry(Some(4711), None, "web-2"),
            entry(None, Some(UUID), "db-1"),
            entry(Some(4712), Some(UUID), "mail"),
            entry(Some(4713), None, "old"),
            entry(Some(4714), None, "f1"),
        ];
        assert_eq!(Names::parse(&text).unwrap().entries, expected);
    }

    #[test]
    fn toml() {
        let text = "[[vm]]\npid = 7\nname = \"a\"\n[[vm]]\nhost_cr3 = 0x686e000\nname = \"b\"\n";
        let names = Names::parse(text).unwrap();
        assert_eq!(names.entries[0], entry(Some(7), None, "a"));
        assert_eq!(names.entries[1].host_cr3, Some(0x686_e000));
        let said = |text: &str| Names::parse(text).unwrap_err().to_string();
        assert!(said("[[vm]]\npid = 7\nnam = \"a\"\n").starts_with("line 3: unknown field `nam`"));
        assert!(
            said("[[vms]]\npid = 7\n").starts_with("line 1: unknown field `vms`"),
            "{}",
            said("[[vms]]\npid = 7\n")
        );
        assert_eq!(said("web\n"), "no VM in it; a line should have a pid or uuid, and a name");
        assert_eq!(said("7 web\nweb\n"), "line 2: not a VM's pid or uuid, and name: web");
    }
}
