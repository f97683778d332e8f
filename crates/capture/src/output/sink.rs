//! What bytes go to: a file, standard output, either of them compressed.

use std::fs::File;
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::Path;

/// Level of zstd: the fastest that still pays.
const LEVEL: i32 = 1;

pub(super) enum Sink {
    /// One that is gone back in.
    File(File),
    /// Bytes in their order only.
    Plain(File),
    Zstd(Box<zstd::Encoder<'static, File>>),
}

impl Sink {
    pub(super) fn create(path: &Path, compress: bool) -> io::Result<Sink> {
        let file = File::create(path)?;
        if compress { Sink::zstd(file) } else { Ok(Sink::File(file)) }
    }

    pub(super) fn stdout(compress: bool) -> io::Result<Sink> {
        // A copy of it, so that nothing is held back in a buffer.
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        if compress { Sink::zstd(file) } else { Ok(Sink::Plain(file)) }
    }

    fn zstd(file: File) -> io::Result<Sink> {
        Ok(Sink::Zstd(Box::new(zstd::Encoder::new(file, LEVEL)?)))
    }

    pub(super) fn can_seek(&self) -> bool {
        matches!(self, Sink::File(_))
    }

    /// A round is whole: whoever is killed now has it in the file.
    pub(super) fn end_round(&mut self) -> io::Result<()> {
        match self {
            Sink::File(_) | Sink::Plain(_) => Ok(()),
            Sink::Zstd(encoder) => encoder.flush(),
        }
    }

    /// Cuts it there. What is compressed ends where it ends: its last block is not whole, and is not read.
    pub(super) fn cut(&mut self, at: u64) -> io::Result<()> {
        match self {
            Sink::File(file) => file.set_len(at),
            Sink::Plain(_) | Sink::Zstd(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Ends it: how many bytes there are, on disk.
    pub(super) fn close(self) -> io::Result<u64> {
        let file = match self {
            Sink::File(file) | Sink::Plain(file) => file,
            Sink::Zstd(encoder) => encoder.finish()?,
        };
        Ok(file.metadata().map_or(0, |m| m.len()))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::File(file) | Sink::Plain(file) => file.write(bytes),
            Sink::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Sink::File(file) | Sink::Plain(file) => file.write_vectored(slices),
            Sink::Zstd(encoder) => encoder.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::File(file) | Sink::Plain(file) => file.flush(),
            Sink::Zstd(encoder) => encoder.flush(),
        }
    }
}

impl Seek for Sink {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Sink::File(file) => file.seek(to),
            Sink::Plain(_) | Sink::Zstd(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}
