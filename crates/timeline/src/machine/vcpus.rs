//! What each vCPU does: by the trace alone, or, where the kernel told of its thread, as the kernel knows it.
//!
//! | | by the trace alone ([`Place::On`], [`Place::Off`]) | with its thread ([`Place::Watched`]) |
//! | --- | --- | --- |
//! | guest | from entry to exit | the same |
//! | hypervisor | until its cpu sleeps or has another address space | on a cpu, and not in its guest |
//! | preempted, waiting | told by where and how its next entry comes | the switch says which |
//!
//! Times of the trace are estimates and those of the kernel are not: where a thread seems to leave its cpu before its
//! last exit, the guest's stretch counts.

use havana_rows::{Evidence, Sink, Taker, TakerKind, Time, VcpuState, VcpuStateKind as V, reason};

use super::takers::Told;
use super::threads::{Run, Why};
use super::{Id, Machine, Mode, id};
use crate::rule::{Rule, holds};

/// A vCPU off the cpu.
#[derive(Debug)]
pub(super) struct Off {
    pub(super) cpu: Id,
    pub(super) since: Time,
    /// It halted, as Event Trace says, or its cpu went idle right after its exit.
    pub(super) waiting: bool,
    /// Where it came in among the cpu's takers.
    pub(super) takers: u64,
    /// Since when its address space is loaded again: it may be back.
    pub(super) back: Option<Time>,
}

/// A vCPU whose thread is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watched {
    pub(super) guest: Option<Id>,
    pub(super) run: Run,
    /// What its row says, and since when.
    shown: (V, Option<Id>),
    since: Time,
}

#[derive(Debug)]
pub(super) enum Place {
    /// In its guest on a cpu, or in root there.
    On {
        cpu: Id,
        state: V,
        since: Time,
    },
    Off(Off),
    Lost {
        since: Time,
    },
    Watched(Watched),
    /// Its thread has ended, not after this.
    Gone(i64),
}

/// What a thread did before it was known to be a vCPU.
pub(super) struct History<'a> {
    /// Where it was from when.
    pub(super) turns: &'a [(i64, Run)],
    /// The first of them are forgotten.
    pub(super) forgot: bool,
    /// When it began, where that was seen.
    pub(super) born: Option<i64>,
}

/// A row to be told, but for what the vCPU itself says.
struct Row {
    from: Time,
    to: Time,
    state: V,
    cpu: Option<Id>,
    whose: (Option<Taker>, Option<i32>),
    seen: bool,
}

impl Row {
    fn new(from: Time, to: Time, state: V) -> Row {
        Row { from, to, state, cpu: None, whose: (None, None), seen: false }
    }
}

/// Not before.
fn after(at: Time, since: Time) -> Time {
    if at.tsc < since.tsc { since } else { at }
}

impl Machine {
    fn vcpu_row<S: Sink>(&self, v: Id, process: Option<i32>, row: Row, sink: &mut S) -> Result<(), S::Error> {
        let Row { from: start, to: end, state, cpu, whose: (taken_by, taken_by_tid), seen } = row;
        if end.tsc <= start.tsc && state != V::Guest {
            return Ok(());
        }
        let evidence = match state {
            V::Guest => Evidence::Observed,
            V::Lost => Evidence::Lost,
            V::Unknown => Evidence::Unknown,
            V::Hypervisor | V::Preempted | V::Waiting | V::OffCpu if seen => Evidence::Observed,
            V::Hypervisor | V::Preempted | V::Waiting | V::OffCpu => Evidence::Inferred,
        };
        sink.vcpu_state(VcpuState {
            vcpu_id: id(v),
            vm_id: id(self.vcpus[v].vm),
            start,
            end,
            state,
            evidence,
            cpu: cpu.map(|c| self.cpu_numbers[c]),
            process_id: process,
            taken_by,
            taken_by_tid,
        })
    }

