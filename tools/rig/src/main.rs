//! `sluicegate-demo`: a private PostgreSQL, the StarRocks stand-in, a small shop with traffic, and Sluicegate between
//! them; at the end `sluicegate verify` compares both sides.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use clap::Parser;
use mysql_async::prelude::Queryable;
use sluicegate_rig::{Cluster, Sidecar, Standin, Status, free_port, shop};
use tokio::time::sleep;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Shows Sluicegate at work on this machine, everything on loopback and in a temporary folder.
#[derive(Parser)]
struct Arguments {
    /// Seconds of traffic; until Ctrl-C if left out.
    #[arg(long)]
    seconds: Option<u64>,
    /// Transactions per second that the shop's people make, about.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Rows that are there before the start, about.
    #[arg(long, default_value_t = 150_000)]
    rows: u32,
    /// The sidecar's binary; the one beside this program if left out.
    #[arg(long)]
    sluicegate: Option<PathBuf>,
}

/// Everything that runs, ended in order when dropped.
struct Stage {
    sidecar: Sidecar,
    standin: Standin,
    cluster: Cluster,
    _folder: tempfile::TempDir,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
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

async fn run(arguments: &Arguments) -> Result<bool, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopper = stop.clone();
    tokio::spawn(async move {
        asked_to_stop().await;
        stopper.store(true, Relaxed);
    });
    let mut stage = set_the_stage(arguments).await?;
    let traffic = start_traffic(&stage, arguments.rate, stop.clone()).await?;
    watch_the_copy(&stage, &stop).await?;
    watch(&stage, arguments.seconds, &stop).await?;
    stop.store(true, Relaxed);
    let transactions = traffic.await??;
    println!("\ntraffic stopped after {transactions} transactions; comparing both sides");
    let said = stage.sidecar.verify(&[])?;
    let report = said.stdout.trim_end();
    let (report, verdict) = report.rsplit_once("\n\n").unwrap_or(("", report));
    println!("{report}");
    eprint!("{}", said.stderr);
    stage.sidecar.terminate()?;
    let ended = stage.sidecar.wait(Duration::from_secs(15))?;
    println!("sluicegate stopped ({})", ended.map_or_else(|| "not in time".to_owned(), |status| status.to_string()));
    // The last line of all.
    println!("{verdict}");
    Ok(said.code == Some(0))
}

async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

async fn set_the_stage(arguments: &Arguments) -> Result<Stage, Failure> {
    let folder = tempfile::TempDir::with_prefix("sluicegate-demo-")?;
    let cluster = Cluster::start(&[])?;
    let client = cluster.client().await?;
    shop::create(&client).await?;
    shop::fill(&client, arguments.rows).await?;
    let version: String = client.query_one("SHOW server_version", &[]).await?.get(0);
    let standin = Standin::start().await?;
    let (grpc, http) = (format!("127.0.0.1:{}", free_port()?), format!("127.0.0.1:{}", free_port()?));
    let environment = [
        ("SOURCE_URL", cluster.url("postgres")),
        ("SINK_URL", standin.url("shop")),
        ("TABLES", format!("{}.*", shop::SCHEMA)),
        ("PIPELINE", "demo".to_owned()),
        ("GRPC_ADDR", grpc.clone()),
        ("METRICS_ADDR", http.clone()),
        ("LOG", "info".to_owned()),
    ];
    println!("PostgreSQL {version}     psql '{}'", cluster.url("postgres"));
    let (port, password) = (standin.sql_port(), standin.password());
    println!("StarRocks stand-in   mysql -h 127.0.0.1 -P {port} -u root -p{password} shop");
    println!("Sluicegate           gRPC {grpc}, metrics http://{http}/metrics; its settings:");
    for (name, value) in &environment[..3] {
        println!("    {name}={value}");
    }
    let environment: Vec<_> = environment.map(|(name, value)| (name.to_owned(), value)).into();
    let binary = match &arguments.sluicegate {
        Some(binary) => binary.clone(),
        None => std::env::current_exe()?.with_file_name("sluicegate"),
    };
    let sidecar = Sidecar::start(&binary, &environment, &folder.path().join("sluicegate.log"))?;
    Ok(Stage { sidecar, standin, cluster, _folder: folder })
}

