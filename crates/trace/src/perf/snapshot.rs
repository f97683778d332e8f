//! Rings that were overwritten until somebody wanted them (`perf record -S`): each AUXTRACE is what a ring held at one
//! moment.
//!
//! It begins anywhere in a packet. Two that were taken soon after each other have bytes in common: the end of the first
//! is somewhere in the second, and goes on there.

use memchr::memmem;

use super::index::Chunk;
use crate::stream::Part;
use crate::{Cause, Join, Missing};

/// So many bytes at a snapshot's begin are looked for in the one before: more than repeat by chance.
const KEY: usize = 256;

/// Places that are looked at before it is called not found: where bytes repeat without end there are many.
const TRIES: usize = 64;

pub(super) fn parts(file: &[u8], chunks: &[Chunk]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut before: Option<(&[u8], i64)> = None;
    for chunk in chunks {
        let end = chunk.offset.saturating_add(chunk.size);
        let Some(bytes) = file.get(chunk.offset as usize..end as usize).filter(|b| !b.is_empty()) else { continue };
        let (join, skip) = match before {
            None => (Join::First, 0),
            Some((old, read)) => match overlap(old, bytes) {
                0 => {
                    let cause = Cause::Dropped;
                    let missing = Missing { cause, stopped: Some(read), resumed: None, at_packet: false, bytes: 0 };
                    (Join::Missing(missing), 0)
                }
                skip => {
                    // It is turned off while the ring is read.
                    let (cause, stopped) = (Cause::Off, Some(read));
                    (Join::Missing(Missing { cause, stopped, resumed: None, at_packet: true, bytes: 0 }), skip)
                }
            },
        };
        before = Some((bytes, i64::try_from(chunk.read).unwrap_or(i64::MAX / 4)));
        if skip < bytes.len() {
            parts.push(Part { offset: chunk.offset + skip as u64, len: (bytes.len() - skip) as u64, join });
        }
    }
    parts
}

/// How many bytes at the begin of `new` are the end of `old`.
fn overlap(old: &[u8], new: &[u8]) -> usize {
    let key = &new[..new.len().min(KEY)];
    if key.len() < KEY {
        return 0;
    }
    let same = |at: &usize| old.len() - at <= new.len() && new[..old.len() - at] == old[*at..];
    memmem::find_iter(old, key).take(TRIES).find(same).map_or(0, |at| old.len() - at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_one_is_the_begin_of_the_next() {
        let bytes: Vec<u8> = (0..4000u32).map(|i| (i * i / 7 + i / 251) as u8).collect();
        assert_eq!(overlap(&bytes[..2000], &bytes[1500..3500]), 500);
        assert_eq!(overlap(&bytes[..2000], &bytes[..2500]), 2000);
        assert_eq!(overlap(&bytes[..2000], &bytes[2000..]), 0);
        assert_eq!(overlap(&bytes[..2000], &bytes[1900..2000]), 0);
        assert_eq!(overlap(&[0; 2000], &[0; 3000]), 2000);
    }
}
