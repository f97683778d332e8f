//! Records as the kernel writes them into a ring (Linux `include/uapi/linux/perf_event.h`): header, body, and behind it
//! who, when and where.

use super::super::record::kind;
use super::super::{MISC_SWITCH_OUT, MISC_SWITCH_OUT_PREEMPT};
use super::words;
use crate::Thread;

/// Flags of an AUX record.
pub use super::super::index::aux_flag as aux;

/// Who wrote a record, when, and where: what stands behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct By {
    /// The thread that ran.
    pub thread: Thread,
    /// Nanoseconds of the events' clock. 0: perf itself, of what held before.
    pub ns: u64,
    /// The cpu.
    pub cpu: u32,
    /// The event's id there.
    pub id: u64,
}

impl By {
    /// perf itself, of what held before.
    pub fn perf() -> By {
        By { thread: Thread { pid: 0, tid: 0 }, ns: 0, cpu: 0, id: 0 }
    }

    fn words(&self) -> [u64; 4] {
        [pair(self.thread), self.ns, u64::from(self.cpu), self.id]
    }
}

/// A record: its header and its body.
pub(in super::super) fn record(kind: u32, misc: u16, body: &[u8]) -> Vec<u8> {
    // No body here is near 64 KB.
    let size = (8 + body.len()).min(usize::from(u16::MAX)) as u16;
    [&kind.to_le_bytes()[..], &misc.to_le_bytes(), &size.to_le_bytes(), body].concat()
}

fn pair(thread: Thread) -> u64 {
    u64::from(thread.pid.cast_unsigned()) | u64::from(thread.tid.cast_unsigned()) << 32
}

/// Text, ended by NUL, filled up to eight bytes.
fn text(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize((bytes.len() + 1).next_multiple_of(8), 0);
    bytes
}

fn of_words(kind: u32, misc: u16, body: &[u64], by: &By) -> Vec<u8> {
    record(kind, misc, &words(&[body, &by.words()].concat()))
}

/// PERF_RECORD_AUX: so many bytes of trace since the last one, from that place in the ring's stream.
pub fn aux(at: u64, size: u64, flags: u64, by: &By) -> Vec<u8> {
    of_words(kind::AUX, 0, &[at, size, flags], by)
}

/// PERF_RECORD_ITRACE_START: the trace of a cpu begins.
pub fn itrace_start(by: &By) -> Vec<u8> {
    of_words(kind::ITRACE_START, 0, &[pair(by.thread)], by)
}

/// PERF_RECORD_SWITCH_CPU_WIDE: the cpu goes from the thread of `by` to another. `preempted`: that would run on.
pub fn switch_out(to: Thread, preempted: bool, by: &By) -> Vec<u8> {
    let misc = MISC_SWITCH_OUT | if preempted { MISC_SWITCH_OUT_PREEMPT } else { 0 };
    of_words(kind::SWITCH_CPU_WIDE, misc, &[pair(to)], by)
}

/// PERF_RECORD_SWITCH_CPU_WIDE: the cpu goes to the thread of `by` from another.
pub fn switch_in(from: Thread, by: &By) -> Vec<u8> {
    of_words(kind::SWITCH_CPU_WIDE, 0, &[pair(from)], by)
}

/// PERF_RECORD_LOST: the ring of records was full.
pub fn lost(count: u64, by: &By) -> Vec<u8> {
    of_words(kind::LOST, 0, &[by.id, count], by)
}

/// PERF_RECORD_COMM: what a thread is called; the kernel keeps 15 bytes.
pub fn comm(thread: Thread, name: &str, by: &By) -> Vec<u8> {
    let mut end = name.len().min(15);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    record(kind::COMM, 0, &[&words(&[pair(thread)])[..], &text(&name[..end]), &words(&by.words())].concat())
}

/// PERF_RECORD_FORK: a thread begins.
pub fn fork(thread: Thread, parent: Thread, by: &By) -> Vec<u8> {
    task(kind::FORK, thread, parent, by)
}

/// PERF_RECORD_EXIT: a thread ends.
pub fn exit(thread: Thread, parent: Thread, by: &By) -> Vec<u8> {
    task(kind::EXIT, thread, parent, by)
}

fn task(kind: u32, thread: Thread, parent: Thread, by: &By) -> Vec<u8> {
    // Process ids first, then those of threads.
    let pids = pair(Thread { pid: thread.pid, tid: parent.pid });
    let tids = pair(Thread { pid: thread.tid, tid: parent.tid });
    of_words(kind, 0, &[pids, tids, by.ns], by)
}

/// PERF_RECORD_MMAP2: a process runs code of a file. Where it lies, so long, from where in the file.
pub fn code(thread: Thread, file: &str, (at, len, offset): (u64, u64, u64), by: &By) -> Vec<u8> {
    // Of no device; to be read and run, its own.
    let body = [pair(thread), at, len, offset, 0, 1, 0, 5 | 2 << 32];
    record(kind::MMAP2, MISC_USER, &[&words(&body)[..], &text(file), &words(&by.words())].concat())
}

/// PERF_RECORD_MMAP2 where a linker puts a program.
pub fn program(thread: Thread, file: &str, by: &By) -> Vec<u8> {
    code(thread, file, (0x40_0000, 0x10_0000, 0), by)
}

/// PERF_RECORD_MISC_USER.
const MISC_USER: u16 = 2;

/// PERF_RECORD_MMAP of the kernel itself or of a module, as perf makes it up: where its code is, and how long.
pub fn kernel_code(at: u64, len: u64, name: &str) -> Vec<u8> {
    // perf takes the symbol's address from where the offset in the file would stand.
    let offset = if name.starts_with("[kernel") { at } else { 0 };
    let body = [u64::from(u32::MAX), at, len, offset];
    let by = By::perf().words();
    record(kind::MMAP, MISC_KERNEL, &[&words(&body)[..], &text(name), &words(&by)].concat())
}

/// As most kernels are.
pub fn kernel() -> Vec<u8> {
    kernel_code(0xffff_ffff_8100_0000, 0x100_0000, "[kernel.kallsyms]_text")
}

/// PERF_RECORD_MISC_KERNEL.
const MISC_KERNEL: u16 = 1;
