//! Many small captures of a node become one an hour: fewer files to list and to open.
//!
//! A reader sees the parts or the whole, never both: the whole's manifest names its parts, which do not count from when it is
//! there. Then they go.

use std::collections::BTreeMap;
use std::path::Path;

use havana_store::{Dataset, WriterOptions, follows, merge};
use xxhash_rust::xxh3::xxh3_64;

use crate::layout;
use crate::{Catalogue, Entry, FleetError, Kept, Root, fetch, push};

/// What was made of how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compacted {
    /// Whose.
    pub node: String,
    /// When.
    pub hour: String,
    /// Captures that are one now.
    pub captures: usize,
    /// Their files, and how many there are now.
    pub files: (usize, usize),
    /// Their bytes, and how many there are now.
    pub bytes: (u64, u64),
}

/// Whose captures are merged here: of all nodes one share, where others do the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Which one, from 1 on.
    pub number: u64,
    /// Of how many.
    pub of: u64,
}

impl Share {
    /// All nodes.
    pub const ALL: Share = Share { number: 1, of: 1 };

    /// Whether a node is in it: each is in one of them.
    fn has(self, node: &str) -> bool {
        xxh3_64(node.as_bytes()) % self.of + 1 == self.number
    }
}

/// An hour is over for so long, seconds, before it is looked at: what is late may still come.
const LATE: i64 = 1800;

/// Merges captures of these nodes, of hours that are over; each is told as it is done. `scratch`: where they are put meanwhile; `now`: seconds
/// since 1970.
///
/// # Errors
/// The store cannot be read or written to, the directory not be written to; a capture is damaged.
pub async fn compact(
    root: &Root,
    share: Share,
    scratch: &Path,
    now: i64,
    told: &mut (dyn FnMut(&Compacted) + Send),
) -> Result<usize, FleetError> {
    let catalogue = Catalogue::read(root).await?;
    let mut hours: BTreeMap<(&str, &str), Vec<&Kept>> = BTreeMap::new();
    let is_over = |hour: &str| layout::seconds(hour).is_some_and(|begin| begin + 3600 + LATE < now);
    for kept in catalogue.readable().filter(|kept| is_over(kept.hour()) && share.has(kept.node())) {
        hours.entry((kept.node(), kept.hour())).or_default().push(kept);
    }
    let mut done = 0;
    for captures in hours.into_values().filter(|captures| captures.len() > 1) {
        let mut opened = Vec::new();
        for kept in captures {
            opened.push((kept, kept.open(root).await?));
        }
        opened.sort_by_key(|(_, entry)| entry.manifest.first_tsc);
        for run in opened.chunk_by(|a, b| follows(&a.1.manifest, &b.1.manifest).is_ok()).filter(|run| run.len() > 1) {
            told(&merged(root, run, scratch).await?);
            done += 1;
        }
    }
    Ok(done)
}

/// Makes captures that follow each other one.
async fn merged(root: &Root, run: &[(&Kept, Entry)], scratch: &Path) -> Result<Compacted, FleetError> {
    let mut parts: Vec<String> = Vec::new();
    let mut datasets: Vec<Dataset> = Vec::new();
    let at = |name: String| scratch.join(name);
    for (number, (kept, entry)) in run.iter().enumerate() {
        datasets.push(fetch(root, kept, entry, &at(number.to_string())).await?);
        // What it was made of itself may be pushed once more, too.
        parts.push(kept.capture().into());
        parts.extend(entry.replaces.iter().cloned());
    }
    let capture = format!("m{:016x}", xxh3_64(parts.join(" ").as_bytes()));
    let options = WriterOptions { node: run[0].0.node().into(), capture, ..WriterOptions::default() };
    let to = at("merged".into());
    let merging = tokio::task::spawn_blocking(move || merge(&datasets, &to, options));
    let whole = merging.await.map_err(|error| FleetError::Stopped(error.to_string()))??;
    let Some(whole) = whole else { return Err(FleetError::Stopped("there is nothing to merge".into())) };
    let pushed = push::push_instead(root, &whole, &parts, false, &|_| {}).await?;
    for (kept, _) in run {
        crate::prune::remove(root, kept).await?;
    }
    for name in (0..run.len()).map(|number| number.to_string()).chain(["merged".into()]) {
        let _ = std::fs::remove_dir_all(at(name));
    }
    let (files, bytes) =
        (run.iter().map(|(_, entry)| entry.files.len()).sum(), run.iter().map(|(_, entry)| entry.bytes()).sum());
    let (node, hour) = (run[0].0.node().into(), run[0].0.hour().into());
    Ok(Compacted { node, hour, captures: run.len(), files: (files, pushed.files), bytes: (bytes, pushed.bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_is_in_one_share() {
        for node in 0..100 {
            let node = format!("node-{node}");
            assert!(Share::ALL.has(&node));
            assert_eq!((1..=7).filter(|&number| Share { number, of: 7 }.has(&node)).count(), 1);
        }
    }
}
