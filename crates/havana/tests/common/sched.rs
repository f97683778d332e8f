//! The scheduler's lines of a truth: which thread was on which cpu, and which was woken when.
//!
//! | line | what |
//! | --- | --- |
//! | `T,tid,VM/vcpuN` | the thread of a vCPU; `VM/vmm`: another of its VMM |
//! | `K,cpu,tsc,switch,prev_tid,prev_state,next_tid` | a switch; state `R` or `R+`: it would have run on |
//! | `K,cpu,tsc,wake,tid,target_cpu` | a thread is woken |
//! | `W,cpu,tsc` | a cpu wakes up |
//! | `M,cpu,tsc,nonroot,vmcs,cr3,marker,rbx` | in non-root: a program of the guest says which it is |

use std::collections::{BTreeMap, HashMap, HashSet};

use super::truth::page;

/// A switch of threads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Switch {
    pub(crate) cpu: i32,
    pub(crate) tsc: i64,
    pub(crate) from: i32,
    /// The thread would have run on.
    pub(crate) runnable: bool,
    pub(crate) to: i32,
}

/// What the kernel did with threads.
#[derive(Debug, Default)]
pub(crate) struct Sched {
    /// Of each VMCS: the thread that enters it.
    pub(crate) of_vmcs: HashMap<i64, i32>,
    pub(crate) names: HashMap<i32, String>,
    /// In the order of the lines, which is that of time.
    pub(crate) switches: Vec<Switch>,
    /// When which thread was woken.
    pub(crate) wakes: Vec<(i64, i32)>,
    /// When each cpu woke up.
    pub(crate) awake: HashMap<i32, Vec<i64>>,
}

impl Sched {
    pub(crate) fn parse(text: &str) -> Sched {
        let mut this = Sched::default();
        let mut running: HashMap<&str, i32> = HashMap::new();
        for line in text.lines() {
            let f: Vec<&str> = line.split(',').collect();
            match (f[0], *f.get(3).unwrap_or(&"")) {
                ("T", _) => _ = this.names.insert(f[1].parse().unwrap(), f[2].to_string()),
                ("K", "switch") => {
                    let [cpu, from, to] = [1, 4, 6].map(|at| f[at].parse().unwrap());
                    let (tsc, runnable) = (f[2].parse().unwrap(), f[5].starts_with('R'));
                    this.switches.push(Switch { cpu, tsc, from, runnable, to });
                    running.insert(f[1], to);
                }
                ("W", _) => this.awake.entry(f[1].parse().unwrap()).or_default().push(f[2].parse().unwrap()),
                ("K", "wake") => this.wakes.push((f[2].parse().unwrap(), f[4].parse().unwrap())),
                ("E", vmcs) => {
                    // A switch may be missing where the lines begin or end.
                    let vcpu = |tid: &&i32| this.names.get(tid).is_some_and(|name| name.contains("/vcpu"));
                    if let Some(tid) = running.get(f[1]).filter(vcpu) {
                        this.of_vmcs.insert(i64::from_str_radix(vmcs, 16).unwrap(), *tid);
                    }
                }
                _ => {}
            }
        }
        this
    }

    /// When each thread was off its cpus, and whether it would have run on.
    pub(crate) fn off(&self) -> HashMap<i32, Vec<(i64, i64, bool)>> {
        let mut off: HashMap<i32, Vec<(i64, i64, bool)>> = HashMap::new();
        let mut left: HashMap<i32, (i64, bool)> = HashMap::new();
        for Switch { tsc, from, runnable, to, .. } in &self.switches {
            left.insert(*from, (*tsc, *runnable));
            if let Some((since, runnable)) = left.remove(to) {
                off.entry(*to).or_default().push((since, *tsc, runnable));
            }
        }
        off
    }
}

/// A program of a guest that says which it is: VMCS, masked CR3.
pub(crate) type Marked = (i64, i64);

/// Who showed these markers, and when for the first time.
pub(crate) fn marked(text: &str, markers: &[u32]) -> HashMap<Marked, i64> {
    let mut seen = HashMap::new();
    for line in text.lines().filter(|line| line.starts_with('M')) {
        let f: Vec<&str> = line.split(',').collect();
        if f[3] == "1" && markers.contains(&f[6].parse().unwrap()) {
            let [vmcs, cr3] = [4, 5].map(|at| i64::from_str_radix(f[at], 16).unwrap());
            seen.entry((vmcs, page(cr3))).or_insert(f[2].parse().unwrap());
        }
    }
    seen
}

