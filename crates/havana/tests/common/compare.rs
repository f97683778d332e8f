//! A dataset held against the truth.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use havana_rows::{CpuState, CpuStateKind, Exit, Process, Time, Vcpu, VcpuStateKind, Vm, VmOffset};

use super::rows::Rows;
use super::truth::{Cpu, Doing, Truth, page};

/// How far a dataset is from the truth, in numbers, and what in it is wrong, in words.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// Stretches in a guest.
    pub(crate) stretches: usize,
    pub(crate) vms: usize,
    /// Entry, exit and re-entry times.
    pub(crate) times: usize,
    /// Ticks between estimate and truth: median, 99th percentile.
    pub(crate) error: [i64; 2],
    /// Half the width between bounds, ticks: median, 99th percentile.
    pub(crate) width: [i64; 2],
    /// Guest time, the worst: percent of the capture, of a vCPU and of a guest process.
    pub(crate) vcpu_share: f64,
    pub(crate) process_share: f64,
    /// The same of each vCPU, and the least of its usual stretches in the guest and in root, ticks.
    pub(crate) vcpu_shares: Vec<(f64, i64)>,
    /// Between a vCPU's sure bounds, the widest: percent of the capture.
    pub(crate) sure_width: f64,
    /// Time of a cpu asleep, as long as it is told, and in the hypervisor, the worst: percent of the capture.
    pub(crate) idle: f64,
    pub(crate) hypervisor: f64,
    /// Re-entries that are not told, though there are such.
    pub(crate) unordered: usize,
    /// How far the time that is told of a cpu is from what it was traced, the worst: percent of that.
    pub(crate) coverage: f64,
    /// TSC offsets of vCPUs' VMs that are not told.
    pub(crate) clocks_unknown: usize,
    /// Exits that tell their reason, and their guest's instruction.
    pub(crate) reasons: usize,
    pub(crate) guest_ips: usize,
    /// Stretches asleep that no packet tells.
    pub(crate) idle_inferred: usize,
    /// The longest sleep of a cpu that was observed to be awake, ticks.
    pub(crate) hidden_sleep: i64,
    pub(crate) wrong: Vec<String>,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Comparison { stretches, vms, times, error, width, .. } = self;
        writeln!(f, "  {stretches} guest stretches of {vms} VMs, {times} times")?;
        writeln!(
            f,
            "  error median {}, p99 {} ticks; half width median {}, p99 {}",
            error[0], error[1], width[0], width[1]
        )?;
        writeln!(
            f,
            "  worst share: vCPU {:.4} %, guest process {:.4} %; sure bounds at most {:.2} % apart; idle {:.3} %, hypervisor {:.3} %",
            self.vcpu_share, self.process_share, self.sure_width, self.idle, self.hypervisor
        )?;
        if self.coverage > 0.01 || self.clocks_unknown + self.unordered > 0 {
            writeln!(
                f,
                "  coverage {:.2} % off, {} offsets unknown, {} re-entries not told",
                self.coverage, self.clocks_unknown, self.unordered
            )?;
        }
        for what in &self.wrong {
            writeln!(f, "  WRONG: {what}")?;
        }
        Ok(())
    }
}

/// Median and 99th percentile.
fn quantiles(mut values: Vec<i64>) -> [i64; 2] {
    values.sort_unstable();
    [values.len() / 2, values.len() * 99 / 100].map(|i| values.get(i).copied().unwrap_or(0))
}

impl Comparison {
    pub(crate) fn of(rows: &Rows, truth: &Truth) -> Comparison {
        let mut this = Comparison::default();
        let vms: HashMap<i32, Vm> = rows.vms.iter().map(|v| (v.vm_id, v.clone())).collect();
        let vcpus: HashMap<i32, Vcpu> = rows.vcpus.iter().map(|v| (v.vcpu_id, v.clone())).collect();
        let processes: HashMap<i32, Process> = rows.processes.iter().map(|p| (p.process_id, p.clone())).collect();
        let mut exits: BTreeMap<i32, Vec<Exit>> = BTreeMap::new();
        for exit in &rows.exits {
            exits.entry(exit.cpu).or_default().push(*exit);
        }
        let mut states: BTreeMap<i32, Vec<CpuState>> = BTreeMap::new();
        for state in &rows.cpu_states {
            states.entry(state.cpu).or_default().push(*state);
        }

        // Each stretch in a guest, in order.
        let (mut errors, mut widths) = (Vec::new(), Vec::new());
        let mut vm_of_vmcs: BTreeMap<i64, BTreeSet<i32>> = BTreeMap::new();
        for (&cpu, true_cpu) in &truth.cpus {
            let got = exits.remove(&cpu).unwrap_or_default();
            this.stretches(cpu, true_cpu, got, &vcpus, &processes, &mut vm_of_vmcs, &mut errors, &mut widths);
        }
        for (cpu, invented) in exits {
            this.wrong.push(format!("{} exits on cpu {cpu}, which is not there", invented.len()));
        }
        this.times = errors.len();
        this.error = quantiles(errors);
        this.width = quantiles(widths);

        this.identity(truth, &vms, &vm_of_vmcs);
        this.clocks(rows, truth, &vms, &vm_of_vmcs);
        this.shares(truth, &states, &vcpus);
        this.vcpu_states(rows, &states, truth.cut);
        this.observed(rows, truth);
        this
    }

