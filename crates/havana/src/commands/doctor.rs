//! `havana doctor`: what this host can record, and what to do about what it cannot.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use havana_capture::Host;
use havana_capture::doctor::{Check, Outcome, Report, ThisMachine, Verdict, examine};
use serde::Serialize;

use super::record;
use crate::cli::{self, Doctor};

pub(crate) fn run(args: &Doctor) -> anyhow::Result<ExitCode> {
    // What is looked at is what `record` would do.
    let options = record::options(&cli::record_to(&args.output)?)?;
    let report = examine(&Host::here(), &ThisMachine, &options);
    let text = if args.json { json(&report)? } else { text(&report) };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(match report.outcome {
        Outcome::Can | Outcome::WithLimits => ExitCode::SUCCESS,
        Outcome::Cannot(_) => ExitCode::FAILURE,
    })
}

/// The answer, in one sentence.
fn says(report: &Report) -> String {
    match &report.outcome {
        Outcome::Can => "this host can be recorded: havana record".into(),
        Outcome::WithLimits => {
            let bad = report.checks.iter().filter(|check| check.verdict == Verdict::NotOk);
            let names: Vec<&str> = bad.map(|check| check.name.as_str()).collect();
            format!("this host can be recorded, with limits: see {}", names.join(", "))
        }
        Outcome::Cannot(why) => why.clone(),
    }
}

fn text(report: &Report) -> String {
    let mut text = format!("{}\n", says(report));
    let width = report.checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
    for of_one in report.checks.chunk_by(|a, b| a.subject == b.subject) {
        let _ = writeln!(text, "\n{}", of_one[0].subject.name());
        for Check { name, verdict, found, .. } in of_one {
            let _ = writeln!(text, "  {:<7} {name:<width$}  {found}", verdict.name());
        }
    }
    let to_do = report.checks.iter().filter_map(|check| Some((&check.name, check.to_do.as_ref()?)));
    for (at, (name, what)) in to_do.enumerate() {
        let _ = writeln!(text, "{}  {name}: {what}", if at == 0 { "\nto do:\n" } else { "" });
    }
    text
}

#[derive(Serialize)]
struct JsonReport<'a> {
    outcome: &'static str,
    says: String,
    checks: Vec<JsonCheck<'a>>,
}

#[derive(Serialize)]
struct JsonCheck<'a> {
    subject: &'static str,
    name: &'a str,
    verdict: &'static str,
    prevents: bool,
    found: &'a str,
    to_do: Option<&'a str>,
}

fn json(report: &Report) -> anyhow::Result<String> {
    let checks = report.checks.iter().map(|check| JsonCheck {
        subject: check.subject.name(),
        name: &check.name,
        verdict: check.verdict.name(),
        prevents: check.prevents,
        found: &check.found,
        to_do: check.to_do.as_deref(),
    });
    let outcome = match report.outcome {
        Outcome::Can => "can",
        Outcome::WithLimits => "with limits",
        Outcome::Cannot(_) => "cannot",
    };
    let json = JsonReport { outcome, says: says(report), checks: checks.collect() };
    Ok(serde_json::to_string_pretty(&json)? + "\n")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use havana_capture::CaptureError;
    use havana_capture::doctor::Probes;
    use havana_capture::output::OutputOptions;
    use havana_capture::session::Events;

    use super::*;

    /// A machine that takes all, with a disk that is not small.
    struct Good;

    impl Probes for Good {
        fn open(&self, _: Events, _: u32) -> Result<(), CaptureError> {
            Ok(())
        }

        fn has_clock(&self, _: u32) -> Result<bool, CaptureError> {
            Ok(true)
        }

        fn tsc_ctc_ratio(&self) -> (u32, u32) {
            (248, 2)
        }

        fn room(&self, _: &OutputOptions) -> Result<u64, CaptureError> {
            Ok(412_000_000_000)
        }
    }

    /// The host of the recorder's own tests.
    fn report() -> Report {
        let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("../capture/testdata/host");
        let options = record::options(&cli::record_to(Path::new("perf.data")).unwrap()).unwrap();
        examine(&Host::at(&host), &Good, &options)
    }

    #[test]
    fn the_example_of_the_docs() {
        let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/recording.md")).unwrap();
        let text = text(&report());
        assert!(
            docs.contains(&format!("```console\n$ havana doctor\n{text}```\n")),
            "docs/recording.md lacks:\n{text}"
        );
    }

    #[test]
    fn json_says_the_same() {
        let report = report();
        let json: serde_json::Value = serde_json::from_str(&json(&report).unwrap()).unwrap();
        assert_eq!(json["outcome"], "with limits");
        assert_eq!(json["checks"].as_array().unwrap().len(), report.checks.len());
        let pt_mode = json["checks"].as_array().unwrap().iter().find(|check| check["name"] == "pt_mode").unwrap();
        assert_eq!((&pt_mode["verdict"], &pt_mode["subject"]), (&"not ok".into(), &"kvm".into()));
        assert!(pt_mode["to_do"].as_str().unwrap().contains("pt_mode=0"));
    }
}
