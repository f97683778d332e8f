//! From packet to packet of note in a trace, many bytes at a time.
//!
//! Most bytes of a branch trace are packets that say nothing of who runs, or when: TNT, TIP, PAD. Where the next packet
//! begins only the one before it tells, so a walk is a chain of dependent steps, some six cycles each. This crate breaks
//! the chain. For *every* byte of a block it works out, in vector registers, where a walk that comes by there would stop or
//! leave the block; the walk itself is then one look-up a block.
//!
//! ```text
//!   at          0   1   2   3   4   5   6   7   8   9   10  11
//!   bytes       2d  ··  ··  4c  4c  51  ··  ··  ··  ··  7a  02 43 …      2d: TIP of 3, 4c: TNT, 51: TIP.PGE of 5, 02: of note
//!   a step      3   ·   ·   4   5   10  ·   ·   ·   ·   11  11           where each leads; what is of note, to itself
//!   doubled     11  ·   ·   11  11  11  ·   ·   ·   ·   11  11           step ∘ step, as often as blocks are long
//! ```
//!
//! Packets that begin nowhere a walk comes by are worked out too, and never looked up. So nothing is skipped and nothing
//! guessed: the packets of note are those of a walk that takes them one by one, whatever the bytes.
//!
//! What is passed over: short TNT, PAD, and TIP, TIP.PGE, TIP.PGD of at most four bytes of IP ([`step`]). Every other first
//! byte is of note, be it a packet or none; who calls decodes it (SDM, "Packet Definitions"). A whole IP, which packets
//! behind it are short for, is so never passed over: they are few.
//!
//! # The fence
//!
//! The vector instructions are `unsafe`, and this is the one crate for them. Each way ([`Level`]) fills the same table, and
//! a property test holds it byte for byte against [`Level::Portable`], which is safe code.

mod table;
#[cfg(target_arch = "x86_64")]
mod x86;

use table::{NOTE, STEP};

/// Bytes from a packet that is passed over to the next, by its first byte; 0 for what is of note.
#[inline]
pub fn step(first: u8) -> usize {
    STEP[usize::from(first)].into()
}

/// A table is of this many bytes.
const WINDOW: usize = 1024;
/// Blocks whose first packet is kept.
const KEPT: usize = 1 << 10;

/// The base of no window: of no byte it is within reach.
const NOWHERE: usize = 1 << (usize::BITS - 1);

type Window = [u8; WINDOW];

/// With which instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Any machine.
    Portable,
    /// AVX2: blocks of 16 bytes.
    Avx2,
    /// AVX-512 with VBMI (Ice Lake, Zen 4 and later): blocks of 64 bytes.
    Avx512,
}

impl Level {
    /// The best that this machine has.
    pub fn best() -> Level {
        Level::all().last().copied().unwrap_or(Level::Portable)
    }

    /// All that this machine has, the best last.
    pub fn all() -> &'static [Level] {
        #[cfg(target_arch = "x86_64")]
        {
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vbmi");
            match (is_x86_feature_detected!("avx2"), avx512) {
                (true, true) => return &[Level::Portable, Level::Avx2, Level::Avx512],
                (true, false) => return &[Level::Portable, Level::Avx2],
                (false, _) => {}
            }
        }
        &[Level::Portable]
    }

    /// Fills the table, and says how long its blocks are.
    fn filler(self) -> (fn(&Window, &mut Window), usize) {
        #[cfg(target_arch = "x86_64")]
        if Level::all().contains(&self) {
            match self {
                Level::Avx512 => return (x86::fill_avx512, 64),
                Level::Avx2 => return (x86::fill_avx2, 16),
                Level::Portable => {}
            }
        }
        (fill_portable, 64)
    }
}

/// Goes through a stream's bytes from packet of note to packet of note.
///
/// All calls are to be of the same bytes; see [`forget`](Leaper::forget).
#[derive(Clone)]
pub struct Leaper {
    fill: fn(&Window, &mut Window),
    /// Length of a block less one.
    mask: usize,
    shift: u32,
    /// Which window the table is of.
    base: usize,
    /// The block the walk is in.
    block: usize,
    tables: Box<Tables>,
}

#[derive(Clone)]
struct Tables {
    /// For every byte of the window, by a walk that comes by there: where in its block it stops (less than a block), or
    /// where it leaves it, from the block's begin.
    leads: Window,
    /// Where the walk entered each block.
    entries: [usize; KEPT],
}

impl std::fmt::Debug for Leaper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaper").field("block", &(self.mask + 1)).field("base", &self.base).finish_non_exhaustive()
    }
}

impl Default for Leaper {
    fn default() -> Self {
        Leaper::new(Level::best())
    }
}

impl Leaper {
    /// With those instructions; with the portable ones where this machine lacks them.
    pub fn new(level: Level) -> Leaper {
        let (fill, block) = level.filler();
        Leaper {
            fill,
            mask: block - 1,
            shift: block.trailing_zeros(),
            base: NOWHERE,
            block: NOWHERE,
            tables: Box::new(Tables { leads: [0; WINDOW], entries: [NOWHERE; KEPT] }),
        }
    }

    /// Other bytes come.
    pub fn forget(&mut self) {
        (self.base, self.block) = (NOWHERE, NOWHERE);
        self.tables.entries = [NOWHERE; KEPT];
    }

