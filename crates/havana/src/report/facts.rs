//! What a dataset says, summed up: one pass over each large table, of the columns needed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use havana_rows::parquet::Table;
use havana_rows::{CpuStateKind, Evidence, TakerKind, VcpuStateKind};
use havana_store::{Dataset, LossSummary};
use serde::Serialize;

use super::columns::{Names, int, ints, longs};
use super::histogram::{Histogram, Quantiles};
use havana_insight::words::{Rate, rate_of};
use havana_insight::{Finding, Span};
use havana_rows::reason;

/// Edges of the latency histogram, nanoseconds.
const EDGES_NS: [f64; 8] = [2e3, 5e3, 10e3, 30e3, 100e3, 1e6, 10e6, 100e6];
/// The same where no rate is known, ticks.
const EDGES_TICKS: [f64; 8] = [5e3, 1e4, 3e4, 1e5, 3e5, 3e6, 3e7, 3e8];

/// All that the report says.
#[derive(Debug, Serialize)]
pub(crate) struct Facts {
    pub(crate) node: String,
    pub(crate) capture: String,
    pub(crate) tsc_hz: Option<u64>,
    /// From the first event to the last, ticks.
    pub(crate) span_ticks: i64,
    pub(crate) span_ns: Option<f64>,
    /// What is unexpected, the first first.
    pub(crate) findings: Vec<FindingFacts>,
    pub(crate) cpus: Vec<CpuFacts>,
    pub(crate) vms: Vec<VmFacts>,
    /// Guest processes, most time first.
    pub(crate) processes: Vec<ProcessFacts>,
    pub(crate) exits: u64,
    /// Half the width between the bounds of an exit's time, ticks.
    pub(crate) exit_time_within_ticks: Option<Quantiles>,
    pub(crate) losses: LossSummary,
    pub(crate) lost_share: f64,
    pub(crate) unknown_share: f64,
    pub(crate) warnings: Vec<String>,
}

/// A finding, as [`havana_insight::Finding`] explains it.
#[derive(Debug, Serialize)]
pub(crate) struct FindingFacts {
    pub(crate) finding_id: i32,
    pub(crate) kind: &'static str,
    pub(crate) severity: &'static str,
    pub(crate) score: f64,
    pub(crate) sure: f64,
    pub(crate) title: String,
    pub(crate) vm_id: Option<i32>,
    pub(crate) vcpu_id: Option<i32>,
    pub(crate) process_id: Option<i32>,
    pub(crate) start_tsc: Option<i64>,
    pub(crate) start_ns: Option<i64>,
    pub(crate) end_tsc: Option<i64>,
    pub(crate) end_ns: Option<i64>,
    /// What proves it.
    pub(crate) spans: Vec<SpanFacts>,
}

/// An interval that proves a finding.
#[derive(Debug, Serialize)]
pub(crate) struct SpanFacts {
    pub(crate) cpu: Option<i32>,
    pub(crate) vcpu_id: Option<i32>,
    pub(crate) process_id: Option<i32>,
    pub(crate) start_tsc: i64,
    pub(crate) end_tsc: i64,
}

impl FindingFacts {
    pub(crate) fn of(finding_id: i32, finding: Finding) -> FindingFacts {
        let Finding { kind, severity, score, sure, title, who, start_tsc, end_tsc, start_ns, end_ns, spans, .. } =
            finding;
        let span = |span: Span| {
            let Span { cpu, vcpu_id, process_id, start_tsc, end_tsc } = span;
            SpanFacts { cpu, vcpu_id, process_id, start_tsc, end_tsc }
        };
        FindingFacts {
            finding_id,
            kind: kind.name(),
            severity: severity.name(),
            score,
            sure,
            title,
            vm_id: who.vm_id,
            vcpu_id: who.vcpu_id,
            process_id: who.process_id,
            start_tsc,
            start_ns,
            end_tsc,
            end_ns,
            spans: spans.into_iter().map(span).collect(),
        }
    }
}

/// Shares of a cpu's time, 0 to 1.
#[derive(Debug, Serialize)]
pub(crate) struct CpuFacts {
    pub(crate) cpu: i32,
    pub(crate) states: BTreeMap<&'static str, f64>,
    #[serde(skip)]
    pub(crate) ticks: i64,
}

