//! Lists of cpus, as Linux writes them: `0-3,8`.

use super::Host;
use crate::CaptureError;

/// A list as Linux writes it; `None` where it is none.
pub fn parse_cpu_list(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',').filter(|p| !p.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (from.trim().parse::<u32>().ok()?, to.trim().parse::<u32>().ok()?);
        // No Linux has more.
        if from > to || to >= 1 << 16 {
            return None;
        }
        cpus.extend(from..=to);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Some(cpus)
}

/// The same the other way.
pub fn cpu_list(cpus: &[u32]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut at = 0;
    while at < cpus.len() {
        let mut to = at;
        while to + 1 < cpus.len() && cpus[to + 1] == cpus[to] + 1 {
            to += 1;
        }
        parts.push(if to > at { format!("{}-{}", cpus[at], cpus[to]) } else { cpus[at].to_string() });
        at = to + 1;
    }
    parts.join(",")
}

impl Host {
    /// Cpus that are online, by number.
    pub fn online(&self) -> Vec<u32> {
        self.line("/sys/devices/system/cpu/online").and_then(|l| parse_cpu_list(&l)).unwrap_or_default()
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
    use super::*;
    use crate::host::FakeHost;

    #[test]
    fn all_or_those_that_are_wanted() {
        let fake = FakeHost::new();
        fake.write("sys/devices/system/cpu/online", "0-2,5\n");
        assert_eq!(fake.host.chosen(&[]).unwrap(), [0, 1, 2, 5]);
        assert_eq!(fake.host.chosen(&[5, 1]).unwrap(), [5, 1]);
        let refused = fake.host.chosen(&[1, 3]).unwrap_err().to_string();
        assert_eq!(refused, "cpu 3 is not online: those that are: 0-2,5");
    }

    #[test]
    fn there_and_back() {
        for list in ["", "0", "0-3", "0,2-4,9"] {
            assert_eq!(cpu_list(&parse_cpu_list(list).unwrap()), list);
        }
        assert_eq!(parse_cpu_list("3,1-2,2\n"), Some(vec![1, 2, 3]));
        for bad in ["a", "1-", "3-1", "0-70000", "-1"] {
            assert_eq!(parse_cpu_list(bad), None, "{bad}");
        }
    }
}
