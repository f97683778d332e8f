//! The scenarios that are fitted to captures, against these: coarse, so that what docs/simulator.md says stays true.

use std::path::{Path, PathBuf};

use havana_sim::Scenario;

use crate::common::{at_hand, bundled};

#[path = "../examples/fit/measure.rs"]
mod measure;
use measure::{Measured, STRETCHES};

/// Packets that are not the model's stand-in for branches.
const PACKETS: [&str; 5] = ["mtc", "pip", "psb", "tsc", "vmcs"];

/// A capture and the scenario of its name: how far it is off, in percent of the capture's.
fn off(capture: &Path) -> Vec<(String, f64)> {
    let name = capture.file_name().unwrap().to_str().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sim/scenarios/fitted").join(format!("{name}.toml"));
    let scenario = Scenario::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
    let real = Measured::capture(capture).unwrap();
    let simulated = Measured::scenario(scenario, real.seconds).unwrap();
    let percent = |real: f64, simulated: f64| 100.0 * (simulated - real) / real;
    let mut off = vec![("exits".into(), percent(real.all_exits() as f64, simulated.all_exits() as f64))];
    for kind in PACKETS {
        let of = |m: &Measured| m.packets.get(kind).map_or(0.0, |n| *n as f64);
        off.push((kind.into(), percent(of(&real), of(&simulated))));
    }
    for (i, (stretch, _)) in STRETCHES.iter().enumerate() {
        // A busy cpu does not sleep.
        if let Some((a, b)) = real.length(i, 50).zip(simulated.length(i, 50)) {
            off.push((format!("median of {stretch}"), percent(a, b)));
        }
    }
    off
}

#[test]
fn fitted_scenarios_are_like_their_captures() {
    let others = ["idle-two-vms", "idle-cyc", "idle-branch", "both-hog", "io-exits"];
    let captures = others.iter().filter_map(|name| at_hand("fitted", &format!("captures/{name}")));
    for capture in captures.chain([bundled("hog-vma")]).collect::<Vec<PathBuf>>() {
        let off = off(&capture);
        println!("{}: {off:.1?}", capture.display());
        for (what, percent) in off {
            assert!(percent.abs() <= 25.0, "{}: {what} {percent:+.1} %", capture.display());
        }
    }
}