    /// Rows of a vCPU that was preempted, one for each who had its cpu.
    fn preempted<S: Sink>(
        &self,
        v: Id,
        cpu: Id,
        came_in: u64,
        (from, to): (Time, Time),
        seen: bool,
        sink: &mut S,
    ) -> Result<(), S::Error> {
        let process = self.vcpus[v].process;
        let row = |from, to, whose| Row { whose, seen, ..Row::new(from, to, V::Preempted) };
        let Told::Log(log) = self.cpus[cpu].takers.since(came_in) else {
            return self.vcpu_row(v, process, row(from, to, (None, None)), sink);
        };
        let mut piece: Option<(Time, _)> = None;
        for &(start, whose) in log {
            let whose = self.known_by_now(whose);
            match piece {
                None => piece = Some((from, whose)),
                Some((begin, had)) if had != whose && start.tsc < to.tsc => {
                    let start = after(start, begin);
                    self.vcpu_row(v, process, row(begin, start, had), sink)?;
                    piece = Some((start, whose));
                }
                Some(_) => {}
            }
        }
        match piece {
            Some((begin, whose)) => self.vcpu_row(v, process, row(begin, to, whose), sink),
            None => self.vcpu_row(v, process, row(from, to, (None, None)), sink),
        }
    }

    /// Ends what the vCPU did, at `at`.
    pub(super) fn settle<S: Sink>(&mut self, v: Id, at: Time, to: Option<Id>, sink: &mut S) -> Result<(), S::Error> {
        let process = self.vcpus[v].process;
        let place = std::mem::replace(&mut self.vcpus[v].place, Place::Lost { since: at });
        match place {
            Place::On { cpu, state, since } => {
                self.vcpu_row(v, process, Row { cpu: Some(cpu), ..Row::new(since, at, state) }, sink)
            }
            Place::Lost { since } => self.vcpu_row(v, process, Row::new(since, at, V::Lost), sink),
            Place::Watched(watched) => {
                self.vcpus[v].place = Place::Watched(watched);
                self.tell_watched(v, at, sink)
            }
            Place::Gone(at) => {
                self.vcpus[v].place = Place::Gone(at);
                Ok(())
            }
            Place::Off(off) => {
                let end = match off.back {
                    Some(back) if to == Some(off.cpu) && back.tsc <= at.tsc => back,
                    _ => at,
                };
                let told = self.cpus[off.cpu].takers.since(off.takers);
                // A sibling on the same cpu is no other address space: this one may as well have halted before.
                let own = Some(Taker { kind: TakerKind::Vm, id: Some(id(self.vcpus[v].vm)) });
                let sibling = |mut log: std::collections::vec_deque::Iter<'_, (Time, super::takers::Whose)>| {
                    log.next().is_some_and(|first| first.1.0 == own)
                };
                let whole = |state| Row::new(off.since, end, state);
                if off.waiting {
                    self.vcpu_row(v, process, whole(V::Waiting), sink)?;
                } else {
                    match told {
                        Told::Many if to == Some(off.cpu) => {
                            self.vcpu_row(v, process, whole(V::Preempted), sink)?;
                        }
                        Told::Log(log) if to == Some(off.cpu) && !sibling(log.clone()) => {
                            self.preempted(v, off.cpu, off.takers, (off.since, end), false, sink)?;
                        }
                        _ => self.vcpu_row(v, process, whole(V::OffCpu), sink)?,
                    }
                }
                self.vcpu_row(v, process, Row { cpu: to, ..Row::new(end, at, V::Hypervisor) }, sink)
            }
        }
    }

    /// The vCPU's thread left the cpu: it went idle, or another address space or vCPU took it.
    pub(super) fn take_off<S: Sink>(
        &mut self,
        v: Id,
        c: Id,
        at: Time,
        waiting: bool,
        sink: &mut S,
    ) -> Result<(), S::Error> {
        if self.cpus[c].current == Some(v) {
            self.cpus[c].current = None;
        }
        if let Place::Gone(_) = self.vcpus[v].place {
            return Ok(());
        }
        if let Place::Watched(watched) = self.vcpus[v].place {
            return match watched.guest {
                Some(cpu) if cpu == c => self.watch(v, at, |w| w.guest = None, sink),
                _ => Ok(()),
            };
        }
        self.settle(v, at, Some(c), sink)?;
        let takers = self.cpus[c].takers.come_in();
        let halted =
            self.vcpus[v].exit.as_ref().is_some_and(|exit| exit.reason == Some(reason::HLT) && holds(Rule::HaltWaits));
        self.vcpus[v].place = Place::Off(Off { cpu: c, since: at, waiting: waiting || halted, takers, back: None });
        self.vcpus[v].last = at.tsc;
        Ok(())
    }

    pub(super) fn put_on<S: Sink>(&mut self, v: Id, c: Id, state: V, at: Time, sink: &mut S) -> Result<(), S::Error> {
        self.cpus[c].current = Some(v);
        self.vcpus[v].last = at.tsc;
        let vm = self.vcpus[v].vm;
        self.vms[vm].last = self.vms[vm].last.max(at.tsc);
        if let Place::Gone(gone) = self.vcpus[v].place
            && at.lo <= gone
        {
            // Estimated too late: that was before.
            return Ok(());
        }
        if let Place::Watched(watched) = self.vcpus[v].place {
            let guest = (state == V::Guest).then_some(c);
            if watched.guest == guest && guest.is_some() {
                // Another guest process.
                return self.tell_watched(v, at, sink);
            }
            return self.watch(v, at, |w| w.guest = guest, sink);
        }
        self.settle(v, at, Some(c), sink)?;
        self.vcpus[v].place = Place::On { cpu: c, state, since: at };
        Ok(())
    }

    /// Whether the vCPU is in its guest on this cpu, or in root there.
    pub(super) fn is_on(&self, v: Id, c: Id) -> bool {
        match self.vcpus[v].place {
            Place::On { cpu, .. } => cpu == c,
            Place::Watched(watched) => watched.guest == Some(c),
            _ => false,
        }
    }

    // ── with its thread ──

    /// What a vCPU with a thread does.
    fn seen(&self, watched: &Watched) -> (V, Option<Id>) {
        match (watched.guest, watched.run) {
            (Some(c), _) => (V::Guest, Some(c)),
            (None, Run::On(c)) if self.cpus[c].mode == Mode::Lost => (V::Lost, None),
            // A cpu that runs a thread does not sleep: one of the two is wrong.
            (None, Run::On(c)) if matches!(self.cpus[c].mode, Mode::Idle(_)) => (V::Unknown, None),
            (None, Run::On(c)) => (V::Hypervisor, Some(c)),
            // It may run on a cpu that nobody speaks of.
            (None, Run::Off(..)) if !self.all_cpus => (V::OffCpu, None),
            (None, Run::Off(_, Why::Preempted, _)) => (V::Preempted, None),
            (None, Run::Off(_, Why::Waiting, _)) => (V::Waiting, None),
            (None, Run::Off(_, Why::Unknown, _)) => (V::OffCpu, None),
            (None, Run::Away(Some(Why::Preempted))) => (V::Preempted, None),
            (None, Run::Away(Some(Why::Waiting))) => (V::Waiting, None),
            (None, Run::Away(Some(Why::Unknown))) => (V::OffCpu, None),
            (None, Run::Away(None) | Run::Unknown) => (V::Unknown, None),
        }
    }

    /// A vCPU's thread has ended, and with it the vCPU.
    pub(super) fn gone<S: Sink>(&mut self, v: Id, at: Time, sink: &mut S) -> Result<(), S::Error> {
        self.settle(v, at, None, sink)?;
        self.vcpus[v].place = Place::Gone(at.hi);
        Ok(())
    }

    /// The vCPU surely enters its guest on a cpu after its thread's last switch: the thread is there, whatever was said.
    pub(super) fn proves<S: Sink>(&mut self, v: Id, c: Id, at: Time, sink: &mut S) -> Result<(), S::Error> {
        let Some(threads) = &mut self.threads else { return Ok(()) };
        let Some(info) = threads.tid_of(v).and_then(|tid| threads.get(tid)) else { return Ok(()) };
        let switched = info.seen.map_or(i64::MIN, |seen| seen.1);
        // Where records are missing it may have left again.
        let hole = threads.on[c].since.is_none();
        let run = if hole { Run::Unknown } else { Run::On(c) };
        if info.run == Run::On(c) || info.run == run || at.lo <= switched {
            return Ok(());
        }
        let thread = info.thread;
        threads.info(thread).run = run;
        self.watch(v, at, |w| w.run = run, sink)
    }

    /// Something changes for a vCPU with a thread.
    pub(super) fn watch<S: Sink>(
        &mut self,
        v: Id,
        at: Time,
        change: impl FnOnce(&mut Watched),
        sink: &mut S,
    ) -> Result<(), S::Error> {
        let Place::Watched(watched) = self.vcpus[v].place else { return Ok(()) };
        let mut now = watched;
        change(&mut now);
        now.shown = self.seen(&now);
        if now.shown != watched.shown {
            self.tell_watched(v, at, sink)?;
            now.since = after(at, watched.since);
        }
        self.vcpus[v].place = Place::Watched(now);
        Ok(())
    }

    /// Tells what a vCPU with a thread did up to `at`.
    fn tell_watched<S: Sink>(&mut self, v: Id, at: Time, sink: &mut S) -> Result<(), S::Error> {
        let Place::Watched(watched) = &mut self.vcpus[v].place else { return Ok(()) };
        let Watched { run, shown: (state, cpu), since, .. } = *watched;
        let at = after(at, since);
        watched.since = at;
        if let (V::Preempted, Run::Off(cpu, _, came_in)) = (state, run) {
            return self.preempted(v, cpu, came_in, (since, at), true, sink);
        }
        let seen = self.all_cpus || state != V::OffCpu;
        let row = Row { cpu, seen, ..Row::new(since, at, state) };
        self.vcpu_row(v, self.vcpus[v].process, row, sink)
    }

    /// From `at` on the vCPU's thread is known; before its first entry it did what its thread did.
    pub(super) fn watch_from<S: Sink>(
        &mut self,
        v: Id,
        at: Time,
        run: Run,
        history: History<'_>,
        sink: &mut S,
    ) -> Result<(), S::Error> {
        let History { turns, forgot, born } = history;
        if let Place::Watched(_) = self.vcpus[v].place {
            return self.watch(v, at, |w| w.run = run, sink);
        }
        let since = match self.vcpus[v].place {
            Place::On { since, .. } | Place::Lost { since } => since,
            Place::Off(Off { since, .. }) => since,
            Place::Watched(_) | Place::Gone(_) => at,
        };
        let at = after(at, since);
        let guest = match self.vcpus[v].place {
            Place::On { cpu, state: V::Guest, .. } => Some(cpu),
            _ => None,
        };
        self.settle(v, at, None, sink)?;
        let mut watched = Watched { guest, run, shown: (V::Unknown, None), since: at };
        watched.shown = self.seen(&watched);
        self.vcpus[v].place = Place::Watched(watched);

        let end = self.vcpus[v].first;
        let begin = born.unwrap_or(self.first).max(self.first);
        let mut from = begin;
        // Before its first turn it was off its cpu, if it was at all.
        let mut sure = born.is_some();
        // What it did up to its first turn, the turn itself says.
        let mut state = match turns.first() {
            _ if forgot => (V::Unknown, None),
            Some((_, Run::On(_))) => (V::OffCpu, None),
            Some((_, Run::Off(c, ..))) => (V::Hypervisor, Some(*c)),
            _ => (V::Unknown, None),
        };
        let next = |run: &Run| self.seen(&Watched { guest: None, run: *run, ..watched });
        let rows = turns.iter().map(|(at, run)| (*at, next(run))).chain([(end, (V::Unknown, None))]);
        for (until, then) in rows.collect::<Vec<_>>() {
            let until = until.min(end);
            if until > from {
                let sure = std::mem::replace(&mut sure, true) || state.0 != V::OffCpu;
                let row = Row { cpu: state.1, seen: sure, ..Row::new(self.when(from), self.when(until), state.0) };
                self.vcpu_row(v, None, row, sink)?;
                from = until;
            }
            state = then;
        }
        self.vcpus[v].first = begin.min(end);
        Ok(())
    }

    /// The loss of a cpu begins or ends: whose thread is on it is seen no more, or again.
    pub(super) fn seen_anew<S: Sink>(&mut self, c: Id, at: Time, sink: &mut S) -> Result<(), S::Error> {
        let Some(threads) = &self.threads else { return Ok(()) };
        let Some(thread) = threads.on[c].thread else { return Ok(()) };
        let vcpus = threads.get(thread.tid).map(|info| info.vcpus.clone()).unwrap_or_default();
        vcpus.into_iter().try_for_each(|(v, _)| self.watch(v, at, |_| (), sink))
    }
}
