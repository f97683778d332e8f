//! `havana export`: a dataset in the formats of other tools.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use havana_export::{ExportError, Part, Selection, ctf, folded, perfetto, pprof, tables};
use havana_insight::words::bytes;
use havana_rows::parquet::Table;
use havana_store::{Dataset, WholeFile};
use havana_trace::STDIN;

use super::directory;
use crate::cli::{Export, ExportFormat};

/// Bytes that are written at once.
const BUFFER: usize = 256 << 10;

pub(crate) fn run(args: &Export) -> anyhow::Result<ExitCode> {
    if args.table.is_some() && !matches!(args.format, ExportFormat::Csv | ExportFormat::Jsonl) {
        bail!("--table is for --format csv and jsonl");
    }
    let dataset = Dataset::open(&args.dataset)?;
    let part = Part {
        from: args.part.from,
        to: args.part.to,
        vms: args.part.vm.clone(),
        cpus: args.part.cpu.iter().map(|&cpu| i32::try_from(cpu).unwrap_or(i32::MAX)).collect(),
        redact: args.redact,
    };
    let selection = Selection::new(&dataset, part)?;
    if !selection.is_in_ns() {
        eprintln!("havana: warning: no TSC rate is known: times are ticks");
    }
    match args.format {
        ExportFormat::Perfetto => file(args, |out| perfetto::write(&selection, out))?,
        ExportFormat::Folded => file(args, |out| folded::write(&selection, out))?,
        ExportFormat::Pprof => file(args, |out| pprof::write(&selection, out))?,
        ExportFormat::Ctf1 => ctf(args, &selection, ctf::Version::V1)?,
        ExportFormat::Ctf2 => ctf(args, &selection, ctf::Version::V2)?,
        ExportFormat::Csv => text(args, &selection, tables::Form::Csv)?,
        ExportFormat::Jsonl => text(args, &selection, tables::Form::Jsonl)?,
    }
    if args.output != Path::new(STDIN) {
        let (place, size) = (args.output.display(), bytes(size(&args.output)?));
        writeln!(io::stdout(), "{place}  {size}, {}", opened_by(args.format))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What to do with it.
fn opened_by(format: ExportFormat) -> &'static str {
    match format {
        ExportFormat::Perfetto => "opens at ui.perfetto.dev",
        ExportFormat::Ctf1 => "for Trace Compass, babeltrace2",
        ExportFormat::Ctf2 => "for Trace Compass, babeltrace2 from 2.1 on",
        ExportFormat::Folded => "for flamegraph.pl, inferno, speedscope",
        ExportFormat::Pprof => "for go tool pprof, speedscope",
        ExportFormat::Csv | ExportFormat::Jsonl => "for spreadsheets, jq, and all that read text",
    }
}

/// A file, or standard output.
fn file(args: &Export, write: impl FnOnce(&mut dyn Write) -> Result<(), ExportError>) -> anyhow::Result<()> {
    if args.output == Path::new(STDIN) {
        let mut pipe = Pipe { out: io::stdout().lock(), is_closed: false };
        let mut out = BufWriter::with_capacity(BUFFER, &mut pipe);
        let written = write(&mut out).and_then(|()| Ok(out.flush()?));
        drop(out);
        if pipe.is_closed {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
        }
        return Ok(written?);
    }
    let place = || args.output.display().to_string();
    if !args.force && args.output.exists() {
        bail!("{}: exists already; --force replaces it", place());
    }
    let mut out = BufWriter::with_capacity(BUFFER, WholeFile::create(&args.output, args.force)?);
    write(&mut out).with_context(place)?;
    Ok(out.into_inner().map_err(|error| error.into_error()).with_context(place)?.put()?)
}

/// Standard output, which knows whether nobody reads it any more: those that write tables make a text of that error.
struct Pipe<W> {
    out: W,
    is_closed: bool,
}

impl<W: Write> Pipe<W> {
    fn noted<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        self.is_closed |= done.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        done
    }
}

impl<W: Write> Write for Pipe<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.out.write(bytes);
        self.noted(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        let done = self.out.flush();
        self.noted(done)
    }
}

/// A directory that holds `mark`.
fn in_directory(args: &Export, mark: &str, write: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    if args.output == Path::new(STDIN) {
        bail!("standard output takes one file: say -o DIR, or of csv and jsonl which --table");
    }
    directory::check_free(&args.output, args.force, mark)?;
    directory::write(&args.output, write)
}

fn ctf(args: &Export, selection: &Selection<'_>, version: ctf::Version) -> anyhow::Result<()> {
    in_directory(args, ctf::METADATA, |dir| Ok(ctf::write(selection, dir, version)?))
}

/// One table, or a directory of all.
fn text(args: &Export, selection: &Selection<'_>, form: tables::Form) -> anyhow::Result<()> {
    if let Some(table) = args.table {
        return file(args, |out| tables::write(selection, table, form, out));
    }
    let name = |table: Table| format!("{}.{}", table.name(), form.extension());
    let for_drawing = [Table::Lod, Table::LodExits];
    in_directory(args, &name(Table::Vms), |dir| {
        for &table in Table::ALL.iter().filter(|table| !for_drawing.contains(table)) {
            let mut out = BufWriter::with_capacity(BUFFER, File::create(dir.join(name(table)))?);
            tables::write(selection, table, form, &mut out)?;
            out.flush()?;
        }
        Ok(())
    })
}

/// Bytes of a file, or of those in a directory.
fn size(path: &Path) -> io::Result<u64> {
    if !path.is_dir() {
        return Ok(fs::metadata(path)?.len());
    }
    fs::read_dir(path)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}
