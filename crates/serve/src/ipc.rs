//! Answers of many rows: an Arrow IPC stream of one batch.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Float64Array, Int32Array, RecordBatch, UInt8Array};
use arrow::datatypes::{Field, Schema};
use arrow::ipc::writer::StreamWriter;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::error::ApiError;

/// The columns of an answer, in their order.
#[derive(Default)]
pub(crate) struct Columns {
    columns: Vec<(&'static str, ArrayRef)>,
    metadata: HashMap<String, String>,
}

impl Columns {
    pub(crate) fn bytes(self, name: &'static str, values: impl Iterator<Item = u8>) -> Self {
        self.with(name, Arc::new(values.collect::<UInt8Array>()))
    }

    pub(crate) fn ids(self, name: &'static str, values: impl Iterator<Item = i32>) -> Self {
        self.with(name, Arc::new(values.collect::<Int32Array>()))
    }

    pub(crate) fn numbers(self, name: &'static str, values: impl Iterator<Item = f64>) -> Self {
        self.with(name, Arc::new(values.collect::<Float64Array>()))
    }

    pub(crate) fn shares(self, name: &'static str, values: impl Iterator<Item = f32>) -> Self {
        self.with(name, Arc::new(values.collect::<Float32Array>()))
    }

    pub(crate) fn flag(mut self, name: &'static str, value: bool) -> Self {
        self.metadata.insert(name.into(), u8::from(value).to_string());
        self
    }

    fn with(mut self, name: &'static str, array: ArrayRef) -> Self {
        self.columns.push((name, array));
        self
    }

    /// The answer.
    pub(crate) fn answer(self) -> Result<Response, ApiError> {
        let field = |(name, array): &(&'static str, ArrayRef)| Field::new(*name, array.data_type().clone(), false);
        let fields: Vec<Field> = self.columns.iter().map(field).collect();
        let schema = Arc::new(Schema::new_with_metadata(fields, self.metadata));
        let arrays = self.columns.into_iter().map(|(_, array)| array).collect();
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)?;
        let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
        writer.write(&batch)?;
        let bytes = writer.into_inner()?;
        let headers =
            [(header::CONTENT_TYPE, "application/vnd.apache.arrow.stream"), (header::CACHE_CONTROL, "no-store")];
        Ok((headers, bytes).into_response())
    }
}