    /// Every stretch of the truth is there, in order, on its cpu, and no other.
    #[allow(clippy::too_many_arguments, reason = "what it reads and what it adds to")]
    fn stretches(
        &mut self,
        cpu: i32,
        truth: &Cpu,
        mut got: Vec<Exit>,
        vcpus: &HashMap<i32, Vcpu>,
        processes: &HashMap<i32, Process>,
        vm_of_vmcs: &mut BTreeMap<i64, BTreeSet<i32>>,
        errors: &mut Vec<i64>,
        widths: &mut Vec<i64>,
    ) {
        got.sort_by_key(|e| (e.exit.tsc, e.exit_id));
        if got.len() != truth.stretches.len() {
            self.wrong.push(format!("cpu {cpu}: {} exits of {}", got.len(), truth.stretches.len()));
        }
        for (index, (got, want)) in got.iter().zip(&truth.stretches).enumerate() {
            let at = format!("cpu {cpu} exit {index} (at {})", want.exit);
            let vmcs = vcpus[&got.vcpu_id].vmcs;
            if vmcs != want.vmcs {
                self.wrong.push(format!("{at}: of VMCS {vmcs:x}, not {:x}; the rest is not compared", want.vmcs));
                return;
            }
            self.stretches += 1;
            vm_of_vmcs.entry(vmcs).or_default().insert(got.vm_id);
            let process = &processes[&got.process_id];
            let mut want_reentry = want.reentry;
            if page(got.guest_cr3) != want.guest_cr3
                || process.cr3 != want.guest_cr3
                || process.vm_id != Some(got.vm_id)
            {
                self.wrong.push(format!("{at}: guest process {:x}, not {:x}", process.cr3, want.guest_cr3));
            }
            // Where the order of its stretches on two cpus cannot be told, no re-entry is.
            if got.reentry.is_none() && want.reentry.is_some() {
                self.unordered += 1;
                want_reentry = None;
            }
            if got.reentry_cpu != want_reentry.map(|r| r.1) {
                self.wrong.push(format!("{at}: re-entry on cpu {:?}, not {want_reentry:?}", got.reentry_cpu));
            }
            let times = [
                ("entry", got.entry, want.entry),
                ("exit", Some(got.exit), Some(want.exit)),
                ("re-entry", got.reentry, want_reentry.map(|r| r.0)),
            ];
            for (what, got, want) in times {
                match (got, want) {
                    (Some(Time { tsc, lo, hi }), Some(want)) => {
                        if !((lo..=hi).contains(&want) && (lo..=hi).contains(&tsc)) {
                            self.wrong.push(format!("{at}: {what} {want} and its estimate {tsc} not in [{lo}, {hi}]"));
                        }
                        errors.push((want - tsc).abs());
                        widths.push((hi - lo) / 2);
                    }
                    (None, None) => {}
                    _ => self.wrong.push(format!("{at}: {what} is {got:?}, not {want:?}")),
                }
            }
        }
    }

    /// VMCSs share a VM exactly where they share a host CR3.
    fn identity(&mut self, truth: &Truth, vms: &HashMap<i32, Vm>, vm_of_vmcs: &BTreeMap<i64, BTreeSet<i32>>) {
        let mut vm_of_cr3: BTreeMap<i64, BTreeSet<i32>> = BTreeMap::new();
        for (vmcs, ids) in vm_of_vmcs {
            vm_of_cr3.entry(truth.host_cr3[vmcs]).or_default().extend(ids);
        }
        for (cr3, ids) in &vm_of_cr3 {
            if ids.len() != 1 || ids.iter().any(|id| vms[id].host_cr3 != *cr3) {
                self.wrong.push(format!("host CR3 {cr3:x} is VMs {ids:?}"));
            }
        }
        self.vms = vms.len();
        if vms.len() != vm_of_cr3.len() {
            self.wrong.push(format!("{} VMs, not {}", vms.len(), vm_of_cr3.len()));
        }
    }