/// Shows how the rows that were there are copied, until they are.
async fn watch_the_copy(stage: &Stage, stop: &AtomicBool) -> Result<(), Failure> {
    let (start, mut last, mut seen) = (Instant::now(), Instant::now(), 0.0);
    println!("\nrows that were there already are copied while the shop is open:");
    loop {
        let status = stage.sidecar.status();
        let number = |name: &str| status.as_ref().map_or(0.0, |status| status.number(name));
        let rows = number("snapshot_rows_synced");
        if status.as_ref().is_some_and(|status| status.text("stage") == "CDC") {
            let (seconds, bytes) = (start.elapsed().as_secs_f64(), number("snapshot_bytes_synced"));
            let (per_second, mib) = (rows / seconds, bytes / seconds / f64::from(1 << 20));
            println!("copied {rows:.0} rows in {seconds:.1} s: {per_second:.0} rows/s, {mib:.1} MiB/s, start included");
            return Ok(());
        }
        if rows > seen || last.elapsed() > Duration::from_secs(1) && status.is_some() {
            let (done, all) = (number("snapshot_chunks_done"), number("snapshot_chunks_total"));
            let per_second = number("snapshot_rows_per_second");
            println!(
                "{:>4}s {rows:>10.0} rows, {done:.0} of {all:.0} parts, {per_second:.0} rows/s",
                start.elapsed().as_secs()
            );
            last = Instant::now();
        }
        if rows > seen {
            seen = rows;
        } else if stop.load(Relaxed) || start.elapsed() > GIVE_UP {
            let log = std::fs::read_to_string(stage.sidecar.log()).unwrap_or_default();
            return Err(format!("sluicegate does not get to follow the changes; its log:\n{log}").into());
        }
        sleep(Duration::from_millis(250)).await;
    }
}

/// How long the copy may take at most.
const GIVE_UP: Duration = Duration::from_secs(600);

type Traffic = tokio::task::JoinHandle<Result<u64, tokio_postgres::Error>>;

async fn start_traffic(stage: &Stage, rate: u32, stop: Arc<AtomicBool>) -> Result<Traffic, Failure> {
    let client = stage.cluster.client().await?;
    let pause = Duration::from_secs(1) / rate.max(1);
    Ok(tokio::spawn(async move {
        let mut traffic = shop::Traffic::new(1);
        traffic.run(&client, pause, || stop.load(Relaxed)).await?;
        Ok(traffic.done())
    }))
}

/// Prints a line a second until the time is over or somebody asks to stop.
async fn watch(stage: &Stage, seconds: Option<u64>, stop: &AtomicBool) -> Result<(), Failure> {
    let tables = ["customers", "products", "orders", "order_lines", "carts"];
    println!("\nrows in the target, as they arrive{}:", if seconds.is_none() { " (Ctrl-C ends)" } else { "" });
    print!("{:>5}", "time");
    tables.iter().for_each(|table| print!("{table:>12}"));
    println!("{:>10}{:>9}{:>10}{:>8}", "changes", "per s", "behind", "loads");
    let mut target = stage.standin.connect().await?;
    let start = Instant::now();
    while !stop.load(Relaxed) && seconds.is_none_or(|seconds| start.elapsed() < Duration::from_secs(seconds)) {
        sleep(Duration::from_secs(1)).await;
        let Some(status) = stage.sidecar.status() else { continue };
        print!("{:>4}s", start.elapsed().as_secs());
        for table in tables {
            let query = format!("SELECT count(*) FROM shop.{table} WHERE sluice_is_deleted = 0");
            let count: Option<u64> = target.query_first(query).await?;
            print!("{:>12}", count.unwrap_or(0));
        }
        println!("{}", numbers(&status));
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn numbers(status: &Status) -> String {
    let (count, rate, lag) = ("rows_received", "events_per_second", "lag.seconds");
    let (changes, rate, lag) = (status.number(count), status.number(rate), status.number(lag));
    let loads = status.sum("tables", "loads");
    let lag = format!("{:.0} ms", lag * 1000.0);
    let line = format!("{changes:>10.0}{rate:>9.0}{lag:>10}{loads:>8.0}");
    if status.reasons().is_empty() || !std::io::stdout().is_terminal() {
        line
    } else {
        format!("{line}  {}", status.reasons().join(" "))
    }
}
