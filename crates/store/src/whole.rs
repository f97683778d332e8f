//! A file that is there whole, or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::StoreError;

/// A file that is being written beside its place, and is renamed into it by [`put`](Self::put). Dropped without, it
/// leaves nothing.
#[derive(Debug)]
pub struct WholeFile {
    file: File,
    partial: PathBuf,
    target: PathBuf,
}

impl WholeFile {
    /// Begins one.
    ///
    /// # Errors
    /// It is there already, and `overwrite` does not say that it may be replaced; it cannot be written there.
    pub fn create(target: &Path, overwrite: bool) -> Result<WholeFile, StoreError> {
        if !overwrite && target.exists() {
            return Err(StoreError::Exists { path: target.into() });
        }
        // What a link leads to is replaced, and not the link.
        let target = &fs::canonicalize(target).unwrap_or_else(|_| target.into());
        if target.exists() && !target.is_file() {
            let other = io::Error::new(io::ErrorKind::InvalidInput, "there is something that is no file");
            return Err(StoreError::io("write", target)(other));
        }
        let name = target.file_name().ok_or_else(|| StoreError::NoName { path: target.into() })?;
        let partial = target.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
        let file = File::create(&partial).map_err(StoreError::io("write", target))?;
        Ok(WholeFile { file, partial, target: target.into() })
    }

    /// Puts it in its place.
    ///
    /// # Errors
    /// The system refuses.
    pub fn put(self) -> Result<(), StoreError> {
        self.file
            .sync_all()
            .and_then(|()| fs::rename(&self.partial, &self.target))
            .map_err(StoreError::io("write", &self.target))
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
        assert_eq!(again, format!("{}: exists already", path.display()));
        WholeFile::create(&path, true).unwrap().put().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
    }
}
