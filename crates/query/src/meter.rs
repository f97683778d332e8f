//! A store of files that counts what is read of them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use havana_store::{partition_text, partition_value};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

use crate::tables::ROOT_KEYS;

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    bytes: AtomicU64,
    requests: AtomicU64,
    listed: AtomicU64,
}

impl Meter {
    fn read(&self, ranges: u64, bytes: u64) {
        self.requests.fetch_add(ranges, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The size of the files that were listed, to be read or not.
    pub(crate) fn listed(&self) -> u64 {
        self.listed.load(Ordering::Relaxed)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// A directory as it is named: the engine encodes less of a key's value than we do.
fn as_named(directory: &Path) -> Path {
    let named = |part: &str| match part.split_once('=').filter(|(key, _)| ROOT_KEYS.contains(key)) {
        Some((key, value)) => partition_text(value).map(|text| format!("{key}={}", partition_value(&text))),
        None => None,
    };
    let parts = directory.parts().map(|part| named(part.as_ref()).unwrap_or_else(|| part.as_ref().into()));
    Path::parse(parts.collect::<Vec<String>>().join("/")).unwrap_or_else(|_| directory.clone())
}

/// Another store, of which what is read is counted.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    pub(crate) store: S,
    pub(crate) meter: Arc<Meter>,
}

impl<S: fmt::Display> fmt::Display for Metered<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for Metered<S> {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let head = options.head;
        let result = self.store.get_opts(location, options).await?;
        if !head {
            self.meter.read(1, result.range.end - result.range.start);
        }
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let parts = self.store.get_ranges(location, ranges).await?;
        self.meter.read(ranges.len() as u64, parts.iter().map(|part| part.len() as u64).sum());
        Ok(parts)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.meter.requests.fetch_add(1, Ordering::Relaxed);
        let meter = Arc::clone(&self.meter);
        let count = move |object: &ObjectMeta| _ = meter.listed.fetch_add(object.size, Ordering::Relaxed);
        self.store.list(prefix.map(as_named).as_ref()).inspect_ok(count).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.store.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_as_datasets_name_it() {
        let named = |path: &str| as_named(&Path::parse(path).unwrap()).to_string();
        assert_eq!(
            named("a=b:c/exits/hour=2026-11-28-21/node=r3:k7/x"),
            "a=b:c/exits/hour=2026-11-28-21/node=r3%3Ak7/x"
        );
        assert_eq!(named("exits/node=r3%3Ak7"), "exits/node=r3%3Ak7");
    }
}
