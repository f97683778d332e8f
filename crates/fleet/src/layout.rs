//! What is called how under a root.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate};
use havana_store::{Epoch, Manifest, partition_text, partition_value};
use object_store::path::Path;

/// Where manifests are.
pub const MANIFESTS: &str = "manifests";

/// The hour of a capture whose clock does not count from 1970.
pub const HOUR_UNKNOWN: &str = "unknown";

/// A capture's place in every table, and its content.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) hour: String,
    pub(crate) node: String,
    pub(crate) capture: String,
    pub(crate) digest: String,
}

impl Key {
    pub(crate) fn of(manifest: &Manifest, digest: String) -> Key {
        Key { hour: hour(manifest), node: manifest.node.clone(), capture: manifest.capture.clone(), digest }
    }

    fn keys(&self) -> [String; 3] {
        [
            format!("hour={}", self.hour),
            format!("node={}", partition_value(&self.node)),
            format!("capture={}", partition_value(&self.capture)),
        ]
    }

    /// Where, below a table, the files of its node are, of its hour.
    pub(crate) fn of_node(&self) -> String {
        self.keys()[..2].join("/")
    }

    /// The directory of a table's files of it.
    pub(crate) fn directory(&self, table: &str) -> Path {
        raw(&[table, &self.keys().join("/")].join("/"))
    }

    /// What a file of a dataset is called there.
    pub(crate) fn file(&self, table: &str, name: &str) -> Path {
        let stem = name.strip_suffix(EXTENSION).unwrap_or(name);
        raw(&format!("{}/{stem}.{}{EXTENSION}", self.directory(table), self.digest))
    }

    /// Its manifest; the name says of which version its files are, and whether it is made of others.
    pub(crate) fn manifest(&self, version: u32, merged: bool) -> Path {
        let [hour, node, capture] = self.keys();
        let merged = if merged { "m" } else { "" };
        raw(&format!("{MANIFESTS}/{hour}/{node}/{capture}.{}.v{version}{merged}.json", self.digest))
    }

    /// Where the manifests of its node are, of its hour, those before and after it, and of no hour.
    pub(crate) fn beside(&self) -> Vec<Path> {
        let around = seconds(&self.hour).into_iter().flat_map(|begin| [hour_of(begin - 3600), hour_of(begin + 3600)]);
        let hours = [self.hour.clone(), HOUR_UNKNOWN.into()].into_iter().chain(around.flatten());
        // Of `unknown` there is one.
        let hours: BTreeSet<String> = hours.collect();
        hours.into_iter().map(|hour| manifests(&hour, &self.node)).collect()
    }

