//! A store that shows the files of whole captures alone, to who lists them.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::layout::Key;
use crate::{Catalogue, Root};

/// The files of the captures of a catalogue, to be read. A capture that is pushed meanwhile does not show, one that is
/// pruned is missed by who reads it.
#[derive(Debug)]
pub struct Complete {
    store: Arc<dyn ObjectStore>,
    shown: Arc<HashSet<Key>>,
}

impl Complete {
    /// What a catalogue of this root has.
    pub fn of(root: &Root, catalogue: &Catalogue) -> Complete {
        let shown = catalogue.readable().map(|kept| kept.key.clone()).collect();
        Complete { store: Arc::clone(root.store()), shown: Arc::new(shown) }
    }

    fn refused<T>() -> Result<T> {
        Err(Error::NotSupported { source: "captures are read, and not written to".into() })
    }
}

/// Whether a file is one of a capture that is shown.
fn shows(shown: &HashSet<Key>, object: &ObjectMeta) -> bool {
    Key::of_file(object.location.as_ref()).is_some_and(|key| shown.contains(&key))
}

impl fmt::Display for Complete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Complete {
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let shown = Arc::clone(&self.shown);
        self.store.list(prefix).try_filter(move |object| std::future::ready(shows(&shown, object))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut listed = self.store.list_with_delimiter(prefix).await?;
        listed.objects.retain(|object| shows(&self.shown, object));
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
