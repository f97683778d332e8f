//! What runs in one vCPU: processes that run and wait, a timer, system calls, exits.
//!
//! The guest knows its own time in the guest only; when it is not there, nothing of it goes on but its timer.

use std::collections::VecDeque;

use crate::pt::GuestClock;
use crate::rng::Rng;
use crate::scenario::{Process, Vm};

/// Basic exit reasons (SDM, appendix C).
pub(crate) mod reason {
    pub(crate) const EXTERNAL_INTERRUPT: u16 = 1;
    pub(crate) const INTERRUPT_WINDOW: u16 = 7;
    pub(crate) const CPUID: u16 = 10;
    pub(crate) const HLT: u16 = 12;
    pub(crate) const IO: u16 = 30;
    pub(crate) const WRMSR: u16 = 32;
    pub(crate) const EPT_VIOLATION: u16 = 48;
    pub(crate) const EPT_MISCONFIGURATION: u16 = 49;
    pub(crate) const PREEMPTION_TIMER: u16 = 52;
}

/// The user half of an address space, with KPTI: the other page, and the other PCID.
const USER_HALF: u64 = 0x1800;
/// A process that has waited is not more than this ahead of others.
const CREDIT_US: f64 = 3000.0;
/// A guest gives a process so long before another.
const SLICE_US: f64 = 4000.0;
/// A timer that ran out while its vCPU was off the cpu makes an exit so many ticks after the entry.
const LATE_TICKS: i64 = 7;
/// From the choice of another process to its page table.
const SWITCH_US: f64 = 4.0;
/// Guest time before each CPUID of a process that begins, and each first touch of a page.
const CPUID_US: f64 = 0.1;
const TOUCH_US: f64 = 10.0;
/// From the entry to the kernel's half of the page table, where an interrupt met the user's half.
const INTO_KERNEL_US: f64 = 0.15;

/// What a guest does next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Act {
    /// It writes its CR3.
    Cr3(u64),
    /// It exits.
    Exit(u16),
    /// Nothing that is seen from outside.
    Inside,
}

/// What is to happen, and why.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Next {
    Todo,
    Timer,
    BurstEnd,
    Exit(u16),
    Flip,
    Slice,
    Halt,
}

/// A process.
#[derive(Debug)]
struct Task {
    spec: Process,
    page: u64,
    asid: u64,
    ready: bool,
    /// When it wants to run again.
    wake: i64,
    /// What is left of its run; ticks.
    left: i64,
    /// What it has had, less what it was forgiven for a wait.
    had: i64,
    /// Guest time to its next exit.
    to_exit: i64,
    /// It has never run.
    new: bool,
    /// A process of its own begins with the next run.
    begins: bool,
    /// When it ends, and whether it has.
    until: i64,
    ended: bool,
}

/// The timer tick of a guest's kernel: each `every` ticks, on a grid of its own.
#[derive(Debug, Clone, Copy)]
struct Tick {
    every: i64,
    next: i64,
    /// Stopped while the guest idles.
    stopped: bool,
    /// The last one found nothing to do.
    idle: bool,
}

impl Tick {
    /// The next place on the grid.
    fn come_to(&mut self, now: i64) {
        if self.every > 0 && self.next <= now {
            self.next += ((now - self.next) / self.every + 1) * self.every;
        }
    }
}

/// What KVM knows of a vCPU that halts: `halt_poll_ns` of Linux.
#[derive(Debug, Default)]
pub(crate) struct Halt {
    /// Since when it is halted.
    pub(crate) since: Option<i64>,
    /// It polls so long for a wake-up before its thread waits.
    pub(crate) poll: i64,
    /// It was, and has not entered since.
    over: bool,
}

impl Halt {
    /// The halt is over: as `kvm_vcpu_halt` grows and shrinks the time to poll.
    pub(crate) fn over(&mut self, now: i64, start: i64, max: i64) {
        let Some(since) = self.since.take() else { return };
        self.over = true;
        let halted = now - since;
        self.poll = match self.poll.min(max) {
            poll if halted <= poll => poll,
            poll if poll > 0 && halted > max => 0,
            poll if poll < max && halted < max => (2 * poll).max(start),
            poll => poll,
        };
    }
}

/// Pages of page tables of one VM: those of processes that ended are used again, the last one first.
#[derive(Debug)]
pub(crate) struct Pages {
    free: Vec<u64>,
    next: u64,
}

impl Pages {
    pub(crate) fn new(first: u64) -> Pages {
        Pages { free: Vec::new(), next: first }
    }

    pub(crate) fn take(&mut self) -> u64 {
        self.free.pop().unwrap_or_else(|| {
            self.next += 0x2000;
            self.next
        })
    }
}

