//! How often `diff` tells what is different, and nothing where nothing is: pairs of simulated nodes whose difference is known.
//!
//! `cargo run --release --example diff_judge -p havana-insight -- [RUNS [FIRST_SEED [CASE]]]`
//!
//! Rules were made looking at seeds below 1,100. With a case's name (or
//! its begin), what was told where that is not so is printed.

mod pair;
#[path = "../judge/play.rs"]
mod play;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use pair::{CASES, judge};
use play::Result;

/// Of one case.
#[derive(Default, Clone)]
struct Score {
    right: u64,
    told: u64,
    compared: u64,
    failed: Vec<String>,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| args.get(at).map_or(Ok(default), |arg| arg.parse());
    let (runs, first) = (number(0, 100)?, number(1, 1000)?);
    let one = args.get(2);
    let cases: Vec<&str> =
        CASES.iter().copied().filter(|name| one.is_none_or(|one| name.starts_with(one.as_str()))).collect();
    let (scores, next) = (Mutex::new(vec![Score::default(); cases.len()]), AtomicU64::new(0));
    let work = || -> Result<()> {
        loop {
            let job = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get((job / runs) as usize) else { return Ok(()) };
            let seed = first + job % runs;
            let judged = judge(case, seed)?;
            let mut scores = scores.lock().map_err(|_| "a run panicked")?;
            let score = &mut scores[(job / runs) as usize];
            score.right += u64::from(judged.first);
            score.told += judged.told().count() as u64;
            score.compared += judged.diff.compared as u64;
            if !judged.first {
                score.failed.push(format!("{case} {seed}: {:x?}\n{}", judged.culprit, judged.said()));
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..std::thread::available_parallelism().map_or(1, usize::from)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a run panicked".into())))
    })?;
    let scores = scores.into_inner().map_err(|_| "a run panicked")?;
    println!("Seeds {first} to {}.\n", first + runs - 1);
    println!("| B is A | runs | right | compared | told |\n| --- | ---: | ---: | ---: | ---: |");
    for (case, Score { right, told, compared, .. }) in cases.iter().zip(&scores) {
        println!("| {case} | {runs} | {right} | {compared} | {told} |");
    }
    if one.is_some() {
        scores.iter().flat_map(|score| &score.failed).for_each(|failed| println!("{failed}"));
    }
    Ok(())
}
