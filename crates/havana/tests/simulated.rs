//! Nodes that are simulated, against their truth: `havana simulate`, and scenarios drawn at random.

use std::fs::File;
use std::path::Path;

use havana_sim::{NAMED, Node, Scenario, Streams};

use crate::common::analyze;
use crate::common::compare::Comparison;
use crate::common::rows::Rows;
use crate::common::truth::Truth;

/// Plays a scenario into a directory, and gives its truth.
pub(crate) fn play(scenario: &Scenario, dir: &Path) -> Truth {
    std::fs::create_dir(dir).unwrap();
    std::fs::write(dir.join("trace.toml"), scenario.facts()).unwrap();
    let mut node = Node::new(scenario);
    let cr3 = node.host_cr3();
    let files = cr3.iter().enumerate().map(|(c, cr3)| (*cr3, File::create(dir.join(format!("cpu{c}.pt"))).unwrap()));
    let streams = Streams::new(&scenario.mode(), scenario.clock(), scenario.node.seed, node.begin(), files);
    let truth = havana_sim::Truth::new(Vec::new(), node.begin(), &cr3, node.vcpu_threads()).unwrap();
    let mut watch = (streams, truth);
    node.run(&mut watch);
    watch.0.finish(node.end()).unwrap();
    Truth::parse(&String::from_utf8(watch.1.finish(node.end()).unwrap()).unwrap())
}

/// What `analyze` makes of a scenario, against its truth.
fn compare(scenario: &Scenario) -> Comparison {
    let dir = tempfile::tempdir().unwrap();
    let truth = play(scenario, &dir.path().join("node"));
    let dataset = analyze(&dir.path().join("node"), &dir.path().join("dataset"));
    Comparison::of(&Rows::read(&dataset), &truth)
}

/// Holds what was found to what a trace of this kind allows.
pub(crate) fn judge(scenario: &Scenario, found: &mut Comparison) {
    let havana_sim::scenario::Trace { branches, mtc_period, cyc, power, event, .. } = scenario.trace;
    if scenario.vm.iter().any(|vm| vm.tsc_scale != 1.0) {
        // The truth's offset is then not what the guest is ahead by.
        found.wrong.retain(|what| !what.contains("TSC offset"));
    }
    let [n, d] = scenario.node.tsc_ctc_ratio.map(i64::from);
    let period = u8::try_from(mtc_period).ok().map(|shift| (n << shift) / d);
    let mut holds = |good: bool, what: String| {
        if !good {
            found.wrong.push(what);
        }
    };
    let [reasons, ips, all] = [found.reasons, found.guest_ips, found.stretches];
    holds(!event || reasons == all, format!("Event Trace, and {reasons} reasons of {all} exits"));
    holds(!(event || branches) || ips == all, format!("FUPs, and {ips} instructions of {all} exits"));
    holds(!power || found.idle_inferred == 0, format!("power events, and {} sleeps inferred", found.idle_inferred));
    let Some(period) = period else { return };
    holds(found.coverage <= 2.0, format!("coverage {:.2} % off", found.coverage));
    holds(found.idle <= 0.5, format!("idle {:.3} % off", found.idle));
    // Where a PSB+ may stand for an MTC, that of a sleep may too.
    holds(found.hidden_sleep <= 2 * period, format!("awake, and asleep for {} ticks", found.hidden_sleep));
    let [median, p99] = found.width;
    let most = if cyc { period / 4 } else { period / 2 + 4 };
    holds(median <= most && p99 <= period + 4, format!("half widths {median}, {p99} of a period of {period}"));
    // Exits that are further apart than the known times; cycles date them all.
    let apart = if cyc { 0 } else { period };
    let worst = found.vcpu_shares.iter().filter(|(_, usual)| *usual >= apart).map(|(off, _)| *off).fold(0.0, f64::max);
    holds(worst <= 0.5, format!("guest time of a vCPU {worst:.3} % off"));
}

/// A second of each named scenario, the large one on a few cpus.
#[test]
fn every_named_scenario() {
    for (name, _) in NAMED {
        let mut scenario = Scenario::named(name).unwrap();
        scenario.node.seconds = 1.0;
        if *name == "big" {
            scenario.node.cpus = 4;
            scenario.vm.iter_mut().for_each(|vm| vm.count /= 10);
        }
        let mut found = compare(&scenario);
        judge(&scenario, &mut found);
        println!("{name}\n{found}");
        assert!(found.wrong.is_empty(), "{name}\n{found}");
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
            let scenario = Scenario::random(seed);
            scenario.check().unwrap();
            let mut found = compare(&scenario);
            judge(&scenario, &mut found);
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

/// A thousand small nodes, two at a time. `HAVANA_SCENARIOS=FROM..TO`: these instead.
#[test]
fn random_scenarios() {
    let said = std::env::var("HAVANA_SCENARIOS").unwrap_or_else(|_| "0..1000".into());
    let (from, to) = said.split_once("..").unwrap();
    let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
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
