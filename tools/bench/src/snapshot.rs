//! Copies rows that exist already, by `COPY` in psql and by Sluicegate in turn.
//!
//! Always: both are judged by the server's clock: it starts with the first transaction that reads the table, and stops
//! when every psql has ended, or when Sluicegate has stored that the copy is finished, which it does once every row is
//! durable in the sink. Settings are the defaults.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rig::{Cluster, Sidecar, free_port};
use tokio::time::sleep;
use tokio_postgres::{Client, Statement};

use crate::backlog::{PUBLICATION, connect};
use crate::metrics::Numbers;
use crate::process::{Usage, usage};
use crate::results::{Copied, CopyPair, SnapshotResult};
use crate::standin::Discarding;
use crate::workload::{WORKLOADS, Workload};
use crate::{Failure, Plan};

/// The workloads whose tables are copied: a narrow and a wide one.
const TABLES: [&str; 2] = ["a", "c"];
/// So many connections read at once.
const CONNECTIONS: [u32; 2] = [1, 2];
/// How often the server is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// A copy that takes longer has failed.
const LONGEST: Duration = Duration::from_secs(300);

/// Copies every table over every number of connections.
pub(crate) async fn run(plan: &Plan, cluster: &Cluster) -> Result<Vec<SnapshotResult>, Failure> {
    let mut results = Vec::new();
    let named = |workload: &&Workload| TABLES.contains(&workload.name) && plan.wants(workload);
    for workload in WORKLOADS.iter().filter(named) {
        let rows = plan.rows(workload);
        println!("\ncopy of existing rows: table of {}, {rows} rows", workload.name);
        let mut copies = Copies::make(plan, cluster, workload, rows).await?;
        for connections in CONNECTIONS {
            let pairs = copies.pairs(connections).await?;
            results.push(SnapshotResult {
                name: workload.name.to_owned(),
                rows,
                bytes: u64::from(copies.blocks) * copies.block_bytes,
                connections,
                pairs,
            });
        }
    }
    Ok(results)
}

/// One table in a database of its own.
struct Copies<'a> {
    plan: &'a Plan,
    cluster: &'a Cluster,
    client: Client,
    database: String,
    rows: u64,
    blocks: u32,
    block_bytes: u64,
    /// Copies by Sluicegate so far: each is a pipeline of its own.
    runs: u32,
}

const SIZE: &str = "SELECT pg_relation_size('public.t') / current_setting('block_size')::bigint,
    current_setting('block_size')::bigint, (SELECT count(*) FROM public.t)";

