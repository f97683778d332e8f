//! The table with vector instructions.

use std::arch::x86_64::*;

use crate::{
    Window,
    table::{NOTE, STEP},
};

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
    // SAFETY: only `Level::filler` hands this function out, and only where the machine has AVX512F, BW and VBMI.
    unsafe { avx512(bytes, table) }
}

/// AVX2: a block is a lane of 16 bytes. To be called only where [`Level::all`](crate::Level::all) has it.
pub(crate) fn fill_avx2(bytes: &Window, table: &mut Window) {
    // SAFETY: only `Level::filler` hands this function out, and only where the machine has AVX2.
    unsafe { avx2(bytes, table) }
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
    let note = _mm256_set1_epi8(NOTE as i8);
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
