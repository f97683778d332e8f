//! VMs of the host: which processes are VMMs, what their guests are called, and which threads are vCPUs.
//!
//! A VMM is known by its program, or by KVM's own list of VMs (debugfs), or by the VM that it holds open. Names come from
//! its command line. vCPU threads are known by what each VMM calls them:
//!
//! | VMM | name of the guest | thread of vCPU 3 |
//! | --- | --- | --- |
//! | QEMU, also libvirt's | `-name guest=NAME,…` | `CPU 3/KVM` (with `debug-threads=on`) |
//! | Firecracker | `--id NAME` | `fc_vcpu 3` |
//! | Cloud Hypervisor | `--api-socket …/NAME.sock` | `vcpu3` |
//! | crosvm | `--name NAME` | `crosvm_vcpu3` |
//! | others | what stands before `/vcpu` | `NAME/vcpu3` |

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use havana_trace::perf_data::VmNote;

use super::Process;
use crate::Host;

/// VMs, and what changed since they were last looked for.
///
/// It is looked for every two seconds, on hosts of thousands of processes: who was looked at a few times and has no VM is
/// passed over for some minutes, and a VM whose threads are the same is not read again.
#[derive(Debug, Default)]
pub struct Inventory {
    known: Vec<VmNote>,
    seen: HashMap<i32, Seen>,
    looks: u32,
}

/// What a process was when it was looked at last.
#[derive(Debug, Default)]
struct Seen {
    /// So often it was looked at, and was the same.
    looks: u32,
    tids: Vec<i32>,
    is: Is,
}

/// What a process is to us.
#[derive(Debug, Default, PartialEq)]
enum Is {
    #[default]
    Nothing,
    Vm(VmNote),
    /// A kernel thread that works for the devices of that VMM.
    Vhost(i32),
}

/// A process may become a VMM, and name its threads, so many looks after it was first seen.
const SETTLED: u32 = 5;
/// After so many, each is looked at once more, in turn: a number may be another's by now.
const TURNS: u32 = 150;

impl Inventory {
    /// Looks again: those that are new, or changed.
    pub fn refresh(&mut self, host: &Host) -> Vec<VmNote> {
        self.looks += 1;
        let turn = |pid: i32| pid.unsigned_abs() % TURNS == self.looks % TURNS;
        let nested = host.nested() == Some(true);
        let listed = listed(host);
        let mut before = std::mem::take(&mut self.seen);
        for process in Process::all(host) {
            let mut seen = before.remove(&process.pid).unwrap_or_default();
            let news = match &seen.is {
                Is::Vm(_) => {
                    let tids = process.thread_ids();
                    std::mem::replace(&mut seen.tids, tids) != seen.tids
                }
                _ => listed.as_ref().is_some_and(|listed| listed.contains(&process.pid)),
            };
            if news || seen.looks < SETTLED || turn(process.pid) {
                let is = look(&process, listed.as_ref(), nested);
                seen.looks = if news || is != seen.is { 0 } else { seen.looks + 1 };
                seen.is = is;
            }
            self.seen.insert(process.pid, seen);
        }
        let now = self.vms();
        let news = now.iter().filter(|vm| !self.known.contains(vm)).cloned().collect();
        self.known = now;
        news
    }

    /// All that were there the last time.
    pub fn all(&self) -> &[VmNote] {
        &self.known
    }

    fn vms(&self) -> Vec<VmNote> {
        let is_vm = |seen: &Seen| if let Is::Vm(vm) = &seen.is { Some(vm.clone()) } else { None };
        let mut vms: Vec<VmNote> = self.seen.values().filter_map(is_vm).collect();
        vms.sort_by_key(|vm| vm.pid);
        let mut vhost: Vec<(i32, i32)> = self
            .seen
            .iter()
            .filter_map(|(tid, seen)| if let Is::Vhost(owner) = seen.is { Some((*tid, owner)) } else { None })
            .collect();
        vhost.sort_unstable();
        for (tid, owner) in vhost {
            if let Some(vm) = vms.iter_mut().find(|vm| vm.pid == owner) {
                vm.vhost.push(tid);
            }
        }
        vms
    }
}

fn look(process: &Process, listed: Option<&HashSet<i32>>, nested: bool) -> Is {
    let command = process.command();
    if command.is_empty() {
        let name = process.name();
        return name.as_deref().and_then(vhost_owner).map_or(Is::Nothing, Is::Vhost);
    }
    let vmm = vmm_of(&command);
    let is_one = match (listed, vmm) {
        (Some(listed), _) => listed.contains(&process.pid),
        (None, Some(_)) => true,
        (None, None) => process.has_open("anon_inode:kvm-vm"),
    };
    if !is_one {
        return Is::Nothing;
    }
    let mut vm = vm(process.pid, vmm.unwrap_or("other"), &command, &process.threads());
    vm.nested = nested && offers_vmx(&command);
    Is::Vm(vm)
}

