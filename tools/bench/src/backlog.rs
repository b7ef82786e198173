//! A backlog that waits behind slots, one for each drain.

use rig::{Cluster, parse_lsn};
use tokio_postgres::{Client, NoTls};

use crate::Failure;

/// The publication's name.
pub(crate) const PUBLICATION: &str = "bench";

/// What a backlog is made of.
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    /// What its database is called after.
    pub(crate) name: String,
    /// Its tables, all of schema public.
    pub(crate) tables: Vec<String>,
    /// Makes the tables and the rows that were there before.
    pub(crate) setup: Vec<String>,
    /// Makes the changes; statements of different sessions.
    pub(crate) sessions: Vec<String>,
    /// One more row, in a transaction of its own: the end.
    pub(crate) marker: String,
    /// Row changes that the sessions make.
    pub(crate) rows: u64,
}

/// Changes in a database of their own.
pub(crate) struct Backlog {
    pub(crate) client: Client,
    pub(crate) database: String,
    /// A `TABLES`.
    pub(crate) tables: String,
    /// Row changes in it.
    pub(crate) rows: u64,
    /// Where its last transaction ends.
    pub(crate) end: u64,
    slots: u32,
}

/// The slot that stays where the backlog begins.
const BASE: &str = "base";

impl Backlog {
    /// Makes the changes.
    pub(crate) async fn make(cluster: &Cluster, changes: &Changes) -> Result<Backlog, Failure> {
        let database = format!("bench_{}", changes.name);
        cluster.client().await?.batch_execute(&format!("CREATE DATABASE {database}")).await?;
        let client = connect(cluster, &database).await?;
        for statement in &changes.setup {
            client.batch_execute(statement).await?;
        }
        let tables: Vec<String> = changes.tables.iter().map(|table| format!("public.{table}")).collect();
        client.batch_execute(&format!("CREATE PUBLICATION {PUBLICATION} FOR TABLE {}", tables.join(", "))).await?;
        make_slot(&client, BASE).await?;
        let mut sessions = Vec::new();
        for statement in changes.sessions.clone() {
            let session = connect(cluster, &database).await?;
            sessions.push(tokio::spawn(async move { session.batch_execute(&statement).await }));
        }
        for session in sessions {
            session.await??;
        }
        let end = end_with(&client, &changes.marker).await?;
        Ok(Backlog { client, database, tables: tables.join(","), rows: changes.rows + 1, end, slots: 0 })
    }

    /// A new slot at the beginning.
    pub(crate) async fn slot(&mut self) -> Result<String, Failure> {
        self.slots += 1;
        let name = format!("run{}", self.slots);
        self.client.execute("SELECT pg_copy_logical_replication_slot($1::text, $2::text)", &[&BASE, &name]).await?;
        Ok(name)
    }

    /// Drops a slot that nobody reads from any more.
    pub(crate) async fn drop_slot(&self, name: &str) -> Result<(), Failure> {
        let wait = "SELECT active FROM pg_replication_slots WHERE slot_name = $1";
        while self.client.query_one(wait, &[&name]).await?.get(0) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        self.client.execute("SELECT pg_drop_replication_slot($1::text)", &[&name]).await?;
        Ok(())
    }

    /// Lets go of the log.
    pub(crate) async fn forget(self) -> Result<(), Failure> {
        self.drop_slot(BASE).await
    }
}

/// A connection to one of the server's databases, over its unix socket.
pub(crate) async fn connect(cluster: &Cluster, database: &str) -> Result<Client, Failure> {
    let (client, driver) = tokio_postgres::connect(&unix_url(cluster, database), NoTls).await?;
    tokio::spawn(driver);
    Ok(client)
}

/// A URL that goes over the server's unix socket.
pub(crate) fn unix_url(cluster: &Cluster, database: &str) -> String {
    let folder = cluster.socket_folder().to_string_lossy().replace('/', "%2F");
    format!("postgresql://{}@{folder}:{}/{database}", rig::SUPERUSER, cluster.port())
}

async fn make_slot(client: &Client, name: &str) -> Result<(), Failure> {
    client.execute("SELECT pg_create_logical_replication_slot($1::text, 'pgoutput')", &[&name]).await?;
    Ok(())
}

/// Runs a last transaction; where it ends in the log, to the byte.
async fn end_with(client: &Client, statement: &str) -> Result<u64, Failure> {
    make_slot(client, "marker").await?;
    // Only what is on disk is decoded, all that came before included.
    client.batch_execute("SET synchronous_commit = on").await?;
    client.batch_execute(statement).await?;
    let query = "SELECT max(lsn)::text FROM pg_logical_slot_get_binary_changes('marker', NULL, NULL, \
                 'proto_version', '1', 'publication_names', $1)";
    let end: String = client.query_one(query, &[&PUBLICATION]).await?.get(0);
    client.batch_execute("SELECT pg_drop_replication_slot('marker')").await?;
    parse_lsn(&end).ok_or_else(|| format!("the server's position {end:?} cannot be read").into())
}
