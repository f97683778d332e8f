//! The command line: what can be said, and what it means. Man pages and completions come from here too.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use havana_insight::{Kind, Severity};

const AFTER: &str = "\
Exit status: 0 with an answer, 1 without (a one-line error says why), 2 for wrong usage.
Losses in the trace are warnings; with --strict they make it 1.";

/// What every virtual machine of a KVM host did, from the processor's own trace (Intel PT).
#[derive(Debug, Parser)]
#[command(name = "havana", version, about, after_help = AFTER, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Records this host's hardware trace, with what its kernel says beside it (perf.data)
    #[command(after_help = "\
Examples:
  havana record                                   until Ctrl-C: perf.data
  havana record -o web.data -- sleep 10           while a command runs
  havana record --rotate-time 10m --max-size 20G --zstd -o /var/lib/havana/trace.data
  havana record --mode snapshot --on 'cpu>40' --on exit:web-2
  havana record --rotate-time 10m --max-size 20G --metrics 127.0.0.1:9117
  havana record --rotate-time 5m --max-size 20G --push s3://traces/fleet -o /var/lib/havana/trace.data
  havana record -o - | ssh desk havana analyze - -o kvm-07.havana
  pkill -USR2 havana                              a snapshot, now")]
    Record(Record),
    /// What this host can record, and what to do about what it cannot
    #[command(after_help = "\
Examples:
  havana doctor                                   as record would find it; as root it sees more
  havana doctor -o /var/lib/havana/trace.data     would there be room?
  havana doctor --json | jq '.checks[] | select(.verdict != \"ok\")'

Exit status: 0 where this host can be recorded, also with limits; 1 where it cannot.")]
    Doctor(Doctor),
    /// What recording costs a workload here: it runs in turns without and with each way to record it
    #[command(after_help = "\
Examples:
  havana overhead -- make -j8                     ten rounds, every way that this host has
  havana overhead --ways envelope,coarse --rounds 30 -- ./load.sh
  havana overhead --ways tracepoints --tracepoints kvm:kvm_exit,kvm:kvm_entry -- sysbench cpu run
  havana overhead --json -- ./load.sh > overhead.json")]
    Overhead(Overhead),
    /// Trace → dataset and report
    #[command(after_help = "\
Examples:
  havana analyze perf.data                        as perf record -a -e intel_pt/branch=0/ wrote it
  perf record -o - … | havana analyze - -o tuesday.havana
  havana analyze perf.data --names <(ps -eo pid,args)
  havana analyze capture/                         all its .pt files, with their trace.toml
  havana analyze cpu0.pt cpu1.pt -o tuesday.havana
  havana analyze snapshot.pt --tsc-hz 3.4e9       a stream of which nothing else is known
  havana analyze capture/ --from 1.5 --to 2.5     one second of it")]
    Analyze(Analyze),
    /// The report of a dataset again
    #[command(after_help = "\
Examples:
  havana report tuesday.havana
  havana report tuesday.havana --json | jq '.vms[].vcpus[].guest'")]
    Report(Report),
    /// What changed from one dataset, or stretch of time, to another: who has more or less, and how surely
    #[command(after_help = "\
Examples:
  havana diff monday.havana tuesday.havana
  havana diff monday.havana tuesday.havana --b-from 60 --top 5
  havana diff tuesday.havana --a-to 12.4 --b-from 12.4     before and after a moment of one
  havana diff monday.havana tuesday.havana --view          side by side, in the browser
  havana diff monday.havana tuesday.havana --json | jq '.changes[] | select(.told) | {who, kind, a, b}'")]
    Diff(Diff),
    /// Datasets → a profile of what is normal, which findings can then be held against
    #[command(after_help = "\
Examples:
  havana learn monday.havana tuesday.havana wednesday.havana -o normal.json
  havana analyze perf.data --baseline normal.json
  havana report thursday.havana --baseline normal.json --alert any:high")]
    Learn(Learn),
    /// A dataset in the formats of other tools: Perfetto, Trace Compass, flame graphs, spreadsheets
    #[command(after_help = "\
Examples:
  havana export monday.havana --format perfetto -o monday.pftrace     opens at ui.perfetto.dev
  havana export monday.havana --format ctf1 -o monday.ctf             babeltrace2 monday.ctf
  havana export monday.havana --format pprof -o monday.pb.gz          go tool pprof monday.pb.gz
  havana export monday.havana --format folded -o - | flamegraph.pl > monday.svg
  havana export monday.havana --format csv --table exits -o - --from 4 --to 5 | head
  havana export monday.havana --format jsonl -o tables/ --redact      a file a table, no names")]
    Export(Export),
    /// The interactive view of a dataset or a trace, in the browser
    #[command(after_help = "\
