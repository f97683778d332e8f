//! A directory.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::WholeError;
use crate::hidden::{self, Kind};

/// Whether a directory that is not empty is one of those that would be written there.
type IsOurs = fn(&Path) -> bool;

/// A directory that is not yet in its place. Dropped without [`put`](Self::put), it leaves nothing.
pub struct WholeDirectory {
    target: PathBuf,
    partial: PathBuf,
    overwrite: bool,
    is_ours: IsOurs,
}

impl WholeDirectory {
    /// Makes the hidden directory for `target`: nothing may be there but an empty directory, or, with `overwrite`, one of
    /// `ours`. What a link leads to is replaced, and not the link.
    ///
    /// # Errors
    /// Something else is there; it cannot be written there.
    pub fn create(target: &Path, overwrite: bool, ours: IsOurs) -> Result<WholeDirectory, WholeError> {
        let asked = target;
        let target = hidden::resolve(target)?;
        hidden::remove_stale(&target)?;
        check_free(&target, asked, overwrite, ours)?;
        let parent = hidden::parent(&target);
        fs::create_dir_all(parent).map_err(WholeError::io("create", parent))?;
        let partial = hidden::name(&target, Kind::Partial);
        fs::create_dir(&partial).map_err(WholeError::io("create", &partial))?;
        Ok(WholeDirectory { target, partial, overwrite, is_ours: ours })
    }

    /// Where to write until then.
    pub fn partial(&self) -> &Path {
        &self.partial
    }

    /// Where it will be.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Puts it there, and says where. What cannot be done leaves what stood there as it was.
    ///
    /// # Errors
    /// Something has come there meanwhile that may not be replaced; the system refuses.
    pub fn put(self) -> Result<PathBuf, WholeError> {
        sync_tree(&self.partial)?;
        let stands = check_free(&self.target, &self.target, self.overwrite, self.is_ours)?;
        let rename = |from: &Path, to: &Path| fs::rename(from, to).map_err(WholeError::io("rename", from));
        // An empty directory is replaced by the rename itself.
        let old = stands.then(|| hidden::name(&self.target, Kind::Old));
        if let Some(old) = &old {
            rename(&self.target, old)?;
        }
        if let Err(error) = rename(&self.partial, &self.target) {
            if let Some(old) = &old {
                rename(old, &self.target)?;
            }
            return Err(error);
        }
        hidden::sync_dir(hidden::parent(&self.target))?;
        if let Some(old) = &old {
            // The new one stands; what is left of the old one goes with the next run.
            let _ = fs::remove_dir_all(old);
        }
        Ok(self.target.clone())
    }
}

impl fmt::Debug for WholeDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WholeDirectory").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Drop for WholeDirectory {
    fn drop(&mut self) {
        // Once it is put it is no longer there.
        let _ = fs::remove_dir_all(&self.partial);
    }
}

/// Whether something stands there that is to be replaced. Errors call it as it was `asked` for.
fn check_free(target: &Path, asked: &Path, overwrite: bool, is_ours: IsOurs) -> Result<bool, WholeError> {
    let mut entries = match fs::read_dir(target) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(WholeError::Other { path: asked.into() });
        }
        Err(error) => return Err(WholeError::io("read", asked)(error)),
    };
    match entries.next() {
        None => Ok(false),
        Some(_) if !is_ours(target) => Err(WholeError::Other { path: asked.into() }),
        Some(_) if !overwrite => Err(WholeError::Exists { path: asked.into() }),
        Some(_) => Ok(true),
    }
}

/// Brings the names in a directory and below to the disk. Whoever wrote the files has seen to them, where it matters.
fn sync_tree(dir: &Path) -> Result<(), WholeError> {
    for entry in fs::read_dir(dir).map_err(WholeError::io("read", dir))? {
        let entry = entry.map_err(WholeError::io("read", dir))?;
        if entry.file_type().map_err(WholeError::io("read", dir))?.is_dir() {
            sync_tree(&entry.path())?;
        }
    }
    hidden::sync_dir(dir)
}
