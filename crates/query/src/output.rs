//! The forms of an answer, written as it comes.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc;
use arrow::util::pretty::pretty_format_batches;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::QueryError;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For a person: its first rows
    Table,
    /// Comma-separated values, with a line of names
    Csv,
    /// One JSON array of objects
    Json,
    /// A JSON object a line
    Jsonl,
    /// Arrow IPC: a file's format in a file, a stream's on stdout
    Arrow,
    /// Parquet, zstd
    Parquet,
}

impl Format {
    /// The one that a file's name says.
    pub fn of_name(name: &str) -> Option<Format> {
        Some(match name.rsplit_once('.')?.1 {
            "csv" => Format::Csv,
            "json" => Format::Json,
            "jsonl" | "ndjson" => Format::Jsonl,
            "arrow" | "feather" => Format::Arrow,
            "parquet" => Format::Parquet,
            "txt" => Format::Table,
            _ => return None,
        })
    }
}

/// Rows that a table shows.
const TABLE_ROWS: usize = 1000;

/// How many rows were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Rows.
    pub rows: usize,
    /// There are more, that a table does not show.
    pub more: bool,
}

/// Where an answer goes, and how.
#[derive(Debug, Clone, Copy)]
pub struct Form<'a> {
    /// How it is written.
    pub format: Format,
    /// What that is called where it goes to.
    pub name: &'a str,
    /// Whether it is read as it comes, and not a file.
    pub streamed: bool,
}

/// Writes an answer.
pub(crate) async fn write(
    answer: SendableRecordBatchStream,
    Form { format, name, streamed }: Form<'_>,
    mut out: impl Write + Send,
) -> Result<Written, QueryError> {
    let failed = |source: ArrowError| QueryError::Write { name: name.into(), source };
    let schema = answer.schema();
    let mut writer = match (format, streamed) {
        (Format::Table, _) => {
            let (text, written) = table(answer).await?;
            out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| failed(error.into()))?;
            return Ok(written);
        }
        (Format::Csv, _) if schema.fields().iter().any(|field| field.data_type().is_nested()) => {
            return Err(QueryError::Nested);
        }
        (Format::Csv, _) => Writer::Csv(arrow_csv::WriterBuilder::new().with_header(true).build(out)),
        (Format::Json, _) => Writer::Json(
            arrow_json::WriterBuilder::new().with_explicit_nulls(true).build::<_, arrow_json::writer::JsonArray>(out),
        ),
        (Format::Jsonl, _) => Writer::Jsonl(
            arrow_json::WriterBuilder::new()
                .with_explicit_nulls(true)
                .build::<_, arrow_json::writer::LineDelimited>(out),
        ),
        (Format::Arrow, true) => Writer::Stream(ipc::writer::StreamWriter::try_new(out, &schema).map_err(failed)?),
        (Format::Arrow, false) => Writer::File(ipc::writer::FileWriter::try_new(out, &schema).map_err(failed)?),
        (Format::Parquet, _) => {
            let zstd = Compression::ZSTD(ZstdLevel::default());
            let properties = WriterProperties::builder().set_compression(zstd).build();
            let writer = ArrowWriter::try_new(out, schema.clone(), Some(properties));
            Writer::Parquet(Box::new(writer.map_err(|error| failed(error.into()))?))
        }
    };
    // An answer of no row has its columns' names all the same.
    writer.write(&RecordBatch::new_empty(schema)).map_err(failed)?;
    let mut rows = 0;
    let mut answer = answer;
    while let Some(batch) = answer.try_next().await? {
        rows += batch.num_rows();
        writer.write(&batch).map_err(failed)?;
    }
    writer.end().map_err(failed)?;
    Ok(Written { rows, more: false })
}

enum Writer<W: Write + Send> {
    Csv(arrow_csv::Writer<W>),
    Json(arrow_json::Writer<W, arrow_json::writer::JsonArray>),
    Jsonl(arrow_json::Writer<W, arrow_json::writer::LineDelimited>),
    Stream(ipc::writer::StreamWriter<W>),
    File(ipc::writer::FileWriter<W>),
    Parquet(Box<ArrowWriter<W>>),
}

impl<W: Write + Send> Writer<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        match self {
            Writer::Csv(writer) => writer.write(batch),
            Writer::Json(writer) => writer.write(batch),
            Writer::Jsonl(writer) => writer.write(batch),
            Writer::Stream(writer) => writer.write(batch),
            Writer::File(writer) => writer.write(batch),
            Writer::Parquet(writer) => Ok(writer.write(batch)?),
        }
    }

    fn end(self) -> Result<(), ArrowError> {
        let flush = |mut out: W| Ok(out.flush()?);
        match self {
            Writer::Csv(writer) => flush(writer.into_inner()),
            Writer::Json(mut writer) => {
                writer.finish()?;
                let mut out = writer.into_inner();
                out.write_all(b"\n")?;
                flush(out)
            }
            Writer::Jsonl(mut writer) => {
                writer.finish()?;
                flush(writer.into_inner())
            }
            Writer::Stream(writer) => flush(writer.into_inner()?),
            Writer::File(writer) => flush(writer.into_inner()?),
            Writer::Parquet(writer) => flush(writer.into_inner()?),
        }
    }
}

/// The first rows, for a person, as text.
async fn table(mut answer: SendableRecordBatchStream) -> Result<(String, Written), QueryError> {
    let mut batches = vec![RecordBatch::new_empty(answer.schema())];
    let mut written = Written { rows: 0, more: false };
    while !written.more
        && let Some(batch) = answer.try_next().await?
    {
        let here = batch.num_rows().min(TABLE_ROWS - written.rows);
        written = Written { rows: written.rows + here, more: here < batch.num_rows() };
        batches.push(batch.slice(0, here));
    }
    let text = pretty_format_batches(&batches).map_err(DataFusionError::from)?;
    Ok((format!("{text}\n"), written))
}
