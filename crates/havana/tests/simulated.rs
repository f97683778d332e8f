//! Nodes that are simulated, against their truth: `havana simulate`, and scenarios drawn at random.

use std::fs::File;
use std::path::{Path, PathBuf};

use havana_rows::{Evidence, VcpuState, VcpuStateKind};
use havana_sim::scenario::{Form, Trace};
use havana_sim::{NAMED, Node, Recording, Scenario, Tables};

use crate::common::compare::Comparison;
use crate::common::lossy::{Lossy, threads};
use crate::common::rows::Rows;
use crate::common::truth::Truth;
use crate::common::{analyze, try_analyze};

/// Plays a scenario into a directory: what to analyze, and the truth of it.
pub(crate) fn play(scenario: &Scenario, dir: &Path) -> (PathBuf, String) {
    std::fs::create_dir(dir).unwrap();
    let mut node = Node::new(scenario);
    let recording = Recording::new(scenario, &node, |name| File::create(dir.join(name))).unwrap();
    let truth = havana_sim::Truth::new(Vec::new(), &node).unwrap();
    let mut watch = (recording, truth);
    node.run(&mut watch);
    watch.0.finish(node.end()).unwrap();
    let truth = String::from_utf8(watch.1.finish(node.end()).unwrap()).unwrap();
    let perf_data = dir.join("perf.data");
    (if perf_data.exists() { perf_data } else { dir.to_path_buf() }, truth)
}

/// What `analyze` makes of a scenario, against its truth.
fn compare(scenario: &Scenario) -> Comparison {
    let dir = tempfile::tempdir().unwrap();
    let (input, truth) = play(scenario, &dir.path().join("node"));
    let dataset = analyze(&input, &dir.path().join("dataset"));
    compare_rows(&Rows::read(&dataset), scenario, &truth)
}

/// Rows against the truth.
pub(crate) fn compare_rows(rows: &Rows, scenario: &Scenario, text: &str) -> Comparison {
    let mut truth = Truth::parse(text);
    let recorded = scenario.trace.form == Form::Perf;
    if recorded {
        truth.cut = period(scenario).unwrap_or(i64::MAX / 4);
    }
    let mut found = Comparison::of(rows, &truth);
    judge(scenario, &mut found);
    if recorded {
        found.wrong.extend(threads(rows, text));
        let known = |row: &&VcpuState| {
            // One that has just begun was nowhere before.
            let mut mine = rows.vcpus.iter().filter(|v| v.vcpu_id == row.vcpu_id && v.tid.is_some());
            mine.any(|v| v.first_tsc < row.start.tsc)
        };
        let off = |row: &&VcpuState| row.state == VcpuStateKind::OffCpu && row.evidence == Evidence::Observed;
        found.wrong.extend(rows.vcpu_states.iter().filter(off).find(known).map(|row| format!("off, and why? {row:?}")));
    }
    found
}

/// Ticks from one MTC to the next.
fn period(scenario: &Scenario) -> Option<i64> {
    let [n, d] = scenario.node.tsc_ctc_ratio.map(i64::from);
    u8::try_from(scenario.trace.mtc_period).ok().map(|shift| (n << shift) / d)
}

/// The same where some of the trace is lost. None where no moment of what is left can be dated.
fn compare_lossy(scenario: &Scenario) -> Option<Lossy> {
    let dir = tempfile::tempdir().unwrap();
    let (input, truth) = play(scenario, &dir.path().join("node"));
    match try_analyze(&input, &dir.path().join("dataset")) {
        Ok(dataset) => Some(Lossy::of(&Rows::read(&dataset), scenario, &truth)),
        Err(said) if said.contains("no moment of it can be dated") => None,
        Err(said) => panic!("{said}"),
    }
}

/// Where a clock is scaled, the truth's offset is not what the guest is ahead by.
fn allow_scaled(scenario: &Scenario, found: &mut Comparison) {
    if scenario.vm.iter().any(|vm| vm.tsc_scale != 1.0) {
        found.wrong.retain(|what| !what.contains("TSC offset"));
    }
}

