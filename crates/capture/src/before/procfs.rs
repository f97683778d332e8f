//! Processes of the host.

use std::fs;
use std::path::PathBuf;

use crate::Host;

/// A process.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    dir: PathBuf,
}

fn numbers(dir: PathBuf) -> impl Iterator<Item = i32> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

impl Process {
    /// All of a host.
    pub fn all(host: &Host) -> impl Iterator<Item = Process> {
        let proc = host.path("/proc");
        numbers(proc.clone()).map(move |pid| Process { pid, dir: proc.join(pid.to_string()) })
    }

    /// Its threads' numbers.
    pub fn thread_ids(&self) -> Vec<i32> {
        let mut ids: Vec<i32> = numbers(self.dir.join("task")).collect();
        ids.sort_unstable();
        ids
    }

    /// Its threads: number and name.
    pub fn threads(&self) -> Vec<(i32, String)> {
        self.thread_ids().into_iter().filter_map(|tid| Some((tid, self.name_of(tid)?))).collect()
    }

    /// The name of its first thread.
    pub fn name(&self) -> Option<String> {
        self.name_of(self.pid)
    }

    fn name_of(&self, tid: i32) -> Option<String> {
        let name = fs::read_to_string(self.dir.join("task").join(tid.to_string()).join("comm")).ok()?;
        Some(name.trim_end_matches('\n').to_string())
    }

    /// Its command line, a word an item; empty for the kernel's own.
    pub fn command(&self) -> Vec<String> {
        let bytes = fs::read(self.dir.join("cmdline")).unwrap_or_default();
        let words = bytes.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned());
        let mut words: Vec<String> = words.collect();
        while words.last().is_some_and(String::is_empty) {
            words.pop();
        }
        words
    }

    /// The process that made it.
    pub fn parent(&self) -> i32 {
        // The name stands in brackets, and may hold anything.
        let stat = fs::read_to_string(self.dir.join("stat")).unwrap_or_default();
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        rest.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
    }

    /// Its program's file.
    pub fn program(&self) -> Option<PathBuf> {
        fs::read_link(self.dir.join("exe")).ok()
    }

    /// Where code of its program lies: begin, end, offset in the file.
    pub fn code(&self, program: &str) -> Option<(u64, u64, u64)> {
        let maps = fs::read_to_string(self.dir.join("maps")).ok()?;
        let line = maps.lines().find(|line| line.ends_with(program) && line.contains(" r-xp "))?;
        let mut words = line.split_whitespace();
        let (begin, end) = words.next()?.split_once('-')?;
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        Some((hex(begin)?, hex(end)?, hex(words.nth(1)?)?))
    }

    /// It has a file open that leads there.
    pub fn has_open(&self, target: &str) -> bool {
        let files = fs::read_dir(self.dir.join("fd")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|to| to.to_str() == Some(target))
    }
}
