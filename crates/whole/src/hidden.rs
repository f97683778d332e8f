//! Names for what is not yet in its place.
//!
//! ```text
//! .NAME.partial-PID-START-N    being written by process PID, which began START clock ticks after boot
//! .NAME.old-PID-START-N        what stood at NAME, between two renames
//! ```
//!
//! A process that was killed leaves such; the next one that writes to the same NAME removes those whose
//! process is gone, and puts an `old` one back where nothing has taken its place. Process ids are used again (in a
//! container nearly always the same ones), the pair of id and start is not.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::WholeError;

/// The path with a name at its end; where it is a link, what the link points to, so that the link stays.
pub(crate) fn resolve(target: &Path) -> Result<PathBuf, WholeError> {
    let target = if target.exists() {
        fs::canonicalize(target).map_err(WholeError::io("read", target))?
    } else {
        target.to_path_buf()
    };
    if target.file_name().is_some() { Ok(target) } else { Err(WholeError::NoName { path: target }) }
}

/// Where it lies.
pub(crate) fn parent(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// What has such a name.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// What is being written.
    Partial,
    /// What it replaces.
    Old,
}

/// `.NAME.KIND-`, to be followed by `PID-START-N`.
fn prefix(target: &Path, kind: Kind) -> OsString {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or(OsStr::new("")));
    name.push(match kind {
        Kind::Partial => ".partial-",
        Kind::Old => ".old-",
    });
    name
}

/// A new one.
pub(crate) fn name(target: &Path, kind: Kind) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let pid = process::id();
    let start = start_of(pid).unwrap_or(0);
    let mut name = prefix(target, kind);
    name.push(format!("{pid}-{start}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    parent(target).join(name)
}

/// Removes what killed processes left of this NAME.
pub(crate) fn remove_stale(target: &Path) -> Result<(), WholeError> {
    let parent = parent(target);
    let Ok(entries) = fs::read_dir(parent) else { return Ok(()) };
    for entry in entries {
        let entry = entry.map_err(WholeError::io("read", parent))?;
        let name = entry.file_name();
        let of = |kind| {
            let rest = name.as_encoded_bytes().strip_prefix(prefix(target, kind).as_encoded_bytes())?;
            is_abandoned(std::str::from_utf8(rest).ok()?).then_some(kind)
        };
        let path = entry.path();
        match of(Kind::Partial).or_else(|| of(Kind::Old)) {
            Some(Kind::Old) if !target.exists() => {
                fs::rename(&path, target).map_err(WholeError::io("rename", &path))?;
            }
            Some(_) => remove(&path).map_err(WholeError::io("remove", &path))?,
            None => {}
        }
    }
    Ok(())
}

/// Removes a file, or a directory and all in it.
fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
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

/// Brings the names in a directory to the disk.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), WholeError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(WholeError::io("sync", dir))
}
