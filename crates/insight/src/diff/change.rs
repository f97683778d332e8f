//! A change: who, what, from what to what, how surely.

use serde::Serialize;

use super::pairs::{By, Presence};
use super::what::{Unit, What};

/// Who it is in one side: ids of its dataset.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[allow(missing_docs)]
pub struct Ids {
    pub cpu: Option<i32>,
    pub vm_id: Option<i32>,
    pub vcpu_id: Option<i32>,
    /// Of one process: several where its CR3 had several lifetimes.
    pub process_ids: Vec<i32>,
    /// Who had the cpu.
    pub taker_vm_id: Option<i32>,
    /// The host's process that had it.
    pub taker_process_ids: Vec<i32>,
}

/// A quantity in both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// What is compared.
    pub kind: What,
    /// Whose it is, in words: as B calls it.
    pub who: String,
    /// Of `stolen`: who had the cpu.
    pub taker: Option<String>,
    /// Of `exits`: the reason, where it is those for one.
    pub reason: Option<String>,
    /// Who that is in A …
    pub a_ids: Ids,
    /// … and in B.
    pub b_ids: Ids,
    /// Whether it is in both.
    pub presence: Presence,
    /// What tells that it is the same in both.
    pub matched_by: By,
    /// What the numbers are.
    pub unit: Unit,
    /// In A.
    pub a: f64,
    /// In B.
    pub b: f64,
    /// b − a.
    pub change: f64,
    /// Where the truth of that lies, 95 % sure.
    pub lo: f64,
    /// Where the truth of that lies, 95 % sure.
    pub hi: f64,
    /// Of shares: the least and the most that A may have, with all that is lost or unknown.
    pub a_bounds: Option<[f64; 2]>,
    /// The same of B.
    pub b_bounds: Option<[f64; 2]>,
    /// What is lost or unknown may be all of the change.
    pub in_doubt: bool,
    /// More than half of it is inferred by a rule, and not observed.
    pub inferred: bool,
    /// How often chance alone does so much: of this comparison alone …
    pub p: f64,
    /// … and of all.
    pub adjusted_p: f64,
    /// 1 − `adjusted_p`.
    pub sure: f64,
    /// Cpu time that somebody has more or less, as a share of one cpu.
    pub cpu_share: f64,
    /// At least so much of it, by the interval: the order.
    pub surely_cpu_share: f64,
    /// When the level changed within A, where it did once: seconds since its dataset's first event, or ticks.
    pub a_step: Option<f64>,
    /// The same of B.
    pub b_step: Option<f64>,
    /// It is sure, and of a size that matters.
    pub told: bool,
    /// Which of the list it follows from, or sums up.
    pub explained_by: Option<usize>,
}

/// A VM, or processes, that cannot be compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unmatched {
    /// In words.
    pub who: String,
    /// Its id.
    pub vm_id: i32,
    /// Its time on cpus, as a share of one.
    pub cpu_share: f64,
}
