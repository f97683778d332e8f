//! The forms of an answer.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::common::{HAVANA_SQL, answer, noisy, refusal, sql, value};

const QUESTION: &str = "SELECT 1 AS a, 'x,y' AS b, NULL AS c, 0.5 AS d UNION ALL SELECT 2, NULL, 'z', 1.5 ORDER BY a";

#[test]
fn texts() {
    let dataset = noisy().to_str().unwrap();
    let form = |format| answer(&[dataset, QUESTION, "--format", format]);
    assert_eq!(form("csv"), "a,b,c,d\n1,\"x,y\",,0.5\n2,,z,1.5\n");
    let first = r#"{"a":1,"b":"x,y","c":null,"d":0.5}"#;
    let second = r#"{"a":2,"b":null,"c":"z","d":1.5}"#;
    assert_eq!(form("jsonl"), format!("{first}\n{second}\n"));
    assert_eq!(form("json"), format!("[{first},{second}]\n"));
    let table = "\
+---+-----+---+-----+
| a | b   | c | d   |
+---+-----+---+-----+
| 1 | x,y |   | 0.5 |
| 2 |     | z | 1.5 |
+---+-----+---+-----+
";
    assert_eq!(answer(&[dataset, QUESTION]), table);
    // No row: what its columns are called, all the same.
    assert_eq!(
        answer(&[dataset, "SELECT cpu, state FROM cpu_states WHERE cpu = 99", "--format", "csv"]),
        "cpu,state\n"
    );
}

#[test]
fn files() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = noisy().to_str().unwrap();
    let question = "SELECT exit_id, reason, evidence, node FROM exits ORDER BY exit_id";
    let rows: usize = value("SELECT count(*) FROM exits").parse().unwrap();
    for (name, magic) in
        [("a.parquet", "PAR1"), ("a.arrow", "ARROW1"), ("a.csv", "exit_id,"), ("a.jsonl", "{\"exit_id\"")]
    {
        let file = dir.path().join(name);
        let path = file.to_str().unwrap();
        assert_eq!(answer(&[dataset, question, "-o", path]), "");
        assert!(fs::read(&file).unwrap().starts_with(magic.as_bytes()), "{name}");
        let refused = refusal(&[dataset, question, "-o", path]);
        assert_eq!(refused, format!("havana: {path}: exists already; --force replaces it"));
        assert_eq!(answer(&[dataset, question, "-o", path, "--force"]), "");
    }
    let parquet = File::open(dir.path().join("a.parquet")).unwrap();
    let parquet = ParquetRecordBatchReaderBuilder::try_new(parquet).unwrap();
    assert_eq!(parquet.metadata().file_metadata().num_rows(), rows as i64);
    let arrow = File::open(dir.path().join("a.arrow")).unwrap();
    let arrow = arrow::ipc::reader::FileReader::try_new(arrow, None).unwrap();
    assert_eq!(arrow.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), rows);
    let lines = |name| fs::read_to_string(dir.path().join(name)).unwrap().lines().count();
    assert_eq!((lines("a.csv"), lines("a.jsonl")), (rows + 1, rows));
    // A question that fails half way leaves nothing.
    let refused =
        refusal(&[dataset, "SELECT 1 / (exit_id - 1000) FROM exits", "-o", dir.path().join("b.csv").to_str().unwrap()]);
    assert!(refused.contains("Divide by zero"), "{refused}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
}

#[test]
fn arrow_in_a_pipe_is_a_stream() {
    let output = sql(&[noisy().to_str().unwrap(), "SELECT cpu FROM cpu_states", "--format", "arrow"]);
    let stream = arrow::ipc::reader::StreamReader::try_new(output.stdout.as_slice(), None).unwrap();
    let rows: usize = stream.map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows.to_string(), value("SELECT count(*) FROM cpu_states"));
}

#[test]
fn questions_come_from_files_and_pipes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("q.sql");
    fs::write(&file, QUESTION).unwrap();
    let dataset = noisy().to_str().unwrap();
    let expected = answer(&[dataset, QUESTION]);
    assert_eq!(answer(&[dataset, "-f", file.to_str().unwrap()]), expected);
    for words in [&[dataset][..], &[dataset, "-f", "-"]] {
        let asked = Command::new(HAVANA_SQL).args(words).stdin(File::open(&file).unwrap()).output().unwrap();
        assert_eq!(String::from_utf8(asked.stdout).unwrap(), expected);
    }
}

#[test]
fn a_question_is_read_whole_or_not_at_all() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("SELECT 1 AS a{} WHERE 1 = 0", " ".repeat(1 << 20))).unwrap();
    for words in [&[][..], &["-f", "-"], &["-f", file.path().to_str().unwrap()]] {
        let mut asked = Command::new(HAVANA_SQL);
        let output = asked.arg(noisy()).args(words).stdin(File::open(file.path()).unwrap()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && said.contains("more than a megabyte"), "{said}");
    }
}

#[test]
fn csv_has_no_lists() {
    let dataset = noisy().to_str().unwrap();
    let question = "SELECT time_buckets(10, 1, 30) AS b";
    let said = refusal(&[dataset, question, "--format", "csv"]);
    assert_eq!(said, "havana: CSV has no lists: unnest() them, or take another --format");
    assert_eq!(answer(&[dataset, question, "--format", "jsonl"]), "{\"b\":[0,10,20]}\n");
}

/// Who reads may stop: that is no error.
#[test]
fn a_closed_pipe_is_no_error() {
    for format in ["csv", "jsonl", "arrow", "parquet", "table"] {
        let words = ["SELECT * FROM cpu_states", "--format", format];
        let mut asked = Command::new(HAVANA_SQL);
        asked.arg(noisy()).args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut asked = asked.spawn().unwrap();
        drop(asked.stdout.take());
        let output = asked.wait_with_output().unwrap();
        assert!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_table_shows_its_first_rows_and_says_so() {
    let output = sql(&[noisy().to_str().unwrap(), "SELECT cpu FROM cpu_states"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1000 + 4);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "havana: there are more rows than 1000: LIMIT them, or write them with --format or -o\n");
}

#[test]
fn named_questions() {
    let dataset = noisy().to_str().unwrap();
    let list = answer(&[dataset, "--list"]);
    assert_eq!(list, answer(&["--list"]));
    assert_eq!(list.lines().count(), 20);
    let shown = answer(&["--show", "steal-matrix"]);
    assert_eq!(answer(&[dataset, &shown]), answer(&[dataset, "steal-matrix"]));
    assert!(refusal(&["--show", "steel"]).contains("--list says which are"));
}
