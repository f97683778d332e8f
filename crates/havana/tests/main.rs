//! The program, run as its users run it.
//!
//! | module | what it holds the program to |
//! | --- | --- |
//! | [`truth`] | the captures of this repository, whose every VM entry and exit is known |
//! | [`score`] | all captures at hand, judged by a program that is not ours |
//! | [`perf`] | perf.data in every form, whole and not |
//! | [`record`] | the recorder, where it cannot record |
//! | [`diff`] | two stretches of time compared, and what is refused |
//! | [`export`] | datasets in the formats of other tools, read by these and held against the dataset |
//! | [`doctor`] | what it says of the machine that it runs on |
//! | [`overhead`] | the experiment of what recording costs, with what this host has |
//! | [`top`] | frames of recorded traces, and what is refused |
//! | [`metrics`] | what Prometheus is told, against frames, the dataset and Prometheus itself; the dashboard |
//! | [`fit`] | simulated nodes that are fitted to captures, against these |
//! | [`simulated`] | nodes that are simulated, whose truth is exact too |
//! | [`found`] | what is found in captures, against who had the cpu; who took whose time; how long a wake-up may have waited |
//! | [`case_study`] | docs/case-study.md: what is typed there prints what stands there |
//! | [`often`] | how often each state and evidence is right, and how much is told so |
//! | [`rules`] | each rule of the hardware, taken away: its loss is noticed |
//! | [`skylake`] | traces of real processors |
//! | [`baseline`] | a profile of normal; the same program in another capture |
//! | [`cli`] | what is printed, exit statuses, errors |
//! | [`common`] | the truth's format, the comparison, where things are |
//!
//! Expected output is text beside the tests: `SNAPSHOTS=overwrite cargo test -p havana` writes it anew.
//! Data that is not in this repository is found by `HAVANA_TESTDATA`; a test that lacks something says
//! `skipped: NAME: why` on stderr.

#![allow(clippy::unwrap_used, reason = "helpers of tests stand outside of them")]

mod baseline;
mod case_study;
mod cli;
mod common;
mod deploy;
mod diff;
mod doctor;
mod export;
mod fit;
mod found;
mod metrics;
mod often;
mod overhead;
mod perf;
mod record;
mod rules;
mod score;
mod simulated;
mod skylake;
mod top;
mod truth;
