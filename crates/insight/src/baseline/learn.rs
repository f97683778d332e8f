//! Datasets → a profile of normal.

use std::collections::BTreeMap;

use havana_store::{Dataset, Manifest};

use super::profile::{ProcessProfile, Profile, Spread, Usual, VmProfile};
use super::windows::{Values, Windows};
use super::{BaselineError, assign};
use crate::exits;
use crate::fingerprint::{Fingerprint, Gather, Prints};
use crate::grid::Grid;
use crate::slices;

/// Windows of the shortest dataset.
const WINDOWS: f64 = 32.0;
/// A process that is not clear, and has less of a cpu, is not learnt.
const LEAST_SHARE: f64 = 0.001;

/// What a dataset shows.
pub(super) struct Seen {
    pub(super) windows: Windows,
    pub(super) prints: Prints,
}

impl Seen {
    pub(super) fn grid(dataset: &Dataset) -> Result<Grid, BaselineError> {
        Grid::of(dataset).ok_or_else(|| BaselineError::Empty { path: dataset.dir().into() })
    }

    /// Nanoseconds a tick, or 1.
    pub(super) fn scale(dataset: &Dataset) -> f64 {
        dataset.manifest().clock.tsc_hz.map_or(1.0, |hz| 1e9 / hz as f64)
    }

    fn of(dataset: &Dataset, window: f64) -> Result<Seen, BaselineError> {
        let (manifest, grid) = (dataset.manifest(), Seen::grid(dataset)?);
        let mut gather = Gather::new(manifest.clock.tsc_hz);
        let mut windows = Windows::new(grid, Seen::scale(dataset), window, manifest.cpus.len());
        slices::each(dataset, grid, |slice| {
            gather.add(slice, |process, _| process);
            windows.add(slice);
        })?;
        let prints = Prints::of(dataset, grid, gather, &exits::count(dataset, grid)?)?;
        Ok(Seen { windows, prints })
    }
}

/// What is gathered of a VM.
struct Vm {
    name: Option<String>,
    datasets: u32,
    windows: usize,
    values: Values,
    processes: Vec<Process>,
}

struct Process {
    datasets: u32,
    values: Values,
    fingerprint: Fingerprint,
}

fn extend(values: &mut Values, by: Values) {
    by.into_iter().for_each(|(metric, more)| values.entry(metric).or_default().extend(more));
}

/// As if it had nothing in so many windows.
fn nothing(like: &Values, windows: usize) -> Values {
    like.keys().map(|metric| (*metric, vec![0.0; windows])).collect()
}

fn usual(values: Values) -> Usual {
    values.into_iter().filter_map(|(metric, values)| Some((metric, Spread::of(&values)?))).collect()
}

/// Learns what is normal. Which VM and process of one dataset is which of another is found as for
/// [`find_against`](crate::find_against). The order of the datasets does not matter.
///
/// # Errors
/// Where there is none, one has no time or another unit of time than the others, or cannot be read.
pub fn learn(datasets: &[Dataset]) -> Result<Profile, BaselineError> {
    let mut datasets: Vec<&Dataset> = datasets.iter().collect();
    datasets.sort_by_key(|dataset| {
        let Manifest { node, capture, first_tsc, last_tsc, .. } = dataset.manifest();
        (node, capture, *first_tsc, *last_tsc)
    });
    let first = datasets.first().ok_or(BaselineError::Nothing)?;
    let nanoseconds = first.manifest().clock.tsc_hz.is_some();
    let mut shortest = f64::INFINITY;
    for dataset in &datasets {
        if dataset.manifest().clock.tsc_hz.is_some() != nanoseconds {
            return Err(BaselineError::Units { path: dataset.dir().into() });
        }
        shortest = shortest.min(Seen::grid(dataset)?.span() * Seen::scale(dataset));
    }
    let window = (shortest / WINDOWS).floor().max(1.0);
    let mut profile = Profile::new(nanoseconds, window, u32::try_from(datasets.len()).unwrap_or(u32::MAX));
    let (mut vms, mut node): (Vec<Vm>, Values) = (Vec::new(), BTreeMap::new());
    for dataset in datasets {
        let Seen { windows, prints } = Seen::of(dataset, window)?;
        extend(&mut node, windows.node());
        take(&mut vms, &windows, prints);
    }
    profile.node = usual(node);
    profile.vms = vms.into_iter().map(Vm::profile).collect();
    Ok(profile)
}

/// Takes a dataset in.
fn take(vms: &mut Vec<Vm>, windows: &Windows, prints: Prints) {
    let known: Vec<(Option<&str>, Vec<&Fingerprint>)> = vms
        .iter()
        .map(|vm| (vm.name.as_deref(), vm.processes.iter().map(|process| &process.fingerprint).collect()))
        .collect();
    let assigned = assign::assign(&known, &prints);
    let count = windows.count();
    for (id, name) in prints.vms {
        let (values, at) = (windows.vm(id), assigned.vms.get(&id).copied());
        if values.is_empty() {
            continue;
        }
        let new = Vm { name, datasets: 0, windows: 0, values: Values::new(), processes: Vec::new() };
        let vm = match at {
            Some(at) => &mut vms[at],
            None => {
                vms.push(new);
                let last = vms.len() - 1;
                &mut vms[last]
            }
        };
        vm.datasets += 1;
        extend(&mut vm.values, values);
        let mut seen = vec![false; vm.processes.len()];
        for (process, print) in prints.processes.iter().filter(|(_, print)| print.vm_id == id) {
            let values = windows.process(*process);
            if let Some(at) = assigned.processes.get(process) {
                let known = &mut vm.processes[*at];
                seen[*at] = true;
                known.datasets += 1;
                extend(&mut known.values, values);
                known.fingerprint.merge(&print.fingerprint);
            } else if print.fingerprint.is_clear() || print.share >= LEAST_SHARE {
                let mut all = nothing(&values, vm.windows);
                extend(&mut all, values);
                vm.processes.push(Process { datasets: 1, values: all, fingerprint: print.fingerprint.clone() });
            }
        }
        for (process, _) in vm.processes.iter_mut().zip(seen).filter(|(_, seen)| !seen) {
            let none = nothing(&process.values, count);
            extend(&mut process.values, none);
        }
        vm.windows += count;
    }
}

impl Vm {
    fn profile(self) -> VmProfile {
        let Vm { name, datasets, values, processes, .. } = self;
        let process = |Process { datasets, values, mut fingerprint }| {
            let usual = usual(values);
            fingerprint.round();
            ProcessProfile { datasets, usual, fingerprint }
        };
        VmProfile { name, datasets, usual: usual(values), processes: processes.into_iter().map(process).collect() }
    }
}
