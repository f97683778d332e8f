//! What the kernel said beside the trace, and what follows from it: which thread a vCPU is, who took a cpu, what
//! processes and VMs are called.

use havana_rows::{Sink, Taker, TakerKind, Time};
use havana_trace::{Record, Said, Thread};

use super::takers::Whose;
use super::threads::{ProcessInfo, Run, Threads, Why};
use super::vcpus::History;
use super::{Id, Machine, Mode, id};
use crate::rule::{Rule, holds};

/// The kernel's thread that makes its other threads.
const KTHREADD: i32 = 2;

impl Machine {
    /// The kernel's records come too: from now on states are as it knows them.
    pub(crate) fn listen(&mut self, tells_preemption: bool, all_cpus: bool, resolution: i64) {
        self.all_cpus = all_cpus;
        self.resolution = resolution;
        self.threads = Some(Threads::new(self.cpus.len(), tells_preemption));
    }

    /// A moment that the kernel's clock says, which counts nanoseconds.
    pub(super) fn when(&self, at: i64) -> Time {
        Time { tsc: at, lo: at, hi: at.saturating_add(self.resolution) }
    }

    /// One of its records. They come in the order of time, among the events.
    pub(crate) fn said<S: Sink>(&mut self, record: Record, sink: &mut S) -> Result<(), S::Error> {
        let Some(threads) = &mut self.threads else { return Ok(()) };
        let cpu = record.cpu.and_then(|n| self.cpu_numbers.iter().position(|c| *c == n as i32));
        match record.what {
            Said::Name(thread, name) => threads.named(thread, name),
            Said::Program { pid, file } => {
                threads.processes.entry(pid).or_default().program.get_or_insert(file);
            }
            Said::Fork { thread, parent } => {
                threads.forked(thread, parent);
                threads.begin(thread, record.tsc);
            }
            Said::Exit(thread) => return self.thread_ends(thread, record.tsc, sink),
            Said::In(thread) => match cpu {
                Some(c) => return self.comes(c, thread, record.tsc, sink),
                // Of a cpu whose trace is not there.
                None => return self.thread_turns(thread, Run::Away(None), record.tsc, sink),
            },
            Said::Out { thread, preempted } => match cpu {
                Some(c) => return self.goes(c, thread, preempted, record.tsc, sink),
                None => {
                    let why = threads.why(preempted);
                    return self.thread_turns(thread, Run::Away(Some(why)), record.tsc, sink);
                }
            },
            Said::Lost => {
                // Who was on that cpu may have left it, and who was off any may have come.
                let mut unknown = threads.off();
                if let Some(c) = cpu {
                    unknown.extend(threads.on[c].thread);
                    threads.put(c, None, None);
                    self.cpu_has(c, None, record.tsc, sink)?;
                }
                for thread in unknown {
                    self.thread_turns(thread, Run::Unknown, record.tsc, sink)?;
                }
            }
        }
        Ok(())
    }

    /// A thread ends. A process that gave a row its name is kept.
    fn thread_ends<S: Sink>(&mut self, thread: Thread, at: i64, sink: &mut S) -> Result<(), S::Error> {
        let Some(threads) = &mut self.threads else { return Ok(()) };
        let names_of: Vec<(Id, i32, Option<String>)> = threads
            .get(thread.tid)
            .into_iter()
            .flat_map(|info| info.vcpus.iter())
            .map(|(v, _)| (*v, thread.tid, threads.name(thread.tid).map(str::to_owned)))
            .collect();
        let Some((row, vcpus)) = threads.ended(thread) else { return Ok(()) };
        for (v, tid, name) in names_of {
            self.vcpus[v].thread = Some((tid, name));
        }
        for v in vcpus {
            self.gone(v, self.when(at), sink)?;
        }
        let Some(threads) = &mut self.threads else { return Ok(()) };
        let names = |process: &ProcessInfo| {
            let owner = |space: i32| self.owners.get(&usize::try_from(space).ok()?)?.winner();
            process.vm.is_some() || process.space.winner().and_then(owner) == Some(thread.pid)
        };
        if thread.pid == thread.tid && !threads.processes.get(&thread.pid).is_some_and(names) {
            threads.forget_process(thread.pid);
        }
        row.map_or(Ok(()), |row| sink.thread(row))
    }

