//! Streams of packets, the same for both versions of CTF.
//!
//! ```text
//! packet header   u32 magic 0xc1fc1fc1, u32 class of the stream, u32 which stream
//! packet context  u64 begin, u64 end (times), u64 bits of content, u64 bits of packet; of a cpu's stream: u32 cpu
//! records         each: u16 event, u64 time, then its fields
//! ```

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use super::schema::{Event, Streams};
use crate::ExportError;

/// What every packet begins with.
const MAGIC: u32 = 0xc1fc_1fc1;

/// Bytes of a packet, about. Each stream holds one: there is one a cpu.
const PACKET_BYTES: usize = 64 * 1024;

/// One stream, into a file of its own. The file is open only while a packet goes out: of many cpus there would be too
/// many.
pub(super) struct Stream {
    path: PathBuf,
    streams: Streams,
    number: u32,
    /// The packet, with room for its header.
    bytes: Vec<u8>,
    begin: u64,
    end: u64,
}

impl Stream {
    /// The stream of that number, of its class; of cpus it is the cpu.
    pub(super) fn new(path: PathBuf, streams: Streams, number: u32) -> Stream {
        let mut stream = Stream { path, streams, number, bytes: Vec::new(), begin: 0, end: 0 };
        stream.bytes.resize(stream.header_bytes(), 0);
        stream
    }

    fn header_bytes(&self) -> usize {
        3 * 4 + 4 * 8 + if self.streams == Streams::Cpu { 4 } else { 0 }
    }

    /// Begins a record, which must not be earlier than the one before; its fields are to be put after it.
    pub(super) fn begin(&mut self, event: Event, at: u64) -> Result<Record<'_>, ExportError> {
        if self.bytes.len() >= PACKET_BYTES {
            self.flush()?;
        }
        if self.bytes.len() == self.header_bytes() {
            self.begin = at;
        }
        self.end = at;
        self.bytes.extend((event as u16).to_le_bytes());
        self.bytes.extend(at.to_le_bytes());
        Ok(Record(&mut self.bytes))
    }

    /// Writes the packet, if anything is in it.
    pub(super) fn flush(&mut self) -> Result<(), ExportError> {
        let header = self.header_bytes();
        if self.bytes.len() == header {
            return Ok(());
        }
        let bits = self.bytes.len() as u64 * 8;
        let mut head = Vec::with_capacity(header);
        for word in [MAGIC, self.streams as u32, self.number] {
            head.extend(word.to_le_bytes());
        }
        for long in [self.begin, self.end, bits, bits] {
            head.extend(long.to_le_bytes());
        }
        if self.streams == Streams::Cpu {
            head.extend(self.number.to_le_bytes());
        }
        self.bytes[..header].copy_from_slice(&head);
        OpenOptions::new().create(true).append(true).open(&self.path)?.write_all(&self.bytes)?;
        self.bytes.truncate(header);
        Ok(())
    }
}

/// The fields of a record, put in their order.
pub(super) struct Record<'a>(&'a mut Vec<u8>);

impl Record<'_> {
    pub(super) fn name(self, code: Option<u8>) -> Self {
        self.0.push(code.unwrap_or(u8::MAX));
        self
    }

    pub(super) fn id(self, id: Option<i32>) -> Self {
        self.0.extend(id.unwrap_or(-1).to_le_bytes());
        self
    }

    pub(super) fn number(self, number: i64) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    pub(super) fn ratio(self, ratio: f64) -> Self {
        self.0.extend(ratio.to_le_bytes());
        self
    }

    pub(super) fn text(self, text: &str) -> Self {
        self.0.extend(text.bytes().filter(|byte| *byte != 0));
        self.0.push(0);
        self
    }
}
