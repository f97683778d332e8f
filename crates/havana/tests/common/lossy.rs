//! A dataset of a trace that is not whole, held against the truth: what was seen is right, and what was not is said.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use havana_rows::{Evidence, Exit, Loss, LossCause, VcpuStateKind as V};
use havana_sim::Scenario;

use super::rows::Rows;
use super::sched::Sched;
use super::truth::{Stretch, Truth, page};

/// From when to when the trace of a cpu was lost.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: i64,
    to: i64,
    /// The processor dropped packets: whether it is in a guest afterwards, nothing says.
    overflow: bool,
}

/// What of a cpu's trace there is.
#[derive(Debug, Default)]
struct Seen {
    windows: Vec<Window>,
    /// VMPTRLD.
    loads: Vec<i64>,
    /// What makes a PIP.
    pips: Vec<i64>,
    /// Its trace has nothing older.
    begins: i64,
}

impl Seen {
    /// Some of this is lost.
    fn lost(&self, from: i64, to: i64) -> bool {
        from < self.begins || self.windows.iter().any(|w| w.from <= to && from <= w.to)
    }

    /// An entry at `tsc` is seen for what it is: packets have named the VMCS since the last loss, and said whether the
    /// cpu was in a guest.
    fn known(&self, tsc: i64) -> bool {
        let since = |times: &[i64], from: i64| times.iter().any(|t| (from..tsc).contains(t));
        let last = self.windows.iter().rfind(|w| w.to <= tsc);
        let last = last.copied().or((self.begins > 0).then_some(Window { from: 0, to: self.begins, overflow: true }));
        last.is_none_or(|w| since(&self.loads, w.to) && (!w.overflow || since(&self.pips, w.to)))
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Lossy {
    /// Stretches in a guest, and those of them that are told.
    pub(crate) stretches: usize,
    pub(crate) told: usize,
    /// Those that had to be.
    pub(crate) whole: usize,
    /// Re-entries that are told, and those that are not though no loss hides them.
    pub(crate) reentries: usize,
    pub(crate) untold: usize,
    /// Re-entries that are inferred, and are not so.
    pub(crate) mistaken: usize,
    /// True losses, and stretches that are said to be lost.
    pub(crate) windows: usize,
    pub(crate) losses: usize,
    /// Ticks lost in truth, and ticks that are said to be, of all cpus.
    pub(crate) lost: [i64; 2],
    /// vCPUs whose thread is said; and those of another's, where the kernel's records are not whole.
    pub(crate) threads: usize,
    pub(crate) strangers: usize,
    /// Ticks in the guest that are told, of each VMCS.
    guest: HashMap<i64, i64>,
    pub(crate) wrong: Vec<String>,
}

impl fmt::Display for Lossy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lossy { stretches, told, whole, reentries, mistaken, untold, windows, losses, lost, .. } = self;
        writeln!(f, "  {told} of {stretches} guest stretches told ({whole} not touched by a loss)")?;
        writeln!(
            f,
            "  {reentries} re-entries told, {mistaken} wrongly inferred, {untold} not though no loss hides them"
        )?;
        writeln!(f, "  {windows} losses of {} ticks, {losses} told of {} ticks", lost[0], lost[1])?;
        self.wrong.iter().take(20).try_for_each(|what| writeln!(f, "  WRONG: {what}"))
    }
}

/// What a truth file says of losses.
fn read(text: &str) -> BTreeMap<i32, Seen> {
    let mut cpus: BTreeMap<i32, Seen> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('T')) {
        let f: Vec<&str> = line.split(',').collect();
        let (cpu, tsc): (i32, i64) = (f[1].parse().unwrap(), f[2].parse().unwrap());
        let seen = cpus.entry(cpu).or_default();
        match (f[0], *f.get(3).unwrap_or(&"")) {
            (what @ "O", "1") | (what @ "R", "0") => {
                seen.windows.push(Window { from: tsc, to: i64::MAX, overflow: what == "O" });
            }
            ("O", "0") | ("R", "1") => seen.windows.last_mut().unwrap().to = tsc,
            ("P", _) => seen.loads.push(tsc),
            ("C" | "E" | "X", _) => seen.pips.push(tsc),
            _ => {}
        }
    }
    cpus
}

