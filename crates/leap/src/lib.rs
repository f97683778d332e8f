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
//! Where packets of note stand side by side, as in PSB+ and in a trace without branches, each leap is short. There
//! [`list`](Leaper::list) names all packets of the next block, or of the next sixteen, at once: the n-th of a block is found by
//! as many of the doubled steps as n has bits.
//!
//! # The fence
//!
//! The vector instructions are `unsafe`, and this is the one crate for them. Each way ([`Level`]) fills the same table, and
//! a property test holds it byte for byte against [`Level::Portable`], which is safe code.

mod table;
#[cfg(target_arch = "x86_64")]
mod x86;

use table::{EXTENDED, FIRST, SECOND, STEP};

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

/// Bytes of a block that packets are listed of.
pub const LISTED: usize = 64;
/// Blocks that are listed at once, at the most.
pub const MOST_LISTED: usize = 16;
/// So many bytes more are looked at.
pub const LOOKED_AT: usize = 16;

/// A packet whose first bytes tell what it is and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs, reason = "they are the packets of the SDM")]
pub enum What {
    Pad,
    Tnt,
    Tip,
    TipPge,
    TipPgd,
    Cyc,
    Mtc,
    Tsc,
    Mode,
    Pip,
    Vmcs,
    Cbr,
    Tma,
    PsbEnd,
    Ovf,
}

/// The packets that begin in some bytes: see [`Leaper::list`].
#[derive(Clone)]
pub struct List {
    /// Where the packets begin that are not passed over, and what each is (a [`What`]): the first `count` of each.
    at: [u16; MOST_NOTED],
    what: [u8; MOST_NOTED],
    count: usize,
    /// A branch (TNT, TIP) is among those that are passed over.
    pub branches: bool,
    /// Where the walk goes on: at a packet that was not listed, or behind the bytes.
    pub next: usize,
}

/// A block more than there are: each is written whole.
const MOST_NOTED: usize = (MOST_LISTED + 1) * LISTED;

impl List {
    const EMPTY: List = List { at: [0; MOST_NOTED], what: [0; MOST_NOTED], count: 0, branches: false, next: 0 };

    /// The packets that are not passed over: where each begins, from the bytes' begin, and which it is, as a number.
    #[inline]
    pub fn packets(&self) -> impl ExactSizeIterator<Item = (usize, u8)> + '_ {
        let count = self.count.min(MOST_NOTED);
        self.at[..count].iter().zip(&self.what[..count]).map(|(at, what)| (usize::from(*at), *what))
    }

    /// The same with where the next one begins: of a run, its end.
    #[inline]
    pub fn runs(&self) -> impl Iterator<Item = (usize, usize, u8)> + '_ {
        let ends = self.at[1..].iter().map(|at| usize::from(*at));
        self.packets().zip(ends).map(|((at, what), end)| (at, end, what))
    }

    /// How many these are.
    #[inline]
    pub fn count(&self) -> usize {
        self.count.min(MOST_NOTED)
    }
}

/// Which packets are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// Those that are not passed over.
    Noted,
    /// All, but of PADs side by side in a block the first alone, and so with TNTs.
    Runs,
}

impl Listing {
    /// The last that is passed over.
    fn passed(self) -> i8 {
        match self {
            Listing::Noted => What::TipPgd as i8,
            Listing::Runs => -1,
        }
    }
}

/// Packet by packet. There are [`LOOKED_AT`] bytes more than blocks.
fn list_portable(bytes: &[u8], blocks: usize, listing: Listing, list: &mut List) {
    (list.count, list.branches) = (0, false);
    let (mut at, mut before) = (0, (usize::MAX, 0));
    while at < blocks * LISTED {
        let entry = match bytes[at] {
            EXTENDED => SECOND[usize::from(bytes[at + 1])],
            first => FIRST[usize::from(first)],
        };
        let (what, mut len) = (entry >> 4, usize::from(entry & 0xf));
        if len == 0 {
            break;
        }
        if what == What::Cyc as u8 && bytes[at] & 0b100 != 0 {
            let Some(more) = bytes[at + 1..at + 4].iter().position(|byte| byte & 1 == 0) else { break };
            len = more + 2;
        }
        let passed = what as i8 <= listing.passed();
        list.branches |= passed && (what == What::Tnt as u8 || what == What::Tip as u8);
        if !passed && (before != (at / LISTED, what) || what > What::Tnt as u8) {
            (list.at[list.count], list.what[list.count]) = (at as u16, what);
            list.count += 1;
        }
        before = (at / LISTED, what);
        at += len;
    }
    list.next = at;
}

