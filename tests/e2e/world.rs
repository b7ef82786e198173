//! A PostgreSQL of our own, the stand-in, and the real binary between them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rig::{Cluster, Comparison, Said, Sidecar, Standin, Status, free_port, parse_lsn};
use sonic_rs::{JsonValueTrait, Value as Json};
use tempfile::TempDir;
use tokio::time::sleep;
use tokio_postgres::Client;

/// Longest wait for anything that should happen by itself. Generous: the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Secrets that must never be printed.
pub(crate) const CANARY: &str = "canary-7f3a9c-secret";

/// Everything a test needs.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) standin: Standin,
    pub(crate) client: Client,
    pub(crate) folder: TempDir,
    environment: Vec<(String, String)>,
}

impl World {
    /// A world whose tables are made by `tables` in schema `shop`, all of them replicated.
    pub(crate) async fn new(tables: &str) -> World {
        World::with(&[], tables).await
    }

    /// The same with lines for `postgresql.conf`.
    pub(crate) async fn with(settings: &[&str], tables: &str) -> World {
        let cluster = Cluster::start(settings).expect("PostgreSQL starts");
        let client = cluster.client().await.expect("PostgreSQL answers");
        client.batch_execute("CREATE SCHEMA shop").await.unwrap();
        client.batch_execute(&format!("SET search_path = shop; {tables}")).await.unwrap();
        let standin = Standin::start().await.expect("the stand-in starts");
        let folder = TempDir::with_prefix("sluicegate-e2e-").unwrap();
        let port = || free_port().unwrap();
        let environment = [
            ("SOURCE_URL", cluster.url("postgres")),
            ("SOURCE_PASSWORD", CANARY.to_owned()),
            ("SINK_URL", standin.url("shop")),
            ("TABLES", "shop.*".to_owned()),
            ("PIPELINE", "test".to_owned()),
            ("GRPC_ADDR", format!("127.0.0.1:{}", port())),
            ("METRICS_ADDR", format!("127.0.0.1:{}", port())),
            ("FLUSH_INTERVAL_MS", "100".to_owned()),
            ("LOG", "info".to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
        World { cluster, standin, client, folder, environment }
    }

    /// Sets a variable for sidecars started from now on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The variables of sidecars started from now on.
    pub(crate) fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// The file all sidecars of this world log to.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("sluicegate.log")
    }

    /// What they logged so far.
    pub(crate) fn logged(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Starts the binary.
    pub(crate) fn start(&self) -> Sidecar {
        Sidecar::start(binary(), &self.environment, &self.log()).expect("the binary starts")
    }

    /// Starts the binary with further variables.
    pub(crate) fn start_with(&self, more: &[(&str, &str)]) -> Sidecar {
        let mut environment = self.environment.clone();
        for (name, value) in more {
            environment.retain(|(known, _)| known != name);
            environment.push(((*name).to_owned(), (*value).to_owned()));
        }
        Sidecar::start(binary(), &environment, &self.log()).expect("the binary starts")
    }

    /// Starts the binary and waits until it follows changes.
    pub(crate) async fn streaming(&self) -> Sidecar {
        let sidecar = self.start();
        self.until(&sidecar, "it follows changes", |status| status.text("stage") == "CDC").await;
        sidecar
    }

    /// Waits until the status is as wanted.
    pub(crate) async fn until(&self, sidecar: &Sidecar, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let start = Instant::now();
        let mut last = None;
        loop {
            if let Some(status) = sidecar.status() {
                if wanted(&status) {
                    return status;
                }
                last = Some(status);
            }
            assert!(
                start.elapsed() < PATIENCE,
                "waited in vain until {what}; status {last:?}; log:\n{}",
                self.logged()
            );
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until a reason with this code is shown; the status then.
    pub(crate) async fn until_reason(&self, sidecar: &Sidecar, codes: &[&str]) -> Status {
        let shown = |status: &Status| status.reasons().iter().any(|code| codes.contains(&code.as_str()));
        self.until(sidecar, &format!("one of {codes:?} is shown"), shown).await
    }

    /// Waits until everything written so far is durable, then lets the binary compare both sides; the rows equal.
    pub(crate) async fn equal(&self, sidecar: &Sidecar) -> usize {
        self.durable(sidecar).await;
        let said = self.verify(&["--json", "--values"]).await;
        assert_eq!(said.code, Some(0), "{said:?}\nlog:\n{}", self.logged());
        let report: Json = sonic_rs::from_str(&said.stdout).unwrap();
        report["rows_equal"].as_u64().unwrap() as usize
    }

    /// Waits until everything written so far is durable; one row may differ (it existed before the start).
    pub(crate) async fn equal_but(&self, sidecar: &Sidecar, key: i64) {
        self.durable(sidecar).await;
        let said = self.verify(&[]).await;
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.stdout.contains(&format!("id={key}  missing in the target\n")), "{said:?}");
        assert!(said.stdout.ends_with(", 1 rows differ\n"), "{said:?}");
    }

    /// Waits until everything written so far is durable.
    pub(crate) async fn durable(&self, sidecar: &Sidecar) {
        let end = self.wal_end().await;
        self.until(sidecar, "everything is durable", |status| status.lsn("durable_lsn") >= end).await;
    }

    /// Runs `sluicegate verify` with the variables of sidecars.
    pub(crate) async fn verify(&self, arguments: &[&str]) -> Said {
        let (environment, arguments) = (self.environment.clone(), arguments.iter().map(|a| (*a).to_owned()));
        let arguments: Vec<String> = arguments.collect();
        let run = move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            rig::verify(binary(), &environment, &arguments).unwrap()
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// Runs a statement on the target; each row as text.
    pub(crate) async fn target(&self, statement: &str) -> Vec<String> {
        use mysql_async::prelude::Queryable;
        let mut target = self.standin.connect().await.unwrap();
        let rows: Vec<mysql_async::Row> = target.query(statement).await.unwrap_or_else(|e| panic!("{statement}: {e}"));
        let text = |value: mysql_async::Value| match value {
            mysql_async::Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            other => other.as_sql(true),
        };
        rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect::<Vec<_>>().join(" ")).collect()
    }

    /// Waits until a target table holds so many living rows.
    pub(crate) async fn until_count(&self, sidecar: &Sidecar, table: &str, rows: usize) {
        let start = Instant::now();
        let query = format!("SELECT count(*) FROM shop.{table} WHERE sluice_is_deleted = 0");
        while self.target(&query).await != [rows.to_string()] {
            assert!(start.elapsed() < PATIENCE, "{:?}; log:\n{}", sidecar.status(), self.logged());
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the server has been told of a position.
    pub(crate) async fn until_confirmed(&self, lsn: u64) {
        let start = Instant::now();
        while self.confirmed().await < lsn {
            assert!(start.elapsed() < PATIENCE, "the position is not confirmed; log:\n{}", self.logged());
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Compares both sides now, by other means than the binary's and whether or not one runs.
    pub(crate) async fn compare(&self) -> Comparison {
        let mut target = self.standin.connect().await.unwrap();
        rig::compare(&self.client, "shop", &mut target, "shop").await.unwrap()
    }

    /// The end of the WAL.
    pub(crate) async fn wal_end(&self) -> u64 {
        parse_lsn(&self.text("SELECT pg_current_wal_lsn()::text").await).unwrap()
    }

    /// The slot's confirmed position.
    pub(crate) async fn confirmed(&self) -> u64 {
        let query = "SELECT coalesce(confirmed_flush_lsn, '0/0')::text FROM pg_replication_slots";
        parse_lsn(&self.text(query).await).unwrap()
    }

    /// Runs statements on the source.
    pub(crate) async fn sql(&self, statements: &str) {
        self.client.batch_execute(statements).await.unwrap();
    }

    /// One text from the source.
    pub(crate) async fn text(&self, query: &str) -> String {
        self.client.query_one(query, &[]).await.unwrap().get(0)
    }

    /// No secret was printed by anything.
    pub(crate) fn no_secret_was_logged(&self) {
        assert!(!self.logged().contains(CANARY), "a secret was logged");
    }
}

/// The binary under test.
pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_sluicegate"))
}
