//! A kernel that is none: writes into rings as Linux does, for tests and benchmarks.
//!
//! It keeps to the order of `ring_buffer.c`: bytes, then head with *release*; never past tail, read with *acquire*. Where
//! a ring of records is full it counts what is lost, and says so in a LOST record as soon as there is room; where one of
//! trace is full it stops until there is.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::event::Control;
use crate::ring::Memory;

/// Who fills a ring, of whom nothing is asked; it can be rung, as a ring's watermark wakes the reader.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// Silent.
    ///
    /// # Errors
    /// The system's own.
    pub fn new() -> io::Result<Bell> {
        Ok(Bell(eventfd(0, EventfdFlags::NONBLOCK)?))
    }

    /// What rings when an eight-byte number is written, and is silent again when one was read.
    ///
    /// # Errors
    /// The system's own.
    pub fn rope(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Control for Bell {
    fn id(&self) -> u64 {
        1
    }

    fn enable(&self) -> Result<(), Errno> {
        Ok(())
    }

    fn disable(&self) -> Result<(), Errno> {
        Ok(())
    }

    fn flush(&self) -> Result<(), Errno> {
        Ok(())
    }

    fn pause_output(&self, _: bool) -> Result<(), Errno> {
        Ok(())
    }
}

/// The kernel's side of rings that were made [in memory](crate::ring::Rings::in_memory).
#[derive(Debug)]
pub struct FakeKernel {
    rings: Arc<Memory>,
    /// Records lost, and not told of yet.
    lost: u64,
    /// The place where the newest record begins, of a ring that is written backward.
    backward: u64,
}

/// `PERF_RECORD_LOST`, with an id of 0.
fn lost_record(count: u64) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[0] = 2;
    bytes[6] = 24;
    bytes[16..].copy_from_slice(&count.to_le_bytes());
    bytes
}

impl FakeKernel {
    pub(crate) fn new(rings: Arc<Memory>) -> Self {
        FakeKernel { rings, lost: 0, backward: 0 }
    }

    fn try_record(&mut self, bytes: &[u8]) -> bool {
        let head = self.rings.data_head().load(Ordering::Relaxed);
        let tail = self.rings.data_tail().load(Ordering::Acquire);
        if head + bytes.len() as u64 - tail > self.rings.size().data as u64 {
            return false;
        }
        self.rings.put_data(head, bytes);
        self.rings.data_head().store(head + bytes.len() as u64, Ordering::Release);
        true
    }

    /// A record, whole; false where there was no room and it is lost.
    pub fn record(&mut self, bytes: &[u8]) -> bool {
        if self.lost > 0 {
            if !self.try_record(&lost_record(self.lost)) {
                self.lost += 1;
                return false;
            }
            self.lost = 0;
        }
        let wrote = self.try_record(bytes);
        self.lost += u64::from(!wrote);
        wrote
    }

    /// A record into a ring that is written backward and overwritten.
    pub fn record_backward(&mut self, bytes: &[u8]) {
        self.backward = self.backward.wrapping_sub(bytes.len() as u64);
        self.rings.put_data(self.backward, bytes);
        self.rings.data_head().store(self.backward, Ordering::Release);
    }

    /// Trace, as much as there is room for: how many bytes.
    pub fn trace(&mut self, bytes: &[u8]) -> usize {
        let head = self.rings.aux_head().load(Ordering::Relaxed);
        let tail = self.rings.aux_tail().load(Ordering::Acquire);
        let room = self.rings.size().aux - (head - tail) as usize;
        let some = &bytes[..bytes.len().min(room)];
        self.rings.put_aux(head, some);
        self.rings.aux_head().store(head + some.len() as u64, Ordering::Release);
        some.len()
    }

    /// Trace into a ring that is overwritten; head is its place in the ring, as the driver of Intel PT has it.
    pub fn trace_over(&mut self, bytes: &[u8]) {
        let size = self.rings.size().aux;
        for some in bytes.chunks(size) {
            let head = self.rings.aux_head().load(Ordering::Relaxed);
            self.rings.put_aux(head, some);
            self.rings.aux_head().store((head + some.len() as u64) % size as u64, Ordering::Release);
        }
    }
}
