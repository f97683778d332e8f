//! A dataset of a scenario: simulated, traced, analyzed.

use std::error::Error;
use std::fs::File;
use std::path::Path;

use havana_rows::parquet::NsClock;
use havana_sim::{Node, Recording, Scenario};
use havana_store::{Clock, Dataset, DatasetWriter, Epoch, Manifest, WriterOptions};
use havana_timeline::{Analysis, Survey};
use havana_trace::OpenOptions;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Plays a scenario, and makes a dataset of its trace, as `havana analyze` does.
pub(crate) fn play(scenario: &Scenario, dir: &Path) -> Result<Dataset> {
    let input = dir.join("node");
    std::fs::create_dir(&input)?;
    let mut node = Node::new(scenario);
    let mut recording = Recording::new(scenario, &node, |name| File::create(input.join(name)))?;
    node.run(&mut recording);
    recording.finish(node.end())?;
    let perf_data = input.join("perf.data");
    let input = if perf_data.exists() { perf_data } else { input };
    let trace = havana_trace::open(&[input], &OpenOptions::default())?;
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