Examples:
  havana view tuesday.havana
  havana view perf.data                           analyzes it first, into a dataset that goes with the view
  havana view tuesday.havana --no-open --port 7117
  havana view s3://traces/fleet                   all nodes of a fleet: the root, in S3 or a directory
  ssh -L 7117:127.0.0.1:7117 kvm-07 havana view tuesday.havana --no-open --port 7117
  havana view tuesday.havana --tsp                for Trace Compass in VS Code
  havana view tuesday.havana --listen 10.0.0.7:7117    for others, who need the token that it prints")]
    View(View),
    /// What each VM does now, on the terminal; or did, as a recorded trace tells it
    #[command(after_help = "\
Keys: q quit, arrows choose a VM, Enter opens it, v its vCPUs, g its guest processes, s sorts, p pauses, + and - change the
interval, h help.

Examples:
  havana top                                      this host, live
  havana top --plain --frames 5 --interval 2s     five blocks of text
  havana top --json | jq '.vms[] | {name, exits}'
  havana top --plain --metrics 127.0.0.1:9117 > /dev/null    for Prometheus
  havana top --from perf.data --speed 10          a recorded trace, ten times as fast as it was
  havana top --from capture/ --speed max --plain  all of it, at once")]
    Top(Top),
    /// SQL over one dataset or many, and questions that have a name
    #[command(
        disable_help_flag = true,
        after_help = "\
Examples:
  havana sql tuesday.havana --list                   questions that have a name
  havana sql tuesday.havana steal-matrix
  havana sql *.havana \"SELECT node, count(*) FROM exits GROUP BY node\"
  havana sql tuesday.havana                          a shell
  havana sql --help                                  all that it takes

It is a program of its own, havana-sql, since the SQL engine takes long to build."
    )]
    Sql {
        /// What havana-sql takes: datasets, a question, options
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "…")]
        words: Vec<OsString>,
    },
    /// Puts datasets under the root of a fleet, a directory or S3; broken off, it goes on where it was
    #[cfg(feature = "fleet")]
    #[command(after_help = "\
Examples:
  havana push kvm-07.havana s3://traces/fleet
  havana push *.havana /srv/fleet
  havana sql s3://traces/fleet nodes              asks all of them

Who asks S3, and where that is, the environment says: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL.")]
    Push(Push),
    /// Makes many small captures of a node one an hour: fewer files to open
    #[cfg(feature = "fleet")]
    #[command(after_help = "\
Examples:
  havana compact s3://traces/fleet                once an hour, from one place
  havana compact s3://traces/fleet --share 2/16   of each sixteen nodes one; other places do the others")]
    Compact {
        /// The root: s3://BUCKET/PREFIX, or a directory
        root: PathBuf,
        /// Which share of the nodes, of how many
        #[arg(long, value_name = "N/OF", value_parser = share)]
        share: Option<havana_fleet::Share>,
    },
    /// Removes old captures from the root of a fleet, and what broken pushes left
    #[cfg(feature = "fleet")]
    #[command(after_help = "\
Examples:
  havana prune s3://traces/fleet --older 30d
  havana prune /srv/fleet --max-size 500G --dry-run")]
    Prune(Prune),
    /// The packets of a trace, one a line
    #[command(after_help = "\
Examples:
  havana packets cpu0.pt | less
  havana packets cpu0.pt --only pip,vmcs          who entered and left which guest
  havana packets perf.data --cpu 3 --count        how many of each kind
  havana packets cpu0.pt --format tsv > packets.tsv")]
    Packets(Packets),
    /// How fast this machine is with a trace, against its own memory
    #[command(after_help = "\
Examples:
  havana bench perf.data
  taskset -c 1 havana bench capture/ --rounds 9   on one core")]
    Bench(Bench),
    /// The whole way on a bundled capture: two VMs on one cpu, and one of them runs away
    Demo(Demo),
    /// A KVM host that is not there: the trace that its processors would write, and the truth
    #[command(after_help = "\
