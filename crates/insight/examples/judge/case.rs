//! One scenario, varied, traced, analyzed, and what was found of it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::path::Path;

use havana_insight::Finding;
use havana_insight::Kind;
use havana_rows::parquet::NsClock;
use havana_sim::{Node, Recording, Rng, Scenario};
use havana_store::{Clock, Dataset, DatasetWriter, Epoch, Manifest, WriterOptions};
use havana_timeline::{Analysis, Survey};
use havana_trace::OpenOptions;

use crate::vary::{Truth, Varied, shuffle, vary};

/// The begin that is told may be off by so much of the time.
const NEAR: f64 = 0.02;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What is true, what was found, and of each finding the truths that it tells.
pub(crate) struct Case {
    pub(crate) varied: Varied,
    pub(crate) findings: Vec<Finding>,
    pub(crate) is: Vec<Vec<usize>>,
}

pub(crate) fn case(name: &str, seed: u64) -> Result<Case> {
    let mut varied = vary(name, seed)?;
    let dir = tempfile::tempdir()?;
    let dataset = analyze(&varied.scenario, dir.path(), &mut varied.rng)?;
    let findings = havana_insight::find(&dataset)?;
    let is = judged(&dataset, &varied, &findings)?;
    Ok(Case { varied, findings, is })
}

/// Of each finding the truths that it tells.
fn judged(dataset: &Dataset, varied: &Varied, findings: &[Finding]) -> Result<Vec<Vec<usize>>> {
    let vms: BTreeMap<i32, i64> = dataset.vms()?.into_iter().map(|vm| (vm.vm_id, vm.host_cr3)).collect();
    let processes: BTreeMap<i32, i64> = dataset.processes()?.into_iter().map(|p| (p.process_id, p.cr3)).collect();
    let tsc_hz = varied.scenario.node.tsc_hz as f64;
    let near = NEAR * varied.scenario.node.seconds * tsc_hz;
    let tells = |finding: &Finding, truth: &Truth| {
        let vm = finding.who.vm_id.and_then(|vm| vms.get(&vm));
        let process = finding.who.process_id.and_then(|process| processes.get(&process));
        let at = truth.at_ms.map(|ms| varied.scenario.node.tsc as f64 + ms * tsc_hz / 1e3);
        finding.kind == truth.kind
            && if truth.vms.is_empty() { vm.is_none() } else { vm.is_some_and(|vm| truth.vms.contains(vm)) }
            && (truth.processes.is_empty() || process.is_some_and(|process| truth.processes.contains(process)))
            && at.is_none_or(|at| {
                let Some(start) = finding.start_tsc else { return false };
                // A moment that is told within bounds lies in them.
                let latest = finding.end_tsc.filter(|_| finding.kind == Kind::Trace).unwrap_or(start);
                (start as f64 - near..=latest as f64 + near).contains(&at)
            })
    };
    let truths = |finding| (0..varied.truths.len()).filter(|t| tells(finding, &varied.truths[*t])).collect();
    Ok(findings.iter().map(truths).collect())
}

/// Plays a scenario, and makes a dataset of its trace, as `havana analyze` does. Files are in a directory of any name, and
/// given in any order.
fn analyze(scenario: &Scenario, dir: &Path, rng: &mut Rng) -> Result<Dataset> {
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