    /// The cpu runs this thread from here on.
    fn comes<S: Sink>(&mut self, c: Id, thread: Thread, at: i64, sink: &mut S) -> Result<(), S::Error> {
        let Some(threads) = &mut self.threads else { return Ok(()) };
        let missed = threads.on[c].thread.filter(|t| *t != thread);
        if let Run::On(before) = threads.info(thread).run
            && before != c
            && threads.on[before].thread == Some(thread)
        {
            threads.put(before, None, None);
        }
        threads.put(c, Some(thread), Some(at));
        let whose = self.whose(thread);
        if let Some(missed) = missed {
            let came_in = self.cpus[c].takers.come_in();
            self.thread_turns(missed, Run::Off(c, Why::Unknown, came_in), at, sink)?;
        }
        let when = self.when(at);
        let cpu = &mut self.cpus[c];
        if cpu.mode == Mode::Idle(false) && thread.pid != 0 && at > cpu.since.hi {
            cpu.ran.get_or_insert(at);
        }
        cpu.takers.take(when, whose);
        self.thread_turns(thread, Run::On(c), at, sink)?;
        self.cpu_has(c, Some(thread.tid), at, sink)
    }

    /// And up to here.
    fn goes<S: Sink>(&mut self, c: Id, thread: Thread, preempted: bool, at: i64, sink: &mut S) -> Result<(), S::Error> {
        let Some(threads) = &mut self.threads else { return Ok(()) };
        // A thread that has ended has no number any more when it leaves its cpu.
        let thread = match (thread.tid, threads.on[c].thread) {
            (..=-1, Some(known)) => known,
            (..=-1, None) => return Ok(()),
            _ => thread,
        };
        let why = threads.why(preempted);
        let missed = threads.on[c].thread.filter(|t| *t != thread);
        let is = if missed.is_none() { threads.tells(c, thread, at) } else { None };
        if let Some(missed) = missed {
            let came_in = self.cpus[c].takers.come_in();
            self.thread_turns(missed, Run::Off(c, Why::Unknown, came_in), at, sink)?;
        }
        if let Some(v) = is {
            self.bind(v, thread, at, sink)?;
        }
        self.vote_space(c, thread, at);
        let came_in = self.cpus[c].takers.come_in();
        self.thread_turns(thread, Run::Off(c, why, came_in), at, sink)?;
        let Some(threads) = &mut self.threads else { return Ok(()) };
        threads.put(c, None, Some(at));
        if threads.info(thread).ended { self.thread_ends(thread, at, sink) } else { Ok(()) }
    }

    /// A process's thread leaves a cpu at `at`: the address space there is its own, where that was surely loaded before,
    /// and the thread was there for so long that no load of another is mistaken for it.
    fn vote_space(&mut self, c: Id, thread: Thread, at: i64) {
        let (Some(threads), Some(cr3)) = (&mut self.threads, self.cpus[c].host_cr3) else { return };
        let loaded = self.cpus[c].host_at;
        let since = threads.on[c].since.unwrap_or(i64::MAX);
        if loaded.hi > at || at.saturating_sub(since) < 2 * (loaded.hi - loaded.lo) {
            return;
        }
        let process = threads.processes.entry(thread.pid).or_default();
        if thread.pid == 0 || process.kernel || matches!(self.cpus[c].mode, Mode::Lost | Mode::Unknown | Mode::Before) {
            return;
        }
        if let Some(&space) = self.process_of.get(&(super::OF_HOST, crate::walk::space_of(cr3))) {
            process.space.cast(id(space));
            self.owners.entry(space).or_default().cast(thread.pid);
        }
    }

    fn thread_turns<S: Sink>(&mut self, thread: Thread, run: Run, at: i64, sink: &mut S) -> Result<(), S::Error> {
        let Some(threads) = &mut self.threads else { return Ok(()) };
        threads.turn(thread, at, run);
        let vcpus = threads.info(thread).vcpus.clone();
        vcpus.into_iter().try_for_each(|(v, _)| self.watch(v, self.when(at), |w| w.run = run, sink))
    }

    /// A vCPU entered its guest, within these bounds; it left it again, or is about to be seen to, at `at`.
    pub(super) fn bind_if_sure<S: Sink>(&mut self, c: Id, v: Id, at: Time, sink: &mut S) -> Result<(), S::Error> {
        let Some(threads) = &mut self.threads else { return Ok(()) };
        let Some(thread) = threads.on[c].thread else { return Ok(()) };
        if threads.tells(c, thread, at.tsc) == Some(v) {
            return self.bind(v, thread, at.tsc, sink);
        }
        let voted = threads.voted(v).and_then(|tid| Some(threads.get(tid)?.thread));
        voted.map_or(Ok(()), |thread| self.bind(v, thread, at.tsc, sink))
    }

