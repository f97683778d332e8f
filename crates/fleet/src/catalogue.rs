//! Which captures are there.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use futures::{StreamExt, TryStreamExt, stream};
use havana_rows::parquet::SCHEMA_VERSION;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::layout::{self, Key, MANIFESTS, raw};
use crate::{Entry, FleetError, Root};

/// Hours that are listed at once.
const HOURS: usize = 16;
/// By how much a clock may be off before that is told, seconds.
const SKEW: i64 = 600;

/// A capture that is there whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub(crate) key: Key,
    /// Of which schema version its files are.
    pub version: u32,
    /// Whether it is made of others.
    pub merged: bool,
    /// When it came, seconds since 1970 by the store's clock.
    pub came: i64,
}

/// The captures of a root.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    captures: BTreeMap<(String, String), Kept>,
    /// What was there first of captures that were replaced: its files are still to go.
    pub(crate) replaced: Vec<Kept>,
}

impl Catalogue {
    /// The hours in which captures began, ascending: what a root has at a glance, however many captures these are.
    ///
    /// # Errors
    /// The store cannot be listed.
    pub async fn hours(root: &Root) -> Result<Vec<String>, FleetError> {
        let listed = root.store().list_with_delimiter(Some(&raw(MANIFESTS))).await;
        let parts = listed.map_err(root.failed("list its captures"))?.common_prefixes;
        Ok(parts.iter().filter_map(|part| part.filename()?.strip_prefix("hour=").map(Into::into)).collect())
    }

    /// Lists all captures, without opening any.
    ///
    /// # Errors
    /// The store cannot be listed.
    pub async fn read(root: &Root) -> Result<Catalogue, FleetError> {
        Catalogue::of_hours(root, &Catalogue::hours(root).await?).await
    }

    /// Lists those that began in these hours.
    ///
    /// # Errors
    /// The store cannot be listed.
    pub async fn of_hours(root: &Root, hours: &[String]) -> Result<Catalogue, FleetError> {
        Catalogue::below(root, hours.iter().map(|hour| raw(&format!("{MANIFESTS}/hour={hour}"))).collect()).await
    }

    /// Lists those of some nodes that began in these hours.
    ///
    /// # Errors
    /// The store cannot be listed.
    pub async fn of_nodes(root: &Root, hours: &[String], nodes: &[String]) -> Result<Catalogue, FleetError> {
        let of_hour = |hour: &String| nodes.iter().map(|node| layout::manifests(hour, node)).collect::<Vec<_>>();
        Catalogue::below(root, hours.iter().flat_map(of_hour).collect()).await
    }

    /// Those in these directories.
    pub(crate) async fn below(root: &Root, parts: Vec<Path>) -> Result<Catalogue, FleetError> {
        let store = root.store();
        let mut listed = stream::iter(parts).map(|part| store.list(Some(&part))).flatten_unordered(HOURS);
        let mut catalogue = Catalogue::default();
        while let Some(object) = listed.try_next().await.map_err(root.failed("list its captures"))? {
            if let Some((key, version, merged)) = Key::of_manifest(object.location.as_ref()) {
                catalogue.add(Kept { key, version, merged, came: object.last_modified.timestamp() });
            }
        }
        catalogue.without_parts(root).await
    }

    /// What others are made of does not count beside these: for the moment between that they are there and their parts are gone.
    async fn without_parts(mut self, root: &Root) -> Result<Catalogue, FleetError> {
        let mut beside: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        self.captures().for_each(|kept| *beside.entry((kept.hour(), kept.node())).or_default() += 1);
        let merged = self.captures().filter(|kept| kept.merged && beside[&(kept.hour(), kept.node())] > 1);
        let merged: Vec<Kept> = merged.cloned().collect();
        for kept in merged {
            // One that is gone since was made part of another.
            let Ok(entry) = kept.open(root).await else { continue };
            for part in entry.replaces {
                self.replaced.extend(self.captures.remove(&(kept.key.node.clone(), part)));
            }
        }
        Ok(self)
    }

    /// Of two contents of one capture the one that came last counts.
    fn add(&mut self, kept: Kept) {
        match self.captures.entry((kept.key.node.clone(), kept.key.capture.clone())) {
            Slot::Vacant(slot) => _ = slot.insert(kept),
            Slot::Occupied(mut slot) => {
                let later = (kept.came, &kept.key) > (slot.get().came, &slot.get().key);
                let earlier = if later { slot.insert(kept) } else { kept };
                self.replaced.push(earlier);
            }
        }
    }

