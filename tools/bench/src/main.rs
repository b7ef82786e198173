//! `sluicegate-bench`: how fast Sluicegate is, beside what PostgreSQL can give, on this machine.
//!
//! In: options. Out: a table, a results file, a plot, and `docs/performance.md` if asked. Always: a private PostgreSQL
//! in a temporary folder, the real binaries, loopback only; the figures of two readers that are compared come from runs
//! right after one another. A section is a module with a `run`, a field of [`Results`] and an arm in [`Section`].
//! Start at [`measure`].

mod backlog;
mod curves;
mod drain;
mod fleet;
mod latency;
mod machine;
mod memory;
mod metrics;
mod plot;
mod process;
mod report;
mod results;
mod snapshot;
mod standin;
mod sweep;
mod workload;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use rig::Cluster;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use machine::Machine;
use results::Results;
use workload::Workload;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Measures Sluicegate beside pg_recvlogical and COPY on a private PostgreSQL. Takes about twenty minutes; `--quick`
/// less than three.
#[derive(Debug, Parser)]
struct Arguments {
    /// Smaller backlogs and fewer runs.
    #[arg(long)]
    quick: bool,
    /// Sections to run; if left out all that fit into the time.
    #[arg(long, visible_alias = "only", value_enum, value_delimiter = ',')]
    sections: Vec<Section>,
    /// Workloads to drain and tables to copy (a and c), by name (a, b, bf, c, d, ds); all if left out.
    #[arg(long, value_delimiter = ',', value_parser = ["a", "b", "bf", "c", "d", "ds"])]
    workloads: Vec<String>,
    /// Paired runs over TCP.
    #[arg(long)]
    pairs: Option<u32>,
    /// Paired runs over the unix socket.
    #[arg(long)]
    unix_pairs: Option<u32>,
    /// Paired copies of existing rows.
    #[arg(long)]
    copy_pairs: Option<u32>,
    /// Axes to sweep; all if left out.
    #[arg(long, value_delimiter = ',', value_parser = ["transaction", "columns", "size", "tables"])]
    axes: Vec<String>,
    /// Paired runs of each point of the sweep.
    #[arg(long)]
    sweep_pairs: Option<u32>,
    /// Multiplies the rows of each backlog and of each table that is copied.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Bind the walsender to one core and the reader to another.
    #[arg(long)]
    pin: bool,
    /// A further setting of the sidecar, NAME=VALUE.
    #[arg(long, value_parser = setting)]
    set: Vec<(String, String)>,
    /// Where the results go, with a plot beside them.
    #[arg(long, default_value = "target/bench/results.json")]
    out: PathBuf,
    /// Measure nothing; report what a results file holds.
    #[arg(long)]
    from: Option<PathBuf>,
    /// Write docs/performance.md, its plot and its results.
    #[arg(long)]
    write_docs: bool,
    /// The sidecar's binary; the one beside this program if left out.
    #[arg(long)]
    sluicegate: Option<PathBuf>,
}

/// A part of the measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    /// How fast a backlog is drained.
    Drain,
    /// From commit to sink.
    Latency,
    /// How fast existing rows are copied.
    Snapshot,
    /// How the cost of draining grows with the work; not part of a quick run.
    Sweep,
    /// Memory under what asks for much of it; not part of a quick run.
    Memory,
    /// What many idle sidecars cost; not part of a quick run.
    Fleet,
}

/// What is to be measured.
#[derive(Debug)]
pub(crate) struct Plan {
    sluicegate: PathBuf,
    standin: PathBuf,
    workloads: Vec<String>,
    quick: bool,
    scale: f64,
    pairs: u32,
    unix_pairs: u32,
    copy_pairs: u32,
    sweep_pairs: u32,
    axes: Vec<String>,
    pin: bool,
    probes_idle: u32,
    probes_few: u32,
    probes_loaded: u32,
    settings: Vec<(String, String)>,
}

impl Plan {
    fn new(arguments: &Arguments) -> Result<Plan, Failure> {
        let beside = |name: &str| Ok::<_, Failure>(std::env::current_exe()?.with_file_name(name));
        let sluicegate = arguments.sluicegate.clone().map_or_else(|| beside("sluicegate"), Ok)?;
        let standin = beside("starrocks-standin")?;
        for program in [&sluicegate, &standin] {
            if !program.exists() {
                return Err(format!("{} is missing: run scripts/bench.sh, which builds it", program.display()).into());
            }
        }
        let pick = |quick, full| if arguments.quick { quick } else { full };
        Ok(Plan {
            sluicegate,
            standin,
            workloads: arguments.workloads.clone(),
            quick: arguments.quick,
            scale: arguments.scale,
            pairs: arguments.pairs.unwrap_or(pick(3, 5)),
            unix_pairs: arguments.unix_pairs.unwrap_or(pick(1, 3)),
            copy_pairs: arguments.copy_pairs.unwrap_or(pick(1, 5)),
            sweep_pairs: arguments.sweep_pairs.unwrap_or(1),
            axes: arguments.axes.clone(),
            pin: arguments.pin,
            probes_idle: pick(10, 100),
            probes_few: pick(12, 60),
            probes_loaded: pick(50, 300),
            settings: arguments.set.clone(),
        })
    }

