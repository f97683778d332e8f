//! SQL over datasets, on DataFusion.
//!
//! ```text
//! datasets ──► tables ──► DataFusion ──► batches ──► output
//!              files of    + functions    (Arrow)    table, CSV, JSON, Arrow, Parquet
//!              all nodes   + interval join
//! ```
//!
//! * [`Session`]: datasets that are open, and may be asked.
//! * [`questions`]: questions that have a name.
//! * [`output`]: the forms of an answer.
//!
//! This is the only crate that links the engine; the program `havana-sql` is made of it, and `havana sql` starts that.
#![forbid(unsafe_code)]

mod error;
mod functions;
mod interval_join;
pub mod memory;
mod meter;
pub mod output;
pub mod questions;
mod source;
mod tables;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use havana_rows::parquet::Table;

pub use error::QueryError;

use meter::Meter;
use output::{Form, Written};
use source::Source;

/// Datasets, or a root, that are open, and may be asked.
pub struct Session {
    context: SessionContext,
    source: Source,
    meter: Arc<Meter>,
    memory: u64,
}

/// What was read of the files for the questions so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// Bytes.
    pub bytes: u64,
    /// In how many requests.
    pub requests: u64,
}

impl Session {
    /// Opens datasets, each of another capture, or the root of a fleet. `memory`: bytes that answers may take, beside what is read of files.
    ///
    /// # Errors
    /// One that is not there, damaged, or of another version; two of one capture; a root that cannot be asked.
    pub async fn open(paths: &[PathBuf], memory: u64) -> Result<Session, QueryError> {
        let source = Source::open(paths).await?;
        let meter = Arc::new(Meter::default());
        let context = context(memory)?;
        functions::register(&context);
        source.register(&context, &meter)?;
        Ok(Session { context, source, meter, memory })
    }

    /// Asks a question in SQL, and writes the answer as it comes.
    ///
    /// # Errors
    /// It is no SQL, asks for what is not there, fails while it is answered; a file of a dataset is damaged; the answer cannot
    /// be written.
    pub async fn answer(&self, sql: &str, form: Form<'_>, out: impl Write + Send) -> Result<Written, QueryError> {
        let asked = async { output::write(self.ask(sql).await?, form, out).await };
        asked.await.map_err(|error| match error {
            error if error.is_of_a_file() => self.source.damaged(sql).unwrap_or(error),
            error if error.is_of_memory() => QueryError::Memory(self.memory),
            error => error,
        })
    }

    async fn ask(&self, sql: &str) -> Result<SendableRecordBatchStream, QueryError> {
        // The files of a dataset are what they are: nothing is written to them.
        let options = SQLOptions::new().with_allow_dml(false);
        Ok(self.context.sql_with_options(sql, options).await?.execute_stream().await?)
    }

    /// What was read so far.
    pub fn read(&self) -> Read {
        Read { bytes: self.meter.bytes(), requests: self.meter.requests() }
    }

    /// The size of all files that might be asked, bytes: of datasets all, under a root those in the partitions that were.
    pub fn bytes(&self) -> u64 {
        self.source.bytes().unwrap_or_else(|| self.meter.listed())
    }

    /// How many captures are open.
    pub fn captures(&self) -> usize {
        self.source.captures()
    }

    /// The names that a question may be made of: tables, columns, functions.
    pub fn names(&self) -> Vec<String> {
        let tables = Table::ALL.iter().map(|table| table.name().to_string());
        let columns = Table::ALL
            .iter()
            .flat_map(|table| table.schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>());
        let state = self.context.state();
        let functions = state.scalar_functions().keys().chain(state.aggregate_functions().keys());
        let functions = functions.chain(state.window_functions().keys()).cloned().collect::<Vec<_>>();
        let mut names: Vec<String> =
            tables.chain(columns).chain(functions).chain(tables::ROOT_KEYS.map(Into::into)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What who asks should know: what is left out, and what is not right.
    pub fn warnings(&self) -> Vec<String> {
        self.source.warnings()
    }
}

/// The engine, with what is ours in it.
fn context(memory: u64) -> Result<SessionContext, QueryError> {
    let mut config = SessionConfig::new().with_information_schema(true);
    let options = config.options_mut();
    // Of rows that a condition, or the longest so far, leaves out the other columns are not read.
    options.execution.parquet.pushdown_filters = true;
    // With that, what a join has learnt would be tried on each row: where most fit, half the time again (`exit-percentiles`).
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    let mut rules = PhysicalOptimizer::new().rules;
    // Once the smaller side of a join is known, and before partitions are seen to.
    let after = rules.iter().position(|rule| rule.name() == "join_selection").map_or(0, |at| at + 1);
    rules.insert(after, Arc::new(interval_join::OverlapsByIndex));
    // Each part that can go on from disk gets the same share; what it does not take is for those that cannot.
    let pool = FairSpillPool::new(usize::try_from(memory).unwrap_or(usize::MAX));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).build()?;
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(Arc::new(runtime))
        .with_default_features()
        .with_physical_optimizer_rules(rules)
        .build();
    Ok(SessionContext::new_with_state(state))
}
