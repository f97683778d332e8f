//! A store that shows the files of whole captures alone, to who lists them.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::layout::{Key, raw};
use crate::{Catalogue, Kept, Root};

/// Directories that are listed at once.
const AT_ONCE: usize = 16;
/// Of so many nodes, and not all, an hour's files are listed node by node; of more, all of the hour.
const NODES: usize = 8;
/// Of so many captures, where a root has no others, a table is listed whole: a request or two.
const FEW: usize = 1000;

/// The files of captures that are there whole, to be read: none until [`show`](Self::show) says which. A capture that is pushed
/// meanwhile does not show; whether one has gone before its files were listed, [`misses`](Self::misses) tells. Paths are those
/// of the store that the root is in.
#[derive(Debug)]
pub struct Complete {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    shown: RwLock<Arc<Shown>>,
}

/// Which captures of a root are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All.
    Root,
    /// All of some hours.
    Hours,
    /// Those of nodes that were looked for by name.
    Nodes,
}

/// What is shown.
#[derive(Debug, Default)]
struct Shown {
    keys: HashSet<Key>,
    /// Below a table, where their files are.
    directories: Vec<String>,
}

impl Complete {
    /// Nothing yet of a root. `bucket`: [`Root::bucket`], or what looks at what is read of it.
    pub fn of(root: &Root, bucket: Arc<dyn ObjectStore>) -> Complete {
        Complete { store: bucket, prefix: root.prefix().clone(), shown: RwLock::default() }
    }

    /// Of the captures that are there those are shown from now on for which it says so, and no others. `part`: which of its
    /// root these are.
    pub fn show(&self, captures: &[(&Kept, bool)], part: Part) {
        let mut keys = HashSet::new();
        let mut hours: BTreeMap<&str, BTreeMap<String, bool>> = BTreeMap::new();
        for (kept, shown) in captures {
            *hours.entry(kept.hour()).or_default().entry(kept.key.of_node()).or_default() |= shown;
            keys.extend(shown.then(|| kept.key.clone()));
        }
        let listed = |(hour, nodes): (&str, BTreeMap<String, bool>)| {
            let all = nodes.len();
            let shown: Vec<String> = nodes.into_iter().filter_map(|(node, shown)| shown.then_some(node)).collect();
            match shown.len() {
                0 => Vec::new(),
                of if of <= NODES && (of < all || part == Part::Nodes) => shown,
                _ => vec![format!("hour={hour}")],
            }
        };
        let is_all = part == Part::Root && keys.len() == captures.len();
        let directories = if is_all && captures.len() <= FEW {
            vec![String::new()]
        } else {
            hours.into_iter().flat_map(listed).collect()
        };
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Shown { keys, directories });
    }

    /// Whether one that is shown is not there any more.
    pub fn misses(&self, there: &Catalogue) -> bool {
        let there: HashSet<&Key> = there.captures().map(|kept| &kept.key).collect();
        self.shown().keys.iter().any(|key| !there.contains(key))
    }

    fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where a listing of this directory looks: of a whole table, or an hour of it, only where there is something to be seen.
    fn directories(&self, shown: &Shown, directory: Option<&Path>) -> Vec<Option<Path>> {
        let Some(asked) = directory else { return vec![None] };
        let mut below = asked.prefix_match(&self.prefix).into_iter().flatten().map(|part| part.as_ref().to_string());
        let (table, hour) = (below.next(), below.next());
        let Some(table) = table.filter(|_| below.next().is_none()) else { return vec![directory.cloned()] };
        let place_of = |place: &String| match (&hour, place.split('/').next()) {
            (None, _) => Some(place.clone()),
            (Some(hour), Some("")) => Some(hour.clone()),
            (Some(hour), of) => (of == Some(hour)).then(|| place.clone()),
        };
        let below = |place: String| {
            let parts = [self.prefix.as_ref(), &table, &place].into_iter().filter(|part| !part.is_empty());
            Some(raw(&parts.collect::<Vec<_>>().join("/")))
        };
        shown.directories.iter().filter_map(place_of).map(below).collect()
    }

    fn refused<T>() -> Result<T> {
        Err(Error::NotSupported { source: "captures are read, and not written to".into() })
    }
}