    /// What is said of a VM's TSC offset has the true one, or one of them, in its bounds.
    fn clocks(
        &mut self,
        rows: &Rows,
        truth: &Truth,
        vms: &HashMap<i32, Vm>,
        vm_of_vmcs: &BTreeMap<i64, BTreeSet<i32>>,
    ) {
        let clocks = &rows.vm_offsets;
        let mut truly: BTreeMap<i32, BTreeSet<i64>> = BTreeMap::new();
        for (vmcs, ids) in vm_of_vmcs {
            ids.iter().for_each(|id| truly.entry(*id).or_default().extend(&truth.offsets[vmcs]));
        }
        for (id, truly) in truly {
            let one = vms[&id].tsc_offset.into_iter();
            let said: Vec<Time> = one.chain(clocks.iter().filter(|c| c.vm_id == id).map(|c| c.tsc_offset)).collect();
            let is = |said: &Time, want: &i64| (said.lo..=said.hi).contains(want);
            for said in said.iter().filter(|said| !truly.iter().any(|want| is(said, want))) {
                self.wrong.push(format!("vm {id}: TSC offset {said:?} is none of {truly:?}"));
            }
            // While a clock is told, its VM has no other, where it has one vCPU: each sets its own. When that was is
            // known as well as the offset.
            let told = |from: i64, to: i64| {
                let during = move |c: &&VmOffset| {
                    let give = c.tsc_offset.hi - c.tsc_offset.lo;
                    c.vm_id == id && c.start_tsc + give <= from && to <= c.end_tsc - give
                };
                clocks.iter().filter(during)
            };
            let of: Vec<i64> = vm_of_vmcs.iter().filter(|(_, ids)| ids.contains(&id)).map(|(vmcs, _)| *vmcs).collect();
            let stretches = truth.cpus.values().flat_map(|cpu| &cpu.stretches).filter(|s| of == [s.vmcs]);
            for stretch in stretches {
                let Some(entry) = stretch.entry else { continue };
                let mut told = told(entry, stretch.exit).peekable();
                if told.peek().is_some() && !told.any(|c| is(&c.tsc_offset, &stretch.offset)) {
                    let (exit, offset) = (stretch.exit, stretch.offset);
                    self.wrong.push(format!("vm {id}: TSC offset {offset} from {entry} to {exit} is not told"));
                }
            }
            // No TSC packet of the guest, no offset.
            self.clocks_unknown += truly.iter().filter(|want| !said.iter().any(|said| is(said, want))).count();
        }
    }

