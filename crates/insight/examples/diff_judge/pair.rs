//! Two sides whose difference is known: a scenario twice, with other chance, and in B something that is not in A.

use havana_insight::diff::{Change, Diff, Side, What, diff};
use havana_sim::scenario::{Form, Process};
use havana_sim::{Rng, Scenario};
use havana_store::Dataset;

use crate::play::{Result, play};

/// What is judged.
pub(crate) const CASES: &[&str] = &[
    "quiet, and again",
    "cron-burst, and again",
    "overcommit, and again",
    "throttled, and again",
    "exit-storm, and again",
    "lossy, and again",
    "a hog all along",
    "a hog from some time on",
    "a hog's VM before and after it began",
    "a hog; VMs in another order, by their names",
    "a storm of exits",
];

/// Where the simulator has the page tables of guest processes.
const GUEST_PAGES: i64 = 0x540_0000;
const PAGE: i64 = 0x2000;
/// After the end.
const NEVER_MS: f64 = 1e9;

/// Who is in B and not in A.
#[derive(Debug, Clone)]
pub(crate) struct Culprit {
    pub(crate) kind: What,
    /// The offset of its VM's clock, which no other has.
    tsc_offset: i64,
    cr3: i64,
}

/// A comparison, and what should be first in it; none: nothing should be told.
pub(crate) struct Judged {
    pub(crate) diff: Diff,
    pub(crate) culprit: Option<Culprit>,
    /// The first is the culprit.
    pub(crate) first: bool,
}

impl Judged {
    pub(crate) fn told(&self) -> impl Iterator<Item = &Change> {
        self.diff.changes.iter().filter(|change| change.told)
    }

    /// What the first lines say.
    #[allow(dead_code, reason = "the example's, and the test's where it fails")]
    pub(crate) fn said(&self) -> String {
        let line = |c: &Change| {
            let what = (c.kind.name(), c.taker.as_deref().unwrap_or(""), c.reason.as_deref().unwrap_or(""));
            format!("  {} {what:?}: {:.4} to {:.4}, {:.2e}\n", c.who, c.a, c.b, c.adjusted_p)
        };
        self.told().take(5).map(line).collect()
    }
}

pub(crate) fn judge(case: &str, seed: u64) -> Result<Judged> {
    let mut rng = Rng::new(seed);
    let (name, what) = case.split_once(", and again").map_or((case, false), |(name, _)| (name, true));
    let name = match name {
        "a storm of exits" => "exit-storm",
        _ if what => name,
        _ => "quiet",
    };
    let mut a = Scenario::named(name).ok_or_else(|| format!("{name}: no such scenario"))?;
    // Who lives on has its clock.
    for (at, vm) in a.vm.iter_mut().enumerate() {
        if vm.count == 1 {
            vm.tsc_offset = Some(-(1 << 34) - ((at as i64) << 30));
        }
    }
    a.node.seconds = a.node.seconds.max(2.0);
    let ms = a.node.seconds * 1e3;
    // Who does nothing has no clock that is seen.
    if case.contains("by their names") || case == "a storm of exits" {
        a.trace.form = Form::Perf;
    }
    let mut culprit = None;
    let mut begin = 0.0;
    if case.starts_with("a hog") {
        let vm = rng.below(a.vm.len() as u64) as usize;
        let hog = Process { name: "hog".into(), period_ms: 0.0, from_ms: NEVER_MS, ..a.vm[vm].process[0].clone() };
        a.vm[vm].process.push(hog);
        begin =
            if case == "a hog all along" || a.trace.form == Form::Perf { 0.0 } else { ms * (0.25 + 0.5 * rng.unit()) };
        culprit = Some((vm, a.vm[vm].process.len() - 1, What::Process));
    } else if name == "exit-storm" && !what {
        let at = a.vm.iter().position(|vm| vm.process.iter().any(|p| p.name == "driver")).ok_or("no driver")?;
        let process = a.vm[at].process.iter().position(|p| p.name == "driver").ok_or("no driver")?;
        a.vm[at].process[process].from_ms = NEVER_MS;
        culprit = Some((at, process, What::Exits));
    }
    let mut b = a.clone();
    a.node.seed = rng.next_u64();
    b.node.seed = rng.next_u64();
    b.node.tsc += (ms * 1e7) as i64;
    if let Some((vm, process, _)) = culprit {
        b.vm[vm].process[process].from_ms = begin;
    }
    let culprit = culprit.map(|(vm, process, kind)| Culprit {
        kind,
        tsc_offset: a.vm[vm].tsc_offset.unwrap_or(0),
        cr3: GUEST_PAGES + PAGE * (process as i64 + 1),
    });
    if a.trace.form == Form::Perf {
        b.vm.reverse();
    }
    let dir = tempfile::tempdir()?;
    let mut played = |scenario: &Scenario, name: &str| -> Result<Dataset> {
        let dir = dir.path().join(name);
        std::fs::create_dir(&dir)?;
        scenario.check()?;
        play(scenario, &dir, &mut rng)
    };
    let b_played = played(&b, "b")?;
    let diff = if case.contains("before and after") {
        let at = Some(begin / 1e3);
        diff(&Side::new(&b_played, None, at)?, &Side::new(&b_played, at, None)?)?
    } else {
        let a_played = played(&a, "a")?;
        diff(&Side::new(&a_played, None, None)?, &Side::new(&b_played, None, None)?)?
    };
    let first = match (&culprit, diff.changes.first().filter(|change| change.told)) {
        (Some(culprit), Some(first)) => is(culprit, first, &b_played)?,
        (None, None) => true,
        _ => false,
    };
    Ok(Judged { diff, culprit, first })
}

fn is(culprit: &Culprit, change: &Change, b: &Dataset) -> Result<bool> {
    let vm = b.vms()?.into_iter().find(|vm| Some(vm.vm_id) == change.b_ids.vm_id);
    let offset = vm.and_then(|vm| vm.tsc_offset);
    let is_vm = offset.is_some_and(|offset| (offset.lo..=offset.hi).contains(&culprit.tsc_offset));
    let processes = b.processes()?;
    let is_process = change
        .b_ids
        .process_ids
        .iter()
        .any(|id| processes.iter().any(|process| process.process_id == *id && process.cr3 == culprit.cr3));
    Ok(change.kind == culprit.kind && change.change > 0.0 && is_vm && is_process)
}
