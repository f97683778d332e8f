//! Finding PSBs (SDM, "Packet Stream Boundary (PSB) Packet").
//!
//! A PSB is `02 82` eight times over. No other packet holds sixteen such bytes, as the longest payload has eight,
//! so the pattern can be searched for at any offset. But a payload may *end* with `02 82`, and a PSB may be cut off
//! by the next one: then the run of `02 82` is longer than sixteen bytes and the pattern matches too early.
//!
//! ```text
//! … 02 c3 88 p0 p1 p2 p3 02 82 02 82 │ 02 82 02 82 02 82 02 82 02 82 02 82 02 82 02 82 │ 19 …
//!            an MNT's payload ──┴───┘ └ the PSB: it ends where the run ends
//! ```
//!
//! The PSBs of a run are therefore those that end where it ends: the first begins at the run's begin plus its length
//! modulo sixteen. That holds for one PSB and for several in a row.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// The bytes of a PSB.
pub const PSB: [u8; 16] = [2, 0x82, 2, 0x82, 2, 0x82, 2, 0x82, 2, 0x82, 2, 0x82, 2, 0x82, 2, 0x82];

/// What a run is made of.
const PAIR: [u8; 2] = [PSB[0], PSB[1]];

/// No more of a run than this is looked at, so that a stream of nothing but `02 82` takes linear time. Real runs have
/// at most two PSBs' length; in one longer than this the PSBs are counted from its begin.
pub(crate) const RUN_MAX: usize = 16 * PSB.len();

static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(&PSB));

/// Where the bytes that could still become a PSB begin: the run at the end of `bytes`, be it as short as one `02`.
pub(crate) fn trailing_run(bytes: &[u8]) -> usize {
    let mut rest = bytes.strip_suffix(&[PAIR[0]]).unwrap_or(bytes);
    while let Some(shorter) = rest.strip_suffix(&PAIR)
        && bytes.len() - rest.len() < RUN_MAX
    {
        rest = shorter;
    }
    rest.len()
}

/// The offset of the first PSB at or after `from`.
///
/// ```
/// let mut bytes = vec![0x02, 0x82, 0x00, 0x02, 0x82];
/// bytes.extend(havana_packet::PSB);
/// assert_eq!(havana_packet::find_psb(&bytes, 0), Some(5));
/// ```
pub fn find_psb(bytes: &[u8], from: usize) -> Option<usize> {
    let start = from + FINDER.find(bytes.get(from..)?)?;
    let pairs = bytes.get(start..)?.chunks_exact(2).take(RUN_MAX / 2).take_while(|pair| *pair == PAIR).count();
    Some(start + (2 * pairs) % PSB.len())
}

/// The offsets of all PSBs.
pub fn psb_offsets(bytes: &[u8]) -> PsbOffsets<'_> {
    PsbOffsets { bytes, from: 0 }
}

/// The offsets of all PSBs: see [`psb_offsets`].
#[derive(Debug, Clone)]
pub struct PsbOffsets<'a> {
    bytes: &'a [u8],
    from: usize,
}

impl Iterator for PsbOffsets<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        match find_psb(self.bytes, self.from) {
            Some(psb) => {
                self.from = psb + PSB.len();
                Some(psb)
            }
            None => {
                self.from = self.bytes.len();
                None
            }
        }
    }
}

impl std::iter::FusedIterator for PsbOffsets<'_> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same rule, one byte at a time.
    fn naive(bytes: &[u8]) -> Vec<usize> {
        let mut found = vec![];
        let mut at = 0;
        while at + 16 <= bytes.len() {
            let mut end = at;
            while bytes[end..].starts_with(&[0x02, 0x82]) {
                end += 2;
            }
            if end - at < 16 {
                at += 1;
                continue;
            }
            found.extend((at + (end - at) % 16..end).step_by(16));
            at = end;
        }
        found
    }

    #[test]
    fn none_in_nothing() {
        assert_eq!(find_psb(&[], 0), None);
        assert_eq!(find_psb(&PSB, 1), None);
        assert_eq!(find_psb(&PSB, 99), None);
        assert_eq!(find_psb(&PSB[..15], 0), None);
    }

    #[test]
    fn every_alignment() {
        for before in 0..70 {
            let mut bytes = vec![0x55; before];
            bytes.extend(PSB);
            bytes.push(0x02);
            assert_eq!(psb_offsets(&bytes).collect::<Vec<_>>(), [before]);
        }
    }

    #[test]
    fn payload_that_ends_like_a_psb() {
        for pairs in 0..=4 {
            let mut bytes = vec![0x02, 0xc3, 0x88];
            bytes.resize(11 - 2 * pairs, 0x77);
            bytes.extend(PAIR.repeat(pairs));
            bytes.extend(PSB);
            bytes.extend([0x02, 0x23]);
            assert_eq!(find_psb(&bytes, 0), Some(11));
        }
    }

    #[test]
    fn one_psb_cut_off_by_another() {
        for cut in 0..16 {
            let mut bytes = PSB[..cut].to_vec();
            bytes.extend(PSB);
            bytes.push(0x00);
            assert_eq!(find_psb(&bytes, 0), Some(cut));
        }
    }

    #[test]
    fn a_long_run_takes_linear_time() {
        let bytes = PAIR.repeat(1 << 20);
        assert_eq!(psb_offsets(&bytes).count(), bytes.len() / 16);
    }

    #[test]
    fn trailing_run_is_what_may_become_a_psb() {
        assert_eq!(trailing_run(&[]), 0);
        assert_eq!(trailing_run(&[0x02]), 0);
        assert_eq!(trailing_run(&[0x82, 0x02]), 1);
        assert_eq!(trailing_run(&[0x82, 0x02, 0x82]), 1);
        assert_eq!(trailing_run(&[0x02, 0x02, 0x82, 0x02]), 1);
        assert_eq!(trailing_run(&[0x02, 0x82, 0x03]), 3);
        assert_eq!(trailing_run(&PAIR.repeat(1000)), 2000 - RUN_MAX);
    }

    proptest! {
        #[test]
        fn equals_naive(pieces in prop::collection::vec(prop_oneof![
            3 => Just(PSB.to_vec()),
            3 => (0usize..16).prop_map(|len| PSB[..len].to_vec()),
            1 => (0usize..16).prop_map(|len| PSB[16 - len..].to_vec()),
            2 => prop::collection::vec(prop_oneof![Just(0x02u8), Just(0x82), any::<u8>()], 0..20),
        ], 0..12)) {
            let bytes = pieces.concat();
            // The two differ by design where a run is longer than is looked at.
            prop_assume!(!bytes.windows(RUN_MAX).any(|run| run.chunks(2).all(|pair| pair == PAIR)));
            prop_assert_eq!(psb_offsets(&bytes).collect::<Vec<_>>(), naive(&bytes));
        }
    }
}
