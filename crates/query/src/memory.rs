//! How much memory a question may take where nobody says.

use std::fs;

/// Where it cannot be told what is free.
const SOME: u64 = 2 << 30;

/// Bytes: six tenths of what this host has free (proc_meminfo(5)), or of what the control group may have (cgroup v2).
pub fn share() -> u64 {
    let free = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    free.into_iter().chain(group).min().map_or(SOME, |bytes: u64| bytes / 10 * 6)
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_available_is_in_kilobytes() {
        assert_eq!(available("MemTotal:  9 kB\nMemAvailable:    4096 kB\n"), Some(4 << 20));
        assert_eq!(available("MemTotal:  9 kB\n"), None);
    }
}
