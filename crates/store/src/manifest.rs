//! `manifest.json`: what a dataset is about, and the sign that it is complete.
//!
//! Fields that this version does not know are ignored, fields that a file lacks have their default; so fields may be
//! added. What an old reader would misread raises `schema_version`, and then it is refused.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use havana_rows::Capture;
use havana_rows::parquet::{NsClock, SCHEMA_VERSION, TableSummary};
use serde::{Deserialize, Serialize};

use crate::StoreError;

/// The name of the manifest in a dataset.
pub const MANIFEST_FILE: &str = "manifest.json";

/// What `format` says in every manifest.
const FORMAT: &str = "havana-dataset";

/// What a dataset is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Manifest {
    /// `havana-dataset`. Set by the writer.
    pub format: String,
    /// Version of the tables. Set by the writer.
    pub schema_version: u32,
    /// Version of the program that wrote it.
    pub tool_version: String,
    /// The host. Set by the writer.
    pub node: String,
    /// Which capture of that host. Set by the writer.
    pub capture: String,
    /// How ticks become time.
    pub clock: Clock,
    /// The files it was made of.
    pub sources: Vec<Source>,
    /// How they were recorded.
    pub settings: CaptureSettings,
    /// Envelope packets by kind.
    pub packets: BTreeMap<String, u64>,
    /// What was lost. Set by the writer, from the rows.
    pub losses: LossSummary,
    /// The tables. Set by the writer.
    pub tables: BTreeMap<String, TableFiles>,
    /// The finest level of the summaries, by kind of track (`cpu`, `vcpu`, `process` in `lod`, `exits` in `lod_exits`). Set
    /// by the writer.
    pub lod: BTreeMap<String, i32>,
    /// Start of the first row of `cpu_states`. Set by the writer.
    pub first_tsc: Option<i64>,
    /// End of the last row of `cpu_states`. Set by the writer.
    pub last_tsc: Option<i64>,
    /// The cpus of `cpu_states`, ascending. Set by the writer.
    pub cpus: Vec<i32>,
    /// What the reader of a report should be told.
    pub warnings: Vec<String>,
}

/// What `X_ns` counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Epoch {
    /// 1970-01-01 UTC.
    Unix,
    /// The first event of the capture.
    FirstEvent,
    /// Nothing: no rate is known, times are ticks.
    #[default]
    Ticks,
}

/// How ticks become time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Clock {
    /// Ticks a second.
    pub tsc_hz: Option<u64>,
    /// Whether that is known; without it there are no nanoseconds.
    pub tsc_hz_known: bool,
    /// What nanoseconds count from.
    pub epoch: Epoch,
    /// A tick …
    pub origin_tsc: i64,
    /// … and its time, where there is one.
    pub origin_ns: Option<i64>,
}

impl Clock {
    /// TSC ticks a second, where they are known and not guessed.
    pub fn hz(&self) -> Option<u64> {
        self.tsc_hz.filter(|_| self.tsc_hz_known)
    }

    /// What makes ticks nanoseconds of its epoch.
    pub fn ns(&self) -> Option<NsClock> {
        self.origin_ns.and_then(|ns| NsClock::of(self.hz(), (self.origin_tsc, ns)))
    }
}

/// A file that a dataset was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// XXH3-64 of its bytes, hexadecimal.
    pub xxh3: String,
}

/// How a capture was recorded, as far as the trace says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct CaptureSettings {
    /// With branches (TNT, TIP, FUP)?
    pub branches: bool,
    /// With TSC packets?
    pub tsc: bool,
    /// With CYC packets?
    pub cyc: bool,
    /// Exponent of the MTC period; none: without MTC packets, or not known.
    pub mtc_period: Option<u8>,
    /// Places to synchronise at.
    pub psb_count: u64,
    /// Whatever else is known, by name.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// Sums over the rows of `losses`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct LossSummary {
    /// Rows.
    pub count: u64,
    /// Bytes of trace not usable.
    pub bytes: i64,
    /// Ticks lost, by cause.
    pub ticks: BTreeMap<String, i64>,
}

/// A table's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct TableFiles {
    /// Rows in all of them.
    pub rows: u64,
    /// Their sizes together.
    pub bytes: u64,
    /// How many they are.
    pub files: u32,
}

impl From<TableSummary> for TableFiles {
    fn from(TableSummary { rows, bytes, files }: TableSummary) -> Self {
        TableFiles { rows, bytes, files }
    }
}

/// What must be right before the rest is looked at: another version's fields may be of other types.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Head {
    format: String,
    schema_version: u32,
}

/// A file of this size is no manifest; it is not read into memory.
const MAX_BYTES: u64 = 256 << 20;

impl Manifest {
    /// What it says to a query.
    pub(crate) fn capture_row(&self) -> Capture {
        let epoch = match self.clock.epoch {
            Epoch::Unix => "unix",
            Epoch::FirstEvent => "first_event",
            Epoch::Ticks => "ticks",
        };
        Capture {
            schema_version: SCHEMA_VERSION.cast_signed(),
            tool_version: self.tool_version.clone(),
            tsc_hz: self.clock.hz().and_then(|hz| hz.try_into().ok()),
            epoch: epoch.into(),
            first_tsc: self.first_tsc,
            last_tsc: self.last_tsc,
            cpus: self.cpus.len().try_into().unwrap_or(i32::MAX),
        }
    }

    /// Whether a directory has a manifest of ours, of whatever version.
    pub(crate) fn is_in(dir: &Path) -> bool {
        read_head(dir).is_ok()
    }

    pub(crate) fn read(dir: &Path) -> Result<Manifest, StoreError> {
        let (head, text) = read_head(dir)?;
        if head.schema_version != SCHEMA_VERSION {
            return Err(StoreError::Version {
                path: dir.into(),
                found: head.schema_version,
                supported: SCHEMA_VERSION,
            });
        }
        serde_json::from_slice(&text).map_err(|source| damaged(dir, source))
    }

    /// Writes it, with the marks of our format, and waits until it is on the disk.
    pub(crate) fn write(mut self, dir: &Path) -> Result<(), StoreError> {
        self.format = FORMAT.into();
        self.schema_version = SCHEMA_VERSION;
        let path = dir.join(MANIFEST_FILE);
        let mut text = serde_json::to_vec_pretty(&self).map_err(|source| damaged(dir, source))?;
        text.push(b'\n');
        let write = || {
            let mut file = fs::File::create(&path)?;
            file.write_all(&text)?;
            file.sync_all()
        };
        write().map_err(StoreError::io("write", &path))
    }
}

fn damaged(dir: &Path, source: serde_json::Error) -> StoreError {
    StoreError::Manifest { path: dir.join(MANIFEST_FILE), source }
}

fn read_head(dir: &Path) -> Result<(Head, Vec<u8>), StoreError> {
    let path = dir.join(MANIFEST_FILE);
    let bytes = match fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(StoreError::NotADataset { path: dir.into() });
        }
        Err(error) => return Err(StoreError::io("read", &path)(error)),
    };
    if bytes > MAX_BYTES {
        return Err(StoreError::NotADataset { path: dir.into() });
    }
    let text = fs::read(&path).map_err(StoreError::io("read", &path))?;
    let head: Head = serde_json::from_slice(&text).map_err(|source| damaged(dir, source))?;
    if head.format != FORMAT {
        return Err(StoreError::NotADataset { path: dir.into() });
    }
    Ok((head, text))
}
