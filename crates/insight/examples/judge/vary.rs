//! A scenario, varied: the order and names of its VMs, which VM has the culprit, when it begins, how much all do; and what is
//! true of it.

use std::error::Error;

use havana_insight::Kind;
use havana_sim::scenario::{Form, Process, Vm};
use havana_sim::{Rng, Scenario};

use crate::play::shuffle;

/// Those that are judged.
pub(crate) const SCENARIOS: &[&str] = &[
    "quiet",
    "noisy-neighbour",
    "cron-burst",
    "exit-storm",
    "overcommit",
    "throttled",
    "migration",
    "clock-jump",
    "clock-jump, PSB+ each 16 KiB",
    "lossy",
];

/// Something that findings should tell, or may.
#[derive(Debug, Clone)]
pub(crate) struct Truth {
    pub(crate) kind: Kind,
    /// Host CR3s of its VMs, one of which it is about; none: of no VM.
    pub(crate) vms: Vec<i64>,
    /// CR3s of its processes; none: of any.
    pub(crate) processes: Vec<i64>,
    pub(crate) at_ms: Option<f64>,
    /// The culprit: the first finding tells one of these.
    pub(crate) first: bool,
    /// It must be told, as medium at least; what is not expected may be.
    pub(crate) expected: bool,
}

/// A scenario and what is true of it.
pub(crate) struct Varied {
    pub(crate) scenario: Scenario,
    pub(crate) truths: Vec<Truth>,
    /// What is left of chance.
    pub(crate) rng: Rng,
}

/// Where the simulator has the page tables of VMMs, and of guest processes.
const VMM_PAGES: i64 = 0x1_0000_0000;
const GUEST_PAGES: i64 = 0x540_0000;
const PAGE: i64 = 0x2000;

pub(crate) fn vary(name: &str, seed: u64) -> Result<Varied, Box<dyn Error + Send + Sync>> {
    // A guest's clock is seen in PSB+ only, and perf's own default has these seldom.
    let (name, seldom) = name.split_once(',').map_or((name, false), |(name, _)| (name, true));
    let mut scenario = Scenario::named(name).ok_or_else(|| format!("{name}: no such scenario"))?;
    let mut rng = Rng::new(seed);
    scenario.node.seed = rng.next_u64();
    scenario.trace.psb_bytes = if seldom { 16 << 10 } else { scenario.trace.psb_bytes };
    // With what the kernel says beside it, or without.
    if rng.chance(0.5) {
        scenario.trace.form = Form::Perf;
    }
    scenario.node.tsc += (rng.unit() * 1e12) as i64;
    move_culprit(name, &mut scenario, &mut rng);
    let processes = scenario.process.iter_mut().chain(scenario.vm.iter_mut().flat_map(|vm| &mut vm.process));
    for process in processes {
        process.period_ms = rng.near(process.period_ms, 0.2);
        process.burst_ms = rng.near(process.burst_ms, 0.2);
        process.exit_every_us = rng.near(process.exit_every_us, 0.2);
    }
    let ms = scenario.node.seconds * 1e3;
    let mut some = |from: f64, to: f64| ms * (from + (to - from) * rng.unit());
    for vm in &mut scenario.vm {
        vm.process.iter_mut().filter(|p| p.from_ms > 0.0).for_each(|p| p.from_ms = some(0.2, 0.8));
        for at in [&mut vm.tsc_jump_ms, &mut vm.until_ms, &mut vm.from_ms] {
            *at = if *at > 0.0 { some(0.2, 0.8) } else { 0.0 };
        }
        if vm.cpu_max_ms[1] > 0.0 {
            vm.cpu_max_ms = [vm.cpu_max_ms[0] * (0.6 + 0.8 * some(0.0, 1.0) / ms), vm.cpu_max_ms[1]];
        }
        if vm.tsc_jump_ms > 0.0 {
            vm.tsc_jump = (vm.tsc_jump as f64 * (0.5 + some(0.0, 1.0) / ms)) as i64;
        }
    }
    shuffle(&mut scenario.vm, &mut rng);
    for vm in &mut scenario.vm {
        shuffle(&mut vm.process, &mut rng);
    }
    let truths = truths(name, &scenario);
    // What is true is known by these names; what is judged has others.
    scenario.vm.iter_mut().for_each(|vm| vm.name = format!("vm-{:x}", rng.below(1 << 32)));
    scenario.check()?;
    Ok(Varied { scenario, truths, rng })
}

