//! A question reads what it needs.

use std::path::Path;

use crate::common::{simulated_for, sql};

/// Bytes read for a question, and of how many.
fn read(dataset: &Path, question: &str) -> (f64, f64) {
    let output = sql(&[dataset.to_str().unwrap(), question, "--stats"]);
    let said = String::from_utf8(output.stderr).unwrap();
    let line = said.lines().last().unwrap();
    let megabytes =
        |before: &str| line.split(before).nth(1).unwrap().trim().split(' ').next().unwrap().parse().unwrap();
    (megabytes("s, "), megabytes("read of"))
}

#[test]
fn only_columns_and_pages_that_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = simulated_for(dir.path(), "exit-storm", 1, "kvm-07", "30");
    let read = |question| read(&dataset, question);
    let (all, of) = read("SELECT * FROM exits ORDER BY exit_hi_tsc DESC LIMIT 1");
    let (one, _) = read("SELECT sum(reason) FROM exits");
    let (summaries, _) = read("cpu-states");
    let (page, _) = read("SELECT * FROM exits WHERE exit_tsc < (SELECT min(exit_tsc) + 1000 FROM exits)");
    println!("MB: {of} in all, exits {all}, a column {one}, cpu-states {summaries}, a page {page}");
    assert!(one < all / 4.0 && page < all / 4.0, "{one}, {page} of {all}");
    assert!(summaries < of / 4.0, "{summaries} of {of}");
}
