//! A capture comes from under a root, to be looked at.

use std::fs;
use std::io;
use std::path::Path;

use futures::{StreamExt, TryStreamExt, stream};
use havana_store::{Dataset, MANIFEST_FILE, StoreError, partition_directory};
use object_store::ObjectStoreExt;
use tokio::io::AsyncWriteExt;

use crate::{Entry, FleetError, Kept, Root};

/// Files that come at once.
const FILES: usize = 8;

/// Makes a dataset of a capture in a directory, which is there whole once this has ended well; else there is no dataset.
///
/// # Errors
/// The store cannot be read, the directory not be written to; a file is gone, or not what the manifest says.
pub async fn fetch(root: &Root, kept: &Kept, entry: &Entry, into: &Path) -> Result<Dataset, FleetError> {
    let below = partition_directory(kept.node(), kept.capture());
    let files = entry.files.iter().map(|file| {
        let to = into.join(&file.table).join(&below).join(&file.name);
        async move {
            let from = kept.key.file(&file.table, &file.name);
            let got = root.store().get(&from).await.map_err(root.failed("read a file"))?;
            let failed = |source| StoreError::Io { action: "write", path: to.clone(), source };
            fs::create_dir_all(to.parent().unwrap_or(into)).map_err(failed)?;
            let mut out = tokio::fs::File::create(&to).await.map_err(failed)?;
            let mut pieces = got.into_stream();
            let mut bytes = 0;
            while let Some(piece) = pieces.try_next().await.map_err(root.failed("read a file"))? {
                bytes += piece.len() as u64;
                out.write_all(&piece).await.map_err(failed)?;
            }
            out.flush().await.map_err(failed)?;
            if bytes == file.bytes {
                return Ok(());
            }
            let why = format!("{from} has {bytes} bytes, and not {}", file.bytes);
            Err(FleetError::Store { root: root.name().into(), action: "read a file", why })
        }
    });
    let files: Vec<_> = files.collect();
    stream::iter(files).buffer_unordered(FILES).try_collect::<()>().await?;
    let manifest = into.join(MANIFEST_FILE);
    let text = serde_json::to_vec_pretty(&entry.manifest).map_err(io::Error::from);
    let written = text.and_then(|text| fs::write(&manifest, text));
    written.map_err(|source| StoreError::Io { action: "write", path: manifest, source })?;
    Ok(Dataset::open(into)?)
}