/// Holds what was found to what a trace of this kind allows.
fn judge(scenario: &Scenario, found: &mut Comparison) {
    let havana_sim::scenario::Trace { branches, cyc, power, event, .. } = scenario.trace;
    allow_scaled(scenario, found);
    let mut holds = |good: bool, what: String| {
        if !good {
            found.wrong.push(what);
        }
    };
    let [reasons, ips, all] = [found.reasons, found.guest_ips, found.stretches];
    holds(!event || reasons == all, format!("Event Trace, and {reasons} reasons of {all} exits"));
    holds(!(event || branches) || ips == all, format!("FUPs, and {ips} instructions of {all} exits"));
    holds(!power || found.idle_inferred == 0, format!("power events, and {} sleeps inferred", found.idle_inferred));
    let Some(period) = period(scenario) else { return };
    holds(found.coverage <= 2.0, format!("coverage {:.2} % off", found.coverage));
    holds(found.idle <= 1.0, format!("idle {:.3} % off", found.idle));
    // Where a PSB+ may stand for an MTC, that of a sleep may too.
    holds(found.hidden_sleep <= 2 * period, format!("awake, and asleep for {} ticks", found.hidden_sleep));
    let [median, p99] = found.width;
    // An MTC may be written a little after its edge.
    let most = if cyc { period / 4 } else { period / 2 + period / 1024 + 4 };
    // While the recorder's handler runs there is no MTC.
    let stop = if scenario.trace.form == Form::Perf { scenario.node.tsc_hz as i64 * 2 / 1_000_000 } else { 0 };
    holds(median <= most && p99 <= period + stop + 4, format!("half widths {median}, {p99} of a period of {period}"));
    // Exits that are further apart than the known times; cycles date them all.
    let apart = if cyc { 0 } else { period };
    let worst = found.vcpu_shares.iter().filter(|(_, usual)| *usual >= apart).map(|(off, _)| *off).fold(0.0, f64::max);
    holds(worst <= 0.5, format!("guest time of a vCPU {worst:.3} % off"));
}

/// The truth's two forms are one: what knows everything is never wrong, and nothing in it is inferred or untold.
#[test]
fn the_truth_as_tables_is_the_truth() {
    let drawn = (0..200).map(|seed| (seed.to_string(), Scenario::random(seed)));
    let named = NAMED.iter().filter(|(name, _)| !["big", "lossy"].contains(name)).map(|(name, _)| {
        let mut scenario = Scenario::named(name).unwrap();
        scenario.node.seconds = 0.2;
        (name.to_string(), scenario)
    });
    for (name, scenario) in named.chain(drawn) {
        let mut node = Node::new(&scenario);
        let truth = havana_sim::Truth::new(Vec::new(), &node).unwrap();
        let mut watch = (Tables::new(Rows::default(), &node), truth);
        node.run(&mut watch);
        let rows = watch.0.finish(node.end()).unwrap();
        let text = String::from_utf8(watch.1.finish(node.end()).unwrap()).unwrap();
        let mut found = Comparison::of(&rows, &Truth::parse(&text));
        allow_scaled(&scenario, &mut found);
        // It knows when each was woken, and that it has waited for a cpu since: which no trace tells.
        found.wrong.retain(|what| !what.starts_with("it halted, and does not wait"));
        println!("{name}\n{found}");
        assert!(found.wrong.is_empty(), "{name}\n{found}");
        assert_eq!((found.error, found.width, found.unordered), ([0, 0], [0, 0], 0), "{name}");
        assert!(
            found.vcpu_share.max(found.process_share).max(found.idle).max(found.hypervisor) < 1e-9,
            "{name}\n{found}"
        );
        assert_eq!(found.reasons, found.stretches, "{name}");
    }
}

/// A second of each named scenario, the large one on a few cpus.
#[test]
fn every_named_scenario() {
    for (name, _) in NAMED {
        let mut scenario = Scenario::named(name).unwrap();
        scenario.node.seconds = 1.0;
        if *name == "lossy" {
            // Its comparison is another.
            continue;
        }
        if *name == "big" {
            scenario.node.cpus = 4;
            scenario.vm.iter_mut().for_each(|vm| vm.count /= 10);
        }
        for form in [Form::Raw, Form::Perf] {
            scenario.trace.form = form;
            let found = compare(&scenario);
            println!("{name}, {form:?}\n{found}");
            assert!(found.wrong.is_empty(), "{name}, {form:?}\n{found}");
        }
    }
}

/// What was found of some nodes.
#[derive(Default)]
struct Found {
    wrong: Vec<String>,
    /// Re-entries that are not told, with MTC and without.
    unordered: [usize; 2],
    nodes: usize,
    stretches: usize,
    times: usize,
}

