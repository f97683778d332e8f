//! Where a root is: a directory, or a place in an S3-compatible store.

use std::fmt;
use std::path::{self, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use crate::FleetError;

/// The scheme of S3.
const S3: &str = "s3://";
/// What a request may take; a request that asks for much sends its answer bit by bit.
const REQUEST: Duration = Duration::from_secs(60);
/// How long a store that fails is tried.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often.
const TRIES: usize = 5;

/// A root.
#[derive(Clone)]
pub struct Root {
    name: String,
    store: Arc<dyn ObjectStore>,
    bucket: Arc<dyn ObjectStore>,
    prefix: Path,
    url: Url,
    directory: Option<PathBuf>,
}

impl Root {
    /// Whether a word names a root in a store, and no path.
    pub fn is_url(word: &str) -> bool {
        word.starts_with(S3)
    }

    /// Whether a directory is a root.
    pub fn is_in(directory: &path::Path) -> bool {
        directory.join(crate::MANIFESTS).is_dir() && !directory.join(havana_store::MANIFEST_FILE).exists()
    }

    /// The root that a word names: `s3://BUCKET[/PREFIX]`, or a directory, which need not be there yet. Who asks S3, and where
    /// that is, the environment says as for other tools: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`,
    /// `AWS_REGION`, `AWS_ENDPOINT_URL`.
    ///
    /// # Errors
    /// It names neither.
    pub fn open(word: &str) -> Result<Root, FleetError> {
        if Root::is_url(word) { Root::s3(word) } else { Root::local(word) }
    }

    /// [`open`](Self::open), and makes the directory where it is none yet.
    ///
    /// # Errors
    /// It names neither; the directory cannot be made.
    pub fn create(word: &str) -> Result<Root, FleetError> {
        if is_path(word) && path::Path::new(word).join(havana_store::MANIFEST_FILE).exists() {
            return Err(FleetError::Root {
                root: word.into(),
                why: "it is a dataset, and no root: name one at the end".into(),
            });
        }
        if is_path(word) {
            let made = std::fs::create_dir_all(word);
            made.map_err(|error| FleetError::Root { root: word.into(), why: format!("cannot be made: {error}") })?;
        }
        Root::open(word)
    }

    fn s3(word: &str) -> Result<Root, FleetError> {
        let wrong = |why: String| FleetError::Root { root: word.into(), why };
        let url = Url::parse(word).map_err(|error| wrong(error.to_string()))?;
        let bucket =
            url.host_str().filter(|bucket| !bucket.is_empty()).ok_or_else(|| wrong("it names no bucket".into()))?;
        let prefix = Path::from_url_path(url.path()).map_err(|error| wrong(error.to_string()))?;
        let endpoint = std::env::var("AWS_ENDPOINT_URL_S3").or_else(|_| std::env::var("AWS_ENDPOINT_URL"));
        if let Ok(endpoint) = &endpoint
            && Url::parse(endpoint).ok().is_none_or(|url| !matches!(url.scheme(), "http" | "https"))
        {
            return Err(wrong(format!("AWS_ENDPOINT_URL is {endpoint:?}, and should begin with https:// or http://")));
        }
        let plain = endpoint.as_ref().is_ok_and(|endpoint| endpoint.starts_with("http://"));
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(5),
                base: 2.0,
            },
            max_retries: TRIES,
            retry_timeout: PATIENCE,
        };
        let client = ClientOptions::new().with_timeout(REQUEST).with_connect_timeout(Duration::from_secs(10));
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_client_options(client.with_allow_http(plain))
            .with_retry(retry);
        if let Ok(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let store = builder.build().map_err(|error| wrong(error.to_string()))?;
        let name = word.trim_end_matches('/').to_string();
        let bucket: Arc<dyn ObjectStore> = Arc::new(store);
        let store = below(&bucket, &prefix);
        Ok(Root { name, store, bucket, prefix, url, directory: None })
    }

    fn local(word: &str) -> Result<Root, FleetError> {
        let wrong = |why: String| FleetError::Root { root: word.into(), why };
        if !is_path(word) {
            return Err(wrong("a root is s3://BUCKET/PREFIX, or a directory".into()));
        }
        let directory = path::absolute(word).map_err(|error| wrong(error.to_string()))?;
        // A reader makes none.
        if !directory.is_dir() {
            let there = directory.exists();
            return Err(wrong(if there { "it is no directory" } else { "there is no such directory" }.into()));
        }
        let there = directory.canonicalize().map_err(|error| wrong(error.to_string()))?;
        let prefix = Path::from_absolute_path(&there).map_err(|error| wrong(error.to_string()))?;
        let url = Url::from_directory_path(&there).map_err(|()| wrong("it is no path".into()))?;
        let bucket: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new());
        let store = LocalFileSystem::new_with_prefix(there).map_err(|error| wrong(error.to_string()))?;
        // Directories are names of hours and nodes: an empty one would be one that is there.
        let store = store.with_automatic_cleanup(true);
        let name = word.trim_end_matches('/').into();
        Ok(Root { name, store: Arc::new(store), bucket, prefix, url, directory: Some(directory) })
    }

    /// As it was said.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is under it; paths begin there.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The store that it is in, whole: a bucket, or this machine's disks. Paths there begin with [`prefix`](Self::prefix).
    pub fn bucket(&self) -> &Arc<dyn ObjectStore> {
        &self.bucket
    }

    /// Where in its store it is.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// Its address.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The address of one of its directories, as every engine that reads files knows it.
    pub fn url_of(&self, directory: &str) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().push(directory).push("");
        }
        url
    }

    /// The directory that it is, if it is one.
    pub fn directory(&self) -> Option<&path::Path> {
        self.directory.as_deref()
    }

    /// Makes an error of its store one of ours.
    pub(crate) fn failed(&self, action: &'static str) -> impl FnOnce(object_store::Error) -> FleetError {
        FleetError::of(&self.name, action)
    }
}

/// Whether a word is the path of a directory, and no address, nor one that lacks a slash.
fn is_path(word: &str) -> bool {
    !word.contains("://") && !word.starts_with("s3:")
}

/// A part of a store, as a store.
fn below(store: &Arc<dyn ObjectStore>, prefix: &Path) -> Arc<dyn ObjectStore> {
    if prefix.as_ref().is_empty() {
        return Arc::clone(store);
    }
    Arc::new(PrefixStore::new(Arc::clone(store), prefix.clone()))
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Root").field(&self.name).finish()
    }
}