impl Shown {
    /// Whether a file is one of a capture that is shown.
    fn has(&self, prefix: &Path, object: &ObjectMeta) -> bool {
        let path = object.location.as_ref().strip_prefix(prefix.as_ref()).map(|path| path.trim_start_matches('/'));
        path.and_then(Key::of_file).is_some_and(|key| self.keys.contains(&key))
    }
}

impl fmt::Display for Complete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Complete {
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if prefix.is_some_and(|prefix| !prefix.prefix_matches(&self.prefix)) {
            // What else is in the same store is none of ours.
            return self.store.list(prefix);
        }
        let (shown, store, root) = (self.shown(), Arc::clone(&self.store), self.prefix.clone());
        let directories = stream::iter(self.directories(&shown, prefix));
        let listed = directories.map(move |directory| store.list(directory.as_ref())).flatten_unordered(AT_ONCE);
        listed.try_filter(move |object| std::future::ready(shown.has(&root, object))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut listed = self.store.list_with_delimiter(prefix).await?;
        let shown = self.shown();
        listed.objects.retain(|object| shown.has(&self.prefix, object));
        Ok(listed)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.store.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.store.get_ranges(location, ranges).await
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Complete::refused()
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Complete::refused()
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        futures::stream::once(std::future::ready(Complete::refused())).boxed()
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Complete::refused()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Under a root in a directory: `part` of a table, whole or not.
    fn put(root: &std::path::Path, path: &str) {
        let file = root.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "x").unwrap();
    }

    fn listed(files: &Complete, directory: &str) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = files.list(Some(&raw(directory))).map_ok(|object| object.location.filename().unwrap().to_string());
        let mut found: Vec<String> = runtime.block_on(found.try_collect()).unwrap();
        found.sort();
        found
    }

    #[test]
    fn of_a_table_what_is_shown_is_listed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (few, many) = ("2026-11-20-12", "2026-11-20-13");
        for (hour, nodes) in [(few, 2), (many, NODES + 2)] {
            for node in 0..nodes {
                let place = format!("hour={hour}/node=n{node}");
                put(dir.path(), &format!("manifests/{place}/capture={hour}.d{node}.v2.json"));
                put(dir.path(), &format!("exits/{place}/capture={hour}/part-{hour}-{node}.d{node}.parquet"));
                // Of a push that is under way.
                put(dir.path(), &format!("exits/{place}/capture={hour}/part-half.e{node}.parquet"));
            }
        }
        let root = Root::open(dir.path().to_str().unwrap()).unwrap();
        let files = Complete::of(&root, Arc::clone(root.bucket()));
        let table = format!("{}/exits", root.prefix());
        let nothing: [&str; 0] = [];
        assert_eq!(listed(&files, &table), nothing);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let hours = runtime.block_on(Catalogue::hours(&root)).unwrap();
        assert_eq!(hours, [few, many]);
        let all = runtime.block_on(Catalogue::of_hours(&root, &hours)).unwrap();
        let names = |hour: &str, nodes| (0..nodes).map(|node| format!("part-{hour}-{node}.d{node}.parquet")).collect();
        let (of_few, of_many): (Vec<_>, Vec<_>) = (names(few, 2), names(many, NODES + 2));
        let show = |is_shown: &dyn Fn(&Kept) -> bool, of| {
            let captures: Vec<(&Kept, bool)> = all.captures().map(|kept| (kept, is_shown(kept))).collect();
            files.show(&captures, of);
        };
        show(&|_| true, Part::Hours);
        let mut everything = [of_few.clone(), of_many.clone()].concat();
        everything.sort();
        assert_eq!(listed(&files, &table), everything);
        assert_eq!(listed(&files, &format!("{table}/hour={few}")), of_few);
        assert_eq!(listed(&files, &format!("{table}/hour={many}")), of_many);
        show(&|_| true, Part::Root);
        assert_eq!(listed(&files, &table), everything);
        assert_eq!(listed(&files, &format!("{table}/hour={few}")), of_few);
        show(&|kept| kept.node() == "n1", Part::Root);
        assert_eq!(listed(&files, &table), [of_few[1].clone(), of_many[1].clone()]);
        assert_eq!(listed(&files, &format!("{table}/hour={many}")), [of_many[1].clone()]);
        assert_eq!(listed(&files, &format!("{table}/hour=unknown")), nothing);
        let one = runtime.block_on(Catalogue::of_hours(&root, &hours[..1])).unwrap();
        assert_eq!(one.captures().len(), 2);
    }
}