    /// Who had the cpus, and that every instant of them is told once.
    fn shares(&mut self, truth: &Truth, states: &BTreeMap<i32, Vec<CpuState>>, vcpus: &HashMap<i32, Vcpu>) {
        let mut span = 0;
        let mut unknown = 0;
        // Ticks, got minus want.
        let mut of_vcpu: HashMap<i64, [i64; 2]> = HashMap::new();
        let mut of_process: HashMap<(i64, i64), [i64; 2]> = HashMap::new();
        let (mut idle, mut hypervisor) = (0, 0);
        for (cpu, want) in &truth.cpus {
            let rows = states.get(cpu).map_or(&[][..], |rows| rows);
            for pair in rows.windows(2) {
                if pair[0].end.tsc != pair[1].start.tsc || pair[0].end.tsc < pair[0].start.tsc {
                    self.wrong.push(format!("cpu {cpu}: a hole or an overlap at {:?}", pair[0].end));
                }
            }
            let all = want.last - want.first;
            span += all;
            let told_to = rows.last().map_or(0, |r| r.end.tsc);
            let covered = told_to - rows.first().map_or(0, |r| r.start.tsc);
            let least = want.sleeps_from.map_or(all, |from| from - want.first);
            let off = (least - covered).max(covered - all).max(0);
            self.coverage = self.coverage.max(100.0 * off as f64 / all.max(1) as f64);
            let (mut cpu_idle, mut cpu_hypervisor) = (0, 0);
            for row in rows {
                let ticks = row.end.tsc - row.start.tsc;
                match row.state {
                    CpuStateKind::Guest => {
                        let vmcs = row.vcpu_id.map_or(0, |id| vcpus[&id].vmcs);
                        of_vcpu.entry(vmcs).or_default()[0] += ticks;
                        of_process.entry((vmcs, page(row.guest_cr3.unwrap_or(0)))).or_default()[0] += ticks;
                    }
                    CpuStateKind::Idle => cpu_idle += ticks,
                    CpuStateKind::Hypervisor => cpu_hypervisor += ticks,
                    CpuStateKind::Lost | CpuStateKind::Unknown => unknown += ticks,
                    CpuStateKind::Host => {}
                }
            }
            for piece in &want.pieces {
                let ticks = piece.end - piece.start;
                match piece.doing {
                    Doing::Guest { vmcs, cr3 } => {
                        of_vcpu.entry(vmcs).or_default()[1] += ticks;
                        of_process.entry((vmcs, cr3)).or_default()[1] += ticks;
                    }
                    Doing::Hypervisor { .. } => cpu_hypervisor -= ticks,
                    // Of a stream that ends, nothing says whether its cpu sleeps.
                    Doing::Idle => cpu_idle -= (piece.end.min(told_to) - piece.start).max(0),
                    Doing::Host { .. } => {}
                }
            }
            idle = idle.max(cpu_idle.abs());
            hypervisor = hypervisor.max(cpu_hypervisor.abs());
        }
        let percent = |ticks: i64| 100.0 * ticks as f64 / span as f64;
        let worst = |sums: &mut dyn Iterator<Item = &[i64; 2]>| {
            percent(sums.map(|[got, want]| (got - want).abs()).max().unwrap_or(0))
        };
        self.vcpu_share = worst(&mut of_vcpu.values());
        self.vcpu_shares =
            of_vcpu.iter().map(|(vmcs, [got, want])| (percent((got - want).abs()), truth.usual(*vmcs))).collect();
        self.process_share = worst(&mut of_process.values());
        self.idle = percent(idle);
        self.hypervisor = percent(hypervisor);
        if unknown * 50 > span {
            self.wrong.push(format!("{:.2} % unknown or lost", percent(unknown)));
        }
        for vcpu in vcpus.values() {
            let want = of_vcpu.get(&vcpu.vmcs).map_or(0, |sums| sums[1]);
            let (lo, hi) = (vcpu.guest_lo_tsc, vcpu.guest_hi_tsc);
            self.sure_width = self.sure_width.max(percent(hi - lo));
            if !(lo..=hi).contains(&want) {
                self.wrong.push(format!("VMCS {:x}: {want} ticks in its guest, not in [{lo}, {hi}]", vcpu.vmcs));
            }
        }
    }

    /// A vCPU is in one state at a time, in its guest as long as the cpus say, and not on a cpu that sleeps.
    fn vcpu_states(&mut self, rows: &Rows, cpu_states: &BTreeMap<i32, Vec<CpuState>>, cut: i64) {
        let mut guest: HashMap<i32, i64> = HashMap::new();
        for row in cpu_states.values().flatten().filter(|row| row.state == CpuStateKind::Guest) {
            *guest.entry(row.vcpu_id.unwrap_or(-1)).or_default() += row.end.tsc - row.start.tsc;
        }
        let asleep = |cpu: i32, from: i64, to: i64| -> i64 {
            let rows = cpu_states.get(&cpu).map_or(&[][..], |rows| rows);
            let first = rows.partition_point(|row| row.end.tsc <= from);
            let within = rows[first..].iter().take_while(|row| row.start.tsc < to);
            within
                .filter(|row| row.state == CpuStateKind::Idle)
                .map(|row| row.end.tsc.min(to) - row.start.tsc.max(from))
                .sum()
        };
        let mut last: HashMap<i32, i64> = HashMap::new();
        let mut rows = rows.vcpu_states.clone();
        rows.sort_by_key(|row| (row.vcpu_id, row.start.tsc, row.end.tsc));
        for row in rows {
            let before = last.insert(row.vcpu_id, row.end.tsc);
            if before.is_some_and(|end| end != row.start.tsc) {
                self.wrong.push(format!(
                    "vcpu {}: from {} a hole or an overlap: {row:?}",
                    row.vcpu_id,
                    before.unwrap_or(0)
                ));
            }
            if let (VcpuStateKind::Hypervisor, Some(cpu)) = (row.state, row.cpu) {
                let ticks = asleep(cpu, row.start.tsc, row.end.tsc);
                if ticks > cut {
                    self.wrong.push(format!("its cpu sleeps {ticks} ticks of it: {row:?}"));
                }
            }
            if row.state == VcpuStateKind::Guest {
                *guest.entry(row.vcpu_id).or_default() -= row.end.tsc - row.start.tsc;
            }
        }
        // In an order that cannot be told, estimates may have it on two cpus at once.
        for (vcpu, off) in guest.into_iter().filter(|(_, off)| *off != 0 && self.unordered == 0 && cut == 0) {
            self.wrong.push(format!("vcpu {vcpu}: cpu_states and vcpu_states differ by {off} ticks in the guest"));
        }
    }
}
