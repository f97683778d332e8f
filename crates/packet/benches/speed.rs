//! The envelope scan and the full walk beside other decoders, on the same bytes in one run:
//!
//! `cargo bench -p havana-packet [--features libipt] [-- FILE…]`
//!
//! Without files: the Skylake trace and the captures at hand (HAVANA_TESTDATA), and simulated ones. Each is repeated to 100 MB. Run it on one core (`taskset -c 1`); what it printed when is kept in
//! `benches/record`.

use std::hint::black_box;
use std::path::{Path, PathBuf};

use havana_packet::{Brief, Decoder, Envelope, Item, Kind, Leaper, Level, More, PSB, Take, find_psb, psb_offsets};
use havana_race::Race;

mod others;

/// Bytes each input is repeated to, and rounds.
const SIZE: usize = 100_000_000;
const ROUNDS: usize = 7;

fn main() {
    // Cargo says how it runs us.
    let files: Vec<PathBuf> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).map(PathBuf::from).collect();
    println!("vector instructions: {:?}\n", Level::best());
    for (name, bytes) in if files.is_empty() { default_inputs() } else { files.iter().map(|f| read(f)).collect() } {
        race(&name, &bytes);
    }
}

fn read(file: &Path) -> (String, Vec<u8>) {
    let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let names = file.components().rev().take(2).collect::<Vec<_>>();
    let name = names.iter().rev().map(|name| name.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
    (name, bytes)
}

fn default_inputs() -> Vec<(String, Vec<u8>)> {
    let mut inputs = vec![];
    if let Some(dir) = std::env::var_os("HAVANA_TESTDATA").map(PathBuf::from) {
        let captures = [
            "idle-branch",
            "kpti-hog-branch",
            "idle-two-vms",
            "io-exits",
            "kpti-idle",
            "lifecycle",
            "idle-cyc",
            "tsc-only",
        ];
        inputs.extend(captures.iter().map(|name| dir.join(format!("captures/{name}/cpu0.pt"))));
        inputs.insert(0, dir.join("traces/skylake-4vcpu/snapshot.pt"));
        inputs.retain(|file| file.exists());
    }
    let mut inputs: Vec<(String, Vec<u8>)> = inputs.iter().map(|file| read(file)).collect();
    inputs.extend(simulated());
    inputs
}

/// Nodes of several densities: what a busy and an idle one write with branches, with few PSBs and with many.
fn simulated() -> Vec<(String, Vec<u8>)> {
    use havana_sim::{Node, Scenario, Streams};
    let mut inputs = vec![];
    for (name, scenario, branches) in [
        ("simulated, branches", "overcommit", true),
        ("simulated, an exit storm with branches", "exit-storm", true),
        ("simulated, no branches", "overcommit", false),
    ] {
        let Some(mut scenario) = Scenario::named(scenario) else { continue };
        scenario.node.seconds = 0.3;
        scenario.trace.branches = branches;
        let mut node = Node::new(&scenario);
        let cpus = node.host_cr3().into_iter().map(|cr3| (cr3, Vec::new()));
        let mut streams = Streams::new(&scenario.mode(), scenario.clock(), scenario.node.seed, node.begin(), cpus);
        node.run(&mut streams);
        let Ok(streams) = streams.finish(node.end()) else { continue };
        inputs.extend(streams.into_iter().take(1).map(|(bytes, _)| (name.to_string(), bytes)));
    }
    inputs
}

fn race(name: &str, input: &[u8]) {
    let Some(start) = find_psb(input, 0) else {
        println!("{name}: no PSB");
        return;
    };
    let whole = input[start..].repeat(SIZE.div_ceil(input.len() - start));
    let bytes = whole.as_slice();
    let psbs = psb_offsets(&input[start..]).count();
    let mut copy = vec![0; bytes.len()];
    let race = Race::new(bytes.len())
        .with("memcpy", || {
            copy.copy_from_slice(black_box(bytes));
            0
        })
        .with("PSB search", || memchr::memmem::find_iter(black_box(bytes), &PSB).count() as u64)
        .with("envelope scan", || envelope(bytes, Level::best()))
        .with("envelope scan, AVX2", || envelope(bytes, Level::Avx2))
        .with("envelope scan, portable", || envelope(bytes, Level::Portable))
        .with("full walk", || walk(bytes, Level::best()))
        .with("full walk, AVX2", || walk(bytes, Level::Avx2))
        .with("full walk, one by one", || naive(bytes))
        .with("iptr, three", || others::iptr_envelope(bytes))
        .with("iptr, all", || others::iptr_counter(bytes));
    #[cfg(feature = "libipt")]
    let race = race.with("libipt", || others::libipt(bytes));
    let race = race.run(ROUNDS);
    println!("{name}: {} bytes, a PSB every {}", input.len() - start, (input.len() - start) / psbs);
    println!("{}", race.table(&["PSB search", "iptr, three", "iptr, all", "libipt"]));
}

/// Every packet of the envelope: how many, where, and its payload.
#[derive(Default)]
struct Sums {
    packets: u64,
    sum: u64,
}

impl Take for Sums {
    #[inline]
    fn item(&mut self, item: Item) -> More {
        if let Ok(packet) = item.what {
            self.packets += 1;
            self.sum = self.sum.wrapping_add(others::value(&packet)).wrapping_add(item.offset as u64);
        }
        true
    }

    #[inline]
    fn brief(&mut self, brief: Brief) -> More {
        self.packets += 1;
        self.sum = self.sum.wrapping_add(brief.payload).wrapping_add(brief.offset as u64);
        true
    }

    #[inline]
    fn run(&mut self, _: Kind, offset: usize, bytes: &[u8]) -> Option<usize> {
        self.packets += bytes.len() as u64;
        self.sum = self.sum.wrapping_add(offset as u64);
        None
    }
}

fn envelope(bytes: &[u8], level: Level) -> u64 {
    let mut sums = Sums::default();
    Envelope::with(Decoder::new(black_box(bytes)), Leaper::new(level)).each(&mut sums);
    black_box(sums.sum);
    sums.packets
}

/// Every packet there is.
fn walk(bytes: &[u8], level: Level) -> u64 {
    let mut sums = Sums::default();
    Envelope::with(Decoder::new(black_box(bytes)), Leaper::new(level)).every_packet().each(&mut sums);
    black_box(sums.sum);
    sums.packets
}

/// The same, one by one: what all others are held against.
fn naive(bytes: &[u8]) -> u64 {
    let mut sums = Sums::default();
    for item in Decoder::new(black_box(bytes)) {
        sums.item(item);
    }
    black_box(sums.sum);
    sums.packets
}
