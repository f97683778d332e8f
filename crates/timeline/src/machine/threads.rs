//! What the kernel says of its threads: who is on which cpu, what they are called, and which of them is which vCPU.
//!
//! A vCPU is a thread of its VMM. Which one, the trace tells: the one that was on the cpu when it entered its guest,
//! where the entry's bounds lie inside the thread's time on the cpu. Where no entry is known so well, the one that most
//! often was there.

use havana_rows::{Thread as Row, ThreadKind};
use havana_trace::Thread;
use rustc_hash::FxHashMap;

use super::Id;

/// Of a thread that may yet turn out to be a vCPU, no more turns are kept.
const MOST_TURNS: usize = 64;

/// Entries that must agree where none is sure.
const VOTES: i32 = 24;

/// An entry of which no more is known, ticks, says nothing of threads.
const WIDE: i64 = 1 << 26;

/// Times in a row that a vCPU surely was another thread than was known.
const DOUBTS: u32 = 4;

/// Times that a thread surely was each of its vCPUs, for it to be said that it is several.
const OFTEN: u32 = 16;

/// Why a thread is off its cpu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Preempted,
    Waiting,
    Unknown,
}

/// Where a thread is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    On(Id),
    /// It was on this cpu last; where it came in among those who took it.
    Off(Id, Why, u64),
    /// On a cpu whose trace is not there, or off it.
    Away(Option<Why>),
    Unknown,
}

/// A thread.
#[derive(Debug)]
pub(super) struct Info {
    pub(super) thread: Thread,
    pub(super) run: Run,
    /// The vCPUs that it runs: more than one where a guest is a host of guests.
    /// And how often that was sure.
    pub(super) vcpus: Vec<(Id, u32)>,
    /// Where it was from when; the first are forgotten where there are too many.
    pub(super) turns: Vec<(i64, Run)>,
    pub(super) forgot: bool,
    /// Its first and last switch.
    pub(super) seen: Option<(i64, i64)>,
    /// It has ended, but for its last switch.
    pub(super) ended: bool,
    /// When it began, where that was seen.
    pub(super) born: Option<i64>,
}

/// A process.
#[derive(Debug, Default)]
pub(super) struct ProcessInfo {
    pub(super) name: Option<String>,
    pub(super) program: Option<String>,
    /// Of the kernel's own.
    pub(super) kernel: bool,
    /// The VM whose vCPUs are its threads.
    pub(super) vm: Option<i32>,
    /// The `process_id` of its address space, by most votes.
    pub(super) space: Vote<i32>,
}

/// The value that most of those told were (Boyer and Moore).
#[derive(Debug, Clone, Copy)]
pub(super) struct Vote<T> {
    value: Option<T>,
    count: i32,
}

impl<T> Default for Vote<T> {
    fn default() -> Self {
        Vote { value: None, count: 0 }
    }
}

impl<T: PartialEq + Copy> Vote<T> {
    pub(super) fn cast(&mut self, value: T) {
        if self.value == Some(value) {
            self.count = (self.count + 1).min(1 << 16);
        } else if self.count <= 0 {
            *self = Vote { value: Some(value), count: 1 };
        } else {
            self.count -= 1;
        }
    }

    pub(super) fn winner(&self) -> Option<T> {
        self.value
    }

    /// The winner, where it leads by so many.
    fn leads_by(&self, votes: i32) -> Option<T> {
        self.value.filter(|_| self.count >= votes)
    }
}

/// What a cpu runs, as the kernel says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OnCpu {
    pub(super) thread: Option<Thread>,
    /// Since when it surely is that one.
    pub(super) since: Option<i64>,
    /// An entry of a vCPU that surely was since then: not later than this.
    entered: Option<(Id, i64)>,
    /// It has told already which vCPU it is, or is not.
    told: bool,
    /// The vCPU that it was taken for last.
    voted: Option<Id>,
}

/// All threads.
#[derive(Debug)]
pub(super) struct Threads {
    pub(super) tells_preemption: bool,
    threads: FxHashMap<i32, Info>,
    names: FxHashMap<i32, String>,
    pub(super) processes: FxHashMap<i32, ProcessInfo>,
    pub(super) on: Vec<OnCpu>,
    votes: FxHashMap<Id, Vote<i32>>,
    tid_of: FxHashMap<Id, i32>,
    /// Threads that surely ran a vCPU which is another's, and how often in a row.
    doubts: FxHashMap<Id, (i32, u32)>,
    /// A thread runs several VMCSs: its guest is a host of guests.
    pub(super) nested: bool,
}