/// Another VM has the culprit, half the time, where it is a process.
fn move_culprit(name: &str, scenario: &mut Scenario, rng: &mut Rng) {
    let culprit = match name {
        "noisy-neighbour" => "runaway",
        "cron-burst" => "cron",
        _ if name == "clock-jump" && rng.chance(0.5) => {
            let [a, b] = &mut scenario.vm[..] else { return };
            std::mem::swap(&mut a.tsc_jump_ms, &mut b.tsc_jump_ms);
            return std::mem::swap(&mut a.tsc_jump, &mut b.tsc_jump);
        }
        _ => return,
    };
    let [a, b] = &mut scenario.vm[..] else { return };
    if rng.chance(0.5)
        && let Some(at) = a.process.iter().position(|p| p.name == culprit)
    {
        b.process.push(a.process.remove(at));
    }
}

/// Host CR3s of the VMs, and CR3s of their processes, of which these are true.
fn places(scenario: &Scenario, vm_is: impl Fn(&Vm) -> bool, is: impl Fn(&Process) -> bool) -> (Vec<i64>, Vec<i64>) {
    let (mut vms, mut processes) = (Vec::new(), Vec::new());
    let mut number = 0;
    for vm in &scenario.vm {
        let mut mine = false;
        let mut page = GUEST_PAGES;
        for index in 0..vm.vcpus {
            for process in vm.process.iter().filter(|process| process.vcpu == index) {
                page += PAGE;
                if vm_is(vm) && is(process) {
                    mine = true;
                    // A process that is forked begins on the first page that is free then.
                    let of_all = PAGE * (vm.process.len() as i64 + i64::from(vm.vcpus) + 1);
                    processes.push(if process.forks { GUEST_PAGES + of_all } else { page });
                }
            }
            // That of its kernel.
            page += PAGE;
        }
        for _ in 0..vm.count {
            if mine {
                vms.push(VMM_PAGES + PAGE * number);
            }
            number += 1;
        }
    }
    (vms, processes)
}

fn truths(name: &str, scenario: &Scenario) -> Vec<Truth> {
    let any = |_: &Vm| true;
    let process = |kind, named: &[&str], first: bool| {
        let (vms, processes) = places(scenario, any, |process| named.contains(&process.name.as_str()));
        Truth { kind, vms, processes, at_ms: None, first, expected: first }
    };
    let of_vm = |is: fn(&Vm) -> f64| -> Vec<Truth> {
        let at = scenario.vm.iter().map(is).fold(0.0, f64::max);
        let (vms, _) = places(scenario, |vm| is(vm) > 0.0, |_| true);
        vec![Truth { kind: Kind::Trace, vms, processes: Vec::new(), at_ms: Some(at), first: true, expected: true }]
    };
    let may = |truth: Truth| Truth { expected: false, ..truth };
    match name {
        "noisy-neighbour" => {
            let runaway = process(Kind::Consumption, &["runaway"], true);
            let from = scenario.vm.iter().flat_map(|vm| &vm.process).map(|process| process.from_ms).fold(0.0, f64::max);
            // What looks like it without records need not be much with them.
            let expected = scenario.trace.form == Form::Raw;
            let steal = Truth { expected, ..process(Kind::Steal, &["runaway"], false) };
            vec![Truth { at_ms: Some(from), ..runaway }, steal]
        }
        "cron-burst" => vec![process(Kind::Period, &["cron"], true)],
        "exit-storm" => vec![
            process(Kind::Exits, &["driver"], true),
            process(Kind::Consumption, &["driver"], false),
            process(Kind::Steal, &["driver"], false),
        ],
        "overcommit" => {
            let workers = ["worker-0", "worker-1"];
            vec![
                process(Kind::Steal, &workers, true),
                may(process(Kind::Consumption, &workers, true)),
                // The others of eight vCPUs that share two cpus, too.
                process(Kind::Steal, &["worker-2", "web"], false),
            ]
        }
        "throttled" => {
            vec![
                process(Kind::Waiting, &["worker"], true),
                may(Truth { first: false, ..process(Kind::Period, &["worker"], true) }),
            ]
        }
        "migration" => {
            let came = of_vm(|vm| vm.from_ms);
            came.into_iter().chain(of_vm(|vm| vm.until_ms)).collect()
        }
        "clock-jump" => of_vm(|vm| vm.tsc_jump_ms),
        "lossy" => vec![
            Truth {
                kind: Kind::Trace,
                vms: Vec::new(),
                processes: Vec::new(),
                at_ms: None,
                first: true,
                expected: true,
            },
            process(Kind::Exits, &["scan"], false),
        ],
        _ => Vec::new(),
    }
}
