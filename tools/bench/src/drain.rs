//! Drains a backlog, by `pg_recvlogical` and by Sluicegate in turn.
//!
//! Always: both are judged by the same clock: it starts when the slot comes into use and stops when the slot's
//! confirmed position is the backlog's end, so that neither start-up nor shutdown counts.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rig::{Cluster, Sidecar, free_port};
use tokio_postgres::types::PgLsn;

use crate::backlog::{Backlog, PUBLICATION, unix_url};
use crate::metrics::Numbers;
use crate::process::{Usage, usage};
use crate::results::{Drained, Pair, WorkloadResult};
use crate::standin::Discarding;
use crate::workload::{WORKLOADS, Workload};
use crate::{Failure, Plan};

/// How the reader reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Unix,
}

/// How often the slot is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// A drain that takes longer has failed.
const LONGEST: Duration = Duration::from_secs(300);

/// Drains every workload.
pub(crate) async fn run(plan: &Plan, cluster: &Cluster) -> Result<Vec<WorkloadResult>, Failure> {
    let mut results = Vec::new();
    for workload in WORKLOADS.iter().filter(|workload| plan.wants(workload)) {
        results.push(drain_one(plan, cluster, workload).await?);
    }
    Ok(results)
}

async fn drain_one(plan: &Plan, cluster: &Cluster, workload: &Workload) -> Result<WorkloadResult, Failure> {
    let rows = plan.rows(workload);
    println!("\n{} {}, {rows} rows", workload.name, workload.title);
    let start = Instant::now();
    let mut backlog = Backlog::make(cluster, &workload.changes(rows)).await?;
    println!("   made in {:.1} s", start.elapsed().as_secs_f64());
    let mut drains = Drains::new(plan, cluster, workload.settings());
    let tcp = drains.pairs(&mut backlog, Transport::Tcp, plan.pairs).await?;
    let unix = drains.pairs(&mut backlog, Transport::Unix, plan.unix_pairs).await?;
    let (name, title) = (workload.name.to_owned(), workload.title.to_owned());
    let result = WorkloadResult { name, title, rows: backlog.rows, bytes: drains.bytes, tcp, unix };
    backlog.forget().await?;
    Ok(result)
}

/// Drains of one backlog.
pub(crate) struct Drains<'a> {
    plan: &'a Plan,
    cluster: &'a Cluster,
    /// What the workload sets beside the usual.
    settings: &'static [(&'static str, &'static str)],
    /// What the server sent in one drain.
    pub(crate) bytes: u64,
}

