//! Opens what reads the rows that are there.
//!
//! In: tables. Out: where their rows lie, connections that read them, what a read would see. Always: every connection
//! is to the server that the last setup looked at. Start at [`PgChunks`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::chunk_connection::PgChunkConnection;
use super::client::SqlSession;
use super::same_server::{self, ServerId};
use super::sqlstate::query_reason;
use super::{Options, PgCheckpoints, checkpoints, survey};
use crate::model::{Class, Lsn, Reason, TableSchema, Visibility};
use crate::source::{ChunkReader, Storage};

/// The longest that one question may take, connecting included.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads tables of PostgreSQL. Usable after a first successful setup.
#[derive(Debug)]
pub struct PgChunks {
    options: Options,
    checkpoints: Arc<PgCheckpoints>,
    /// For questions; kept between them.
    session: Mutex<Option<Arc<SqlSession>>>,
}

impl PgChunks {
    pub(super) fn new(options: Options, checkpoints: Arc<PgCheckpoints>) -> Self {
        PgChunks { options, checkpoints, session: Mutex::default() }
    }

    fn server(&self) -> Result<ServerId, Reason> {
        let at = self.checkpoints.at(Lsn::INVALID, false).ok_or_else(|| {
            let message = "rows are to be copied before setup has succeeded";
            Reason::new("SOURCE_NOT_READY", Class::Bug, "", message, "report it")
        })?;
        Ok(ServerId { system: at.system_id, timeline: at.timeline as u32 })
    }

    /// The kept session, or a new one.
    async fn session(&self) -> Result<Arc<SqlSession>, Reason> {
        let mut kept = self.session.lock().await;
        match &*kept {
            Some(session) if !session.client.is_closed() => Ok(session.clone()),
            _ => Ok(kept.insert(Arc::new(self.open().await?)).clone()),
        }
    }

    /// Waits for an answer. A session that gives none is not asked again.
    async fn patiently<T>(&self, answer: impl Future<Output = Result<T, Reason>>) -> Result<T, Reason> {
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(answer) => answer,
            Err(_) => {
                *self.session.lock().await = None;
                Err(no_answer())
            }
        }
    }

    async fn open(&self) -> Result<SqlSession, Reason> {
        let session = SqlSession::connect(&self.options.connect, "copies").await?;
        let doing = "looking for the server to copy from";
        let row = session.client.query_one(same_server::QUERY, &[]).await;
        let row = row.map_err(|error| query_reason(&error, doing))?;
        let timeline: String = row.get(1);
        self.server()?.check(row.get(0), timeline.parse().unwrap_or_default())?;
        Ok(session)
    }
}

fn no_answer() -> Reason {
    let message = format!("a question about copying was not answered within {} s", PATIENCE.as_secs());
    Reason::new("SOURCE_UNREACHABLE", Class::Retry, "server", message, "It is tried again until the server answers.")
}

impl ChunkReader for PgChunks {
    type Connection = PgChunkConnection;

    async fn survey(&self, schema: &TableSchema) -> Result<Vec<Storage>, Reason> {
        self.patiently(async { survey::survey(&self.session().await?.client, schema).await }).await
    }

    async fn connect(&self) -> Result<PgChunkConnection, Reason> {
        let Options { connect, publication, .. } = &self.options;
        PgChunkConnection::connect(connect.clone(), publication.clone(), self.server()?).await
    }

    async fn visibility(&self) -> Result<Visibility, Reason> {
        let doing = "asking which transactions are visible";
        let text: String = self
            .patiently(async {
                let session = self.session().await?;
                let row = session.client.query_one("SELECT pg_catalog.pg_current_snapshot()::text", &[]).await;
                Ok(row.map_err(|error| query_reason(&error, doing))?.get(0))
            })
            .await?;
        text.parse().map_err(|error| {
            let message = format!("{doing}: {error}");
            Reason::new("SOURCE_ERROR", Class::Retry, "server", message, "It is tried again.")
        })
    }

    async fn replica_lag(&self) -> Result<Option<Duration>, Reason> {
        // Logical replication has a walsender too, for one our own; its slot or its missing state tells it apart.
        let sql = "SELECT pg_catalog.max(pg_catalog.date_part('epoch', r.replay_lag))::double precision
                   FROM pg_catalog.pg_stat_replication r
                        LEFT JOIN pg_catalog.pg_replication_slots s ON s.active_pid = r.pid
                   WHERE r.state = 'streaming' AND s.slot_type IS DISTINCT FROM 'logical'";
        self.patiently(async {
            let row = self.session().await?.client.query_one(sql, &[]).await;
            let row = row.map_err(|error| query_reason(&error, "asking how far replicas are behind"))?;
            Ok(row.get::<_, Option<f64>>(0).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
        })
        .await
    }

    async fn nudge(&self) -> Result<(), Reason> {
        let sql = checkpoints::touch_sql(&self.options.checkpoint_schema);
        self.patiently(async {
            let touched = self.session().await?.client.execute(&sql, &[&self.options.pipeline]).await;
            touched.map(drop).map_err(|error| query_reason(&error, "making the log move"))
        })
        .await
    }
}
