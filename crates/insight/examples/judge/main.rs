//! How often the culprit is the first finding: scenarios whose culprit is known, varied by seeds, traced, analyzed and
//! judged.
//!
//! `cargo run --release --example judge -p havana-insight -- [RUNS [FIRST_SEED [SCENARIO]]]`
//!
//! Rules were made looking at seeds below 1,000 only; the table of the docs is of seeds from 1,000 on. With a scenario's name,
//! what was said first where that is not the culprit is printed, and what is not so.

mod case;
mod play;
mod vary;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use case::{Case, case};
use havana_insight::{Kind, Severity};
use play::Result;
use vary::SCENARIOS;

/// Of one scenario.
#[derive(Default)]
struct Score {
    runs: u64,
    /// The culprit was first.
    first: u64,
    /// Anything was of severity high.
    high: u64,
    /// What was said first where that was not the culprit, and what of severity medium and high is not so.
    failed: Vec<String>,
}

/// Of one kind, of severity medium and high.
#[derive(Default)]
struct Found {
    told: u64,
    right: u64,
    expected: u64,
    met: u64,
}

#[derive(Default)]
struct Table {
    scenarios: BTreeMap<&'static str, Score>,
    kinds: BTreeMap<Kind, Found>,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| args.get(at).map_or(Ok(default), |arg| arg.parse());
    let (runs, first) = (number(0, 100)?, number(1, 1000)?);
    let one = args.get(2);
    let scenarios: Vec<&'static str> =
        SCENARIOS.iter().copied().filter(|name| one.is_none_or(|one| one == name)).collect();
    let (table, next) = (Mutex::new(Table::default()), AtomicU64::new(0));
    let work = || -> Result<()> {
        loop {
            let job = next.fetch_add(1, Ordering::Relaxed);
            let Some(name) = scenarios.get((job / runs) as usize) else { return Ok(()) };
            judge(name, first + job % runs, &table)?;
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..std::thread::available_parallelism().map_or(1, usize::from)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a run panicked".into())))
    })?;
    let table = table.into_inner().map_err(|_| "a run panicked")?;
    print(&table, first, runs);
    if one.is_some() {
        table.scenarios.values().flat_map(|score| &score.failed).for_each(|failed| println!("{failed}"));
    }
    Ok(())
}

fn judge(name: &'static str, seed: u64, table: &Mutex<Table>) -> Result<()> {
    let Case { varied, findings, is } = case(name, seed)?;
    let mut table = table.lock().map_err(|_| "a run panicked")?;
    let table = &mut *table;
    let score = table.scenarios.entry(name).or_default();
    score.runs += 1;
    score.high += u64::from(findings.iter().any(|f| f.severity == Severity::High));
    let first = is.first().is_some_and(|right| right.iter().any(|t| varied.truths[*t].first));
    score.first += u64::from(first);
    if !first {
        let mut said = format!("{name} {seed}:");
        findings.iter().take(4).for_each(|finding| said += &format!("\n  {finding}"));
        varied.truths.iter().for_each(|truth| said += &format!("\n  {truth:x?}"));
        score.failed.push(said);
    }
    for (finding, right) in findings.iter().zip(&is).filter(|(finding, _)| finding.severity >= Severity::Medium) {
        let found = table.kinds.entry(finding.kind).or_default();
        found.told += 1;
        found.right += u64::from(!right.is_empty());
        if right.is_empty() {
            score.failed.push(format!("{name} {seed}, wrong: {finding}"));
        }
    }
    for (at, truth) in varied.truths.iter().enumerate().filter(|(_, truth)| truth.expected) {
        let met = findings.iter().zip(&is).any(|(f, right)| f.severity >= Severity::Medium && right.contains(&at));
        let found = table.kinds.entry(truth.kind).or_default();
        found.expected += 1;
        found.met += u64::from(met);
    }
    Ok(())
}

fn print(table: &Table, first: u64, runs: u64) {
    println!("Seeds {first} to {}.\n", first + runs - 1);
    println!("| scenario | runs | the culprit is first | anything of severity high |\n| --- | ---: | ---: | ---: |");
    for (name, score) in &table.scenarios {
        let culprit = if *name == "quiet" { "—".to_string() } else { score.first.to_string() };
        println!("| {name} | {} | {culprit} | {} |", score.runs, score.high);
    }
    println!("\n| kind, medium and high | told | precision | expected | recall |\n| --- | ---: | ---: | ---: | ---: |");
    let part = |n: u64, of: u64| if of == 0 { "—".into() } else { format!("{:.3}", n as f64 / of as f64) };
    for (kind, found) in &table.kinds {
        let Found { told, right, expected, met } = found;
        println!("| {} | {told} | {} | {expected} | {} |", kind.name(), part(*right, *told), part(*met, *expected));
    }
}
