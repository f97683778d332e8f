//! Who of one side is who of the other.
//!
//! Within one dataset by id. Between two, by the first of these rules that holds for one of either side and no other:
//!
//! | of | rule |
//! | --- | --- |
//! | a VM | its uuid; its name; its VMM's page table and the offset of its clock, which a VM keeps as long as it lives and no other has; its VMM's page table and pid, of one boot of the host; that what runs in it is what ran in that one ([`crate::fingerprint`]) and in no other |
//! | a vCPU of a VM | its index; its VMCS; that each has one |
//! | a process of a VM, or of the host | its name; in a VM that was found by what runs in it, its fingerprint; its CR3. Several of one are taken together: lifetimes of a CR3, threads of work under one name |
//!
//! A VM of one side only is new, or gone, where the rules could have found it: where it has a name or uuid and so have all that
//! are left of the other side, or none are left there. Else it is *unmatched*, and nothing is said of it but that.
//!
//! A further rule is a further line of `vm_rules`, or of a function beside it.

use std::collections::BTreeMap;

use havana_rows::{Process, Vcpu, Vm};
use havana_store::Dataset;
use rustc_hash::FxHashMap;
use serde::Serialize;

use super::side::{DiffError, Side};
use crate::fingerprint;

/// Boots that are this near are one: clocks are set, and drift.
const SAME_BOOT_SECONDS: f64 = 60.0;

/// What tells that two are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// One dataset.
    Id,
    /// A VM's uuid.
    Uuid,
    /// A name.
    Name,
    /// The VMM's page table, and the offset of the guest's clock.
    Clock,
    /// The VMM's page table and pid, and one boot of the host.
    Boot,
    /// A vCPU's number.
    Index,
    /// A vCPU's VMCS.
    Vmcs,
    /// There is no other.
    Only,
    /// What runs in a VM; the fingerprint of a process.
    Rhythm,
    /// A page table.
    Cr3,
    /// Nothing: it is in one of both.
    Nothing,
}

/// In which side somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// In both.
    Both,
    /// In B only.
    New,
    /// In A only.
    Gone,
    /// Perhaps in both: nothing says who it is in the other.
    Unmatched,
}

/// The ids that somebody has in each side.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pair {
    pub(super) ids: [Vec<i32>; 2],
    pub(super) by: By,
    pub(super) presence: Presence,
}

impl Pair {
    fn new(a: Vec<i32>, b: Vec<i32>, by: By) -> Pair {
        let presence = match (a.is_empty(), b.is_empty()) {
            (false, false) => Presence::Both,
            (true, _) => Presence::New,
            (_, true) => Presence::Gone,
        };
        let by = if presence == Presence::Both { by } else { By::Nothing };
        Pair { ids: [a, b], by, presence }
    }
}

/// Pairs of one kind, and where each side's ids are in them.
#[derive(Debug, Default)]
pub(super) struct Kin {
    pub(super) pairs: Vec<Pair>,
    at: [FxHashMap<i32, u32>; 2],
}

impl Kin {
    fn push(&mut self, pair: Pair) {
        let at = u32::try_from(self.pairs.len()).unwrap_or(u32::MAX);
        for (side, ids) in self.at.iter_mut().zip(&pair.ids) {
            side.extend(ids.iter().map(|id| (*id, at)));
        }
        self.pairs.push(pair);
    }

    /// Of a side's id: which pair.
    pub(super) fn of(&self, side: usize, id: i32) -> Option<u32> {
        self.at[side].get(&id).copied()
    }

    /// VMs of a side that may be in the other one, and are not found there.
    fn unmatched(&self, side: usize) -> impl Iterator<Item = i32> {
        let pairs = self.pairs.iter().filter(|pair| pair.presence == Presence::Unmatched);
        pairs.flat_map(move |pair| pair.ids[side].iter().copied())
    }

    pub(super) fn get(&self, at: u32) -> &Pair {
        &self.pairs[at as usize]
    }
}

/// Who is who.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pub(super) vms: Kin,
    pub(super) vcpus: Kin,
    /// Of guests and of the host.
    pub(super) processes: Kin,
    /// How many vCPUs each VM has, in each side.
    pub(super) vcpus_of: Vec<[usize; 2]>,
}

