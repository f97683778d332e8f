//! The same questions, answered by an Apache Ballista cluster.
//!
//! ```text
//! SQL ──► plan, of files that hold what is asked for ──► scheduler ──► executors ──► batches
//! └──────────────────── here ──────────────────┘     └──── Ballista's own, as they are ────┘
//! ```
//!
//! Which files these are is known here alone, where captures are told whole from half; so the plan that goes over is one of
//! operators and files. It has no part of ours: executors need nothing but Ballista, and to reach the files by their address.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use ballista_core::execution_plans::execute_physical_plan;
use ballista_core::extension::SessionConfigExt;
use datafusion::common::tree_node::TreeNode;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::analyze::AnalyzeExec;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_proto::protobuf::PhysicalPlanNode;
use url::Url;

use crate::QueryError;

/// Where a scheduler listens that says nothing else.
const PORT: u16 = 50050;
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Into how many parts a question is cut: what so many cores of all executors together work on at once.
const PARTS: usize = 64;

/// A cluster: where its scheduler is.
pub(crate) struct Cluster {
    scheduler: String,
}

impl Cluster {
    /// The cluster of the scheduler at `df://HOST[:PORT]`.
    ///
    /// # Errors
    /// That is no such address; nobody answers there.
    pub(crate) fn at(word: &str) -> Result<Cluster, QueryError> {
        let wrong = |why: String| QueryError::Cluster { url: word.into(), why };
        let url = Url::parse(word).ok().filter(|url| matches!(url.scheme(), "df" | "http"));
        let host = url.as_ref().and_then(Url::host_str).filter(|host| !host.is_empty());
        let Some((url, host)) = url.as_ref().zip(host) else {
            return Err(wrong("a scheduler is df://HOST, or df://HOST:PORT".into()));
        };
        let port = url.port().unwrap_or(PORT);
        let refused = |error: std::io::Error| wrong(format!("no scheduler answers there: {error}"));
        let mut answers = Err(std::io::ErrorKind::NotFound.into());
        for address in (host.trim_matches(['[', ']']), port).to_socket_addrs().map_err(refused)? {
            answers = TcpStream::connect_timeout(&address, PATIENCE).map(drop);
            if answers.is_ok() {
                break;
            }
        }
        answers.map_err(refused)?;
        Ok(Cluster { scheduler: format!("http://{host}:{port}") })
    }

    /// How plans are made that a cluster runs.
    pub(crate) fn config() -> SessionConfig {
        // What a file's end says would be read here, of all files, before the executors do.
        SessionConfig::new_with_ballista().with_target_partitions(PARTS).with_collect_statistics(false)
    }

    /// Whether a plan is one for the cluster: it reads files. What is known here is answered here.
    pub(crate) fn takes(plan: &Arc<dyn ExecutionPlan>) -> Result<bool, QueryError> {
        let reads = |node: &Arc<dyn ExecutionPlan>| {
            let source = node.downcast_ref::<DataSourceExec>();
            Ok(source.is_some_and(|source| source.data_source().downcast_ref::<FileScanConfig>().is_some()))
        };
        Ok(plan.downcast_ref::<AnalyzeExec>().is_none() && plan.exists(reads)?)
    }

    /// Has it run.
    pub(crate) async fn execute(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: &SessionContext,
    ) -> Result<SendableRecordBatchStream, QueryError> {
        let config = context.copied_config();
        let codec = config.ballista_physical_extension_codec();
        let (ballista, session) = (config.ballista_config(), context.session_id());
        let scheduler = self.scheduler.clone();
        Ok(execute_physical_plan::<PhysicalPlanNode>(scheduler, &ballista, plan, codec.as_ref(), session, config)
            .await?)
    }
}
