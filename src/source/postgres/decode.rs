//! Turns pgoutput messages into events.
//!
//! In: the messages of one connection in order, as parts of a frame of received bytes. Out: [`Event`]s whose rows are
//! slices of that frame. Always: a change comes only between `Begin` and `Commit`, after the `Schema` it is written
//! under, and with as many columns as that schema has; the key columns of an update's new row and of every old row
//! hold values. Changes of tables that are not selected are left out. Not here: framing, and what the pipeline makes
//! of a changed table.
//!
//! Written for text form, which is what the stream asks for, and for whole transactions: one that was streamed in parts is
//! put aside until it commits (`in_progress`) and comes here then. Messages of prepared transactions and binary values are
//! refused by name. Whether a TRUNCATE cascades or restarts sequences is left out,
//! because the stream names every truncated table and the target has no sequences. Start at [`Decoder::decode`].

use std::collections::{BTreeMap, HashMap};
use std::mem::take;
use std::sync::Arc;

use bytes::Bytes;

use super::in_progress::Aside;
use super::tables::{KnownTable, Tables, WireType};
use super::types::by_stream;
use super::xids::Xids;
use crate::model::{
    Change, Class, Column, ColumnType, Event, Lsn, OldRow, Reason, Row, RowBuilder, TableId, TableName, TableSchema,
    Value,
};
use crate::pgoutput::{Context, DecodeError, Message, OldTuple, RelationColumn, ReplicaIdentity, Tuple};

/// Why a message cannot become an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EventError {
    /// The bytes are no message.
    #[error(transparent)]
    Unreadable(#[from] DecodeError),
    /// A message that nobody asked for.
    #[error("the server sent {message}, which protocol version 1 does not have")]
    Unasked {
        /// The message.
        message: &'static str,
    },
    /// A message where it cannot be.
    #[error("the server sent {message} {place} a transaction")]
    Misplaced {
        /// The message.
        message: &'static str,
        /// `inside of` or `outside of`.
        place: &'static str,
    },
    /// A later part, or the commit, of a streamed transaction of which nothing is here.
    #[error("the server sent a part of transaction {xid} without what comes before it")]
    Unkept {
        /// Its id.
        xid: u32,
    },
    /// A change of a table that the stream has not described.
    #[error("the server sent a change of relation {oid} without describing it first")]
    Undescribed {
        /// Its OID.
        oid: u32,
    },
    /// A row that does not fit its table.
    #[error("the server sent a row of {found} columns for table {table}, which has {expected}")]
    Columns {
        /// The table.
        table: TableName,
        /// Columns of the table.
        expected: usize,
        /// Columns of the row.
        found: usize,
    },
    /// A value in binary form.
    #[error("the server sent a binary value for table {table}, although text was asked for")]
    Binary {
        /// The table.
        table: TableName,
    },
    /// A change that does not tell which row it is about.
    #[error("the server sent {message} for table {table} without a value for each key column")]
    NoKey {
        /// The message.
        message: &'static str,
        /// The table.
        table: TableName,
    },
    /// A table without any key column.
    #[error("table {table} no longer has a key: none of its columns belongs to its replica identity")]
    KeyGone {
        /// The table.
        table: TableName,
    },
}

impl From<EventError> for Reason {
    fn from(error: EventError) -> Reason {
        let message = error.to_string();
        match error {
            EventError::KeyGone { table } => Reason::new(
                "KEY_CHANGED",
                Class::Wait,
                table.to_string(),
                message,
                "Give the table its primary key back, or a replica identity index on the key columns of its target.",
            ),
            EventError::NoKey { table, .. } => Reason::new(
                "KEY_MISSING",
                Class::Wait,
                table.to_string(),
                message,
                "Make the key columns NOT NULL and the replica identity cover them, or take the table out of TABLES.",
            ),
            EventError::Unreadable(_)
            | EventError::Unasked { .. }
            | EventError::Misplaced { .. }
            | EventError::Unkept { .. }
            | EventError::Undescribed { .. }
            | EventError::Columns { .. }
            | EventError::Binary { .. } => Reason::new(
                "STREAM_UNREADABLE",
                Class::Wait,
                "",
                message,
                "Look for something between Sluicegate and PostgreSQL that alters the stream; else report this.",
            ),
        }
    }
}