/// A VM to be found in the other side.
#[derive(Debug, Clone, Copy)]
struct Candidate<'a> {
    vm: &'a Vm,
    node: &'a str,
    /// When its host booted, Unix seconds.
    boot: Option<f64>,
}

type Rule<T> = (By, fn(&T, &T) -> bool);

/// The first is the surest.
fn vm_rules<'a>() -> [Rule<Candidate<'a>>; 4] {
    [
        (By::Uuid, |a, b| a.vm.uuid.is_some() && a.vm.uuid == b.vm.uuid),
        (By::Name, |a, b| name(a.vm).is_some() && name(a.vm) == name(b.vm) && !differ(&a.vm.uuid, &b.vm.uuid)),
        (By::Clock, |a, b| {
            let meet = a.vm.tsc_offset.zip(b.vm.tsc_offset).is_some_and(|(a, b)| a.lo <= b.hi && b.lo <= a.hi);
            meet && lives_there(a, b)
        }),
        (By::Boot, |a, b| {
            let one_boot = a.boot.zip(b.boot).is_some_and(|(a, b)| (a - b).abs() < SAME_BOOT_SECONDS);
            one_boot && a.vm.pid.is_some() && a.vm.pid == b.vm.pid && lives_there(a, b)
        }),
    ]
}

/// What a VM is called, without the pid that tells it from others of that name.
fn name(vm: &Vm) -> Option<&str> {
    let name = vm.name.as_deref()?;
    let pid = vm.pid.map(|pid| format!("[{pid}]"));
    Some(pid.and_then(|pid| name.strip_suffix(pid.as_str())).unwrap_or(name))
}

/// On one node, under one page table, and nothing says that they are two.
fn lives_there(a: &Candidate<'_>, b: &Candidate<'_>) -> bool {
    let (a_vm, b_vm) = (a.vm, b.vm);
    a.node == b.node
        && a_vm.host_cr3 == b_vm.host_cr3
        && !differ(&a_vm.uuid, &b_vm.uuid)
        && !differ(&a_vm.pid, &b_vm.pid)
}

fn differ<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
    a.as_ref().zip(b.as_ref()).is_some_and(|(a, b)| a != b)
}

const VCPU_RULES: &[Rule<Vcpu>] = &[
    (By::Index, |a, b| a.index.is_some() && a.index == b.index),
    (By::Vmcs, |a, b| a.vmcs == b.vmcs && !differ(&a.index, &b.index)),
    (By::Only, |a, b| !differ(&a.index, &b.index)),
];

/// Pairs by the first rule that holds for one of either side and no other of those that are left.
fn match_up<T>(a: &[T], b: &[T], rules: &[Rule<T>]) -> Vec<(usize, usize, By)> {
    let (mut left_a, mut left_b): (Vec<usize>, Vec<usize>) = ((0..a.len()).collect(), (0..b.len()).collect());
    let mut matched = Vec::new();
    for (by, holds) in rules {
        let mut found: Vec<(usize, usize)> = Vec::new();
        for at in &left_a {
            let mut like = left_b.iter().filter(|other| holds(&a[*at], &b[**other]));
            if let (Some(other), None) = (like.next(), like.next()) {
                found.push((*at, *other));
            }
        }
        // The other side's must have no second, too.
        found.retain(|(_, other)| left_a.iter().filter(|at| holds(&a[**at], &b[*other])).count() == 1);
        left_a.retain(|at| found.iter().all(|(a_at, _)| a_at != at));
        left_b.retain(|at| found.iter().all(|(_, b_at)| b_at != at));
        matched.extend(found.into_iter().map(|(a, b)| (a, b, *by)));
    }
    matched
}