    /// This thread is that vCPU.
    fn bind<S: Sink>(&mut self, v: Id, thread: Thread, at: i64, sink: &mut S) -> Result<(), S::Error> {
        let Some(threads) = &mut self.threads else { return Ok(()) };
        let vm = self.vcpus[v].vm;
        threads.bind(thread, v);
        threads.processes.entry(thread.pid).or_default().vm = Some(id(vm));
        let info = threads.info(thread);
        let (run, forgot) = (info.run, info.forgot);
        let turns = std::mem::take(&mut info.turns);
        let born = info.born;
        self.vms[vm].pid.get_or_insert(thread.pid);
        let history = History { turns: &turns, forgot, born };
        self.watch_from(v, self.when(at), run, history, sink)
    }

    /// Who has a cpu that runs this thread.
    fn whose(&self, thread: Thread) -> Whose {
        let tid = Some(thread.tid);
        let Some(threads) = self.threads.as_ref().filter(|_| thread.pid != 0) else { return (None, tid) };
        let process = threads.processes.get(&thread.pid);
        let vm = |pid: i32| threads.processes.get(&pid)?.vm;
        // The kernel's threads that work for one VM have its process in their names.
        let serves = || {
            let name = threads.name(thread.tid)?;
            let pid = name.strip_prefix("vhost-").or_else(|| name.strip_prefix("kvm-pit/"))?;
            vm(pid.split('-').next()?.parse().ok()?)
        };
        let taker = match process {
            Some(process) if process.kernel => match serves() {
                Some(vm) => Taker { kind: TakerKind::Vm, id: Some(vm) },
                None => Taker { kind: TakerKind::Host, id: None },
            },
            _ => match vm(thread.pid) {
                Some(vm) => Taker { kind: TakerKind::Vm, id: Some(vm) },
                None => Taker { kind: TakerKind::Host, id: process.and_then(|p| p.space.winner()) },
            },
        };
        (Some(taker), tid)
    }

    /// Who it was, as far as that is known by now: a thread may have turned out to be a VM's since.
    pub(super) fn known_by_now(&self, whose: Whose) -> Whose {
        let thread = |tid: i32| Some(self.threads.as_ref()?.get(tid)?.thread);
        match whose {
            (Some(Taker { kind: TakerKind::Host, id: None }), Some(tid)) => {
                thread(tid).map_or(whose, |thread| self.whose(thread))
            }
            _ => whose,
        }
    }

    /// The cpu's row is another thread's from here on.
    fn cpu_has<S: Sink>(&mut self, c: Id, tid: Option<i32>, at: i64, sink: &mut S) -> Result<(), S::Error> {
        let cpu = &self.cpus[c];
        let in_root = matches!(cpu.mode, Mode::Host(_) | Mode::Hypervisor(_));
        if cpu.tid != tid && in_root && at > cpu.since.tsc {
            let at = self.when(at);
            self.close_row(c, at, sink)?;
            self.cpus[c].since = at;
        }
        self.cpus[c].tid = tid;
        Ok(())
    }
}

/// N of a vCPU's thread: `CPU N/KVM` (QEMU), `fc_vcpu N` (Firecracker), `vcpuN` (Cloud Hypervisor, crosvm).
pub(super) fn index_of(name: &str) -> Option<i32> {
    let digits = match name.strip_prefix("CPU ") {
        Some(rest) => rest.split('/').next()?,
        None => {
            let at = name.rfind("vcpu")? + "vcpu".len();
            name[at..].trim_start_matches([' ', '_', '-'])
        }
    };
    digits.parse().ok()
}

/// The VM's name in that of a vCPU's thread, where it has one: `NAME/vcpuN`.
pub(super) fn vm_in(name: &str) -> Option<&str> {
    name.split_once("/vcpu").map(|(vm, _)| vm).filter(|vm| !vm.is_empty())
}

impl Threads {
    /// Why a thread leaves its cpu.
    fn why(&self, preempted: bool) -> Why {
        match preempted {
            _ if !(self.tells_preemption && holds(Rule::SwitchTells)) => Why::Unknown,
            true => Why::Preempted,
            false => Why::Waiting,
        }
    }

    fn forked(&mut self, thread: Thread, parent: i32) {
        if thread.pid == parent {
            return;
        }
        let name = self.processes.get(&parent).and_then(|p| p.name.clone());
        let kernel = parent == KTHREADD || thread.pid == KTHREADD;
        let process = self.processes.entry(thread.pid).or_default();
        process.kernel |= kernel;
        process.name = process.name.take().or(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_vcpu_threads() {
        let names = ["CPU 3/KVM", "fc_vcpu 0", "vcpu12", "crosvm_vcpu1", "vma/vcpu0", "qemu-system-x86", "vcpu"];
        assert_eq!(names.map(index_of), [Some(3), Some(0), Some(12), Some(1), Some(0), None, None]);
        assert_eq!(names.map(vm_in), [None, None, None, None, Some("vma"), None, None]);
    }
}
