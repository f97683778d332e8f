//! The table with vector instructions.

use std::arch::x86_64::*;

use crate::table::{EXTENDED, FIRST, SECOND, STEP};
use crate::{LISTED, LOOKED_AT, List, Listing, MOST_LISTED, What, Window};

/// Each number at its place.
const IOTA: [u8; 128] = {
    let mut iota = [0; 128];
    let mut at = 0;
    while at < 128 {
        iota[at] = at as u8;
        at += 1;
    }
    iota
};

/// AVX-512: a block is a register. To be called only where [`Level::all`](crate::Level::all) has it.
pub(crate) fn fill_avx512(bytes: &Window, table: &mut Window) {
    // SAFETY: only `Level::ways` hands this function out, and only where the machine has AVX512F, BW and VBMI.
    unsafe { avx512(bytes, table) }
}

/// AVX2: a block is a lane of 16 bytes. To be called only where [`Level::all`](crate::Level::all) has it.
pub(crate) fn fill_avx2(bytes: &Window, table: &mut Window) {
    // SAFETY: only `Level::ways` hands this function out, and only where the machine has AVX2.
    unsafe { avx2(bytes, table) }
}

/// AVX-512. To be called only where [`Level::all`](crate::Level::all) has it, with [`LOOKED_AT`] bytes more than blocks.
pub(crate) fn list_avx512(bytes: &[u8], blocks: usize, listing: Listing, list: &mut List) {
    // SAFETY: only `Level::ways` hands this function out, and only where the machine has AVX512F, BW, VBMI and VBMI2.
    unsafe { list512(bytes, blocks, listing, list) }
}