impl Pairs {
    pub(super) fn of(a: &Side<'_>, b: &Side<'_>) -> Result<Pairs, DiffError> {
        let sides = [a, b];
        let [vms_a, vms_b] = [a.vms()?, b.vms()?];
        let seen = |side: &Side<'_>| -> Result<(Vec<Vcpu>, Vec<Process>), DiffError> {
            let (mut vcpus, mut processes) = (side.dataset.vcpus()?, side.dataset.processes()?);
            vcpus.retain(|vcpu| side.overlaps(vcpu.first_tsc, vcpu.last_tsc));
            processes.retain(|process| side.overlaps(process.first_tsc, process.last_tsc));
            Ok((vcpus, processes))
        };
        let [(vcpus_a, processes_a), (vcpus_b, processes_b)] = [seen(a)?, seen(b)?];
        let mut pairs = Pairs::default();
        if a.is_of_one_dataset(b) {
            pairs.vms = by_id(vms_a.iter().map(|vm| vm.vm_id), vms_b.iter().map(|vm| vm.vm_id));
            pairs.vcpus = by_id(vcpus_a.iter().map(|v| v.vcpu_id), vcpus_b.iter().map(|v| v.vcpu_id));
            pairs.processes = by_id(processes_a.iter().map(|p| p.process_id), processes_b.iter().map(|p| p.process_id));
        } else {
            pairs.vms = vms(&vms_a, &vms_b, sides);
            let mut programs = Vec::new();
            if (0..2).all(|side| pairs.vms.unmatched(side).next().is_some()) {
                programs = surely_one(a.dataset, b.dataset)?;
                let vm_of = [&processes_a, &processes_b].map(|of| of.iter().map(|p| (p.process_id, p.vm_id)).collect());
                pairs.vms = by_rhythm(pairs.vms, &programs, &vm_of);
            }
            pairs.vcpus = vcpus(&vcpus_a, &vcpus_b, &pairs.vms);
            pairs.processes = processes([&processes_a, &processes_b], &pairs.vms, &programs);
        }
        pairs.vcpus_of = vec![[0; 2]; pairs.vms.pairs.len()];
        for (side, vcpus) in [vcpus_a, vcpus_b].iter().enumerate() {
            for vm in vcpus.iter().filter_map(|vcpu| pairs.vms.of(side, vcpu.vm_id)) {
                pairs.vcpus_of[vm as usize][side] += 1;
            }
        }
        Ok(pairs)
    }

    /// Whether a VM has vCPUs to tell apart.
    pub(super) fn has_several(&self, vm: u32) -> bool {
        self.vcpus_of[vm as usize].iter().any(|vcpus| *vcpus > 1)
    }
}

fn by_id(a: impl Iterator<Item = i32>, b: impl Iterator<Item = i32>) -> Kin {
    let mut there: BTreeMap<i32, [bool; 2]> = BTreeMap::new();
    a.for_each(|id| there.entry(id).or_default()[0] = true);
    b.for_each(|id| there.entry(id).or_default()[1] = true);
    let mut kin = Kin::default();
    for (id, there) in there {
        let [a, b] = there.map(|there| if there { vec![id] } else { Vec::new() });
        kin.push(Pair::new(a, b, By::Id));
    }
    kin
}

fn vms(a: &[Vm], b: &[Vm], sides: [&Side<'_>; 2]) -> Kin {
    fn candidates<'a>(vms: &'a [Vm], side: &'a Side<'_>) -> Vec<Candidate<'a>> {
        let (node, boot) = (side.dataset.manifest().node.as_str(), side.boot());
        vms.iter().map(|vm| Candidate { vm, node, boot }).collect()
    }
    paired_vms(&candidates(a, sides[0]), &candidates(b, sides[1]))
}

