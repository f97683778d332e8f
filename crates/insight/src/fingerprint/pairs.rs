//! Which process of one capture is which of another.
//!
//! Two are a pair where each is the other's nearest, none other is nearly as near (the ratio test of Lowe, *Distinctive
//! image features*, 2004: nearest to next nearest, of both; and by more than chance makes), and they are not too far apart in any case. What is paired is taken
//! out, and the rest is looked at again, as long as that gives pairs; what then stays is left open. VMs first, by what runs
//! in them: processes of paired VMs are looked for there alone. VMs that both captures know by uuid or name need no looking.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fingerprint, Print, Prints};

/// The nearest must be so much nearer than the next.
const RATIO: f64 = 0.75;
/// And by so much: two captures of one program are apart by half as much, up to twice.
const MARGIN: f64 = 0.1;
/// What is not farther apart may be one program by chance.
const CHANCE: f64 = 0.15;
/// Farther apart is another program; and another VM, which may have a program more or less and still be the same.
pub(crate) const FAR: f64 = 0.4;
pub(crate) const FAR_VM: f64 = 0.55;

/// A process of one capture that is one of another.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// In the one: a process id.
    pub a: i32,
    /// In the other.
    pub b: i32,
    /// How far apart they are ([`Fingerprint::distance`]).
    pub distance: f64,
    /// Others of the other capture that it may be as well: the same program to all appearance, as where two VMs do the same.
    pub or: Vec<i32>,
    /// How surely they are one, 0 to 1: how much nearer they are than any other, and than what is too far.
    pub sure: f64,
}

/// What was matched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Match {
    pub(crate) a: usize,
    pub(crate) b: usize,
    pub(crate) distance: f64,
    pub(crate) sure: f64,
}

/// Whether the nearest is clearly nearer than the next.
fn clearly(nearest: f64, next: f64) -> bool {
    nearest <= RATIO * next && nearest + MARGIN <= next
}

/// Pairs of two lists by their distances (row by row), those that are clear; what is left open is not told.
pub(crate) fn match_up(distances: &[Vec<f64>], far: f64, is_clear: impl Fn(f64, f64) -> bool) -> Vec<Match> {
    let mut rows: BTreeSet<usize> = (0..distances.len()).collect();
    let mut columns: BTreeSet<usize> = (0..distances.first().map_or(0, Vec::len)).collect();
    let mut matches = Vec::new();
    loop {
        // The nearest, and how far the next is; what is too far is no other.
        let nearest = |of: &mut dyn Iterator<Item = (usize, f64)>| {
            let mut best = (None, far, far);
            for (at, distance) in of {
                if distance < best.1 {
                    best = (Some(at), distance, best.1);
                } else if distance < best.2 {
                    best.2 = distance;
                }
            }
            best
        };
        let mut found = Vec::new();
        for a in &rows {
            let (Some(b), distance, next) = nearest(&mut columns.iter().map(|b| (*b, distances[*a][*b]))) else {
                continue;
            };
            let (back, _, next_back) = nearest(&mut rows.iter().map(|a| (*a, distances[*a][b])));
            let other = next.min(next_back);
            // What is too far is a bound, and no other process.
            let clear = other >= far || is_clear(distance, other);
            if back == Some(*a) && clear {
                found.push(Match { a: *a, b, distance, sure: 1.0 - distance / other });
            }
        }
        if found.is_empty() {
            return matches;
        }
        for one in &found {
            rows.remove(&one.a);
            columns.remove(&one.b);
        }
        matches.extend(found);
    }
}

/// Which process of `a` is which of `b`, by `a`'s ids. One that is not told is not known, or not surely; one that is told with others
/// is one of these.
pub fn pairs(a: &Prints, b: &Prints) -> Vec<Pair> {
    if a.nanoseconds != b.nanoseconds {
        return Vec::new();
    }
    let vms = vms(a, b);
    let (mine, its): (Vec<_>, Vec<_>) = (a.clear().collect(), b.clear().collect());
    let theirs: BTreeSet<i32> = vms.values().copied().collect();
    let apart = |one: &Print, other: &Print| match vms.get(&one.vm_id) {
        Some(vm) if *vm != other.vm_id => 1.0,
        None if theirs.contains(&other.vm_id) => 1.0,
        _ => one.fingerprint.distance(&other.fingerprint).unwrap_or(1.0),
    };
    let distances: Vec<Vec<f64>> =
        mine.iter().map(|(_, one)| its.iter().map(|(_, other)| apart(one, other)).collect()).collect();
    let matches = match_up(&distances, FAR, clearly).into_iter();
    let pair = |m: Match| Pair { a: mine[m.a].0, b: its[m.b].0, distance: m.distance, sure: m.sure, or: Vec::new() };
    let mut pairs: Vec<Pair> = matches.map(pair).collect();
    let taken: BTreeSet<i32> = pairs.iter().map(|pair| pair.b).collect();
    let paired: BTreeSet<i32> = pairs.iter().map(|pair| pair.a).collect();
    let free: Vec<usize> = (0..its.len()).filter(|at| !taken.contains(&its[*at].0)).collect();
    for (at, (id, _)) in mine.iter().enumerate().filter(|(_, (id, _))| !paired.contains(id)) {
        let near: Vec<(usize, f64)> = free.iter().map(|other| (*other, distances[at][*other])).collect();
        pairs.extend(one_of(*id, &near, &its));
    }
    pairs.sort_by_key(|pair| pair.a);
    pairs
}

