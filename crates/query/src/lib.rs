//! SQL over datasets, on DataFusion.
//!
//! ```text
//! datasets ──► tables ──► DataFusion ──► batches ──► output
//!              files of    + functions    (Arrow)    table, CSV, JSON, Arrow, Parquet
//!              all nodes   + interval join
//! ```
//!
//! * [`Session`]: datasets that are open, or a root, and may be asked; here, or on a cluster.
//! * [`questions`]: questions that have a name.
//! * [`output`]: the forms of an answer.
//!
//! This is the only crate that links the engine; the program `havana-sql` is made of it, and `havana sql` starts that.
#![forbid(unsafe_code)]

mod asked;
mod cluster;
mod error;
mod functions;
mod hours;
mod interval_join;
pub mod memory;
mod meter;
pub mod output;
pub mod questions;
mod source;
mod tables;

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use arrow::datatypes::DataType;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::cache::cache_manager::CacheManagerConfig;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::{SendableRecordBatchStream, execute_stream};
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use havana_rows::parquet::Table;

use tokio::sync::Mutex;

pub use error::QueryError;
pub use hours::Hours;

use cluster::Cluster;
use meter::Meter;
use output::{Form, Written};
use source::Source;

/// How often a question is planned whose captures change meanwhile.
const TRIES: u32 = 5;

/// Datasets, or a root, that are open, and may be asked.
pub struct Session {
    context: SessionContext,
    source: Source,
    meter: Arc<Meter>,
    memory: u64,
    cluster: Option<Cluster>,
    /// Of which captures the files are listed is one question's own.
    planning: Mutex<()>,
    /// What was not yet told.
    warnings: std::sync::Mutex<Vec<String>>,
}

/// What was read of the files for the questions so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// Bytes.
    pub bytes: u64,
    /// In how many requests.
    pub requests: u64,
    /// Bytes of the files that were listed, to be read or not.
    pub listed: u64,
}

impl Session {
    /// Opens datasets, each of another capture, or the root of a fleet. `memory`: bytes that answers may take, beside what is
    /// read of files; `hours`: of a root these alone; `cluster`: the address of a Ballista scheduler, if others are to answer.
    ///
    /// # Errors
    /// One that is not there, damaged, or of another version; two of one capture; a root that cannot be asked; a scheduler
    /// that does not answer.
    pub async fn open(
        paths: &[PathBuf],
        hours: Option<Hours>,
        memory: u64,
        cluster: Option<&str>,
    ) -> Result<Session, QueryError> {
        let cluster = cluster.map(Cluster::at).transpose()?;
        let meter = Arc::new(Meter::default());
        let source = Source::open(paths, hours, &meter).await?;
        let context = context(memory, cluster.is_some())?;
        functions::register(&context);
        // Executors do not send each other views of texts (Ballista 55).
        let text = if cluster.is_some() { DataType::Utf8 } else { DataType::Utf8View };
        source.register(&context, &meter, &text)?;
        let warnings = std::sync::Mutex::new(source.warnings());
        Ok(Session { context, source, meter, memory, cluster, planning: Mutex::default(), warnings })
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
        let state = self.context.state();
        let plan = state.create_logical_plan(sql).await?;
        // The files of a dataset are what they are: nothing is written to them.
        SQLOptions::new().with_allow_dml(false).verify_plan(&plan)?;
        let _planning = self.planning.lock().await;
        if let LogicalPlan::Ddl(_) = plan {
            // A table that is made of an answer is made in the next call.
            self.source.show(&state.optimize(&plan)?, &state).await?;
        }
        let frame = self.context.execute_logical_plan(plan).await?;
        let state = self.context.state();
        let plan = state.optimize(frame.logical_plan())?;
        let mut tries = 0;
        let plan = loop {
            let shown = self.source.show(&plan, &state).await?;
            let made = state.query_planner().create_physical_plan(&plan, &state).await?;
            tries += 1;
            // Captures that became one meanwhile, or were replaced: their files may have been listed in part.
            if tries == TRIES || self.source.is_there(&shown).await? {
                self.warnings.lock().unwrap_or_else(PoisonError::into_inner).extend(shown.warnings);
                break made;
            }
        };
        match &self.cluster {
            Some(cluster) if Cluster::takes(&plan)? => cluster.execute(plan, &self.context).await,
            _ => Ok(execute_stream(plan, self.context.task_ctx())?),
        }
    }

    /// What was read so far.
    pub fn read(&self) -> Read {
        Read { bytes: self.meter.bytes(), requests: self.meter.requests(), listed: self.meter.listed() }
    }

    /// The size of all files that might be asked, bytes; not known of a root.
    pub fn bytes(&self) -> Option<u64> {
        self.source.bytes()
    }

    /// What there is to be asked, in words: `3 datasets`.
    pub fn about(&self) -> String {
        self.source.about()
    }

    /// Whether a cluster reads the files, and not this program.
    pub fn is_of_a_cluster(&self) -> bool {
        self.cluster.is_some()
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

    /// What who asks should know, and was not told yet: what is left out, and what is not right. Of a root that is known of what
    /// was asked for.
    pub fn warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The engine, with what is ours in it.
fn context(memory: u64, cluster: bool) -> Result<SessionContext, QueryError> {
    let config = if cluster { Cluster::config() } else { SessionConfig::new() };
    let mut config = config.with_information_schema(true);
    let options = config.options_mut();
    // Of rows that a condition, or the longest so far, leaves out the other columns are not read.
    options.execution.parquet.pushdown_filters = true;
    // With that, what a join has learnt would be tried on each row: where most fit, half the time again (`exit-percentiles`).
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    let mut rules = PhysicalOptimizer::new().rules;
    // Once the smaller side of a join is known, and before partitions are seen to.
    let after = rules.iter().position(|rule| rule.name() == "join_selection").map_or(0, |at| at + 1);
    if !cluster {
        rules.insert(after, Arc::new(interval_join::OverlapsByIndex));
    }
    // Each part that can go on from disk gets the same share; what it does not take is for those that cannot.
    let pool = FairSpillPool::new(usize::try_from(memory).unwrap_or(usize::MAX));
    // Files are listed for each question anew: other captures may be asked for, and new ones come.
    let caches = CacheManagerConfig::default().with_list_files_cache_limit(0);
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).with_cache_manager(caches).build()?;
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(Arc::new(runtime))
        .with_default_features()
        .with_physical_optimizer_rules(rules)
        .build();
    Ok(SessionContext::new_with_state(state))
}
