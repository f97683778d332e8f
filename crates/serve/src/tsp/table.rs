//! `…/outputs/table/{output}`: the findings, a line each, the first first.

use axum::extract::State;
use axum::response::Response;
use havana_rows::Finding;
use havana_store::StoreError;
use serde_json::{Value, json};

use super::answer::model;
use super::outputs::{Known, Output};
use super::query::Query;
use super::{Asked, Tsp, TspError};
use crate::error::ApiError;
use crate::view::Opened;

/// Lines of an answer at most.
const LINES: i64 = 10_000;
/// The tag of a line that a search found.
const HIGHLIGHT: u8 = 8;

/// Name, type, and what is in it. Clients know the time of a line by the name of the first.
const COLUMNS: [(&str, &str, &str); 9] = [
    ("Timestamp ns", "TIMESTAMP", "When it begins"),
    ("Severity", "STRING", "How much it matters"),
    ("Kind", "STRING", "What it is"),
    ("Finding", "STRING", "In plain words"),
    ("VM", "STRING", "Whom it is about"),
    ("vCPU", "STRING", "One of that VM"),
    ("Process", "STRING", "The guest's"),
    ("End ns", "TIMESTAMP", "Until when"),
    ("Sure", "NUMBER", "How surely it is so, 0 to 1"),
];

fn is_table(output: Output) -> Result<(), ApiError> {
    if output == Output::Findings { Ok(()) } else { Err(output.is_no("table")) }
}

/// Which columns there are.
pub(super) async fn columns(Known(output): Known, _: Query) -> Result<Response, TspError> {
    is_table(output)?;
    let column = |(id, (name, kind, description)): (usize, &(&str, &str, &str))| json!({ "id": id, "name": name, "type": kind, "description": description });
    Ok(model(COLUMNS.iter().enumerate().map(column).collect::<Vec<Value>>())?)
}

/// Some lines: from a place on, from a time on, or from the next that a search finds.
pub(super) async fn lines(State(tsp): Asked, Known(output): Known, query: Query) -> Result<Response, TspError> {
    is_table(output)?;
    tsp.work(move |tsp, opened| answer(tsp, opened, &query)).await
}

fn answer(tsp: &Tsp, opened: &Opened, query: &Query) -> Result<Response, ApiError> {
    let count =
        query.requested_table_count.ok_or_else(|| ApiError::Request("requested_table_count is missing".into()))?;
    if !(0..=LINES).contains(&count) {
        return Err(ApiError::Request(format!("requested_table_count={count} is not from 0 to {LINES}")));
    }
    let columns: Vec<usize> = match &query.requested_table_column_ids {
        Some(ids) if !ids.is_empty() => ids.iter().map(|&id| column(id)).collect::<Result<_, _>>()?,
        _ => (0..COLUMNS.len()).collect(),
    };
    let searched: Vec<(usize, String)> = query
        .table_search_expressions
        .iter()
        .flatten()
        .map(|(id, text)| {
            let id =
                id.parse().map_err(|_| ApiError::Request(format!("table_search_expressions: {id} is no column")))?;
            Ok((column(id)?, text.to_lowercase()))
        })
        .collect::<Result<_, ApiError>>()?;
    let lines = findings(tsp, opened)?;
    let found = |line: &[String]| {
        !searched.is_empty() && searched.iter().all(|(column, text)| line[*column].to_lowercase().contains(text))
    };
    let mut first = match (query.requested_table_index, query.time()) {
        (Some(index), _) => usize::try_from(index).unwrap_or(0),
        (None, Some(time)) => nearest(&lines, time),
        (None, None) => return Err(ApiError::Request("requested_table_index is missing".into())),
    };
    let next = match query.table_search_direction.as_deref() {
        _ if searched.is_empty() => Some(first),
        None => Some(first),
        Some("NEXT") => (first..lines.len()).find(|&line| found(&lines[line])),
        Some("PREVIOUS") => (0..lines.len().min(first.saturating_add(1))).rev().find(|&line| found(&lines[line])),
        Some(other) => {
            return Err(ApiError::Request(format!("table_search_direction={other} is neither NEXT nor PREVIOUS")));
        }
    };
    let count = if next.is_some() { count as usize } else { 0 };
    first = next.unwrap_or(first);
    let line = |(index, line): (usize, &Vec<String>)| {
        let tags = if found(line) { HIGHLIGHT } else { 0 };
        let cells: Vec<Value> = columns.iter().map(|&column| json!({ "content": line[column], "tags": 0 })).collect();
        json!({ "index": index, "cells": cells, "tags": tags })
    };
    let told: Vec<Value> = lines.iter().enumerate().skip(first).take(count).map(line).collect();
    model(json!({ "lowIndex": first, "size": lines.len(), "columnIds": columns, "lines": told }))
}

fn column(id: i64) -> Result<usize, ApiError> {
    let known = usize::try_from(id).ok().filter(|id| *id < COLUMNS.len());
    known.ok_or_else(|| ApiError::Request(format!("there is no column {id}")))
}

fn findings(tsp: &Tsp, opened: &Opened) -> Result<Vec<Vec<String>>, StoreError> {
    let findings = opened.dataset.findings()?.unwrap_or_default();
    let line = |of: &Finding| {
        let (start, end) = of.span(opened.first_tsc, opened.last_tsc);
        let time = |tsc: i64| tsp.times.time(tsc).to_string();
        vec![
            time(start),
            of.severity.name().to_string(),
            of.kind.name().to_string(),
            of.title.clone(),
            of.vm_id.map(|vm| tsp.names.vm(vm)).unwrap_or_default(),
            of.vcpu_id.map(|vcpu| tsp.names.vcpu(vcpu)).unwrap_or_default(),
            of.process_id.map(|process| tsp.names.process(process)).unwrap_or_default(),
            time(end),
            format!("{:.2}", of.sure),
        ]
    };
    Ok(findings.iter().map(line).collect())
}

/// The line that begins nearest to a time.
fn nearest(lines: &[Vec<String>], time: i64) -> usize {
    let distance = |line: &Vec<String>| line[0].parse::<i64>().map_or(u64::MAX, |start| start.abs_diff(time));
    lines.iter().enumerate().min_by_key(|(_, line)| distance(line)).map_or(0, |(index, _)| index)
}