impl Threads {
    pub(super) fn new(cpus: usize, tells_preemption: bool) -> Self {
        Threads {
            tells_preemption,
            threads: FxHashMap::default(),
            names: FxHashMap::default(),
            processes: FxHashMap::default(),
            on: vec![OnCpu { since: Some(i64::MIN), ..OnCpu::default() }; cpus],
            votes: FxHashMap::default(),
            tid_of: FxHashMap::default(),
            doubts: FxHashMap::default(),
            nested: false,
        }
    }

    pub(super) fn info(&mut self, thread: Thread) -> &mut Info {
        self.threads.entry(thread.tid).or_insert_with(|| Info {
            thread,
            run: Run::Unknown,
            vcpus: Vec::new(),
            turns: Vec::new(),
            forgot: false,
            seen: None,
            ended: false,
            born: None,
        })
    }

    pub(super) fn get(&self, tid: i32) -> Option<&Info> {
        self.threads.get(&tid)
    }

    pub(super) fn tid_of(&self, vcpu: Id) -> Option<i32> {
        self.tid_of.get(&vcpu).copied()
    }

    pub(super) fn name(&self, tid: i32) -> Option<&str> {
        self.names.get(&tid).map(String::as_str)
    }

    pub(super) fn named(&mut self, thread: Thread, name: String) {
        if thread.pid == thread.tid {
            self.processes.entry(thread.pid).or_default().name = Some(name.clone());
        }
        self.names.insert(thread.tid, name);
    }

    /// What a process is called: its main thread, else the program in it.
    pub(super) fn process_name(&self, pid: i32) -> Option<String> {
        let process = self.processes.get(&pid)?;
        let program = || Some(process.program.as_ref()?.rsplit('/').next()?.to_string());
        process.name.clone().or_else(program)
    }

    /// A thread ends: its row, if it was on a cpu, and the vCPUs that it was. `None` where it has still to leave its cpu.
    pub(super) fn ended(&mut self, thread: Thread) -> Option<(Option<Row>, Vec<Id>)> {
        if let Some(info) = self.threads.get_mut(&thread.tid) {
            info.ended = true;
            if let Run::On(cpu) = info.run
                && self.on[cpu].thread == Some(thread)
            {
                return None;
            }
        }
        let info = self.threads.remove(&thread.tid);
        let row = info.as_ref().and_then(|info| self.row(info));
        let vcpus: Vec<Id> = info.into_iter().flat_map(|info| info.vcpus).map(|(vcpu, _)| vcpu).collect();
        vcpus.iter().for_each(|vcpu| {
            self.tid_of.remove(vcpu);
        });
        if thread.pid != thread.tid {
            self.names.remove(&thread.tid);
        }
        Some((row, vcpus))
    }

