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
use havana_store::{Dataset, Scan};

pub use error::QueryError;

use meter::Meter;
use output::{Form, Written};

/// Datasets that are open, and may be asked.
pub struct Session {
    context: SessionContext,
    datasets: Vec<Dataset>,
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
    /// Opens datasets, each of another capture. `memory`: bytes that answers may take, beside what is read of files.
    ///
    /// # Errors
    /// One that is not there, damaged, or of another version; two of one capture.
    pub fn open(paths: &[PathBuf], memory: u64) -> Result<Session, QueryError> {
        let datasets = tables::open(paths)?;
        let meter = Arc::new(Meter::default());
        let context = context(memory)?;
        functions::register(&context);
        tables::register(&context, &datasets, &meter)?;
        Ok(Session { context, datasets, meter, memory })
    }

    /// Asks a question in SQL, and writes the answer as it comes.
    ///
    /// # Errors
    /// It is no SQL, asks for what is not there, fails while it is answered; a file of a dataset is damaged; the answer cannot
    /// be written.
    pub async fn answer(&self, sql: &str, form: Form<'_>, out: impl Write + Send) -> Result<Written, QueryError> {
        let asked = async { output::write(self.ask(sql).await?, form, out).await };
        asked.await.map_err(|error| match error {
            error if error.is_of_a_file() => self.damaged(sql).unwrap_or(error),
            error if error.is_of_memory() => QueryError::Memory(self.memory),
            error => error,
        })
    }

    /// The file that cannot be read, which the engine does not name.
    fn damaged(&self, sql: &str) -> Option<QueryError> {
        let tables = Table::ALL.iter().filter(|table| sql.contains(table.name()));
        let files = self.datasets.iter().flat_map(|dataset| tables.clone().map(move |&table| dataset.scan(table)));
        let broken = |scan: Scan<'_>| match scan.batches() {
            Ok(mut batches) => batches.find_map(Result::err),
            Err(error) => Some(error),
        };
        files.into_iter().find_map(broken).map(QueryError::Store)
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

    /// The size of all files of the datasets, bytes.
    pub fn bytes(&self) -> u64 {
        let tables = self.datasets.iter().flat_map(|dataset| dataset.manifest().tables.values());
        tables.map(|files| files.bytes).sum()
    }

    /// The datasets that are open.
    pub fn datasets(&self) -> &[Dataset] {
        &self.datasets
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
            tables.chain(columns).chain(functions).chain(tables::KEYS.map(Into::into)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What who asks should know: tables that a dataset's version did not write yet.
    pub fn warnings(&self) -> Vec<String> {
        let lacking = self.datasets.iter().filter_map(|dataset| {
            let lacks = |table: &&Table| !dataset.manifest().tables.contains_key(table.name());
            let names: Vec<&str> = Table::ALL.iter().filter(lacks).map(|table| table.name()).collect();
            let version = &dataset.manifest().tool_version;
            (!names.is_empty()).then(|| {
                let (path, names) = (dataset.dir().display(), names.join(", "));
                format!(
                    "{path}: written without {names} (havana {version}): no row of it is there; analyze its trace again"
                )
            })
        });
        lacking.collect()
    }
}

/// The engine, with what is ours in it.
fn context(memory: u64) -> Result<SessionContext, QueryError> {
    let mut config = SessionConfig::new().with_information_schema(true);
    let options = config.options_mut();
    // What is read of a file's end at first: most files of a dataset are small.
    options.execution.parquet.metadata_size_hint = Some(64 << 10);
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