/// Who had a cpu, seen by a vCPU that wanted it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum By {
    /// A thread of that VM's VMM.
    Vm(String),
    Host,
    Nobody,
}

impl Sched {
    /// The VM of a thread.
    pub(crate) fn vm(&self, tid: i32) -> Option<&str> {
        self.names.get(&tid).and_then(|name| name.split_once('/')).map(|(vm, _)| vm)
    }

    /// The threads of vCPUs.
    pub(crate) fn vcpus(&self) -> HashSet<i32> {
        self.of_vmcs.values().copied().filter(|tid| self.names.contains_key(tid)).collect()
    }

    fn by(&self, tid: i32) -> By {
        match self.vm(tid) {
            _ if tid == 0 => By::Nobody,
            Some(vm) => By::Vm(vm.into()),
            None => By::Host,
        }
    }

    /// For how long each vCPU's thread would have run on, and who had the cpu that it was on last: ticks in a stretch of
    /// time.
    pub(crate) fn stolen(&self, from: i64, to: i64) -> BTreeMap<(i32, By), i64> {
        let mut stolen: BTreeMap<(i32, By), i64> = BTreeMap::new();
        let vcpus = self.vcpus();
        // Who wants a cpu; who has it, since when that is told.
        let mut wanting: HashMap<i32, i32> = HashMap::new();
        let mut has: HashMap<i32, (i32, i64)> = HashMap::new();
        let mut tell = |wanting: &HashMap<i32, i32>, cpu: i32, (tid, since): (i32, i64), until: i64| {
            let ticks = until.min(to) - since.max(from);
            for victim in wanting.iter().filter(|(_, on)| **on == cpu && ticks > 0).map(|(victim, _)| *victim) {
                *stolen.entry((victim, self.by(tid))).or_default() += ticks;
            }
        };
        for switch in &self.switches {
            if let Some(had) = has.insert(switch.cpu, (switch.to, switch.tsc)) {
                tell(&wanting, switch.cpu, had, switch.tsc);
            }
            // It comes back, perhaps on another cpu: what was taken of it up to now is told.
            if let Some(on) = wanting.get(&switch.to).copied().filter(|on| *on != switch.cpu)
                && let Some(had) = has.get(&on).copied()
            {
                tell(&HashMap::from([(switch.to, on)]), on, had, switch.tsc);
            }
            wanting.remove(&switch.to);
            if switch.runnable && vcpus.contains(&switch.from) {
                wanting.insert(switch.from, switch.cpu);
            }
        }
        for (cpu, had) in has {
            tell(&wanting, cpu, had, i64::MAX);
        }
        stolen
    }

    /// Each time that a vCPU's thread was woken: when it then ran.
    pub(crate) fn woken(&self) -> HashMap<i32, Vec<Woken>> {
        let vcpus = self.vcpus();
        let mut asleep: HashSet<i32> = HashSet::new();
        let mut since: HashMap<i32, i64> = HashMap::new();
        let mut woken: HashMap<i32, Vec<Woken>> = HashMap::new();
        let mut wakes = self.wakes.iter().peekable();
        for switch in &self.switches {
            while let Some((wake, tid)) = wakes.next_if(|(wake, _)| *wake <= switch.tsc) {
                if asleep.remove(tid) {
                    since.insert(*tid, *wake);
                }
            }
            if vcpus.contains(&switch.from) && !switch.runnable {
                asleep.insert(switch.from);
            }
            asleep.remove(&switch.to);
            if let Some(wake) = since.remove(&switch.to) {
                let awake = self.awake.get(&switch.cpu).map_or(&[][..], |awake| awake);
                let awake = awake.partition_point(|at| *at <= switch.tsc).checked_sub(1).map_or(wake, |i| awake[i]);
                woken.entry(switch.to).or_default().push(Woken { wake, awake: wake.max(awake), run: switch.tsc });
            }
        }
        woken
    }
}

/// A wake-up, and the switch to the thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Woken {
    pub(crate) wake: i64,
    /// Since when its cpu was awake, too.
    pub(crate) awake: i64,
    pub(crate) run: i64,
}