Scenarios:
  quiet             two VMs with little to do, on one cpu
  noisy-neighbour   a process of one runs away, and starves the other
  cron-burst        a job that nobody remembers, each second
  exit-storm        a device in a tight loop
  overcommit        8 vCPUs on 2 cpus
  throttled         cpu.max stops a VM that wants more
  migration         a VM leaves this host, and another comes
  clock-jump        a guest's clock is set anew
  lossy             a recorder that cannot keep up (writes a perf.data)
  big               64 cpus, 200 VMs
  random            a small one, drawn from its --seed; random-lossy: with losses and errata

Examples:
  havana simulate noisy-neighbour                 writes noisy-neighbour/, for analyze
  havana simulate big --seconds 10 --no-truth -o big10
  havana simulate overcommit --form perf          a perf.data, for perf as for us
  havana simulate quiet --print > mine.toml       all that a scenario can say
  havana simulate mine.toml --seed 7")]
    Simulate(Simulate),
    /// Prints the completions of a shell
    #[command(after_help = "Example: havana completions bash > ~/.local/share/bash-completion/completions/havana")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Writes the man pages into a directory
    Man {
        /// Where to
        dir: PathBuf,
    },
}

/// What a raw stream does not say of itself. What stands here goes before `trace.toml`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Clock facts (they go before trace.toml)")]
pub(crate) struct Facts {
    /// TSC ticks a second, such as 2100000000 or 2.1e9
    #[arg(long, value_name = "HZ", value_parser = hertz)]
    pub(crate) tsc_hz: Option<u64>,
    /// TSC ticks a crystal tick: CPUID leaf 15H's EBX/EAX, such as 168/2
    #[arg(long, value_name = "N/D", value_parser = ratio)]
    pub(crate) tsc_ctc_ratio: Option<(u32, u32)>,
    /// MTCFreq: an MTC packet each 2^N crystal ticks
    #[arg(long, value_name = "N")]
    pub(crate) mtc_period: Option<u8>,
    /// family/model/stepping of the processor, such as 6/85/4, for its errata
    #[arg(long, value_name = "F/M/S", value_parser = model)]
    pub(crate) cpu_model: Option<havana_trace::CpuModel>,
}

/// What is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RecordMode {
    /// Who runs, and no branches: little
    Envelope,
    /// Branches too: some hundred MB a second and busy cpu
    Full,
    /// As envelope, into rings that are overwritten; written at SIGUSR2, --on, and at the end
    Snapshot,
}

/// How well times are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Precision {
    /// To some 10 µs
    Coarse,
    /// Each event dated, where the processor has CYC; else to some 1.3 µs
    Normal,
    /// As normal, with more MTC; without CYC to some 0.2 µs
    Fine,
}

impl From<Precision> for havana_capture::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Coarse => havana_capture::Precision::Coarse,
            Precision::Normal => havana_capture::Precision::Normal,
            Precision::Fine => havana_capture::Precision::Fine,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Record {
    /// The file to write; one that is there is kept as FILE.old; - for standard output
    #[arg(short, long, value_name = "FILE", default_value = "perf.data")]
    pub(crate) output: PathBuf,
    /// What
    #[arg(long, value_enum, default_value_t = RecordMode::Envelope)]
    pub(crate) mode: RecordMode,
    /// How well times are known, against bytes
    #[arg(long, value_enum, default_value_t = Precision::Normal)]
    pub(crate) precision: Precision,
    /// Only these cpus, such as 0-3,8
    #[arg(long, value_name = "LIST", value_parser = cpus)]
    pub(crate) cpus: Option<Cpus>,
    /// In snapshot mode: write one when this begins to hold: cpu>P, io>P, memory>P (percent of time that tasks waited),
    /// load>N, file:PATH (appears), exit:VM (again for more)
    #[arg(long, value_name = "CONDITION")]
    pub(crate) on: Vec<havana_capture::Condition>,
    /// Tell Prometheus what is counted: at this address, or in this file, of node_exporter's textfile collector
    #[arg(long, value_name = "ADDRESS:PORT|FILE.prom")]
    pub(crate) metrics: Option<havana_metrics::Target>,
    /// Analyze each file that is whole, push it under this root (s3://…, a directory), and remove it
    #[cfg(feature = "fleet")]
    #[arg(long, value_name = "ROOT")]
    pub(crate) push: Option<String>,
    /// Write nothing on stderr but warnings
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Record while this runs; its exit status is the recorder's
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) workload: Vec<std::ffi::OsString>,
    #[command(flatten)]
    pub(crate) long: LongRuns,
    #[command(flatten)]
    pub(crate) reader: Reader,
}

