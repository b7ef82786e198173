//! From commit to sink: how long until a row that was just inserted is visible in the stand-in.
//!
//! The stand-in runs in this process, so that both moments are read from one clock, in whole milliseconds. The settings
//! are the defaults: a few changes that come after a quiet time go out at once, and one that comes beside many others
//! waits for the next flush. Commits are flushed, as is PostgreSQL's default: with `synchronous_commit = off`, under
//! which the backlogs are made, the server would keep each to itself for up to three times `wal_writer_delay`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rig::{Cluster, Sidecar, Standin, free_port};
use tokio::time::sleep;
use tokio_postgres::Client;

use crate::process::usage;
use crate::results::{Latencies, LatencyResult};
use crate::{Failure, Plan};

/// Least time between two rows when nothing else happens: longer than the default FLUSH_INTERVAL_MS.
const IDLE_PAUSE: Duration = Duration::from_millis(1050);
/// Rows in a row, the pause after each, and the quiet time before the next ones.
const FEW: u32 = 3;
const FEW_PAUSE: Duration = Duration::from_millis(100);
const QUIET: Duration = Duration::from_millis(3300);
/// Least time between two rows beside traffic.
const LOADED_PAUSE: Duration = Duration::from_millis(110);
/// Rows of one transaction of the traffic, and the pause after it.
const TRAFFIC_ROWS: u64 = 100;
const TRAFFIC_PAUSE: Duration = Duration::from_millis(10);
/// How long everything may take to arrive.
const LONGEST: Duration = Duration::from_secs(60);

const TABLES: &str = "CREATE TABLE public.probe (id bigint PRIMARY KEY, note text);
    CREATE TABLE public.traffic (id bigint PRIMARY KEY, note text)";

/// Measures idle, then a few in a row, then beside traffic.
pub(crate) async fn run(plan: &Plan, cluster: &Cluster) -> Result<LatencyResult, Failure> {
    println!("\nlatency from commit to sink");
    let client = flushing(cluster).await?;
    client.batch_execute(TABLES).await?;
    let standin = Standin::start().await?;
    standin.change_settings(|settings| settings.discard = true);
    let folder = tempfile::TempDir::with_prefix("sluicegate-bench-")?;
    let environment = [
        ("SOURCE_URL", cluster.url("postgres")),
        ("SINK_URL", standin.url("bench")),
        ("TABLES", "public.probe, public.traffic".to_owned()),
        ("PIPELINE", "latency".to_owned()),
        ("GRPC_ADDR", format!("127.0.0.1:{}", free_port()?)),
        ("METRICS_ADDR", format!("127.0.0.1:{}", free_port()?)),
        ("LOG", "warn".to_owned()),
    ];
    let log = folder.path().join("sluicegate.log");
    let mut sidecar = Sidecar::start(&plan.sluicegate, &plan.environment(&environment), &log)?;
    let start = Instant::now();
    while sidecar.status().is_none_or(|status| status.text("stage") != "CDC") {
        if start.elapsed() > LONGEST {
            let told = std::fs::read_to_string(&log).unwrap_or_default();
            return Err(format!("sluicegate does not follow the changes; its log:\n{told}").into());
        }
        sleep(Duration::from_millis(100)).await;
    }
    sleep(Duration::from_secs(1)).await;
    let rss_idle = usage(sidecar.id()).ok_or("sluicegate has ended")?.rss_bytes;
    let mut probe = Probe { client, standin, sent: Vec::new() };
    let idle = probe.series(plan.probes_idle, |_| IDLE_PAUSE).await?;
    tell("idle", &idle);
    let few = probe.series(plan.probes_few, |at| if at % FEW == 0 { QUIET } else { FEW_PAUSE }).await?;
    tell("a few in a row", &few);
    let traffic = Traffic::start(cluster).await?;
    sleep(Duration::from_millis(500)).await;
    let loaded = probe.series(plan.probes_loaded, |_| LOADED_PAUSE).await?;
    let load_rows_per_second = traffic.stop().await?;
    tell(&format!("beside {load_rows_per_second:.0} rows/s"), &loaded);
    sidecar.terminate()?;
    sidecar.wait(Duration::from_secs(20))?;
    Ok(LatencyResult { rss_idle, idle, few, loaded, load_rows_per_second })
}

