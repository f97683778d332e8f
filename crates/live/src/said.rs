//! What the kernel said of a stretch of time, and what held before: names of threads, who was on which cpu.
//!
//! Records come in nearly the order of time; those of the stretch are kept as they are, older ones as what is left of
//! them. So memory is that of a stretch, and of the threads that live.

use std::collections::{BTreeMap, VecDeque};

use havana_trace::{Record, Said, Thread};

/// No more records are kept: of older ones only what is left of them.
const MOST: usize = 1 << 21;

/// A thread that lives.
#[derive(Debug, Clone)]
struct Alive {
    thread: Thread,
    parent: Option<i32>,
    name: Option<String>,
}

/// What is left of records: what holds after them.
#[derive(Debug, Default)]
struct Standing {
    threads: BTreeMap<i32, Alive>,
    /// The file of each process's code.
    programs: BTreeMap<i32, String>,
    /// The last switch to a thread, a cpu each; after a loss nothing is known.
    on: BTreeMap<u32, Record>,
}

impl Standing {
    fn alive(&mut self, thread: Thread) -> &mut Alive {
        self.threads.entry(thread.tid).or_insert(Alive { thread, parent: None, name: None })
    }

    fn hear(&mut self, record: Record) {
        match &record.what {
            Said::Name(thread, name) => self.alive(*thread).name = Some(name.clone()),
            Said::Fork { thread, parent } => {
                let alive = Alive { thread: *thread, parent: Some(*parent), name: None };
                self.threads.insert(thread.tid, alive);
            }
            Said::Program { pid, file } => {
                self.programs.entry(*pid).or_insert_with(|| file.clone());
            }
            Said::Exit(thread) => {
                self.threads.remove(&thread.tid);
                if thread.pid == thread.tid {
                    self.programs.remove(&thread.pid);
                }
            }
            Said::In(_) => {
                if let Some(cpu) = record.cpu {
                    self.on.insert(cpu, record);
                }
            }
            Said::Out { .. } => {}
            Said::Lost => match record.cpu {
                Some(cpu) => {
                    self.on.remove(&cpu);
                }
                None => self.on.clear(),
            },
        }
    }

    /// As records: of no time, but for the switches.
    fn records(&self) -> Vec<Record> {
        let before = |what| Record { tsc: i64::MIN, cpu: None, what };
        let mut records = Vec::new();
        for Alive { thread, parent, name } in self.threads.values() {
            records.extend(parent.map(|parent| before(Said::Fork { thread: *thread, parent })));
            records.extend(name.clone().map(|name| before(Said::Name(*thread, name))));
        }
        records.extend(self.programs.iter().map(|(pid, file)| before(Said::Program { pid: *pid, file: file.clone() })));
        let mut on: Vec<&Record> = self.on.values().collect();
        on.sort_by_key(|record| record.tsc);
        records.extend(on.into_iter().cloned());
        records
    }
}

/// The kernel's records of a stretch of time.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    standing: Standing,
    records: VecDeque<Record>,
}

impl Heard {
    /// One more. It may be somewhat older than the newest.
    pub(crate) fn hear(&mut self, record: Record) {
        let later = self.records.iter().rev().take_while(|r| r.tsc > record.tsc).count();
        self.records.insert(self.records.len() - later, record);
        if self.records.len() > MOST {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(first) = self.records.pop_front() {
            self.standing.hear(first);
        }
    }

    /// The newest record's time.
    pub(crate) fn newest(&self) -> Option<i64> {
        self.records.back().map(|record| record.tsc)
    }

    /// Nobody will ask for what was before `tsc`.
    pub(crate) fn forget(&mut self, tsc: i64) {
        while self.records.front().is_some_and(|first| first.tsc < tsc) {
            self.forget_first();
        }
    }

    /// What held before, and the records up to `tsc`.
    pub(crate) fn until(&self, tsc: i64) -> Vec<Record> {
        let mut records = self.standing.records();
        records.extend(self.records.iter().take_while(|record| record.tsc <= tsc).cloned());
        records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Thread = Thread { pid: 7, tid: 7 };
    const B: Thread = Thread { pid: 7, tid: 8 };

    fn at(tsc: i64, cpu: u32, what: Said) -> Record {
        Record { tsc, cpu: Some(cpu), what }
    }

    fn heard() -> Heard {
        let mut heard = Heard::default();
        let before = |what| Record { tsc: i64::MIN, cpu: None, what };
        heard.hear(before(Said::Name(A, "qemu".into())));
        heard.hear(before(Said::Program { pid: 7, file: "/usr/bin/qemu".into() }));
        heard.hear(before(Said::Program { pid: 7, file: "/lib/libc.so".into() }));
        heard.hear(at(10, 0, Said::In(A)));
        heard.hear(at(30, 1, Said::In(B)));
        // Of another cpu's ring, which was read later.
        heard.hear(at(20, 0, Said::Fork { thread: B, parent: 7 }));
        heard.hear(at(40, 0, Said::Out { thread: A, preempted: true }));
        heard.hear(at(50, 0, Said::Exit(B)));
        heard
    }

    #[test]
    fn what_is_forgotten_leaves_what_holds() {
        let mut heard = heard();
        assert_eq!(
            heard.until(30).iter().map(|r| r.tsc).collect::<Vec<_>>(),
            [i64::MIN, i64::MIN, i64::MIN, 10, 20, 30]
        );
        heard.forget(35);
        let said: Vec<Said> = heard.until(45).into_iter().map(|r| r.what).collect();
        let expected = [
            Said::Name(A, "qemu".into()),
            Said::Fork { thread: B, parent: 7 },
            Said::Program { pid: 7, file: "/usr/bin/qemu".into() },
            Said::In(A),
            Said::In(B),
            Said::Out { thread: A, preempted: true },
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn who_has_ended_is_forgotten() {
        let mut heard = heard();
        heard.hear(at(60, 0, Said::Exit(A)));
        heard.hear(at(70, 1, Said::Lost));
        heard.forget(80);
        assert_eq!(heard.until(80).into_iter().map(|r| r.what).collect::<Vec<_>>(), [Said::In(A)]);
        assert_eq!(heard.newest(), None);
    }
}
