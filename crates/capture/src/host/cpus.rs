//! Which cpus there are, and which share a core.

use std::collections::BTreeSet;

use havana_trace::{cpu_list, parse_cpu_list};

use super::Host;
use crate::CaptureError;

impl Host {
    /// Cpus that are online, by number.
    pub fn online(&self) -> Vec<u32> {
        self.line("/sys/devices/system/cpu/online").and_then(|l| parse_cpu_list(&l)).unwrap_or_default()
    }

    /// Cpus that share a core, a list a core; none where each has its own.
    pub fn thread_siblings(&self) -> Vec<String> {
        let list = |cpu| self.line(&format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"));
        let cores: BTreeSet<Vec<u32>> = self
            .online()
            .into_iter()
            .filter_map(|cpu| parse_cpu_list(&list(cpu)?))
            .filter(|core| core.len() > 1)
            .collect();
        cores.iter().map(|core| cpu_list(core)).collect()
    }

    /// Those of them that are wanted; all where none is named.
    ///
    /// # Errors
    /// That one is not online.
    pub fn chosen(&self, wanted: &[u32]) -> Result<Vec<u32>, CaptureError> {
        let online = self.online();
        match wanted.iter().find(|cpu| !online.contains(cpu)) {
            Some(&cpu) => Err(CaptureError::NoSuchCpu { cpu, online: cpu_list(&online) }),
            None if wanted.is_empty() => Ok(online),
            None => Ok(wanted.to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::host::FakeHost;

    #[test]
    fn all_or_those_that_are_wanted() {
        let fake = FakeHost::new();
        fake.write("sys/devices/system/cpu/online", "0-2,5\n");
        assert_eq!(fake.host.chosen(&[]).unwrap(), [0, 1, 2, 5]);
        assert_eq!(fake.host.chosen(&[5, 1]).unwrap(), [5, 1]);
        assert!(fake.host.thread_siblings().is_empty());
        for (cpu, core) in [(0, "0,5"), (1, "1"), (2, "2,7"), (5, "0,5")] {
            fake.write(&format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"), core);
        }
        assert_eq!(fake.host.thread_siblings(), ["0,5", "2,7"]);
        let refused = fake.host.chosen(&[1, 3]).unwrap_err().to_string();
        assert_eq!(refused, "cpu 3 is not online: those that are: 0-2,5");
    }
}
