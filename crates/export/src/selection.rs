//! Which part of a dataset goes out, and by what clock.

use havana_rows::parquet::{Scale, Table};
use havana_rows::{Exit, Finding, FindingSpan, Loss, Process};
use havana_store::{Dataset, Epoch, Scan, StoreError};

use crate::ExportError;
use crate::names::Names;

/// A part of a dataset; the default is all of it.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// From this time on, in seconds since the first event (ticks where no rate is known).
    pub from: Option<f64>,
    /// Up to this time.
    pub to: Option<f64>,
    /// `vm_id`s; none: all. What the cpus did stays whole.
    pub vms: Vec<i32>,
    /// Cpus; none: all.
    pub cpus: Vec<i32>,
    /// Leaves out names and addresses.
    pub redact: bool,
}

/// A part that is there.
#[derive(Debug)]
pub struct Selection<'a> {
    pub(crate) dataset: &'a Dataset,
    /// Ticks: from, and (exclusive) to.
    pub(crate) window: Option<(i64, i64)>,
    vms: Vec<i32>,
    cpus: Vec<i32>,
    pub(crate) redact: bool,
    clock: Option<Scale>,
}

/// What was found, and the time of the part that it is about.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) finding: Finding,
    pub(crate) start: i64,
    pub(crate) end: i64,
}

impl<'a> Selection<'a> {
    /// Looks for it.
    ///
    /// # Errors
    /// Where there is nothing of the part.
    pub fn new(dataset: &'a Dataset, part: Part) -> Result<Selection<'a>, ExportError> {
        let manifest = dataset.manifest();
        let clock = &manifest.clock;
        let hz = clock.hz();
        let (first, last) = (manifest.first_tsc.unwrap_or(0), manifest.last_tsc.unwrap_or(0));
        let ticks = |at: f64| first.saturating_add((at * hz.map_or(1.0, |hz| hz as f64)) as i64);
        let window = (part.from.is_some() || part.to.is_some())
            .then(|| (part.from.map_or(i64::MIN, ticks), part.to.map_or(i64::MAX, ticks)));
        if let Some((from, to)) = window {
            if from >= to {
                return Err(ExportError::Backwards);
            }
            if from >= last || to <= first {
                let (per, unit) = hz.map_or((1.0, "ticks"), |hz| (hz as f64, "s"));
                // As it is read, not to the tick.
                let length = ((last - first) as f64 / per * 1e3).round() / 1e3;
                return Err(ExportError::NoTime { length, unit });
            }
        }
        let there: Vec<i32> = dataset.vms()?.iter().map(|vm| vm.vm_id).collect();
        if let Some(&id) = part.vms.iter().find(|id| !there.contains(id)) {
            return Err(ExportError::NoVm { id, there });
        }
        if let Some(&cpu) = part.cpus.iter().find(|cpu| !manifest.cpus.contains(cpu)) {
            return Err(ExportError::NoCpu { cpu, there: manifest.cpus.clone() });
        }
        let ns_clock = clock.ns();
        let Part { vms, cpus, redact, .. } = part;
        Ok(Selection { dataset, window, vms, cpus, redact, clock: ns_clock.map(Scale::new) })
    }

    /// Whether times are nanoseconds; else they are ticks.
    pub fn is_in_ns(&self) -> bool {
        self.clock.is_some()
    }

    /// Whether times are nanoseconds since 1970.
    pub(crate) fn is_unix(&self) -> bool {
        self.is_in_ns() && self.dataset.manifest().clock.epoch == Epoch::Unix
    }

    /// A moment by the dataset's clock: its `_ns`, or the tick itself.
    #[inline]
    pub(crate) fn time(&self, tsc: i64) -> i64 {
        self.clock.as_ref().map_or(tsc, |clock| clock.ns(tsc))
    }

    /// The same for formats that have no time before the origin; none is in a dataset but by a clock that is off.
    #[inline]
    pub(crate) fn stamp(&self, tsc: i64) -> u64 {
        u64::try_from(self.time(tsc)).unwrap_or(0)
    }

    /// A length of time, rounded.
    pub(crate) fn length(&self, ticks: i64) -> i64 {
        let hz = self.dataset.manifest().clock.hz().filter(|_| self.is_in_ns());
        // Exact, where a product in floating point would not be.
        let ns = |hz: u64| (i128::from(ticks) * 1_000_000_000 + i128::from(hz / 2)).div_euclid(i128::from(hz.max(1)));
        hz.map_or(ticks, |hz| i64::try_from(ns(hz)).unwrap_or(i64::MAX))
    }

    /// The first and the last tick of it.
    pub(crate) fn span(&self) -> (i64, i64) {
        let manifest = self.dataset.manifest();
        let (first, last) = (manifest.first_tsc.unwrap_or(0), manifest.last_tsc.unwrap_or(0));
        self.window.map_or((first, last), |(from, to)| (first.max(from), last.min(to)))
    }

    /// What of a stretch of time is in the part. One without a length is where it lies.
    #[inline]
    pub(crate) fn cut(&self, start: i64, end: i64) -> Option<(i64, i64)> {
        let Some((from, to)) = self.window else { return Some((start, end)) };
        let inside = start < to && (end > from || (end == start && start == from));
        inside.then(|| (start.max(from), end.min(to)))
    }

    #[inline]
    pub(crate) fn has_vm(&self, vm: i32) -> bool {
        self.vms.is_empty() || self.vms.contains(&vm)
    }

    #[inline]
    pub(crate) fn has_cpu(&self, cpu: i32) -> bool {
        self.cpus.is_empty() || self.cpus.contains(&cpu)
    }

    pub(crate) fn has_all_vms(&self) -> bool {
        self.vms.is_empty()
    }

    pub(crate) fn has_all_cpus(&self) -> bool {
        self.cpus.is_empty()
    }

    /// A vCPU's state: of cpus that were asked for, what was on them.
    #[inline]
    pub(crate) fn has_state(&self, vm: i32, cpu: Option<i32>) -> bool {
        self.has_vm(vm) && (self.has_all_cpus() || cpu.is_some_and(|cpu| self.has_cpu(cpu)))
    }

    #[inline]
    pub(crate) fn has_exit(&self, row: &Exit) -> bool {
        self.cut(row.exit.tsc, row.exit.tsc).is_some() && self.has_vm(row.vm_id) && self.has_cpu(row.cpu)
    }

    /// What may be in the part, and what is beside it.
    pub(crate) fn scan(&self, table: Table) -> Scan<'a> {
        let scan = self.dataset.scan(table);
        let is_by_time = table.end_column().is_some() || table == Table::Exits;
        match self.window.filter(|_| is_by_time) {
            Some((from, to)) => scan.overlapping(from..=to),
            None => scan,
        }
    }