/// Processes that have VMs, as KVM lists them: a directory `PID-FD` each. `None` where that cannot be read.
fn listed(host: &Host) -> Option<HashSet<i32>> {
    let entries = fs::read_dir(host.path("/sys/kernel/debug/kvm")).ok()?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    Some(names.filter_map(|name| name.split_once('-')?.0.parse().ok()).collect())
}

/// Which VMM a command line is of.
fn vmm_of(command: &[String]) -> Option<&'static str> {
    let program = Path::new(command.first()?).file_name()?.to_str()?;
    match program {
        name if name.starts_with("qemu-system-") || name == "qemu-kvm" || name == "kvm" => Some("qemu"),
        "firecracker" => Some("firecracker"),
        "cloud-hypervisor" => Some("cloud-hypervisor"),
        "crosvm" if command.get(1).is_some_and(|word| word == "run") => Some("crosvm"),
        _ => None,
    }
}

/// `vhost-4711` works for process 4711.
fn vhost_owner(name: &str) -> Option<i32> {
    name.strip_prefix("vhost-")?.split('-').next()?.parse().ok()
}

/// The value of an option: `--name VALUE` or `--name=VALUE`.
fn option<'a>(command: &'a [String], names: &[&str]) -> Option<&'a str> {
    command.iter().enumerate().find_map(|(at, word)| {
        if names.contains(&word.as_str()) {
            return command.get(at + 1).map(String::as_str);
        }
        let (name, value) = word.split_once('=')?;
        names.contains(&name).then_some(value)
    })
}

/// The guest's name in the value of QEMU's `-name`: `guest=NAME,…`, or what stands first.
pub fn guest_of(value: &str) -> &str {
    let named = value.split(',').find_map(|part| part.strip_prefix("guest="));
    named.unwrap_or_else(|| value.split(',').next().unwrap_or(value))
}

fn vm(pid: i32, vmm: &str, command: &[String], threads: &[(i32, String)]) -> VmNote {
    let stem = |path: &str| Some(Path::new(path.trim_start_matches("path=")).file_stem()?.to_str()?.to_string());
    let mut name = match vmm {
        "qemu" => option(command, &["-name", "--name"]).map(|value| guest_of(value).to_string()),
        "firecracker" => option(command, &["--id"]).map(str::to_string),
        "cloud-hypervisor" => option(command, &["--api-socket"]).and_then(stem),
        "crosvm" => option(command, &["--name"]).map(str::to_string),
        _ => None,
    };
    let mut vcpus = Vec::new();
    for (tid, thread) in threads {
        let Some((of, index)) = vcpu_of(thread) else { continue };
        vcpus.push((*tid, index));
        if name.is_none() && !of.is_empty() {
            name = Some(of.to_string());
        }
    }
    let uuid = option(command, &["-uuid", "--uuid"]).map(str::to_lowercase);
    VmNote {
        pid,
        vmm: vmm.into(),
        name,
        uuid,
        libvirt: vmm == "qemu" && command.iter().any(|word| word.contains("/libvirt/")),
        nested: false,
        vcpus,
        vhost: threads.iter().filter(|(_, name)| vhost_owner(name) == Some(pid)).map(|(tid, _)| *tid).collect(),
    }
}

/// The guest's name, where a thread's has it, and which vCPU it is.
fn vcpu_of(thread: &str) -> Option<(&str, u32)> {
    if let Some(index) = thread.strip_prefix("CPU ").and_then(|rest| rest.strip_suffix("/KVM")) {
        return Some(("", index.parse().ok()?));
    }
    let (before, index) = thread.split_once("vcpu")?;
    let index = index.trim_start_matches([' ', '_']).parse().ok()?;
    match before {
        "" | "fc_" | "crosvm_" => Some(("", index)),
        named => named.strip_suffix('/').map(|name| (name, index)),
    }
}

