//! Setup: whether the server can be reached and used at all, and how earlier loads and labels stand there.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use percent_encoding::utf8_percent_encode;
use tokio::time::sleep;

use super::answer::{self, Answer};
use super::ddl;
use super::leftovers::{self, Leftover};
use super::reasons::Code;
use super::sink::{LOOK_AGAIN, SEGMENT, StarRocks};
use super::sql::{Sql, SqlError};
use crate::model::Reason;
use crate::sink::{Fate, LoadError};

/// Oldest StarRocks that lists its loads.
const VERSION_MIN: (u32, u32) = (3, 1);
/// How long cancelled loads of an earlier run have to end within one call of `setup`.
const LEFTOVER_PATIENCE: Duration = Duration::from_secs(20);

impl StarRocks {
    /// Health, login, version, database and nodes. `create` tells whether a missing database is created.
    pub(super) async fn reach(&self, create: bool) -> Result<Sql, Vec<Reason>> {
        let health = self.health().await;
        self.meter.reachable(health.is_ok());
        let mut findings: Vec<Reason> = health.err().into_iter().collect();
        match Sql::connect(&self.options).await {
            Ok(mut sql) => {
                findings.extend(self.version(&mut sql).await.err());
                findings.extend(self.database(&mut sql, create).await.err());
                self.learn_nodes(&mut sql).await;
                if findings.is_empty() { Ok(sql) } else { Err(findings) }
            }
            Err(reason) => {
                findings.push(reason);
                Err(findings)
            }
        }
    }

    pub(super) async fn health(&self) -> Result<(), Reason> {
        let wire = self.wire.clone();
        let response = self.wire.pool.run(move |c| wire.ask(c, false, "/api/health", false)).await?;
        if response.status != 200 {
            let message = format!("a frontend answers HTTP {} when asked for its health", response.status);
            return Err(Code::Http.reason("", message));
        }
        // Relaxed: the number alone matters.
        self.backends.store(answer::backends(&response.body).unwrap_or(0), Relaxed);
        Ok(())
    }

