//! A file.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::WholeError;
use crate::hidden::{self, Kind};

/// A file that is being written beside its place, and is renamed into it by [`put`](Self::put). Dropped without, it
/// leaves nothing.
#[derive(Debug)]
pub struct WholeFile {
    file: File,
    partial: PathBuf,
    target: PathBuf,
    overwrite: bool,
}

impl WholeFile {
    /// Begins one. What a link leads to is replaced, and not the link.
    ///
    /// # Errors
    /// It is there already, and `overwrite` does not say that it may be replaced; it cannot be written there.
    pub fn create(target: &Path, overwrite: bool) -> Result<WholeFile, WholeError> {
        check_free(target, overwrite)?;
        let target = hidden::resolve(target)?;
        hidden::remove_stale(&target)?;
        let partial = hidden::name(&target, Kind::Partial);
        let file = File::create_new(&partial).map_err(WholeError::io("write", &target))?;
        Ok(WholeFile { file, partial, target, overwrite })
    }

    /// Puts it in its place, once it is on the disk.
    ///
    /// # Errors
    /// Something has come there meanwhile that may not be replaced; the system refuses.
    pub fn put(self) -> Result<(), WholeError> {
        self.file.sync_all().map_err(WholeError::io("write", &self.target))?;
        self.show()
    }

    /// [`put`](Self::put) for what is soon written again: the disk is not waited for.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn show(self) -> Result<(), WholeError> {
        check_free(&self.target, self.overwrite)?;
        fs::rename(&self.partial, &self.target).map_err(WholeError::io("write", &self.target))
    }
}

fn check_free(target: &Path, overwrite: bool) -> Result<(), WholeError> {
    match fs::metadata(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(WholeError::io("write", target)(error)),
        Ok(found) if !found.is_file() => Err(WholeError::Other { path: target.into() }),
        Ok(_) if !overwrite => Err(WholeError::Exists { path: target.into() }),
        Ok(_) => Ok(()),
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        // Renamed, there is none.
        let _ = fs::remove_file(&self.partial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("answer.csv");
        let files = || fs::read_dir(dir.path()).unwrap().count();
        let mut file = WholeFile::create(&path, false).unwrap();
        file.write_all(b"half").unwrap();
        assert!(!path.exists());
        drop(file);
        assert_eq!(files(), 0);
        let mut file = WholeFile::create(&path, false).unwrap();
        file.write_all(b"whole").unwrap();
        file.put().unwrap();
        assert_eq!((fs::read(&path).unwrap().as_slice(), files()), (b"whole".as_slice(), 1));
        let again = WholeFile::create(&path, false).unwrap_err().to_string();
        assert_eq!(again, format!("{}: exists already; --force replaces it", path.display()));
        WholeFile::create(&path, true).unwrap().put().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn what_came_there_meanwhile_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("answer.csv");
        // A process that was killed left this.
        fs::write(dir.path().join(".answer.csv.partial-4194305-1-0"), "half").unwrap();
        let file = WholeFile::create(&path, false).unwrap();
        fs::write(&path, "another's").unwrap();
        assert!(matches!(file.put(), Err(WholeError::Exists { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"another's");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(matches!(WholeFile::create(dir.path(), true), Err(WholeError::Other { .. })));
    }
}