/// With which instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Any machine.
    Portable,
    /// AVX2: blocks of 16 bytes.
    Avx2,
    /// AVX-512 with VBMI and VBMI2 (Ice Lake, Zen 4 and later): blocks of 64 bytes.
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
                && is_x86_feature_detected!("avx512vbmi")
                && is_x86_feature_detected!("avx512vbmi2");
            match (is_x86_feature_detected!("avx2"), avx512) {
                (true, true) => return &[Level::Portable, Level::Avx2, Level::Avx512],
                (true, false) => return &[Level::Portable, Level::Avx2],
                (false, _) => {}
            }
        }
        &[Level::Portable]
    }

    fn ways(self) -> Ways {
        #[cfg(target_arch = "x86_64")]
        if Level::all().contains(&self) {
            match self {
                Level::Avx512 => {
                    return Ways { fill: x86::fill_avx512, block: 64, list: x86::list_avx512, lists_fast: true };
                }
                Level::Avx2 => return Ways { fill: x86::fill_avx2, block: 16, list: list_portable, lists_fast: false },
                Level::Portable => {}
            }
        }
        Ways { fill: fill_portable, block: 64, list: list_portable, lists_fast: false }
    }
}

/// How a level does it.
#[derive(Clone, Copy)]
struct Ways {
    /// Fills the table, of blocks so long.
    fill: fn(&Window, &mut Window),
    block: usize,
    /// Lists the packets of so many blocks.
    list: fn(&[u8], usize, Listing, &mut List),
    lists_fast: bool,
}

/// Goes through a stream's bytes from packet of note to packet of note.
///
/// All calls are to be of the same bytes; see [`forget`](Leaper::forget).
#[derive(Clone)]
pub struct Leaper {
    ways: Ways,
    /// Length of a block less one.
    mask: usize,
    shift: u32,
    /// Which window the table is of.
    base: usize,
    /// Blocks before this one were entered, or passed by.
    entered: usize,
    /// Which bytes these are.
    bytes: u32,
    tables: Box<Tables>,
}

/// How a walk came into a block.
#[derive(Clone, Copy)]
struct Entry {
    /// Of which bytes.
    bytes: u32,
    block: usize,
    /// At this packet, or from this one before it.
    at: usize,
}

