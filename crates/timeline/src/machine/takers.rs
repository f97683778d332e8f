//! Who had a cpu, as far back as matters to the vCPUs that are off it.

use std::collections::VecDeque;

use havana_rows::{Taker, Time};

/// Of a vCPU that is off for more changes of taker than this, who took the cpu is not told: a row each would be rows
/// without end where many vCPUs are off.
const MOST_TAKERS: usize = 512;

/// Who has a cpu, seen by one who wants it; the thread, where that is known.
pub(super) type Whose = (Option<Taker>, Option<i32>);

/// One list for all vCPUs that are off a cpu: each remembers where it came in.
#[derive(Debug)]
pub(super) struct Takers {
    log: VecDeque<(Time, Whose)>,
    /// Changes before the first in the log.
    first: u64,
    /// The cpu was idle, or not seen, before this change.
    awake: u64,
    /// A vCPU came in that has no taker yet.
    wanted: bool,
}

/// What a vCPU that was off a cpu can be told of it.
pub(super) enum Told<'a> {
    /// The cpu was idle in between, or not seen, or nobody took it.
    Paused,
    /// Too many had it.
    Many,
    /// These, from when: the first from the vCPU's own begin.
    Log(std::collections::vec_deque::Iter<'a, (Time, Whose)>),
}

impl Takers {
    pub(super) fn new() -> Self {
        Takers { log: VecDeque::new(), first: 1, awake: 1, wanted: false }
    }

    /// Where a vCPU comes in that is taken off now.
    pub(super) fn come_in(&mut self) -> u64 {
        self.wanted = true;
        self.first + self.log.len() as u64
    }

    pub(super) fn take(&mut self, at: Time, whose: Whose) {
        if self.wanted || self.log.back().is_some_and(|last| last.1 != whose) {
            self.wanted = false;
            if self.log.len() == MOST_TAKERS {
                self.log.pop_front();
                self.first += 1;
            }
            self.log.push_back((at, whose));
        }
    }

    /// The cpu is idle or not seen: who is off it is no longer known to want it.
    pub(super) fn pause(&mut self) {
        self.first += self.log.len() as u64 + 1;
        self.awake = self.first;
        self.log.clear();
        self.wanted = false;
    }

    /// Who had it since somebody came in.
    pub(super) fn since(&self, came_in: u64) -> Told<'_> {
        let end = self.first + self.log.len() as u64;
        if came_in < self.awake || came_in >= end {
            Told::Paused
        } else if came_in < self.first {
            Told::Many
        } else {
            Told::Log(self.log.range((came_in - self.first) as usize..))
        }
    }
}