fn paired_vms<'a>(a: &[Candidate<'a>], b: &[Candidate<'a>]) -> Kin {
    let matched = match_up(a, b, &vm_rules());
    let mut kin = Kin::default();
    for (a_at, b_at, by) in &matched {
        kin.push(Pair::new(vec![a[*a_at].vm.vm_id], vec![b[*b_at].vm.vm_id], *by));
    }
    let left = |of: &[Candidate<'_>], is_matched: &dyn Fn(usize) -> bool| -> Vec<(i32, bool)> {
        let left = of.iter().enumerate().filter(|(at, _)| !is_matched(*at));
        left.map(|(_, c)| (c.vm.vm_id, c.vm.name.is_some() || c.vm.uuid.is_some())).collect()
    };
    let left_a = left(a, &|at| matched.iter().any(|m| m.0 == at));
    let left_b = left(b, &|at| matched.iter().any(|m| m.1 == at));
    let mut push = |left: &[(i32, bool)], others: &[(i32, bool)], pair: fn(i32) -> Pair| {
        for (id, known) in left {
            let told = others.is_empty() || *known && others.iter().all(|other| other.1);
            let pair = pair(*id);
            let presence = if told { pair.presence } else { Presence::Unmatched };
            kin.push(Pair { presence, ..pair });
        }
    };
    push(&left_a, &left_b, |id| Pair::new(vec![id], Vec::new(), By::Nothing));
    push(&left_b, &left_a, |id| Pair::new(Vec::new(), vec![id], By::Nothing));
    kin
}

fn vcpus(a: &[Vcpu], b: &[Vcpu], vms: &Kin) -> Kin {
    let mut kin = Kin::default();
    for pair in &vms.pairs {
        let of = |vcpus: &[Vcpu], ids: &[i32]| -> Vec<Vcpu> {
            vcpus.iter().filter(|vcpu| ids.contains(&vcpu.vm_id)).cloned().collect()
        };
        let (mine, theirs) = (of(a, &pair.ids[0]), of(b, &pair.ids[1]));
        let matched = match_up(&mine, &theirs, VCPU_RULES);
        for (a_at, b_at, by) in &matched {
            kin.push(Pair::new(vec![mine[*a_at].vcpu_id], vec![theirs[*b_at].vcpu_id], *by));
        }
        let ids = |vcpus: &[Vcpu], is_matched: &dyn Fn(usize) -> bool| -> Vec<i32> {
            let left = vcpus.iter().enumerate().filter(|(at, _)| !is_matched(*at));
            left.map(|(_, vcpu)| vcpu.vcpu_id).collect()
        };
        for id in ids(&mine, &|at| matched.iter().any(|m| m.0 == at)) {
            kin.push(Pair::new(vec![id], Vec::new(), By::Nothing));
        }
        for id in ids(&theirs, &|at| matched.iter().any(|m| m.1 == at)) {
            kin.push(Pair::new(Vec::new(), vec![id], By::Nothing));
        }
    }
    kin
}

/// Fingerprints that are this sure and more tell who is who.
const SURE: f64 = 0.5;

/// Processes of two datasets that surely are one program: ids.
fn surely_one(a: &Dataset, b: &Dataset) -> Result<Vec<(i32, i32)>, DiffError> {
    let pairs = fingerprint::pairs(&fingerprint::fingerprints(a)?, &fingerprint::fingerprints(b)?);
    let sure = pairs.into_iter().filter(|pair| pair.or.is_empty() && pair.sure >= SURE);
    Ok(sure.map(|pair| (pair.a, pair.b)).collect())
}

/// Also pairs VMs of which nothing else says who they are: all programs of the one that are found again are in the other.
fn by_rhythm(vms: Kin, programs: &[(i32, i32)], vm_of: &[FxHashMap<i32, Option<i32>>; 2]) -> Kin {
    let left: [Vec<i32>; 2] = [0, 1].map(|side| vms.unmatched(side).collect());
    let vm = |side: usize, process: i32| vm_of[side].get(&process).copied().flatten();
    let found: Vec<[i32; 2]> = programs.iter().filter_map(|(a, b)| Some([vm(0, *a)?, vm(1, *b)?])).collect();
    // Who of the other side has programs of this VM, if it is one.
    let only = |side: usize, id: i32| -> Option<i32> {
        let mut others = found.iter().filter(|vms| vms[side] == id).map(|vms| vms[1 - side]);
        let first = others.next()?;
        others.all(|other| other == first).then_some(first)
    };
    let both: Vec<[i32; 2]> = left[0]
        .iter()
        .filter_map(|a| Some([*a, only(0, *a)?]))
        .filter(|[a, b]| left[1].contains(b) && only(1, *b) == Some(*a))
        .collect();
    let mut kin = Kin::default();
    for pair in vms.pairs {
        let told = |side: usize| pair.ids[side].first().is_some_and(|id| both.iter().any(|vms| vms[side] == *id));
        if pair.presence != Presence::Unmatched || !(told(0) || told(1)) {
            kin.push(pair);
        }
    }
    both.into_iter().for_each(|[a, b]| kin.push(Pair::new(vec![a], vec![b], By::Rhythm)));
    // Who is left alone is new, or gone, no more surely than before.
    kin
}

