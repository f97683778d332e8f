//! The questions on an Apache Ballista cluster: a scheduler and two executors, as processes of this machine.

use std::env;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ballista_core::object_store::{
    runtime_env_with_s3_support, session_config_with_s3_support, session_state_with_s3_support,
};
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::start_server;
use clap::Parser;
use havana_bucket::Server;

use crate::common::{HAVANA_SQL, refusal};
use crate::fleet::{at, in_s3, on_disk, rows, said};

/// Says to this program, started once more, which part of a cluster it is.
const PART: &str = "HAVANA_TEST_PART";
/// Ends the options of the test from those of the part.
const OPTIONS: &str = "HAVANA_TEST_PART_OPTIONS";

/// Ballista's own scheduler and executor, as its programs start them, with their options. A test, since what tests are linked with
/// has them.
#[test]
#[ignore = "a part of a cluster, where it is started as one"]
fn part() {
    let Ok(part) = env::var(PART) else { return };
    let options = env::var(OPTIONS).unwrap();
    let options = || [part.as_str()].into_iter().chain(options.split_whitespace());
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().thread_stack_size(32 << 20);
    runtime.build().unwrap().block_on(async {
        if part == "scheduler" {
            let config = ballista_scheduler::config::Config::parse_from(options());
            let address = format!("{}:{}", config.bind_host, config.bind_port).parse().unwrap();
            let config = SchedulerConfig::try_from(config)
                .unwrap()
                .with_override_config_producer(Arc::new(session_config_with_s3_support))
                .with_override_session_builder(Arc::new(session_state_with_s3_support));
            let cluster = BallistaCluster::new_from_config(&config).await.unwrap();
            start_server(cluster, address, Arc::new(config)).await.unwrap();
        } else {
            let config = ballista_executor::config::Config::parse_from(options());
            let mut config = ExecutorProcessConfig::try_from(config).unwrap();
            config.override_config_producer = Some(Arc::new(session_config_with_s3_support));
            config.override_runtime_producer = Some(Arc::new(runtime_env_with_s3_support));
            start_executor_process(Arc::new(config)).await.unwrap();
        }
    });
}

/// A scheduler and two executors.
struct Cluster {
    url: String,
    parts: Vec<Child>,
    dir: tempfile::TempDir,
}

