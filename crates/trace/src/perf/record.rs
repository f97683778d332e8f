//! The records of a perf.data, one after the other (Linux `include/uapi/linux/perf_event.h`, perf's
//! `Documentation/perf.data-file-format.txt`).
//!
//! | bytes | field |
//! | --- | --- |
//! | 0..4 | type: below 64 the kernel's, from 64 on perf's own |
//! | 4..6 | misc |
//! | 6..8 | size, these eight bytes counted |
//! | 8.. | body |
//!
//! AUXTRACE and TRACING_DATA have bytes behind them that their size does not count. COMPRESSED holds a piece of a zstd
//! stream that goes on in the next COMPRESSED; what comes out of it is records, cut anywhere.
//!
//! Contract: safe on any bytes. A record never reaches past the end; nothing is allocated by a length in the file; each
//! step moves on or ends.

use std::io;
use std::ops::Range;

use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::bytes::{u16_at, u32_at, u64_at};

/// Types of records. Names are those of Linux.
pub(super) mod kind {
    pub(in super::super) const MMAP: u32 = 1;
    pub(in super::super) const LOST: u32 = 2;
    pub(in super::super) const COMM: u32 = 3;
    pub(in super::super) const EXIT: u32 = 4;
    pub(in super::super) const FORK: u32 = 7;
    pub(in super::super) const MMAP2: u32 = 10;
    pub(in super::super) const AUX: u32 = 11;
    pub(in super::super) const ITRACE_START: u32 = 12;
    pub(in super::super) const SWITCH: u32 = 14;
    pub(in super::super) const SWITCH_CPU_WIDE: u32 = 15;
    pub(in super::super) const SAMPLE: u32 = 9;
    pub(in super::super) const HEADER_ATTR: u32 = 64;
    /// perf has no use for it any more: what our own recorder says.
    pub(in super::super) const NOTE: u32 = 65;
    pub(in super::super) const HEADER_TRACING_DATA: u32 = 66;
    pub(in super::super) const FINISHED_ROUND: u32 = 68;
    pub(in super::super) const ID_INDEX: u32 = 69;
    pub(in super::super) const AUXTRACE_INFO: u32 = 70;
    pub(in super::super) const AUXTRACE: u32 = 71;
    pub(in super::super) const TIME_CONV: u32 = 79;
    pub(in super::super) const HEADER_FEATURE: u32 = 80;
    pub(in super::super) const COMPRESSED: u32 = 81;
    pub(in super::super) const COMPRESSED2: u32 = 83;
    /// The first of perf's own.
    pub(in super::super) const USER: u32 = 64;
}

const HEADER: usize = 8;

/// No record is longer than its size field can say.
const LONGEST: usize = u16::MAX as usize;

/// Bytes inflated at a time.
const INFLATED: usize = 128 << 10;

/// One record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) kind: u32,
    pub(super) misc: u16,
    pub(super) body: &'a [u8],
    /// Offset in the file; of the COMPRESSED that holds it, where one does.
    pub(super) offset: u64,
    /// The bytes behind it, offsets in the file. Cut off where the file is.
    pub(super) payload: (u64, u64),
}

/// Why records end before their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The bytes end inside a record or its payload.
    Cut,
    /// What is there is no record.
    Damaged(&'static str),
}

/// Reads records front to back.
pub(super) struct Records<'a> {
    file: &'a [u8],
    at: usize,
    end: usize,
    inflater: Option<Inflater>,
}

impl<'a> Records<'a> {
    /// The records in this range of the file.
    pub(super) fn new(file: &'a [u8], range: Range<u64>) -> Self {
        let end = usize::try_from(range.end).unwrap_or(usize::MAX).min(file.len());
        let at = usize::try_from(range.start).unwrap_or(usize::MAX).min(end);
        Records { file, at, end, inflater: None }
    }

    /// Where the next record begins.
    pub(super) fn offset(&self) -> u64 {
        self.at as u64
    }

