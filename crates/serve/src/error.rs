//! What a request gets that gets no answer: a status and a sentence.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use havana_store::StoreError;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("{0}")]
    Request(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    NotAllowed(&'static str),
    #[error("{0}")]
    Conflict(&'static str),
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("{0}")]
    Gone(String),
    #[error("too many requests at once: try again")]
    Busy,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[cfg(feature = "fleet")]
    #[error(transparent)]
    Fleet(#[from] havana_fleet::FleetError),
    #[error("the answer could not be made: {0}")]
    Answer(#[from] arrow::error::ArrowError),
    #[error("the answer could not be made: {0}")]
    Json(#[from] serde_json::Error),
}

impl ApiError {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            ApiError::Request(_) => StatusCode::BAD_REQUEST,
            ApiError::NotFound(_) => StatusCode::NOT_FOUND,
            ApiError::NotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            ApiError::Conflict(_) => StatusCode::CONFLICT,
            ApiError::Forbidden(_) => StatusCode::FORBIDDEN,
            ApiError::Gone(_) => StatusCode::GONE,
            ApiError::Busy => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::Store(_) => StatusCode::UNPROCESSABLE_ENTITY,
            #[cfg(feature = "fleet")]
            ApiError::Fleet(_) => StatusCode::BAD_GATEWAY,
            ApiError::Answer(_) | ApiError::Json(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": self.to_string() }).to_string();
        (self.status(), [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body)
            .into_response()
    }
}
