//! What cannot be answered is one clear sentence.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{answer, copy, noisy, refusal, simulated, sql};

#[test]
fn bad_sql() {
    let dataset = noisy().to_str().unwrap();
    let mut said = String::new();
    for question in [
        "SELEC 1",
        "SELECT cpu FROM",
        "SELECT vm FROM vms",
        "SELECT * FROM exit",
        "SELECT overlap_n(1, 2, 3, 4)",
        "SELECT sum(state) FROM cpu_states",
        "SELECT cpu FROM cpu_states GROUP BY state",
        "SELECT 1 / 0",
        "SELECT count(*) FROM exits WHERE 1 / (cpu - cpu) > 0",
        "INSERT INTO exits SELECT * FROM exits",
        "COPY exits TO '/tmp/x.csv'",
        "SELECT 1; SELECT 2",
    ] {
        said += &format!("{question}\n    {}\n", refusal(&[dataset, question]).replace(dataset, "DATASET"));
    }
    snapbox::assert_data_eq!(said, snapbox::file!["errors.txt"].raw());
}

#[test]
fn any_path_will_do() {
    let name = noisy().file_name().unwrap().to_str().unwrap();
    let around = format!("{}/../{name}/.", noisy().display());
    assert_eq!(answer(&[&around, "SELECT 1"]), answer(&[noisy().to_str().unwrap(), "SELECT 1"]));
}

#[test]
fn missing_and_damaged_datasets() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let damaged = |name: &str, damage: &dyn Fn(&Path)| -> PathBuf {
        let there = path(name);
        copy(noisy(), &there);
        damage(&there);
        there
    };
    let some_file = |dataset: &Path, table: &str| {
        let mut at = dataset.join(table);
        while at.is_dir() {
            at = fs::read_dir(&at).unwrap().next().unwrap().unwrap().path();
        }
        at
    };
    let no_manifest = damaged("no-manifest", &|dataset| fs::remove_file(dataset.join("manifest.json")).unwrap());
    let no_json = damaged("no-json", &|dataset| fs::write(dataset.join("manifest.json"), "{").unwrap());
    let no_file = damaged("no-file", &|dataset| fs::remove_file(some_file(dataset, "exits")).unwrap());
    let cut = damaged("cut", &|dataset| {
        let file = some_file(dataset, "exits");
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    });
    let scribbled = damaged("scribbled", &|dataset| {
        let file = some_file(dataset, "exits");
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 3;
        bytes[4..middle].fill(0xa5);
        fs::write(&file, &bytes).unwrap();
    });
    for (dataset, expected) in [
        (path("nowhere"), "nowhere: "),
        (no_manifest, "no-manifest: "),
        (no_json, "manifest.json: "),
        (no_file, "no-file/exits"),
        (cut, "cut/exits"),
        (scribbled, "scribbled/exits"),
    ] {
        let said = refusal(&[dataset.to_str().unwrap(), "SELECT sum(exit_tsc) FROM exits"]);
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

/// A word that should be a question, and a question that takes more than it may.
#[test]
fn a_question_that_cannot_be_asked() {
    let dataset = noisy().to_str().unwrap();
    let said = refusal(&[dataset, "steal-matrx"]);
    assert_eq!(said, "havana: steal-matrx: no such dataset, and no question of --list");
    assert_eq!(refusal(&["steal-matrx"]), "havana: steal-matrx: no such dataset");
    let all = "SELECT a.*, b.* FROM exits a JOIN exits b ON a.cpu = b.cpu ORDER BY a.exit_tsc, b.exit_tsc";
    let dir = tempfile::tempdir().unwrap();
    let answer = dir.path().join("answer.csv");
    let said = refusal(&[dataset, all, "--memory", "2", "-o", answer.to_str().unwrap()]);
    assert!(said.contains("more than the 2 MiB of memory it may take"), "{said}");
}

#[test]
fn versions_that_are_mixed() {
    let dir = tempfile::tempdir().unwrap();
    let other = simulated(dir.path(), "quiet", 2, "kvm-08");
    let manifest = |dataset: &Path, edit: &dyn Fn(&mut serde_json::Value)| {
        let file = dataset.join("manifest.json");
        let mut json = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        edit(&mut json);
        fs::write(&file, serde_json::to_vec(&json).unwrap()).unwrap();
    };
    let (noisy, question) = (noisy().to_str().unwrap(), "SELECT count(DISTINCT node) FROM exits");

    // What this version cannot read is refused by name.
    let newer = dir.path().join("newer");
    copy(&other, &newer);
    manifest(&newer, &|json| json["schema_version"] = 99.into());
    let said = refusal(&[noisy, newer.to_str().unwrap(), question]);
    assert!(said.contains("newer") && said.contains("version 99"), "{said}");

    // A table that an older version did not write has no rows of it, and that is said.
    let older = dir.path().join("older");
    copy(&other, &older);
    fs::remove_dir_all(older.join("findings")).unwrap();
    manifest(&older, &|json| _ = json["tables"].as_object_mut().unwrap().remove("findings"));
    let output = sql(&[noisy, older.to_str().unwrap(), "SELECT count(DISTINCT node) FROM findings", "--format", "csv"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().nth(1), Some("1"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("older: written without findings") && said.lines().count() == 1, "{said}");

    // One capture twice counts twice.
    let said = refusal(&[noisy, noisy, question]);
    assert!(said.contains("count twice"), "{said}");
    let said = refusal(&[question]);
    assert!(said.contains("no dataset"), "{said}");
}

/// A column that an older version did not write is null in its rows.
#[test]
fn a_column_that_a_dataset_lacks_is_null() {
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    let dir = tempfile::tempdir().unwrap();
    let older = simulated(dir.path(), "quiet", 2, "kvm-08");
    let mut at = older.join("exits");
    while at.is_dir() {
        at = fs::read_dir(&at).unwrap().next().unwrap().unwrap().path();
    }
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&at).unwrap()).unwrap();
    let without = |schema: &arrow::datatypes::Schema| {
        (0..schema.fields().len()).filter(|&i| schema.field(i).name() != "reentry_vector").collect::<Vec<_>>()
    };
    let kept = without(reader.schema());
    let schema = std::sync::Arc::new(reader.schema().project(&kept).unwrap());
    let batches: Vec<_> = reader.build().unwrap().map(|batch| batch.unwrap().project(&kept).unwrap()).collect();
    let mut writer = ArrowWriter::try_new(fs::File::create(&at).unwrap(), schema, None).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.close().unwrap();
    let question =
        "SELECT node, count(*) > 0 AS any, count(reentry_vector) FROM exits WHERE node = 'kvm-08' GROUP BY node";
    let output = sql(&[noisy().to_str().unwrap(), older.to_str().unwrap(), question, "--format", "csv"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().nth(1), Some("kvm-08,true,0"));
}