    /// Hands on the next record, or those in it. False at the end. After a fault it is at its end.
    pub(super) fn step(&mut self, f: &mut impl FnMut(Record<'_>)) -> Result<bool, Fault> {
        let offset = self.at as u64;
        let bytes = &self.file[self.at..self.end];
        if bytes.is_empty() {
            return Ok(false);
        }
        match self.next(bytes, offset, f) {
            Ok(()) => Ok(true),
            Err(fault) => {
                self.end = self.at;
                Err(fault)
            }
        }
    }

    fn next(&mut self, bytes: &'a [u8], offset: u64, f: &mut impl FnMut(Record<'_>)) -> Result<(), Fault> {
        let mut record = one(bytes, offset)?.ok_or(Fault::Cut)?;
        let size = HEADER + record.body.len();
        let payload = match record.kind {
            kind::AUXTRACE => u64_at(record.body, 0).ok_or(Fault::Damaged("an AUXTRACE record too short"))?,
            kind::HEADER_TRACING_DATA => {
                u64::from(u32_at(record.body, 0).ok_or(Fault::Damaged("a TRACING_DATA record too short"))?)
            }
            _ => 0,
        };
        let left = (bytes.len() - size) as u64;
        let from = offset + size as u64;
        record.payload = (from, from + payload.min(left));
        match record.kind {
            kind::COMPRESSED => self.inflate(record.body, offset, f)?,
            kind::COMPRESSED2 => {
                let len = u64_at(record.body, 0).unwrap_or(u64::MAX);
                let data = usize::try_from(len).ok().and_then(|len| record.body.get(8..)?.get(..len));
                self.inflate(data.ok_or(Fault::Damaged("a COMPRESSED2 record too short"))?, offset, f)?;
            }
            _ => f(record),
        }
        self.at += size + payload.min(left) as usize;
        if payload > left { Err(Fault::Cut) } else { Ok(()) }
    }

    fn inflate(&mut self, data: &[u8], offset: u64, f: &mut impl FnMut(Record<'_>)) -> Result<(), Fault> {
        if self.inflater.is_none() {
            self.inflater = Some(Inflater::new().map_err(|_| Fault::Damaged("zstd does not start"))?);
        }
        match &mut self.inflater {
            Some(inflater) => inflater.add(data, offset, f),
            None => Ok(()),
        }
    }
}

/// The record at the start of `bytes`; `None` where its bytes are not all there.
fn one(bytes: &[u8], offset: u64) -> Result<Option<Record<'_>>, Fault> {
    let (Some(kind), Some(misc), Some(size)) = (u32_at(bytes, 0), u16_at(bytes, 4), u16_at(bytes, 6)) else {
        return Ok(None);
    };
    if usize::from(size) < HEADER {
        return Err(Fault::Damaged("a record shorter than its header"));
    }
    let Some(body) = bytes.get(HEADER..usize::from(size)) else { return Ok(None) };
    Ok(Some(Record { kind, misc, body, offset, payload: (0, 0) }))
}

/// The zstd stream of all COMPRESSED records.
struct Inflater {
    decoder: Decoder<'static>,
    buffer: Vec<u8>,
    /// Bytes of the buffer that hold the begin of a record.
    kept: usize,
}

impl Inflater {
    fn new() -> io::Result<Self> {
        Ok(Inflater { decoder: Decoder::new()?, buffer: vec![0; LONGEST + INFLATED], kept: 0 })
    }

    fn add(&mut self, data: &[u8], offset: u64, f: &mut impl FnMut(Record<'_>)) -> Result<(), Fault> {
        let mut input = InBuffer::around(data);
        loop {
            let room = self.kept + INFLATED;
            let mut output = OutBuffer::around_pos(&mut self.buffer[..room], self.kept);
            let before = (input.pos(), output.pos());
            self.decoder
                .run(&mut input, &mut output)
                .map_err(|_| Fault::Damaged("a COMPRESSED record does not inflate"))?;
            let filled = output.pos();
            let moved = (input.pos(), filled) != before;
            let full = filled == room;
            let mut at = 0;
            while let Some(mut record) = one(&self.buffer[at..filled], offset)? {
                if let kind::AUXTRACE | kind::COMPRESSED | kind::COMPRESSED2 = record.kind {
                    return Err(Fault::Damaged("a record that is never compressed is"));
                }
                record.offset = offset;
                at += HEADER + record.body.len();
                f(record);
            }
            self.buffer.copy_within(at..filled, 0);
            self.kept = filled - at;
            if !moved || (input.pos() == data.len() && !full) {
                return Ok(());
            }
        }
    }
}