impl<'a> Copies<'a> {
    /// Fills the table. A vacuum afterwards does what the first reader would else do for those after it.
    async fn make(plan: &'a Plan, cluster: &'a Cluster, workload: &Workload, rows: u64) -> Result<Copies<'a>, Failure> {
        let database = format!("copy_{}", workload.name);
        cluster.client().await?.batch_execute(&format!("CREATE DATABASE {database}")).await?;
        let client = connect(cluster, &database).await?;
        for statement in workload.setup().iter().chain(&workload.sessions(rows)) {
            client.batch_execute(statement).await?;
        }
        client.batch_execute("VACUUM ANALYZE public.t").await?;
        client.batch_execute(&format!("CREATE PUBLICATION {PUBLICATION} FOR TABLE public.t")).await?;
        let size = client.query_one(SIZE, &[]).await?;
        let [blocks, block_bytes, rows] = [0, 1, 2].map(|at| size.get::<_, i64>(at).unsigned_abs());
        Ok(Copies { plan, cluster, client, database, rows, blocks: u32::try_from(blocks)?, block_bytes, runs: 0 })
    }

    async fn pairs(&mut self, connections: u32) -> Result<Vec<CopyPair>, Failure> {
        let mut pairs = Vec::new();
        for number in 0..self.plan.copy_pairs {
            // Who is first changes, so that what the first leaves behind favours nobody.
            let (reference, sluicegate) = if number % 2 == 0 {
                let reference = self.reference(connections).await?;
                (reference, self.sluicegate(connections).await?)
            } else {
                let sluicegate = self.sluicegate(connections).await?;
                (self.reference(connections).await?, sluicegate)
            };
            let pair = CopyPair { reference, sluicegate };
            println!("   {connections} at once, pair {}: ratio {:.2}", number + 1, pair.ratio());
            pairs.push(pair);
        }
        Ok(pairs)
    }

    async fn reference(&self, connections: u32) -> Result<Copied, Failure> {
        let mut watch = Watch::new(&self.client, None).await?;
        let mut readers = Vec::new();
        for number in 0..connections {
            readers.push(self.psql(&self.select(number, connections))?);
        }
        let ids: Vec<u32> = readers.iter().map(|reader| reader.0.id()).collect();
        loop {
            watch.look(&ids).await?;
            let mut ended = 0;
            for reader in &mut readers {
                let status = reader.0.try_wait()?;
                if status.is_some_and(|status| !status.success()) {
                    return Err("psql could not read the table".into());
                }
                ended += usize::from(status.is_some());
            }
            if ended == readers.len() {
                break;
            }
            watch.pause().await?;
        }
        let copied = watch.done().await?;
        tell("COPY", self.rows, &copied);
        Ok(copied)
    }

    /// What the connection of that number reads.
    fn select(&self, number: u32, connections: u32) -> String {
        let border = |number: u32| u64::from(self.blocks) * u64::from(number) / u64::from(connections);
        if connections == 1 {
            return "SELECT * FROM public.t".to_owned();
        }
        let (first, end) = (border(number), border(number + 1));
        format!("SELECT * FROM public.t WHERE ctid >= '({first},0)' AND ctid < '({end},0)'")
    }

    fn psql(&self, select: &str) -> Result<Psql, Failure> {
        let child = Command::new(self.cluster.program("psql"))
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &self.cluster.url(&self.database)])
            .args(["-c", &format!("COPY ({select}) TO STDOUT")])
            .env("PGAPPNAME", "psql/copy")
            // One process of the server reads for each connection, as for Sluicegate.
            .env("PGOPTIONS", "-c max_parallel_workers_per_gather=0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start psql: {error}"))?;
        Ok(Psql(child))
    }

    async fn sluicegate(&mut self, connections: u32) -> Result<Copied, Failure> {
        self.runs += 1;
        let pipeline = format!("{}_{}", self.database, self.runs);
        let folder = tempfile::TempDir::with_prefix("sluicegate-bench-")?;
        let standin = Discarding::start(&self.plan.standin, folder.path()).await?;
        let metrics = format!("127.0.0.1:{}", free_port()?);
        let environment = [
            ("SOURCE_URL", self.cluster.url(&self.database)),
            ("SINK_URL", standin.url()),
            ("TABLES", "public.t".to_owned()),
            ("PIPELINE", pipeline.clone()),
            ("SLOT", pipeline.clone()),
            ("PUBLICATION", PUBLICATION.to_owned()),
            ("SNAPSHOT", "initial".to_owned()),
            ("SNAPSHOT_PARALLELISM", connections.to_string()),
            ("GRPC_ADDR", format!("127.0.0.1:{}", free_port()?)),
            ("METRICS_ADDR", metrics.clone()),
            ("LOG", "warn".to_owned()),
        ];
        let log = folder.path().join("sluicegate.log");
        let mut watch = Watch::new(&self.client, Some(standin.id())).await?;
        let mut sidecar = Sidecar::start(&self.plan.sluicegate, &self.plan.environment(&environment), &log)?;
        let stored = self.until_stored(&mut sidecar, &mut watch, &pipeline).await;
        stored.map_err(|error| with_log(&error, &log))?;
        let copied = watch.done().await?;
        all_there(&metrics, self.rows).await.map_err(|error| with_log(&error, &log))?;
        sidecar.terminate()?;
        sidecar.wait(Duration::from_secs(20))?;
        tell("sluicegate", self.rows, &copied);
        self.drop_slot(&pipeline).await?;
        Ok(copied)
    }

    /// Waits until the copy has begun and is stored as finished, which removes it from the table of copies under way.
    async fn until_stored(&self, sidecar: &mut Sidecar, watch: &mut Watch<'_>, pipeline: &str) -> Result<(), Failure> {
        let finished = "SELECT NOT EXISTS (SELECT FROM sluicegate.snapshot_tables WHERE pipeline = $1)";
        let mut prepared = None;
        loop {
            watch.look(&[sidecar.id()]).await?;
            if let (None, true) = (&prepared, watch.has_begun()) {
                prepared = Some(self.client.prepare(finished).await?);
            }
            if let Some(finished) = &prepared
                && self.client.query_one(finished, &[&pipeline]).await?.get(0)
            {
                return Ok(());
            }
            if sidecar.wait(Duration::ZERO)?.is_some() {
                return Err("sluicegate ended before the table was copied".into());
            }
            watch.pause().await?;
        }
    }

    async fn drop_slot(&self, slot: &str) -> Result<(), Failure> {
        let drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
                    WHERE slot_name = $1 AND NOT active";
        let start = Instant::now();
        while self.client.execute(drop, &[&slot]).await? == 0 {
            if start.elapsed() > LONGEST {
                return Err(format!("slot {slot} cannot be dropped").into());
            }
            sleep(LOOK).await;
        }
        Ok(())
    }
}

/// Killed when dropped.
struct Psql(Child);