/// Turns the messages of one connection into events.
#[derive(Debug)]
pub(super) struct Decoder {
    tables: Arc<Tables>,
    relations: HashMap<u32, Relation, foldhash::fast::RandomState>,
    /// Types that are not built in, by OID.
    types: HashMap<u32, NamedType>,
    in_transaction: bool,
    /// The newest position told by `Commit` or `Idle`.
    told: Lsn,
    ignored: u64,
    /// How many descriptions of tables came, those within transactions that were put aside included.
    described: u64,
    /// Which of these each table's newest is that was decoded.
    newest: HashMap<u32, u64>,
    replayed: Option<Replayed>,
}

/// A transaction that was put aside and is decoded now.
#[derive(Debug)]
struct Replayed {
    rolled_back: Xids,
    /// Which of the descriptions those in it are that are still to come.
    relations: std::vec::IntoIter<u64>,
    /// Newer descriptions than those in it: they hold again behind it, because the server sends none a second time.
    newer: BTreeMap<u32, Relation>,
}

#[derive(Clone, Debug)]
enum Relation {
    /// Not selected.
    Ignored,
    /// Selected.
    Followed(Followed),
}

#[derive(Clone, Debug)]
struct Followed {
    schema: Arc<TableSchema>,
    /// Where the last of the key columns ends, in columns.
    key_end: usize,
}

/// A type as the stream names it; for a domain that is what it rests on.
#[derive(Debug)]
struct NamedType {
    /// Empty for `pg_catalog`.
    schema: String,
    name: String,
}

impl Decoder {
    /// For a new connection.
    pub(super) fn new(tables: Arc<Tables>) -> Self {
        Decoder {
            tables,
            relations: HashMap::default(),
            types: HashMap::default(),
            in_transaction: false,
            told: Lsn::INVALID,
            ignored: 0,
            described: 0,
            newest: HashMap::new(),
            replayed: None,
        }
    }

    /// Whether an ordinary transaction is being received.
    pub(super) fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// A description of a table was put aside with its transaction: which one it is.
    pub(super) fn described_aside(&mut self) -> u64 {
        self.described += 1;
        self.described
    }

    /// What comes from now on, until its Commit, is a transaction that was put aside.
    pub(super) fn replay(&mut self, aside: &mut Aside) {
        let (rolled_back, relations) = (take(&mut aside.rolled_back), take(&mut aside.relations).into_iter());
        self.replayed = Some(Replayed { rolled_back, relations, newer: BTreeMap::new() });
    }

    /// Changes left out so far because their table is not selected.
    pub(super) fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Reads one message, which is a part of `frame`, and adds its events.
    ///
    /// # Errors
    /// [`EventError`]; the connection is then of no more use.
    #[inline]
    pub(super) fn decode(&mut self, frame: &Bytes, message: &[u8], events: &mut Vec<Event>) -> Result<(), EventError> {
        if self.replayed.as_mut().is_some_and(|replayed| replayed.leaves_out(message)) {
            return Ok(());
        }
        let context = Context { in_stream: self.replayed.is_some(), parallel: false };
        let message = Message::decode(message, context)?;
        let name = message.name();
        match message {
            Message::Insert { relation, new, .. } => {
                if let Some(table) = self.table(relation, name)? {
                    let new = table.row(frame, new)?;
                    events.push(Event::Change { table: table.schema.id, change: Change::Insert { new } });
                }
            }
            Message::Update { relation, old, new, .. } => {
                if let Some(table) = self.table(relation, name)? {
                    let old = old.map(|old| table.old_row(frame, old, name)).transpose()?;
                    let new = table.with_key(table.row(frame, new)?, old.as_ref())?;
                    events.push(Event::Change { table: table.schema.id, change: Change::Update { old, new } });
                }
            }
            Message::Delete { relation, old, .. } => {
                if let Some(table) = self.table(relation, name)? {
                    let old = table.old_row(frame, old, name)?;
                    events.push(Event::Change { table: table.schema.id, change: Change::Delete { old } });
                }
            }
            Message::Begin { final_lsn, committed, xid } => {
                self.inside(false, name)?;
                self.in_transaction = true;
                events.push(Event::Begin { commit_lsn: final_lsn, commit_micros: committed.unix_micros(), xid });
            }
            Message::Commit { end_lsn, .. } => {
                self.inside(true, name)?;
                self.in_transaction = false;
                self.told = self.told.max(end_lsn);
                self.end_replay(events);
                events.push(Event::Commit { end_lsn });
            }
            seldom => self.seldom(&seldom, events)?,
        }
        Ok(())
    }

    /// A keepalive said that everything before this position has been sent.
    pub(super) fn keepalive(&mut self, wal_end: Lsn, events: &mut Vec<Event>) {
        if !self.in_transaction && wal_end > self.told {
            self.told = wal_end;
            events.push(Event::Idle { lsn: wal_end });
        }
    }

