//! A dataset goes under a root, whole.
//!
//! ```text
//! digest ─► there already? ─► files that are not there yet ─► the manifest ─► what it replaces goes
//! ```
//!
//! Whatever breaks off, the same push goes on where it was: a file's name has the digest of all the dataset, so what has
//! that name and its size is that file. Files are there whole or not at all: a store shows no upload that is not ended.

use std::collections::HashMap;
use std::fs::File as Disk;
use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use havana_rows::parquet::{SCHEMA_VERSION, Table};
use havana_store::{Dataset, StoreError};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt, PutPayload, WriteMultipart};
use xxhash_rust::xxh3::Xxh3;

use crate::layout::Key;
use crate::prune::UNDER_WAY;
use crate::{Catalogue, Entry, File, FleetError, Kept, Root, Summary};

/// Files that go at once.
const FILES: usize = 4;
/// Bytes that go at once of a file; what is not larger goes in one piece.
const PIECE: usize = 8 << 20;
/// What fails sooner than this is tried again, so often, after pauses that grow by this.
const AT_ONCE: Duration = Duration::from_secs(15);
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(250);
/// Pieces of a file that are under way.
const PIECES: usize = 4;

/// How a push ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is there now.
    Pushed,
    /// It was there already.
    Already,
    /// It was, and was made part of another (`compact`); of another content it is not taken any more.
    Part,
}

/// What a push did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// How it ended.
    pub outcome: Outcome,
    /// Files of the dataset, and their size.
    pub files: usize,
    /// Bytes of these.
    pub bytes: u64,
    /// Bytes that went over now: less where an earlier push was broken off.
    pub sent: u64,
}

/// What a push is at: for who shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// This many bytes are to go.
    Begin(u64),
    /// This many have gone.
    Sent(u64),
}

/// A file of the dataset, on the disk and under the root.
struct Going {
    from: PathBuf,
    to: Path,
    bytes: u64,
    hash: u128,
}

/// Puts a dataset under a root. One that is there with another content is replaced where `force` says so.
///
/// # Errors
/// The dataset cannot be read, the store not be reached or written to; the capture is there with another content.
pub async fn push(
    root: &Root,
    dataset: &Dataset,
    force: bool,
    told: &(dyn Fn(Step) + Sync),
) -> Result<Pushed, FleetError> {
    push_instead(root, dataset, &[], force, told).await
}

/// The same of a dataset that is made of captures, which do not count beside it. What fails at once is tried again: a connection
/// that was just cut is an error that the store's own patience does not know.
pub(crate) async fn push_instead(
    root: &Root,
    dataset: &Dataset,
    replaces: &[String],
    force: bool,
    told: &(dyn Fn(Step) + Sync),
) -> Result<Pushed, FleetError> {
    let (key, entry, going) = prepare(dataset, replaces.to_vec())?;
    let mut tries = 0;
    loop {
        let begin = Instant::now();
        let pushed = push_once(root, (&key, &entry, &going), force, told).await;
        let again = pushed.as_ref().is_err_and(FleetError::may_pass) && begin.elapsed() < AT_ONCE && tries < TRIES;
        if !again {
            return pushed;
        }
        tries += 1;
        tokio::time::sleep(PAUSE * tries).await;
    }
}

async fn push_once(
    root: &Root,
    (key, entry, going): (&Key, &Entry, &[Going]),
    force: bool,
    told: &(dyn Fn(Step) + Sync),
) -> Result<Pushed, FleetError> {
    let mut pushed = Pushed { outcome: Outcome::Already, files: going.len(), bytes: entry.bytes(), sent: 0 };
    // Another analysis of the same trace may have seen its first event in another hour.
    let beside = Catalogue::below(root, key.beside()).await?;
    let all = || beside.captures().chain(&beside.replaced);
    let others: Vec<&Kept> = all().filter(|other| other.key.capture == key.capture && other.key != *key).collect();
    if beside.captures().any(|other| other.key == *key) {
        return Ok(pushed);
    }
    if is_part(root, all(), &key.capture).await? {
        return Ok(Pushed { outcome: Outcome::Part, ..pushed });
    }
    if let (Some(other), false) = (others.first(), force) {
        let (node, capture) = (other.node().into(), other.capture().into());
        return Err(FleetError::Other { root: root.name().into(), node, capture });
    }
    let sizes = sizes(root, key).await?;
    let missing: Vec<&Going> = going.iter().filter(|file| sizes.get(&file.to) != Some(&file.bytes)).collect();
    told(Step::Begin(missing.iter().map(|file| file.bytes).sum()));
    stream::iter(missing.iter().map(|file| send(root, file, told))).buffer_unordered(FILES).try_collect::<()>().await?;
    let manifest = PutPayload::from(entry.to_json());
    root.store()
        .put(&key.manifest(SCHEMA_VERSION, !entry.replaces.is_empty()), manifest)
        .await
        .map_err(root.failed("write a manifest"))?;
    for other in &others {
        crate::prune::remove(root, other).await?;
    }
    pushed.outcome = Outcome::Pushed;
    pushed.sent = missing.iter().map(|file| file.bytes).sum();
    Ok(pushed)
}