impl Lossy {
    pub(crate) fn of(rows: &Rows, scenario: &Scenario, text: &str) -> Lossy {
        let truth = Truth::parse(text);
        let mut seen = read(text);
        let mut this = Lossy::default();
        let vmcs: HashMap<i32, i64> = rows.vcpus.iter().map(|v| (v.vcpu_id, v.vmcs)).collect();
        let mut exits: BTreeMap<i32, Vec<Exit>> = BTreeMap::new();
        for exit in &rows.exits {
            exits.entry(exit.cpu).or_default().push(*exit);
        }
        if scenario.trace.snapshot_kb > 0 {
            // The trace of each cpu begins where its ring did, which the dataset says.
            seen.values_mut().for_each(|seen| seen.begins = i64::MAX);
            for state in &rows.cpu_states {
                let seen = seen.get_mut(&state.cpu).unwrap();
                seen.begins = seen.begins.min(state.start.hi.max(1));
            }
        }
        for (cpu, true_cpu) in &truth.cpus {
            let mut got = exits.remove(cpu).unwrap_or_default();
            got.sort_by_key(|e| (e.exit.tsc, e.exit_id));
            this.cpu(*cpu, &true_cpu.stretches, &got, &seen, &vmcs);
        }
        this.losses(rows, &seen, &truth);
        this.sure(rows, &truth);
        this.threads = rows.vcpus.iter().filter(|vcpu| vcpu.tid.is_some()).count();
        let (strangers, wrong) = threads(rows, text)
            .into_iter()
            .partition(|what| scenario.loss.records_hz > 0.0 && what.starts_with("VMCS"));
        this.strangers = Vec::len(&strangers);
        this.wrong.extend::<Vec<String>>(wrong);
        this
    }

    /// What is told of a cpu is true, in order, and what was not touched by a loss is told.
    fn cpu(&mut self, cpu: i32, want: &[Stretch], got: &[Exit], seen: &BTreeMap<i32, Seen>, vmcs: &HashMap<i32, i64>) {
        let here = &seen[&cpu];
        let whole: Vec<bool> = want
            .iter()
            .map(|want| want.entry.is_some_and(|entry| !here.lost(entry, want.exit) && here.known(entry)))
            .collect();
        self.stretches += want.len();
        self.whole += whole.iter().filter(|whole| **whole).count();
        // What it costs to take one for the other.
        let price = |i: usize, j: usize| {
            let (want, got) = (&want[i], &got[j]);
            let is = vmcs[&got.vcpu_id] == want.vmcs && (got.exit.lo..=got.exit.hi).contains(&want.exit);
            let mut this = Lossy::default();
            this.stretch("", want, got, here);
            this.reentry("", want, got, seen);
            is.then_some(this.wrong.len() as u32)
        };
        let (mut i, mut j) = (0, 0);
        for (a, b) in align(&whole, got.len(), price) {
            for want in (i..a).filter(|i| whole[*i]).map(|i| &want[i]) {
                self.wrong.push(format!("cpu {cpu} exit (at {}): VMCS {:x} is not told", want.exit, want.vmcs));
            }
            for extra in &got[j..b] {
                self.wrong.push(format!("cpu {cpu}: an exit that never was: {extra:?}"));
            }
            if let (Some(want), Some(got)) = (want.get(a), got.get(b)) {
                let at = format!("cpu {cpu} exit {a} (at {})", want.exit);
                self.told += 1;
                self.stretch(&at, want, got, here);
                self.reentry(&at, want, got, seen);
            }
            (i, j) = (a + 1, b + 1);
        }
    }