/// Recordings that go on for days.
#[derive(Debug, Args)]
#[command(next_help_heading = "Long runs")]
pub(crate) struct LongRuns {
    /// Begin another file after so much, such as 1G: FILE-000001…
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) rotate_size: Option<u64>,
    /// Begin another file after so long, such as 90s, 10m, 1h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) rotate_time: Option<std::time::Duration>,
    /// All files together: the oldest are removed; without rotation the recording ends
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) max_size: Option<u64>,
    /// End after so long
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) max_duration: Option<std::time::Duration>,
    /// Compress (zstd, level 1): a third of the bytes, and more of the reader's time
    #[arg(long)]
    pub(crate) zstd: bool,
}

/// The reader, and its rings.
#[derive(Debug, Args)]
#[command(next_help_heading = "The reader")]
pub(crate) struct Reader {
    /// A cpu's ring of trace [default: 4M; 16M with branches]
    #[arg(long, value_name = "SIZE", value_parser = ring)]
    pub(crate) buffer: Option<u64>,
    /// A cpu's ring of the kernel's records
    #[arg(long, value_name = "SIZE", value_parser = ring, default_value = "512K")]
    pub(crate) records: u64,
    /// Rings are emptied this often, if not full before: whoever is killed has lost no more
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "2s")]
    pub(crate) flush: std::time::Duration,
    /// How nice it is, -20 to 19
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-20..=19))]
    pub(crate) nice: Option<i32>,
    /// Where it runs, such as 0-3
    #[arg(long, value_name = "LIST", value_parser = cpus)]
    pub(crate) reader_cpus: Option<Cpus>,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The file that would be written
    #[arg(short, long, value_name = "FILE", default_value = "perf.data")]
    pub(crate) output: PathBuf,
    /// Print what was found as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a workload is recorded, to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OverheadWay {
    /// Not at all; always among them
    Nothing,
    /// As record does
    Envelope,
    /// As record --precision coarse
    Coarse,
    /// As record --mode full
    Full,
    /// The kernel's own tracepoints, as perf records them
    Tracepoints,
}

#[derive(Debug, Args)]
pub(crate) struct Overhead {
    /// What runs, again and again; should take a second or more, and be the same work each time
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub(crate) workload: Vec<std::ffi::OsString>,
    /// How often each way runs; there is no interval of less than 6
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// Rounds before, which do not count
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) warm_up: u32,
    /// What is compared [default: all that this host has]
    #[arg(long, value_name = "WAY,…", value_enum, value_delimiter = ',')]
    pub(crate) ways: Vec<OverheadWay>,
    /// Of envelope and full: how well times are known, against bytes
    #[arg(long, value_enum, default_value_t = Precision::Normal)]
    pub(crate) precision: Precision,
    /// Which tracepoints: GROUP:NAME, or GROUP:* for all of a group
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "kvm:*,sched:sched_switch")]
    pub(crate) tracepoints: Vec<havana_capture::overhead::Pattern>,
    /// Only these cpus are recorded, such as 0-3,8
    #[arg(long, value_name = "LIST", value_parser = cpus)]
    pub(crate) cpus: Option<Cpus>,
    /// A cpu's ring of trace, or of tracepoints [default: 4M; 16M with branches]
    #[arg(long, value_name = "SIZE", value_parser = ring)]
    pub(crate) buffer: Option<u64>,
    /// Where recordings are written; each is removed after its run [default: the directory for temporary files]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// The order of the ways, drawn anew each round, follows from it
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Go on where the command fails
    #[arg(long)]
    pub(crate) ignore_status: bool,
    /// Show what the command prints
    #[arg(long)]
    pub(crate) show: bool,
    /// Print the result as JSON, with each run
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which findings make an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alert {
    /// None: any.
    pub(crate) kind: Option<Kind>,
    pub(crate) at_least: Severity,
}

/// A list of cpus.
#[derive(Debug, Clone)]
pub(crate) struct Cpus(pub(crate) Vec<u32>);

