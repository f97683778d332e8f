//! What can go wrong with a root: a sentence each.

use std::error::Error as _;

use havana_store::StoreError;

/// Why a root could not be read, or not be written to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// It is no `s3://BUCKET/…`, and no directory either.
    #[error("{root}: {why}")]
    Root {
        /// As it was said.
        root: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no such bucket.
    #[error("{root}: there is no such bucket")]
    NoBucket {
        /// The root.
        root: String,
    },
    /// The store knows us not, or does not let us.
    #[error("{root}: access is denied: {why}; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY say who asks")]
    Denied {
        /// The root.
        root: String,
        /// What the store calls it.
        why: String,
    },
    /// The store cannot be asked.
    #[error("{root}: cannot {action}: {why}")]
    Store {
        /// The root.
        root: String,
        /// What was to be done.
        action: &'static str,
        /// Why not.
        why: String,
    },
    /// A manifest of the root is not one of ours.
    #[error("{root}/{path}: damaged manifest: {why}")]
    Manifest {
        /// The root.
        root: String,
        /// Where in it.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The capture is there, with another content.
    #[error("{root}: capture {capture} of node {node} is there with another content; --force replaces it")]
    Other {
        /// The root.
        root: String,
        /// Whose.
        node: String,
        /// Its id.
        capture: String,
    },
    /// A file of the dataset has changed while it was pushed.
    #[error("{path}: changed while it was pushed")]
    Changed {
        /// The file.
        path: String,
    },
    /// The work was stopped.
    #[error("stopped: {0}")]
    Stopped(String),
    /// The dataset cannot be read.
    #[error(transparent)]
    Dataset(#[from] StoreError),
}

impl FleetError {
    /// Makes an error of the store one of ours, for `map_err`.
    pub(crate) fn of(root: &str, action: &'static str) -> impl FnOnce(object_store::Error) -> FleetError + use<> {
        let root = root.to_string();
        move |error| {
            let text = whole(&error);
            let denied = matches!(
                error,
                object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }
            );
            if text.contains("NoSuchBucket") {
                FleetError::NoBucket { root }
            } else if denied || DENIALS.iter().any(|code| text.contains(code)) {
                FleetError::Denied { root, why: code(&text).unwrap_or("no right to do it").into() }
            } else {
                FleetError::Store { root, action, why: innermost(&error) }
            }
        }
    }

    /// Whether it may go well when it is tried again later.
    pub fn may_pass(&self) -> bool {
        matches!(self, FleetError::Store { .. })
    }
}

/// What S3 calls a refusal of who asks.
const DENIALS: [&str; 5] =
    ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"];

/// The error and its causes.
fn whole(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(one) = cause {
        text = format!("{text}: {one}");
        cause = one.source();
    }
    text
}

/// The `<Code>` of an answer of S3.
fn code(text: &str) -> Option<&str> {
    let after = text.split_once("<Code>")?.1;
    Some(after.split_once("</Code>")?.0)
}

/// What was at the bottom of it, in one line.
fn innermost(error: &object_store::Error) -> String {
    let text = whole(error);
    if let Some(code) = code(&text) {
        return code.into();
    }
    let mut last: &dyn std::error::Error = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_store_says_is_told_in_a_sentence() {
        let said = |text: &str| {
            let error = object_store::Error::Generic { store: "S3", source: text.to_string().into() };
            FleetError::of("s3://fleet", "list it")(error).to_string()
        };
        assert_eq!(said("404: <Code>NoSuchBucket</Code>"), "s3://fleet: there is no such bucket");
        assert!(
            said("<Code>SignatureDoesNotMatch</Code>")
                .starts_with("s3://fleet: access is denied: SignatureDoesNotMatch;")
        );
        assert_eq!(said("connection\nrefused"), "s3://fleet: cannot list it: connection refused");
    }
}
