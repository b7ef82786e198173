//! Reads one part through its window: open, begin, check, pieces, end.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

use crate::model::{BudgetPart, Lsn, Permit, Reason, Row, TableSchema};
use crate::pipeline::{CopyRequest, Opened, Pipeline};
use crate::snapshot::{Found, Verdict, Wanted, WindowId};
use crate::source::{BlockRange, ChunkConnection, ChunkReader, Part, Piece, ReadError, ReadPoint};

/// Bytes of rows that are handed on at once, at most; less in a small budget.
const PIECE_BYTES: usize = 512 << 10;
/// How long a reader waits before it takes another snapshot: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(250));
/// A single block cannot be made smaller, so it may take longer; but while the sink is down it must not hold up the
/// source's vacuum for hours.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// What all readers share.
pub(super) struct Shared<R: ChunkReader> {
    pub(super) reader: Arc<R>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) budget: BudgetPart,
    pub(super) parallelism: usize,
    pub(super) time_max: Duration,
    /// Connections that nobody reads from at present.
    pub(super) idle: Mutex<Vec<R::Connection>>,
}

/// What one reader is to read.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) window: WindowId,
    pub(super) schema: Arc<TableSchema>,
    /// A position after which these columns were looked up, if there is one.
    pub(super) as_of: Lsn,
    pub(super) what: What,
    /// Turns true when the window is gone and reading on is of no use.
    pub(super) gone: Arc<AtomicBool>,
}

/// What a window is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Blocks.
    Blocks(BlockRange),
    /// So many keys at most.
    Keys(usize),
}

/// How reading ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Everything was read and handed on. It goes in once the stream has passed the position.
    Read(Found, Lsn),
    /// No window was opened, as the pipeline can have none now.
    NotNow,
    /// No window was opened, as no key is wanted.
    Nothing,
    /// No window was opened, as the table is not being copied.
    NoCopy,
    /// The table has other columns than the reader was told. No window is open.
    Columns(Option<Arc<TableSchema>>),
    /// The window was dropped; the pipeline tells why.
    Gone,
    /// The storage is no longer what it was. No window is open.
    Rewritten,
    /// It took too long. No window is open.
    TooSlow,
    /// The source failed. No window is open.
    Failed(Reason),
}

impl<R: ChunkReader> Shared<R> {
    /// Reads a part. A window that is open afterwards is one whose rows were all handed on, or one that is gone.
    pub(super) async fn read(&self, job: Job) -> Outcome {
        let mut connection = match self.connection().await {
            Ok(connection) => connection,
            Err(reason) => return Outcome::Failed(reason),
        };
        let keys = match self.open(&job).await {
            Opened::Yes { keys } => keys,
            Opened::NothingWanted => return self.unused(connection, Outcome::Nothing),
            Opened::NotNow => return self.unused(connection, Outcome::NotNow),
            Opened::NoCopy => return self.unused(connection, Outcome::NoCopy),
            Opened::Columns(schema) => return self.unused(connection, Outcome::Columns(Some(schema))),
        };
        let outcome = self.through(&mut connection, &job, &keys).await;
        match &outcome {
            Outcome::Read(..) => {}
            Outcome::Gone => {
                if connection.give_up().await.is_err() {
                    return outcome;
                }
            }
            Outcome::TooSlow | Outcome::Failed(_) => {
                // A call to it may have been broken off: it is thrown away.
                drop(connection);
                self.pipeline.copy(CopyRequest::Abort { window: job.window }).await;
                return outcome;
            }
            _ => self.pipeline.copy(CopyRequest::Abort { window: job.window }).await,
        }
        self.unused(connection, outcome)
    }

    async fn connection(&self) -> Result<R::Connection, Reason> {
        let idle = self.lock().pop();
        match idle {
            Some(connection) => Ok(connection),
            None => self.reader.connect().await,
        }
    }

    fn unused(&self, connection: R::Connection, outcome: Outcome) -> Outcome {
        self.lock().push(connection);
        outcome
    }

