//! How often what a dataset tells is right: its states, by the evidence they name, against the truth of simulated nodes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use havana_rows::{CpuStateKind as C, Evidence, VcpuStateKind as V};
use havana_sim::Scenario;
use havana_sim::scenario::Form;
use havana_trace::OpenOptions;

use crate::common::observed::does;
use crate::common::rows::Rows;
use crate::common::truth::{Piece, Truth, page};
use crate::simulated::play;

const SEEDS: u64 = 200;

/// Each node is traced in these ways.
const WAYS: [&str; 4] = ["raw", "Event Trace", "switch records", "no MTC"];
const EVENT: usize = 1;
const RECORDS: usize = 2;
const NO_MTC: usize = 3;

/// Basic exit reason (SDM, appendix C).
const CPUID: &str = "10";

/// A row of the table: which table, state and evidence. `cpu_states` is 0, `vcpu_states` 1.
type Key = (usize, usize, usize);

const fn cpu(state: C, evidence: Evidence) -> Key {
    (0, state as usize, evidence as usize)
}

const fn vcpu(state: V, evidence: Evidence) -> Key {
    (1, state as usize, evidence as usize)
}

const WAITING: Key = vcpu(V::Waiting, Evidence::Observed);

/// In the truth: woken up, and not on a cpu yet.
const WOKEN: V = V::OffCpu;

fn names((table, state, evidence): Key) -> [&'static str; 3] {
    let [table, state] = [
        ["cpu_states", C::ALL.get(state).map_or("", |s| s.name())],
        ["vcpu_states", V::ALL.get(state).map_or("", |s| s.name())],
    ][table];
    [table, state, Evidence::ALL[evidence].name()]
}

/// What a vCPU did, from when to when, of each VMCS.
///
/// It is in its guest from an entry to the exit. Else its thread tells: on a cpu it is in the hypervisor; off it, it is
/// preempted where it would have run on; else it waits, up to its wake-up.
fn vcpus(text: &str) -> BTreeMap<i64, Vec<(i64, i64, V)>> {
    let mut did: HashMap<i32, Vec<(i64, i64, V)>> = HashMap::new();
    let mut now: HashMap<i32, (i64, V)> = HashMap::new();
    let mut turn = |tid: i32, tsc: i64, to: V| {
        if let Some((since, was)) = now.insert(tid, (tsc, to)) {
            did.entry(tid).or_default().push((since, tsc, was));
        }
    };
    let mut running: HashMap<&str, i32> = HashMap::new();
    let mut asleep: BTreeSet<i32> = BTreeSet::new();
    let mut of_vmcs: BTreeMap<i64, i32> = BTreeMap::new();
    let mut end = 0;
    for line in text.lines().filter(|line| !line.starts_with('T')) {
        let f: Vec<&str> = line.split(',').collect();
        let tsc: i64 = f[2].parse().unwrap();
        let tid = |at: usize| f[at].parse::<i32>().unwrap();
        end = tsc.max(end);
        match (f[0], *f.get(3).unwrap_or(&"")) {
            ("K", "switch") => {
                let runs_on = f[5].starts_with('R');
                turn(tid(4), tsc, if runs_on { V::Preempted } else { V::Waiting });
                if !runs_on {
                    asleep.insert(tid(4));
                }
                asleep.remove(&tid(6));
                turn(tid(6), tsc, V::Hypervisor);
                running.insert(f[1], tid(6));
            }
            ("K", "wake") if asleep.remove(&tid(4)) => turn(tid(4), tsc, WOKEN),
            ("E", vmcs) => {
                of_vmcs.insert(i64::from_str_radix(vmcs, 16).unwrap(), running[f[1]]);
                turn(running[f[1]], tsc, V::Guest);
            }
            ("X", _) => turn(running[f[1]], tsc, V::Hypervisor),
            _ => {}
        }
    }
    of_vmcs.values().for_each(|tid| turn(*tid, end, V::Waiting));
    of_vmcs.iter().map(|(vmcs, tid)| (*vmcs, did.remove(tid).unwrap())).collect()
}

/// Guest processes that began on vCPUs where one program forks and its processes execute CPUID first: so many, and their
/// CR3s, which are those of the dataset's rows. The truth does not tell of others when one ends and the next begins.
fn lifetimes(scenario: &Scenario, text: &str) -> (usize, BTreeSet<(String, i64)>) {
    let mut threads: HashMap<&str, &str> = HashMap::new();
    let mut running: HashMap<&str, &str> = HashMap::new();
    let mut done: HashMap<&str, u32> = HashMap::new();
    let (mut began, mut cr3s) = (0, BTreeSet::new());
    for line in text.lines() {
        let f: Vec<&str> = line.split(',').collect();
        match f[0] {
            "T" => _ = threads.insert(f[1], f[2]),
            "K" if f[3] == "switch" => _ = running.insert(f[1], f[6]),
            "X" if f[4] == CPUID => {
                let (vm, index) = threads[running[f[1]]].split_once("/vcpu").unwrap();
                let name = vm.to_string();
                let vm = scenario.vm.iter().find(|v| v.name == vm).unwrap();
                let index: u32 = index.parse().unwrap();
                let mut forks = vm.process.iter().filter(|p| p.forks && p.vcpu == index && p.cpuids > 0);
                let (Some(process), None) = (forks.next(), forks.next()) else { continue };
                let done = done.entry(f[3]).or_default();
                began += usize::from(done.is_multiple_of(process.cpuids));
                *done += 1;
                cr3s.insert((name, page(i64::from_str_radix(f[5], 16).unwrap())));
            }
            _ => {}
        }
    }
    (began, cr3s)
}

