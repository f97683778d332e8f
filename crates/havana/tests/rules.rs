//! Each rule that the hardware imposes, taken away: nodes that are simulated must notice.
//!
//! A rule whose loss no comparison notices is a rule that no test holds the analysis to. Those are listed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use havana_sim::Scenario;
use havana_sim::scenario::Form;
use havana_timeline::{Rule, without};
use havana_trace::{OpenOptions, Trace};

use crate::common::lossy::Lossy;
use crate::common::rows::Rows;
use crate::simulated::{compare_rows, play};

/// So many nodes are drawn, and one that notices what few do; and then there is one whose guest's clock is set back for
/// long enough to be read again.
const SEEDS: u64 = 36;
const RARE: u64 = 116;
const LAST: &str = "clock-jump";

/// What none of them notices, and why.
const UNNOTICED: &[(Rule, &str)] = &[
    // What no node does.
    (Rule::OvfEndsPsb, "no OVF comes amid a PSB+"),
    (Rule::PsbTimesAreReal, "PSB+ has neither MTC nor CYC"),
    (Rule::VmcsIsReused, "no VMCS page is another VM's later"),
    (Rule::AllOnesIsNone, "nothing is entered while no VMCS is loaded"),
    (Rule::Skz84, "the decoder knows a corrupt TMA by the byte behind it"),
    // What is told without it is less, and not wrong.
    (Rule::Skl168, "some sleep of an MTC period too much"),
    (Rule::PsbNamesVmcs, "exits after a loss are of no known vCPU, and their number is told"),
    (Rule::TmaIsHosts, "where a guest's TMA is believed, its clock says the time too: bounds are wider, and hold"),
    // The rest has no truth to be held to.
    (Rule::Bracketing, "bounds are wider, and hold"),
    (Rule::OffsetIsShared, "estimate only"),
    (Rule::OffsetScales, "where MTC tells the time, a guest's clock bounds nothing"),
    (Rule::GuestsHidden, "a warning, and no row"),
];

/// What is wrong first where a trace is analyzed without a rule.
fn wrong(trace: &Trace, scenario: &Scenario, truth: &str, rule: Option<Rule>) -> Option<String> {
    let rows = without(rule, || Rows::of(trace));
    if scenario.loses() {
        return Lossy::of(&rows, scenario, truth).wrong.into_iter().next();
    }
    let found = compare_rows(&rows, scenario, truth);
    let mut wrong = found.wrong;
    if scenario.node.seconds > 1.0 && found.clocks_unknown > 0 {
        wrong.push(format!("{} TSC offsets are not told", found.clocks_unknown));
    }
    wrong.into_iter().next()
}

/// The first seed that notices that a rule is gone, and what it says first.
type Noticed = BTreeMap<Rule, (u64, String)>;

/// The nodes of a seed: a third of them with errata and what the kernel says, a third with losses too.
fn scenario(seed: u64) -> Scenario {
    if seed == u64::MAX {
        return Scenario::named(LAST).unwrap();
    }
    let lossy = Scenario::random_lossy(seed);
    let mut scenario = if seed % 3 == 2 { lossy.clone() } else { Scenario::random(seed) };
    if seed % 3 == 1 {
        scenario.trace.form = Form::Perf;
        scenario.trace.any_order = lossy.trace.any_order;
        scenario.trace.errata = lossy.trace.errata;
    }
    scenario
}

fn notice(seed: u64, dir: &Path, noticed: &Mutex<Noticed>) {
    let scenario = scenario(seed);
    let (input, truth) = play(&scenario, dir);
    let trace = havana_trace::open(&[input], &OpenOptions::default()).unwrap();
    assert_eq!(wrong(&trace, &scenario, &truth, None), None, "seed {seed}, with all rules");
    for rule in Rule::ALL {
        let is_earlier = |noticed: &Noticed| noticed.get(rule).is_none_or(|(first, _)| seed < *first);
        if is_earlier(&noticed.lock().unwrap())
            && let Some(what) = wrong(&trace, &scenario, &truth, Some(*rule))
        {
            let mut noticed = noticed.lock().unwrap();
            if is_earlier(&noticed) {
                noticed.insert(*rule, (seed, what));
            }
        }
    }
}

#[test]
fn the_loss_of_each_rule_is_noticed() {
    const MOST: u64 = SEEDS + 1;
    let (next, noticed) = (AtomicU64::new(0), Mutex::new(Noticed::new()));
    let work = || {
        loop {
            let seed = match next.fetch_add(1, Ordering::Relaxed) {
                drawn @ ..SEEDS => drawn,
                SEEDS => RARE,
                MOST => u64::MAX,
                _ => break,
            };
            let dir = tempfile::tempdir().unwrap();
            notice(seed, &dir.path().join("node"), &noticed);
        }
    };
    std::thread::scope(|scope| [scope.spawn(work), scope.spawn(work)].map(|half| half.join().unwrap()));
    let noticed = noticed.into_inner().unwrap();
    println!("| rule | seed | what it says first |\n| --- | --- | --- |");
    let name = |seed| if seed < u64::MAX { format!("{seed}") } else { LAST.into() };
    let mut off = Vec::new();
    for rule in Rule::ALL {
        let why = UNNOTICED.iter().find(|(unnoticed, _)| unnoticed == rule).map(|(_, why)| *why);
        match (noticed.get(rule), why) {
            (Some((seed, what)), None) => {
                let what: String = what.chars().take(100).collect();
                println!("| 4.{} {rule:?} | {} | {what} |", rule.section(), name(*seed));
            }
            (None, Some(why)) => println!("| 4.{} {rule:?} | none | ({why}) |", rule.section()),
            (Some((seed, what)), Some(_)) => off.push(format!("{rule:?} is noticed: {}: {what}", name(*seed))),
            (None, None) => off.push(format!("{rule:?} is not noticed")),
        }
    }
    assert!(off.is_empty(), "{}", off.join("\n"));
}
