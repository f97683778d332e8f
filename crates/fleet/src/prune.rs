//! What is old goes, and what pushes that were broken off have left.
//!
//! A capture's manifest goes first: from then on it is not there, and its files are such as nobody reads.

use std::collections::HashSet;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use havana_rows::parquet::Table;
use object_store::path::Path;

use crate::layout::{self, Key};
use crate::push::files_of;
use crate::{Catalogue, FleetError, Kept, Root};

/// What stays. The default keeps all.
#[derive(Debug, Clone, Default)]
pub struct Keep {
    /// Captures that began no longer ago.
    pub younger: Option<Duration>,
    /// The newest captures of no more bytes than these together.
    pub bytes: Option<u64>,
    /// Nothing goes: it is only told what would.
    pub dry: bool,
}

/// What went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Captures: hour, node and id.
    pub captures: Vec<(String, String, String)>,
    /// Files that were of no capture.
    pub orphans: usize,
    /// Bytes, of all that went.
    pub bytes: u64,
    /// Captures that stay.
    pub kept: usize,
    /// Their bytes.
    pub kept_bytes: u64,
}

/// Files of no capture are of a push that is under way, until they are this old.
pub(crate) const UNDER_WAY: i64 = 24 * 3600;

/// A file of a table.
struct Found {
    path: Path,
    bytes: u64,
    came: i64,
}

/// Removes what is not to be kept. `now`: seconds since 1970.
///
/// # Errors
/// The store cannot be listed, or does not remove what it should.
pub async fn prune(root: &Root, keep: &Keep, now: i64) -> Result<Pruned, FleetError> {
    // In this order: what is pushed meanwhile is young.
    let (files, catalogue) = (files(root).await?, Catalogue::read(root).await?);
    let mut newest: Vec<(i64, &Kept)> = catalogue.captures().map(|kept| (began(kept), kept)).collect();
    newest.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.key.cmp(&b.1.key)));
    let mut pruned = Pruned::default();
    let mut going = Vec::new();
    let mut stays: HashSet<&Key> = HashSet::new();
    for (began, kept) in newest {
        let bytes: u64 = files.get(&kept.key).into_iter().flatten().map(|file| file.bytes).sum();
        let is_young = keep.younger.is_none_or(|age| now - began <= i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        // Once one is too much, none that is older stays in its place.
        let fits = keep.bytes.is_none_or(|most| going.is_empty() && pruned.kept_bytes + bytes <= most);
        if is_young && fits {
            pruned.kept += 1;
            pruned.kept_bytes += bytes;
            stays.insert(&kept.key);
        } else {
            let Key { hour, node, capture, .. } = kept.key.clone();
            pruned.captures.push((hour, node, capture));
            pruned.bytes += bytes;
            going.push(kept);
        }
    }
    let is_going: HashSet<&Key> = going.iter().map(|kept| &kept.key).collect();
    let of_none = files.iter().filter(|(key, _)| !stays.contains(key) && !is_going.contains(key));
    let orphans: Vec<&Found> =
        of_none.flat_map(|(_, files)| files).filter(|file| now - file.came > UNDER_WAY).collect();
    pruned.orphans = orphans.len();
    pruned.bytes += orphans.iter().map(|file| file.bytes).sum::<u64>();
    if keep.dry {
        return Ok(pruned);
    }
    let replaced = catalogue.replaced.iter().map(Kept::manifest);
    delete(root, going.iter().map(|kept| kept.manifest()).chain(replaced).collect()).await?;
    let its_files = going.iter().filter_map(|kept| files.get(&kept.key)).flatten().map(|file| file.path.clone());
    delete(root, its_files.chain(orphans.into_iter().map(|file| file.path.clone())).collect()).await?;
    Ok(pruned)
}

/// Removes one content of a capture.
pub(crate) async fn remove(root: &Root, kept: &Kept) -> Result<(), FleetError> {
    delete(root, vec![kept.manifest()]).await?;
    let files = files_of(root, &kept.key).await?;
    delete(root, files.into_iter().map(|object| object.location).collect()).await
}

/// Removes files; one that is gone already is no error.
async fn delete(root: &Root, paths: Vec<Path>) -> Result<(), FleetError> {
    let mut deleted = root.store().delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed());
    while let Some(done) = deleted.next().await {
        match done {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(root.failed("remove a file")(error)),
        }
    }
    Ok(())
}

type Files = std::collections::HashMap<Key, Vec<Found>>;

/// The files of all tables, by what they are of.
async fn files(root: &Root) -> Result<Files, FleetError> {
    let mut files = Files::new();
    let tables = stream::iter(Table::ALL).map(|table| root.store().list(Some(&layout::raw(table.name()))));
    let mut listed = tables.flatten_unordered(Table::ALL.len());
    while let Some(object) = listed.try_next().await.map_err(root.failed("list its files"))? {
        let Some(key) = Key::of_file(object.location.as_ref()) else { continue };
        let (bytes, came) = (object.size, object.last_modified.timestamp());
        files.entry(key).or_default().push(Found { path: object.location, bytes, came });
    }
    Ok(files)
}

/// When a capture began, seconds since 1970; where its clock does not say, when it came.
fn began(kept: &Kept) -> i64 {
    layout::seconds(kept.hour()).unwrap_or(kept.came)
}