    fn stretch(&mut self, at: &str, want: &Stretch, found: &Exit, here: &Seen) {
        if page(found.guest_cr3) != want.guest_cr3 {
            self.wrong.push(format!("{at}: guest process {:x}, not {:x}", page(found.guest_cr3), want.guest_cr3));
        }
        match (found.entry, want.entry) {
            (Some(said), Some(entry)) if (said.lo..=said.hi).contains(&entry) => {
                *self.guest.entry(want.vmcs).or_default() += want.exit - entry;
            }
            (Some(said), _) => self.wrong.push(format!("{at}: entry {:?} not in {said:?}", want.entry)),
            (None, Some(entry)) if !here.lost(entry, want.exit) && here.known(entry) => {
                self.wrong.push(format!("{at}: its entry at {entry} is not told, and no loss hides it"));
            }
            (None, _) => {}
        }
    }

    fn reentry(&mut self, at: &str, want: &Stretch, found: &Exit, seen: &BTreeMap<i32, Seen>) {
        match (found.reentry, want.reentry) {
            (Some(said), Some((tsc, cpu))) if (said.lo..=said.hi).contains(&tsc) => {
                self.reentries += 1;
                if found.reentry_cpu != Some(cpu) {
                    self.wrong.push(format!("{at}: re-entry on cpu {:?}, not {cpu}", found.reentry_cpu));
                }
            }
            // It was seen on no cpu but those; on others, trace is missing.
            (Some(_), _) if found.evidence == Evidence::Inferred => self.mistaken += 1,
            (Some(said), other) => self.wrong.push(format!("{at}: re-entry {other:?} not in {said:?}")),
            (None, Some((tsc, _))) => {
                // Whether it ran meanwhile on a cpu whose trace is lost, nothing says.
                let hidden = seen.values().any(|cpu| cpu.lost(want.exit, tsc));
                self.untold += usize::from(!hidden);
            }
            (None, None) => {}
        }
    }

    /// Every loss is told, and nothing else is. When an overflow was, only its neighbours tell: those are counted.
    fn losses(&mut self, rows: &Rows, seen: &BTreeMap<i32, Seen>, truth: &Truth) {
        let told = &rows.losses;
        self.losses = told.len();
        self.lost[1] = told.iter().map(|loss| loss.end_tsc - loss.start_tsc).sum();
        for (cpu, seen) in seen {
            let told: Vec<&Loss> = told.iter().filter(|l| l.cpu == *cpu && l.cause != LossCause::BeforeSync).collect();
            // One that lasts to the end, and not for long, is the end.
            for w in &seen.windows {
                let to = w.to.min(truth.cpus[cpu].last);
                self.windows += 1;
                self.lost[0] += to - w.from;
                let is = |l: &&Loss| l.start_tsc <= to && w.from <= l.end_tsc;
                if w.from >= seen.begins && !w.overflow && w.to < i64::MAX && !told.iter().copied().any(|l| is(&l)) {
                    self.wrong.push(format!("cpu {cpu}: the loss of {w:?} is not told"));
                }
            }
            // Of a snapshot they may be where its trace begins.
            let (most, least) =
                (seen.windows.len(), seen.windows.iter().filter(|w| w.from >= seen.begins && w.to < i64::MAX).count());
            if told.len() > most || told.is_empty() && least > 0 {
                self.wrong.push(format!("cpu {cpu}: {} losses told, of {least} to {most}: {told:?}", told.len()));
            }
        }
    }

    /// What is sure of a vCPU's time in its guest is no more than all of it, and no less than what is told.
    fn sure(&mut self, rows: &Rows, truth: &Truth) {
        for vcpu in &rows.vcpus {
            let stretches = truth.cpus.values().flat_map(|cpu| &cpu.stretches).filter(|s| s.vmcs == vcpu.vmcs);
            let all: i64 = stretches.map(|s| s.exit - s.entry.unwrap_or(s.exit)).sum();
            let told = self.guest.get(&vcpu.vmcs).copied().unwrap_or(0);
            let (lo, hi) = (vcpu.guest_lo_tsc, vcpu.guest_hi_tsc);
            // One that is in its guest at the end has no exit yet.
            let open = truth.cpus.values().map(|cpu| cpu.last).max().unwrap_or(0) - self.last_exit(truth, vcpu.vmcs);
            if lo > all + open || hi < told {
                self.wrong.push(format!("VMCS {:x}: {told} of {all} ticks in its guest, [{lo}, {hi}]", vcpu.vmcs));
            }
        }
    }