#[derive(Debug, Args)]
pub(crate) struct Analyze {
    /// A perf.data (- for standard input); raw .pt streams, or directories of them
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,
    /// The dataset to write [default: the input's name with .havana, in this directory]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Replace a dataset that stands there
    #[arg(short, long)]
    pub(crate) force: bool,
    /// The node's name [default: the host name in the trace, else "unknown"]
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// What VMs are called: a VMM a line, as ps -eo pid,args prints them, or TOML
    #[arg(long, value_name = "FILE")]
    pub(crate) names: Option<PathBuf>,
    /// Hold findings against this profile of what is normal (see learn)
    #[arg(long, value_name = "PROFILE")]
    pub(crate) baseline: Option<PathBuf>,
    /// The host's /proc/kallsyms, of the boot that was recorded: of a trace with branches it tells why exits were, by the
    /// handler that KVM went to [default: that of perf record --kcore]
    #[arg(long, value_name = "FILE")]
    pub(crate) kallsyms: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print no report
    #[arg(short, long, conflicts_with = "json")]
    pub(crate) quiet: bool,
    /// Instead of the report a line for each finding of this kind (any: of all) and severity at least (again for more);
    /// exit with status 3 where there is one
    #[arg(long, value_name = "KIND:SEVERITY", value_parser = alert)]
    pub(crate) alert: Vec<Alert>,
    /// Exit with status 1 where anything of the trace was lost
    #[arg(long)]
    pub(crate) strict: bool,
    // Last: their headings hold for all that follows.
    #[command(flatten)]
    pub(crate) part: Part,
    #[command(flatten)]
    pub(crate) facts: Facts,
}

/// A part of a trace.
#[derive(Debug, Args)]
#[command(next_help_heading = "A part of the trace")]
pub(crate) struct Part {
    /// From this time on, in seconds since the first event (ticks where no TSC rate is known)
    #[arg(long, value_name = "T")]
    pub(crate) from: Option<f64>,
    /// Up to this time
    #[arg(long, value_name = "T")]
    pub(crate) to: Option<f64>,
    /// Only this cpu (again for more); of a single file whose name does not say: its cpu
    #[arg(long, value_name = "N")]
    pub(crate) cpu: Vec<u32>,
    /// Only the VM of this vm_id (again for more); what the cpus did stays whole
    #[arg(long, value_name = "ID")]
    pub(crate) vm: Vec<i32>,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// A dataset
    #[arg(value_name = "DATASET")]
    pub(crate) dataset: PathBuf,
    /// Look for findings anew, against this profile of what is normal (see learn)
    #[arg(long, value_name = "PROFILE")]
    pub(crate) baseline: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Instead of the report a line for each finding of this kind (any: of all) and severity at least (again for more);
    /// exit with status 3 where there is one
    #[arg(long, value_name = "KIND:SEVERITY", value_parser = alert)]
    pub(crate) alert: Vec<Alert>,
    /// Exit with status 1 where anything of the trace was lost
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Debug, Args)]
#[command(mut_arg("port", |port| port.requires("view")), mut_arg("listen", |listen| listen.requires("view")))]
#[command(mut_arg("no_open", |no_open| no_open.requires("view")))]
pub(crate) struct Diff {
    /// A dataset: side A
    #[arg(value_name = "A")]
    pub(crate) a: PathBuf,
    /// A dataset: side B [default: the same; then say which times of it]
    #[arg(value_name = "B")]
    pub(crate) b: Option<PathBuf>,
    /// How many changes are told at most [default: 15; with --json all]
    #[arg(long, value_name = "N")]
    pub(crate) top: Option<usize>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Exit with status 1 where anything of either trace was lost
    #[arg(long)]
    pub(crate) strict: bool,
    #[command(flatten)]
    pub(crate) times: DiffTimes,
    /// Side by side in the interactive view of A, in the browser
    #[arg(long, help_heading = "In the browser", conflicts_with_all = ["json", "top"])]
    pub(crate) view: bool,
    #[command(flatten, next_help_heading = "In the browser")]
    pub(crate) page: Page,
}

/// A stretch of each side.
#[derive(Debug, Args)]
#[command(next_help_heading = "Times (seconds since a dataset's first event; ticks where no TSC rate is known)")]
pub(crate) struct DiffTimes {
    /// Of A, from this time on [default: its begin]
    #[arg(long, value_name = "T")]
    pub(crate) a_from: Option<f64>,
    /// Of A, up to this time [default: its end]
    #[arg(long, value_name = "T")]
    pub(crate) a_to: Option<f64>,
    /// Of B, from this time on [default: its begin]
    #[arg(long, value_name = "T")]
    pub(crate) b_from: Option<f64>,
    /// Of B, up to this time [default: its end]
    #[arg(long, value_name = "T")]
    pub(crate) b_to: Option<f64>,
}

