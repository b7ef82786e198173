//! The source: one object that opens the connections and hands them to whoever does the work.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use super::client::{SqlSession, connect_sql};
use super::decode::Decoder;
use super::reader::{self, Stream};
use super::replication::{ReplicationConnection, System};
use super::setup::{self, Prepared};
use super::standby::Timings;
use super::streaming::{GivenUp, Streaming};
use super::watcher::{self, Watch};
use super::{Options, PgCheckpoints, PgChunks, PgCopies, Tables, quote};
use crate::checkpoint::Checkpoint;
use crate::model::{Class, Lsn, Reason, Row, TableName, TableSchema};
use crate::source::{Ends, Ready, Source};
use crate::status::SourceMeter;

/// What pgoutput is asked for: whole transactions ...
const WHOLE: &[(&str, &str)] = &[("proto_version", "1")];

/// ... or large ones in parts, before they commit.
const IN_PARTS: &[(&str, &str)] = &[("proto_version", "2"), ("streaming", "on")];

/// The longest that the opening of a stream may take.
const OPENING: Duration = Duration::from_secs(60);

/// The longest that one reading of rows by key may take, connecting included.
const FETCHING: Duration = Duration::from_secs(30);

fn too_slow(table: &TableName) -> Reason {
    let message = format!("reading rows of {table} again: the server did not answer within {} s", FETCHING.as_secs());
    let remedy = "See whether a lock on the table stands in the way (pg_stat_activity tells of sluicegate/rows), and \
                  whether the server can be reached. It is tried again by itself.";
    Reason::new("SOURCE_BUSY", Class::Retry, table.to_string(), message, remedy)
}

fn no_answer() -> Reason {
    let message = format!("the server did not open the stream within {} s", OPENING.as_secs());
    Reason::new("SOURCE_UNREACHABLE", Class::Retry, "server", message, "It is tried again by itself.")
}

/// PostgreSQL as a source of changes.
#[derive(Debug)]
pub struct Postgres {
    options: Options,
    meter: SourceMeter,
    checkpoints: Arc<PgCheckpoints>,
    chunks: Arc<PgChunks>,
    copies: Arc<PgCopies>,
    /// What the last successful setup found.
    prepared: SyncMutex<Option<(Tables, Watch)>>,
    /// The connection that reads single rows, kept between uses.
    reader: Mutex<Option<SqlSession>>,
    streamed: AtomicBool,
    given_up: GivenUp,
}

impl Postgres {
    /// Opens nothing yet.
    pub fn new(mut options: Options, meter: SourceMeter) -> Self {
        options.connect = options.connect.for_pipeline(&options.pipeline);
        let checkpoints = Arc::new(PgCheckpoints::new(&options));
        Postgres {
            chunks: Arc::new(PgChunks::new(options.clone(), checkpoints.clone())),
            copies: Arc::new(PgCopies::new(&options, checkpoints.clone())),
            checkpoints,
            options,
            meter,
            prepared: SyncMutex::default(),
            reader: Mutex::default(),
            streamed: AtomicBool::new(false),
            given_up: GivenUp::default(),
        }
    }

    /// Looks at everything and writes nothing: what is wrong, what a person should know, and the tables as far as they
    /// can be used.
    ///
    /// # Errors
    /// If the server cannot be asked at all.
    pub async fn check(&self) -> Result<(Vec<Reason>, Vec<String>, Vec<Arc<TableSchema>>), Reason> {
        let (client, driver) = connect_sql(&self.options.connect, "check").await?;
        let inspection = setup::inspect(&client, &self.options, None).await;
        driver.abort();
        let inspection = inspection?;
        let (findings, notes) = setup::report(&inspection, &self.options);
        Ok((findings, notes, inspection.schemas()))
    }

    fn prepared(&self) -> Option<(Tables, Watch)> {
        // The value is replaced whole, so a panic elsewhere cannot have left it half-written.
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether large transactions are asked for in parts, and where they are kept.
    fn streaming(&self, from: Lsn) -> Option<Streaming> {
        let spool = self.options.spool.as_ref()?;
        if !self.given_up.is_past(from) {
            tracing::warn!("large transactions come whole: the last time they could not be kept until they committed");
            return None;
        }
        match Streaming::new(spool, from, self.given_up.clone(), self.meter.clone()) {
            Ok(streaming) => Some(streaming),
            Err(error) => {
                let folder = spool.folder.display();
                tracing::warn!(%folder, %error, "large transactions come whole: STREAM_SPOOL_FOLDER takes no file");
                self.meter.spool_given_up();
                None
            }
        }
    }

    async fn open_stream(
        &self,
        from: Lsn,
        protocol: &[(&str, &str)],
    ) -> Result<(super::wire::Copying, Timings), Reason> {
        let mut connection = ReplicationConnection::connect(&self.options.connect).await?;
        self.same_server(connection.system())?;
        let query = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'";
        let rows = connection.simple_query(query).await?;
        let milliseconds = rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok());
        let publications = quote::identifier(&self.options.publication);
        let asked = [protocol, &[("publication_names", publications.as_str())]].concat();
        let copying = connection.start_replication(&self.options.slot, from, &asked).await?;
        Ok((copying, Timings::from_wal_sender_timeout(milliseconds.map(Duration::from_millis))))
    }
}

