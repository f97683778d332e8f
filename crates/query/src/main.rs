//! `havana-sql`: SQL over datasets. `havana sql` starts it.
#![forbid(unsafe_code)]

mod cli;
mod shell;

use std::env;
use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{anyhow, bail};
use havana_query::output::{Form, Format};
use havana_query::questions::{QUESTIONS, Question};
use havana_query::{QueryError, Read as Cost, Session, memory};
use havana_store::StoreError;
use havana_whole::{Output, STREAM, WholeError};

use cli::{Asked, Cli};

fn main() -> ExitCode {
    let cli = Cli::of(env::args_os()).unwrap_or_else(|error| error.exit());
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads our output has seen enough: that is no error.
        Err(error) if matches!(error.downcast_ref(), Some(QueryError::Output(WholeError::Closed))) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("havana: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    if cli.list {
        return print(&list());
    }
    if let Some(name) = &cli.show {
        return print(named(name)?.sql);
    }
    let (datasets, asked) = cli.words();
    let memory = cli.memory.map_or_else(memory::share, |mib| mib.saturating_mul(1 << 20));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let session = runtime
        .block_on(Session::open(datasets, cli.hours.clone(), memory, cli.cluster.as_deref()))
        .map_err(|error| match &error {
            QueryError::Store(StoreError::NotFound { path }) if datasets.len() > 1 && datasets.last() == Some(path) => {
                anyhow!("{error}, and no question of --list")
            }
            _ => error.into(),
        })?;
    warn(&session);
    let sql = match asked {
        Asked::Sql(sql) => sql,
        Asked::File(file) if file == Path::new(STREAM) => read(io::stdin(), "stdin")?,
        Asked::File(file) => {
            let name = file.display().to_string();
            read(fs::File::open(&file).map_err(|error| anyhow!("{name}: {error}"))?, &name)?
        }
        Asked::Nothing if io::stdin().is_terminal() => return shell::run(&session, &runtime),
        Asked::Nothing => read(io::stdin(), "stdin")?,
    };
    let sql = Question::named(sql.trim()).map_or(sql.as_str(), |question| question.sql);
    if sql.trim().is_empty() {
        bail!("nothing is asked: name SQL, or a question of --list");
    }
    runtime.block_on(answer(&session, sql, cli))
}

/// Says what who asks should know.
fn warn(session: &Session) {
    for warning in session.warnings() {
        eprintln!("havana: {warning}");
    }
}

/// What is larger is no question.
const MAX_SQL: u64 = 1 << 20;

/// The SQL that a file or a pipe has.
fn read(from: impl Read, name: &str) -> anyhow::Result<String> {
    let mut sql = String::new();
    let bytes = from.take(MAX_SQL + 1).read_to_string(&mut sql).map_err(|error| anyhow!("{name}: {error}"))?;
    if bytes as u64 > MAX_SQL {
        bail!("{name}: more than a megabyte: no question is that long");
    }
    Ok(sql)
}

/// Asks, and writes the answer.
async fn answer(session: &Session, sql: &str, cli: &Cli) -> anyhow::Result<()> {
    let (begin, before) = (Instant::now(), session.read());
    let name = cli.output.display().to_string();
    let format = cli.format.or_else(|| Format::of_name(&name)).unwrap_or(Format::Table);
    let mut output = Output::create(&cli.output, cli.force).map_err(QueryError::from)?;
    let streamed = output.is_stream();
    let form = Form { format, name: if streamed { "stdout" } else { &name }, streamed };
    let written = session.answer(sql, form, io::BufWriter::new(&mut output)).await;
    warn(session);
    let written = output.end(written)?;
    if written.more {
        eprintln!("havana: there are more rows than {}: LIMIT them, or write them with --format or -o", written.rows);
    }
    if cli.stats {
        eprintln!("{}", stats(session, before, begin));
    }
    Ok(())
}

/// What a question cost.
fn stats(session: &Session, before: Cost, begin: Instant) -> String {
    let read = session.read();
    let seconds = begin.elapsed().as_secs_f64();
    let all = session.bytes().unwrap_or(read.listed - before.listed) as f64 / 1e6;
    if session.is_of_a_cluster() {
        return format!("{seconds:.3} s, of {all:.1} MB on the cluster");
    }
    format!(
        "{seconds:.3} s, {:.1} MB read of {all:.1} MB, in {} pieces",
        (read.bytes - before.bytes) as f64 / 1e6,
        read.requests - before.requests,
    )
}

/// Which questions have a name.
fn list() -> String {
    let width = QUESTIONS.iter().map(|question| question.name.len()).max().unwrap_or_default();
    QUESTIONS.iter().map(|question| format!("{:width$}  {}\n", question.name, question.about())).collect()
}

/// To stdout.
fn print(text: &str) -> anyhow::Result<()> {
    let mut output = Output::create(Path::new(STREAM), false)?;
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    Ok(output.end(written.map_err(|source| QueryError::Write { name: "stdout".into(), source: source.into() }))?)
}

fn named(name: &str) -> anyhow::Result<&'static Question> {
    Question::named(name).ok_or_else(|| anyhow!("{name}: no question is called that; --list says which are"))
}
