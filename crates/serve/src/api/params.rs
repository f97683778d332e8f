//! Parameters of a request. What is wrong with one is said by its name.

use std::collections::BTreeMap;
use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::error::ApiError;
use crate::view::{Kind, Opened, Window};

/// Rows of a picture at most: a screen has fewer.
const IDS: usize = 512;
/// Pixels of a picture's width, at most.
const PIXELS: u32 = 16_384;
/// Ticks beyond which a number is none.
const TICKS: f64 = (1u64 << 60) as f64;

/// Parameters by name.
pub(crate) struct Params(BTreeMap<String, String>);

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        Ok(Params(query.map(|query| query.0.into_iter().collect()).unwrap_or_default()))
    }
}

fn wrong(what: String) -> ApiError {
    ApiError::Request(what)
}

impl Params {
    pub(crate) fn text(&self, name: &str) -> Result<&str, ApiError> {
        self.maybe_text(name).ok_or_else(|| wrong(format!("{name} is missing")))
    }

    pub(crate) fn maybe_text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn number(&self, name: &str) -> Result<f64, ApiError> {
        let text = self.text(name)?;
        let number = text.parse::<f64>().ok().filter(|number| number.abs() <= TICKS);
        number.ok_or_else(|| wrong(format!("{name}={text} is no number of ticks")))
    }

    /// `t`, absolute.
    pub(crate) fn tick(&self, opened: &Opened) -> Result<i64, ApiError> {
        Ok(opened.first_tsc.saturating_add(self.number("t")?.floor() as i64))
    }

    /// From `from` to `to`, absolute.
    pub(crate) fn window(&self, opened: &Opened) -> Result<Window, ApiError> {
        let (from, to) = (self.number("from")?, self.number("to")?);
        if from > to {
            return Err(wrong(format!("from={from} is after to={to}")));
        }
        Ok(opened.window(from, to))
    }

    pub(crate) fn maybe_id(&self, name: &str) -> Result<Option<i32>, ApiError> {
        let id = |text: &str| text.parse::<i32>().map_err(|_| wrong(format!("{name}={text} is no id")));
        self.maybe_text(name).map(id).transpose()
    }

    pub(crate) fn id(&self, name: &str) -> Result<i32, ApiError> {
        self.text(name)?;
        Ok(self.maybe_id(name)?.unwrap_or_default())
    }

    pub(crate) fn ids(&self) -> Result<Vec<i32>, ApiError> {
        let text = self.text("ids")?;
        let ids = text.split(',').filter(|id| !id.is_empty());
        let ids: Result<Vec<i32>, _> =
            ids.map(|id| id.parse::<i32>().map_err(|_| wrong(format!("ids: {id} is no id")))).collect();
        let ids = ids?;
        if ids.len() > IDS { Err(wrong(format!("{} ids: {IDS} at most", ids.len()))) } else { Ok(ids) }
    }

    pub(crate) fn kind(&self) -> Result<Kind, ApiError> {
        let name = self.text("kind")?;
        Kind::from_name(name).ok_or_else(|| wrong(format!("kind={name} is none of cpu, vcpu, process, vm, node")))
    }

    pub(crate) fn pixels(&self) -> Result<u32, ApiError> {
        let pixels = self.number("px")?;
        if (1.0..=f64::from(PIXELS)).contains(&pixels) {
            Ok(pixels as u32)
        } else {
            Err(wrong(format!("px={pixels} is not from 1 to {PIXELS}")))
        }
    }

    /// How many rows of a list.
    pub(crate) fn count(&self, otherwise: usize) -> Result<usize, ApiError> {
        match self.maybe_text("n") {
            None => Ok(otherwise),
            Some(text) => match text.parse::<usize>() {
                Ok(n) if n <= 10_000 => Ok(n),
                _ => Err(wrong(format!("n={text} is not from 0 to 10000"))),
            },
        }
    }

    pub(crate) fn is(&self, name: &str, value: &str) -> bool {
        self.maybe_text(name) == Some(value)
    }
}
