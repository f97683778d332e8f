//! `havana export`: a dataset in the formats of other tools.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use havana_export::{ExportError, Part, Selection, ctf, folded, perfetto, pprof, tables};
use havana_insight::words::bytes;
use havana_rows::parquet::Table;
use havana_store::Dataset;
use havana_trace::STDIN;

use super::whole;
use crate::cli::{Export, ExportFormat};

pub(crate) fn run(args: &Export) -> anyhow::Result<ExitCode> {
    let text = match args.format {
        ExportFormat::Csv => Some(tables::Form::Csv),
        ExportFormat::Jsonl => Some(tables::Form::Jsonl),
        _ => None,
    };
    if text.is_none() && args.table.is_some() {
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
    let said = match (args.format, text, args.table) {
        (ExportFormat::Perfetto, ..) => {
            file(args, |out| perfetto::write(&selection, out))?;
            "opens at ui.perfetto.dev"
        }
        (ExportFormat::Folded, ..) => {
            file(args, |out| folded::write(&selection, out))?;
            "for flamegraph.pl, inferno, speedscope"
        }
        (ExportFormat::Pprof, ..) => {
            file(args, |out| pprof::write(&selection, out))?;
            "for go tool pprof, speedscope"
        }
        (_, Some(form), Some(table)) => {
            file(args, |out| tables::write(&selection, table, form, out))?;
            "one table"
        }
        (_, Some(form), None) => {
            let mark = format!("{}.{}", Table::Vms.name(), form.extension());
            directory(args, &mark, |dir| all_tables(&selection, form, dir))?;
            "a file a table"
        }
        (ExportFormat::Ctf1, ..) => {
            directory(args, ctf::METADATA, |dir| Ok(ctf::write(&selection, dir, ctf::Version::V1)?))?;
            "for Trace Compass, babeltrace2"
        }
        (_, None, _) => {
            directory(args, ctf::METADATA, |dir| Ok(ctf::write(&selection, dir, ctf::Version::V2)?))?;
            "for Trace Compass, babeltrace2 from 2.1 on"
        }
    };
    if args.output != Path::new(STDIN) {
        writeln!(io::stdout(), "{}  {}, {said}", args.output.display(), bytes(size(&args.output)?))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A file, or standard output.
fn file(args: &Export, write: impl FnOnce(&mut dyn Write) -> Result<(), ExportError>) -> anyhow::Result<()> {
    if args.output == Path::new(STDIN) {
        let mut out = BufWriter::new(io::stdout().lock());
        write(&mut out)?;
        return Ok(out.flush()?);
    }
    whole::check_free(&args.output, args.force)?;
    whole::file(&args.output, |out| Ok(write(out)?))
}

/// A directory that holds `mark`.
fn directory(args: &Export, mark: &str, write: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    if args.output == Path::new(STDIN) {
        bail!("standard output takes one file: say -o DIR, or of csv and jsonl which --table");
    }
    whole::check_free_directory(&args.output, args.force, mark)?;
    whole::directory(&args.output, write)
}

fn all_tables(selection: &Selection<'_>, form: tables::Form, dir: &Path) -> anyhow::Result<()> {
    let for_drawing = [Table::Lod, Table::LodExits];
    for &table in Table::ALL.iter().filter(|table| !for_drawing.contains(table)) {
        let file = File::create(dir.join(format!("{}.{}", table.name(), form.extension())))?;
        let mut out = BufWriter::with_capacity(1 << 18, file);
        tables::write(selection, table, form, &mut out)?;
        out.flush()?;
    }
    Ok(())
}

/// Bytes of a file, or of those in a directory.
fn size(path: &Path) -> io::Result<u64> {
    if !path.is_dir() {
        return Ok(fs::metadata(path)?.len());
    }
    fs::read_dir(path)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}
