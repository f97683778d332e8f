//! How fast packets are decoded: `cargo run --release -p havana-packet --example speed FILE…`

use std::{fs, hint::black_box, time::Instant};

use havana_packet::{Decoder, Kind};

fn main() -> std::io::Result<()> {
    for file in std::env::args().skip(1) {
        let bytes = fs::read(&file)?;
        let mut best = f64::MAX;
        let mut packets = 0;
        for _ in 0..20 {
            let begin = Instant::now();
            let mut counts = [0u64; Kind::ALL.len()];
            for item in Decoder::new(black_box(&bytes)) {
                if let Ok(packet) = item.what {
                    counts[packet.kind().index()] += 1;
                }
            }
            best = best.min(begin.elapsed().as_secs_f64());
            packets = counts.iter().sum();
        }
        let (mega, nanos) = (bytes.len() as f64 / 1e6, best * 1e9 / packets as f64);
        println!("{file}: {packets} packets, {:.0} MB/s, {nanos:.2} ns a packet", mega / best);
    }
    Ok(())
}
