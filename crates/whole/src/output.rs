//! What `-o` names: a file, or standard output.

use std::io::{self, Stdout, Write};
use std::path::Path;

use crate::{WholeError, WholeFile};

/// What stands for standard input or output.
pub const STREAM: &str = "-";

/// A file that will be there whole, or standard output.
#[derive(Debug)]
pub struct Output {
    to: To,
    /// Nobody reads it any more. Known here for certain: those that write tables make a text of that error.
    is_closed: bool,
}

#[derive(Debug)]
enum To {
    Stdout(Stdout),
    File(WholeFile),
}

impl Output {
    /// Begins one; `-` is standard output.
    ///
    /// # Errors
    /// As [`WholeFile::create`].
    pub fn create(path: &Path, overwrite: bool) -> Result<Output, WholeError> {
        let to = if path == Path::new(STREAM) {
            To::Stdout(io::stdout())
        } else {
            To::File(WholeFile::create(path, overwrite)?)
        };
        Ok(Output { to, is_closed: false })
    }

    /// Whether it is read as it comes.
    pub fn is_stream(&self) -> bool {
        matches!(self.to, To::Stdout(_))
    }

    /// Puts it in its place where all was written.
    ///
    /// # Errors
    /// That of who wrote; [`WholeError::Closed`] where nobody reads it any more; the system refuses.
    pub fn end<T, E: From<WholeError>>(self, written: Result<T, E>) -> Result<T, E> {
        if self.is_closed {
            return Err(WholeError::Closed.into());
        }
        let written = written?;
        if let To::File(file) = self.to {
            file.put()?;
        }
        Ok(written)
    }

    fn noted<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        self.is_closed |= done.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        done
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let done = match &mut self.to {
            To::Stdout(stdout) => stdout.write(bytes),
            To::File(file) => file.write(bytes),
        };
        self.noted(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        let done = match &mut self.to {
            To::Stdout(stdout) => stdout.flush(),
            To::File(file) => file.flush(),
        };
        self.noted(done)
    }
}
