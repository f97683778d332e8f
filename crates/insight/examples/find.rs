//! The findings of a dataset, one a line: `cargo run --release --example find -p havana-insight -- DATASET…`

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    for dir in std::env::args().skip(1) {
        println!("{dir}");
        for finding in havana_insight::find(&havana_store::Dataset::open(Path::new(&dir))?)? {
            println!("  {:.2} {finding}", finding.score);
        }
    }
    Ok(())
}