    /// What a manifest is of, of which version, and whether it is made of others, by its place under the root.
    pub(crate) fn of_manifest(path: &str) -> Option<(Key, u32, bool)> {
        let mut parts = path.split('/');
        let (first, hour, node, name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if first != MANIFESTS || parts.next().is_some() {
            return None;
        }
        let (name, version) = name.strip_prefix("capture=")?.strip_suffix(".json")?.rsplit_once(".v")?;
        let (capture, digest) = name.rsplit_once('.')?;
        let key = Key {
            hour: hour.strip_prefix("hour=")?.into(),
            node: partition_text(node.strip_prefix("node=")?)?,
            capture: partition_text(capture)?,
            digest: digest.into(),
        };
        let number = version.strip_suffix('m');
        Some((key, number.unwrap_or(version).parse().ok()?, number.is_some()))
    }

    /// What a table's file is of, by its place under the root.
    pub(crate) fn of_file(path: &str) -> Option<Key> {
        let mut parts = path.split('/').skip(1);
        let (hour, node, capture, name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let (_, digest) = name.strip_suffix(EXTENSION)?.rsplit_once('.')?;
        Some(Key {
            hour: hour.strip_prefix("hour=")?.into(),
            node: partition_text(node.strip_prefix("node=")?)?,
            capture: partition_text(capture.strip_prefix("capture=")?)?,
            digest: digest.into(),
        })
    }
}

const EXTENSION: &str = ".parquet";

/// The hour in which a capture began.
pub(crate) fn hour(manifest: &Manifest) -> String {
    let ns = manifest.clock.ns().filter(|_| manifest.clock.epoch == Epoch::Unix);
    let begin = ns.zip(manifest.first_tsc).map(|(clock, tsc)| clock.ns(tsc));
    begin.and_then(|ns| hour_of(ns.div_euclid(1_000_000_000))).unwrap_or(HOUR_UNKNOWN.into())
}

/// The hour of a second since 1970.
fn hour_of(second: i64) -> Option<String> {
    Some(DateTime::from_timestamp(second, 0)?.format("%Y-%m-%d-%H").to_string())
}

/// Where the manifests of a node are, of an hour.
pub(crate) fn manifests(hour: &str, node: &str) -> Path {
    raw(&format!("{MANIFESTS}/hour={hour}/node={}", partition_value(node)))
}

/// When an hour began, seconds since 1970; none of what is no hour.
pub fn seconds(hour: &str) -> Option<i64> {
    let (day, hour) = hour.rsplit_once('-')?;
    let day = NaiveDate::parse_from_str(day, "%Y-%m-%d").ok()?;
    Some(day.and_hms_opt(hour.parse().ok()?, 0, 0)?.and_utc().timestamp())
}

/// A path whose parts are encoded already.
pub(crate) fn raw(path: &str) -> Path {
    // Names are made of what partition_value() leaves, which is all allowed.
    Path::parse(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_it_is_of() {
        let key =
            Key { hour: "2026-11-28-21".into(), node: "host/1".into(), capture: "a=b.c".into(), digest: "0f".into() };
        let merged = key.manifest(2, true);
        assert!(merged.as_ref().ends_with(".0f.v2m.json"));
        assert_eq!(Key::of_manifest(merged.as_ref()), Some((key.clone(), 2, true)));
        let manifest = key.manifest(2, false);
        assert_eq!(manifest.as_ref(), "manifests/hour=2026-11-28-21/node=host%2F1/capture=a%3Db.c.0f.v2.json");
        assert_eq!(Key::of_manifest(manifest.as_ref()), Some((key.clone(), 2, false)));
        let file = key.file("exits", "part-0000.parquet");
        assert_eq!(file.as_ref(), "exits/hour=2026-11-28-21/node=host%2F1/capture=a%3Db.c/part-0000.0f.parquet");
        assert_eq!(Key::of_file(file.as_ref()), Some(key));
        for other in [
            "manifests/x",
            "manifests/hour=1/node=2/capture=3.json",
            "manifests/hour=1/node=%/capture=3.4.v1.json",
            "a",
        ] {
            assert_eq!(Key::of_manifest(other), None, "{other}");
        }
    }

    #[test]
    fn the_hours_beside_are_looked_at() {
        let key = |hour: &str| Key { hour: hour.into(), node: "n".into(), capture: "c".into(), digest: "d".into() };
        let beside = |hour: &str| key(hour).beside().iter().map(ToString::to_string).collect::<Vec<_>>();
        let of = |hour: &str| format!("manifests/hour={hour}/node=n");
        assert_eq!(beside("unknown"), [of("unknown")]);
        assert_eq!(beside("2026-11-30-23"), ["2026-11-30-22", "2026-11-30-23", "2026-12-01-00", "unknown"].map(of));
    }

    #[test]
    fn the_hour_is_that_of_the_first_event() {
        let mut manifest = Manifest { first_tsc: Some(7_200_000_000_000), ..Manifest::default() };
        assert_eq!(hour(&manifest), "unknown");
        manifest.clock.tsc_hz = Some(1_000_000_000);
        manifest.clock.tsc_hz_known = true;
        manifest.clock.origin_ns = Some(1_790_000_000_000_000_000);
        assert_eq!(hour(&manifest), "unknown");
        manifest.clock.epoch = Epoch::Unix;
        assert_eq!(hour(&manifest), "2026-09-21-16");
        let begin = (1_790_000_000 + 7_200) / 3600 * 3600;
        assert_eq!((seconds("2026-09-21-16"), seconds("unknown"), seconds("2026-09-21-25")), (Some(begin), None, None));
    }
}
