//! What it costs to look for VMs on a host of many processes: the first time, and when all were seen before.
//!
//! `cargo bench -p havana-capture --bench inventory [-- PROCESSES]`

use std::process::{Child, Command};
use std::time::Instant;

use havana_capture::Host;
use havana_capture::before::Inventory;

fn main() {
    let count = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(2000);
    let sleepers: Vec<Child> = (0..count).map_while(|_| Command::new("sleep").arg("600").spawn().ok()).collect();
    let host = Host::here();
    let mut inventory = Inventory::default();
    let mut look = || {
        let start = Instant::now();
        inventory.refresh(&host);
        start.elapsed().as_secs_f64()
    };
    let times: Vec<f64> = (0..25).map(|_| look()).collect();
    let mut settled = times[10..].to_vec();
    settled.sort_by(f64::total_cmp);
    let median = settled[settled.len() / 2];
    println!(
        "{} processes started: the first look {:.1} ms, later ones {:.1} ms, {:.2} % of a core at one in two seconds",
        sleepers.len(),
        1e3 * times[0],
        1e3 * median,
        100.0 * median / 2.0
    );
    for mut sleeper in sleepers {
        let _ = sleeper.kill();
        let _ = sleeper.wait();
    }
}