impl<'a> Drains<'a> {
    /// With these settings of the sidecar beside the usual.
    pub(crate) fn new(
        plan: &'a Plan,
        cluster: &'a Cluster,
        settings: &'static [(&'static str, &'static str)],
    ) -> Drains<'a> {
        Drains { plan, cluster, settings, bytes: 0 }
    }

    /// Drains it so many times by each reader.
    pub(crate) async fn pairs(
        &mut self,
        backlog: &mut Backlog,
        transport: Transport,
        count: u32,
    ) -> Result<Vec<Pair>, Failure> {
        let mut pairs = Vec::new();
        for number in 0..count {
            // Who is first changes, so that what the first leaves behind favours nobody.
            let (reference, sluicegate) = if number % 2 == 0 {
                let reference = self.reference(backlog, transport).await?;
                (reference, self.sluicegate(backlog, transport).await?)
            } else {
                let sluicegate = self.sluicegate(backlog, transport).await?;
                (self.reference(backlog, transport).await?, sluicegate)
            };
            let pair = Pair { reference, sluicegate };
            println!("   {transport:?} pair {}: ratio {:.2}", number + 1, pair.ratio());
            pairs.push(pair);
        }
        Ok(pairs)
    }

    fn url(&self, database: &str, transport: Transport) -> String {
        match transport {
            Transport::Tcp => self.cluster.url(database),
            Transport::Unix => unix_url(self.cluster, database),
        }
    }

    async fn reference(&self, backlog: &mut Backlog, transport: Transport) -> Result<Drained, Failure> {
        let slot = backlog.slot().await?;
        let end = PgLsn::from(backlog.end).to_string();
        let child = Command::new(self.cluster.program("pg_recvlogical"))
            .args(["--start", "--no-loop", "-f", "/dev/null", "--slot", &slot, "--endpos", &end])
            .args(["-o", "proto_version=1", "-o", &format!("publication_names={PUBLICATION}")])
            .args(["-d", &self.url(&backlog.database, transport)])
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start pg_recvlogical: {error}"))?;
        let mut reader = Recvlogical(child);
        let watch = Watch { reader: reader.0.id(), standin: None, pinned: self.plan.pin };
        let drained =
            watch.until_end(backlog, &slot, || Ok(reader.0.try_wait()?.map(|status| status.success()))).await?;
        let status = reader.0.wait()?;
        if !status.success() {
            return Err(format!("pg_recvlogical failed: {status}").into());
        }
        tell("pg_recvlogical", backlog.rows, &drained);
        backlog.drop_slot(&slot).await?;
        Ok(drained)
    }

    async fn sluicegate(&mut self, backlog: &mut Backlog, transport: Transport) -> Result<Drained, Failure> {
        let slot = backlog.slot().await?;
        let folder = tempfile::TempDir::with_prefix("sluicegate-bench-")?;
        let standin = Discarding::start(&self.plan.standin, folder.path()).await?;
        let metrics = format!("127.0.0.1:{}", free_port()?);
        let environment = [
            ("SOURCE_URL", self.url(&backlog.database, transport)),
            ("SINK_URL", standin.url()),
            ("TABLES", backlog.tables.clone()),
            ("PIPELINE", slot.clone()),
            ("SLOT", slot.clone()),
            ("PUBLICATION", PUBLICATION.to_owned()),
            ("GRPC_ADDR", format!("127.0.0.1:{}", free_port()?)),
            ("METRICS_ADDR", metrics.clone()),
            ("LOG", "warn".to_owned()),
            // The backlog is all there is to read: copying the table beside it would be other work.
            ("SNAPSHOT", "never".to_owned()),
            // The backlog's last rows would wait for the next flush; that wait is latency, not rate.
            ("FLUSH_INTERVAL_MS", "20".to_owned()),
            ("CHECKPOINT_INTERVAL", "50ms".to_owned()),
        ];
        // Where large transactions are kept is a folder of ours, if they are.
        let spool = ("STREAM_SPOOL_FOLDER", folder.path().display().to_string());
        let own = self.settings.iter().map(|(name, value)| (*name, (*value).to_owned())).chain([spool]);
        let environment: Vec<_> = environment.into_iter().chain(own).collect();
        let environment = self.plan.environment(&environment);
        let log: PathBuf = folder.path().join("sluicegate.log");
        let mut sidecar = Sidecar::start(&self.plan.sluicegate, &environment, &log)?;
        let watch = Watch { reader: sidecar.id(), standin: Some(standin.id()), pinned: self.plan.pin };
        let drained = watch.until_end(backlog, &slot, || Ok(sidecar.wait(Duration::ZERO)?.map(|_| false))).await;
        let numbers = drained.is_ok().then(|| Numbers::fetch(&metrics)).transpose()?;
        let told = std::fs::read_to_string(&log).unwrap_or_default();
        let drained = drained.map_err(|error| format!("{error}; its log:\n{told}"))?;
        sidecar.terminate()?;
        sidecar.wait(Duration::from_secs(20))?;
        let numbers = numbers.unwrap_or_default();
        let received = numbers.sum("sluicegate_rows_received_total{");
        if received != backlog.rows as f64 {
            return Err(format!("sluicegate received {received} rows of {}; its log:\n{told}", backlog.rows).into());
        }
        self.bytes = numbers.sum("sluicegate_bytes_received_total") as u64;
        tell("sluicegate", backlog.rows, &drained);
        backlog.drop_slot(&slot).await?;
        Ok(drained)
    }
}

/// Killed when dropped.
struct Recvlogical(Child);

