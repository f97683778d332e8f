//! What is normal on a node, learnt of datasets, and what of another dataset is not.
//!
//! ```text
//! datasets ─► windows, fingerprints ─► learn ─► Profile (JSON)
//! dataset ──► windows, fingerprints ─► assign ─► departs ─► against ─► findings
//! ```
//!
//! | module | its one question |
//! | --- | --- |
//! | `windows` | how much did each VM and process have of windows of one length? |
//! | `profile` | what is learnt, and how is it written? |
//! | `learn` | how are datasets put together? |
//! | `assign` | which VM and process is which of the profile? |
//! | `departs` | are values other than they were? |
//! | `against` | what does that make of findings? |

mod against;
mod assign;
mod departs;
mod learn;
mod profile;
mod windows;

pub use against::find_against;
pub use learn::learn;
pub use profile::{Metric, ProcessProfile, Profile, Spread, Usual, VmProfile};

use std::path::PathBuf;

use havana_store::StoreError;

/// Why nothing can be learnt, or compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaselineError {
    /// A dataset cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is none.
    #[error("no dataset to learn of")]
    Nothing,
    /// One has hardly any time.
    #[error("{}: the dataset has no time that could be learnt of", path.display())]
    Empty {
        /// The dataset.
        path: PathBuf,
    },
    /// One knows seconds, another does not.
    #[error(
        "{}: of this dataset and the others one has a TSC rate and one has none: analyze all with --tsc-hz",
        path.display()
    )]
    Units {
        /// The dataset.
        path: PathBuf,
    },
    /// The file is no JSON, or lacks something.
    #[error("no profile of HAVAna: {0}")]
    NoProfile(serde_json::Error),
    /// The file is another one.
    #[error("no profile of HAVAna: its format is {found:?}")]
    Format {
        /// What it says.
        found: String,
    },
    /// Another version wrote it.
    #[error("a profile of version {found}; this program reads version {supported}: learn it again")]
    Version {
        /// Its version.
        found: u32,
        /// The version that is read.
        supported: u32,
    },
    /// Somebody changed it.
    #[error("a profile whose windows have no length")]
    Window,
}
