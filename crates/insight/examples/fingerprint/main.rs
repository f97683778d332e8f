//! How often a program is found again in another capture by its fingerprint: a scenario simulated twice, with other chance,
//! page tables and order.
//!
//! `cargo run --release --example fingerprint -p havana-insight -- [RUNS [FIRST_SEED [-v]]]`
//!
//! Limits were set looking at seeds below 2,000 only; the table of the docs is of seeds from 2,000 on. With `-v`: what was
//! paired wrong, and how far apart the same and different programs are.

#[path = "../judge/again.rs"]
mod again;
#[path = "../judge/play.rs"]
mod play;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use again::{again, programs};
use havana_insight::{Prints, fingerprints, pairs};
use havana_sim::{Rng, Scenario};
use play::{Result, play};

const SCENARIOS: [&str; 8] =
    ["quiet", "noisy-neighbour", "cron-burst", "exit-storm", "overcommit", "throttled", "migration", "clock-jump"];

/// Of one scenario.
#[derive(Default)]
struct Score {
    /// Programs that ran in both.
    programs: u64,
    right: u64,
    wrong: u64,
    /// One of several that are alike: of which one is right.
    one_of: u64,
    said: Vec<String>,
    same: Vec<f64>,
    different: Vec<f64>,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| args.get(at).map_or(Ok(default), |arg| arg.parse());
    let (runs, first) = (number(0, 50)?, number(1, 1000)?);
    let (table, next) = (Mutex::new(BTreeMap::new()), AtomicU64::new(0));
    let work = || -> Result<()> {
        loop {
            let job = next.fetch_add(1, Ordering::Relaxed);
            let Some(name) = SCENARIOS.get((job / runs) as usize) else { return Ok(()) };
            twice(name, first + job % runs, &table)?;
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..std::thread::available_parallelism().map_or(1, usize::from)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a run panicked".into())))
    })?;
    let mut table: BTreeMap<&str, Score> = table.into_inner().map_err(|_| "a run panicked")?;
    println!("Seeds {first} to {}.\n", first + runs - 1);
    println!(
        "| scenario, twice | programs | found again | as one of several alike | wrong | left open | precision | recall |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for (name, Score { programs, right, wrong, one_of, .. }) in &table {
        let all = right + wrong + one_of;
        let (told, open) = (all.max(1) as f64, programs.saturating_sub(all));
        let (precision, recall) = ((right + one_of) as f64 / told, *right as f64 / (*programs).max(1) as f64);
        println!("| {name} | {programs} | {right} | {one_of} | {wrong} | {open} | {precision:.3} | {recall:.3} |");
    }
    if args.iter().any(|arg| arg == "-v") {
        for (name, score) in &mut table {
            score.said.iter().for_each(|said| println!("{name} {said}"));
            for (what, of) in [("same", &mut score.same), ("different", &mut score.different)] {
                of.sort_by(f64::total_cmp);
                let at = |part: f64| of.get((of.len() as f64 * part) as usize).copied().unwrap_or(f64::NAN);
                let parts = [0.0, 0.01, 0.05, 0.5, 0.95, 0.99, 0.999].map(|part| format!("{:.3}", at(part)));
                println!("{name} {what}, {}: {}", of.len(), parts.join(" "));
            }
        }
    }
    Ok(())
}

/// The programs of a scenario's capture, and what they are known by.
fn capture(name: &str, seed: u64) -> Result<(Prints, BTreeMap<i32, String>)> {
    let scenario = again(Scenario::named(name).ok_or("no such scenario")?, seed);
    let dir = tempfile::tempdir()?;
    let dataset = play(&scenario, dir.path(), &mut Rng::new(seed))?;
    Ok((fingerprints(&dataset)?, programs(&scenario, &dataset)?))
}

fn twice(name: &'static str, seed: u64, table: &Mutex<BTreeMap<&'static str, Score>>) -> Result<()> {
    let (a, in_a) = capture(name, 2 * seed)?;
    let (b, in_b) = capture(name, 2 * seed + 1)?;
    let pairs = pairs(&a, &b);
    let mut table = table.lock().map_err(|_| "a run panicked")?;
    let score = table.entry(name).or_default();
    score.programs += in_a.values().filter(|program| in_b.values().any(|other| other == *program)).count() as u64;
    for pair in pairs {
        // A kernel that runs before its first process is none of the programs.
        let all = |one| std::iter::once(&pair.b).chain(&pair.or).any(|other| in_b.get(other) == one);
        match (in_a.get(&pair.a), in_b.get(&pair.b)) {
            (None, None) => {}
            (one, _) if !pair.or.is_empty() && all(one) => score.one_of += 1,
            (one, other) if one == other => score.right += 1,
            (one, other) => {
                score.wrong += 1;
                let how = format!("{:.3}, sure {:.2}", pair.distance, pair.sure);
                score.said.push(format!("{seed}: {one:?} is not {other:?} ({how})"));
            }
        }
    }
    for (one, print) in a.processes.iter().filter(|(_, print)| print.fingerprint.is_clear()) {
        for (other, against) in b.processes.iter().filter(|(_, print)| print.fingerprint.is_clear()) {
            let (Some(one), Some(other)) = (in_a.get(one), in_b.get(other)) else { continue };
            let distance = print.fingerprint.distance(&against.fingerprint).unwrap_or(1.0);
            if one == other { &mut score.same } else { &mut score.different }.push(distance);
        }
    }
    Ok(())
}
