//! `havana export`: a dataset in the formats of other tools.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use havana_export::{ExportError, Part, Selection, ctf, folded, perfetto, pprof, tables};
use havana_insight::words::bytes;
use havana_rows::parquet::Table;
use havana_store::Dataset;
use havana_whole::{Output, STREAM, WholeDirectory};

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
    if args.output != Path::new(STREAM) {
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
    let mut output = Output::create(&args.output, args.force)?;
    let mut out = BufWriter::with_capacity(BUFFER, &mut output);
    let written = write(&mut out).and_then(|()| Ok(out.flush()?));
    drop(out);
    let written = written.map_err(anyhow::Error::from);
    let written = if output.is_stream() { written } else { written.with_context(|| args.output.display().to_string()) };
    output.end(written)
}

/// A directory of plain files.
fn in_directory(args: &Export, write: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    if args.output == Path::new(STREAM) {
        bail!("standard output takes one file: say -o DIR, or of csv and jsonl which --table");
    }
    let directory = WholeDirectory::create(&args.output, args.force, is_export)?;
    write(directory.partial()).with_context(|| args.output.display().to_string())?;
    directory.put()?;
    Ok(())
}

/// Whether a directory is what an earlier export made: plain files, and one of them such as each has.
fn is_export(dir: &Path) -> bool {
    let marks =
        [ctf::METADATA.to_string(), of_table(Table::Vms, tables::Form::Csv), of_table(Table::Vms, tables::Form::Jsonl)];
    let is_plain =
        |entry: io::Result<fs::DirEntry>| entry.and_then(|entry| entry.file_type()).is_ok_and(|kind| kind.is_file());
    fs::read_dir(dir).is_ok_and(|mut entries| entries.all(is_plain))
        && marks.iter().any(|mark| dir.join(mark).is_file())
}

/// What a table's file is called.
fn of_table(table: Table, form: tables::Form) -> String {
    format!("{}.{}", table.name(), form.extension())
}

fn ctf(args: &Export, selection: &Selection<'_>, version: ctf::Version) -> anyhow::Result<()> {
    in_directory(args, |dir| Ok(ctf::write(selection, dir, version)?))
}

/// One table, or a directory of all.
fn text(args: &Export, selection: &Selection<'_>, form: tables::Form) -> anyhow::Result<()> {
    if let Some(table) = args.table {
        return file(args, |out| tables::write(selection, table, form, out));
    }
    let for_drawing = [Table::Lod, Table::LodExits];
    in_directory(args, |dir| {
        for &table in Table::ALL.iter().filter(|table| !for_drawing.contains(table)) {
            let mut out = BufWriter::with_capacity(BUFFER, File::create(dir.join(of_table(table, form)))?);
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
