//! Files and directories that are there whole or not at all: they grow under a hidden name beside their own.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Refuses to replace what stands there, unless it may.
pub(super) fn check_free(path: &Path, force: bool) -> anyhow::Result<()> {
    if !force && path.exists() {
        bail!("{}: exists already; --force replaces it", path.display());
    }
    if path.is_dir() {
        bail!("{}: is a directory", path.display());
    }
    Ok(())
}

/// The same of a directory: of those that are not empty, only one of plain files is replaced, `mark` among them.
pub(super) fn check_free_directory(path: &Path, force: bool, mark: &str) -> anyhow::Result<()> {
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

/// Writes a file.
pub(super) fn file(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let at = || path.display().to_string();
    let partial = partial(path)?;
    let written = File::create(&partial).map_err(anyhow::Error::from).and_then(|file| {
        let mut out = BufWriter::with_capacity(1 << 18, file);
        write(&mut out)?;
        out.flush()?;
        Ok(fs::rename(&partial, path)?)
    });
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written.with_context(at)
}

/// Writes a directory.
pub(super) fn directory(path: &Path, write: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let at = || path.display().to_string();
    let partial = partial(path)?;
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

fn partial(path: &Path) -> anyhow::Result<PathBuf> {
    let name = path.file_name().with_context(|| format!("{}: not a name to write to", path.display()))?;
    Ok(path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id())))
}