/// Block by block. A block waits for the one before it only to learn where the walk comes in, which is one look-up.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2,popcnt")]
fn list512(bytes: &[u8], blocks: usize, listing: Listing, list: &mut List) {
    let load = |from: &[u8; 64]| {
        // SAFETY: 64 bytes are there; the instruction asks for no alignment.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    };
    // A table of 256: by the lower seven bits, then by the eighth.
    let table = |of: &[u8; 256]| {
        let parts = of.as_chunks::<64>().0;
        [load(&parts[0]), load(&parts[1]), load(&parts[2]), load(&parts[3])]
    };
    let look_up = |[t0, t1, t2, t3]: [__m512i; 4], at: __m512i| {
        let (low, high) = (_mm512_permutex2var_epi8(t0, at, t1), _mm512_permutex2var_epi8(t2, at, t3));
        _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), low, high)
    };
    let is = |what: __m512i, one: What| _mm512_cmpeq_epi8_mask(what, _mm512_set1_epi8(one as i8));
    let (of_first, of_second) = (table(&FIRST), table(&SECOND));
    let [iota, beyond] = [load(&IOTA.as_chunks::<64>().0[0]), load(&IOTA.as_chunks::<64>().0[1])];
    let (one, nibble) = (_mm512_set1_epi8(1), _mm512_set1_epi8(0x0f));
    // Of each bit of n, which n have it.
    const BITS: [u64; 6] = [
        0xaaaa_aaaa_aaaa_aaaa,
        0xcccc_cccc_cccc_cccc,
        0xf0f0_f0f0_f0f0_f0f0,
        0xff00_ff00_ff00_ff00,
        0xffff_0000_ffff_0000,
        0xffff_ffff_0000_0000,
    ];
    // TNT is 1, and PAD less.
    let runs = listing == Listing::Runs;
    let last_passed = _mm512_set1_epi8(listing.passed());
    let mut ends = [0u8; 64];
    let mut comes_in = 0u8;
    let mut count = 0;
    list.branches = false;
    list.next = 0;
    for block in 0..blocks.min(MOST_LISTED) {
        let Some(ahead) = bytes.get(block * LISTED..).and_then(|rest| rest.first_chunk::<{ LISTED + LOOKED_AT }>())
        else {
            break;
        };
        let behind =
            |by: usize| load(ahead[by..].first_chunk().expect("80 bytes, of which no more than 3 are left out"));
        let (first, second) = (behind(0), behind(1));
        let extended = _mm512_cmpeq_epi8_mask(first, _mm512_set1_epi8(EXTENDED as i8));
        let mut entry = look_up(of_first, first);
        if extended != 0 {
            entry = _mm512_mask_blend_epi8(extended, entry, look_up(of_second, second));
        }
        // A CYC goes on while a byte says so: up to four bytes, else it is not listed.
        let two = _mm512_cmpeq_epi8_mask(_mm512_and_si512(first, _mm512_set1_epi8(0b111)), _mm512_set1_epi8(0b111));
        if two != 0 {
            let three = two & _mm512_test_epi8_mask(second, one);
            let four = three & _mm512_test_epi8_mask(behind(2), one);
            let more = four & _mm512_test_epi8_mask(behind(3), one);
            entry = _mm512_mask_add_epi8(entry, two, entry, one);
            entry = _mm512_mask_add_epi8(entry, three, entry, one);
            entry = _mm512_mask_add_epi8(entry, four, entry, one);
            entry = _mm512_mask_mov_epi8(entry, more, _mm512_setzero_si512());
        }
        // The n-th packet is where n steps lead: for each bit of n, so many at once.
        let mut steps = _mm512_add_epi8(iota, _mm512_and_si512(entry, nibble));
        let mut at = _mm512_set1_epi8(comes_in as i8);
        for bits in BITS {
            at = _mm512_mask2_permutex2var_epi8(steps, at, bits, beyond);
            steps = _mm512_permutex2var_epi8(steps, steps, beyond);
        }
        // SAFETY: 64 bytes are there; the instruction asks for no alignment.
        unsafe { _mm512_storeu_si512(ends.as_mut_ptr().cast(), steps) };

        // Who stands still, or is out, is none.
        let entry = _mm512_permutexvar_epi8(at, entry);
        let begun = _mm512_cmplt_epu8_mask(at, _mm512_set1_epi8(64)) & _mm512_test_epi8_mask(entry, nibble);
        let what = _mm512_and_si512(_mm512_srli_epi16::<4>(entry), nibble);
        let mut noted = begun & _mm512_cmpgt_epi8_mask(what, last_passed);
        let mut passed = begun & !noted;
        if runs {
            let before = _mm512_permutexvar_epi8(_mm512_sub_epi8(iota, one), what);
            let again = _mm512_cmpeq_epi8_mask(what, before) & _mm512_cmple_epi8_mask(what, one) & !1;
            (noted, passed) = (noted & !again, noted & again);
        }
        let (mut at, mut what) = (at, what);
        if passed != 0 {
            list.branches |= !runs && passed & (is(what, What::Tnt) | is(what, What::Tip)) != 0;
            at = _mm512_maskz_compress_epi8(noted, at);
            what = _mm512_maskz_compress_epi8(noted, what);
        }
        let begin = _mm512_set1_epi16((block * LISTED) as i16);
        let low = _mm512_add_epi16(_mm512_cvtepu8_epi16(_mm512_castsi512_si256(at)), begin);
        let high = _mm512_add_epi16(_mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64::<1>(at)), begin);
        let (to_at, to_what) = (&mut list.at[count..count + LISTED], &mut list.what[count..count + LISTED]);
        // SAFETY: 64 numbers of two bytes are there, and 64 bytes; the instruction asks for no alignment.
        unsafe {
            _mm512_storeu_si512(to_at.as_mut_ptr().cast(), low);
            _mm512_storeu_si512(to_at[32..].as_mut_ptr().cast(), high);
            _mm512_storeu_si512(to_what.as_mut_ptr().cast(), what);
        }
        count += noted.count_ones() as usize;

        let leads = ends[usize::from(comes_in & 63)];
        list.next = block * LISTED + usize::from(leads);
        if leads < 64 {
            break;
        }
        comes_in = leads - 64;
    }
    list.count = count;
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn avx512(bytes: &Window, table: &mut Window) {
    let load = |from: &[u8; 64]| {
        // SAFETY: 64 bytes are there; the instruction asks for no alignment.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    };
    let steps = STEP.as_chunks::<64>().0;
    let [s0, s1, s2, s3] = [load(&steps[0]), load(&steps[1]), load(&steps[2]), load(&steps[3])];
    let [iota, beyond] = [load(&IOTA.as_chunks::<64>().0[0]), load(&IOTA.as_chunks::<64>().0[1])];
    for (from, to) in bytes.as_chunks::<64>().0.iter().zip(table.as_chunks_mut::<64>().0) {
        let first = load(from);
        // A table of 256: by the lower seven bits, then by the eighth.
        let low = _mm512_permutex2var_epi8(s0, first, s1);
        let high = _mm512_permutex2var_epi8(s2, first, s3);
        let step = _mm512_mask_blend_epi8(_mm512_movepi8_mask(first), low, high);
        let mut leads = _mm512_add_epi8(iota, step);
        // Each round doubles the steps taken; who has left the block (64 and more) stays where they are. 64 packets of one
        // byte are the most.
        for _ in 0..6 {
            leads = _mm512_permutex2var_epi8(leads, leads, beyond);
        }
        // SAFETY: 64 bytes are there; the instruction asks for no alignment.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), leads) }
    }
}

#[target_feature(enable = "avx2")]
fn avx2(bytes: &Window, table: &mut Window) {
    let load = |from: &[u8; 32]| {
        // SAFETY: 32 bytes are there; the instruction asks for no alignment.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    };
    let twice = |of: [u8; 16]| {
        let mut both = [0; 32];
        both[..16].copy_from_slice(&of);
        both[16..].copy_from_slice(&of);
        load(&both)
    };
    // By the lower four bits: one byte; an IP packet (its fifth bit says which); of note. TSC, MTC, MODE and TRIG (9),
    // CYC (3, 7, b, f), FUP (1d) and what is no packet (5) are of note.
    const IP: u8 = 0xff;
    let low = twice([1, IP, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, IP, 1, 0]);
    // By the upper three bits, of an IP packet.
    let high = twice([
        STEP[0x01], STEP[0x01], STEP[0x21], STEP[0x21], STEP[0x41], STEP[0x41], STEP[0x61], STEP[0x61], STEP[0x81],
        STEP[0x81], STEP[0xa1], STEP[0xa1], STEP[0xc1], STEP[0xc1], STEP[0xe1], STEP[0xe1],
    ]);
    let iota = twice(*IOTA.first_chunk().expect("128 are more than 16"));
    let nibble = _mm256_set1_epi8(0x0f);
    let note = _mm256_set1_epi8(EXTENDED as i8);
    let fup = _mm256_set1_epi8(0x1d);
    let five = _mm256_set1_epi8(0x1f);
    let last = _mm256_set1_epi8(15);
    let left = _mm256_set1_epi8(i8::MIN);
    for (from, to) in bytes.as_chunks::<32>().0.iter().zip(table.as_chunks_mut::<32>().0) {
        let first = load(from);
        let one = _mm256_shuffle_epi8(low, _mm256_and_si256(first, nibble));
        let ip = _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi16(first, 4), nibble));
        // `one` has its top bit where an IP packet begins.
        let step = _mm256_blendv_epi8(one, ip, one);
        let noted =
            _mm256_or_si256(_mm256_cmpeq_epi8(first, note), _mm256_cmpeq_epi8(_mm256_and_si256(first, five), fup));
        let leads = _mm256_add_epi8(iota, _mm256_andnot_si256(noted, step));
        // Who has left the lane has the top bit set: the shuffle gives 0 for them, and the larger is who they were. For all
        // others a step leads on or stays.
        let out = _mm256_and_si256(_mm256_cmpgt_epi8(leads, last), left);
        let mut leads = _mm256_or_si256(leads, out);
        for _ in 0..4 {
            leads = _mm256_max_epu8(leads, _mm256_shuffle_epi8(leads, leads));
        }
        let leads = _mm256_andnot_si256(left, leads);
        // SAFETY: 32 bytes are there; the instruction asks for no alignment.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), leads) }
    }
}