#[derive(Debug, Args)]
pub(crate) struct Learn {
    /// Datasets of a node on which all was as it should be; the more, the surer
    #[arg(required = true, value_name = "DATASET")]
    pub(crate) datasets: Vec<PathBuf>,
    /// The profile to write; - for standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Replace a file that stands there
    #[arg(short, long)]
    pub(crate) force: bool,
}

#[cfg(feature = "fleet")]
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// Datasets, then the root: s3://BUCKET/PREFIX, or a directory
    #[arg(required = true, value_name = "DATASET… ROOT")]
    pub(crate) words: Vec<PathBuf>,
    /// Replace captures that are there with another content
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// `2/16`.
#[cfg(feature = "fleet")]
fn share(text: &str) -> Result<havana_fleet::Share, String> {
    let parts = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
    match parts {
        Some((number, of)) if (1..=of).contains(&number) => Ok(havana_fleet::Share { number, of }),
        _ => Err("a share is such as 2/16".into()),
    }
}

#[cfg(feature = "fleet")]
#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// The root: s3://BUCKET/PREFIX, or a directory
    pub(crate) root: PathBuf,
    /// What began longer ago goes, such as 30d, 12h
    #[arg(long, value_name = "TIME", value_parser = age, required_unless_present_any = ["max_size", "dry_run"])]
    pub(crate) older: Option<std::time::Duration>,
    /// The oldest go until the others are no larger, such as 500G, 20T
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) max_size: Option<u64>,
    /// Only says what would go
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}

/// What a dataset is exported as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// A Perfetto trace: tracks, slices, counters
    Perfetto,
    /// A directory of CTF 2, for Trace Compass and babeltrace2 from 2.1 on
    Ctf2,
    /// A directory of CTF 1.8, for every Trace Compass and babeltrace2
    Ctf1,
    /// A line for each VM;vCPU;process;state and its time, for flame graphs
    Folded,
    /// The same as a profile, with exits
    Pprof,
    /// Tables as comma-separated values
    Csv,
    /// Tables as JSON lines
    Jsonl,
}

#[derive(Debug, Args)]
#[command(mut_arg("cpu", |cpu| cpu.help("Only this cpu, and vCPUs while they were on it (again for more)")))]
pub(crate) struct Export {
    /// A dataset
    #[arg(value_name = "DATASET")]
    pub(crate) dataset: PathBuf,
    /// As what
    #[arg(long, value_enum)]
    pub(crate) format: ExportFormat,
    /// The file to write, - for standard output; of ctf1 and ctf2, and of csv and jsonl without --table, the directory
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// Of csv and jsonl: this table alone [default: all but those for drawing, lod and lod_exits]
    #[arg(long, value_name = "NAME", value_parser = table)]
    pub(crate) table: Option<havana_rows::parquet::Table>,
    /// Leave out names of hosts, VMs and programs, and addresses
    #[arg(long)]
    pub(crate) redact: bool,
    /// Replace what was exported there before
    #[arg(short, long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) part: Part,
}

#[derive(Debug, Args)]
pub(crate) struct View {
    /// A dataset; a perf.data, raw .pt streams, or directories of them; or the root of a fleet
    #[arg(required = true, value_name = "DATASET|TRACE|ROOT")]
    pub(crate) inputs: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) page: Page,
    /// Speak the Trace Server Protocol as well, on port 8080 if no other is given, and open no browser: for Trace Compass in
    /// VS Code
    #[arg(long)]
    pub(crate) tsp: bool,
    #[command(flatten)]
    pub(crate) facts: Facts,
}

/// Where the page is served, and who opens it.
#[derive(Debug, Args)]
pub(crate) struct Page {
    /// The port on loopback [default: any that is free]
    #[arg(long, value_name = "N")]
    pub(crate) port: Option<u16>,
    /// Listen on this address instead of loopback: who asks must then know a token
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "port")]
    pub(crate) listen: Option<std::net::SocketAddr>,
    /// Open no browser: only print the page's address
    #[arg(long)]
    pub(crate) no_open: bool,
}

/// What VMs are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    /// Time in the guest
    Guest,
    /// Time of the hypervisor for it
    Hypervisor,
    /// Time that others took from it
    Preempted,
    /// Exits
    Exits,
    /// In the order in which they were first seen
    Number,
}

