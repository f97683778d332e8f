//! The second pass: what the kernel said, in the order of time.
//!
//! Each cpu's records are in order; those of all cpus are written in rounds, and after a round's end nothing comes that
//! is older than the newest of the round before (perf's `util/ordered-events.c`). So two rounds are held, of which only
//! what is wanted.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use havana_map::Map;

use super::bytes::{i32_at, text, u64_at};
use super::clock::TimeConv;
use super::record::{Record as Raw, Records, kind};
use super::sample_id::SampleIds;
use super::{MISC_SWITCH_OUT, MISC_SWITCH_OUT_PREEMPT};
use crate::sideband::{Record, Said, Thread};

/// No more records are held to be sorted.
const MOST_HELD: usize = 1 << 19;

/// Memory is given back each time so many bytes were read.
const RELEASE: u64 = 16 << 20;

/// No file's name is longer to us.
const LONGEST_NAME: usize = 256;

/// Where the events of a perf.data are.
#[derive(Debug)]
pub(crate) struct Events {
    map: Arc<Map>,
    range: (u64, u64),
    ids: SampleIds,
    conv: Option<TimeConv>,
    /// Switches between threads are told, and of which cpu.
    pub(crate) switches: bool,
}

impl Events {
    pub(super) fn new(
        map: Arc<Map>,
        range: (u64, u64),
        ids: SampleIds,
        conv: Option<TimeConv>,
        switches: bool,
    ) -> Self {
        Events { map, range, ids, conv, switches: switches && conv.is_some() }
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = Record> + '_ {
        Sorted {
            events: self,
            records: Some(Records::new(&self.map, self.range.0..self.range.1)),
            released: self.range.0,
            held: Held::default(),
        }
    }

    /// What a record says, if anything that is wanted.
    fn read(&self, raw: &Raw<'_>) -> Option<Record> {
        let body = raw.body;
        let thread = |at: usize| Some(Thread { pid: i32_at(body, at)?, tid: i32_at(body, at + 4)? });
        let timed = matches!(raw.kind, kind::SWITCH | kind::SWITCH_CPU_WIDE | kind::LOST);
        if timed && !self.switches {
            return None;
        }
        if raw.kind >= kind::USER {
            return None;
        }
        let sample = self.ids.read(body);
        let me = sample.pid.zip(sample.tid).map(|(pid, tid)| Thread { pid, tid });
        let what = match raw.kind {
            kind::SWITCH | kind::SWITCH_CPU_WIDE if raw.misc & MISC_SWITCH_OUT != 0 => {
                Said::Out { thread: me?, preempted: raw.misc & MISC_SWITCH_OUT_PREEMPT != 0 }
            }
            kind::SWITCH | kind::SWITCH_CPU_WIDE => Said::In(me?),
            kind::COMM => Said::Name(thread(0)?, text(body.get(8..)?.get(..body.len().min(8 + LONGEST_NAME) - 8)?)),
            kind::MMAP2 => {
                let file = text(&body.get(64..)?[..body.len().min(64 + LONGEST_NAME) - 64]);
                if !file.starts_with('/') || file.starts_with("//") {
                    return None;
                }
                Said::Program { pid: i32_at(body, 0)?, file }
            }
            kind::FORK => {
                Said::Fork { thread: Thread { pid: i32_at(body, 0)?, tid: i32_at(body, 8)? }, parent: i32_at(body, 4)? }
            }
            kind::EXIT => Said::Exit(Thread { pid: i32_at(body, 0)?, tid: i32_at(body, 8)? }),
            kind::LOST => {
                u64_at(body, 8)?;
                Said::Lost
            }
            _ => return None,
        };
        let time = sample.time.filter(|t| *t > 0);
        // What has no time is what perf found when it began.
        let tsc = match (time, self.conv) {
            (Some(ns), Some(conv)) => conv.tsc(ns),
            _ if timed => return None,
            _ => i64::MIN,
        };
        Some(Record { tsc, cpu: sample.cpu, what })
    }
}

/// A record and when it came, for those of one time.
#[derive(Debug, PartialEq, Eq)]
struct Waiting(i64, u64, Record);

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Records to be sorted.
#[derive(Debug, Default)]
struct Held {
    heap: BinaryHeap<Reverse<Waiting>>,
    count: u64,
    newest: i64,
    /// When the last record of a cpu was.
    last: HashMap<u32, i64>,
    /// The newest when the last round ended.
    last_round: i64,
    /// Nothing older than this will come.
    ripe: i64,
    ended: bool,
}

impl Held {
    fn push(&mut self, mut record: Record) {
        // Records are lost from the last one that was not: LOST comes when there is room again.
        if let Some(cpu) = record.cpu {
            let last = self.last.insert(cpu, record.tsc);
            if record.what == Said::Lost {
                record.tsc = last.unwrap_or(i64::MIN + 1);
            }
        }
        self.newest = self.newest.max(record.tsc);
        self.count += 1;
        self.heap.push(Reverse(Waiting(record.tsc, self.count, record)));
    }

    fn pop(&mut self) -> Option<Record> {
        let Reverse(Waiting(at, ..)) = self.heap.peek()?;
        if *at > self.ripe && !self.ended && self.heap.len() < MOST_HELD {
            return None;
        }
        self.heap.pop().map(|Reverse(Waiting(_, _, record))| record)
    }
}

struct Sorted<'a> {
    events: &'a Events,
    records: Option<Records<'a>>,
    released: u64,
    held: Held,
}

impl Iterator for Sorted<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            if let Some(record) = self.held.pop() {
                return Some(record);
            }
            let records = self.records.as_mut()?;
            let (events, held) = (self.events, &mut self.held);
            let mut round = false;
            let more = records.step(&mut |raw| {
                round |= raw.kind == kind::FINISHED_ROUND;
                if let Some(record) = events.read(&raw) {
                    held.push(record);
                }
            });
            if round {
                self.held.ripe = self.held.ripe.max(self.held.last_round);
                self.held.last_round = self.held.newest;
            }
            let at = records.offset();
            if at >= self.released + RELEASE {
                self.events.map.release(self.released as usize..at as usize);
                self.released = at;
            }
            if !matches!(more, Ok(true)) {
                self.records = None;
                self.held.ended = true;
                if self.held.heap.is_empty() {
                    return None;
                }
            }
        }
    }
}