/// What is to go, and what it will be called.
fn prepare(dataset: &Dataset, replaces: Vec<String>) -> Result<(Key, Entry, Vec<Going>), FleetError> {
    let mut all = Xxh3::new();
    let mut files = Vec::new();
    let mut hashed = Vec::new();
    for &table in Table::ALL {
        for path in dataset.files(table)? {
            let (bytes, hash) = digest(&path)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            all.update(format!("{} {name} {bytes} {hash:032x}\n", table.name()).as_bytes());
            files.push(File { table: table.name().into(), name, bytes });
            hashed.push((path, hash));
        }
    }
    let mut entry = Entry::new(dataset.manifest().clone(), Summary::of(dataset)?, files);
    entry.replaces = replaces;
    all.update(&entry.to_json());
    let key = Key::of(dataset.manifest(), format!("{:016x}", all.digest()));
    let going = entry.files.iter().zip(hashed).map(|(file, (from, hash))| Going {
        from,
        to: key.file(&file.table, &file.name),
        bytes: file.bytes,
        hash,
    });
    let going = going.collect();
    Ok((key, entry, going))
}

/// The size of a file, and what is in it.
fn digest(path: &std::path::Path) -> Result<(u64, u128), FleetError> {
    let (mut hash, mut bytes) = (Xxh3::new(), 0);
    each_piece(path, |piece| {
        bytes += piece.len() as u64;
        hash.update(piece);
    })?;
    Ok((bytes, hash.digest128()))
}

fn each_piece(path: &std::path::Path, mut take: impl FnMut(&[u8])) -> Result<(), StoreError> {
    let failed = |source| StoreError::Io { action: "read", path: path.into(), source };
    let mut file = Disk::open(path).map_err(failed)?;
    let mut piece = vec![0; PIECE.min(1 << 20)];
    loop {
        match file.read(&mut piece).map_err(failed)? {
            0 => return Ok(()),
            read => take(&piece[..read]),
        }
    }
}

/// Whether a capture is part of another that is there.
async fn is_part(root: &Root, all: impl Iterator<Item = &Kept>, capture: &str) -> Result<bool, FleetError> {
    for merged in all.filter(|kept| kept.merged) {
        if merged.open(root).await?.replaces.iter().any(|part| part == capture) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The files that are there already, and their sizes: those that nobody sweeps before this push has ended.
async fn sizes(root: &Root, key: &Key) -> Result<HashMap<Path, u64>, FleetError> {
    let old = chrono::Utc::now().timestamp() - UNDER_WAY / 2;
    let young = files_of(root, key).await?.into_iter().filter(|object| object.last_modified.timestamp() > old);
    Ok(young.map(|object| (object.location, object.size)).collect())
}

/// The files of a capture that are there, of this content.
pub(crate) async fn files_of(root: &Root, key: &Key) -> Result<Vec<ObjectMeta>, FleetError> {
    let listed = stream::iter(Table::ALL).map(|table| root.store().list(Some(&key.directory(table.name()))));
    let its = |object: &ObjectMeta| Key::of_file(object.location.as_ref()).as_ref() == Some(key);
    let listed = listed.flatten_unordered(FILES).try_filter(|object| std::future::ready(its(object)));
    listed.try_collect().await.map_err(root.failed("list its files"))
}

/// Brings a file over.
async fn send(root: &Root, file: &Going, told: &(dyn Fn(Step) + Sync)) -> Result<(), FleetError> {
    let changed = || FleetError::Changed { path: file.from.display().to_string() };
    let mut hash = Xxh3::new();
    if file.bytes <= PIECE as u64 {
        let mut whole = Vec::with_capacity(file.bytes as usize);
        each_piece(&file.from, |piece| {
            hash.update(piece);
            whole.extend_from_slice(piece);
        })?;
        if hash.digest128() != file.hash {
            return Err(changed());
        }
        root.store().put(&file.to, whole.into()).await.map_err(root.failed("write a file"))?;
        told(Step::Sent(file.bytes));
        return Ok(());
    }
    let failed = |source| StoreError::Io { action: "read", path: file.from.clone(), source };
    let mut from = tokio::fs::File::open(&file.from).await.map_err(failed)?;
    let upload = root.store().put_multipart(&file.to).await.map_err(root.failed("write a file"))?;
    let mut upload = WriteMultipart::new_with_chunk_size(upload, PIECE);
    let sent = async {
        let mut piece = vec![0; 1 << 20];
        loop {
            let read = tokio::io::AsyncReadExt::read(&mut from, &mut piece).await.map_err(failed)?;
            if read == 0 {
                break;
            }
            hash.update(&piece[..read]);
            upload.wait_for_capacity(PIECES).await.map_err(root.failed("write a file"))?;
            upload.write(&piece[..read]);
            told(Step::Sent(read as u64));
        }
        if hash.digest128() == file.hash { Ok(()) } else { Err(changed()) }
    };
    // What is not ended shows to nobody, but takes room.
    match sent.await {
        Ok(()) => upload.finish().await.map(drop).map_err(root.failed("write a file")),
        Err(error) => {
            let _ = upload.abort().await;
            Err(error)
        }
    }
}
