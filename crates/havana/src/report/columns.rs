//! Columns of a batch, by name and type.

use anyhow::Context;
use arrow::array::{Array, AsArray, DictionaryArray, Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::{Int8Type, Int32Type, Int64Type};

pub(super) fn longs<'a>(batch: &'a RecordBatch, name: &str) -> anyhow::Result<&'a Int64Array> {
    let column = batch.column_by_name(name).with_context(|| format!("no column {name}"))?;
    column.as_primitive_opt::<Int64Type>().with_context(|| format!("column {name} is not of 64-bit integers"))
}

pub(super) fn ints<'a>(batch: &'a RecordBatch, name: &str) -> anyhow::Result<&'a Int32Array> {
    let column = batch.column_by_name(name).with_context(|| format!("no column {name}"))?;
    column.as_primitive_opt::<Int32Type>().with_context(|| format!("column {name} is not of 32-bit integers"))
}

/// A column of names, as what they stand for.
pub(super) struct Names<'a, T> {
    keys: &'a DictionaryArray<Int8Type>,
    values: Vec<Option<T>>,
}

impl<'a, T: Copy> Names<'a, T> {
    pub(super) fn of(batch: &'a RecordBatch, name: &str, read: impl Fn(&str) -> Option<T>) -> anyhow::Result<Self> {
        let column = batch.column_by_name(name).with_context(|| format!("no column {name}"))?;
        let keys = column
            .as_any()
            .downcast_ref::<DictionaryArray<Int8Type>>()
            .with_context(|| format!("column {name} holds no names"))?;
        let text = keys.values().as_string_opt::<i32>().with_context(|| format!("column {name} holds no text"))?;
        Ok(Names { keys, values: text.iter().map(|t| t.and_then(&read)).collect() })
    }

    pub(super) fn get(&self, row: usize) -> Option<T> {
        self.keys.key(row).and_then(|k| self.values.get(k).copied().flatten())
    }
}

pub(super) fn int(column: &Int32Array, row: usize) -> Option<i32> {
    column.is_valid(row).then(|| column.value(row))
}