/// One vCPU.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) vm: usize,
    pub(crate) vmcs: u64,
    pub(crate) clock: GuestClock,
    pub(crate) cr3: u64,
    pub(crate) thread: usize,
    /// Its clock is set anew then, by so much.
    pub(crate) jump: Option<(i64, i64)>,
    pub(crate) halt: Halt,
    tick: Tick,
    timer_us: f64,
    tick_us: f64,
    idle_us: f64,
    syscall_us: f64,
    slack: i64,
    interrupt_window: f64,
    tasks: Vec<Task>,
    current: Option<usize>,
    todo: VecDeque<(i64, Act)>,
    user: bool,
    flips: Option<f64>,
    slice_end: i64,
    since: i64,
    next: (i64, Next),
    rng: Rng,
    ticks_a_us: f64,
}

impl Guest {
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        vm: usize,
        vmcs: u64,
        clock: GuestClock,
        spec: &Vm,
        specs: &[Process],
        pages: &mut Pages,
        now: i64,
        ticks_a_us: f64,
        mut rng: Rng,
    ) -> Guest {
        let tasks = specs
            .iter()
            .map(|spec| {
                let wait =
                    if spec.from_ms > 0.0 { spec.from_ms * 1e3 } else { rng.unit() * spec.period_ms.max(1.0) * 1e3 };
                let (page, to_exit) = (pages.take(), (rng.about(spec.exit_every_us) * ticks_a_us) as i64);
                let wake = now + (wait * ticks_a_us) as i64;
                Task {
                    spec: spec.clone(),
                    page,
                    asid: 1,
                    ready: false,
                    wake,
                    left: 0,
                    had: 0,
                    to_exit,
                    new: true,
                    begins: false,
                    until: if spec.until_ms > 0.0 { now + (spec.until_ms * 1e3 * ticks_a_us) as i64 } else { i64::MAX },
                    ended: false,
                }
            })
            .collect();
        let every = if spec.tick_hz > 0.0 { (1e6 / spec.tick_hz * ticks_a_us) as i64 } else { 0 };
        let tick = Tick {
            every,
            next: match spec.tick_at_ms {
                _ if every == 0 => i64::MAX,
                Some(ms) => now + (ms * 1e3 * ticks_a_us) as i64,
                None => now + rng.below(every.unsigned_abs()) as i64,
            },
            stopped: every == 0,
            idle: false,
        };
        Guest {
            vm,
            vmcs,
            clock,
            cr3: pages.take() | 1,
            thread: 0,
            jump: None,
            halt: Halt::default(),
            tick,
            timer_us: spec.timer_us,
            tick_us: spec.tick_us,
            idle_us: spec.idle_us,
            syscall_us: spec.syscall_us,
            slack: (spec.timer_slack_us * ticks_a_us) as i64,
            interrupt_window: spec.interrupt_window,
            tasks,
            current: None,
            todo: VecDeque::new(),
            user: false,
            flips: spec.kpti.then_some(spec.syscalls_hz),
            slice_end: 0,
            since: now,
            next: (now, Next::Halt),
            rng,
            ticks_a_us,
        }
    }

    fn us(&self, us: f64) -> i64 {
        (us * self.ticks_a_us).max(1.0) as i64
    }

    /// The next time that its timer wakes a process, or ticks; none where nothing of that is to come.
    pub(crate) fn timer(&self) -> Option<i64> {
        let tick = (!self.tick.stopped).then_some(self.tick.next);
        self.wakes().chain(tick).min()
    }

    fn wakes(&self) -> impl Iterator<Item = i64> {
        self.tasks.iter().filter(|t| !t.ready && !t.ended).map(|t| t.wake)
    }

    /// How long its process' own exits are handled, where the scenario says.
    pub(crate) fn exit_us(&self, reason: u16) -> Option<f64> {
        let spec = &self.tasks[self.current?].spec;
        (spec.exit_reason == reason && spec.exit_us > 0.0).then_some(spec.exit_us)
    }

    /// Its clock, at an entry.
    pub(crate) fn clock_at(&mut self, now: i64) -> GuestClock {
        if let Some((_, by)) = self.jump.take_if(|(at, _)| now >= *at) {
            self.clock.offset += by;
        }
        self.clock
    }

    /// It is in the guest from `now` on: when it does something. After a halt the interrupt of its timer comes with the
    /// entry; else only the timer that KVM arms for the time in the guest says that it ran out.
    pub(crate) fn enter(&mut self, now: i64, pages: &mut Pages) -> i64 {
        // Its kernel does not know when it was not there.
        let away = now - std::mem::replace(&mut self.since, now);
        self.current.into_iter().for_each(|c| self.tasks[c].had += away);
        if std::mem::take(&mut self.halt.over) && self.timer().is_some_and(|timer| timer <= now) {
            self.fire(now, pages);
        }
        self.plan(now)
    }

    /// What it has done up to `now` is done; it does not go on.
    pub(crate) fn leave(&mut self, now: i64) {
        let ran = now - self.since;
        self.since = now;
        if let (Some(task), Next::BurstEnd | Next::Exit(_) | Next::Timer | Next::Flip | Next::Slice) =
            (self.current.map(|c| &mut self.tasks[c]), self.next.1)
        {
            task.left -= ran;
            task.had += ran;
            task.to_exit -= ran;
        }
    }

    fn plan(&mut self, now: i64) -> i64 {
        self.next = match (self.todo.front(), self.current) {
            (Some((after, _)), _) => (now + after, Next::Todo),
            (None, Some(c)) => {
                let task = &self.tasks[c];
                let mut next = (now + task.left.max(1), Next::BurstEnd);
                let mut or = |at: i64, what| {
                    if at < next.0 {
                        next = (at.max(now + 1), what);
                    }
                };
                if task.spec.exit_every_us > 0.0 {
                    or(now + task.to_exit.max(1), Next::Exit(task.spec.exit_reason));
                }
                if let Some(flips) = self.flips.map(|of_vm| task.spec.syscalls_hz.unwrap_or(of_vm)) {
                    let us = if self.user { self.rng.exponential(1e6 / flips.max(1e-3)) } else { self.syscall_us };
                    or(now + ((us * self.ticks_a_us) as i64).max(200), Next::Flip);
                }
                if self.tasks.iter().filter(|t| t.ready).count() > 1 {
                    or(self.slice_end.max(now + 1), Next::Slice);
                }
                if let Some(timer) = self.timer() {
                    or(timer.max(now + LATE_TICKS), Next::Timer);
                }
                next
            }
            (None, None) => match self.timer() {
                Some(timer) if timer <= now => (now + LATE_TICKS, Next::Timer),
                _ if self.tasks.iter().any(|t| t.ready) => (now + self.us(0.3), Next::Slice),
                timer => {
                    let halt = now + self.us(self.idle_us);
                    timer.filter(|timer| *timer < halt).map_or((halt, Next::Halt), |timer| (timer, Next::Timer))
                }
            },
        };
        self.next.0
    }

    /// It comes to what was planned for `now`. Gives what is seen of it, and when it does the next thing, unless it exits.
    pub(crate) fn act(&mut self, now: i64, pages: &mut Pages) -> (Act, i64) {
        let what = self.next.1;
        self.leave(now);
        let act = match what {
            Next::Todo => self.todo.pop_front().map_or(Act::Inside, |(_, act)| act),
            Next::Timer => {
                if self.rng.chance(self.interrupt_window) {
                    // It had interrupts disabled.
                    self.todo.push_back((self.us(1.0), Act::Exit(reason::INTERRUPT_WINDOW)));
                }
                self.fire(now, pages);
                Act::Exit(reason::PREEMPTION_TIMER)
            }
            Next::BurstEnd if self.user => {
                // It waits in a system call.
                let left = self.us(1.0);
                self.current.into_iter().for_each(|c| self.tasks[c].left = left);
                self.flip()
            }
            Next::BurstEnd => {
                let armed = self.timer();
                self.stop(now, pages);
                if self.timer() != armed {
                    self.todo.push_back((self.us(0.8), Act::Exit(reason::WRMSR)));
                }
                self.choose(now);
                Act::Inside
            }
            Next::Exit(reason) => {
                if let Some(c) = self.current {
                    let Process { exit_every_us, jitter, .. } = self.tasks[c].spec;
                    self.tasks[c].to_exit = (self.rng.near(exit_every_us, jitter) * self.ticks_a_us) as i64;
                }
                Act::Exit(reason)
            }
            Next::Flip => self.flip(),
            Next::Slice => {
                self.choose(now);
                Act::Inside
            }
            Next::Halt if self.tick.idle && self.wakes().all(|wake| wake > now + 2 * self.tick.every) => {
                // Nothing to do for some ticks: they are stopped, and the timer is armed for what comes next.
                (self.tick.idle, self.tick.stopped) = (false, true);
                Act::Exit(reason::WRMSR)
            }
            Next::Halt => Act::Exit(reason::HLT),
        };
        if let Act::Cr3(cr3) = act {
            self.cr3 = cr3;
        }
        let at = if let Act::Exit(_) = act { now } else { self.plan(now) };
        (act, at)
    }

    /// The other half of the page table.
    fn flip(&mut self) -> Act {
        self.user = !self.user;
        Act::Cr3(self.cr3 & !USER_HALF | if self.user { USER_HALF } else { 0 })
    }

    /// Its timer has come: processes want to run.
    fn fire(&mut self, now: i64, pages: &mut Pages) {
        let (met_user, before) = (self.user, self.current);
        let mut woke = false;
        let least = self.tasks.iter().filter(|t| t.ready).map(|t| t.had).min();
        let least = least.map_or(i64::MIN, |least| least - self.us(CREDIT_US));
        for i in 0..self.tasks.len() {
            let task = &mut self.tasks[i];
            if task.ready || task.ended || task.wake > now + self.slack {
                continue;
            }
            (task.ready, woke) = (true, true);
            task.had = task.had.max(least);
            let Process { period_ms, burst_ms, jitter, .. } = task.spec;
            let burst = if period_ms == 0.0 { 1e9 } else { self.rng.near(burst_ms, jitter) * 1e3 };
            task.left = ((burst * self.ticks_a_us).min(1e15) as i64).min(task.until.saturating_sub(now).max(1));
            if task.spec.forks {
                task.page = pages.take();
                task.begins = true;
            }
        }
        self.tick.come_to(now);
        if met_user {
            self.todo.push_back((self.us(INTO_KERNEL_US), Act::Cr3(self.cr3 & !USER_HALF)));
            self.user = false;
        }
        // The handler arms the timer again, and then another process may run.
        self.todo.push_back((self.us(self.timer_us), Act::Exit(reason::WRMSR)));
        if woke || now >= self.slice_end && before.is_some() {
            self.choose(now);
        }
        self.tick.idle = !woke && self.current.is_none() && !self.tick.stopped;
        if self.current.is_none() {
            self.todo.push_back((self.us(self.tick_us), Act::Inside));
        }
        if met_user && self.current == before {
            self.todo.push_back((self.us(0.5), Act::Cr3(self.cr3 | USER_HALF)));
            self.user = true;
        }
    }

    /// The current process waits.
    fn stop(&mut self, now: i64, pages: &mut Pages) {
        let Some(c) = self.current.take() else { return };
        let task = &mut self.tasks[c];
        task.ready = false;
        let Process { period_ms, jitter, .. } = task.spec;
        task.wake = now + (self.rng.near(period_ms, jitter) * 1e3 * self.ticks_a_us) as i64;
        task.ended = now >= task.until;
        if task.spec.forks || task.ended {
            pages.free.push(task.page);
        }
    }

    /// Another process, if one wants to: the one that has had the least.
    fn choose(&mut self, now: i64) {
        let ready = (0..self.tasks.len()).filter(|i| self.tasks[*i].ready);
        let Some(next) = ready.min_by_key(|i| self.tasks[*i].had) else { return };
        self.slice_end = now + self.us(SLICE_US);
        if self.current == Some(next) {
            return;
        }
        self.current = Some(next);
        if self.tick.every > 0 {
            self.tick.stopped = false;
            self.tick.idle = false;
            self.tick.come_to(now);
        }
        let [switch, to_user, in_user, in_kernel] = [SWITCH_US, 2.5, 0.5, 1.0].map(|us| self.us(us));
        let [cpuid, touch] = [CPUID_US, TOUCH_US].map(|us| self.us(us));
        let task = &mut self.tasks[next];
        task.asid = task.asid % 6 + 1;
        self.user = false;
        let cr3 = task.page | task.asid;
        if self.cr3 != cr3 {
            self.todo.push_back((switch, Act::Cr3(cr3)));
        }
        let user = cr3 | USER_HALF;
        if self.flips.is_some() {
            self.user = true;
            self.todo.push_back((to_user, Act::Cr3(user)));
            let calls = std::iter::repeat_n(
                [(in_user, Act::Cr3(cr3)), (in_kernel, Act::Cr3(user))],
                task.spec.syscalls as usize,
            );
            self.todo.extend(calls.flatten());
        }
        let cpuids = if std::mem::take(&mut task.begins) { task.spec.cpuids } else { 0 };
        let touches = if std::mem::take(&mut task.new) { task.spec.touches } else { 0 };
        for (exits, after, why) in [(cpuids, cpuid, reason::CPUID), (touches, touch, reason::EPT_VIOLATION)] {
            self.todo.extend(std::iter::repeat_n((after, Act::Exit(why)), exits as usize));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polling_grows_with_short_halts_and_ends_with_a_long_one() {
        let mut halt = Halt::default();
        let mut after = |halted: i64| {
            halt.since = Some(1000);
            halt.over(1000 + halted, 10, 200);
            halt.poll
        };
        let polls = [50, 50, 30, 150, 150, 199, 199, 199, 500, 500, 199, 5].map(&mut after);
        assert_eq!(polls, [10, 20, 40, 80, 160, 320, 200, 200, 0, 0, 10, 10]);
    }
}