    /// The rows of those that have not ended.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.threads.values().filter_map(|info| self.row(info)).collect();
        rows.sort_by_key(|row| (row.first_tsc, row.tid));
        rows
    }

    /// `None` for a thread that was never on a cpu.
    fn row(&self, info: &Info) -> Option<Row> {
        let Thread { pid, tid } = info.thread;
        let (first_tsc, last_tsc) = info.seen?;
        let process = self.processes.get(&pid);
        let kind = match process {
            _ if pid == 0 => ThreadKind::Idle,
            Some(ProcessInfo { kernel: true, .. }) => ThreadKind::Kernel,
            _ => ThreadKind::User,
        };
        let name = self.names.get(&tid).cloned().or_else(|| self.process_name(pid));
        Some(Row {
            tid,
            pid,
            kind,
            first_tsc,
            last_tsc,
            name,
            vm_id: process.and_then(|p| p.vm),
            vcpu_id: info.vcpus.iter().max_by_key(|(_, times)| *times).map(|(v, _)| super::id(*v)),
        })
    }

    /// A thread begins. What was known of one of its number was of another.
    pub(super) fn begin(&mut self, thread: Thread, at: i64) {
        if at == i64::MIN {
            return;
        }
        if self.threads.get(&thread.tid).is_some_and(|info| info.vcpus.is_empty()) {
            self.threads.remove(&thread.tid);
        }
        self.info(thread).born = Some(at);
    }

    pub(super) fn forget_process(&mut self, pid: i32) {
        self.processes.remove(&pid);
        self.names.remove(&pid);
    }

    /// A thread is somewhere else from now on.
    pub(super) fn turn(&mut self, thread: Thread, at: i64, run: Run) {
        let kernel = thread.pid == 0 || self.processes.get(&thread.pid).is_some_and(|p| p.kernel);
        let info = self.info(thread);
        if info.vcpus.is_empty() && !kernel {
            if info.turns.len() == MOST_TURNS {
                info.turns.drain(..MOST_TURNS / 2);
                info.forgot = true;
            }
            info.turns.push((at, run));
        }
        info.run = run;
        info.seen = Some((info.seen.map_or(at, |s| s.0), at));
    }

    /// The vCPUs whose threads are off their cpus, as far as is known.
    pub(super) fn off(&self) -> Vec<Thread> {
        let off = self.tid_of.values().filter_map(|tid| self.threads.get(tid));
        off.filter(|info| matches!(info.run, Run::Off(..))).map(|info| info.thread).collect()
    }

    /// The cpu runs another thread from now on; `None` where nothing says which.
    pub(super) fn put(&mut self, cpu: Id, thread: Option<Thread>, at: Option<i64>) {
        self.on[cpu] = OnCpu { thread, since: at, entered: None, told: false, voted: None };
    }

    /// A vCPU entered its guest on a cpu between these moments: which thread it is, if that is known now.
    pub(super) fn entered(&mut self, cpu: Id, vcpu: Id, lo: i64, hi: i64) {
        let on = &mut self.on[cpu];
        if on.since.is_some_and(|since| since <= lo) {
            on.entered = Some((vcpu, hi));
        }
        if self.tid_of.contains_key(&vcpu) {
            return;
        }
        // What may be at any time is no witness.
        if hi.saturating_sub(lo) > WIDE {
            return;
        }
        // Once a stay: where a gap is wide, guesses of many entries fall on one moment.
        if on.voted.replace(vcpu) == Some(vcpu) {
            return;
        }
        if let Some(thread) = on.thread.filter(|t| t.pid != 0) {
            self.votes.entry(vcpu).or_default().cast(thread.tid);
        }
    }

    /// Up to `at` this thread was on this cpu: the vCPU that it surely is, if that is new. What contradicts a thread that
    /// is known must be said several times in a row: a file may be wrong in places.
    pub(super) fn tells(&mut self, cpu: Id, thread: Thread, at: i64) -> Option<Id> {
        let (vcpu, _) = self.on[cpu].entered.filter(|(_, hi)| *hi <= at && thread.pid != 0)?;
        if std::mem::replace(&mut self.on[cpu].told, true) && self.tid_of.contains_key(&vcpu) {
            // Once for each time that it was on the cpu.
            return None;
        }
        match self.tid_of.get(&vcpu) {
            None => Some(vcpu),
            Some(&tid) if tid == thread.tid => {
                self.doubts.remove(&vcpu);
                self.confirmed(thread, vcpu);
                None
            }
            Some(_) => {
                let doubt = self.doubts.entry(vcpu).or_insert((thread.tid, 0));
                *doubt = if doubt.0 == thread.tid { (doubt.0, doubt.1 + 1) } else { (thread.tid, 1) };
                (doubt.1 >= DOUBTS).then_some(vcpu)
            }
        }
    }

    /// A thread surely ran this vCPU, once more.
    fn confirmed(&mut self, thread: Thread, vcpu: Id) {
        let Some(info) = self.threads.get_mut(&thread.tid) else { return };
        if let Some((_, times)) = info.vcpus.iter_mut().find(|(v, _)| *v == vcpu) {
            *times = times.saturating_add(1);
        }
        self.nested |= info.vcpus.iter().filter(|(_, times)| *times >= OFTEN).count() > 1;
    }

    /// The thread of a vCPU by most votes, where it has none and enough agree.
    pub(super) fn voted(&self, vcpu: Id) -> Option<i32> {
        if self.tid_of.contains_key(&vcpu) {
            return None;
        }
        // A thread is one vCPU.
        let free = |tid: &i32| self.threads.get(tid).is_none_or(|info| info.vcpus.is_empty());
        self.votes.get(&vcpu)?.leads_by(VOTES).filter(free)
    }

    /// This thread is that vCPU.
    pub(super) fn bind(&mut self, thread: Thread, vcpu: Id) {
        self.votes.remove(&vcpu);
        if let Some(old) = self.tid_of.insert(vcpu, thread.tid)
            && let Some(info) = self.threads.get_mut(&old)
        {
            info.vcpus.retain(|(v, _)| *v != vcpu);
        }
        self.doubts.remove(&vcpu);
        let info = self.info(thread);
        if !info.vcpus.iter().any(|(v, _)| *v == vcpu) {
            info.vcpus.push((vcpu, 0));
        }
    }
}
