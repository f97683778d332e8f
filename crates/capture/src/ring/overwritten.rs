//! What rings hold that nobody empties.
//!
//! Records go backward: each is written before the one that is older, so from head on they stand newest first, up to one
//! that was partly overwritten. Trace goes forward, and head says where in the ring it ends; whether the ring was ever
//! full only its last bytes tell, which are zeros until then.

use std::sync::atomic::Ordering;

use super::map::Rings;
use super::records::Records;

/// So many bytes at the end of an AUX ring are zeros where it was never full: no packets are so many zeros in a row.
const UNTOUCHED: usize = 512;

/// What an AUX ring held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The bytes, oldest first. They may begin amid a packet.
    pub bytes: Vec<u8>,
    /// Where in the ring they end.
    pub head: usize,
    /// The ring was full before: what is not in it was overwritten.
    pub wrapped: bool,
}

impl Rings {
    /// The records that an overwritten data ring holds, oldest first.
    ///
    /// The kernel must not write meanwhile ([`Control::pause_output`](crate::event::Control::pause_output)); what it writes
    /// all the same is left out where it is torn.
    pub fn overwritten_data(&self) -> Vec<u8> {
        let head = self.memory().data_head().load(Ordering::Acquire);
        newest_first(&self.memory().copy_data(), head as usize & (self.size().data - 1))
    }

    /// The trace that an overwritten AUX ring holds. `flush` has the kernel say where it ends.
    ///
    /// The processor goes on writing meanwhile, over the oldest bytes: what it may have got at is left out, so that
    /// nothing need be stopped. `wrapped`: as found the last time.
    pub fn overwritten_aux(&self, wrapped: bool, flush: &mut dyn FnMut()) -> Found {
        let size = self.size().aux;
        let mut head = || {
            flush();
            self.memory().aux_head().load(Ordering::Acquire) as usize & (size - 1)
        };
        let before = head();
        let mut ring = self.memory().copy_aux();
        let after = head();
        let written = after.wrapping_sub(before) & (size - 1);
        // Where head is among the last bytes, few are left to tell; then what lies before it is nearly all there is.
        let untouched = before.max(size.saturating_sub(UNTOUCHED));
        let wrapped = wrapped || ring[untouched..].iter().any(|byte| *byte != 0);
        if !wrapped {
            ring.truncate(before);
            return Found { bytes: ring, head: before, wrapped };
        }
        ring.rotate_left(before);
        ring.drain(..written);
        Found { bytes: ring, head: before, wrapped }
    }
}

/// The records of a ring that was written backward, whose newest begins at `head`: oldest first.
pub fn newest_first(ring: &[u8], head: usize) -> Vec<u8> {
    let bytes = [&ring[head..], &ring[..head]];
    let mut records = Records::new(bytes);
    let mut places = Vec::new();
    let mut at = 0;
    // What was never written is zeros, and no record; what is partly overwritten reaches past the ring.
    while let Some(record) = records.next() {
        places.push((at, record.size));
        at = records.offset();
    }
    let mut out = Vec::with_capacity(at);
    for (at, size) in places.into_iter().rev() {
        let first = ring.len() - head;
        if at + size <= first {
            out.extend(&ring[head + at..head + at + size]);
        } else if at >= first {
            out.extend(&ring[at - first..at - first + size]);
        } else {
            out.extend(&ring[head + at..]);
            out.extend(&ring[..at + size - first]);
        }
    }
    out
}
