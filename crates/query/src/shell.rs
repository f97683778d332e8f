//! The shell: a question after the other, with history and completion.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use havana_query::output::{Form, Format};
use havana_query::questions::{QUESTIONS, Question};
use havana_query::{QueryError, Session};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Editor, Helper, Highlighter, Hinter};
use tokio::runtime::Runtime;

const HELP: &str = "\
SQL, until a `;`, or the name of a question.
  \\list         the questions that have a name
  \\show NAME    the SQL of one
  \\tables       the tables
  \\columns NAME the columns of one
  \\help         this
  \\quit         leaves, as Ctrl-D does
Tab completes, arrows go through what was asked before, Ctrl-C stops a question.";

/// Asks for questions until who asks leaves.
pub(crate) fn run(session: &Session, runtime: &Runtime) -> anyhow::Result<()> {
    let mut editor: Editor<Words, DefaultHistory> = Editor::new()?;
    editor.set_helper(Some(Words::of(session)));
    let history = history();
    if let Some(file) = &history {
        // The first time there is none.
        let _ = editor.load_history(file);
    }
    println!("{}; \\help says what is understood", session.about());
    loop {
        match editor.readline("havana> ") {
            Ok(line) => {
                let line = line.trim();
                if line.is_empty() {
                    continue;
                }
                editor.add_history_entry(line)?;
                let sql = match Said::of(line) {
                    Said::Leave => break,
                    Said::Text(text) => {
                        println!("{text}");
                        continue;
                    }
                    Said::Sql(sql) => sql,
                };
                // What fails is said, and the next may be asked.
                if let Err(error) = runtime.block_on(answer(session, &sql)) {
                    eprintln!("{error}");
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(file) = &history {
        let _ = editor.save_history(file);
    }
    Ok(())
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Sql(String),
    Text(String),
    Leave,
}

impl Said {
    fn of(line: &str) -> Said {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim().trim_end_matches(';');
        match word {
            "\\quit" | "\\q" => Said::Leave,
            "\\help" | "\\?" => Said::Text(HELP.into()),
            "\\list" => Said::Text(crate::list().trim_end().into()),
            "\\show" => Said::Text(match Question::named(rest) {
                Some(question) => question.sql.trim_end().into(),
                None => format!("no question is called {rest:?}: \\list says which are"),
            }),
            "\\tables" => Said::Sql("SHOW TABLES".into()),
            "\\columns" => Said::Sql(format!("DESCRIBE {rest}")),
            _ if word.starts_with('\\') => Said::Text(format!("{word} is not known: \\help says what is")),
            _ => match Question::named(line.trim_end_matches(';')) {
                Some(question) => Said::Sql(question.sql.into()),
                None => Said::Sql(line.into()),
            },
        }
    }
}

/// Asks, unless who asks has enough of it.
async fn answer(session: &Session, sql: &str) -> Result<(), QueryError> {
    let begin = Instant::now();
    let before = session.read();
    let form = Form { format: Format::Table, name: "stdout", streamed: true };
    let written = tokio::select! {
        written = session.answer(sql, form, io::stdout()) => written,
        _ = tokio::signal::ctrl_c() => {
            println!("{}", if session.is_of_a_cluster() { "stopped here; the cluster goes on with it" } else { "stopped" });
            return Ok(());
        }
    };
    crate::warn(session);
    let written = written?;
    let more = if written.more { " shown; there are more" } else { "" };
    println!("{} rows{more}, {}", written.rows, crate::stats(session, before, begin));
    Ok(())
}

/// Where what was asked is kept.
fn history() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let dir = state.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?.join("havana");
    fs::create_dir_all(&dir).ok()?;
    Some(dir.join("sql_history"))
}

/// Words that may be meant.
#[derive(Helper, Hinter, Highlighter)]
struct Words(Vec<String>);

impl Words {
    fn of(session: &Session) -> Words {
        let keywords = "SELECT FROM WHERE GROUP BY ORDER HAVING LIMIT JOIN LEFT WITH AS ON AND OR NOT NULL CASE WHEN THEN ELSE \
            END COUNT SUM MIN MAX AVG DISTINCT BETWEEN LIKE DESC OVER PARTITION UNION ALL EXPLAIN DESCRIBE SHOW TABLES";
        let commands = "\\list \\show \\tables \\columns \\help \\quit";
        let fixed = keywords.split_whitespace().chain(commands.split_whitespace()).map(String::from);
        Words(fixed.chain(QUESTIONS.iter().map(|question| question.name.into())).chain(session.names()).collect())
    }
}

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-' || c == '\\';
        let start = line[..at].rfind(|c: char| !is_word(c)).map_or(0, |before| before + 1);
        let begun = line[start..at].to_lowercase();
        let fits = |word: &&String| !begun.is_empty() && word.to_lowercase().starts_with(&begun);
        Ok((start, self.0.iter().filter(fits).cloned().collect()))
    }
}

impl Validator for Words {
    fn validate(&self, line: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = line.input().trim();
        let whole = text.is_empty() || text.ends_with(';') || text.starts_with('\\') || Question::named(text).is_some();
        Ok(if whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_says() {
        let sql = |text: &str| Said::Sql(text.into());
        let named = Question::named("nodes").unwrap().sql;
        for (line, said) in [
            ("SELECT 1;", sql("SELECT 1;")),
            ("nodes", sql(named)),
            ("nodes;", sql(named)),
            ("\\tables", sql("SHOW TABLES")),
            ("\\columns exits", sql("DESCRIBE exits")),
            ("\\show nodes", Said::Text(named.trim_end().into())),
            ("\\show node", Said::Text("no question is called \"node\": \\list says which are".into())),
            ("\\q", Said::Leave),
            ("\\what", Said::Text("\\what is not known: \\help says what is".into())),
        ] {
            assert_eq!(Said::of(line), said, "{line}");
        }
        assert!(matches!(Said::of("\\list"), Said::Text(text) if text.lines().count() == QUESTIONS.len()));
    }
}
