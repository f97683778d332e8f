//! Lists of cpus, as Linux writes them: `0-3,8`.

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

#[cfg(test)]
mod tests {
    use super::*;

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
