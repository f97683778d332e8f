//! The manifest of a capture that is there: the dataset's own, and which files it has.

use havana_store::Manifest;
use serde::{Deserialize, Serialize};

use crate::Summary;

/// A capture under a root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// What `format` says in every one.
    format: String,
    /// What the dataset is about.
    pub manifest: Manifest,
    /// What is worth knowing of it at a glance.
    #[serde(default)]
    pub summary: Summary,
    /// Captures that it is made of, and that do not count beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<String>,
    /// Its files, table by table, in the order they are read.
    pub files: Vec<File>,
}

/// A file of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// The table's name.
    pub table: String,
    /// What it is called in the dataset.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

const FORMAT: &str = "havana-capture";

impl Entry {
    /// That of a dataset with these files.
    pub(crate) fn new(manifest: Manifest, summary: Summary, files: Vec<File>) -> Entry {
        Entry { format: FORMAT.into(), manifest, summary, replaces: Vec::new(), files }
    }

    /// Reads it; the error says what is wrong.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Entry, String> {
        let entry: Entry = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if entry.format == FORMAT { Ok(entry) } else { Err(format!("it is a {:?}", entry.format)) }
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        // Maps with names as keys, numbers and text: that has a form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The size of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}
