//! The command line of `havana-sql`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Parser;
use havana_query::Hours;
use havana_query::output::Format;
use havana_query::questions::Question;

const AFTER: &str = "\
Examples:
  havana sql tuesday.havana --list                   questions that have a name
  havana sql tuesday.havana steal-matrix
  havana sql tuesday.havana \"SELECT state, sum(end_tsc - start_tsc) FROM cpu_states GROUP BY state\"
  havana sql *.havana nodes                          many nodes and captures at once
  havana sql tuesday.havana \"SELECT * FROM exits WHERE reason = 48\" -o exits.parquet
  havana sql s3://traces/fleet \"SELECT node, count(*) FROM exits WHERE hour = '2026-11-28-21' GROUP BY node\"
  havana sql s3://traces/fleet --hours 2026-11-28 steal-matrix       of a day
  havana sql s3://traces/fleet --cluster df://scheduler nodes        answered by many machines
  havana sql tuesday.havana                          a shell; \\help says what it knows

Functions beside the engine's own:
  overlap_ns(start, end, start, end)    how long two intervals overlap; 0 where they do not
  overlaps(start, end, start, end)      whether they do; in ON it makes a join by time
  time_bucket(width, time)              the start of its bucket; width: '100ms', or a number
  time_buckets(width, start, end)       of all that an interval touches, for unnest()
  reason_name(reason)                   what the SDM calls a VM exit

Exit status: 0 with an answer, 1 without (a one-line error says why), 2 for wrong usage.";

/// SQL over one dataset or many.
#[derive(Debug, Parser)]
#[command(name = "havana sql", bin_name = "havana sql", version, about, after_help = AFTER, max_term_width = 100)]
pub(crate) struct Cli {
    /// Datasets, or the root of a fleet (a directory, s3://…), then the question: SQL, or the name of one. Without it: from stdin, or a shell
    #[arg(value_name = "DATASET… [QUESTION]")]
    words: Vec<PathBuf>,
    /// The questions that have a name
    #[arg(long)]
    pub(crate) list: bool,
    /// The SQL of a question that has a name
    #[arg(long, value_name = "NAME")]
    pub(crate) show: Option<String>,
    /// The question is in a file; `-`: stdin
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// How the answer is written; else as the name of --output says, or as a table
    #[arg(long)]
    pub(crate) format: Option<Format>,
    /// Where to; `-`: stdout
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    /// Replaces a file that is there
    #[arg(long)]
    pub(crate) force: bool,
    /// Memory that the answer may take, MiB; else most of what is free
    #[arg(long, value_name = "MIB")]
    pub(crate) memory: Option<u64>,
    /// Of a root the captures that began then alone: 2026-11-28-21, 2026-11-28, 2026-11-28-21..2026-11-29-03 (UTC)
    #[arg(long, value_name = "HOURS")]
    pub(crate) hours: Option<Hours>,
    /// Has a Ballista cluster answer: the address of its scheduler, df://HOST or df://HOST:PORT
    #[arg(long, value_name = "URL")]
    pub(crate) cluster: Option<String>,
    /// Says on stderr how long it took and how much was read
    #[arg(long)]
    pub(crate) stats: bool,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// SQL.
    Sql(String),
    /// What a file has.
    File(PathBuf),
    /// Nothing yet.
    Nothing,
}

impl Cli {
    /// Reads the command line. SQL may begin with a comment, which is no option: no option has a blank in it.
    pub(crate) fn of(words: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
        let shield = |word: OsString| match word.to_str() {
            Some(text) if is_comment(text) => format!("\n{text}").into(),
            _ => word,
        };
        Cli::try_parse_from(words.into_iter().map(shield))
    }

    /// The datasets, and what is asked: the last word is a question where it is the name of one, or no file and more than
    /// a word.
    pub(crate) fn words(&self) -> (&[PathBuf], Asked) {
        if let Some(file) = &self.file {
            return (&self.words, Asked::File(file.clone()));
        }
        match self.words.split_last() {
            Some((last, datasets)) => match question(last) {
                Some(sql) => (datasets, Asked::Sql(sql)),
                None => (&self.words, Asked::Nothing),
            },
            None => (&[], Asked::Nothing),
        }
    }
}

/// Whether a word is SQL that begins with a comment, and no option with a value that has a blank.
fn is_comment(word: &str) -> bool {
    let first = word.split(char::is_whitespace).next().unwrap_or_default();
    first.starts_with("--") && first.len() < word.len() && !first.contains('=')
}

/// What a word asks, where it is no dataset.
fn question(word: &Path) -> Option<String> {
    let text = word.to_str().filter(|_| !word.exists())?;
    let named = Question::named(text).map(|question| question.sql.to_string());
    named.or_else(|| text.contains(char::is_whitespace).then(|| text.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn words(words: &[&str]) -> (Vec<PathBuf>, Asked) {
        let cli = Cli::of([&["havana sql"], words].concat().into_iter().map(OsString::from)).unwrap();
        let (datasets, asked) = cli.words();
        (datasets.to_vec(), asked)
    }

    #[test]
    fn the_last_word_may_be_a_question() {
        Cli::command().debug_assert();
        let sql = "SELECT 1".to_string();
        assert_eq!(words(&["a", "b", "SELECT 1"]), (vec!["a".into(), "b".into()], Asked::Sql(sql)));
        assert_eq!(words(&["a", "b"]), (vec!["a".into(), "b".into()], Asked::Nothing));
        let named = Question::named("nodes").unwrap().sql.to_string();
        assert_eq!(words(&["a", "nodes"]), (vec!["a".into()], Asked::Sql(named)));
        assert_eq!(words(&["a", "--output=my file"]), (vec!["a".into()], Asked::Nothing));
        let commented = "-- why\nSELECT 1".to_string();
        assert_eq!(
            words(&["a", "--stats", &commented, "--format", "csv"]),
            (vec!["a".into()], Asked::Sql(format!("\n{commented}")))
        );
        assert_eq!(words(&["a", "-f", "-"]), (vec!["a".into()], Asked::File("-".into())));
        assert_eq!(words(&[]), (vec![], Asked::Nothing));
    }
}