#[derive(Clone)]
struct Tables {
    /// For every byte of the window, by a walk that comes by there: where in its block it stops (less than a block), or
    /// where it leaves it, from the block's begin.
    leads: Window,
    entries: [Entry; KEPT],
    list: List,
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
        let ways = level.ways();
        Leaper {
            ways,
            mask: ways.block - 1,
            shift: ways.block.trailing_zeros(),
            base: NOWHERE,
            entered: 0,
            bytes: 0,
            tables: Box::new(Tables {
                leads: [0; WINDOW],
                entries: [Entry { bytes: 0, block: NOWHERE, at: 0 }; KEPT],
                list: List::EMPTY,
            }),
        }
    }

    /// Whether [`list`](Leaper::list) is faster than a step from packet to packet.
    pub fn lists_fast(&self) -> bool {
        self.ways.lists_fast
    }

    /// Other bytes come.
    pub fn forget(&mut self) {
        (self.base, self.entered) = (NOWHERE, 0);
        self.bytes = self.bytes.wrapping_add(1);
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
            self.enter(at >> self.shift, at);
            let leads = usize::from(self.tables.leads[within]);
            at = (at & !self.mask) + leads;
            if leads <= self.mask {
                return at;
            }
        }
        at
    }

    /// All packets that begin in the next `blocks` times [`LISTED`] bytes, from the packet at `at` on, up to the first that is of
    /// note for another reason than one of [`What`]. At most [`MOST_LISTED`] blocks; `None` where fewer bytes are left, with
    /// [`LOOKED_AT`] behind them.
    #[inline]
    pub fn list(&mut self, bytes: &[u8], at: usize, blocks: usize, listing: Listing) -> Option<&List> {
        let blocks = blocks.min(MOST_LISTED);
        let ahead = bytes.get(at..at + blocks * LISTED + LOOKED_AT)?;
        let list = &mut self.tables.list;
        (self.ways.list)(ahead, blocks, listing, list);
        list.at[list.count] = list.next as u16;
        let last = at + self.tables.list.next.max(1) - 1;
        for block in at >> self.shift..=last >> self.shift {
            self.enter(block, at);
        }
        Some(&self.tables.list)
    }

    #[inline]
    fn enter(&mut self, block: usize, at: usize) {
        // What was seen of a block first stands: who goes back goes the same way again.
        if block >= self.entered {
            self.entered = block + 1;
            self.tables.entries[block % KEPT] = Entry { bytes: self.bytes, block, at };
        }
    }

    /// A packet before `end`, near to it, and not before `from`. From there to `end` are whole packets, where the walk came
    /// by both. `None`: no call came by since `from`.
    pub fn entry_before(&self, end: usize, from: usize) -> Option<usize> {
        let mut block = end.checked_sub(1)? >> self.shift;
        while block >= from >> self.shift {
            if self.entered.saturating_sub(block) > KEPT {
                // It was there too long ago.
                return Some(from);
            }
            let entry = self.tables.entries[block % KEPT];
            if entry.bytes == self.bytes && entry.block == block && entry.at < end {
                return Some(entry.at.max(from));
            }
            block = block.checked_sub(1)?;
        }
        None
    }

    fn load(&mut self, bytes: &[u8], at: usize) {
        self.base = at / WINDOW * WINDOW;
        let rest = &bytes[self.base..];
        match rest.first_chunk() {
            Some(window) => (self.ways.fill)(window, &mut self.tables.leads),
            None => {
                // What is behind the end stops every walk.
                let mut window = [EXTENDED; WINDOW];
                window[..rest.len()].copy_from_slice(rest);
                (self.ways.fill)(&window, &mut self.tables.leads);
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
            3 => prop::collection::vec(prop_oneof![Just(0x2du8), Just(0x0d), Just(0x6d), Just(0xcd), Just(0x31), Just(0x01)], 1..9),
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
                let Ways { fill, block, .. } = level.ways();
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn each_level_lists_the_same(bytes in listed()) {
            for (blocks, listing) in [(1, Listing::Runs), (2, Listing::Noted), (16, Listing::Noted), (16, Listing::Runs)] {
                for from in (0..bytes.len().saturating_sub(blocks * LISTED + LOOKED_AT)).step_by(blocks) {
                    let want = Leaper::new(Level::Portable).list(&bytes, from, blocks, listing).cloned().unwrap();
                    for &level in Level::all() {
                        let mut leaper = Leaper::new(level);
                        let got = leaper.list(&bytes, from, blocks, listing).unwrap();
                        prop_assert_eq!(got.packets().collect::<Vec<_>>(), want.packets().collect::<Vec<_>>());
                        prop_assert_eq!((got.next, got.branches), (want.next, want.branches));
                    }
                }
            }
        }
    }

    /// Bytes of traces without branches.
    fn listed() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            3 => Just(vec![0x02, 0x43, 1, 2, 3, 4, 5, 6]),
            2 => Just(vec![0x02, 0xc8, 1, 2, 3, 4, 5]),
            4 => prop::collection::vec(Just(0x59u8), 2),
            4 => any::<[u8; 4]>().prop_map(|b| vec![b[0] | 7, b[1] | 1, b[2] | 1, b[3] & 0xfe]),
            2 => Just(vec![0x0b]),
            1 => prop::sample::select(SECOND.iter().enumerate().filter(|(_, e)| **e > 0).map(|(b, _)| b as u8).collect::<Vec<_>>())
                .prop_map(|second| vec![0x02, second]),
            1 => bytes(),
        ];
        prop::collection::vec(piece, 10..400).prop_map(|pieces| pieces.concat())
    }

    #[test]
    fn every_first_byte_on_every_level() {
        for first in 0..=255u8 {
            let mut bytes = [EXTENDED; 2048];
            for &level in Level::all() {
                for at in [0, 1, 15, 16, 31, 63, 64, 1023] {
                    bytes[at] = first;
                    assert_eq!(
                        Leaper::new(level).next(&bytes, at),
                        naive(&bytes, at),
                        "{level:?}: {first:02x} at {at}"
                    );
                    bytes[at] = EXTENDED;
                }
            }
        }
    }

    #[test]
    fn bytes_that_end_inside_a_packet() {
        for &level in Level::all() {
            assert_eq!(Leaper::new(level).next(&[0x4d, 0, 0], 0), 5);
            assert_eq!(Leaper::new(level).next(&[0x4c; 1024], 0), 1024);
            assert_eq!(Leaper::new(level).next(&[], 0), 0);
        }
    }
}
