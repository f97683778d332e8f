//! A capture with its truth, and a scenario fitted to it, side by side as Markdown.
//!
//! `cargo run --release --example fit -p havana -- CAPTURE_DIR SCENARIO.toml`
//!
//! The scenario is played for as long as the capture is. Counts are a second of that time; lengths are of the truth of
//! both, in microseconds.

mod measure;

use std::path::Path;

use anyhow::{Context, bail};
use havana_sim::Scenario;
use measure::{Measured, STRETCHES};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [capture, scenario] = &args[..] else { bail!("usage: fit CAPTURE_DIR SCENARIO.toml") };
    let real = Measured::capture(Path::new(capture)).with_context(|| capture.clone())?;
    let text = std::fs::read_to_string(scenario).with_context(|| scenario.clone())?;
    let scenario = Scenario::parse(&text).with_context(|| scenario.clone())?;
    let simulated = Measured::scenario(scenario, real.seconds)?;

    println!("{:.2} s. A second:\n", real.seconds);
    println!("| packets | real | simulated | off |\n| --- | ---: | ---: | ---: |");
    let kinds = real.packets.keys().chain(simulated.packets.keys().filter(|k| !real.packets.contains_key(*k)));
    for kind in kinds {
        let of = |m: &Measured| m.packets.get(kind).copied().unwrap_or(0);
        row(&format!("`{kind}`"), per_second(&real, of), per_second(&simulated, of));
    }
    println!("\n| VM exits | real | simulated | off |\n| --- | ---: | ---: | ---: |");
    row("all", per_second(&real, Measured::all_exits), per_second(&simulated, Measured::all_exits));
    let reasons = real.exits.keys().chain(simulated.exits.keys().filter(|r| !real.exits.contains_key(*r)));
    for reason in reasons {
        let of = |m: &Measured| m.exits.get(reason).copied().unwrap_or(0);
        row(&name(*reason), per_second(&real, of), per_second(&simulated, of));
    }
    println!("\nLengths in µs:\n");
    println!("| stretch | real: a second, p10, p50, p90, p99 | simulated | p50 off |\n| --- | --- | --- | ---: |");
    for (i, (stretch, _)) in STRETCHES.iter().enumerate() {
        let all = |m: &Measured| {
            let lengths: Vec<String> = [10, 50, 90, 99].iter().filter_map(|p| m.length(i, *p)).map(short).collect();
            format!("{:.0}/s: {}", m.lengths[i].len() as f64 / m.seconds, lengths.join(", "))
        };
        let off = match (real.length(i, 50), simulated.length(i, 50)) {
            (Some(real), Some(simulated)) => off(real, simulated),
            _ => String::new(),
        };
        println!("| {stretch} | {} | {} | {off} |", all(&real), all(&simulated));
    }
    Ok(())
}

fn per_second(measured: &Measured, of: impl Fn(&Measured) -> u64) -> f64 {
    of(measured) as f64 / measured.seconds
}

fn row(what: &str, real: f64, simulated: f64) {
    println!("| {what} | {} | {} | {} |", short(real), short(simulated), off(real, simulated));
}

fn short(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

fn off(real: f64, simulated: f64) -> String {
    if real == 0.0 { "—".into() } else { format!("{:+.0} %", 100.0 * (simulated - real) / real) }
}

/// An exit's basic reason (SDM, appendix C) in words.
fn name(reason: u16) -> String {
    let known = match reason {
        1 => "external interrupt",
        7 => "interrupt window",
        10 => "CPUID",
        12 => "HLT",
        30 => "I/O",
        31 => "RDMSR",
        32 => "WRMSR",
        48 => "EPT violation",
        49 => "EPT misconfiguration",
        52 => "preemption timer",
        _ => return reason.to_string(),
    };
    format!("{known} ({reason})")
}
