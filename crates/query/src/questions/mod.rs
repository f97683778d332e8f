//! Questions that have a name: those that every operator asks.
//!
//! They are SQL that other engines take too, over the tables as they are on disk: no function of ours is in them.
//! Sums over states are read from the coarsest level of the summaries (`lod`, `lod_exits`), which are exact.

/// A question that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// How it is called.
    pub name: &'static str,
    /// The SQL, its first line a comment that says what it asks.
    pub sql: &'static str,
}

impl Question {
    /// What it asks, in words.
    pub fn about(&self) -> &'static str {
        self.sql.lines().next().unwrap_or_default().trim_start_matches("-- ")
    }

    /// The question of that name.
    pub fn named(name: &str) -> Option<&'static Question> {
        QUESTIONS.iter().find(|question| question.name == name)
    }
}

macro_rules! questions {
    ($($name:literal,)+) => {
        /// All of them.
        pub const QUESTIONS: &[Question] = &[$(Question { name: $name, sql: include_str!(concat!($name, ".sql")) },)+];
    };
}

questions! {
    "cpu-states",
    "vm-states",
    "cpus-used",
    "top-processes",
    "exit-rates",
    "exit-reasons",
    "exit-percentiles",
    "run-percentiles",
    "steal-matrix",
    "host-takers",
    "longest-preemptions",
    "slowest-exits",
    "losses",
    "gaps",
    "migrations",
    "evidence",
    "bounds",
    "nodes",
    "vms-across-nodes",
    "during-findings",
}

#[cfg(test)]
mod tests {
    use super::*;
    use havana_rows::Lod;

    #[test]
    fn each_says_what_it_asks() {
        for question in QUESTIONS {
            assert!(question.sql.starts_with("-- ") && question.about().ends_with('.'), "{}", question.name);
            assert_eq!(Question::named(question.name), Some(question));
        }
    }

    #[test]
    fn sums_are_read_from_the_coarsest_level() {
        for question in QUESTIONS {
            let levels = question.sql.matches("level = ").count();
            let coarsest = question.sql.matches(&format!("level = {} ", Lod::COARSEST)).count();
            let at_end = question.sql.matches(&format!("level = {}\n", Lod::COARSEST)).count();
            assert_eq!(levels, coarsest + at_end, "{}", question.name);
        }
    }
}