    fn wants(&self, workload: &Workload) -> bool {
        self.workloads.is_empty() || self.workloads.iter().any(|name| name == workload.name)
    }

    fn rows(&self, workload: &Workload) -> u64 {
        let rows = if self.quick { workload.rows_quick } else { workload.rows_full };
        ((rows as f64 * self.scale) as u64).max(1)
    }

    /// The sidecar's settings with those of the command line, which come last.
    fn environment(&self, settings: &[(&str, String)]) -> Vec<(String, String)> {
        let ours = settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        ours.chain(self.settings.iter().cloned()).collect()
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it is not NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let results = match &arguments.from {
        Some(file) => sonic_rs::from_slice(&std::fs::read(file)?)?,
        None => measure(arguments).await?,
    };
    println!("\n{}", report::text(&results));
    if arguments.from.is_none() {
        keep(&results, &arguments.out)?;
        println!("results: {}, plot beside it", arguments.out.display());
    }
    if arguments.write_docs {
        let docs = Path::new("docs");
        keep(&results, &docs.join("performance.json"))?;
        std::fs::write(docs.join("performance.md"), report::page(&results))?;
        println!("written: docs/performance.md, its plots and docs/performance.json");
    }
    let over = results.over_limits();
    over.iter().for_each(|over| println!("MORE THAN PROMISED: {over}"));
    if let Some(ratio) = results.lowest_ratio() {
        // The last line of all.
        println!("drain ratio (sluicegate : pg_recvlogical), lowest workload: {ratio:.2}");
    }
    if over.is_empty() { Ok(()) } else { Err("memory or CPU is over a bound".into()) }
}

async fn measure(arguments: &Arguments) -> Result<Results, Failure> {
    let plan = Plan::new(arguments)?;
    let cluster = Cluster::start(&[
        "shared_buffers = 256MB",
        "max_wal_size = 16GB",
        "checkpoint_timeout = 1h",
        "autovacuum = off",
        "synchronous_commit = off",
    ])?;
    let version: String = cluster.client().await?.query_one("SHOW server_version", &[]).await?.get(0);
    let mut results = Results {
        taken_at: OffsetDateTime::now_utc().replace_nanosecond(0)?.format(&Rfc3339)?,
        command: command(),
        machine: Machine::this(version),
        pinned: plan.pin,
        drain: Vec::new(),
        latency: None,
        snapshot: Vec::new(),
        sweep: Vec::new(),
        memory: Vec::new(),
        fleet: None,
    };
    println!("{}", results.machine);
    // Some take too long for a quick run, unless they are asked for.
    let in_quick = |section| matches!(section, Section::Drain | Section::Latency | Section::Snapshot);
    let wanted = |section| match arguments.sections.is_empty() {
        true => !plan.quick || in_quick(section),
        false => arguments.sections.contains(&section),
    };
    if wanted(Section::Drain) {
        results.drain = drain::run(&plan, &cluster).await?;
    }
    if wanted(Section::Latency) {
        results.latency = Some(latency::run(&plan, &cluster).await?);
    }
    if wanted(Section::Snapshot) {
        results.snapshot = snapshot::run(&plan, &cluster).await?;
    }
    if wanted(Section::Sweep) {
        results.sweep = sweep::run(&plan, &cluster).await?;
    }
    if wanted(Section::Memory) {
        results.memory = memory::run(&plan, &cluster).await?;
    }
    if wanted(Section::Fleet) {
        results.fleet = Some(fleet::run(&plan).await?);
    }
    Ok(results)
}

/// How a person calls this.
fn command() -> String {
    std::iter::once("scripts/bench.sh".to_owned()).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" ")
}

/// Writes the results, and the plots beside them.
fn keep(results: &Results, file: &Path) -> Result<(), Failure> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(file, sonic_rs::to_string_pretty(results)? + "\n")?;
    std::fs::write(file.with_extension("svg"), plot::svg(results))?;
    if !results.sweep.is_empty() {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        std::fs::write(file.with_file_name(format!("{stem}-sweep.svg")), curves::svg(results))?;
    }
    Ok(())
}