/// One that is one of several that are alike: each as near to the nearest as that is to it, or nearly so, and all that are not are
/// clearly farther.
fn one_of(id: i32, near: &[(usize, f64)], its: &[(i32, &Print)]) -> Option<Pair> {
    let (nearest, distance) = near.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, d)| *d < FAR)?;
    let limit = (distance / RATIO).max(CHANCE);
    let alike = |(other, apart): &(usize, f64)| {
        let between = its[nearest].1.fingerprint.distance(&its[*other].1.fingerprint).unwrap_or(1.0);
        *other == nearest || between <= limit && *apart <= limit
    };
    let next = near.iter().filter(|one| !alike(one)).map(|(_, apart)| *apart).fold(FAR, f64::min);
    let or: Vec<i32> = near.iter().filter(|one| one.0 != nearest && alike(one)).map(|one| its[one.0].0).collect();
    let clear = !or.is_empty() && (next >= FAR || clearly(distance, next));
    clear.then(|| Pair { a: id, b: its[nearest].0, distance, or, sure: 1.0 - distance / next })
}

/// Which VM of `a` is which of `b`.
fn vms(a: &Prints, b: &Prints) -> BTreeMap<i32, i32> {
    let mut vms = BTreeMap::new();
    for (vm, name) in a.vms.iter().filter(|(_, name)| name.is_some()) {
        let same = b.vms.iter().find(|(_, other)| *other == name);
        vms.extend(same.map(|(other, _)| (*vm, *other)));
    }
    let known: BTreeSet<i32> = vms.values().copied().collect();
    let mine: Vec<i32> = a.vms.keys().copied().filter(|vm| !vms.contains_key(vm)).collect();
    let its: Vec<i32> = b.vms.keys().copied().filter(|vm| !known.contains(vm)).collect();
    let one: Vec<_> = mine.iter().map(|vm| role(a, *vm)).collect();
    let other: Vec<_> = its.iter().map(|vm| role(b, *vm)).collect();
    let distances: Vec<Vec<f64>> = one.iter().map(|a| other.iter().map(|b| roles_apart(a, b)).collect()).collect();
    vms.extend(match_up(&distances, FAR_VM, clearly).into_iter().map(|m| (mine[m.a], its[m.b])));
    vms
}

/// What runs in a VM.
pub(crate) fn role(prints: &Prints, vm: i32) -> Vec<&Fingerprint> {
    prints.clear_of(vm).map(|(_, print)| &print.fingerprint).collect()
}

/// How far apart the roles of two VMs are: the mean, over the processes of both, of how far the nearest of the other is (a
/// Chamfer distance).
pub(crate) fn roles_apart(a: &[&Fingerprint], b: &[&Fingerprint]) -> f64 {
    let nearest =
        |one: &Fingerprint, of: &[&Fingerprint]| of.iter().filter_map(|other| one.distance(other)).fold(1.0, f64::min);
    if a.is_empty() || b.is_empty() {
        return 1.0;
    }
    let sum: f64 = a.iter().map(|one| nearest(one, b)).chain(b.iter().map(|one| nearest(one, a))).sum();
    sum / (a.len() + b.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_clear_is_left_open() {
        let pairs = |distances: &[Vec<f64>]| -> Vec<(usize, usize)> {
            match_up(distances, FAR, clearly).into_iter().map(|m| (m.a, m.b)).collect()
        };
        assert_eq!(pairs(&[vec![0.1, 0.4], vec![0.5, 0.1]]), [(0, 0), (1, 1)]);
        // Two alike.
        assert_eq!(pairs(&[vec![0.1, 0.11]]), []);
        // One that is clear, and then there is only one other.
        assert_eq!(pairs(&[vec![0.1, 0.3], vec![0.25, 0.3]]), [(0, 0), (1, 1)]);
        assert_eq!(pairs(&[vec![0.9, 1.0]]), []);
        assert_eq!(pairs(&[]), []);
    }
}
