//! A file mapped for reading, whose read pages can be given back; or bytes in memory, for what is no file.
//!
//! The one place where mapping is `unsafe`. Everything else sees a `&[u8]`.
//!
//! Invariants: the mapping is private, read-only and never resized; its address and length stay the same from
//! [`Map::open`] to drop, and so do those of bytes in memory. A trace of tens of gigabytes is read front to back, so the pages behind the reader are
//! handed back with [`Map::release`]; they would otherwise count as resident memory of the process until the kernel
//! takes them. Released pages can be read again: the kernel faults them in from the file.
#![deny(missing_docs)]

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::path::Path;

use memmap2::{Advice, Mmap, UncheckedAdvice};

/// Pages are released in steps of this many bytes, so that a caller may ask often. A power of two, and a multiple of
/// every page size in use on x86-64.
const STEP: usize = 2 << 20;

/// A whole file, mapped read-only; or bytes that were read from elsewhere ([`Map::from`]).
#[derive(Debug)]
pub struct Map(Bytes);

#[derive(Debug)]
enum Bytes {
    File(Mmap),
    // Also an empty file: a mapping of no bytes is an error to the kernel.
    Memory(Vec<u8>),
}

impl From<Vec<u8>> for Map {
    fn from(bytes: Vec<u8>) -> Map {
        Map(Bytes::Memory(bytes))
    }
}

impl Map {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// What opening or mapping it says.
    pub fn open(path: &Path) -> io::Result<Map> {
        Map::of(&File::open(path)?)
    }

    /// Maps an open file.
    ///
    /// # Errors
    /// What mapping it says.
    pub fn of(file: &File) -> io::Result<Map> {
        let meta = file.metadata()?;
        if meta.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        if meta.len() == 0 {
            return Ok(Map::from(Vec::new()));
        }
        // SAFETY: the mapping is private and read-only and is never handed out as mutable. What mapping a file cannot
        // exclude is that another process shortens it meanwhile: reading past the new end then ends this process with
        // SIGBUS. It does not give wrong bytes to safe code. A recorder only appends.
        let mmap = unsafe { Mmap::map(file)? };
        // Advice is a hint: where it is refused, reading still works.
        let _ = mmap.advise(Advice::Sequential);
        Ok(Map(Bytes::File(mmap)))
    }

    /// Gives back the memory of `range` of a file: from the step that it begins in to the last whole step in it, so that ranges that
    /// follow each other leave nothing between them. The bytes stay readable.
    pub fn release(&self, range: Range<usize>) {
        let Bytes::File(mmap) = &self.0 else { return };
        let start = range.start / STEP * STEP;
        let end = range.end.min(mmap.len()) / STEP * STEP;
        if start < end {
            // SAFETY: MADV_DONTNEED on a private mapping drops what was written to it and keeps what is in the file.
            // Nothing is ever written through this mapping (`Map` hands out shared slices only), so every byte reads
            // the same afterwards as before: no slice that anyone holds changes under them.
            let _ = unsafe { mmap.unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start) };
        }
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::File(mmap) => mmap,
            Bytes::Memory(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut f = tempfile::NamedTempFile::new().unwrap();
        f.write_all(bytes).unwrap();
        f.flush().unwrap();
        f
    }

    #[test]
    fn an_empty_file_is_an_empty_slice() {
        assert_eq!(Map::open(file(b"").path()).unwrap().len(), 0);
    }

    #[test]
    fn released_bytes_read_the_same() {
        let bytes: Vec<u8> = (0..5 * STEP + 123).map(|i| (i * 7 / 5) as u8).collect();
        let f = file(&bytes);
        let map = Map::open(f.path()).unwrap();
        assert!(*map == bytes[..]);
        map.release(1..4 * STEP);
        map.release(0..usize::MAX);
        assert!(*map == bytes[..]);
    }

    #[test]
    fn bytes_in_memory_are_theirs() {
        let map = Map::from(vec![1, 2, 3]);
        map.release(0..usize::MAX);
        assert_eq!(*map, [1, 2, 3]);
    }

    #[test]
    fn ranges_that_follow_each_other_release_all() {
        let f = file(&vec![1u8; 64 * STEP]);
        let map = Map::open(f.path()).unwrap();
        let resident = || {
            let text = std::fs::read_to_string("/proc/self/smaps").unwrap();
            let name = f.path().to_str().unwrap();
            let of_map = text.split(name).nth(1).unwrap();
            let line = of_map.lines().find(|l| l.starts_with("Rss:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
        };
        let mut from = 0;
        while from < map.len() {
            let to = (from + STEP + 12_345).min(map.len());
            assert_eq!(map[from..to].iter().map(|b| u64::from(*b)).sum::<u64>(), (to - from) as u64);
            map.release(from..to);
            from = to;
        }
        assert!(resident() <= 2 * STEP, "{}", resident());
    }

    #[test]
    fn a_directory_is_an_error() {
        assert!(Map::open(Path::new("/")).is_err());
    }
}
