//! What runs in one vCPU: processes that run and wait, a timer, system calls, exits.
//!
//! The guest knows its own time in the guest only; when it is not there, nothing of it goes on but its timer.

use std::collections::VecDeque;

use crate::pt::GuestClock;
use crate::rng::Rng;
use crate::scenario::Process;

/// Basic exit reasons (SDM, appendix C).
pub(crate) mod reason {
    pub(crate) const EXTERNAL_INTERRUPT: u16 = 1;
    pub(crate) const HLT: u16 = 12;
    pub(crate) const WRMSR: u16 = 32;
    pub(crate) const PREEMPTION_TIMER: u16 = 52;
}

/// The user half of an address space, with KPTI: the other page, and the other PCID.
const USER_HALF: u64 = 0x1800;
/// A guest gives a process so long before another.
const SLICE_US: f64 = 4000.0;

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
    /// Guest time to its next exit.
    to_exit: i64,
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
        specs: &[Process],
        pages: &mut Pages,
        flips: Option<f64>,
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
                Task { spec: spec.clone(), page, asid: 1, ready: false, wake, left: 0, to_exit }
            })
            .collect();
        Guest {
            vm,
            vmcs,
            clock,
            cr3: pages.take() | 1,
            thread: 0,
            jump: None,
            tasks,
            current: None,
            todo: VecDeque::new(),
            user: false,
            flips,
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

    /// The next time that its timer wakes a process; none where all of them run for ever.
    pub(crate) fn timer(&self) -> Option<i64> {
        self.tasks.iter().filter(|t| !t.ready).map(|t| t.wake).min()
    }

    /// Its clock, at an entry.
    pub(crate) fn clock_at(&mut self, now: i64) -> GuestClock {
        if let Some((_, by)) = self.jump.take_if(|(at, _)| now >= *at) {
            self.clock.offset += by;
        }
        self.clock
    }

    /// It is in the guest from `now` on: when it does something.
    pub(crate) fn enter(&mut self, now: i64) -> i64 {
        self.since = now;
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
                if let Some(flips) = self.flips {
                    let after = self.rng.exponential(1e6 / flips.max(1e-3)) * self.ticks_a_us;
                    or(now + (after as i64).max(200), Next::Flip);
                }
                if self.tasks.iter().filter(|t| t.ready).count() > 1 {
                    or(self.slice_end.max(now + 1), Next::Slice);
                }
                if let Some(timer) = self.timer() {
                    or(timer, Next::Timer);
                }
                next
            }
            (None, None) => match self.timer() {
                Some(timer) if timer <= now => (now + self.us(0.2), Next::Timer),
                _ if self.tasks.iter().any(|t| t.ready) => (now + self.us(0.3), Next::Slice),
                _ => (now + self.us(1.5), Next::Halt),
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
                self.fire(now, pages);
                Act::Exit(reason::PREEMPTION_TIMER)
            }
            Next::BurstEnd => {
                self.stop(now, pages);
                self.todo.push_back((self.us(0.8), Act::Exit(reason::WRMSR)));
                self.choose(now);
                Act::Inside
            }
            Next::Exit(reason) => {
                if let Some(c) = self.current {
                    let every = self.tasks[c].spec.exit_every_us;
                    self.tasks[c].to_exit = (self.rng.about(every) * self.ticks_a_us) as i64;
                }
                Act::Exit(reason)
            }
            Next::Flip => {
                self.user = !self.user;
                Act::Cr3(self.cr3 & !USER_HALF | if self.user { USER_HALF } else { 0 })
            }
            Next::Slice => {
                self.choose(now);
                Act::Inside
            }
            Next::Halt => Act::Exit(reason::HLT),
        };
        if let Act::Cr3(cr3) = act {
            self.cr3 = cr3;
        }
        let at = if let Act::Exit(_) = act { now } else { self.plan(now) };
        (act, at)
    }

    /// Its timer has come: processes want to run.
    fn fire(&mut self, now: i64, pages: &mut Pages) {
        for i in 0..self.tasks.len() {
            let task = &mut self.tasks[i];
            if task.ready || task.wake > now {
                continue;
            }
            task.ready = true;
            let burst = if task.spec.period_ms == 0.0 { 1e9 } else { self.rng.about(task.spec.burst_ms) * 1e3 };
            task.left = (burst * self.ticks_a_us).min(1e15) as i64;
            if task.spec.forks {
                task.page = pages.take();
            }
        }
        // The handler arms the timer again, and then another process may run.
        self.todo.push_back((self.us(1.2), Act::Exit(reason::WRMSR)));
        self.choose(now);
    }

    /// The current process waits.
    fn stop(&mut self, now: i64, pages: &mut Pages) {
        let Some(c) = self.current.take() else { return };
        let task = &mut self.tasks[c];
        task.ready = false;
        task.wake = now + (self.rng.about(task.spec.period_ms) * 1e3 * self.ticks_a_us) as i64;
        if task.spec.forks {
            pages.free.push(task.page);
        }
    }

    /// Another process, if one wants to: the next in turn.
    fn choose(&mut self, now: i64) {
        let count = self.tasks.len();
        let from = self.current.map_or(0, |c| c + 1);
        let Some(next) = (0..count).map(|i| (from + i) % count.max(1)).find(|i| self.tasks[*i].ready) else { return };
        self.slice_end = now + self.us(SLICE_US);
        if self.current == Some(next) {
            return;
        }
        self.current = Some(next);
        let task = &mut self.tasks[next];
        task.asid = task.asid % 6 + 1;
        self.user = false;
        let cr3 = task.page | task.asid;
        if self.cr3 != cr3 {
            self.todo.push_back((self.us(1.0), Act::Cr3(cr3)));
        }
    }
}