fn tell(what: &str, latencies: &Latencies) {
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|part| latencies.quantile(part));
    println!("   {what:<20} p50 {p50:.0} ms, p99 {p99:.0} ms, max {max:.0} ms ({} rows)", latencies.milliseconds.len());
}

struct Probe {
    client: Client,
    standin: Standin,
    /// When each row was sent, milliseconds since 1970.
    sent: Vec<f64>,
}

impl Probe {
    /// Inserts that many rows one after the other, each after its pause, and waits until the last one is there.
    async fn series(&mut self, rows: u32, pause: impl Fn(u32) -> Duration) -> Result<Latencies, Failure> {
        let before = self.sent.len();
        for at in 0..rows {
            // Not in step with the flushes.
            sleep(pause(at).mul_f64(1.0 + fastrand::f64() / 4.0)).await;
            self.sent.push(since_epoch_ms());
            let insert = format!("INSERT INTO public.probe VALUES ({}, 'probe')", self.sent.len());
            self.client.batch_execute(&insert).await?;
        }
        let start = Instant::now();
        loop {
            let arrived = self.arrived();
            if arrived.len() >= self.sent.len() {
                let pairs = self.sent.iter().zip(arrived).skip(before);
                return Ok(Latencies { milliseconds: pairs.map(|(sent, arrived)| arrived - sent).collect() });
            }
            if start.elapsed() > LONGEST {
                return Err(format!("{} of {} rows did not arrive", self.sent.len() - arrived.len(), rows).into());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// When each row became visible. Loads of one table come in the order of its rows.
    fn arrived(&self) -> Vec<f64> {
        let history = self.standin.history();
        let loads = history.iter().filter(|load| load.tables.iter().any(|table| table == "probe"));
        let moments = loads.filter_map(|load| Some((load.finished_ms? as f64, load.counts.loaded)));
        moments.flat_map(|(moment, rows)| (0..rows).map(move |_| moment)).collect()
    }
}

/// A session whose commits are in the log's file when they return.
async fn flushing(cluster: &Cluster) -> Result<Client, Failure> {
    let client = cluster.client().await?;
    client.batch_execute("SET synchronous_commit = on").await?;
    Ok(client)
}

fn since_epoch_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as f64
}

/// Transactions that come steadily.
struct Traffic {
    stop: Arc<AtomicBool>,
    rows: Arc<AtomicU64>,
    start: Instant,
    task: tokio::task::JoinHandle<Result<(), tokio_postgres::Error>>,
}

impl Traffic {
    async fn start(cluster: &Cluster) -> Result<Traffic, Failure> {
        let client = flushing(cluster).await?;
        let (stop, rows) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, done) = (stop.clone(), rows.clone());
        let task = tokio::spawn(async move {
            // Relaxed: a flag and a count that stand for themselves.
            while !stopped.load(Relaxed) {
                let first = done.fetch_add(TRAFFIC_ROWS, Relaxed);
                let last = first + TRAFFIC_ROWS - 1;
                let series = format!("generate_series({first}, {last}) AS i");
                let insert = format!("INSERT INTO public.traffic SELECT i, repeat('note ', 20) FROM {series}");
                client.batch_execute(&insert).await?;
                sleep(TRAFFIC_PAUSE).await;
            }
            Ok(())
        });
        Ok(Traffic { stop, rows, start: Instant::now(), task })
    }

    /// Ends it; how many rows a second there were.
    async fn stop(self) -> Result<f64, Failure> {
        self.stop.store(true, Relaxed);
        self.task.await??;
        Ok(self.rows.load(Relaxed) as f64 / self.start.elapsed().as_secs_f64())
    }
}
