//! A connection that reads parts of tables.
//!
//! In: parts. Out: the moment of the read, then rows. Always: an ordinary connection with our own framing, since the
//! rows are many; its transaction reads only, and ends with the part. A part is whole only once its table is known to
//! be what it was when the snapshot was taken. Not here: the statements (`chunk_sql`), the rows (`copy_rows`). Start
//! at [`PgChunkConnection`].

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::chunk_sql::{self, MOVED, Named};
use super::copy_out::{CopyFailure, CopyOut};
use super::equality::Equalities;
use super::login::{self, Purpose, Rows, Session};
use super::same_server::{self, ServerId};
use super::sqlstate::{self, Asked, ServerError};
use super::wal_position::WalLayout;
use super::{ConnectOptions, equality, publication, survey};
use crate::model::{Class, Lsn, Reason, TableSchema};
use crate::source::{ChunkConnection, Part, Piece, ReadError, ReadPoint};

/// The longest that an answer without rows may take. Locks are not waited for that long.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is read of a part that was given up before the connection is closed instead.
const DRAIN_MAX: usize = 16 << 20;

/// The same in time.
const DRAIN_PATIENCE: Duration = Duration::from_secs(1);

/// Reads parts of tables. See [`ChunkConnection`].
#[derive(Debug)]
pub struct PgChunkConnection {
    connect: ConnectOptions,
    publication: String,
    server: ServerId,
    /// `None` after a part was given up that was too large to be read to its end.
    session: Option<Session>,
    layout: WalLayout,
    /// Whether the publication can have row filters.
    filters: bool,
    in_transaction: bool,
    reading: Option<Reading>,
}

/// A part under way.
#[derive(Debug)]
struct Reading {
    copy: CopyOut,
    object: String,
    /// The relation that is read.
    relation: u32,
    /// What its incarnation must be, where that matters.
    incarnation: Option<u32>,
}

impl PgChunkConnection {
    pub(super) async fn connect(
        connect: ConnectOptions,
        publication: String,
        server: ServerId,
    ) -> Result<PgChunkConnection, Reason> {
        let mut connection = PgChunkConnection {
            connect,
            publication,
            server,
            session: None,
            layout: WalLayout { page: 0, segment: 0 },
            filters: false,
            in_transaction: false,
            reading: None,
        };
        connection.open().await?;
        Ok(connection)
    }

    async fn open(&mut self) -> Result<(), Reason> {
        let name = format!("{}/copy", self.connect.application_name);
        let mut session = login::connect(&self.connect, Purpose::Sql, &name).await?;
        let sql = format!("{}; {}", chunk_sql::SETTINGS, same_server::QUERY);
        let rows = patiently(session.query(&sql, &Asked::Query { doing: "preparing to copy rows" })).await?;
        let texts: Vec<&str> = rows.last().into_iter().flatten().flatten().map(String::as_str).collect();
        let number = |at: usize| texts.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        self.server.check(texts.first().copied().unwrap_or_default(), number(1) as u32)?;
        self.layout = WalLayout { page: number(2), segment: number(3) };
        self.filters = number(4) >= publication::WITH_FILTERS as u64;
        self.session = Some(session);
        self.in_transaction = false;
        Ok(())
    }

    /// The session. While a part is read there is one.
    fn session(&mut self) -> Result<&mut Session, Reason> {
        self.session.as_mut().ok_or_else(not_ready)
    }

    async fn ask(&mut self, sql: &str, doing: &str) -> Result<Rows, Reason> {
        let session = self.session()?;
        patiently(session.query(sql, &Asked::Query { doing })).await
    }