    /// Those that are there, by node and capture.
    pub fn captures(&self) -> impl ExactSizeIterator<Item = &Kept> {
        self.captures.values()
    }

    /// Those that this program reads: of its schema version.
    pub fn readable(&self) -> impl Iterator<Item = &Kept> {
        self.captures().filter(|kept| kept.version == SCHEMA_VERSION)
    }

    /// What who asks should know, a sentence each: captures that are left out, clocks that are wrong.
    pub fn warnings(&self) -> Vec<String> {
        let mut said = Vec::new();
        let others: Vec<&Kept> = self.captures().filter(|kept| kept.version != SCHEMA_VERSION).collect();
        if let Some(first) = others.first() {
            said.push(format!(
                "{} of {} captures are left out: they are of other schema versions than {SCHEMA_VERSION}, which this program \
                 reads (capture {} of node {}: version {})",
                others.len(),
                self.captures.len(),
                first.capture(),
                first.node(),
                first.version,
            ));
        }
        let ahead: BTreeMap<&str, i64> =
            self.captures().filter_map(|kept| Some((kept.node(), kept.ahead()?))).collect();
        if let Some((node, by)) = ahead.iter().max_by_key(|(_, by)| **by) {
            let (nodes, hours) = (ahead.len(), (by + 3599) / 3600);
            said.push(format!(
                "{nodes} node(s) with a wrong clock: {node} pushed what happens {hours} hours from now; the hours of such are not right"
            ));
        }
        said
    }
}

impl Kept {
    /// When it began: `2026-11-28-21`, UTC, or [`HOUR_UNKNOWN`](crate::HOUR_UNKNOWN).
    pub fn hour(&self) -> &str {
        &self.key.hour
    }

    /// Where it was made.
    pub fn node(&self) -> &str {
        &self.key.node
    }

    /// Its id.
    pub fn capture(&self) -> &str {
        &self.key.capture
    }

    pub(crate) fn manifest(&self) -> Path {
        self.key.manifest(self.version, self.merged)
    }

    /// By how much its node's clock is ahead, seconds: it began after it came.
    fn ahead(&self) -> Option<i64> {
        layout::seconds(&self.key.hour).map(|began| began - self.came).filter(|ahead| *ahead > SKEW)
    }

    /// What is known of it.
    ///
    /// # Errors
    /// Its manifest cannot be read, or is damaged.
    pub async fn open(&self, root: &Root) -> Result<Entry, FleetError> {
        let path = self.manifest();
        let read = async { root.store().get(&path).await?.bytes().await };
        let bytes = read.await.map_err(root.failed("read a manifest"))?;
        Entry::parse(&bytes).map_err(|why| FleetError::Manifest { root: root.name().into(), path: path.into(), why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_last_counts() {
        let kept = |digest: &str, came| {
            let key = Key { hour: "h".into(), node: "n".into(), capture: "c".into(), digest: digest.into() };
            Kept { key, version: 2, merged: false, came }
        };
        let mut catalogue = Catalogue::default();
        for (digest, came) in [("a", 5), ("b", 9), ("c", 7)] {
            catalogue.add(kept(digest, came));
        }
        assert_eq!(catalogue.captures().collect::<Vec<_>>(), [&kept("b", 9)]);
        assert_eq!(catalogue.replaced, [kept("a", 5), kept("c", 7)]);
    }

    #[test]
    fn what_is_left_out_and_what_is_wrong_is_a_sentence_each() {
        let mut catalogue = Catalogue::default();
        let came = layout::seconds("2026-11-28-21").unwrap();
        let nodes =
            [("a", "2026-11-28-21", SCHEMA_VERSION), ("b", "2026-11-29-02", SCHEMA_VERSION), ("c", "unknown", 1)];
        for (node, hour, version) in nodes {
            let key = Key { hour: hour.into(), node: node.into(), capture: "c0ffee".into(), digest: "d".into() };
            catalogue.add(Kept { key, version, merged: false, came: came + 1800 });
        }
        assert_eq!(catalogue.readable().count(), 2);
        let said = catalogue.warnings();
        assert!(
            said[0].starts_with("1 of 3 captures are left out") && said[0].contains("node c: version 1"),
            "{said:?}"
        );
        assert!(said[1].contains("b pushed what happens 5 hours from now") && said.len() == 2, "{said:?}");
    }
}