/// Ticks that are told, and those of them that are so: between the estimates of begin and end, and between the latest
/// begin and the earliest end.
type Ticks = [[i64; 2]; 2];

/// What was found, of each way and row; and guest processes.
#[derive(Default)]
struct Often {
    ticks: BTreeMap<Key, [Ticks; WAYS.len()]>,
    /// Ticks of `waiting`, observed, after the wake-up.
    woken: i64,
    began: usize,
    cr3s: usize,
    processes: usize,
}

impl Often {
    /// Adds a node, traced in one way.
    fn add(&mut self, way: usize, scenario: &Scenario, dir: &Path) {
        let (input, text) = play(scenario, dir);
        let trace = havana_trace::open(&[input], &OpenOptions::default()).unwrap();
        let rows = Rows::of(&trace);
        let truth = Truth::parse(&text);
        let vmcs: HashMap<i32, i64> = rows.vcpus.iter().map(|v| (v.vcpu_id, v.vmcs)).collect();
        for row in &rows.cpu_states {
            let pieces: &[Piece] = &truth.cpus[&row.cpu].pieces;
            let sum = |from, to| told(pieces, |p| (p.start, p.end), from, to, |p| does(row, p.doing, &vmcs));
            let ticks = [sum(row.start.tsc, row.end.tsc), sum(row.start.hi, row.end.lo)];
            self.count(way, cpu(row.state, row.evidence), ticks);
        }
        let did = vcpus(&text);
        for row in &rows.vcpu_states {
            let pieces = &did[&vmcs[&row.vcpu_id]];
            let key = vcpu(row.state, row.evidence);
            let sum = |from, to, is: &dyn Fn(V) -> bool| told(pieces, |p| (p.0, p.1), from, to, |p| is(p.2));
            let is = |was: V| match row.state {
                V::OffCpu => matches!(was, V::Preempted | V::Waiting | WOKEN),
                V::Preempted => matches!(was, V::Preempted | WOKEN),
                state => state == was,
            };
            self.count(way, key, [sum(row.start.tsc, row.end.tsc, &is), sum(row.start.hi, row.end.lo, &is)]);
            if (way, key) == (RECORDS, WAITING) {
                self.woken += sum(row.start.hi, row.end.lo, &|was| was == WOKEN)[1];
            }
        }
        if way == 0 {
            let (began, cr3s) = lifetimes(scenario, &text);
            self.began += began;
            self.cr3s += cr3s.len();
            self.processes += rows.processes.iter().filter(|p| p.vm_id.is_some()).count();
        }
    }

    fn count(&mut self, way: usize, key: Key, ticks: Ticks) {
        let sums = &mut self.ticks.entry(key).or_default()[way];
        sums.iter_mut().flatten().zip(ticks.iter().flatten()).for_each(|(sum, ticks)| *sum += ticks);
    }

    fn merge(mut self, other: &Often) -> Often {
        for (key, ways) in &other.ticks {
            ways.iter().enumerate().for_each(|(way, ticks)| self.count(way, *key, *ticks));
        }
        self.woken += other.woken;
        self.began += other.began;
        self.cr3s += other.cr3s;
        self.processes += other.processes;
        self
    }

    /// Percent of its table's time that is told so.
    fn share(&self, way: usize, key: Key) -> f64 {
        let told = |ways: &[Ticks; WAYS.len()]| ways[way][0][0] as f64;
        let all: f64 = self.ticks.iter().filter(|(k, _)| k.0 == key.0).map(|(_, ways)| told(ways)).sum();
        100.0 * self.ticks.get(&key).map_or(0.0, told) / all
    }

    /// Percent of `waiting`, observed.
    fn after_wake_up(&self) -> f64 {
        100.0 * self.woken as f64 / self.ticks[&WAITING][RECORDS][1][0] as f64
    }

    /// Percent of that which is so: by estimates, and between bounds. None where nothing is told, or it is that
    /// nothing is known.
    fn right(&self, way: usize, key: Key) -> [Option<f64>; 2] {
        let says = ![Evidence::Unknown as usize, Evidence::Lost as usize].contains(&key.2);
        let ticks = self.ticks.get(&key).map_or([[0; 2]; 2], |ways| ways[way]);
        ticks.map(|[told, right]| (says && told > 0).then(|| 100.0 * right as f64 / told as f64))
    }
}