impl Drop for Psql {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Whether the sidecar says that it has copied every row; its page may be a moment behind what is stored.
async fn all_there(metrics: &str, rows: u64) -> Result<(), Failure> {
    let start = Instant::now();
    loop {
        let copied = Numbers::fetch(metrics)?.sum("sluicegate_snapshot_rows{");
        if copied == rows as f64 {
            return Ok(());
        }
        if start.elapsed() > Duration::from_secs(3) {
            return Err(format!("sluicegate copied {copied} rows of {rows}").into());
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn with_log(error: &Failure, log: &Path) -> Failure {
    let told = std::fs::read_to_string(log).unwrap_or_default();
    format!("{error}; its log:\n{told}").into()
}

fn tell(who: &str, rows: u64, copied: &Copied) {
    let Copied { seconds, backends_cpu, reader_cpu, reader_rss_peak, standin_cpu } = copied;
    println!(
        "   {who:<11}{:>7.0} k rows/s {seconds:>7.2} s   CPU s: backends {backends_cpu:.2}, reader {reader_cpu:.2}, \
         stand-in {standin_cpu:.2}   peak {:.1} MB",
        rows as f64 / seconds / 1e3,
        *reader_rss_peak as f64 / 1e6
    );
}

/// The sessions that read the table, by the name they give themselves: when the transaction began, for those that read.
const SESSIONS: &str = "SELECT extract(epoch FROM clock_timestamp())::float8, pid,
        CASE WHEN query LIKE 'COPY (%' THEN extract(epoch FROM xact_start)::float8 END
    FROM (SELECT) AS one LEFT JOIN pg_stat_activity
        ON datname = current_database() AND application_name LIKE '%/copy'";

/// What a copy uses while it goes on.
struct Watch<'a> {
    client: &'a Client,
    sessions: Statement,
    standin: Option<u32>,
    launched: Instant,
    /// When the first transaction began that reads, in seconds since 1970 by the server's clock.
    begun: Option<f64>,
    /// What was used before that, by the readers and the stand-in.
    before: (f64, f64),
    backends: BTreeMap<u32, Usage>,
    readers: BTreeMap<u32, Usage>,
}

impl<'a> Watch<'a> {
    async fn new(client: &'a Client, standin: Option<u32>) -> Result<Watch<'a>, Failure> {
        let sessions = client.prepare(SESSIONS).await?;
        let (launched, begun, before) = (Instant::now(), None, (0.0, 0.0));
        let (backends, readers) = (BTreeMap::new(), BTreeMap::new());
        Ok(Watch { client, sessions, standin, launched, begun, before, backends, readers })
    }

    /// Takes note of what everybody has used. Who has just ended keeps what was seen of it last.
    async fn look(&mut self, readers: &[u32]) -> Result<f64, Failure> {
        let rows = self.client.query(&self.sessions, &[]).await?;
        let begun = rows.iter().filter_map(|row| row.get::<_, Option<f64>>(2)).min_by(f64::total_cmp);
        let ids = rows.iter().filter_map(|row| row.get::<_, Option<i32>>(1)).map(i32::unsigned_abs);
        self.backends.extend(ids.filter_map(|id| Some((id, usage(id)?))));
        let alive = |id: &u32| Some((*id, usage(*id).filter(|usage| usage.rss_bytes > 0)?));
        self.readers.extend(readers.iter().filter_map(alive));
        if let (None, Some(_)) = (self.begun, begun) {
            self.begun = begun;
            self.before = (cpu(&self.readers), self.standin_cpu());
        }
        Ok(rows.first().map_or(0.0, |row| row.get(0)))
    }

    fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    async fn pause(&self) -> Result<(), Failure> {
        if self.launched.elapsed() > LONGEST {
            return Err(format!("the table was not copied within {} s", LONGEST.as_secs()).into());
        }
        sleep(LOOK).await;
        Ok(())
    }

    /// What was used in all, now that the copy is over.
    async fn done(mut self) -> Result<Copied, Failure> {
        let now = self.look(&[]).await?;
        let begun = self.begun.ok_or("the table was copied before anybody looked: it is too small")?;
        Ok(Copied {
            seconds: now - begun,
            backends_cpu: cpu(&self.backends),
            reader_cpu: cpu(&self.readers) - self.before.0,
            reader_rss_peak: self.readers.values().map(|usage| usage.rss_peak_bytes).max().unwrap_or(0),
            standin_cpu: self.standin_cpu() - self.before.1,
        })
    }

    fn standin_cpu(&self) -> f64 {
        self.standin.and_then(usage).map_or(0.0, |usage| usage.cpu_seconds)
    }
}

fn cpu(usages: &BTreeMap<u32, Usage>) -> f64 {
    usages.values().map(|usage| usage.cpu_seconds).sum()
}
