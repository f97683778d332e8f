//! What frames add up to.
//!
//! Series are bounded. Who is gone, as `top` forgets it, goes from here too; should it come again, it counts from
//! nothing, which Prometheus takes for a restart. Guest processes are told by their rank in each window and not by their
//! page tables: those come and go, and Prometheus would keep each for good. Of who takes a VM's time some are told by name,
//! the others together: on a node of 200 VMs each takes some of each other's.

use std::collections::{BTreeMap, BTreeSet};

use havana_capture::host::cpu_time;
use havana_live::{By, CpuFrame, Frame, States, VmFrame};
use havana_rows::LossCause;

use crate::families as f;
use crate::sheet::Sheet;

/// So many who take time of a VM are told by name,
const TAKERS: usize = 32;
/// once they had so much of a cpu in a window.
const WORTH_A_NAME: f64 = 0.01;
/// So many guest processes of a VM by rank.
const RANKS: [&str; 3] = ["1", "2", "3"];

/// What was seen so far.
#[derive(Debug, Clone, Default)]
pub struct Top {
    node: String,
    sheet: Sheet,
    vms: BTreeSet<String>,
    /// Who is told by name, of each VM.
    takers: BTreeMap<String, BTreeSet<Taker>>,
}

/// Of which kind who took time is, and what it is called.
type Taker = (&'static str, String);

impl Top {
    /// Adds a frame. One whose ticks cannot be told in seconds is passed over.
    pub fn hear(&mut self, frame: &Frame) {
        let Some(hz) = frame.tsc_hz.filter(|hz| *hz > 0) else { return };
        let seconds = |ticks: i64| ticks as f64 / hz as f64;
        self.node = frame.node.clone().unwrap_or_default();
        self.forget(frame);
        for cpu in &frame.cpus {
            let CpuFrame { cpu, guest, hypervisor, host, idle, lost, unknown } = *cpu;
            let states = [
                ("guest", guest),
                ("hypervisor", hypervisor),
                ("host", host),
                ("idle", idle),
                ("lost", lost),
                ("unknown", unknown),
            ];
            for (state, ticks) in states {
                self.sheet.add(&f::CPU_SECONDS, &[&cpu.to_string(), state], seconds(ticks));
            }
        }
        for vm in &frame.vms {
            self.hear_vm(frame, vm, seconds);
        }
        for cause in LossCause::ALL {
            let lost = frame.losses.iter().find(|lost| lost.cause == cause.name());
            self.sheet.add(&f::LOST_SECONDS, &[cause.name()], lost.map_or(0.0, |lost| seconds(lost.ticks)));
            self.sheet.add(&f::LOSSES, &[cause.name()], lost.map_or(0.0, |lost| lost.count as f64));
        }
        self.sheet.add(&f::NAMELESS_SECONDS, &[], seconds(frame.nameless_guest));
        self.sheet.set(&f::VMS, &[], frame.vms.iter().filter(|vm| vm.seen).count() as f64);
        self.sheet.add(&f::TOP_WINDOWS, &[], 1.0);
        self.sheet.add(&f::TOP_SECONDS, &[], seconds(frame.ticks()));
        self.sheet.add(&f::TOP_BYTES, &[], frame.cost.bytes as f64);
        self.sheet.add(&f::TOP_ANALYSIS, &[], frame.cost.seconds);
        self.sheet.set(&f::TOP_CPU, &[], cpu_time().as_secs_f64());
        if let Some(ns) = frame.wall_ns {
            self.sheet.set(&f::TOP_END, &[], ns as f64 / 1e9);
        }
    }

    /// VMs that are not known any more; and what they were called before.
    fn forget(&mut self, frame: &Frame) {
        let vms: BTreeSet<String> = frame.vms.iter().map(name).collect();
        let gone = &self.vms - &vms;
        if !gone.is_empty() {
            self.sheet.keep("vm", |vm| !gone.contains(vm));
            self.sheet.keep("by", |by| !gone.contains(by));
            self.takers.retain(|vm, _| !gone.contains(vm));
            for takers in self.takers.values_mut() {
                takers.retain(|(_, by)| !gone.contains(by));
            }
        }
        self.vms = vms;
        self.sheet.clear(&f::VM_INFO);
    }

    fn hear_vm(&mut self, frame: &Frame, vm: &VmFrame, seconds: impl Fn(i64) -> f64) {
        let name = &*name(vm);
        let pid = vm.pid.map_or_else(String::new, |pid| pid.to_string());
        self.sheet.set(&f::VM_INFO, &[name, vm.uuid.as_deref().unwrap_or_default(), &pid], 1.0);
        for vcpu in &vm.vcpus {
            let number = &*vcpu.number.to_string();
            let States { guest, hypervisor, preempted, waiting, off_cpu, lost, unknown, unseen, inferred } =
                vcpu.states;
            let states = [
                ("guest", guest),
                ("hypervisor", hypervisor),
                ("preempted", preempted),
                ("waiting", waiting),
                ("off_cpu", off_cpu),
                ("lost", lost),
                ("unknown", unknown),
                ("unseen", unseen),
            ];
            for (state, ticks) in states {
                self.sheet.add(&f::VCPU_SECONDS, &[name, number, state], seconds(ticks));
            }
            self.sheet.add(&f::VCPU_INFERRED, &[name, number], seconds(inferred));
            self.sheet.add(&f::VCPU_EXITS, &[name, number], vcpu.exits as f64);
        }
        let told: u64 = vm.reasons.iter().map(|(_, exits)| exits).sum();
        for (reason, exits) in &vm.reasons {
            self.sheet.add(&f::VM_EXITS, &[name, reason], *exits as f64);
        }
        self.sheet.add(&f::VM_EXITS, &[name, "untold"], vm.exits.saturating_sub(told) as f64);
        for taken in &vm.taken {
            let (kind, by) = self.named(name, taker(frame, &taken.by), frame.share(taken.ticks));
            self.sheet.add(&f::STOLEN_SECONDS, &[name, kind, &by], seconds(taken.ticks));
        }
        for (at, process) in vm.processes.iter().enumerate() {
            let rank = RANKS.get(at).copied().unwrap_or("rest");
            self.sheet.add(&f::PROCESS_SECONDS, &[name, rank], seconds(process.ticks));
        }
    }

    /// Who took time of a VM, as it is told. `share`: of a cpu.
    fn named(&mut self, vm: &str, taker: Taker, share: f64) -> Taker {
        let takers = self.takers.entry(vm.to_owned()).or_default();
        if share >= WORTH_A_NAME && takers.len() < TAKERS {
            takers.insert(taker.clone());
        }
        if takers.contains(&taker) { taker } else { ("other", "other".into()) }
    }

    /// As Prometheus reads it.
    pub fn text(&self) -> String {
        self.sheet.text(&self.node)
    }
}

fn taker(frame: &Frame, by: &By) -> Taker {
    let (kind, by) = match by {
        By::Vm { number, name: label } => {
            let vm = frame.vms.iter().find(|vm| vm.number == *number);
            return ("vm", vm.map_or_else(|| label.clone(), name));
        }
        By::Host { name, .. } => ("process", name.as_deref()),
        By::Thread { name, .. } => ("thread", name.as_deref().map(class)),
    };
    (kind, by.filter(|by| !by.is_empty()).unwrap_or("unnamed").to_owned())
}

/// What a VM is called here: its name, else its UUID, else its number.
fn name(vm: &VmFrame) -> String {
    vm.name.clone().or_else(|| vm.uuid.clone()).unwrap_or_else(|| vm.label())
}

/// Threads of the kernel that do one thing, such as `kworker/0:1H` and `kworker/u8:2`, or `vhost-4711`.
fn class(thread: &str) -> &str {
    match thread.split_once('/') {
        Some((class, _)) => class,
        None => thread.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-'),
    }
}

#[cfg(test)]
mod tests {
    use havana_live::{Cost, ProcessFrame, Taken, VcpuFrame};

    use super::*;

    /// A window of a second, of a kHz.
    fn frame(vms: Vec<VmFrame>) -> Frame {
        Frame {
            number: 1,
            node: Some("n".into()),
            start_tsc: 5_000,
            end_tsc: 6_000,
            tsc_hz: Some(1_000),
            since: None,
            wall_ns: None,
            cpus: Vec::new(),
            vms,
            nameless_guest: 0,
            losses: Vec::new(),
            says: Vec::new(),
            cost: Cost::default(),
        }
    }

    /// A VM of one vCPU that was in its guest for so many ticks.
    fn vm(number: u32, name: Option<&str>, guest: i64, taken: &[By]) -> VmFrame {
        let taken: Vec<Taken> = taken.iter().map(|by| Taken { by: by.clone(), ticks: 500 }).collect();
        let states = States { guest, unseen: 1_000 - guest, ..States::default() };
        VmFrame {
            number,
            name: name.map(Into::into),
            uuid: None,
            pid: None,
            host_cr3: 0x1000,
            seen: true,
            guest,
            hypervisor: 0,
            states,
            exits: 3,
            reasons: vec![("HLT".into(), 2)],
            vcpus: vec![VcpuFrame { number: 0, vmcs: 0x10, tid: None, states, exits: 3, taken: taken.clone() }],
            processes: (0..5).map(|at| ProcessFrame { cr3: at << 12, ticks: 50 - at }).collect(),
            taken,
        }
    }

    fn by(number: u32, name: &str) -> By {
        By::Vm { number, name: name.into() }
    }

    /// Values of a family, by the labels behind the node.
    fn told(top: &Top, family: &str) -> Vec<(String, f64)> {
        let text = top.text();
        let of = |line: &str| {
            let (labels, value) = line.strip_prefix(family)?.strip_prefix("{node=\"n\",")?.split_once("} ")?;
            Some((labels.replace('"', ""), value.parse().unwrap()))
        };
        text.lines().filter_map(of).collect()
    }

    fn pairs<const N: usize>(pairs: [(&str, f64); N]) -> Vec<(String, f64)> {
        pairs.map(|(labels, value)| (labels.to_owned(), value)).into()
    }

    #[test]
    fn frames_are_added_up() {
        let mut top = Top::default();
        for _ in 0..2 {
            top.hear(&frame(vec![vm(0, Some("a"), 250, &[by(1, "b")]), vm(1, Some("b"), 500, &[])]));
        }
        assert_eq!(told(&top, "havana_vcpu_exits_total"), pairs([("vm=a,vcpu=0", 6.0), ("vm=b,vcpu=0", 6.0)]));
        let exits = told(&top, "havana_vm_exits_total");
        assert_eq!(exits[..2], pairs([("vm=a,reason=HLT", 4.0), ("vm=a,reason=untold", 2.0)]));
        assert_eq!(told(&top, "havana_stolen_seconds_total"), pairs([("vm=a,by_kind=vm,by=b", 1.0)]));
        let ranks = [("vm=a,rank=1", 0.1), ("vm=a,rank=2", 0.098), ("vm=a,rank=3", 0.096), ("vm=a,rank=rest", 0.186)];
        for (is, due) in told(&top, "havana_vm_process_seconds_total").iter().zip(ranks) {
            assert!(is.0 == due.0 && (is.1 - due.1).abs() < 1e-12, "{is:?}");
        }
        // One of no known rate.
        top.hear(&Frame { tsc_hz: None, ..frame(Vec::new()) });
        assert!(top.text().contains("havana_top_windows_total{node=\"n\"} 2\n"));
    }

    #[test]
    fn who_is_gone_goes_and_counts_anew() {
        let mut top = Top::default();
        let both = || frame(vec![vm(0, Some("a"), 250, &[by(1, "b")]), vm(1, Some("b"), 500, &[by(0, "a")])]);
        top.hear(&both());
        top.hear(&frame(vec![vm(0, Some("a"), 250, &[])]));
        assert!(!top.text().contains("\"b\""), "{}", top.text());
        top.hear(&both());
        let guest =
            told(&top, "havana_vcpu_seconds_total").into_iter().filter(|(labels, _)| labels.ends_with("=guest"));
        assert_eq!(guest.map(|(_, seconds)| seconds).collect::<Vec<_>>(), [0.75, 0.5]);
    }

    #[test]
    fn a_name_may_come_late_and_belong_to_two() {
        let mut top = Top::default();
        top.hear(&frame(vec![vm(7, None, 250, &[])]));
        assert_eq!(told(&top, "havana_vcpu_exits_total"), pairs([("vm=vm 7,vcpu=0", 3.0)]));
        // It was started again; the one before is not forgotten yet.
        top.hear(&frame(vec![vm(7, Some("web"), 250, &[]), vm(8, Some("web"), 250, &[by(7, "web")])]));
        assert_eq!(told(&top, "havana_vcpu_exits_total"), pairs([("vm=web,vcpu=0", 6.0)]));
        assert_eq!(told(&top, "havana_stolen_seconds_total"), pairs([("vm=web,by_kind=vm,by=web", 0.5)]));
    }

    #[test]
    fn who_takes_a_vms_time_are_so_many() {
        let process = |at: usize| By::Host { cr3: 0, name: Some(format!("cc{at}x")) };
        let mut top = Top::default();
        for at in 0..100 {
            let thread = By::Thread { tid: Some(1), name: Some(format!("kworker/{at}:1")) };
            let mut victim = vm(0, None, 0, &[thread, process(at), By::Thread { tid: None, name: None }]);
            victim.taken[2].ticks = 9;
            top.hear(&frame(vec![victim]));
        }
        let told = told(&top, "havana_stolen_seconds_total");
        assert_eq!(told.len(), TAKERS + 1);
        assert!(told.contains(&("vm=vm 0,by_kind=thread,by=kworker".into(), 50.0)), "{told:?}");
        let other = told.iter().find(|(labels, _)| labels == "vm=vm 0,by_kind=other,by=other").unwrap();
        // 69 of the processes, and one that never took a hundredth.
        assert!((other.1 - (69.0 * 0.5 + 100.0 * 0.009)).abs() < 1e-9, "{told:?}");
    }

    #[test]
    fn threads_that_do_one_thing() {
        let names =
            ["kworker/0:1H-kblockd", "kworker/u8:2", "vhost-4711", "kswapd0", "rcu_preempt", "jbd2/sda1-8", "7"];
        assert_eq!(names.map(class), ["kworker", "kworker", "vhost", "kswapd", "rcu_preempt", "jbd2", ""]);
    }
}