/// A guest that is offered VMX may have guests of its own.
fn offers_vmx(command: &[String]) -> bool {
    match option(command, &["-cpu", "--cpu"]) {
        Some(model) => {
            let off = model.split(',').any(|part| matches!(part, "-vmx" | "vmx=off"));
            let on = model.split(',').any(|part| matches!(part, "+vmx" | "vmx=on" | "host" | "max"));
            on && !off
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FakeHost;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(String::from).collect()
    }

    fn seen(line: &str, threads: &[&str]) -> VmNote {
        let command = words(line);
        let threads: Vec<(i32, String)> =
            threads.iter().enumerate().map(|(i, name)| (100 + i as i32, (*name).to_string())).collect();
        vm(100, vmm_of(&command).unwrap_or("other"), &command, &threads)
    }

    #[test]
    fn what_each_vmm_calls_them() {
        let uuid = "4DEA22B3-1d52-d8f3-2516-782e98ab3fa0";
        let qemu = seen(
            &format!(
                "/usr/bin/qemu-system-x86_64 -name guest=web-2,debug-threads=on -uuid {uuid} -cpu host,-vmx -S \
                      -object secret,file=/var/lib/libvirt/qemu/domain-1/key"
            ),
            &["qemu-system-x86", "CPU 0/KVM", "CPU 1/KVM", "vhost-100"],
        );
        assert_eq!(qemu.name.as_deref(), Some("web-2"));
        assert_eq!(qemu.uuid.as_deref(), Some("4dea22b3-1d52-d8f3-2516-782e98ab3fa0"));
        assert_eq!((qemu.vcpus, qemu.vhost, qemu.libvirt), (vec![(101, 0), (102, 1)], vec![103], true));
        let fire = seen("firecracker --id=f1 --api-sock /a", &["firecracker", "fc_api", "fc_vcpu 0"]);
        assert_eq!((fire.name.as_deref(), fire.vcpus), (Some("f1"), vec![(102, 0)]));
        let cloud = seen("cloud-hypervisor --api-socket path=/run/mail.sock", &["vmm", "vcpu0", "vcpu11"]);
        assert_eq!((cloud.name.as_deref(), cloud.vcpus), (Some("mail"), vec![(101, 0), (102, 11)]));
        let crosvm = seen("/opt/crosvm run --name db vm.img", &["crosvm", "crosvm_vcpu0"]);
        assert_eq!((crosvm.name.as_deref(), crosvm.vcpus), (Some("db"), vec![(101, 0)]));
        let other = seen("tvmm -n vma", &["tvmm", "vma/vcpu0", "vma/vcpu1"]);
        assert_eq!((other.vmm.as_str(), other.name.as_deref()), ("other", Some("vma")));
        assert_eq!(vmm_of(&words("/usr/bin/vim qemu-kvm")), None);
        assert_eq!(vmm_of(&words("crosvm stop x")), None);
    }

    #[test]
    fn who_may_have_guests_of_its_own() {
        for (line, offers) in [
            ("qemu-kvm -cpu host", true),
            ("qemu-kvm -cpu host,-vmx", false),
            ("qemu-kvm -cpu Skylake-Server,vmx=on", true),
            ("qemu-kvm -cpu Skylake-Server", false),
            ("qemu-kvm", false),
        ] {
            assert_eq!(offers_vmx(&words(line)), offers, "{line}");
        }
    }

    #[test]
    fn what_changed_is_told_once() {
        let fake = FakeHost::new();
        let host = &fake.host;
        let mut inventory = Inventory::default();
        assert_eq!(inventory.refresh(host), []);
        fake.write("proc/7/cmdline", "firecracker\0--id\0a\0");
        fake.write("proc/7/task/7/comm", "firecracker\n");
        fake.write("proc/9/cmdline", "");
        fake.write("proc/9/task/9/comm", "vhost-7\n");
        let first = inventory.refresh(host);
        assert_eq!((first.len(), &first[0].vhost), (1, &vec![9]));
        assert_eq!(inventory.refresh(host), []);
        fake.write("proc/7/task/8/comm", "fc_vcpu 0\n");
        assert_eq!(inventory.refresh(host)[0].vcpus, [(8, 0)]);
        // Long after, too.
        for _ in 0..2 * SETTLED {
            assert_eq!(inventory.refresh(host), []);
        }
        fake.write("proc/7/task/10/comm", "fc_vcpu 1\n");
        assert_eq!(inventory.refresh(host)[0].vcpus, [(8, 0), (10, 1)]);
        fs::remove_dir_all(host.path("proc/7")).unwrap();
        assert_eq!((inventory.refresh(host), inventory.all().len()), (vec![], 0));
    }

    #[test]
    fn a_process_may_become_a_vmm_and_a_number_be_used_again() {
        let fake = FakeHost::new();
        let host = &fake.host;
        let mut inventory = Inventory::default();
        fake.write("proc/7/cmdline", "sh\0");
        fake.write("proc/7/task/7/comm", "sh\n");
        assert_eq!(inventory.refresh(host), []);
        fake.write("proc/7/cmdline", "firecracker\0--id\0a\0");
        assert_eq!(inventory.refresh(host).len(), 1);
        fake.write("proc/9/cmdline", "sh\0");
        let looks = |inventory: &mut Inventory, n: u32| (0..n).map(|_| inventory.refresh(host).len()).sum::<usize>();
        assert_eq!(looks(&mut inventory, 2 * SETTLED), 0);
        fake.write("proc/9/cmdline", "firecracker\0--id\0b\0");
        assert_eq!(looks(&mut inventory, TURNS), 1);
    }

    #[test]
    fn who_kvm_lists_is_looked_at_at_once() {
        let fake = FakeHost::new();
        let host = &fake.host;
        fake.write("sys/kernel/debug/kvm/3-11/x", "");
        fake.write("proc/3/cmdline", "tvmm\0");
        fake.write("proc/7/cmdline", "tvmm\0");
        let mut inventory = Inventory::default();
        let pids = |vms: Vec<VmNote>| vms.iter().map(|vm| vm.pid).collect::<Vec<_>>();
        assert_eq!(pids(inventory.refresh(host)), [3]);
        for _ in 0..2 * SETTLED {
            assert_eq!(inventory.refresh(host), []);
        }
        fake.write("sys/kernel/debug/kvm/7-11/x", "");
        assert_eq!(pids(inventory.refresh(host)), [7]);
    }
}
