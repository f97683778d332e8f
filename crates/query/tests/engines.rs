//! Other engines give the same answers: DuckDB, polars (which is not asked in SQL, but in words of its own) and Spark.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{HAVANA_SQL, analyze, python, python_has, skipped};
use crate::fleet::on_disk;

/// Under the root of a fleet, or, where datasets are named, in these.
fn agree(test: &str, root: &Path, datasets: &[PathBuf]) {
    if !python_has(test, &["duckdb", "polars"]) {
        return;
    }
    let spark = python_has(&format!("{test}, Spark"), &["pyspark"]) && has_java(test);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engines/engines.py");
    let mut command = Command::new(python());
    command.arg(script).args(["--engines", if spark { "duckdb,polars,spark" } else { "duckdb,polars" }]);
    let output = command.args([HAVANA_SQL.as_ref(), root]).args(datasets).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.lines().count(), 21, "{said}");
    // An answer of no row would be equal to anything.
    for question in ["cpu-states", "top-processes", "exit-percentiles", "steal-matrix", "nodes", "during-findings"] {
        assert!(!said.contains(&format!("{question}: 0 rows")), "{said}");
    }
}

fn has_java(test: &str) -> bool {
    let has = Command::new("java").arg("-version").output().is_ok_and(|output| output.status.success());
    if !has {
        skipped(&format!("{test}, Spark"), "there is no java");
    }
    has
}

/// As `havana push` puts them: other engines read the same files.
#[test]
fn under_a_root_of_100_nodes() {
    agree("a fleet in other engines", on_disk(), &[]);
}

#[test]
fn on_captures() {
    let dir = tempfile::tempdir().unwrap();
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    let mut traces: Vec<PathBuf> = Vec::new();
    for below in ["captures", "recordings"] {
        traces.extend(std::fs::read_dir(testdata.join(below)).unwrap().map(|entry| entry.unwrap().path()));
    }
    traces.sort();
    let mut datasets = Vec::new();
    for trace in traces {
        let name = trace.file_name().unwrap().to_string_lossy().into_owned();
        if trace.is_dir() || name.ends_with(".perf.data") {
            let dataset = dir.path().join(format!("{name}.havana"));
            analyze(&trace, &format!("node of {name}"), &dataset);
            datasets.push(dataset);
        }
    }
    assert!(datasets.len() > 4);
    agree("captures in other engines", &dir.path().join("root"), &datasets);
}