    /// The relation as it is named now; `None` if it is gone.
    async fn named(&mut self, relation: u32, schema: &TableSchema, part: &Part) -> Result<Option<Named>, Reason> {
        let by_keys = matches!(part, Part::Keys(_));
        let sql = chunk_sql::look_up(relation, schema.id.0, &self.publication, self.filters, by_keys);
        let rows = self.ask(&sql, &format!("looking for {}", schema.name)).await?;
        let Some([Some(name), filter]) = rows.last().map(Vec::as_slice) else {
            return Err(self.session()?.unexpected());
        };
        let gone = name.bytes().all(|byte| byte.is_ascii_digit());
        Ok((!gone).then(|| Named { id: relation, name: name.clone(), filter: filter.clone() }))
    }

    /// How the columns are compared, as the transaction sees them.
    async fn equalities(&mut self, schema: &TableSchema) -> Result<Equalities, Reason> {
        let mut equalities = Equalities::new();
        for row in self.ask(&equality::query(schema.id), equality::DOING).await? {
            // None of these is ever NULL.
            let row: Option<Vec<String>> = row.into_iter().collect();
            let Some(Ok(row)) = row.map(<[String; 4]>::try_from) else {
                return Err(self.session()?.unexpected());
            };
            equalities.extend([equality::read(row)]);
        }
        Ok(equalities)
    }

    /// Asks whether what was read counts, and ends the transaction.
    async fn finish(&mut self, reading: &Reading) -> Result<(), ReadError> {
        let sql = chunk_sql::finish(reading.relation);
        let rows = self.ask(&sql, &format!("copying {}", reading.object)).await?;
        self.in_transaction = false;
        let Some([file, unchanged]) = rows.last().map(Vec::as_slice) else {
            return Err(self.session()?.unexpected().into());
        };
        let file: Option<u32> = file.as_deref().and_then(|file| file.parse().ok());
        let same = unchanged.as_deref() == Some("t") && reading.incarnation.is_none_or(|wanted| file == Some(wanted));
        if same { Ok(()) } else { Err(ReadError::Rewritten) }
    }
}

impl ChunkConnection for PgChunkConnection {
    async fn begin(&mut self) -> Result<ReadPoint, Reason> {
        self.give_up().await?;
        if self.session.is_none() {
            self.open().await?;
        }
        let rows = self.ask(chunk_sql::BEGIN, "fixing what a copy sees").await?;
        self.in_transaction = true;
        let Some([Some(sees), Some(position)]) = rows.last().map(Vec::as_slice) else {
            return Err(self.session()?.unexpected());
        };
        let (Ok(sees), Ok(position)) = (sees.parse(), position.parse::<Lsn>()) else {
            return Err(self.session()?.unexpected());
        };
        Ok(ReadPoint { sees, position: self.layout.end_of_last(position) })
    }

    async fn read(&mut self, schema: &Arc<TableSchema>, part: &Part) -> Result<(), ReadError> {
        let object = schema.name.to_string();
        let relation = match part {
            Part::Blocks(range) => range.storage,
            Part::Keys(_) => schema.id.0,
        };
        let Some(named) = self.named(relation, schema, part).await? else {
            return Err(match part {
                // A leaf that is gone: what there is now is to be looked up.
                Part::Blocks(_) => ReadError::Rewritten,
                Part::Keys(_) => ReadError::Failed(survey::dropped(schema)),
            });
        };
        let (sql, incarnation) = match part {
            Part::Blocks(range) => (Some(chunk_sql::blocks(&named, schema, range)), Some(range.incarnation)),
            Part::Keys(keys) => {
                let equalities = self.equalities(schema).await?;
                (chunk_sql::keys(&named, schema, &equalities, keys), None)
            }
        };
        let sql = sql.ok_or_else(|| not_utf8(&object))?;
        // PostgreSQL's own limit is 1,600.
        let columns = u16::try_from(schema.columns.len()).unwrap_or(u16::MAX);
        let started = patiently_copy(CopyOut::start(self.session()?, &sql, columns)).await;
        let copy = started.map_err(|failure| meaning(failure, &object))?;
        self.reading = Some(Reading { copy, object, relation, incarnation });
        Ok(())
    }