impl Cluster {
    /// Starts them; `environment` says where S3 is.
    fn start(environment: &[(&'static str, String)]) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        // Ports that are free: all at once, so that no two are the same.
        let free: Vec<TcpListener> = (0..7).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = free.iter().map(|port| port.local_addr().unwrap().port()).collect();
        drop(free);
        let start = |part: &str, name: &str, options: String| {
            let log = File::create(dir.path().join(name).with_extension("log")).unwrap();
            let mut command = Command::new(env::current_exe().unwrap());
            command.args(["--ignored", "--exact", "cluster::part", "--nocapture"]);
            command.envs(environment.iter().map(|(key, value)| (key, value))).env("AWS_ALLOW_HTTP", "true");
            command.env(PART, part).env(OPTIONS, options).stdin(Stdio::null());
            command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
        };
        let scheduler = format!(
            "--bind-host 127.0.0.1 --external-host 127.0.0.1 --bind-port {} --executor-timeout-seconds 6 \
             --expire-dead-executor-interval-seconds 1",
            ports[0]
        );
        let mut parts = vec![start("scheduler", "scheduler", scheduler)];
        for number in 0..2 {
            let work = dir.path().join(format!("work-{number}"));
            fs::create_dir(&work).unwrap();
            let [port, grpc, health] = [1, 3, 5].map(|at| ports[at + number]);
            let options = format!(
                "--bind-host 127.0.0.1 --external-host 127.0.0.1 --scheduler-host 127.0.0.1 --scheduler-port {} \
                 --bind-port {port} --bind-grpc-port {grpc} --bind-health-port {health} --work-dir {} --vcores 2 \
                 --executor-heartbeat-interval-seconds 1 --scheduler-connect-timeout-seconds 60",
                ports[0],
                work.display()
            );
            parts.push(start("executor", &format!("executor-{number}"), options));
        }
        let until = Instant::now() + Duration::from_secs(60);
        while ports[..5].iter().any(|port| TcpStream::connect(("127.0.0.1", *port)).is_err()) {
            assert!(Instant::now() < until, "the cluster does not come up");
            thread::sleep(Duration::from_millis(50));
        }
        Cluster { url: format!("df://127.0.0.1:{}", ports[0]), parts, dir }
    }

    /// Where an executor has what it made for others.
    fn work(&self, executor: usize) -> PathBuf {
        self.dir.path().join(format!("work-{executor}"))
    }

    fn logs(&self) -> String {
        let log = |name: &str| fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
        ["scheduler.log", "executor-0.log", "executor-1.log"].map(log).concat()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for part in &mut self.parts {
            let _ = part.kill();
            let _ = part.wait();
        }
    }
}

#[test]
fn a_cluster_answers_as_one_program_does() {
    let (server, in_s3) = in_s3();
    let on_disk = on_disk().to_str().unwrap();
    let cluster = Cluster::start(&Server::environment(server.address()));
    let ask = |root: &str, question: &str, more: &[&str]| {
        let mut command = at(Path::new(HAVANA_SQL), server.address());
        let begin = Instant::now();
        let output = command.args([root, question, "--format", "csv"]).args(more).output().unwrap();
        assert!(output.status.success(), "{question}: {}\n{}", said(&output), cluster.logs());
        (rows(&output), begin.elapsed())
    };
    let agree = |root: &str, question: &str| {
        let (here, alone) = ask(root, question, &[]);
        let (there, together) = ask(root, question, &["--cluster", &cluster.url]);
        println!("{question}: {} rows, {alone:.1?} here, {together:.1?} on the cluster", here.len() - 1);
        assert_eq!(there, here, "{question}");
    };
    for question in havana_query::questions::QUESTIONS {
        agree(on_disk, question.name);
    }
    // Where the executors read S3; functions of ours; and what needs no cluster.
    for question in [
        "steal-matrix",
        "SELECT reason_name(reason) AS name, count(*) FROM exits WHERE hour = '2026-11-20-15' GROUP BY name",
        "SELECT node, time_bucket('1s', start_tsc) AS bucket, sum(overlap_ns(start_tsc, end_tsc, 0, 1000000)) FROM cpu_states GROUP BY ALL",
        "SELECT count(DISTINCT node), min(hour), max(hour) FROM exits",
        "SELECT table_name FROM information_schema.tables",
        "SELECT 1",
    ] {
        agree(in_s3, question);
    }
}

/// Whether there is a file below; what is looked at may go meanwhile.
fn has_files(directory: &Path) -> bool {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| if path.is_dir() { has_files(&path) } else { path.is_file() })
}

/// An executor dies that has made what others wait for.
#[test]
fn an_executor_that_is_killed_changes_no_answer() {
    const QUESTION: &str = "during-findings";
    let root = on_disk();
    let mut cluster = Cluster::start(&[]);
    let ask = |more: &[&str]| {
        let mut command = Command::new(HAVANA_SQL);
        command.arg(root).args([QUESTION, "--format", "csv"]).args(more);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let expected = rows(&ask(&[]).wait_with_output().unwrap());
    assert!(expected.len() > 1000, "{}", expected.len());
    let mut asking = ask(&["--cluster", &cluster.url]);
    let until = Instant::now() + Duration::from_secs(120);
    // Both have written something, and the question is still being answered.
    while (0..2).any(|executor| !has_files(&cluster.work(executor))) {
        assert!(asking.try_wait().unwrap().is_none(), "it was answered before an executor could die");
        assert!(Instant::now() < until, "{}", cluster.logs());
        thread::sleep(Duration::from_millis(1));
    }
    cluster.parts[2].kill().unwrap();
    cluster.parts[2].wait().unwrap();
    assert!(asking.try_wait().unwrap().is_none(), "it was answered before an executor could die");
    let output = asking.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{}", said(&output), cluster.logs());
    assert_eq!(rows(&output), expected);
}

#[test]
fn a_cluster_that_does_not_answer_is_a_sentence() {
    let dataset = crate::common::noisy().to_str().unwrap();
    let said = refusal(&[dataset, "nodes", "--cluster", "df://127.0.0.1:9"]);
    assert!(said.starts_with("havana: df://127.0.0.1:9: no scheduler answers there: "), "{said}");
    let said = refusal(&[dataset, "nodes", "--cluster", "scheduler:50050"]);
    assert_eq!(said, "havana: scheduler:50050: a scheduler is df://HOST, or df://HOST:PORT");
}
