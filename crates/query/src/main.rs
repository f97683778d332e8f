//! `havana-sql`: SQL over datasets. `havana sql` starts it.
#![forbid(unsafe_code)]

mod cli;
mod shell;

use std::env;
use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{anyhow, bail};
use havana_query::output::{Form, Format};
use havana_query::questions::{QUESTIONS, Question};
use havana_query::{Read as Cost, Session};
use havana_store::WholeFile;

use cli::{Asked, Cli};

/// What stands for stdin or stdout.
const STREAM: &str = "-";

fn main() -> ExitCode {
    let cli = Cli::of(env::args_os()).unwrap_or_else(|error| error.exit());
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads our output has seen enough: that is no error.
        Err(_) if CLOSED.load(Ordering::Relaxed) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("havana: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    if cli.list {
        return list(&mut Stdout(io::stdout()));
    }
    if let Some(name) = &cli.show {
        Stdout(io::stdout()).write_all(named(name)?.sql.as_bytes())?;
        return Ok(());
    }
    let (datasets, asked) = cli.words();
    let session = Session::open(datasets)?;
    for warning in session.warnings() {
        eprintln!("havana: {warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
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
    if sql.trim().is_empty() {
        bail!("nothing is asked: name SQL, or a question of --list");
    }
    runtime.block_on(answer(&session, &sql, cli))
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
    let written = if cli.output == Path::new(STREAM) {
        let form = Form { format, name: "stdout", streamed: true };
        session.answer(sql, form, Stdout(io::stdout())).await?
    } else {
        let form = Form { format, name: &name, streamed: false };
        let mut file = WholeFile::create(&cli.output, cli.force)?;
        let written = session.answer(sql, form, io::BufWriter::new(&mut file)).await?;
        file.put()?;
        written
    };
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
    format!(
        "{:.3} s, {:.1} MB read of {:.1} MB, in {} pieces",
        begin.elapsed().as_secs_f64(),
        (read.bytes - before.bytes) as f64 / 1e6,
        session.bytes() as f64 / 1e6,
        read.requests - before.requests,
    )
}

/// Says which questions have a name.
fn list(out: &mut impl Write) -> anyhow::Result<()> {
    let width = QUESTIONS.iter().map(|question| question.name.len()).max().unwrap_or_default();
    for question in QUESTIONS {
        writeln!(out, "{:width$}  {}", question.name, question.about())?;
    }
    Ok(())
}

fn named(name: &str) -> anyhow::Result<&'static Question> {
    Question::named(name).ok_or_else(|| anyhow!("{name}: no question is called that; --list says which are"))
}

/// Nobody reads what is written to stdout any more.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Stdout. That it is closed is known here for certain, whatever a writer of a format makes of the error.
struct Stdout(io::Stdout);

impl Stdout {
    fn noted<T>(outcome: io::Result<T>) -> io::Result<T> {
        outcome.inspect_err(|error| CLOSED.store(error.kind() == io::ErrorKind::BrokenPipe, Ordering::Relaxed))
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::noted(self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::noted(self.0.flush())
    }
}
