//! Which VM and process of a dataset is which of a profile.
//!
//! A VM is the one of its uuid or name; where either has none, the one whose processes are most alike. A process is the
//! nearest of its VM by fingerprint, and nobody else's nearest ([`match_up`]). Unlike [`crate::pairs`] it is told also where
//! another is nearly as near: two that are alike are usual alike.

use std::collections::BTreeMap;

use crate::fingerprint::{FAR, FAR_VM, Fingerprint, Print, Prints, match_up, role, roles_apart};

/// Places in the profile, by ids of the dataset.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Assigned {
    pub(super) vms: BTreeMap<i32, usize>,
    /// Within its VM.
    pub(super) processes: BTreeMap<i32, usize>,
}

/// The profile's VMs: what each is called, and what its processes are known by.
pub(super) fn assign(known: &[(Option<&str>, Vec<&Fingerprint>)], seen: &Prints) -> Assigned {
    let mut vms: BTreeMap<i32, usize> = BTreeMap::new();
    for (id, name) in seen.vms.iter().filter(|(_, name)| name.is_some()) {
        let same = known.iter().position(|(known, _)| *known == name.as_deref());
        vms.extend(same.map(|at| (*id, at)));
    }
    // Two that are both named are not one by another name.
    let open: Vec<i32> = seen.vms.keys().copied().filter(|id| !vms.contains_key(id)).collect();
    let free: Vec<usize> = (0..known.len()).filter(|at| !vms.values().any(|taken| taken == at)).collect();
    let named = |id: &i32| seen.vms.get(id).is_some_and(Option::is_some);
    let apart = |id: &i32, at: usize| {
        if named(id) && known[at].0.is_some() {
            return 1.0;
        }
        roles_apart(&role(seen, *id), &known[at].1)
    };
    let distances: Vec<Vec<f64>> = open.iter().map(|id| free.iter().map(|at| apart(id, *at)).collect()).collect();
    vms.extend(match_up(&distances, FAR_VM, |_, _| true).into_iter().map(|m| (open[m.a], free[m.b])));
    let mut processes = BTreeMap::new();
    for (id, at) in &vms {
        let mine: Vec<(i32, &Print)> = seen.clear_of(*id).collect();
        let row = |print: &Print| -> Vec<f64> {
            known[*at].1.iter().map(|known| print.fingerprint.distance(known).unwrap_or(1.0)).collect()
        };
        let distances: Vec<Vec<f64>> = mine.iter().map(|(_, print)| row(print)).collect();
        processes.extend(match_up(&distances, FAR, |_, _| true).into_iter().map(|m| (mine[m.a].0, m.b)));
    }
    Assigned { vms, processes }
}
