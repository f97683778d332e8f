//! The kernel's own records, of the kernel that runs: who is switched to, what threads are called, who begins and ends.
//!
//! Skipped where `perf_event_open` of all that runs on a cpu is not permitted.

use std::io::{self, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use havana_capture::CaptureError;
use havana_capture::Host;
use havana_capture::ring::Records;
use havana_capture::session::{Events, Session, Taker};

/// Types of records, and text in them.
#[derive(Default)]
struct Seen {
    kinds: Vec<u32>,
    bytes: Vec<u8>,
}

impl Taker for Seen {
    fn records(&mut self, _: u32, bytes: [&[u8]; 2]) -> io::Result<()> {
        let mut records = Records::new(bytes);
        self.kinds.extend(records.by_ref().map(|r| r.kind));
        assert_eq!(records.offset(), bytes[0].len() + bytes[1].len(), "whole records");
        self.bytes.extend(bytes.concat());
        Ok(())
    }

    fn trace(&mut self, _: u32, _: u64, _: [&[u8]; 2]) -> io::Result<()> {
        panic!("there is no trace without Intel PT");
    }
}

fn open(test: &str, overwritten: bool) -> Option<Session> {
    let cpus = Host::here().online();
    match Session::open(Events::records_only(1 << 16, overwritten), &cpus) {
        Ok(session) => Some(session),
        Err(CaptureError::NotPermitted | CaptureError::Refused { .. } | CaptureError::MayNotLock { .. }) => {
            let _ = writeln!(io::stderr(), "skipped: {test}: perf_event_open is not permitted");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// COMM, EXIT, FORK, SWITCH_CPU_WIDE.
const WANTED: [u32; 4] = [3, 4, 7, 15];

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[test]
fn a_program_begins_and_ends_and_is_switched_to() {
    let Some(mut session) = open("a_program_begins", false) else { return };
    session.enable().unwrap();
    let mut seen = Seen::default();
    let begin = Instant::now();
    Command::new("true").status().unwrap();
    while !WANTED.iter().all(|kind| seen.kinds.contains(kind)) {
        assert!(begin.elapsed() < Duration::from_secs(10), "seen: {:?}", seen.kinds);
        session.wait(Duration::from_millis(20)).unwrap();
        session.take(&mut seen).unwrap();
    }
    session.disable();
    assert!(holds(&seen.bytes, b"true\0"), "the thread's new name");
    let lost: u64 = session.cpus.iter().map(|c| c.cost.lost_records).sum();
    let bytes: u64 = session.cpus.iter().map(|c| c.cost.record_bytes).sum();
    assert_eq!((lost, bytes), (0, seen.bytes.len() as u64));
}

#[test]
fn rings_that_nobody_empties_hold_the_newest() {
    let Some(mut session) = open("rings_that_nobody_empties", true) else { return };
    session.enable().unwrap();
    // More than rings hold.
    for _ in 0..300 {
        Command::new("true").status().unwrap();
    }
    std::fs::write("/proc/self/comm", "the-newest").unwrap();
    let mut seen = Seen::default();
    session.snapshot(&mut seen).unwrap();
    assert!(holds(&seen.bytes, b"the-newest"));
    let mut again = Seen::default();
    session.snapshot(&mut again).unwrap();
    assert!(holds(&again.bytes, b"the-newest"), "it goes on after one");
    assert!(seen.bytes.len() > 1 << 15, "{}", seen.bytes.len());
}

#[test]
fn the_kernel_ties_its_clock_to_the_tsc() {
    let Some(session) = open("the_kernel_ties_its_clock", false) else { return };
    if session.clock().is_none() {
        let _ = writeln!(io::stderr(), "skipped: the_kernel_ties_its_clock: the TSC is not stable here");
    }
}