    fn seldom(&mut self, message: &Message<'_>, events: &mut Vec<Event>) -> Result<(), EventError> {
        match *message {
            Message::Relation { oid, namespace, name, identity, ref columns, .. } => {
                let schema = if namespace.is_empty() { "pg_catalog" } else { namespace };
                let name = TableName { schema: schema.to_owned(), name: name.to_owned() };
                self.describe(oid);
                self.relation(oid, name, identity, columns, events)
            }
            Message::Type { oid, namespace, name, .. } => {
                self.types.insert(oid, NamedType { schema: namespace.to_owned(), name: name.to_owned() });
                Ok(())
            }
            Message::Truncate { relations, .. } => {
                let mut tables = Vec::new();
                for oid in relations.oids() {
                    tables.extend(self.table(oid, message.name())?.map(|table| table.schema.id));
                }
                if !tables.is_empty() {
                    events.push(Event::Truncate { tables });
                }
                Ok(())
            }
            // Where a transaction first ran, and what pg_logical_emit_message wrote, changes no row.
            Message::Origin { .. } | Message::Message { .. } => Ok(()),
            _ => Err(EventError::Unasked { message: message.name() }),
        }
    }

    #[inline]
    fn inside(&self, wanted: bool, message: &'static str) -> Result<(), EventError> {
        if self.in_transaction == wanted {
            return Ok(());
        }
        Err(EventError::Misplaced { message, place: if wanted { "outside of" } else { "inside of" } })
    }

    /// The table a change is about; `None`, and counted, if it is not selected.
    #[inline]
    fn table(&mut self, oid: u32, message: &'static str) -> Result<Option<&Followed>, EventError> {
        self.inside(true, message)?;
        match self.relations.get(&oid) {
            Some(Relation::Followed(table)) => Ok(Some(table)),
            Some(Relation::Ignored) => {
                self.ignored += 1;
                Ok(None)
            }
            None => Err(EventError::Undescribed { oid }),
        }
    }

    /// Takes note of how new the description at hand is. One that was put aside may be older than what came of the table
    /// since, for another transaction; that one is put by until the end of this.
    fn describe(&mut self, oid: u32) {
        let told = match &mut self.replayed {
            Some(replayed) => replayed.relations.next(),
            None => None,
        };
        let told = told.unwrap_or_else(|| self.described_aside());
        let newest = self.newest.entry(oid).or_default();
        if told >= *newest {
            *newest = told;
        }
        let Some(replayed) = &mut self.replayed else { return };
        if told >= *newest {
            replayed.newer.remove(&oid);
        } else if let Some(newer) = self.relations.get(&oid) {
            replayed.newer.entry(oid).or_insert_with(|| newer.clone());
        }
    }

    /// Behind a transaction that was put aside, the newest description of each table holds.
    #[inline]
    fn end_replay(&mut self, events: &mut Vec<Event>) {
        for (oid, newer) in self.replayed.take().into_iter().flat_map(|replayed| replayed.newer) {
            let replaced = self.relations.insert(oid, newer);
            let now = self.relations.get(&oid).and_then(Relation::schema);
            if let Some(schema) = now.filter(|now| replaced.as_ref().and_then(Relation::schema) != Some(now)) {
                events.push(Event::Schema(schema.clone()));
            }
        }
    }