    /// Where the first packet of note begins, from the packet that begins at `at` on.
    ///
    /// The bytes' length where there is none, or more, where they end inside a packet that is passed over.
    #[inline]
    pub fn next(&mut self, bytes: &[u8], mut at: usize) -> usize {
        while at < bytes.len() {
            let within = at.wrapping_sub(self.base);
            if within >= WINDOW {
                self.load(bytes, at);
                continue;
            }
            let block = at >> self.shift;
            if block != self.block {
                self.block = block;
                self.tables.entries[block % KEPT] = at;
            }
            let leads = usize::from(self.tables.leads[within]);
            at = (at & !self.mask) + leads;
            if leads <= self.mask {
                return at;
            }
        }
        at
    }

    /// The last packet before `end` from which a call went on, or at which one entered a block; not before `from`. From there
    /// to `end` are whole packets, where the walk came by both. `None`: no call went that way.
    pub fn entry_before(&self, end: usize, from: usize) -> Option<usize> {
        let mut block = end.checked_sub(1)? >> self.shift;
        while block >= from >> self.shift {
            if self.block.wrapping_sub(block) >= KEPT {
                // It was there too long ago.
                return Some(from);
            }
            let entry = self.tables.entries[block % KEPT];
            if entry >> self.shift == block && entry < end {
                return Some(entry.max(from));
            }
            block = block.checked_sub(1)?;
        }
        None
    }

    fn load(&mut self, bytes: &[u8], at: usize) {
        self.base = at / WINDOW * WINDOW;
        let rest = &bytes[self.base..];
        match rest.first_chunk() {
            Some(window) => (self.fill)(window, &mut self.tables.leads),
            None => {
                // What is behind the end stops every walk.
                let mut window = [NOTE; WINDOW];
                window[..rest.len()].copy_from_slice(rest);
                (self.fill)(&window, &mut self.tables.leads);
            }
        }
    }
}

/// From the last byte of a block to its first: where a packet leads is known before it is met.
fn fill_portable(bytes: &Window, table: &mut Window) {
    for (bytes, table) in bytes.as_chunks::<64>().0.iter().zip(table.as_chunks_mut::<64>().0) {
        for at in (0..64).rev() {
            let to = at + usize::from(STEP[usize::from(bytes[at])]);
            table[at] = if to == at || to >= 64 { to as u8 } else { table[to] };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Packet by packet.
    fn naive(bytes: &[u8], mut at: usize) -> usize {
        while let Some(&first) = bytes.get(at) {
            match STEP[usize::from(first)] {
                0 => return at,
                step => at += usize::from(step),
            }
        }
        at
    }

    /// Bytes as traces have them, and any.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => prop::collection::vec((2u8..128).prop_map(|b| b << 1), 1..40),
            3 => prop::collection::vec(prop_oneof![Just(0x2du8), Just(0x4d), Just(0x6d), Just(0xcd), Just(0x31), Just(0x01)], 1..9),
            1 => Just(vec![0; 200]),
            2 => prop::collection::vec(any::<u8>(), 1..9),
            1 => Just(vec![0x02, 0x82]),
        ];
        prop::collection::vec(piece, 0..80).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn each_level_equals_the_walk_packet_by_packet(bytes in bytes(), from in 0usize..64) {
            for &level in Level::all() {
                let mut leaper = Leaper::new(level);
                let mut at = from;
                while at < bytes.len() {
                    let note = leaper.next(&bytes, at);
                    prop_assert_eq!(note, naive(&bytes, at), "{:?} from {}", level, at);
                    at = note + 1;
                }
            }
        }

        #[test]
        fn each_level_fills_the_same_table(bytes in prop::array::uniform32(prop::array::uniform32(any::<u8>()))) {
            let bytes: Window = bytes.concat().try_into().unwrap();
            let mut blocks = vec![];
            for &level in Level::all() {
                let (fill, block) = level.filler();
                let mut table = [0; WINDOW];
                fill(&bytes, &mut table);
                // To the end of blocks of 64, by as many look-ups as it takes.
                let ends: Vec<usize> = (0..WINDOW).map(|mut at| {
                    let end = at / 64 * 64 + 64;
                    loop {
                        let leads = usize::from(table[at]);
                        at = at / block * block + leads;
                        if leads < block || at >= end {
                            return at;
                        }
                    }
                }).collect();
                blocks.push(ends);
            }
            prop_assert!(blocks.windows(2).all(|two| two[0] == two[1]));
        }
    }

    #[test]
    fn every_first_byte_on_every_level() {
        for first in 0..=255u8 {
            let mut bytes = [NOTE; 2048];
            for &level in Level::all() {
                for at in [0, 1, 15, 16, 31, 63, 64, 1023] {
                    bytes[at] = first;
                    assert_eq!(
                        Leaper::new(level).next(&bytes, at),
                        naive(&bytes, at),
                        "{level:?}: {first:02x} at {at}"
                    );
                    bytes[at] = NOTE;
                }
            }
        }
    }

    #[test]
    fn bytes_that_end_inside_a_packet() {
        for &level in Level::all() {
            assert_eq!(Leaper::new(level).next(&[0x6d, 0, 0], 0), 7);
            assert_eq!(Leaper::new(level).next(&[0x4c; 1024], 0), 1024);
            assert_eq!(Leaper::new(level).next(&[], 0), 0);
        }
    }
}