impl Postgres {
    /// Several hosts, a failover or a moved address may lead this connection elsewhere than setup's.
    fn same_server(&self, system: &System) -> Result<(), Reason> {
        let same = self.checkpoints.at(Lsn::INVALID, false).is_some_and(|checked| {
            checked.system_id == system.identifier && checked.timeline == system.timeline as i32
        });
        if same {
            return Ok(());
        }
        let System { identifier, timeline } = system;
        let message = format!(
            "the replication connection reached system {identifier} on timeline {timeline}, which is not the server \
             that was checked"
        );
        let remedy = "It is checked again. If several hosts are named, name only those of one cluster.";
        Err(Reason::new("SOURCE_MOVED", Class::Retry, "server", message, remedy))
    }
}

impl Source for Postgres {
    type Checkpoints = PgCheckpoints;
    type Chunks = PgChunks;
    type Copies = PgCopies;

    async fn setup(&self) -> Result<Ready, Vec<Reason>> {
        let one = |reason| vec![reason];
        let connect = &self.options.connect;
        let (worker, worker_driver) = connect_sql(connect, "setup").await.map_err(one)?;
        let (observer, observer_driver) = connect_sql(connect, "observer").await.map_err(one)?;
        let prepared = setup::run(&worker, &observer, &self.options, &self.checkpoints).await;
        worker_driver.abort();
        observer_driver.abort();
        let Prepared { ready, tables, watch } = prepared?;
        *self.prepared.lock().unwrap_or_else(PoisonError::into_inner) = Some((tables, watch));
        Ok(ready)
    }

    fn checkpoints(&self) -> Arc<PgCheckpoints> {
        self.checkpoints.clone()
    }

    fn chunks(&self) -> Arc<PgChunks> {
        self.chunks.clone()
    }

    fn copies(&self) -> Arc<PgCopies> {
        self.copies.clone()
    }

    fn checkpoint_at(&self, lsn: Lsn, paused: bool) -> Option<Checkpoint> {
        self.checkpoints.at(lsn, paused)
    }

    async fn stream(&self, from: Lsn, ends: Ends) -> Result<(), Reason> {
        let Some((tables, watch)) = self.prepared() else {
            let message = "the stream is to start before setup has succeeded";
            return Err(Reason::new("SOURCE_NOT_READY", Class::Bug, "", message, "report it"));
        };
        let session = connect_sql(&self.options.connect, "watcher").await?;
        let streaming = self.streaming(from);
        let protocol = if streaming.is_some() { IN_PARTS } else { WHOLE };
        let opened = tokio::time::timeout(OPENING, self.open_stream(from, protocol)).await;
        let (copying, timings) = opened.unwrap_or_else(|_| Err(no_answer()))?;
        if self.streamed.swap(true, Relaxed) {
            self.meter.reconnected();
        }
        let (notice, shutdown_notice) = watch::channel(false);
        let stream = Stream {
            copying,
            start: from,
            slot: self.options.slot.clone(),
            publication: self.options.publication.clone(),
            decoder: Decoder::new(Arc::new(tables)),
            ends,
            meter: self.meter.clone(),
            timings,
            shutdown_notice,
            streaming,
        };
        tokio::select! {
            ended = reader::run(stream) => ended,
            // Dropping the reader closes its connection at once, acknowledged or not: a server that is being shut
            // down waits for it.
            reason = watcher::watch(session, watch, self.meter.clone(), notice) => Err(reason),
        }
    }

    async fn fetch(
        &self,
        schema: Arc<TableSchema>,
        keys: Vec<Row>,
        after: Vec<u32>,
    ) -> Result<Vec<Option<Row>>, Reason> {
        // One connection for all lanes: each waits for those before it, at most `FETCHING` for each.
        let mut kept = self.reader.lock().await;
        let read = async {
            let session = match kept.take().filter(|session| !session.client.is_closed()) {
                Some(session) => session,
                None => SqlSession::connect(&self.options.connect, "rows").await?,
            };
            let found = super::fetch::fetch_after(&session.client, &schema, &keys, &after).await?;
            *kept = Some(session);
            Ok(found)
        };
        tokio::time::timeout(FETCHING, read).await.unwrap_or_else(|_| Err(too_slow(&schema.name)))
    }
}
