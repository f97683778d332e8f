//! Putting a directory in its place whole: it grows under a hidden name beside it and is renamed.
//!
//! ```text
//! .NAME.partial-PID-START-N    being written by process PID, which began START clock ticks after boot
//! .NAME.old-PID-START-N        what stood at NAME, between two renames
//! ```
//!
//! A process that was killed leaves such directories; the next one that writes to the same NAME removes those whose
//! process is gone, and puts an `old` one back where nothing has taken its place. Process ids are used again (in a
//! container nearly always the same ones), the pair of id and start is not.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Manifest, StoreError};

/// A directory that is not yet in its place. Dropped, it is removed.
#[derive(Debug)]
pub(crate) struct Place {
    target: PathBuf,
    partial: PathBuf,
    overwrite: bool,
}

impl Place {
    /// Makes the hidden directory for `target`, if it may be put there.
    pub(crate) fn create(target: &Path, overwrite: bool) -> Result<Place, StoreError> {
        let target = resolve(target)?;
        remove_stale(&target)?;
        check_free(&target, overwrite)?;
        let parent = parent(&target);
        fs::create_dir_all(parent).map_err(StoreError::io("create", parent))?;
        let partial = hidden(&target, Kind::Partial)?;
        fs::create_dir(&partial).map_err(StoreError::io("create", &partial))?;
        Ok(Place { target, partial, overwrite })
    }

    /// Where to write until then.
    pub(crate) fn partial(&self) -> &Path {
        &self.partial
    }

    /// Where it will be.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Puts it there, and says where. What cannot be done leaves what stood there as it was.
    pub(crate) fn commit(self) -> Result<PathBuf, StoreError> {
        sync_tree(&self.partial)?;
        check_free(&self.target, self.overwrite)?;
        let rename = |from: &Path, to: &Path| fs::rename(from, to).map_err(StoreError::io("rename", from));
        // An empty directory is replaced by the rename itself.
        let old = if Manifest::is_in(&self.target)? { Some(hidden(&self.target, Kind::Old)?) } else { None };
        if let Some(old) = &old {
            rename(&self.target, old)?;
        }
        if let Err(error) = rename(&self.partial, &self.target) {
            if let Some(old) = &old {
                rename(old, &self.target)?;
            }
            return Err(error);
        }
        sync_dir(parent(&self.target))?;
        if let Some(old) = &old {
            // The new dataset stands; what is left of the old one goes with the next run.
            let _ = fs::remove_dir_all(old);
        }
        Ok(self.target.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // After a commit it is no longer there.
        let _ = fs::remove_dir_all(&self.partial);
    }
}

/// The path with a name at its end; where it is a link, what the link points to, so that the link stays.
fn resolve(target: &Path) -> Result<PathBuf, StoreError> {
    let target = if target.exists() {
        fs::canonicalize(target).map_err(StoreError::io("read", target))?
    } else {
        target.to_path_buf()
    };
    if target.file_name().is_some() { Ok(target) } else { Err(StoreError::NoName { path: target }) }
}

fn parent(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Nothing there, an empty directory, or a dataset that may be overwritten.
fn check_free(target: &Path, overwrite: bool) -> Result<(), StoreError> {
    let mut entries = match fs::read_dir(target) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(StoreError::Exists { path: target.into() });
        }
        Err(error) => return Err(StoreError::io("read", target)(error)),
    };
    if entries.next().is_none() || (overwrite && Manifest::is_in(target)?) {
        Ok(())
    } else {
        Err(StoreError::Exists { path: target.into() })
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Partial,
    Old,
}

/// `.NAME.KIND-`, to be followed by an [`Owner`] and a number.
fn prefix(target: &Path, kind: Kind) -> OsString {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or(OsStr::new("")));
    name.push(match kind {
        Kind::Partial => ".partial-",
        Kind::Old => ".old-",
    });
    name
}

fn hidden(target: &Path, kind: Kind) -> Result<PathBuf, StoreError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let pid = process::id();
    let start = start_of(pid).unwrap_or(0);
    let mut name = prefix(target, kind);
    name.push(format!("{pid}-{start}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    Ok(parent(target).join(name))
}

/// Removes what killed processes left of this NAME.
fn remove_stale(target: &Path) -> Result<(), StoreError> {
    let parent = parent(target);
    let Ok(entries) = fs::read_dir(parent) else { return Ok(()) };
    for entry in entries {
        let entry = entry.map_err(StoreError::io("read", parent))?;
        let name = entry.file_name();
        let of = |kind| {
            let rest = name.as_encoded_bytes().strip_prefix(prefix(target, kind).as_encoded_bytes())?;
            is_abandoned(std::str::from_utf8(rest).ok()?).then_some(kind)
        };
        let path = entry.path();
        match of(Kind::Partial).or_else(|| of(Kind::Old)) {
            Some(Kind::Old) if !target.exists() => {
                fs::rename(&path, target).map_err(StoreError::io("rename", &path))?;
            }
            Some(_) => fs::remove_dir_all(&path).map_err(StoreError::io("remove", &path))?,
            None => {}
        }
    }
    Ok(())
}

/// Whether `PID-START-N` names a process that is gone. Where that cannot be told it is not.
fn is_abandoned(owner: &str) -> bool {
    let mut numbers = owner.split('-').map(str::parse::<u64>);
    let (Some(Ok(pid)), Some(Ok(start)), Some(Ok(_)), None) =
        (numbers.next(), numbers.next(), numbers.next(), numbers.next())
    else {
        return false;
    };
    if start_of(process::id()).is_none() {
        return false;
    }
    u32::try_from(pid).ok().and_then(start_of) != Some(start)
}

/// When a process began: field 22 of proc_pid_stat(5). The name before it may hold anything, but ends in `)`.
fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.iter().rposition(|&byte| byte == b')')? + 1;
    let fields = std::str::from_utf8(&stat[after_name..]).ok()?;
    fields.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(StoreError::io("sync", dir))
}

/// Brings the names in a directory and below to the disk; the files themselves already are.
fn sync_tree(dir: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(dir).map_err(StoreError::io("read", dir))? {
        let entry = entry.map_err(StoreError::io("read", dir))?;
        if entry.file_type().map_err(StoreError::io("read", dir))?.is_dir() {
            sync_tree(&entry.path())?;
        }
    }
    sync_dir(dir)
}