    fn last_exit(&self, truth: &Truth, vmcs: i64) -> i64 {
        let stretches = truth.cpus.values().flat_map(|cpu| &cpu.stretches).filter(|s| s.vmcs == vmcs);
        stretches.map(|s| s.exit).max().unwrap_or(0)
    }
}

/// What is wrong of threads: each vCPU's is its own; and off its cpus it was as its thread's switches say, where that
/// is called observed.
pub(crate) fn threads(rows: &Rows, text: &str) -> Vec<String> {
    let truth = Sched::parse(text);
    let off = truth.off();
    let mut wrong = Vec::new();
    let mut tids: HashMap<i32, i32> = HashMap::new();
    for vcpu in &rows.vcpus {
        let Some(tid) = vcpu.tid else { continue };
        let want = truth.of_vmcs[&vcpu.vmcs];
        if tid != want || !truth.names.contains_key(&want) {
            wrong.push(format!("VMCS {:x}: thread {tid}, not {want}", vcpu.vmcs));
        }
        tids.insert(vcpu.vcpu_id, tid);
    }
    for row in &rows.vcpu_states {
        let (Some(tid), Evidence::Observed) = (tids.get(&row.vcpu_id), row.evidence) else { continue };
        let runnable = match row.state {
            V::Preempted => true,
            V::Waiting => false,
            _ => continue,
        };
        let off = off.get(tid).map_or(&[][..], |off| off);
        let middle = row.start.hi.midpoint(row.end.lo);
        let at = off.partition_point(|(_, to, _)| *to <= middle);
        // One that is off to the end has no end here.
        let is = off.get(at).is_none_or(|(from, _, ran_on)| middle < *from || *ran_on == runnable);
        if row.start.hi < row.end.lo && !is {
            wrong.push(format!("thread {tid} would{} have run on: {row:?}", if runnable { " not" } else { "" }));
        }
    }
    wrong
}

/// Which of two rows are the same, in order, so that least is wrong; their ends at last. One that is whole and not told
/// costs, one that is told and never was too.
fn align(whole: &[bool], told: usize, price: impl Fn(usize, usize) -> Option<u32>) -> Vec<(usize, usize)> {
    // Far off the diagonal nothing is looked for.
    const REACH: usize = 400;
    let n = whole.len();
    let width = 2 * REACH + 1 + n.abs_diff(told);
    let first = |i: usize| i.saturating_sub(REACH + n.saturating_sub(told));
    let mut best = vec![u32::MAX / 2; (n + 1) * width];
    let at = |i: usize, j: usize| j.checked_sub(first(i)).filter(|k| *k < width).map(|k| i * width + k);
    for i in (0..=n).rev() {
        for j in (first(i)..=told.min(first(i) + width - 1)).rev() {
            let get = |i: usize, j: usize| {
                if i > n || j > told { u32::MAX / 2 } else { at(i, j).map_or(u32::MAX / 2, |k| best[k]) }
            };
            let mut least = if i == n && j == told { 0 } else { u32::MAX / 2 };
            if i < n {
                least = least.min(get(i + 1, j) + u32::from(whole[i]));
            }
            if j < told {
                least = least.min(get(i, j + 1) + 1);
            }
            if i < n
                && j < told
                && let Some(price) = price(i, j)
            {
                least = least.min(get(i + 1, j + 1) + price);
            }
            best[at(i, j).unwrap()] = least;
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < n || j < told {
        let now = best[at(i, j).unwrap()];
        let get = |i: usize, j: usize| at(i, j).map_or(u32::MAX / 2, |k| best[k]);
        if i < n && j < told && price(i, j).is_some_and(|price| get(i + 1, j + 1) + price == now) {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if i < n && get(i + 1, j) + u32::from(whole[i]) == now {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs.push((n, told));
    pairs
}