impl Found {
    /// Plays some that are drawn at random.
    fn of(seeds: impl Iterator<Item = u64>) -> Found {
        let mut all = Found::default();
        for seed in seeds {
            let mut scenario = Scenario::random(seed);
            if seed % 4 == 3 {
                let lossy = Scenario::random_lossy(seed).trace;
                scenario.trace =
                    Trace { form: Form::Perf, any_order: lossy.any_order, errata: lossy.errata, ..scenario.trace };
            }
            scenario.check().unwrap();
            let found = compare(&scenario);
            all.nodes += 1;
            all.stretches += found.stretches;
            all.times += found.times;
            // Nothing but MTC says when a trace ends.
            let timed = scenario.trace.mtc_period >= 0;
            all.unordered[usize::from(!timed)] += found.unordered;
            if !found.wrong.is_empty() {
                all.wrong.push(format!("seed {seed}: {} cpus, {:?}\n{found}", scenario.node.cpus, scenario.trace));
            }
        }
        all
    }
}

/// From which seed up to which: so many, or what `HAVANA_SCENARIOS` says.
fn seeds(many: u64) -> (u64, u64) {
    let said = std::env::var("HAVANA_SCENARIOS").unwrap_or_else(|_| format!("0..{many}"));
    let (from, to) = said.split_once("..").unwrap();
    (from.parse().unwrap(), to.parse().unwrap())
}

/// A thousand small nodes, two at a time. `HAVANA_SCENARIOS=FROM..TO`: these instead.
#[test]
fn random_scenarios() {
    let (from, to) = seeds(1000);
    let half = |odd: u64| move || Found::of((from..to).filter(move |seed| seed % 2 == odd));
    let halves = std::thread::scope(|scope| {
        let other = scope.spawn(half(1));
        [half(0)(), other.join().unwrap()]
    });
    let sum = |of: fn(&Found) -> usize| halves.iter().map(of).sum::<usize>();
    let (nodes, wrong, stretches) = (sum(|f| f.nodes), sum(|f| f.wrong.len()), sum(|f| f.stretches));
    let unordered = [sum(|f| f.unordered[0]), sum(|f| f.unordered[1])];
    println!("{nodes} nodes, {stretches} guest stretches, {} times", sum(|f| f.times));
    println!("re-entries not told: {} with MTC, {} without", unordered[0], unordered[1]);
    for what in halves.iter().flat_map(|f| &f.wrong) {
        println!("{what}");
    }
    assert_eq!(wrong, 0);
    assert!(unordered[0] * 1000 <= stretches && unordered[1] * 20 <= stretches, "{unordered:?} of {stretches}");
}

/// Nodes whose trace is lost in parts. `HAVANA_SCENARIOS=FROM..TO`: these instead.
#[test]
fn lossy_scenarios() {
    let (from, to) = seeds(300);
    let lossy = Scenario { node: Scenario::random(0).node, ..Scenario::named("lossy").unwrap() };
    let mut found: Vec<(String, Lossy)> = vec![("lossy".into(), compare_lossy(&lossy).unwrap())];
    for seed in from..to {
        let scenario = Scenario::random_lossy(seed);
        let what = format!("seed {seed}: {:?} {:?}", scenario.trace, scenario.loss);
        found.extend(compare_lossy(&scenario).map(|found| (what, found)));
    }
    for (what, found) in found.iter().filter(|(_, found)| !found.wrong.is_empty()) {
        println!("{what}\n{found}");
    }
    let sum = |of: fn(&Lossy) -> usize| found.iter().map(|(_, found)| of(found)).sum::<usize>();
    println!(
        "{} nodes: {} guest stretches, {} not touched by a loss, {} told; {} re-entries told, {} more wrongly inferred, {} not though no loss hides them; {} losses, {} told; {} threads, {} of another vCPU's",
        found.len(),
        sum(|f| f.stretches),
        sum(|f| f.whole),
        sum(|f| f.told),
        sum(|f| f.reentries),
        sum(|f| f.mistaken),
        sum(|f| f.untold),
        sum(|f| f.windows),
        sum(|f| f.losses),
        sum(|f| f.threads),
        sum(|f| f.strangers)
    );
    assert_eq!(sum(|f| f.wrong.len()), 0);
    assert!(sum(|f| f.strangers) * 100 <= sum(|f| f.threads));
    assert!(found.len() as u64 * 50 > (to - from) * 49, "{} of {}", found.len(), to - from);
}