impl fmt::Display for Often {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| table | state | evidence |")?;
        WAYS.iter().try_for_each(|way| write!(f, " {way}: told | right | sure |"))?;
        writeln!(f, "\n| --- | --- | --- |{}", " ---: | ---: | ---: |".repeat(WAYS.len()))?;
        let percent = |of: Option<f64>| of.map_or(String::new(), |of| format!(" {of:.1}"));
        for key in self.ticks.keys() {
            // What rounds to nothing says nothing.
            let shares = std::array::from_fn::<_, { WAYS.len() }, _>(|way| {
                Some(self.share(way, *key)).filter(|share| *share >= 0.05)
            });
            if shares.iter().all(Option::is_none) {
                continue;
            }
            let [table, state, evidence] = names(*key);
            write!(f, "| `{table}` | `{state}` | {evidence} |")?;
            for (way, share) in shares.into_iter().enumerate() {
                let [right, sure] = if share.is_some() { self.right(way, *key) } else { [None; 2] };
                write!(f, "{} |{} |{} |", percent(share), percent(right), percent(sure))?;
            }
            writeln!(f)?;
        }
        writeln!(f, "\nwaiting, observed: {:.1} % after the wake-up", self.after_wake_up())?;
        let Often { began, cr3s, processes, .. } = self;
        writeln!(f, "\n| rows of guest processes | CR3s of them whose lifetimes are known | lifetimes | told apart |")?;
        writeln!(f, "| ---: | ---: | ---: | ---: |\n| {processes} | {cr3s} | {began} | {cr3s} |")
    }
}

/// Ticks of a row that the truth knows, and those of them where it is so. `pieces` are in order.
fn told<P>(pieces: &[P], span: impl Fn(&P) -> (i64, i64), from: i64, to: i64, is: impl Fn(&P) -> bool) -> [i64; 2] {
    let first = pieces.partition_point(|piece| span(piece).1 <= from);
    let mut sum = [0, 0];
    for piece in pieces[first..].iter().take_while(|piece| span(piece).0 < to) {
        let (start, end) = span(piece);
        let ticks = end.min(to) - start.max(from);
        sum = [sum[0] + ticks, sum[1] + if is(piece) { ticks } else { 0 }];
    }
    sum
}

#[test]
fn how_often_what_is_told_is_right() {
    let next = AtomicU64::new(0);
    let work = || {
        let mut often = Often::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= SEEDS {
                return often;
            }
            for way in 0..WAYS.len() {
                let mut scenario = Scenario::random(seed);
                let trace = &mut scenario.trace;
                match (way, trace.mtc_period) {
                    (NO_MTC, 0..) => continue,
                    (NO_MTC, _) => {}
                    (_, period) => trace.mtc_period = if period < 0 { 9 } else { period },
                }
                trace.event = way == EVENT;
                trace.form = if way == RECORDS { Form::Perf } else { Form::Raw };
                let dir = tempfile::tempdir().unwrap();
                often.add(way, &scenario, &dir.path().join("node"));
            }
        }
    };
    let often = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        work().merge(&other.join().unwrap())
    });
    println!("{often}");
    for (way, name) in WAYS.into_iter().enumerate() {
        for key in
            often.ticks.keys().filter(|key| key.2 == Evidence::Observed as usize && often.share(way, **key) > 0.1)
        {
            let woken = if *key == WAITING { often.after_wake_up() } else { 0.0 };
            let [right, sure] = often.right(way, *key);
            // A sleep that hides in a period is taken for being awake, and a switch takes a few microseconds.
            let least = if key.0 == 0 && key.1 == C::Hypervisor as usize || key.0 == 1 { 99.5 } else { 99.9 };
            assert!(sure.is_none_or(|sure| sure + woken >= least), "{}, {:?}: {sure:?}", name, names(*key));
            assert!(way == NO_MTC || right.is_none_or(|right| right >= 90.0), "{}, {:?}: {right:?}", name, names(*key));
        }
        let unknown = often.ticks.keys().filter(|key| key.2 >= Evidence::Unknown as usize);
        let unknown: f64 = unknown.map(|key| often.share(way, *key)).sum();
        assert!(unknown < 2.0, "{}: {unknown} % unknown or lost", name);
    }
    let told = |way, state| -> f64 { Evidence::ALL.iter().map(|e| often.share(way, vcpu(state, *e))).sum() };
    // What says more leaves less open.
    assert!(told(RECORDS, V::OffCpu) < told(EVENT, V::OffCpu) && told(EVENT, V::OffCpu) < told(0, V::OffCpu));
    assert!(often.right(EVENT, vcpu(V::Preempted, Evidence::Inferred))[0].is_some_and(|right| right >= 99.0));
    // One row for each CR3 of a VM, however many processes had it.
    assert!(often.cr3s <= often.processes && often.began > often.cr3s);
}