/// What a process goes by.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Called<'a> {
    Name(&'a str),
    /// The program that is this id in A.
    Program(i32),
    Cr3(i64),
}

/// By the pair of their VM (none: of the host), and what they go by.
fn processes(sides: [&[Process]; 2], vms: &Kin, programs: &[(i32, i32)]) -> Kin {
    let mut groups: BTreeMap<(Option<u32>, Called<'_>), [Vec<i32>; 2]> = BTreeMap::new();
    for (side, processes) in sides.into_iter().enumerate() {
        for process in processes {
            let vm = match process.vm_id {
                Some(vm) => match vms.of(side, vm) {
                    Some(vm) => Some(vm),
                    None => continue,
                },
                None => None,
            };
            let by_rhythm = vm.is_some_and(|vm| vms.get(vm).by == By::Rhythm);
            let id = process.process_id;
            let program = programs.iter().find(|program| by_rhythm && id == [program.0, program.1][side]);
            let called = match (process.name.as_deref(), program) {
                (Some(name), _) => Called::Name(name),
                (None, Some((a, _))) => Called::Program(*a),
                (None, None) => Called::Cr3(process.cr3),
            };
            groups.entry((vm, called)).or_default()[side].push(id);
        }
    }
    let mut kin = Kin::default();
    for ((vm, called), [a, b]) in groups {
        let by = match called {
            Called::Name(_) => By::Name,
            Called::Program(_) => By::Rhythm,
            Called::Cr3(_) => By::Cr3,
        };
        let mut pair = Pair::new(a, b, by);
        if let Some(vm) = vm.filter(|_| pair.presence != Presence::Both)
            && vms.get(vm).presence == Presence::Unmatched
        {
            pair.presence = Presence::Unmatched;
        }
        kin.push(pair);
    }
    kin
}

#[cfg(test)]
mod tests {
    use super::*;
    use havana_rows::Time;

    fn vm(vm_id: i32, host_cr3: i64, name: Option<&str>, offset: Option<i64>) -> Vm {
        Vm {
            vm_id,
            host_cr3,
            first_tsc: 0,
            last_tsc: 1,
            tsc_offset: offset.map(|tsc| Time { tsc, lo: tsc - 10, hi: tsc + 10 }),
            tsc_scale: None,
            name: name.map(Into::into),
            uuid: None,
            pid: None,
        }
    }

    fn told(a: &[Vm], b: &[Vm], boots: [Option<f64>; 2]) -> Vec<(Vec<i32>, Vec<i32>, By, Presence)> {
        fn of(vms: &[Vm], boot: Option<f64>) -> Vec<Candidate<'_>> {
            vms.iter().map(|vm| Candidate { vm, node: "n", boot }).collect()
        }
        let kin = paired_vms(&of(a, boots[0]), &of(b, boots[1]));
        kin.pairs.into_iter().map(|Pair { ids: [a, b], by, presence }| (a, b, by, presence)).collect()
    }

    #[test]
    fn names_go_before_places_and_clocks_before_boots() {
        let a = [vm(0, 0x1000, Some("web"), Some(-500)), vm(1, 0x3000, None, Some(-900))];
        let b = [vm(0, 0x3000, None, Some(-905)), vm(1, 0x1000, Some("db"), None), vm(2, 0x5000, Some("web"), None)];
        assert_eq!(
            told(&a, &b, [None; 2]),
            [
                (vec![0], vec![2], By::Name, Presence::Both),
                (vec![1], vec![0], By::Clock, Presence::Both),
                (vec![], vec![1], By::Nothing, Presence::New),
            ]
        );
        let mut uuids = [vm(0, 0, Some("web"), None), vm(1, 0, Some("old"), None)];
        uuids[0].uuid = Some("x".into());
        let mut renamed = [vm(0, 0, Some("web"), None), vm(1, 0, Some("db"), None)];
        (renamed[0].uuid, renamed[1].uuid) = (Some("y".into()), Some("x".into()));
        assert_eq!(told(&uuids, &renamed, [None; 2])[0], (vec![0], vec![1], By::Uuid, Presence::Both));
    }

    #[test]
    fn a_page_table_alone_is_nobody() {
        let (a, b) = ([vm(0, 0x1000, None, Some(-500))], [vm(0, 0x1000, None, Some(-900))]);
        let unmatched = told(&a, &b, [None; 2]);
        assert!(unmatched.len() == 2 && unmatched.iter().all(|pair| pair.3 == Presence::Unmatched), "{unmatched:?}");
        let (mut a, mut b) = (a, b);
        (a[0].pid, b[0].pid) = (Some(7), Some(7));
        assert_eq!(told(&a, &b, [Some(1000.0), Some(1001.0)])[0].2, By::Boot);
        assert_eq!(told(&a, &b, [Some(1000.0), Some(9000.0)]).len(), 2);
    }

    #[test]
    fn two_that_are_alike_are_nobody_s() {
        let a = [vm(0, 0x1000, Some("web"), None)];
        let b = [vm(0, 0x1000, Some("web"), None), vm(1, 0x3000, Some("web"), None)];
        assert_eq!(told(&a, &b, [None; 2]).len(), 3);
    }

    #[test]
    fn what_runs_in_a_vm_says_who_it_is() {
        let unmatched = |a: &[i32], b: &[i32]| {
            let mut kin = Kin::default();
            let pair = |ids| Pair { ids, by: By::Nothing, presence: Presence::Unmatched };
            a.iter().for_each(|id| kin.push(pair([vec![*id], Vec::new()])));
            b.iter().for_each(|id| kin.push(pair([Vec::new(), vec![*id]])));
            kin
        };
        // Two processes a VM: of VM n these are 2 n and 2 n + 1.
        let vm_of = [0, 1].map(|_| (0..8).map(|process| (process, Some(process / 2))).collect());
        let told = |programs: &[(i32, i32)]| -> Vec<_> {
            let kin = by_rhythm(unmatched(&[0, 1], &[0, 1, 2]), programs, &vm_of);
            kin.pairs.into_iter().filter(|pair| pair.by == By::Rhythm).map(|pair| pair.ids).collect()
        };
        assert_eq!(told(&[(0, 2), (1, 3), (2, 4)]), [[vec![0], vec![1]], [vec![1], vec![2]]]);
        assert_eq!(told(&[(0, 2), (1, 4)]), [] as [[Vec<i32>; 2]; 0], "its programs are in two");
        assert_eq!(told(&[(0, 2), (2, 3)]), [] as [[Vec<i32>; 2]; 0], "two have programs of one");
        assert_eq!(told(&[(0, 6)]), [] as [[Vec<i32>; 2]; 0], "that one is known already");
    }

    #[test]
    fn lifetimes_of_a_page_table_are_one() {
        let process = |process_id, vm_id, cr3| Process {
            process_id,
            vm_id,
            cr3,
            first_tsc: 0,
            last_tsc: 1,
            evidence: havana_rows::Evidence::Observed,
            name: None,
        };
        let vms = by_id([0].into_iter(), [0].into_iter());
        let a = [process(0, Some(0), 0x10), process(1, Some(0), 0x10), process(2, None, 0x10)];
        let b = [process(5, Some(0), 0x10), process(6, Some(0), 0x20)];
        let kin = processes([&a, &b], &vms, &[]);
        let ids: Vec<_> = kin.pairs.iter().map(|pair| pair.ids.clone()).collect();
        assert_eq!(ids, [[vec![2], vec![]], [vec![0, 1], vec![5]], [vec![], vec![6]]]);
        assert_eq!((kin.of(0, 1), kin.of(1, 5), kin.of(1, 1)), (Some(1), Some(1), None));
    }
}
