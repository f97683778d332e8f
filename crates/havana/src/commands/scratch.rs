//! A directory that is gone when its owner is.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// A directory of our own, among the temporary ones.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new(what: &str) -> anyhow::Result<Self> {
        Scratch::within(&std::env::temp_dir(), what)
    }

    /// One below a directory that somebody named.
    pub(super) fn within(parent: &Path, what: &str) -> anyhow::Result<Self> {
        let dir = parent.join(format!("havana-{what}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        Ok(Scratch(dir))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
