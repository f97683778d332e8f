//! The forms of answers: a model with its status, and an error.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::ApiError;

/// Why there is no answer, in the protocol's form.
#[derive(Debug)]
pub(crate) struct TspError {
    error: ApiError,
    /// What it is about, where the protocol wants that beside it.
    about: Option<(&'static str, Value)>,
}

impl TspError {
    pub(super) fn about(error: ApiError, name: &'static str, value: Value) -> TspError {
        TspError { error, about: Some((name, value)) }
    }
}

impl<E: Into<ApiError>> From<E> for TspError {
    fn from(error: E) -> TspError {
        TspError { error: error.into(), about: None }
    }
}

impl IntoResponse for TspError {
    fn into_response(self) -> Response {
        let mut body = json!({ "title": self.error.to_string() });
        if let Some((name, value)) = self.about {
            body[name] = value;
        }
        with_status(self.error.status(), body.to_string())
    }
}

fn with_status(status: StatusCode, text: String) -> Response {
    // Clients compare the type letter for letter.
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, text).into_response()
}

/// An answer as it is.
pub(super) fn plain(value: &Value) -> Response {
    with_status(StatusCode::OK, value.to_string())
}

/// A model, worked out in full: nothing here is still being analyzed.
pub(super) fn model(model: impl Serialize) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer<T> {
        model: T,
        status: &'static str,
        status_message: &'static str,
    }
    let answer = Answer { model, status: "COMPLETED", status_message: "Completed" };
    Ok(with_status(StatusCode::OK, serde_json::to_string(&answer)?))
}

pub(super) async fn nothing_there() -> TspError {
    ApiError::NotFound("the protocol has nothing at this address, or this server has not".into()).into()
}

pub(super) async fn read_only() -> TspError {
    ApiError::NotAllowed("that cannot be done here: this server only shows its dataset").into()
}
