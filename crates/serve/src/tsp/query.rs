//! What a request asks for: the body of it, `{"parameters": {…}}`.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use serde::Deserialize;
use serde_json::Value;

use super::TspError;
use super::times::Times;
use crate::error::ApiError;
use crate::view::{Opened, Window};

/// Bytes of a body at most: 65,536 times as numbers fit.
const BODY: usize = 2 << 20;
/// How long it may take to come.
const PATIENCE: Duration = Duration::from_secs(20);
/// Times of a range at most, by the protocol.
const TIMES: i64 = 65_536;
/// Times where it is not said how many.
const SOME: u32 = 1000;

/// The parameters; each request takes those that are its own.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    requested_timerange: Option<Range>,
    /// What older clients send instead.
    requested_times: Option<Vec<i64>>,
    pub(super) requested_items: Option<Vec<i64>>,
    pub(super) requested_element: Option<Element>,
    pub(super) requested_marker_categories: Option<Vec<String>>,
    pub(super) requested_table_index: Option<i64>,
    pub(super) requested_table_count: Option<i64>,
    pub(super) requested_table_column_ids: Option<Vec<i64>>,
    pub(super) table_search_expressions: Option<BTreeMap<String, String>>,
    pub(super) table_search_direction: Option<String>,
    pub(super) uri: Option<String>,
    pub(super) name: Option<String>,
    pub(super) traces: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Range {
    start: i64,
    end: i64,
    #[serde(rename = "nbTimes")]
    times: Option<i64>,
}

/// What a tooltip is of.
#[derive(Debug, Deserialize)]
pub(super) struct Element {
    pub(super) time: i64,
    pub(super) duration: i64,
}

/// A stretch of time, and into how many parts a client can show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sampled {
    pub(super) window: Window,
    pub(super) times: u32,
}

fn wrong(what: String) -> ApiError {
    ApiError::Request(what)
}

impl<S: Sync> FromRequest<S> for Query {
    type Rejection = TspError;

    async fn from_request(request: Request, _: &S) -> Result<Query, TspError> {
        #[derive(Deserialize)]
        struct Body {
            parameters: Option<Value>,
        }
        let bytes = tokio::time::timeout(PATIENCE, to_bytes(request.into_body(), BODY)).await;
        let bytes = bytes.map_err(|_| wrong("the request does not come to its end".into()))?;
        let bytes = bytes.map_err(|_| wrong(format!("the request is longer than {BODY} bytes, or broke off")))?;
        let body: Body =
            serde_json::from_slice(&bytes).map_err(|error| wrong(format!("the request is no JSON: {error}")))?;
        let parameters = body.parameters.ok_or_else(|| wrong("parameters is missing".into()))?;
        Ok(serde_json::from_value(parameters).map_err(|error| wrong(format!("parameters: {error}")))?)
    }
}

impl Query {
    /// The times asked for: none where it is not said.
    fn range(&self) -> Result<Option<(i64, i64, u32)>, ApiError> {
        if let Some(Range { start, end, times }) = &self.requested_timerange {
            let times = times.unwrap_or(i64::from(SOME));
            if !(1..=TIMES).contains(&times) {
                return Err(wrong(format!("nbTimes={times} is not from 1 to {TIMES}")));
            }
            return Ok(Some((*start, *end, times as u32)));
        }
        let Some(times) = &self.requested_times else { return Ok(None) };
        if times.len() as i64 > TIMES {
            return Err(wrong(format!("{} times: {TIMES} at most", times.len())));
        }
        Ok(match (times.first(), times.last()) {
            (Some(&start), Some(&end)) => Some((start, end, times.len() as u32)),
            _ => None,
        })
    }

    /// What of the dataset the times asked for cover, with as many parts as fall to it.
    pub(super) fn sampled(&self, opened: &Opened, times: &Times) -> Result<Sampled, ApiError> {
        let range = self.range()?.ok_or_else(|| wrong("requested_timerange is missing".into()))?;
        sampled(opened, times, range)
    }

    /// The window asked for, else all.
    pub(super) fn window(&self, opened: &Opened, times: &Times) -> Result<Window, ApiError> {
        let all = Window { from: opened.first_tsc, to: opened.last_tsc };
        self.range()?.map_or(Ok(all), |range| Ok(sampled(opened, times, range)?.window))
    }

    /// The one time asked for.
    pub(super) fn time(&self) -> Option<i64> {
        self.requested_times.as_ref().and_then(|times| times.first().copied())
    }

    pub(super) fn items(&self) -> Result<&[i64], ApiError> {
        self.requested_items.as_deref().ok_or_else(|| wrong("requested_items is missing".into()))
    }
}

fn sampled(opened: &Opened, times: &Times, (start, end, count): (i64, i64, u32)) -> Result<Sampled, ApiError> {
    if start > end {
        return Err(wrong(format!("start={start} is after end={end}")));
    }
    let asked = Window { from: times.tick(start), to: times.tick(end).saturating_add(1) };
    // Outside is nothing: what is drawn there need not be worked out.
    let from = asked.from.clamp(opened.first_tsc, opened.last_tsc);
    let window = Window { from, to: asked.to.min(opened.last_tsc).max(from) };
    let part = window.ticks() as f64 / (asked.ticks() as f64).max(1.0);
    let times = (f64::from(count) * part).ceil().clamp(1.0, f64::from(count));
    Ok(Sampled { window, times: times as u32 })
}