#[derive(Debug, Args)]
pub(crate) struct Top {
    /// A recorded trace instead of this host: a perf.data (- for standard input); raw .pt streams, or directories of them
    #[arg(long, value_name = "INPUT", num_args = 1..)]
    pub(crate) from: Vec<PathBuf>,
    /// With --from: so many times as fast as it was; max or 0: as fast as it goes
    #[arg(long, value_name = "N", default_value = "1", value_parser = speed, requires = "from")]
    pub(crate) speed: f64,
    /// How much time a frame is of
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub(crate) interval: std::time::Duration,
    /// End after so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) frames: Option<u64>,
    /// A block of text a frame [default where standard output is no terminal]
    #[arg(long)]
    pub(crate) plain: bool,
    /// A JSON object a frame, one a line
    #[arg(long, conflicts_with = "plain")]
    pub(crate) json: bool,
    /// What VMs are sorted by
    #[arg(long, value_enum, default_value_t = Sort::Guest)]
    pub(crate) sort: Sort,
    /// What VMs are called: a VMM a line, as ps -eo pid,args prints them, or TOML
    #[arg(long, value_name = "FILE")]
    pub(crate) names: Option<PathBuf>,
    /// Tell Prometheus what all frames add up to: at this address, or in this file, of node_exporter's textfile collector
    #[arg(long, value_name = "ADDRESS:PORT|FILE.prom")]
    pub(crate) metrics: Option<havana_metrics::Target>,
    /// Of this host: only these cpus, such as 0-3,8
    #[arg(long, value_name = "LIST", value_parser = cpus, conflicts_with = "from")]
    pub(crate) cpus: Option<Cpus>,
    /// Of this host: a cpu's ring of trace
    #[arg(long, value_name = "SIZE", value_parser = ring, default_value = "4M", conflicts_with = "from")]
    pub(crate) buffer: u64,
    #[command(flatten)]
    pub(crate) facts: Facts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PacketFormat {
    /// Aligned columns
    Text,
    /// offset, kind, payload; tabs between
    Tsv,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Packets {
    /// A raw .pt stream or a perf.data; - for standard input
    #[arg(value_name = "FILE")]
    pub(crate) input: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t = PacketFormat::Text)]
    pub(crate) format: PacketFormat,
    /// Only these kinds, such as pip,vmcs,bad
    #[arg(long, value_name = "KIND,…", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Of this cpu, where the input has several
    #[arg(long, value_name = "N")]
    pub(crate) cpu: Option<u32>,
    /// Only how many there are of each kind
    #[arg(long)]
    pub(crate) count: bool,
    /// family/model/stepping of the processor, such as 6/85/4, for its errata [default: trace.toml's]
    #[arg(long, value_name = "F/M/S", value_parser = model)]
    pub(crate) cpu_model: Option<havana_trace::CpuModel>,
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// A perf.data; raw .pt streams, or directories of them
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,
    /// How often each is done, in turns
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) rounds: u16,
    #[command(flatten)]
    pub(crate) facts: Facts,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Keep the dataset here
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// A scenario by its name, or a file of one
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenario: String,
    /// The directory to write [default: the scenario's name, in this directory]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Replace what was simulated there before
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Instead of the scenario's: all follows from it
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Instead of the scenario's: how long the node is watched
    #[arg(long, value_name = "S")]
    pub(crate) seconds: Option<f64>,
    /// Instead of the scenario's: logical processors
    #[arg(long, value_name = "N")]
    pub(crate) cpus: Option<u32>,
    /// Instead of the scenario's: when it begins, seconds since 1970 (a perf.data tells it)
    #[arg(long, value_name = "S")]
    pub(crate) wall: Option<u64>,
    /// Instead of the scenario's: raw streams of packets, or a perf.data with what the kernel says beside them
    #[arg(long)]
    pub(crate) form: Option<Form>,
    /// Write no truth
    #[arg(long)]
    pub(crate) no_truth: bool,
    /// Write the truth as lines alone, and no dataset of it
    #[arg(long, conflicts_with = "no_truth")]
    pub(crate) no_tables: bool,
    /// Print the scenario, with every default, and simulate nothing
    #[arg(long)]
    pub(crate) print: bool,
}

/// What a simulated trace is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Form {
    Raw,
    Perf,
}

fn hertz(text: &str) -> Result<u64, String> {
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    let hz = plain.parse::<f64>().map_err(|_| "should be a number of ticks a second".to_string())?;
    if (1e6..=1e11).contains(&hz) { Ok(hz.round() as u64) } else { Err("should be between 1e6 and 1e11".into()) }
}

