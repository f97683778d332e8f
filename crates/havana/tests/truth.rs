//! The captures of this repository against their truth.
//!
//! Each was made on an emulated processor that wrote down every VM entry and exit to the tick. The limits are what is
//! reached, and some room.

use havana_rows::{Evidence, Exit};
use havana_store::Dataset;

use crate::common::compare::Comparison;
use crate::common::rows::Rows;
use crate::common::truth::Truth;
use crate::common::{analyze, at_hand, bundled, havana};

struct Limits {
    stretches: usize,
    vms: usize,
    /// Half the width between bounds, ticks: median, 99th percentile.
    width: [i64; 2],
    /// Median distance of an estimate from the truth, ticks.
    error: i64,
    /// Percent of the capture: guest time of a vCPU or guest process; between sure bounds; a cpu's idle and hypervisor.
    shares: f64,
    sure: f64,
    states: f64,
}

fn holds(name: &str, limits: &Limits) {
    let capture = bundled(name);
    let out = tempfile::tempdir().unwrap();
    let dataset = analyze(&capture, &out.path().join("dataset"));
    let found = Comparison::of(&Rows::read(&dataset), &Truth::read(&capture.join("truth.zst")));
    println!("{name}\n{found}");
    assert!(found.wrong.is_empty(), "{name}\n{found}");
    assert_eq!(
        (found.stretches, found.vms, found.clocks_unknown, found.unordered),
        (limits.stretches, limits.vms, 0, 0)
    );
    assert!(found.coverage < 2.0, "{name}\n{found}");
    let within = found.width[0] <= limits.width[0]
        && found.width[1] <= limits.width[1]
        && found.error[0] <= limits.error
        && found.vcpu_share.max(found.process_share) <= limits.shares
        && found.sure_width <= limits.sure
        && found.idle.max(found.hypervisor) <= limits.states;
    assert!(within, "{name}: past its limits\n{found}");
}

/// Two VMs on one cpu, MTC period 9; a process in one begins to run and does not stop.
#[test]
fn hog_vma() {
    let limits =
        Limits { stretches: 8936, vms: 2, width: [21_600; 2], error: 8_000, shares: 0.15, sure: 4.0, states: 0.2 };
    holds("hog-vma", &limits);
}

/// Three VMs, one of two vCPUs, on two cpus; quiet.
#[test]
fn smp_idle() {
    let limits =
        Limits { stretches: 7613, vms: 3, width: [21_600; 2], error: 9_000, shares: 0.15, sure: 3.0, states: 0.8 };
    holds("smp-idle", &limits);
}

/// Branches and the host's symbols tell why most exits were, and nothing wrong of any; all else stays as it is.
#[test]
fn where_kvm_goes_tells_why_an_exit_was() {
    for name in ["idle-branch", "kpti-hog-branch"] {
        let Some(capture) = at_hand("where_kvm_goes_tells_why_an_exit_was", &format!("captures/{name}")) else {
            return;
        };
        let out = tempfile::tempdir().unwrap();
        let (with, without) = (out.path().join("with"), out.path().join("without"));
        let done = havana()
            .args(["analyze", "--quiet", "--kallsyms"])
            .arg(capture.join("kallsyms.zst"))
            .arg(&capture)
            .arg("--output")
            .arg(&with)
            .status();
        assert!(done.unwrap().success());
        let rows = Rows::read(&Dataset::open(&with).unwrap());
        let found = Comparison::of(&rows, &Truth::read(&capture.join("truth.zst")));
        println!("{name}: reasons of {} of {} exits\n{found}", found.reasons, found.stretches);
        assert!(found.wrong.is_empty(), "{name}\n{found}");
        assert!(5 * found.reasons > 3 * found.stretches, "{name}: {} of {}", found.reasons, found.stretches);
        let evidence = |exit: &Exit| exit.reason.map(|_| Evidence::Inferred);
        assert!(rows.exits.iter().all(|exit| exit.reason_evidence == evidence(exit)));
        let mut plain = Rows::read(&analyze(&capture, &without));
        for (plain, told) in plain.exits.iter_mut().zip(&rows.exits) {
            (plain.reason, plain.reason_evidence) = (told.reason, told.reason_evidence);
        }
        assert_eq!(plain.exits, rows.exits, "{name}");
    }
}

/// TSC at PSB+ only: thousands of exits between two known times.
#[test]
fn tsc_only() {
    let limits = Limits {
        stretches: 8254,
        vms: 3,
        width: [5_000_000, 16_000_000],
        error: 250_000,
        shares: 3.5,
        sure: 90.0,
        states: 0.6,
    };
    holds("tsc-only", &limits);
}