    async fn next(&mut self, bytes_max: usize) -> Result<Option<Piece>, ReadError> {
        let (Some(session), Some(reading)) = (&mut self.session, &mut self.reading) else {
            return Err(not_ready().into());
        };
        match reading.copy.piece(session, bytes_max).await {
            Ok(Some((rows, bytes))) => return Ok(Some(Piece { rows, bytes })),
            Ok(None) => {}
            Err(failure) => {
                let failure = meaning(failure, &reading.object);
                self.reading = None;
                return Err(failure);
            }
        }
        // Whoever stops waiting for this cannot come back to it and take silence for the end.
        let reading = self.reading.take().ok_or_else(not_ready)?;
        self.finish(&reading).await.map(|()| None)
    }

    async fn give_up(&mut self) -> Result<(), Reason> {
        if let (Some(session), Some(mut reading)) = (&mut self.session, self.reading.take())
            && !timeout(DRAIN_PATIENCE, reading.copy.rest_is_small(session, DRAIN_MAX)).await.unwrap_or(false)
        {
            // The server notices at its next row and ends the transaction.
            self.session = None;
        }
        if self.session.is_none() {
            self.in_transaction = false;
        }
        if std::mem::take(&mut self.in_transaction) {
            self.ask("ROLLBACK", "giving up a copy").await?;
        }
        Ok(())
    }
}

fn not_ready() -> Reason {
    let message = "a part is to be read on that was not begun, or is at its end";
    Reason::new("SOURCE_NOT_READY", Class::Bug, "", message, "Report it.")
}

async fn patiently<T>(answer: impl Future<Output = Result<T, Reason>>) -> Result<T, Reason> {
    timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(no_answer()))
}

async fn patiently_copy<T>(answer: impl Future<Output = Result<T, CopyFailure>>) -> Result<T, CopyFailure> {
    timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(CopyFailure::Broken(no_answer())))
}

fn no_answer() -> Reason {
    let message = format!("copying rows: the server did not answer within {} s", PATIENCE.as_secs());
    Reason::new("SOURCE_UNREACHABLE", Class::Retry, "server", message, "It is tried again until the server answers.")
}

fn not_utf8(object: &str) -> Reason {
    let message = format!("copying rows of {object}: a key is not UTF-8");
    Reason::new("SOURCE_ENCODING", Class::Wait, object, message, "Store text as UTF-8 in the source.")
}

/// What the end of a copy means.
fn meaning(failure: CopyFailure, object: &str) -> ReadError {
    let error = match failure {
        CopyFailure::Broken(reason) => return ReadError::Failed(reason),
        CopyFailure::Server(error) => error,
    };
    let doing = format!("copying {object}");
    match error.code.as_str() {
        // undefined_column
        "42703" => ReadError::Columns,
        // undefined_table, invalid_schema_name: another name, or gone; the next look tells.
        "42P01" | "3F000" => ReadError::Failed(moved(object)),
        // invalid_text_representation: our own condition.
        "22P02" if error.message.contains(MOVED) => ReadError::Failed(moved(object)),
        // A byte that the encoding does not have; a value too large to be sent; a broken page.
        "22021" | "22P05" | "54000" | "XX001" => ReadError::Failed(unreadable(&error, object)),
        _ => ReadError::Failed(sqlstate::reason(&error, &Asked::Query { doing: &doing })),
    }
}

fn moved(object: &str) -> Reason {
    let message = format!("copying {object}: it was renamed at that moment");
    Reason::new("SOURCE_BUSY", Class::Retry, object, message, "It is tried again.")
}

fn unreadable(error: &ServerError, object: &str) -> Reason {
    let message = format!("copying {object}: PostgreSQL cannot send a row: SQLSTATE {}", error.code);
    let remedy = "Look at the server's log for the row that fails, and mend or remove it: a text that is not in the \
                  database's encoding, a value larger than 1 GiB as text, or a broken page.";
    Reason::new("SOURCE_CANNOT_READ", Class::Wait, object, message, remedy)
}
