//! How much memory the sidecar holds under what asks for much of it.
//!
//! Always: the budget is the default, and every load of memory has a limit that is known beforehand: the budget and
//! [`BESIDE`], or for rows that are larger than the budget [`ROW_TIMES`] the largest row and [`BESIDE`]. The stand-in
//! runs in this process and keeps no rows. Peaks are the kernel's own (`VmHWM`).

use std::time::{Duration, Instant};

use rig::fault::{Action, Fault};
use rig::{Cluster, Sidecar, Standin, free_port, parse_lsn};
use tokio::time::sleep;
use tokio_postgres::Client;

use crate::backlog::connect;
use crate::metrics::Numbers;
use crate::process::usage;
use crate::results::MemoryResult;
use crate::{Failure, Plan};

/// The default `MEMORY_BUDGET`.
const BUDGET: u64 = 64 << 20;
/// What the process may take besides, in bytes.
const BESIDE: u64 = 16_000_000;
/// A row larger than the budget is held once as it came and once as it is sent.
const ROW_TIMES: u64 = 2;
/// What an idle sidecar may take.
const IDLE: u64 = 15_000_000;
/// How long everything may take to arrive.
const LONGEST: Duration = Duration::from_secs(300);
/// The sidecar counts as stalled when it has received nothing for so long.
const STALLED: Duration = Duration::from_secs(3);
/// After so much quiet memory has gone back.
const QUIET: Duration = Duration::from_secs(10);

const NARROW: &str = "i, i % 1000, CASE WHEN i % 10 > 0 THEN i * 7 % 100000 END, md5(i::text) || md5((-i)::text)";
const NARROW_TABLE: &str = "CREATE TABLE public.t (a integer PRIMARY KEY, b integer NOT NULL, c integer, d char(84))";

/// Columns and characters of each column of a large row: StarRocks takes 1 MiB of text at most.
const LARGE_COLUMNS: u64 = 100;
const LARGE_TEXT: u64 = 1_000_000;
const TABLES: u64 = 100;

/// What is done to the sidecar.
struct Case {
    name: &'static str,
    title: String,
    limit: u64,
    setup: Vec<String>,
    /// Made while reading is paused, so that all of it waits.
    changes: Vec<String>,
    end: End,
}

/// How the case is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Everything is durable.
    Durable,
    /// The sink never answers; the sidecar reads no more.
    Stalled,
    /// The table is blocked, because the target cannot hold the rows.
    Blocked,
}

