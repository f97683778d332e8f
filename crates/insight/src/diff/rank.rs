//! What is read first.
//!
//! One measure: the cpu time that somebody has more or less of, as a share of one cpu, at the end of its interval that is
//! nearer to none: what surely changed hands. Of exits it is the time in root that they cost; of latencies that by which
//! exits take longer, of as many as a quantile is told of.
//!
//! What another change explains comes after all that none does: a VM's share after that of the process that makes half of
//! it; what others waited for it after the process that
//! runs more; what a victim lost after what was taken of it; a process's share after the exits that make a third of it (as in
//! [`crate::exits`]); a cpu's after everybody's.

use super::change::Change;
use super::what::What;

/// Sorts, and says what explains what.
pub(super) fn rank(changes: &mut Vec<Change>) {
    let explained: Vec<Option<usize>> =
        (0..changes.len()).map(|at| changes[at].told.then(|| explanation(changes, at)).flatten()).collect();
    let mut order: Vec<usize> = (0..changes.len()).collect();
    order.sort_by(|a, b| {
        let (x, y) = (&changes[*a], &changes[*b]);
        let group = |change: &Change, at: usize| (!change.told, explained[at].is_some());
        let size = y.surely_cpu_share.total_cmp(&x.surely_cpu_share).then(y.cpu_share.total_cmp(&x.cpu_share));
        group(x, *a).cmp(&group(y, *b)).then(size).then(a.cmp(b))
    });
    let mut place = vec![0; order.len()];
    order.iter().enumerate().for_each(|(to, from)| place[*from] = to);
    let mut sorted: Vec<Option<Change>> = changes.drain(..).map(Some).collect();
    changes.extend(order.iter().filter_map(|from| {
        let change = sorted[*from].take()?;
        Some(Change { explained_by: explained[*from].map(|by| place[by]), ..change })
    }));
}

/// The largest that explains one.
fn explanation(changes: &[Change], at: usize) -> Option<usize> {
    let whole = &changes[at];
    let parts = changes.iter().enumerate().filter(|(other, part)| {
        *other != at
            && part.told
            && relation(whole, part).is_some_and(|(same, least)| {
                let agrees = ((part.change > 0.0) == (whole.change > 0.0)) == same;
                agrees && part.cpu_share >= least * whole.cpu_share
            })
    });
    parts.max_by(|a, b| a.1.cpu_share.total_cmp(&b.1.cpu_share)).map(|(other, _)| other)
}

/// Whether one is of the VM that had the cpu that another waited for.
fn took(part: &Change, stolen: &Change) -> bool {
    let one = |vm: Option<i32>, taker: Option<i32>| taker.is_some() && vm == taker;
    one(part.a_ids.vm_id, stolen.a_ids.taker_vm_id) || one(part.b_ids.vm_id, stolen.b_ids.taker_vm_id)
}

/// How one may explain another: in the same direction or not, and which part of it at least.
fn relation(whole: &Change, part: &Change) -> Option<(bool, f64)> {
    const HALF: f64 = 0.5;
    const THIRD: f64 = 1.0 / 3.0;
    let is_of_vm = |change: &Change| change.b_ids.vm_id.or(change.a_ids.vm_id).is_some();
    let one_vm = is_of_vm(whole) && whole.a_ids.vm_id == part.a_ids.vm_id && whole.b_ids.vm_id == part.b_ids.vm_id;
    let has_process = |change: &Change| !change.a_ids.process_ids.is_empty() || !change.b_ids.process_ids.is_empty();
    let has_vcpu = |change: &Change| change.a_ids.vcpu_id.or(change.b_ids.vcpu_id).is_some();
    let one_process = one_vm
        && has_process(whole)
        && whole.a_ids.process_ids == part.a_ids.process_ids
        && whole.b_ids.process_ids == part.b_ids.process_ids;
    let its_process = one_vm && has_process(part) && !has_process(whole);
    match (whole.kind, part.kind) {
        (What::Process, What::Exits) if one_process => Some((true, THIRD)),
        (What::Root, What::Exits) | (What::Process, What::Root) if one_process => Some((true, HALF)),
        // Where they are less of it than that, they come with it.
        (What::Exits, What::Process) if one_process => Some((true, 1.0 / THIRD)),
        (What::Root, What::Process) if one_process => Some((true, 1.0 / HALF)),
        (What::Guest, What::Process) | (What::Hypervisor, What::Root | What::Exits) if its_process => {
            Some((true, HALF))
        }
        (What::Waiting | What::OffCpu, What::Process) if its_process => Some((false, HALF)),
        (What::Exits, What::Exits)
            if its_process || one_vm && part.reason.is_some() && whole.reason.is_none() && !has_process(whole) =>
        {
            Some((true, HALF))
        }
        (What::Stolen, What::Process) if took(part, whole) => Some((true, HALF)),
        (What::Preempted | What::ExitMedian | What::ExitP99, What::Stolen) if one_vm => Some((true, HALF)),
        (What::Guest | What::Process | What::Waiting | What::OffCpu, What::Stolen) if one_vm => Some((false, HALF)),
        (What::Busy, What::Process | What::Guest) => Some((true, HALF)),
        (What::Idle, What::Process | What::Guest) => Some((false, HALF)),
        // A vCPU's is a part of its VM's: which one is read first.
        (a, b) if a == b && one_vm && has_vcpu(whole) && !has_vcpu(part) => Some((true, 0.0)),
        _ => None,
    }
}
