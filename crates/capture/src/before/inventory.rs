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

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use havana_trace::perf_data::VmNote;

use super::Process;
use crate::Host;

/// VMs, and what changed since they were last looked for.
#[derive(Debug, Default)]
pub struct Inventory {
    known: Vec<VmNote>,
}

impl Inventory {
    /// Looks again: those that are new, or changed.
    pub fn refresh(&mut self, host: &Host) -> Vec<VmNote> {
        let now = vms(host);
        let news = now.iter().filter(|vm| !self.known.contains(vm)).cloned().collect();
        self.known = now;
        news
    }

    /// All that were there the last time.
    pub fn all(&self) -> &[VmNote] {
        &self.known
    }
}

/// The VMs that run now, by the process of their VMM.
pub fn vms(host: &Host) -> Vec<VmNote> {
    let nested = host.nested() == Some(true);
    let listed = listed(host);
    let mut vms: Vec<VmNote> = Vec::new();
    let mut vhost: Vec<(i32, i32)> = Vec::new();
    for process in Process::all(host) {
        let command = process.command();
        if command.is_empty() {
            // A kernel thread that works for a VMM's devices.
            let threads = process.threads();
            let owner = threads.first().and_then(|(_, name)| vhost_owner(name));
            vhost.extend(owner.map(|owner| (owner, process.pid)));
            continue;
        }
        let vmm = vmm_of(&command);
        let is_one = match (&listed, vmm) {
            (Some(listed), _) => listed.contains(&process.pid),
            (None, Some(_)) => true,
            (None, None) => process.has_open("anon_inode:kvm-vm"),
        };
        if is_one {
            let mut vm = vm(process.pid, vmm.unwrap_or("other"), &command, &process.threads());
            vm.nested = nested && offers_vmx(&command);
            vms.push(vm);
        }
    }
    for (owner, tid) in vhost {
        if let Some(vm) = vms.iter_mut().find(|vm| vm.pid == owner) {
            vm.vhost.push(tid);
        }
    }
    vms.sort_by_key(|vm| vm.pid);
    vms
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
        fs::remove_dir_all(host.path("proc/7")).unwrap();
        assert_eq!((inventory.refresh(host), inventory.all().len()), (vec![], 0));
    }
}
