//! `…/outputs/XY/{output}`: a line a VM: how many cpus it had, how often it was left.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::answer::model;
use super::outputs::{Known, Output};
use super::query::Query;
use super::{Asked, Tsp, TspError, styles};
use crate::error::ApiError;
use crate::view::sums::Sum;
use crate::view::{Opened, Window, busy, exits};

/// The line of all VMs together; that of a VM is the one after its number.
const ALL: i64 = 0;

fn entry_of(vm: i32) -> i64 {
    i64::from(vm) + 1
}

fn title(output: Output, tsp: &Tsp) -> Result<(&'static str, &'static str), ApiError> {
    match output {
        Output::Busy => Ok(("Cpus in the guest", "cpus")),
        Output::Exits if tsp.times.are_ns() => Ok(("VM exits", "a second")),
        Output::Exits => Ok(("VM exits", "a million ticks")),
        _ => Err(output.is_no("XY chart")),
    }
}

/// Which lines there are.
pub(super) async fn tree(State(tsp): Asked, Known(output): Known, _: Query) -> Result<Response, TspError> {
    title(output, &tsp)?;
    let all = json!({ "id": ALL, "labels": ["all VMs"], "hasData": true, "isDefault": false, "style": style(None) });
    let of_vm = |vm: i32| {
        json!({
            "id": entry_of(vm), "parentId": ALL, "labels": [tsp.names.vm(vm)], "hasData": true, "isDefault": true,
            "style": style(Some(vm)), "metadata": { "vm": [vm] },
        })
    };
    let vms = tsp.app.opened().vms.iter().map(|vm| of_vm(vm.vm_id));
    let entries: Vec<Value> = std::iter::once(all).chain(vms).collect();
    Ok(model(json!({ "headers": [{ "name": "VM", "tooltip": "" }], "entries": entries, "autoExpandLevel": -1 }))?)
}

fn style(vm: Option<i32>) -> Value {
    let colour = vm.map_or(styles::of_vm(-1), styles::of_vm);
    json!({ "values": { "color": colour, "series-type": "line", "series-style": "solid", "width": 1 } })
}

/// The lines.
pub(super) async fn lines(State(tsp): Asked, Known(output): Known, query: Query) -> Result<Response, TspError> {
    tsp.work(move |tsp, opened| {
        let (title, unit) = title(output, tsp)?;
        let asked = query.sampled(opened, &tsp.times)?;
        let items = query.items()?;
        // Bins are up to half as wide as asked for: no more of them than times.
        let pixels = (asked.times / 2).clamp(1, 16_384);
        let bins = match output {
            Output::Busy => busy::rate(opened, asked.window, pixels)?,
            _ => exits::rate(opened, asked.window, pixels)?,
        };
        let bins = Bins::of(opened, asked.window, bins);
        let x: Vec<i64> = bins.places.iter().map(|place| tsp.times.time(place.from)).collect();
        let vms = opened.vms.iter().map(|vm| (entry_of(vm.vm_id), Some(vm.vm_id)));
        let wanted = std::iter::once((ALL, None)).chain(vms).filter(|(entry, _)| items.contains(entry));
        let series = wanted.map(|(entry, vm)| {
            let y = bins.values(vm, |sum, place| match output {
                Output::Busy => sum.ticks as f64 / place.ticks() as f64,
                _ if tsp.times.are_ns() => sum.count as f64 / tsp.times.seconds(place.ticks()),
                _ => sum.count as f64 / place.ticks() as f64 * 1e6,
            });
            let axis = |label: &str, unit: &str, kind: &str| json!({ "label": label, "unit": unit, "dataType": kind });
            json!({
                "seriesId": entry, "seriesName": vm.map_or_else(|| "all VMs".into(), |vm| tsp.names.vm(vm)),
                "xValues": x, "yValues": y, "style": style(vm),
                "xValuesDescription": axis("Time", if tsp.times.are_ns() { "ns" } else { "ticks" }, "TIMESTAMP"),
                "yValuesDescription": axis(title, unit, "NUMBER"),
            })
        });
        model(json!({ "title": format!("{title}, {unit}"), "series": series.collect::<Vec<Value>>() }))
    })
    .await
}

/// Sums by bin, with the bins in which there was nothing.
struct Bins {
    /// What of each bin lies in the dataset.
    places: Vec<Window>,
    /// By place and VM.
    sums: BTreeMap<(usize, i32), Sum>,
}

impl Bins {
    fn of(opened: &Opened, window: Window, bins: Vec<(i64, i64, i32, Sum)>) -> Bins {
        let width = bins.first().map_or(window.ticks().max(1), |(start, end, ..)| end - start);
        let first = bins
            .first()
            .map_or(window.from, |(start, ..)| window.from.div_euclid(width) * width + start.rem_euclid(width));
        let count = usize::try_from((window.to - first + width - 1) / width).unwrap_or(0).max(1);
        let place = |number: usize| {
            let start = first + number as i64 * width;
            let (from, to) = (start.max(opened.first_tsc), (start + width).min(opened.last_tsc));
            Window { from, to: to.max(from + 1) }
        };
        let sums = bins.into_iter().filter_map(|(start, _, vm, sum)| {
            let number = usize::try_from((start - first) / width).ok().filter(|number| *number < count)?;
            Some(((number, vm), sum))
        });
        Bins { places: (0..count).map(place).collect(), sums: sums.collect() }
    }

    /// The value of each bin, of a VM or of all.
    fn values(&self, vm: Option<i32>, value: impl Fn(Sum, Window) -> f64) -> Vec<f64> {
        let mut sums = vec![Sum::default(); self.places.len()];
        for (&(number, of), &sum) in &self.sums {
            if vm.is_none_or(|vm| vm == of) {
                sums[number].add(sum);
            }
        }
        sums.into_iter().zip(&self.places).map(|(sum, place)| short(value(sum, *place))).collect()
    }
}

/// The number with nine digits: some clients take one that is written with more than fifteen characters for an integer, and
/// then fail.
fn short(number: f64) -> f64 {
    format!("{number:.8e}").parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_with_fifteen_characters_at_most() {
        for number in [0.0, 1.0 / 3.0, 2e9 / 3.0, 1e-7 / 3.0, 0.000_123_456_789_123, 1_485.037_687_337_933_4, 16.0] {
            let text = json!(short(number)).to_string();
            assert!(text.len() <= 15, "{text}");
            assert!((short(number) - number).abs() <= number * 1e-8, "{text}");
        }
    }
}
