//! Rings, against a thread that behaves as the kernel does.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::fake::FakeKernel;

const SIZE: Size = Size { data: 1 << 12, aux: 1 << 12 };

/// A record of so many words in all, numbered.
fn record(number: u64, words: usize) -> Vec<u8> {
    let size = (8 * words.max(2)) as u16;
    let mut bytes = [&9u32.to_le_bytes()[..], &[0; 2], &size.to_le_bytes(), &number.to_le_bytes()].concat();
    bytes.resize(usize::from(size), number as u8);
    bytes
}

/// Reads all that there is: numbers of records, and how many were lost before each.
fn read(rings: &mut Rings, seen: &mut Vec<u64>, lost: &mut u64) {
    let (span, bytes) = rings.data();
    let mut records = Records::new(bytes);
    for record in records.by_ref() {
        match record.kind {
            2 => *lost += record.words[1],
            _ => seen.push(record.words[0]),
        }
    }
    assert_eq!(records.offset(), span.len(), "whole records, to the end");
    rings.give_back_data(span.to);
}

#[test]
fn a_thread_that_writes_while_we_read() {
    const COUNT: u64 = 200_000;
    let (mut rings, mut kernel) = Rings::in_memory(SIZE).unwrap();
    let writer = std::thread::spawn(move || {
        let mut wrote = 0;
        for number in 0..COUNT {
            // Sizes of all kinds: records straddle the end in every way.
            wrote += u64::from(kernel.record(&record(number, 2 + (number * 7 % 61) as usize)));
        }
        // The last loss is told of when there is room again.
        let mut tries = 1;
        while !kernel.record(&record(COUNT, 2)) {
            tries += 1;
            std::thread::yield_now();
        }
        (wrote + 1, COUNT + tries)
    });
    let (mut seen, mut lost) = (Vec::new(), 0);
    while seen.last() != Some(&COUNT) {
        read(&mut rings, &mut seen, &mut lost);
    }
    let (wrote, tried) = writer.join().unwrap();
    assert_eq!(seen.len() as u64, wrote);
    assert!(seen.is_sorted_by(|a, b| a < b), "in order, none twice");
    assert_eq!(seen.len() as u64 + lost, tried, "what is not there was said to be lost");
}

#[test]
fn trace_of_a_thread_comes_byte_for_byte() {
    const BYTES: usize = 3_000_000;
    let byte = |at: usize| (at * at / 7 + at / 251) as u8;
    let (mut rings, mut kernel) = Rings::in_memory(SIZE).unwrap();
    let writer = std::thread::spawn(move || {
        let mut at = 0;
        while at < BYTES {
            let some: Vec<u8> = (at..(at + 1 + at % 1500).min(BYTES)).map(byte).collect();
            at += kernel.trace(&some);
        }
    });
    let mut at = 0;
    while at < BYTES {
        let (span, [first, second]) = rings.aux();
        assert_eq!(span.from as usize, at);
        assert!(first.iter().chain(second).enumerate().all(|(i, b)| *b == byte(at + i)));
        at = span.to as usize;
        rings.give_back_aux(span.to);
    }
    writer.join().unwrap();
}

#[test]
fn a_full_ring_says_what_it_lost() {
    let (mut rings, mut kernel) = Rings::in_memory(SIZE).unwrap();
    let wrote = (0..1000).filter(|n| kernel.record(&record(*n, 8))).count();
    assert_eq!(wrote, SIZE.data / 64);
    let (mut seen, mut lost) = (Vec::new(), 0);
    read(&mut rings, &mut seen, &mut lost);
    assert_eq!((seen.len(), lost), (wrote, 0));
    assert!(kernel.record(&record(1000, 8)));
    read(&mut rings, &mut seen, &mut lost);
    assert_eq!((seen.last(), lost), (Some(&1000), 1000 - wrote as u64));
    // And one of trace stops.
    assert_eq!(kernel.trace(&vec![1; 3 * SIZE.aux]), SIZE.aux);
    assert_eq!(kernel.trace(&[1]), 0);
    let to = rings.aux().0.to;
    rings.give_back_aux(to);
    assert_eq!(kernel.trace(&[1]), 1);
}

/// What a ring that is overwritten must still hold: the newest records, as many as fit.
fn newest(records: &[Vec<u8>]) -> VecDeque<&Vec<u8>> {
    let mut held = VecDeque::new();
    let mut bytes = 0;
    for record in records.iter().rev() {
        bytes += record.len();
        if bytes > SIZE.data {
            break;
        }
        held.push_front(record);
    }
    held
}

proptest! {
    #[test]
    fn records_that_are_overwritten(words in prop::collection::vec(2usize..80, 0..300)) {
        let (rings, mut kernel) = Rings::in_memory(SIZE).unwrap();
        let all: Vec<Vec<u8>> = words.iter().enumerate().map(|(n, words)| record(n as u64 + 1, *words)).collect();
        all.iter().for_each(|record| kernel.record_backward(record));
        let found = rings.overwritten_data();
        let expected: Vec<u8> = newest(&all).into_iter().flatten().copied().collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn trace_that_is_overwritten(pieces in prop::collection::vec(1usize..3000, 1..20)) {
        let (rings, mut kernel) = Rings::in_memory(SIZE).unwrap();
        let mut all = Vec::new();
        for (n, len) in pieces.into_iter().enumerate() {
            let piece: Vec<u8> = (0..len).map(|i| 1 + ((i + n) % 255) as u8).collect();
            kernel.trace_over(&piece);
            all.extend(piece);
        }
        let found = rings.overwritten_aux(false, &mut || {});
        prop_assert_eq!(found.wrapped, all.len() >= SIZE.aux);
        prop_assert_eq!(found.head, all.len() % SIZE.aux);
        prop_assert_eq!(&found.bytes[..], &all[all.len().saturating_sub(SIZE.aux)..]);
    }

    #[test]
    fn any_bytes_are_records_or_none(bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 0usize..50) {
        let cut = (8 * cut).min(bytes.len() / 8 * 8);
        let mut records = Records::new([&bytes[..cut], &bytes[cut..]]);
        let sizes: usize = records.by_ref().map(|r| r.size).sum();
        prop_assert_eq!(sizes, records.offset());
        prop_assert!(sizes <= bytes.len());
    }
}

#[test]
fn what_is_written_while_a_ring_is_copied_is_left_out() {
    let (rings, mut kernel) = Rings::in_memory(SIZE).unwrap();
    kernel.trace_over(&vec![7; 2 * SIZE.aux + 100]);
    let write = |kernel: &mut FakeKernel| kernel.trace_over(&[9; 50]);
    let mut flushes = 0;
    let found = rings.overwritten_aux(true, &mut || {
        flushes += 1;
        if flushes == 2 {
            write(&mut kernel);
        }
    });
    assert_eq!((flushes, found.head, found.bytes.len()), (2, 100, SIZE.aux - 50));
    assert!(found.bytes.iter().all(|b| *b == 7));
}
