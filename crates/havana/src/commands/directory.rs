//! A directory of plain files that is there whole or not at all: it grows under a hidden name beside its own.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

/// Refuses to replace what stands there. Of directories that are not empty only one of plain files may be, `mark` among
/// them.
pub(super) fn check_free(path: &Path, force: bool, mark: &str) -> anyhow::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    if !path.is_dir() {
        bail!("{}: is no directory", path.display());
    }
    let at = || path.display().to_string();
    let mut empty = true;
    let mut plain = true;
    for entry in fs::read_dir(path).with_context(at)? {
        empty = false;
        plain &= entry.with_context(at)?.file_type().with_context(at)?.is_file();
    }
    if empty {
        return Ok(());
    }
    if !force {
        bail!("{}: exists already; --force replaces it", path.display());
    }
    if !plain || !path.join(mark).is_file() {
        bail!("{}: holds other things than such an export: choose another name", path.display());
    }
    Ok(())
}

/// Writes it.
pub(super) fn write(path: &Path, write: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let at = || path.display().to_string();
    let name = path.file_name().with_context(|| format!("{}: not a name to write to", path.display()))?;
    let partial = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let written = fs::create_dir(&partial).map_err(anyhow::Error::from).and_then(|()| {
        write(&partial)?;
        if path.exists() {
            fs::remove_dir_all(path)?;
        }
        Ok(fs::rename(&partial, path)?)
    });
    if written.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    written.with_context(at)
}