#[derive(Debug, Serialize)]
pub(crate) struct VmFacts {
    pub(crate) vm_id: i32,
    pub(crate) name: Option<String>,
    pub(crate) host_cr3: i64,
    /// Guest minus host, ticks: estimate and bounds.
    pub(crate) tsc_offset: Option<[i64; 3]>,
    /// How many clocks it had.
    pub(crate) clocks: usize,
    /// Share of all cpus' time: in its guest, and in root for it.
    pub(crate) guest_share: f64,
    pub(crate) hypervisor_share: f64,
    pub(crate) exits: u64,
    pub(crate) exits_per_second: Option<f64>,
    /// From an exit to the vCPU's next entry, ticks.
    pub(crate) reentry_ticks: Option<Quantiles>,
    pub(crate) reentry_histogram: Vec<Bucket>,
    /// Exits that no entry of their vCPU follows in the trace: in neither of these.
    pub(crate) exits_without_reentry: u64,
    /// Why it exited, where the trace says so (Event Trace, or branches and symbols), most first.
    pub(crate) reasons: Vec<ReasonFacts>,
    pub(crate) vcpus: Vec<VcpuFacts>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ReasonFacts {
    /// Basic exit reason (SDM, appendix C).
    pub(crate) reason: i32,
    pub(crate) name: String,
    pub(crate) exits: u64,
    /// Those of them that an event says; of the others it follows from where KVM went.
    pub(crate) observed: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Bucket {
    /// Upper edge; none for the last.
    pub(crate) below_ticks: Option<f64>,
    pub(crate) count: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct VcpuFacts {
    pub(crate) vcpu_id: i32,
    pub(crate) vmcs: i64,
    pub(crate) guest: Share,
    /// Sure bounds of `guest`, shares.
    pub(crate) guest_at_least: f64,
    pub(crate) guest_at_most: f64,
    pub(crate) hypervisor: Share,
    pub(crate) preempted: Share,
    pub(crate) waiting: Share,
    pub(crate) off_cpu: Share,
    pub(crate) lost: Share,
    pub(crate) unknown: Share,
    /// Who had the cpu while it was preempted, most first: shares of the capture.
    pub(crate) taken_by: Vec<Taken>,
    pub(crate) exits: u64,
}

/// A share of the capture's time, 0 to 1, and how much of it is observed (the rest is inferred).
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(crate) struct Share {
    pub(crate) share: f64,
    pub(crate) observed: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Taken {
    pub(crate) kind: &'static str,
    pub(crate) id: Option<i32>,
    pub(crate) name: String,
    pub(crate) share: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct ProcessFacts {
    pub(crate) process_id: i32,
    pub(crate) vm_id: i32,
    pub(crate) cr3: i64,
    pub(crate) name: Option<String>,
    /// Of the capture's time (of one cpu).
    pub(crate) share: f64,
}

/// A table by small ids that grows as they come.
#[derive(Debug, Default)]
struct ById<T>(Vec<T>);

impl<T: Default + Clone> ById<T> {
    fn at(&mut self, id: i32) -> &mut T {
        let i = usize::try_from(id).unwrap_or(0);
        if i >= self.0.len() {
            self.0.resize(i + 1, T::default());
        }
        &mut self.0[i]
    }

    fn get(&self, id: i32) -> Option<&T> {
        self.0.get(usize::try_from(id).ok()?)
    }
}

/// Ticks by state, all and observed.
type States = [[i64; 2]; VcpuStateKind::ALL.len()];

#[derive(Debug, Default)]
struct Sums {
    cpu_ticks: BTreeMap<i32, [i64; CpuStateKind::ALL.len()]>,
    vm_guest: ById<i64>,
    vm_hypervisor: ById<i64>,
    process: ById<i64>,
    vcpu: ById<States>,
    /// Of a taker without an id: its thread.
    taken: BTreeMap<(i32, TakerKind, Option<i32>, Option<i32>), i64>,
    vm_exits: ById<u64>,
    vcpu_exits: ById<u64>,
    without_reentry: ById<u64>,
    /// By VM and reason: all, and those that an event says.
    reasons: BTreeMap<(i32, i32), [u64; 2]>,
    latency: ById<Option<Histogram>>,
    within: Option<Histogram>,
}

impl Sums {
    fn of(dataset: &Dataset) -> anyhow::Result<Sums> {
        let mut sums = Sums { within: Some(Histogram::new()), ..Sums::default() };
        sums.cpu_states(dataset).context("table cpu_states")?;
        sums.vcpu_states(dataset).context("table vcpu_states")?;
        sums.exits(dataset).context("table exits")?;
        Ok(sums)
    }

    fn cpu_states(&mut self, dataset: &Dataset) -> anyhow::Result<()> {
        let columns = ["cpu", "start_tsc", "end_tsc", "state", "vm_id", "process_id"];
        for batch in dataset.scan(Table::CpuStates).columns(&columns).batches()? {
            let batch = batch?;
            let (cpu, vm, process) = (ints(&batch, "cpu")?, ints(&batch, "vm_id")?, ints(&batch, "process_id")?);
            let (start, end) = (longs(&batch, "start_tsc")?, longs(&batch, "end_tsc")?);
            let state = Names::of(&batch, "state", CpuStateKind::from_name)?;
            for row in 0..batch.num_rows() {
                let ticks = end.value(row) - start.value(row);
                let Some(state) = state.get(row) else { continue };
                self.cpu_ticks.entry(cpu.value(row)).or_default()[state as usize] += ticks;
                let vm = int(vm, row);
                match (state, vm) {
                    (CpuStateKind::Guest, Some(vm)) => {
                        *self.vm_guest.at(vm) += ticks;
                        if let Some(process) = int(process, row) {
                            *self.process.at(process) += ticks;
                        }
                    }
                    (CpuStateKind::Hypervisor, Some(vm)) => *self.vm_hypervisor.at(vm) += ticks,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn vcpu_states(&mut self, dataset: &Dataset) -> anyhow::Result<()> {
        let columns =
            ["vcpu_id", "start_tsc", "end_tsc", "state", "evidence", "taken_by_kind", "taken_by_id", "taken_by_tid"];
        for batch in dataset.scan(Table::VcpuStates).columns(&columns).batches()? {
            let batch = batch?;
            let (vcpu, by, tid) =
                (ints(&batch, "vcpu_id")?, ints(&batch, "taken_by_id")?, ints(&batch, "taken_by_tid")?);
            let (start, end) = (longs(&batch, "start_tsc")?, longs(&batch, "end_tsc")?);
            let state = Names::of(&batch, "state", VcpuStateKind::from_name)?;
            let evidence = Names::of(&batch, "evidence", Evidence::from_name)?;
            let kind = Names::of(&batch, "taken_by_kind", TakerKind::from_name)?;
            for row in 0..batch.num_rows() {
                let ticks = end.value(row) - start.value(row);
                let Some(state) = state.get(row) else { continue };
                let vcpu = vcpu.value(row);
                let sum = &mut self.vcpu.at(vcpu)[state as usize];
                sum[0] += ticks;
                if evidence.get(row) == Some(Evidence::Observed) {
                    sum[1] += ticks;
                }
                if let (VcpuStateKind::Preempted, Some(kind)) = (state, kind.get(row)) {
                    let by = int(by, row);
                    let thread = if by.is_none() { int(tid, row) } else { None };
                    *self.taken.entry((vcpu, kind, by, thread)).or_default() += ticks;
                }
            }
        }
        Ok(())
    }

    fn exits(&mut self, dataset: &Dataset) -> anyhow::Result<()> {
        let columns =
            ["vcpu_id", "vm_id", "exit_tsc", "exit_lo_tsc", "exit_hi_tsc", "reentry_tsc", "reason", "reason_evidence"];
        for batch in dataset.scan(Table::Exits).columns(&columns).batches()? {
            let batch = batch?;
            let (vcpu, vm) = (ints(&batch, "vcpu_id")?, ints(&batch, "vm_id")?);
            let (exit, reentry) = (longs(&batch, "exit_tsc")?, longs(&batch, "reentry_tsc")?);
            let (lo, hi) = (longs(&batch, "exit_lo_tsc")?, longs(&batch, "exit_hi_tsc")?);
            let reason = ints(&batch, "reason")?;
            let seen = Names::of(&batch, "reason_evidence", Evidence::from_name)?;
            let within = self.within.get_or_insert_with(Histogram::new);
            for row in 0..batch.num_rows() {
                let vm = vm.value(row);
                *self.vm_exits.at(vm) += 1;
                *self.vcpu_exits.at(vcpu.value(row)) += 1;
                within.add((hi.value(row) - lo.value(row)).unsigned_abs() / 2);
                if arrow::array::Array::is_valid(reentry, row) {
                    let ticks = (reentry.value(row) - exit.value(row)).max(0);
                    self.latency.at(vm).get_or_insert_with(Histogram::new).add(ticks.unsigned_abs());
                } else {
                    *self.without_reentry.at(vm) += 1;
                }
                if let Some(reason) = int(reason, row) {
                    let sum = self.reasons.entry((vm, reason)).or_default();
                    sum[0] += 1;
                    sum[1] += u64::from(seen.get(row) == Some(Evidence::Observed));
                }
            }
        }
        Ok(())
    }
}

impl Facts {
    pub(crate) fn of(dataset: &Dataset, findings: Vec<Finding>) -> anyhow::Result<Facts> {
        let mut sums = Sums::of(dataset)?;
        let manifest = dataset.manifest();
        let rate = rate_of(&manifest.clock);
        let span = manifest.last_tsc.unwrap_or(0) - manifest.first_tsc.unwrap_or(0);
        let of_span = |ticks: i64| if span > 0 { ticks as f64 / span as f64 } else { 0.0 };

        let cpus: Vec<CpuFacts> = sums
            .cpu_ticks
            .iter()
            .map(|(&cpu, ticks)| {
                let all: i64 = ticks.iter().sum();
                let share = |t: i64| if all > 0 { t as f64 / all as f64 } else { 0.0 };
                let states = CpuStateKind::ALL.iter().map(|&s| (s.name(), share(ticks[s as usize]))).collect();
                CpuFacts { cpu, states, ticks: all }
            })
            .collect();
        let cpu_time: i64 = cpus.iter().map(|c| c.ticks).sum();
        let of_cpus = |ticks: i64| if cpu_time > 0 { ticks as f64 / cpu_time as f64 } else { 0.0 };
        let in_state = |state: CpuStateKind| of_cpus(sums.cpu_ticks.values().map(|t| t[state as usize]).sum());
        let (lost_share, unknown_share) = (in_state(CpuStateKind::Lost), in_state(CpuStateKind::Unknown));

        let all_vms = dataset.vms()?;
        let all_vcpus = dataset.vcpus()?;
        let all_processes = dataset.processes()?;
        let offsets = dataset.vm_offsets()?;
        let vm_name = |id: i32| {
            all_vms.iter().find(|v| v.vm_id == id).and_then(|v| v.name.clone()).unwrap_or_else(|| format!("vm {id}"))
        };
        let process_name = |id: i32| {
            let process = all_processes.iter().find(|p| p.process_id == id);
            let name = process.and_then(|p| p.name.clone());
            name.unwrap_or_else(|| process.map_or_else(|| format!("process {id}"), |p| format!("host {:#x}", p.cr3)))
        };

        let threads = thread_names(dataset, sums.taken.keys().filter_map(|key| key.3))?;
        let thread_name = |tid: Option<i32>| match tid.map(|tid| (tid, threads.get(&tid))) {
            Some((_, Some(name))) => name.clone(),
            Some((tid, None)) => format!("thread {tid}"),
            None => "the host".into(),
        };

        let mut vms: Vec<VmFacts> = Vec::new();
        for vm in &all_vms {
            let exits = sums.vm_exits.get(vm.vm_id).copied().unwrap_or(0);
            let latency = sums.latency.at(vm.vm_id).take();
            let mut vcpus: Vec<VcpuFacts> = Vec::new();
            for v in all_vcpus.iter().filter(|v| v.vm_id == vm.vm_id) {
                let states = sums.vcpu.get(v.vcpu_id).copied().unwrap_or_default();
                let share = |state: VcpuStateKind| Share {
                    share: of_span(states[state as usize][0]),
                    observed: of_span(states[state as usize][1]),
                };
                let mut taken_by: Vec<Taken> = sums
                    .taken
                    .range((v.vcpu_id, TakerKind::Vm, None, None)..(v.vcpu_id + 1, TakerKind::Vm, None, None))
                    .map(|(&(_, kind, id, tid), &ticks)| Taken {
                        kind: kind.name(),
                        id,
                        name: match (kind, id) {
                            (TakerKind::Vm, Some(id)) => vm_name(id),
                            (TakerKind::Host, Some(id)) => process_name(id),
                            _ => thread_name(tid),
                        },
                        share: of_span(ticks),
                    })
                    .collect();
                taken_by.sort_by(|a, b| b.share.total_cmp(&a.share));
                vcpus.push(VcpuFacts {
                    vcpu_id: v.vcpu_id,
                    vmcs: v.vmcs,
                    guest: share(VcpuStateKind::Guest),
                    guest_at_least: of_span(v.guest_lo_tsc),
                    // Where nothing says when the trace ended, nor does this.
                    guest_at_most: of_span(v.guest_hi_tsc).min(1.0),
                    hypervisor: share(VcpuStateKind::Hypervisor),
                    preempted: share(VcpuStateKind::Preempted),
                    waiting: share(VcpuStateKind::Waiting),
                    off_cpu: share(VcpuStateKind::OffCpu),
                    lost: share(VcpuStateKind::Lost),
                    unknown: share(VcpuStateKind::Unknown),
                    taken_by,
                    exits: sums.vcpu_exits.get(v.vcpu_id).copied().unwrap_or(0),
                });
            }
            let mut reasons: Vec<ReasonFacts> = sums
                .reasons
                .range((vm.vm_id, i32::MIN)..=(vm.vm_id, i32::MAX))
                .map(|(&(_, reason), &[exits, observed])| ReasonFacts {
                    reason,
                    name: reason::name(reason),
                    exits,
                    observed,
                })
                .collect();
            reasons.sort_by_key(|r| (std::cmp::Reverse(r.exits), r.reason));
            vms.push(VmFacts {
                vm_id: vm.vm_id,
                name: vm.name.clone(),
                host_cr3: vm.host_cr3,
                tsc_offset: vm.tsc_offset.map(|o| [o.tsc, o.lo, o.hi]),
                clocks: offsets.iter().filter(|o| o.vm_id == vm.vm_id).count(),
                guest_share: of_cpus(sums.vm_guest.get(vm.vm_id).copied().unwrap_or(0)),
                hypervisor_share: of_cpus(sums.vm_hypervisor.get(vm.vm_id).copied().unwrap_or(0)),
                exits,
                exits_per_second: rate.ns(span as f64).filter(|ns| *ns > 0.0).map(|ns| exits as f64 / ns * 1e9),
                reentry_ticks: latency.as_ref().and_then(Histogram::quantiles),
                reentry_histogram: latency.as_ref().map(|h| buckets(h, rate)).unwrap_or_default(),
                exits_without_reentry: sums.without_reentry.get(vm.vm_id).copied().unwrap_or(0),
                reasons,
                vcpus,
            });
        }
        vms.sort_by(|a, b| b.guest_share.total_cmp(&a.guest_share));

        let mut processes: Vec<ProcessFacts> = all_processes
            .iter()
            .filter_map(|p| {
                let ticks = *sums.process.get(p.process_id)?;
                (ticks > 0).then(|| ProcessFacts {
                    process_id: p.process_id,
                    vm_id: p.vm_id.unwrap_or(-1),
                    cr3: p.cr3,
                    name: p.name.clone(),
                    share: of_span(ticks),
                })
            })
            .collect();
        processes.sort_by(|a, b| b.share.total_cmp(&a.share));

        Ok(Facts {
            node: manifest.node.clone(),
            capture: manifest.capture.clone(),
            tsc_hz: rate.0,
            span_ticks: span,
            span_ns: rate.ns(span as f64),
            findings: (0..).zip(findings).map(|(id, f)| FindingFacts::of(id, f)).collect(),
            exits: vms.iter().map(|v| v.exits).sum(),
            cpus,
            vms,
            processes,
            exit_time_within_ticks: sums.within.as_ref().and_then(Histogram::quantiles),
            losses: manifest.losses.clone(),
            lost_share,
            unknown_share,
            warnings: manifest.warnings.clone(),
        })
    }
}

/// The names of these threads, where they have any.
fn thread_names(dataset: &Dataset, tids: impl Iterator<Item = i32>) -> anyhow::Result<BTreeMap<i32, String>> {
    let wanted: BTreeSet<i32> = tids.collect();
    let mut names = BTreeMap::new();
    if !wanted.is_empty() {
        for thread in dataset.threads()? {
            let thread = thread?;
            if let (true, Some(name)) = (wanted.contains(&thread.tid), thread.name) {
                names.entry(thread.tid).or_insert(name);
            }
        }
    }
    Ok(names)
}

fn buckets(histogram: &Histogram, rate: Rate) -> Vec<Bucket> {
    let edges: Vec<f64> = match rate.0 {
        Some(hz) => EDGES_NS.iter().map(|ns| ns * hz as f64 / 1e9).collect(),
        None => EDGES_TICKS.to_vec(),
    };
    let counts = histogram.between(&edges);
    counts.into_iter().enumerate().map(|(i, count)| Bucket { below_ticks: edges.get(i).copied(), count }).collect()
}