fn cases(quick: bool) -> Vec<Case> {
    let pick = |fast: u64, full: u64| if quick { fast } else { full };
    let narrow = |rows: u64| format!("INSERT INTO public.t SELECT {NARROW} FROM generate_series(1, {rows}) i");
    let giant = pick(600_000, 2_000_000);
    let rounds = pick(100, 1000);
    let table = |number: u64| NARROW_TABLE.replace("public.t", &format!("public.t{number}"));
    let columns = |ty: &str| (1..=LARGE_COLUMNS).map(|n| format!(", c{n} {ty}")).collect::<String>();
    let large = LARGE_COLUMNS * LARGE_TEXT;
    let text = format!("repeat(md5(i::text), {})", LARGE_TEXT / 32);
    let wide = format!("INSERT INTO public.t SELECT i{} FROM generate_series(1, 3) i", format!(", {text}").repeat(100));
    let long =
        format!("INSERT INTO public.t SELECT i, repeat(md5(i::text), {}) FROM generate_series(1, 3) i", large / 32);
    let within = BUDGET + BESIDE;
    let case = |name, title: String, limit, setup: Vec<String>, changes: Vec<String>, end| Case {
        name,
        title,
        limit,
        setup,
        changes,
        end,
    };
    vec![
        case(
            "transaction",
            format!("one transaction of {giant} rows"),
            within,
            vec![NARROW_TABLE.to_owned()],
            vec![narrow(giant)],
            End::Durable,
        ),
        case(
            "tables",
            format!("{TABLES} tables at once, {} rows each, 10 a transaction", rounds * 10),
            within,
            (1..=TABLES).map(table).collect(),
            vec![format!(
                "DO $$ BEGIN FOR low IN 1..{rounds} LOOP FOR n IN 1..{TABLES} LOOP EXECUTE format('INSERT INTO \
                 public.t%s SELECT {} FROM generate_series(%s, %s) i', n, low * 10 - 9, low * 10); COMMIT; END LOOP; \
                 END LOOP; END $$",
                NARROW.replace('%', "%%")
            )],
            End::Durable,
        ),
        case(
            "stalled",
            "a sink that never answers".to_owned(),
            within,
            vec![NARROW_TABLE.to_owned()],
            vec![format!(
                "DO $$ BEGIN FOR low IN 1..600000 BY 1000 LOOP INSERT INTO public.t SELECT {NARROW} FROM \
                 generate_series(low, low + 999) i; COMMIT; END LOOP; END $$"
            )],
            End::Stalled,
        ),
        case(
            "large",
            format!("3 rows of {} MB in {LARGE_COLUMNS} columns", large / 1_000_000),
            ROW_TIMES * large + BESIDE,
            // Compressed on disk, so that only the stream is large.
            vec![format!("CREATE TABLE public.t (id integer PRIMARY KEY{})", columns("text"))],
            vec![wide],
            End::Durable,
        ),
        case(
            "refused",
            format!("3 rows with {} MB in one column, which StarRocks cannot hold", large / 1_000_000),
            ROW_TIMES * large + BESIDE,
            vec!["CREATE TABLE public.t (id integer PRIMARY KEY, c text)".to_owned()],
            vec![long],
            End::Blocked,
        ),
    ]
}

/// Measures every case.
pub(crate) async fn run(plan: &Plan, cluster: &Cluster) -> Result<Vec<MemoryResult>, Failure> {
    println!("\nmemory");
    let mut results = Vec::new();
    for case in cases(plan.quick) {
        let idle = results.is_empty();
        results.extend(measure(plan, cluster, &case, idle).await?);
    }
    Ok(results)
}

/// Measures a case, and before it, if `idle`, the sidecar that has done nothing yet.
async fn measure(plan: &Plan, cluster: &Cluster, case: &Case, idle: bool) -> Result<Vec<MemoryResult>, Failure> {
    let database = format!("memory_{}", case.name);
    cluster.client().await?.batch_execute(&format!("CREATE DATABASE {database}")).await?;
    let client = connect(cluster, &database).await?;
    for statement in &case.setup {
        client.batch_execute(statement).await?;
    }
    let standin = Standin::start().await?;
    standin.change_settings(|settings| settings.discard = true);
    let folder = tempfile::TempDir::with_prefix("sluicegate-bench-")?;
    let log = folder.path().join("sluicegate.log");
    let metrics = format!("127.0.0.1:{}", free_port()?);
    let environment = [
        ("SOURCE_URL", cluster.url(&database)),
        ("SINK_URL", standin.url("bench")),
        ("TABLES", "public.*".to_owned()),
        ("PIPELINE", database.clone()),
        ("SNAPSHOT", "never".to_owned()),
        ("GRPC_ADDR", format!("127.0.0.1:{}", free_port()?)),
        ("METRICS_ADDR", metrics.clone()),
        ("LOG", "warn".to_owned()),
    ];
    let sidecar = Sidecar::start(&plan.sluicegate, &plan.environment(&environment), &log)?;
    let mut watched = Watched { sidecar, metrics, client };
    let measured = watched.follow(case, &standin, idle).await;
    measured.map_err(|error| {
        let told = std::fs::read_to_string(&log).unwrap_or_default();
        format!("{}: {error}; its log:\n{told}", case.title).into()
    })
}

/// A sidecar and its source.
struct Watched {
    sidecar: Sidecar,
    metrics: String,
    client: Client,
}

