//! What the documentation says of SQL is so.

use havana_query::questions::QUESTIONS;

use crate::common::{answer, noisy};

const SQL: &str = include_str!("../../../docs/sql.md");

#[test]
fn its_questions_are_those_that_there_are() {
    let row = |line: &str| line.starts_with("| `") && line.ends_with(". |");
    let told: Vec<&str> = SQL.lines().filter(|line| row(line)).collect();
    let asked: Vec<String> = QUESTIONS.iter().map(|of| format!("| `{}` | {} |", of.name, of.about())).collect();
    assert_eq!(told, asked);
}

#[test]
fn its_examples_have_answers() {
    let examples = SQL.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
    // The last is for another engine.
    let ours: Vec<&str> = examples.filter(|sql| !sql.contains("read_parquet")).collect();
    assert_eq!(ours.len(), 2);
    for sql in ours {
        assert!(answer(&[noisy().to_str().unwrap(), sql, "--format", "csv"]).lines().count() > 1, "{sql}");
    }
}