impl Drop for Recvlogical {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn tell(who: &str, rows: u64, drained: &Drained) {
    let Drained { seconds, walsender_cpu, reader_cpu, reader_rss_peak, standin_cpu } = drained;
    println!(
        "   {who:<15}{:>7.0} k rows/s {seconds:>7.2} s   CPU s: walsender {walsender_cpu:.2}, reader {reader_cpu:.2}, \
         stand-in {standin_cpu:.2}   peak {:.1} MB",
        rows as f64 / seconds / 1e3,
        *reader_rss_peak as f64 / 1e6
    );
}

/// The processes of one drain.
struct Watch {
    reader: u32,
    standin: Option<u32>,
    pinned: bool,
}

/// The server's process for a slot's connection, once there is one, and whether the end is reached.
const STATE: &str = "SELECT active_pid, confirmed_flush_lsn >= $2 FROM pg_replication_slots WHERE slot_name = $1";

impl Watch {
    /// Waits until the slot has confirmed the backlog's end. `ended` tells whether the reader has ended, and well.
    async fn until_end(
        &self,
        backlog: &Backlog,
        slot: &str,
        mut ended: impl FnMut() -> Result<Option<bool>, Failure>,
    ) -> Result<Drained, Failure> {
        let end = PgLsn::from(backlog.end);
        let state = backlog.client.prepare(STATE).await?;
        let launched = Instant::now();
        let mut started: Option<Started> = None;
        let (mut walsender, mut reader) = (Usage::default(), Usage::default());
        loop {
            let row = backlog.client.query_one(&state, &[&slot, &end]).await?;
            let now = Instant::now();
            if let (None, Some(pid)) = (&started, row.get::<_, Option<i32>>(0)) {
                let walsender = pid.unsigned_abs();
                self.pin(walsender)?;
                started = Some(Started::new(walsender, self));
            }
            if let Some(started) = &started {
                // A process that has just ended keeps what was seen of it last, a few milliseconds ago.
                walsender = usage(started.walsender).unwrap_or(walsender);
                reader = usage(self.reader).filter(|usage| usage.rss_bytes > 0).unwrap_or(reader);
            }
            let gone = ended()?;
            let reached = row.get::<_, Option<bool>>(1) == Some(true);
            match (&started, reached || gone == Some(true)) {
                (Some(started), true) => {
                    return Ok(Drained {
                        seconds: (now - started.at).as_secs_f64(),
                        walsender_cpu: walsender.cpu_seconds - started.walsender_cpu,
                        reader_cpu: reader.cpu_seconds - started.reader_cpu,
                        reader_rss_peak: reader.rss_peak_bytes,
                        standin_cpu: self.standin.and_then(usage).map_or(0.0, |usage| usage.cpu_seconds)
                            - started.standin_cpu,
                    });
                }
                _ if gone.is_some() => return Err("the reader ended before the backlog was drained".into()),
                _ if launched.elapsed() > LONGEST => {
                    return Err(format!("the backlog was not drained within {} s", LONGEST.as_secs()).into());
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Binds the walsender to the first core and the reader to the second, if that is wanted.
    fn pin(&self, walsender: u32) -> Result<(), Failure> {
        if !self.pinned {
            return Ok(());
        }
        for (pid, core) in [(walsender, "0"), (self.reader, "1")] {
            let mut taskset = Command::new("taskset");
            let done = taskset.args(["-a", "-p", "-c", core, &pid.to_string()]).stdout(Stdio::null()).status();
            if !done.map_err(|error| format!("cannot run taskset: {error}"))?.success() {
                return Err(format!("taskset cannot bind process {pid} to core {core}").into());
            }
        }
        Ok(())
    }
}

/// What the processes had used when the drain began.
struct Started {
    at: Instant,
    walsender: u32,
    walsender_cpu: f64,
    reader_cpu: f64,
    standin_cpu: f64,
}

impl Started {
    fn new(walsender: u32, watch: &Watch) -> Started {
        let cpu = |pid: u32| usage(pid).map_or(0.0, |usage| usage.cpu_seconds);
        Started {
            at: Instant::now(),
            walsender,
            walsender_cpu: cpu(walsender),
            reader_cpu: cpu(watch.reader),
            standin_cpu: watch.standin.map_or(0.0, cpu),
        }
    }
}
