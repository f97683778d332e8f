//! libipt reads what is simulated, to its end and without one error, and finds the packets that we find.

#![allow(clippy::unwrap_used, reason = "helpers of tests stand outside of them")]

#[path = "../../packet/tests/libipt_dump/mod.rs"]
mod libipt_dump;

use havana_sim::{NAMED, Node, Scenario, Streams};
use libipt_dump::{compare, libipt_dump};

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
    let Some(dump) = libipt_dump("libipt_dump_simulated") else { return };
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
            println!("{name}, cpu {cpu}");
            std::fs::write(file.path(), &bytes).unwrap();
            packets += compare(&dump, file.path()).iter().sum::<u64>();
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
