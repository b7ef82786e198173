//! Many idle sidecars beside one server: what they cost together.
//!
//! Always: each has a pipeline, a slot and a table of its own; nothing is written while they are watched. Memory is
//! counted twice: RSS as a container would see it, and PSS, in which what they share counts once.

use std::time::{Duration, Instant};

use rig::{Cluster, Sidecar, free_port};
use tokio::time::sleep;
use tokio_postgres::Client;

use crate::process::{Idling, idling, pss, usage};
use crate::results::FleetResult;
use crate::standin::Discarding;
use crate::{Failure, Plan};

const SIDECARS: u32 = 40;
/// How long they are watched.
const WATCHED: Duration = Duration::from_secs(30);
/// How long they are left alone first: memory goes back, and what was begun at the start is over.
const SETTLED: Duration = Duration::from_secs(15);
const LONGEST: Duration = Duration::from_secs(180);

/// The bounds that a machine full of sidecars is promised: bytes, and a part of one core.
pub(crate) const RSS_MAX: u64 = 600_000_000;
pub(crate) const CPU_MAX: f64 = 0.02;

/// Starts them, waits until all follow the changes, and watches.
pub(crate) async fn run(plan: &Plan) -> Result<FleetResult, Failure> {
    println!("\n{SIDECARS} idle sidecars");
    let cluster = Cluster::start(&["max_wal_senders = 60", "max_replication_slots = 60", "max_connections = 300"])?;
    let client = cluster.client().await?;
    let folder = tempfile::TempDir::with_prefix("sluicegate-bench-")?;
    let standin = Discarding::start(&plan.standin, folder.path()).await?;
    let mut fleet = Vec::new();
    for number in 1..=SIDECARS {
        client.batch_execute(&format!("CREATE TABLE public.t{number} (id bigint PRIMARY KEY, note text)")).await?;
        let environment = [
            ("SOURCE_URL", cluster.url("postgres")),
            ("SINK_URL", standin.url()),
            ("TABLES", format!("public.t{number}")),
            ("PIPELINE", format!("fleet{number}")),
            ("GRPC_ADDR", format!("127.0.0.1:{}", free_port()?)),
            ("METRICS_ADDR", format!("127.0.0.1:{}", free_port()?)),
            ("LOG", "warn".to_owned()),
        ];
        let log = folder.path().join(format!("{number}.log"));
        fleet.push(Sidecar::start(&plan.sluicegate, &plan.environment(&environment), &log)?);
    }
    let start = Instant::now();
    for sidecar in &fleet {
        while sidecar.status().is_none_or(|status| status.text("stage") != "CDC") {
            if start.elapsed() > LONGEST {
                let told = std::fs::read_to_string(sidecar.log()).unwrap_or_default();
                return Err(format!("a sidecar does not follow the changes; its log:\n{told}").into());
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
    sleep(SETTLED).await;
    let result = watch(&fleet, &client).await?;
    tell(&result);
    Ok(result)
}

async fn watch(fleet: &[Sidecar], client: &Client) -> Result<FleetResult, Failure> {
    let ours: Vec<u32> = fleet.iter().map(Sidecar::id).collect();
    let theirs = backends(client).await?;
    let (transactions, before, server_before) = (transactions(client).await?, Used::of(&ours)?, Used::of(&theirs)?);
    let start = Instant::now();
    sleep(WATCHED).await;
    let seconds = start.elapsed().as_secs_f64();
    let (after, server_after) = (Used::of(&ours)?, Used::of(&theirs)?);
    let ended = self::transactions(client).await?;
    let each = |sum: f64| sum / seconds / f64::from(SIDECARS);
    let memory = |of: fn(u32) -> Option<u64>| ours.iter().filter_map(|pid| of(*pid)).sum::<u64>();
    Ok(FleetResult {
        sidecars: SIDECARS,
        rss: memory(|pid| usage(pid).map(|usage| usage.rss_bytes)),
        pss: memory(pss),
        cpu: (after.cpu - before.cpu) / seconds,
        wakeups_per_second: each((after.switches - before.switches) as f64),
        server_cpu: (server_after.cpu - server_before.cpu) / seconds,
        transactions_per_minute: each((ended - transactions) as f64) * 60.0,
    })
}

/// What some processes have used together.
struct Used {
    cpu: f64,
    switches: u64,
}

impl Used {
    fn of(processes: &[u32]) -> Result<Used, Failure> {
        let all: Option<Vec<Idling>> = processes.iter().map(|pid| idling(*pid)).collect();
        let all = all.ok_or("a process has ended while it was watched")?;
        Ok(Used {
            cpu: all.iter().map(|one| one.cpu_seconds).sum(),
            switches: all.iter().map(|one| one.switches).sum(),
        })
    }
}

/// The server's processes that the sidecars talk to.
async fn backends(client: &Client) -> Result<Vec<u32>, Failure> {
    let rows = client.query("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'sluicegate%'", &[]).await?;
    Ok(rows.iter().map(|row| row.get::<_, i32>(0).unsigned_abs()).collect())
}

/// Transactions that have ended, each statement by itself one of them.
async fn transactions(client: &Client) -> Result<i64, Failure> {
    let sum = "SELECT sum(xact_commit)::bigint FROM pg_stat_database WHERE datname = current_database()";
    Ok(client.query_one(sum, &[]).await?.get(0))
}

fn tell(result: &FleetResult) {
    let FleetResult { rss, pss, cpu, wakeups_per_second, server_cpu, transactions_per_minute, .. } = result;
    println!(
        "   RSS {:.0} MB, PSS {:.0} MB, {:.2} % of a core; each wakes {wakeups_per_second:.1} times a second and asks \
         the server for {transactions_per_minute:.0} transactions a minute; the server's processes take {:.2} % of a core",
        *rss as f64 / 1e6,
        *pss as f64 / 1e6,
        cpu * 100.0,
        server_cpu * 100.0
    );
}