    pub(super) async fn version(&self, sql: &mut Sql) -> Result<(), Reason> {
        let asked = sql.rows("SELECT current_version() AS version").await;
        let rows = asked.map_err(|error| match &error {
            SqlError::Server { .. } => {
                Code::Version.reason("", "the server is no StarRocks: it does not tell its version")
            }
            SqlError::Lost(_) => error.reason(&self.options, "", "asking for the version"),
        })?;
        let text = rows.first().map_or("", |row| row.text("version"));
        tracing::info!(version = %answer::presentable(text, &[]), "StarRocks answers");
        match version(text) {
            Some(found) if found < VERSION_MIN => {
                let message = format!(
                    "StarRocks is of version {}.{}, and older ones than 3.1 are not supported",
                    found.0, found.1
                );
                Err(Code::Version.reason("", message))
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn database(&self, sql: &mut Sql, create: bool) -> Result<(), Reason> {
        let name = &self.options.database;
        let query =
            format!("SELECT SCHEMA_NAME FROM information_schema.schemata WHERE SCHEMA_NAME = {}", ddl::text(name));
        let found = sql.rows(&query).await.map_err(|e| e.reason(&self.options, name, "looking for the database"))?;
        if !found.is_empty() {
            return Ok(());
        }
        let statement = format!("CREATE DATABASE IF NOT EXISTS {}", ddl::name(name));
        match (self.options.create_tables, create) {
            (true, true) => sql.run(&statement).await.map_err(|error| {
                let reason = error.reason(&self.options, name, "creating the database");
                let user = ddl::text(&self.options.user);
                let grant = format!("GRANT CREATE DATABASE ON CATALOG default_catalog TO USER {user}@'%';");
                if error.is_privilege() { reason.with_sql(grant) } else { reason }
            }),
            (true, false) => Ok(()),
            (false, _) => {
                Err(Code::DatabaseMissing.reason(name, "the database does not exist").with_sql(statement + ";"))
            }
        }
    }

    /// Asks for the addresses of all nodes; whether there are others than before. Where the user may not ask, redirects
    /// are judged by the settings alone, and `prepare` tells of a backend they do not cover.
    pub(super) async fn learn_nodes(&self, sql: &mut Sql) -> bool {
        let mut nodes = BTreeSet::new();
        let mut listed = false;
        for query in ["SHOW BACKENDS", "SHOW COMPUTE NODES"] {
            match sql.rows(query).await {
                Ok(rows) => {
                    listed = true;
                    nodes.extend(rows.iter().filter_map(|row| row.get("IP")).map(str::to_ascii_lowercase));
                }
                Err(error) => tracing::debug!(%error, query, "the cluster's nodes cannot be listed"),
            }
        }
        listed && self.wire.learn(nodes)
    }

    /// A redirect to a stranger may be one to a backend that is new in the cluster: then the next try will know it.
    pub(super) async fn look_again(&self, error: LoadError) -> LoadError {
        match error {
            LoadError::Refused(reason) if reason.code == Code::Redirect.text() => {
                let learned = match Sql::connect(&self.options).await {
                    Ok(mut sql) => self.learn_nodes(&mut sql).await,
                    Err(_) => false,
                };
                if learned { LoadError::Retry(reason) } else { LoadError::Refused(reason) }
            }
            error => error,
        }
    }

    /// Cancels or waits for loads of earlier runs.
    pub(super) async fn settle_leftovers(&self, sql: &mut Sql) -> Result<(), Reason> {
        let rows = match sql.rows(&leftovers::query(&self.options.database, &self.labels)).await {
            Ok(rows) => rows,
            Err(error) if error.is_missing() => return self.outwait_leftovers(),
            Err(error) => return Err(error.reason(&self.options, "", "looking for loads of an earlier run")),
        };
        let mut left = leftovers::unfinished(&rows, &self.labels);
        for leftover in &left {
            tracing::info!(label = leftover.label, "a load of an earlier run is unfinished: cancelling it");
            self.cancel(leftover).await;
        }
        let deadline = Instant::now() + LEFTOVER_PATIENCE;
        loop {
            let mut open = Vec::new();
            for leftover in left {
                if self.state(&leftover.label).await? == Fate::Pending {
                    open.push(leftover);
                }
            }
            left = open;
            let Some(first) = left.first() else { return Ok(()) };
            if Instant::now() >= deadline {
                let message =
                    format!("{} loads of an earlier run are still at work, {} among them", left.len(), first.label);
                return Err(Code::Leftovers.reason("", message));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Where the server does not list its loads, none of an earlier run can be alive once the server's own time
    /// limit for loads has passed since we started.
    pub(super) fn outwait_leftovers(&self) -> Result<(), Reason> {
        let left = self.options.load_timeout.saturating_sub(self.labels.started().elapsed());
        match left.is_zero() {
            true => Ok(()),
            false => {
                let message = format!(
                    "this server does not list its loads: waiting {} s until those of an earlier run have timed out",
                    left.as_secs() + 1
                );
                Err(Code::Leftovers.reason("", message))
            }
        }
    }

    /// Asks the server to give a load up. It may refuse because the load is done; the load's state tells then.
    pub(super) async fn cancel(&self, leftover: &Leftover) {
        let segment = |text| utf8_percent_encode(text, SEGMENT).to_string();
        let table = if leftover.table.is_empty() { "_" } else { &leftover.table };
        let path = format!(
            "/api/{}/{}/_cancel?label={}",
            segment(&self.options.database),
            segment(table),
            segment(&leftover.label)
        );
        let wire = self.wire.clone();
        let answered = self.wire.pool.run(move |connection| wire.ask(connection, true, &path, true)).await;
        if let Err(reason) = answered {
            tracing::debug!(%reason, label = leftover.label, "a load could not be cancelled");
        }
    }

    /// What the frontend says of a label.
    ///
    /// COMMITTED is durable and will be visible. UNKNOWN means never begun or long forgotten: sending again is right
    /// in both cases. A first try that is still on its way and begins later finds its label in use or finished, and
    /// the server turns it away; rows that were loaded and forgotten are loaded again to the same effect.
    pub(super) async fn state(&self, label: &str) -> Result<Fate, Reason> {
        let database = utf8_percent_encode(&self.options.database, SEGMENT);
        let path = format!("/api/{database}/get_load_state?label={}", utf8_percent_encode(label, SEGMENT));
        let wire = self.wire.clone();
        let response = self.wire.pool.run(move |connection| wire.ask(connection, false, &path, true)).await?;
        match answer::label_state(&response.body).as_deref() {
            Some("VISIBLE" | "COMMITTED") => Ok(Fate::Loaded),
            Some("ABORTED" | "UNKNOWN") => Ok(Fate::NotLoaded),
            Some("PREPARE" | "PREPARED") => Ok(Fate::Pending),
            state => {
                let message = match (state, Answer::read(&response.body)) {
                    (Some(state), _) => format!("a load has the unknown state {}", answer::presentable(state, &[])),
                    (None, Some(answer)) => answer::presentable(&answer.message, &[]),
                    (None, None) => format!("HTTP {} without a state", response.status),
                };
                Err(Code::FateUnknown.reason("", format!("asking for a load's state: {message}")))
            }
        }
    }
}

/// Major and minor of `3.5.7-d2da301`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(['.', '-', ' ']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let cases = [
            ("3.5.7-d2da301", Some((3, 5))),
            ("2.5.13 a1b2c3", Some((2, 5))),
            ("4.1-rc1", Some((4, 1))),
            ("main-abc", None),
            ("", None),
        ];
        for (text, want) in cases {
            assert_eq!(version(text), want, "{text}");
        }
    }
}
