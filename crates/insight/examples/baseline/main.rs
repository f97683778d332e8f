//! What a baseline makes of findings: profiles learnt of some captures of a scenario, and other captures held against them.
//!
//! `cargo run --release --example baseline -p havana-insight -- [RUNS [FIRST_SEED [-v]]]`
//!
//! Limits were set looking at seeds below 1,000 only; the table of the docs is of seeds from 1,000 on.

#[path = "../judge/again.rs"]
mod again;
mod normal;
#[path = "../judge/play.rs"]
mod play;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use havana_insight::{Profile, Severity};
use normal::{any, learnt, said};
use play::Result;

/// What is learnt, and what is held against it.
const CASES: [(&str, &str); 7] = [
    ("quiet", "quiet"),
    ("quiet", "quiet, runaway"),
    ("quiet", "noisy-neighbour"),
    ("noisy-neighbour", "noisy-neighbour"),
    ("noisy-neighbour", "noisy-neighbour, doubled"),
    ("noisy-neighbour", "noisy-neighbour, always"),
    ("cron-burst", "cron-burst"),
];
/// Captures that are learnt.
const LEARNT: u64 = 5;

#[derive(Default, Clone)]
struct Score {
    runs: u64,
    /// Anything medium or more, and high: alone, and against the profile.
    medium: [u64; 2],
    high: [u64; 2],
    /// The first finding is about a runaway process, and high.
    culprit: u64,
    said: Vec<String>,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| args.get(at).map_or(Ok(default), |arg| arg.parse());
    let (runs, first) = (number(0, 100)?, number(1, 1000)?);
    let mut profiles: Vec<(&str, Profile)> = Vec::new();
    for (of, _) in CASES {
        if !profiles.iter().any(|(known, _)| *known == of) {
            // Seeds that nothing else has.
            profiles.push((of, learnt(of, (0..LEARNT).map(|i| 1_000_000 + first + i))?));
        }
    }
    let (table, next) = (Mutex::new(vec![Score::default(); CASES.len()]), AtomicU64::new(0));
    let work = || -> Result<()> {
        loop {
            let job = next.fetch_add(1, Ordering::Relaxed);
            let at = (job / runs) as usize;
            let Some((of, name)) = CASES.get(at) else { return Ok(()) };
            let Some((_, profile)) = profiles.iter().find(|(known, _)| known == of) else { continue };
            let seed = first + job % runs;
            let said = said(name, seed, profile)?;
            let mut table = table.lock().map_err(|_| "a run panicked")?;
            let score = &mut table[at];
            score.runs += 1;
            for (i, findings) in [&said.alone, &said.against].into_iter().enumerate() {
                score.medium[i] += u64::from(any(findings, Severity::Medium));
                score.high[i] += u64::from(any(findings, Severity::High));
            }
            let first = said.against.first().filter(|first| first.severity == Severity::High);
            score.culprit += u64::from(
                first.and_then(|first| first.who.process_id).is_some_and(|process| said.culprits.contains(&process)),
            );
            let lines: String = said.against.iter().take(6).map(|finding| format!("\n  {finding}")).collect();
            score.said.push(format!("{of} → {name} {seed}: {:?}{lines}", said.culprits));
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..std::thread::available_parallelism().map_or(1, usize::from)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a run panicked".into())))
    })?;
    println!("Seeds {first} to {}.\n", first + runs - 1);
    println!(
        "| learnt, five times | held against it | runs | medium and more, alone | against | high, alone | against | the runaway first, and high |"
    );
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    let table = table.into_inner().map_err(|_| "a run panicked")?;
    for ((of, name), Score { runs, medium, high, culprit, .. }) in CASES.iter().zip(&table) {
        let [alone, against] = medium;
        println!("| {of} | {name} | {runs} | {alone} | {against} | {} | {} | {culprit} |", high[0], high[1]);
    }
    if args.iter().any(|arg| arg == "-v") {
        table.iter().flat_map(|score| &score.said).for_each(|said| println!("{said}"));
    }
    Ok(())
}