fn cpus(text: &str) -> Result<Cpus, String> {
    let list = havana_capture::host::parse_cpu_list(text).filter(|list| !list.is_empty());
    list.map(Cpus).ok_or_else(|| "should be a list of cpus, such as 0-3,8".into())
}

/// Bytes: 4096, 512K, 20M, 1G, 1T.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || "should be a size, such as 512K, 20M or 1G".to_string();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].trim_end_matches(['B', 'b']).trim_end_matches('i') {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    let bytes = number * (1u64 << shift) as f64;
    if (1.0..1e18).contains(&bytes) { Ok(bytes as u64) } else { Err(wrong()) }
}

/// Bytes of a ring: a power of two.
fn ring(text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    let fits = bytes.is_power_of_two() && (1 << 14..=1 << 32).contains(&bytes);
    if fits { Ok(bytes) } else { Err("should be a power of two from 16K to 4G".into()) }
}

/// 30, 30s, 500ms, 10m, 1h, 7d.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || "should be a time, such as 30s, 10m or 1h".to_string();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return Err(wrong()),
    };
    let seconds = digits.parse::<f64>().map_err(|_| wrong())? * unit;
    if (1e-3..=1e9).contains(&seconds) { Ok(std::time::Duration::from_secs_f64(seconds)) } else { Err(wrong()) }
}

/// A time with its unit: what is mistaken here is gone.
#[cfg(feature = "fleet")]
fn age(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || "should be a time with its unit, such as 30d or 12h".to_string();
    if text.ends_with(|c: char| c.is_ascii_digit()) { Err(wrong()) } else { duration(text).map_err(|_| wrong()) }
}

/// A time that a person can look at.
fn interval(text: &str) -> Result<std::time::Duration, String> {
    let time = duration(text)?;
    let fits = (std::time::Duration::from_millis(10)..=std::time::Duration::from_secs(60)).contains(&time);
    if fits { Ok(time) } else { Err("should be from 10ms to 60s".into()) }
}

/// 1, 0.5, 10, max.
fn speed(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('x').parse() {
        _ if text == "max" => Ok(0.0),
        Ok(speed) if (0.0..=1e6).contains(&speed) => Ok(speed),
        _ => Err("should be a number, such as 1 or 10, or max".into()),
    }
}

/// any:high, steal:medium.
fn alert(text: &str) -> Result<Alert, String> {
    let names = |names: Vec<&str>| names.join(", ");
    let (kind, severity) = text.split_once(':').ok_or("should be KIND:SEVERITY, such as any:high or steal:medium")?;
    let kind = match kind {
        "any" => None,
        _ => Some(Kind::from_name(kind).ok_or_else(|| {
            format!("no kind {kind:?}: there are any, {}", names(Kind::ALL.iter().map(|kind| kind.name()).collect()))
        })?),
    };
    let at_least = Severity::from_name(severity).ok_or_else(|| {
        let all = Severity::ALL.iter().map(|severity| severity.name()).collect();
        format!("no severity {severity:?}: there are {}", names(all))
    })?;
    Ok(Alert { kind, at_least })
}

/// exits, cpu_states.
fn table(text: &str) -> Result<havana_rows::parquet::Table, String> {
    let all = havana_rows::parquet::Table::ALL;
    let names: Vec<&str> = all.iter().map(|table| table.name()).collect();
    let known = all.iter().copied().find(|table| table.name() == text);
    known.ok_or_else(|| format!("no table {text:?}: there are {}", names.join(", ")))
}

fn ratio(text: &str) -> Result<(u32, u32), String> {
    let parsed = text.split_once('/').and_then(|(n, d)| Some((n.trim().parse().ok()?, d.trim().parse().ok()?)));
    parsed.ok_or_else(|| "should be N/D, such as 168/2".into())
}

fn model(text: &str) -> Result<havana_trace::CpuModel, String> {
    text.parse().map_err(|()| "should be family/model/stepping, decimal, such as 6/85/4".into())
}

/// What `havana record --output FILE` means.
pub(crate) fn record_to(file: &Path) -> Result<Record, clap::Error> {
    let mut output = OsString::from("--output=");
    output.push(file);
    let words = ["record".into(), output];
    let matches = Record::augment_args(clap::Command::new("record")).try_get_matches_from(words)?;
    Record::from_arg_matches(&matches)
}

/// Reads the command line; exits with 2 where it is wrong.
pub(crate) fn parse() -> Cli {
    Cli::parse()
}

/// The definitions themselves, for man pages and completions.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}
