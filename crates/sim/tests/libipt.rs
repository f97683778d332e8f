//! libipt reads what is simulated, to its end and without one error, and finds the packets that we find.

#![allow(clippy::unwrap_used, reason = "helpers of tests stand outside of them")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use havana_packet::Decoder;
use havana_sim::{NAMED, Node, Scenario, Streams};

/// The program that prints libipt's packets, built; `None`, said on stderr, where it cannot be.
fn libipt_dump() -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packet/tests/libipt_dump.c");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libipt_dump_sim");
    let built = Command::new("cc").arg("-O2").arg("-o").arg(&program).arg(source).arg("-lipt").output();
    if built.is_ok_and(|done| done.status.success()) {
        return Some(program);
    }
    // Not `eprintln!`, which a passing test keeps to itself.
    let _ = writeln!(std::io::stderr(), "skipped: libipt on simulated streams: no program can be built with libipt");
    None
}

/// The stream of each cpu.
fn streams(scenario: &Scenario) -> Vec<Vec<u8>> {
    let mut node = Node::new(scenario);
    let cpus = node.host_cr3().into_iter().map(|cr3| (cr3, Vec::new()));
    let mut streams = Streams::new(&scenario.mode(), scenario.clock(), scenario.node.seed, node.begin(), cpus);
    node.run(&mut streams);
    streams.finish(node.end()).unwrap().into_iter().map(|(bytes, _)| bytes).collect()
}

#[test]
fn libipt_reads_every_packet() {
    let Some(dump) = libipt_dump() else { return };
    let named =
        NAMED.iter().map(|(name, _)| ((*name).to_string(), Scenario::named(name).unwrap())).map(|(name, mut s)| {
            s.node.seconds = 0.2;
            s.node.cpus = s.node.cpus.min(4);
            (name, s)
        });
    let random = (0..100).map(|seed| (format!("random {seed}"), Scenario::random(seed)));
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut packets = 0;
    for (name, mut scenario) in named.chain(random) {
        // Event Trace is younger than the libipt of most systems.
        scenario.trace.event = false;
        for (cpu, bytes) in streams(&scenario).into_iter().enumerate() {
            std::fs::write(file.path(), &bytes).unwrap();
            let mut child = Command::new(&dump).arg(file.path()).stdout(Stdio::piped()).spawn().unwrap();
            let mut theirs = BufReader::new(child.stdout.take().unwrap()).lines();
            for item in Decoder::new(&bytes) {
                let packet = item.what.unwrap_or_else(|why| panic!("{name}, cpu {cpu}: {:x}: {why}", item.offset));
                let ours = format!("{:x}\t{}\t{}", item.offset, packet.kind(), packet.payload());
                let theirs = theirs.next().unwrap_or_else(|| panic!("{name}, cpu {cpu}: libipt ends before {ours}"));
                let theirs = theirs.unwrap();
                // Of power events the program prints no payload.
                if !theirs.starts_with(&format!("{:x}\ttype ", item.offset)) {
                    assert_eq!(ours.trim_end(), theirs.trim_end(), "{name}, cpu {cpu}");
                }
                packets += 1;
            }
            assert!(theirs.next().is_none(), "{name}, cpu {cpu}: libipt goes on");
            assert!(child.wait().unwrap().success());
        }
    }
    println!("{packets} packets");
    assert!(packets > 100_000);
}

#[test]
fn all_follows_from_the_seed() {
    for seed in 0..10 {
        let scenario = Scenario::random(seed);
        assert_eq!(streams(&scenario), streams(&scenario));
        let other =
            Scenario { node: havana_sim::scenario::Node { seed: 1, ..scenario.node.clone() }, ..scenario.clone() };
        assert_ne!(streams(&scenario), streams(&other));
    }
}