impl Watched {
    async fn follow(&mut self, case: &Case, standin: &Standin, idle: bool) -> Result<Vec<MemoryResult>, Failure> {
        self.until("it follows the changes", |status| status.text("stage") == "CDC").await?;
        let mut results = Vec::new();
        if idle {
            sleep(QUIET).await;
            results.push(self.idle()?);
        }
        self.sidecar.command(&["pause"])?;
        if case.end == End::Stalled {
            standin.faults().add(Fault::next(Action::Hang).nth(1, u64::MAX));
        }
        for statement in &case.changes {
            self.client.batch_execute(statement).await?;
        }
        let end: String = self.client.query_one("SELECT pg_current_wal_insert_lsn()::text", &[]).await?.get(0);
        let end = parse_lsn(&end).ok_or("the server's position cannot be read")?;
        self.sidecar.command(&["resume"])?;
        match case.end {
            End::Durable => self.until("everything is durable", |status| status.lsn("durable_lsn") >= end).await?,
            End::Blocked => {
                self.until("its table is blocked", |status| status.table_state("public.t") == "BLOCKED").await?;
            }
            End::Stalled => self.until_stalled().await?,
        }
        if case.end != End::Stalled {
            sleep(QUIET).await;
        }
        results.push(self.result(case.name, &case.title, case.limit)?);
        self.end(case).await?;
        Ok(results)
    }

    /// What it takes once its start is over, whatever that took.
    fn idle(&self) -> Result<MemoryResult, Failure> {
        let result = self.result("idle", "idle", IDLE)?;
        Ok(MemoryResult { peak: result.after, ..result })
    }

    fn result(&self, name: &str, title: &str, limit: u64) -> Result<MemoryResult, Failure> {
        let usage = usage(self.sidecar.id()).ok_or("sluicegate has ended")?;
        let (peak, after) = (usage.rss_peak_bytes, usage.rss_bytes);
        println!(
            "   {title:<75} peak {:>6.1} MB of {:>6.1} MB, then {:>6.1} MB",
            peak as f64 / 1e6,
            limit as f64 / 1e6,
            after as f64 / 1e6
        );
        Ok(MemoryResult { name: name.to_owned(), title: title.to_owned(), limit, peak, after })
    }

    async fn until(&self, what: &str, wanted: impl Fn(&rig::Status) -> bool) -> Result<(), Failure> {
        let start = Instant::now();
        while !self.sidecar.status().is_some_and(|status| wanted(&status)) {
            if start.elapsed() > LONGEST {
                return Err(format!("waited in vain until {what}; {:?}", self.sidecar.status()).into());
            }
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// Waits until the sidecar has received much, and then nothing for a while.
    async fn until_stalled(&self) -> Result<(), Failure> {
        let received = || Ok::<_, Failure>(Numbers::fetch(&self.metrics)?.sum("sluicegate_bytes_received_total"));
        let (start, mut before, mut since) = (Instant::now(), 0.0, Instant::now());
        while before < BUDGET as f64 / 8.0 || since.elapsed() < STALLED {
            if start.elapsed() > LONGEST {
                return Err("waited in vain until the sidecar reads no more".into());
            }
            sleep(Duration::from_millis(200)).await;
            let now = received()?;
            if now != before {
                (before, since) = (now, Instant::now());
            }
        }
        Ok(())
    }

    /// Ends the sidecar and lets go of the log.
    async fn end(&mut self, case: &Case) -> Result<(), Failure> {
        self.sidecar.kill()?;
        let slot = "SELECT slot_name FROM pg_replication_slots WHERE database = current_database() AND NOT active";
        let start = Instant::now();
        loop {
            if let Some(row) = self.client.query_opt(slot, &[]).await? {
                let drop = "SELECT pg_drop_replication_slot($1)";
                self.client.execute(drop, &[&row.get::<_, String>(0)]).await?;
                return Ok(());
            }
            if start.elapsed() > Duration::from_secs(60) {
                return Err(format!("the slot of {} stays in use", case.name).into());
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}
