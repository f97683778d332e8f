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
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
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

/// Bytes that are said at once to a scheduler, if it takes them: Ballista's own default of both sides is 16 MiB, which name
/// 100,000 files.
const MESSAGE: usize = 1 << 30;

/// A cluster: where its scheduler is.
pub(crate) struct Cluster {
    /// As it was said.
    url: String,
    scheduler: String,
}

impl Cluster {
    /// The cluster of the scheduler at `df://HOST[:PORT]`.
    ///
    /// # Errors
    /// That is no such address; nobody answers there.
    pub(crate) fn at(word: &str) -> Result<Cluster, QueryError> {
        let wrong = |why: String| QueryError::Cluster { url: word.into(), why };
        let url = Url::parse(word).ok().filter(|url| url.scheme() == "df");
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
        Ok(Cluster { url: word.into(), scheduler: format!("http://{host}:{port}") })
    }

    /// How plans are made that a cluster runs.
    pub(crate) fn config() -> SessionConfig {
        // What a file's end says would be read here, of all files, before the executors do.
        let config = SessionConfig::new_with_ballista().with_ballista_grpc_client_max_message_size(MESSAGE);
        config.with_target_partitions(PARTS).with_collect_statistics(false)
    }

    /// Whether a plan is one for the cluster: it reads files. What is known here is answered here.
    pub(crate) fn takes(plan: &Arc<dyn ExecutionPlan>) -> Result<bool, QueryError> {
        Ok(plan.downcast_ref::<AnalyzeExec>().is_none() && plan.exists(|node| Ok(scan(node).is_some()))?)
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
        let (plan, files) = light(plan)?;
        let asked =
            execute_physical_plan::<PhysicalPlanNode>(scheduler, &ballista, plan, codec.as_ref(), session, config)
                .await;
        asked.map_err(|error| match error.to_string() {
            said if said.contains("message length too large") => {
                let why = format!(
                    "the question is of {files} files, which is more than the scheduler takes at once: ask for fewer hours or \
                     nodes, havana compact them, or give it more with --grpc-server-max-decoding-message-size"
                );
                QueryError::Cluster { url: self.url.clone(), why }
            }
            _ => error.into(),
        })
    }
}

/// The files that an operator reads.
fn scan(node: &Arc<dyn ExecutionPlan>) -> Option<&FileScanConfig> {
    node.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref()
}

/// A plan that says of each file where it is and whose, and nothing more, and how many files there are. What is not known of
/// columns would else be said of each column of each file.
fn light(plan: Arc<dyn ExecutionPlan>) -> Result<(Arc<dyn ExecutionPlan>, usize), QueryError> {
    let mut files = 0;
    let plan = plan.transform_up(|node| {
        let Some(mut scan) = scan(&node).cloned() else { return Ok(Transformed::no(node)) };
        for group in &mut scan.file_groups {
            files += group.len();
            let bare = group.iter().map(|file| PartitionedFile { statistics: None, ..file.clone() });
            *group = FileGroup::new(bare.collect());
        }
        Ok(Transformed::yes(DataSourceExec::from_data_source(scan)))
    })?;
    Ok((plan.data, files))
}