    /// Closes connections that nobody reads from.
    pub(super) fn close_idle(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<R::Connection>> {
        // Each change is one call, so a panic cannot leave it half-done.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self, job: &Job) -> Opened {
        let (answer, reply) = oneshot::channel();
        let wanted = match job.what {
            What::Blocks(_) => Wanted::Blocks,
            What::Keys(max) => Wanted::Keys(max),
        };
        let (window, schema, as_of) = (job.window, job.schema.clone(), job.as_of);
        self.pipeline.copy(CopyRequest::Open { window, schema, as_of, wanted, answer }).await;
        reply.await.unwrap_or(Opened::NotNow)
    }

    async fn through(&self, connection: &mut R::Connection, job: &Job, keys: &[Row]) -> Outcome {
        let point = match self.begin(connection, job).await {
            Ok(point) => point,
            Err(outcome) => return outcome,
        };
        let part = match job.what {
            What::Blocks(range) => Part::Blocks(range),
            What::Keys(_) => Part::Keys(keys.iter().map(|row| job.schema.key_of(row)).collect()),
        };
        let started = Instant::now();
        let deadline = started + if job.is_smallest() { LONGEST } else { self.time_max };
        let mut found = Found { rows: 0, bytes: 0, took: Duration::ZERO };
        match timeout_at(deadline, connection.read(&job.schema, &part)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.into(),
            Err(_) => return Outcome::TooSlow,
        }
        loop {
            if job.gone.load(Relaxed) {
                return Outcome::Gone;
            }
            let piece = match timeout_at(deadline, self.piece(connection)).await {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) => break,
                Ok(Err(error)) => return error.into(),
                Err(_) => return Outcome::TooSlow,
            };
            let (Piece { rows, bytes }, permit) = piece;
            found.rows += rows.len() as u64;
            found.bytes += bytes as u64;
            self.pipeline.copy(CopyRequest::Piece { window: job.window, rows, permit, bytes }).await;
        }
        self.pipeline.copy(CopyRequest::End { window: job.window }).await;
        Outcome::Read(Found { took: started.elapsed(), ..found }, point.position)
    }

    /// Takes snapshots until one is good.
    async fn begin(&self, connection: &mut R::Connection, job: &Job) -> Result<ReadPoint, Outcome> {
        let mut wait = AGAIN.0;
        loop {
            let point = connection.begin().await.map_err(Outcome::Failed)?;
            let (answer, reply) = oneshot::channel();
            let (sees, position) = (point.sees.clone(), point.position);
            self.pipeline.copy(CopyRequest::Check { window: job.window, sees, position, answer }).await;
            match reply.await.unwrap_or(Verdict::Gone) {
                Verdict::Go => return Ok(point),
                Verdict::Gone => return Err(Outcome::Gone),
                Verdict::Again => {}
            }
            // A transaction that waits holds up the source's cleaning, and this may last: for as long as a commit is
            // invisible because a standby does not answer.
            connection.give_up().await.map_err(Outcome::Failed)?;
            sleep(wait).await;
            wait = (wait * 2).min(AGAIN.1);
            if job.gone.load(Relaxed) {
                return Err(Outcome::Gone);
            }
        }
    }

    /// The next rows, with their share of the memory budget: taken before they are read, then cut to what they are.
    async fn piece(&self, connection: &mut R::Connection) -> Result<Option<(Piece, Permit)>, ReadError> {
        let bytes_max = PIECE_BYTES.min(self.budget.total() / self.parallelism / 2).max(1024);
        let reserved = self.budget.take(bytes_max).await;
        let Some(piece) = connection.next(bytes_max).await? else { return Ok(None) };
        let permit = if piece.bytes > bytes_max {
            // A single row that is larger: whoever waits for more while holding some may wait for ever.
            drop(reserved);
            self.budget.take(piece.bytes).await
        } else {
            self.budget.try_take(piece.bytes).unwrap_or(reserved)
        };
        Ok(Some((piece, permit)))
    }
}

impl Job {
    fn is_smallest(&self) -> bool {
        match self.what {
            What::Blocks(range) => range.end - range.first <= 1,
            What::Keys(max) => max <= 1,
        }
    }
}

impl From<ReadError> for Outcome {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Rewritten => Outcome::Rewritten,
            ReadError::Columns => Outcome::Columns(None),
            ReadError::Failed(reason) => Outcome::Failed(reason),
        }
    }
}
