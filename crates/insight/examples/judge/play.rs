//! A dataset of a scenario: simulated, traced, analyzed.

use std::error::Error;
use std::fs::File;
use std::path::Path;

use havana_rows::parquet::NsClock;
use havana_sim::{Node, Recording, Rng, Scenario};
use havana_store::{Clock, Dataset, DatasetWriter, Epoch, Manifest, WriterOptions};
use havana_timeline::{Analysis, Survey};
use havana_trace::OpenOptions;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

pub(crate) fn shuffle<T>(of: &mut [T], rng: &mut Rng) {
    for i in (1..of.len()).rev() {
        of.swap(i, rng.below(i as u64 + 1) as usize);
    }
}

/// Plays a scenario, and makes a dataset of its trace, as `havana analyze` does. Files are in a directory of any name, and
/// given in any order.
pub(crate) fn play(scenario: &Scenario, dir: &Path, rng: &mut Rng) -> Result<Dataset> {
    let input = dir.join(format!("{:x}", rng.next_u64()));
    std::fs::create_dir(&input)?;
    let mut node = Node::new(scenario);
    let mut recording = Recording::new(scenario, &node, |name| File::create(input.join(name)))?;
    node.run(&mut recording);
    recording.finish(node.end())?;
    let perf_data = input.join("perf.data");
    let mut inputs = vec![perf_data];
    if !inputs[0].exists() {
        let files = std::fs::read_dir(&input)?.map(|file| Ok(file?.path()));
        inputs = files.collect::<std::io::Result<_>>()?;
        inputs.retain(|path| path.extension().is_some_and(|extension| extension == "pt"));
        inputs.sort();
        shuffle(&mut inputs, rng);
    }
    let trace = havana_trace::open(&inputs, &OpenOptions::default())?;
    let survey = Survey::of(&trace);
    let analysis = Analysis::new(&trace, &survey, None);
    let (origin_tsc, tsc_hz) = (scenario.node.tsc, scenario.node.tsc_hz);
    let ns_clock = NsClock::of(Some(tsc_hz), (origin_tsc, 0));
    let options =
        WriterOptions { node: "simulated".into(), capture: "judged".into(), ns_clock, ..WriterOptions::default() };
    let mut writer = DatasetWriter::create(&dir.join("dataset"), options)?;
    analysis.run(&mut writer, &mut |_| {})?;
    writer.finish(Manifest {
        clock: Clock {
            tsc_hz: Some(tsc_hz),
            tsc_hz_known: true,
            epoch: Epoch::FirstEvent,
            origin_tsc,
            origin_ns: Some(0),
        },
        ..Manifest::default()
    })?;
    Ok(Dataset::open(&dir.join("dataset"))?)
}