    pub(crate) fn has_process(&self, row: &Process) -> bool {
        row.vm_id.is_none_or(|vm| self.has_vm(vm)) && self.cut(row.first_tsc, row.last_tsc).is_some()
    }

    /// Losses, by their start; there are few.
    pub(crate) fn losses(&self) -> Result<Vec<Loss>, StoreError> {
        let mut losses: Vec<Loss> = self.dataset.losses()?.collect::<Result<_, _>>()?;
        losses.retain_mut(|loss| {
            let Some((start, end)) = self.cut(loss.start_tsc, loss.end_tsc) else { return false };
            (loss.start_tsc, loss.end_tsc) = (start, end);
            self.has_cpu(loss.cpu)
        });
        losses.sort_by_key(|loss| (loss.start_tsc, loss.end_tsc));
        Ok(losses)
    }

    /// What was found, where it is about the part.
    pub(crate) fn findings(&self) -> Result<Vec<Found>, StoreError> {
        let (first, last) = self.span();
        let time = |finding: &Finding| {
            let (start, end) = finding.span(first, last);
            self.cut(start, end)
        };
        let findings = self.dataset.findings()?.unwrap_or_default().into_iter();
        let about = findings.filter(|finding| finding.vm_id.is_none_or(|vm| self.has_vm(vm)));
        let found = |finding| time(&finding).map(|(start, end)| Found { finding, start, end });
        Ok(about.filter_map(found).collect())
    }

    /// The intervals that prove findings, cut.
    pub(crate) fn finding_spans(&self) -> Result<Vec<FindingSpan>, StoreError> {
        let mut spans = self.dataset.finding_spans()?;
        spans.retain_mut(|span| {
            let Some((start, end)) = self.cut(span.start_tsc, span.end_tsc) else { return false };
            (span.start_tsc, span.end_tsc) = (start, end);
            span.cpu.is_none_or(|cpu| self.has_cpu(cpu))
        });
        Ok(spans)
    }

    /// What VMs, vCPUs and processes are called.
    pub(crate) fn names(&self) -> Result<Names, StoreError> {
        Names::read(self)
    }
}
