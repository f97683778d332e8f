//! A root of many nodes for many hours, made of hard links into one of few: how far does a fleet go, without the disks of one.
//!
//! ```text
//! multiply ROOT OUT HOURS NODES [TABLE…]    every node of OUT is one of ROOT's, every hour; all tables, or these
//! ```
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use chrono::DateTime;
use havana_fleet::MANIFESTS;

/// The hours go on from here: 2026-11-20 00:00 UTC.
const BEGIN: i64 = 1_795_132_800;

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let [root, out, hours, nodes, tables @ ..] = words.as_slice() else {
        panic!("multiply ROOT OUT HOURS NODES [TABLE…]");
    };
    let (root, out) = (Path::new(root), Path::new(out));
    let (hours, nodes): (i64, usize) = (hours.parse().unwrap(), nodes.parse().unwrap());
    let is_asked = |table: &str| table != MANIFESTS && (tables.is_empty() || tables.iter().any(|asked| asked == table));
    // Of each node of ROOT one capture: its files by table, and its manifest.
    let mut captures: BTreeMap<String, (Vec<PathBuf>, Option<PathBuf>)> = BTreeMap::new();
    for file in files(root) {
        let parts: Vec<&str> = file.iter().map(|part| part.to_str().unwrap()).collect();
        let capture = captures.entry(parts[2].into()).or_default();
        match parts[0] {
            MANIFESTS => capture.1 = Some(file),
            table if is_asked(table) => capture.0.push(file),
            _ => {}
        }
    }
    let captures: Vec<_> = captures.into_values().filter_map(|(files, manifest)| Some((files, manifest?))).collect();
    for hour in 0..hours {
        let name = DateTime::from_timestamp(BEGIN + hour * 3600, 0).unwrap().format("hour=%Y-%m-%d-%H").to_string();
        for node in 0..nodes {
            let (files, manifest) = &captures[node % captures.len()];
            let place = |table: &str| out.join(table).join(&name).join(format!("node=n{node:05}"));
            let capture = format!("capture=c{hour:03}{node:05}");
            for file in files {
                let table = file.iter().next().unwrap().to_str().unwrap();
                link(&root.join(file), &place(table).join(&capture).join(file.file_name().unwrap()));
            }
            // What follows the capture's id: digest and version.
            let ending = manifest.file_name().unwrap().to_str().unwrap().split_once('.').unwrap().1;
            link(&root.join(manifest), &place(MANIFESTS).join(format!("{capture}.{ending}")));
        }
    }
}

/// All files below, by their paths there.
fn files(root: &Path) -> Vec<PathBuf> {
    let (mut open, mut found) = (vec![root.to_path_buf()], Vec::new());
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path.strip_prefix(root).unwrap().to_path_buf()) }
        }
    }
    found.sort();
    found
}

fn link(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::hard_link(from, to).unwrap();
}