    fn relation(
        &mut self,
        oid: u32,
        name: TableName,
        identity: ReplicaIdentity,
        columns: &[RelationColumn<'_>],
        events: &mut Vec<Event>,
    ) -> Result<(), EventError> {
        let Some(known) = self.tables.get(oid) else {
            tracing::debug!(table = %name, "changes of a table that is not selected are left out");
            self.relations.insert(oid, Relation::Ignored);
            return Ok(());
        };
        let key = key(known, identity, columns);
        let Some(key_end) = key.iter().max().map(|last| last + 1) else {
            return Err(EventError::KeyGone { table: name });
        };
        let columns = columns.iter().map(|column| self.column(known, column)).collect();
        let (target, complete) = (known.schema.target.clone(), known.schema.complete);
        let schema = TableSchema { id: TableId(oid), name, target, columns, key, complete };
        // A Relation comes again whenever the server's own cache was dropped, mostly without a change.
        if !matches!(self.relations.get(&oid), Some(Relation::Followed(table)) if *table.schema == schema) {
            let schema = if schema == *known.schema { known.schema.clone() } else { Arc::new(schema) };
            events.push(Event::Schema(schema.clone()));
            self.relations.insert(oid, Relation::Followed(Followed { schema, key_end }));
        }
        Ok(())
    }

    fn column(&self, known: &KnownTable, column: &RelationColumn<'_>) -> Column {
        let before = known.schema.columns.iter().position(|before| before.name == column.name);
        let same_type = WireType { oid: column.type_oid, typmod: column.typmod };
        let ty = match before {
            Some(at) if known.types.get(at) == Some(&same_type) => known.schema.columns[at].ty.clone(),
            _ => self.resolve(column.type_oid, column.typmod),
        };
        let nullable = before.is_none_or(|at| known.schema.columns[at].nullable);
        Column { name: column.name.to_owned(), ty, nullable }
    }

    fn resolve(&self, oid: u32, typmod: i32) -> ColumnType {
        let named = self.types.get(&oid).map(|named| (named.schema.as_str(), named.name.as_str()));
        by_stream(oid, typmod, named)
    }
}

impl Replayed {
    /// Whether a message belongs to a subtransaction that was rolled back. Behind the tag stands its id.
    fn leaves_out(&mut self, message: &[u8]) -> bool {
        let [tag, id @ ..] = message else { return false };
        let Some(id) = id.first_chunk().filter(|_| !self.rolled_back.is_empty() && !matches!(tag, b'B' | b'C')) else {
            return false;
        };
        let left_out = self.rolled_back.contains(u32::from_be_bytes(*id));
        if left_out && *tag == b'R' {
            self.relations.next();
        }
        left_out
    }
}

impl Relation {
    fn schema(&self) -> Option<&Arc<TableSchema>> {
        match self {
            Relation::Followed(table) => Some(&table.schema),
            Relation::Ignored => None,
        }
    }
}

/// Positions of the key columns in key order. Under FULL every column is marked, so the key is the one setup chose.
fn key(known: &KnownTable, identity: ReplicaIdentity, columns: &[RelationColumn<'_>]) -> Vec<usize> {
    let known_key = known.schema.key.iter().filter_map(|at| known.schema.columns.get(*at));
    let found = known_key.filter_map(|key| columns.iter().position(|column| column.name == key.name));
    if identity == ReplicaIdentity::Full {
        return found.collect();
    }
    let mut key: Vec<usize> = found.filter(|at| columns[*at].key).collect();
    let marked = columns.iter().enumerate().filter(|(_, column)| column.key).map(|(at, _)| at);
    for at in marked {
        if !key.contains(&at) {
            key.push(at);
        }
    }
    key
}

impl Followed {
    #[inline]
    fn row(&self, frame: &Bytes, tuple: Tuple<'_>) -> Result<Row, EventError> {
        let (expected, found) = (self.schema.columns.len(), usize::from(tuple.columns()));
        if expected != found {
            return Err(EventError::Columns { table: self.schema.name.clone(), expected, found });
        }
        if tuple.has_binary() {
            return Err(EventError::Binary { table: self.schema.name.clone() });
        }
        Ok(Row::from_walked(frame.slice_ref(tuple.bytes()), tuple.has_unchanged()))
    }

    #[inline]
    fn old_row(&self, frame: &Bytes, old: OldTuple<'_>, message: &'static str) -> Result<OldRow, EventError> {
        let old = match old {
            OldTuple::Key(tuple) => OldRow::Key(self.row(frame, tuple)?),
            OldTuple::Full(tuple) => OldRow::Full(self.row(frame, tuple)?),
        };
        if self.has_key(old.row()) { Ok(old) } else { Err(self.no_key(message)) }
    }

    #[inline]
    fn has_key(&self, row: &Row) -> bool {
        let mut columns = row.columns().take(self.key_end).enumerate();
        columns.all(|(at, value)| matches!(value, Value::Text(_)) || !self.schema.is_key(at))
    }

    fn no_key(&self, message: &'static str) -> EventError {
        EventError::NoKey { message, table: self.schema.name.clone() }
    }

    /// The new row of an update. A large key value that stayed the same is not sent again but stands in the old row:
    /// only then the row is copied.
    #[inline]
    fn with_key(&self, new: Row, old: Option<&OldRow>) -> Result<Row, EventError> {
        if self.has_key(&new) {
            return Ok(new);
        }
        let old = old.ok_or_else(|| self.no_key("Update"))?.row();
        let mut built = RowBuilder::with_capacity(new.size() + old.size());
        for (at, (value, before)) in new.columns().zip(old.columns()).enumerate() {
            let fill = value == Value::Unchanged && self.schema.is_key(at);
            built.push(if fill { before } else { value });
        }
        let new = built.finish();
        if self.has_key(&new) { Ok(new) } else { Err(self.no_key("Update")) }
    }
}

#[cfg(test)]
mod tests;
