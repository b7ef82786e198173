//! PostgreSQL as a source, by logical replication with pgoutput.

use std::time::Duration;

#[cfg(feature = "bench")]
pub mod bench;
mod blocker;
mod by_key;
mod catalog;
mod checkpoints;
mod chunk_connection;
mod chunk_reader;
mod chunk_sql;
mod client;
mod conninfo;
mod contents;
mod copies;
mod copy_out;
mod copy_rows;
mod core;
mod database;
mod decode;
mod ending;
mod equality;
mod fetch;
mod framing;
mod gulp;
mod in_progress;
mod locked;
mod login;
mod low_water;
mod pace;
mod pattern;
mod preflight;
mod publication;
mod quote;
mod reader;
mod relay;
mod replay;
mod replication;
mod resume;
mod same_server;
mod selection;
mod setup;
mod slot;
mod spool;
mod sqlstate;
mod standby;
mod streaming;
mod survey;
mod tables;
mod tls;
mod transport;
mod types;
mod wal_position;
mod watcher;
mod wire;
mod xids;

#[cfg(test)]
mod live_by_key_tests;
#[cfg(test)]
mod live_copy_tests;
#[cfg(test)]
mod live_tests;

use tables::{Identity, KnownTable, Tables, WireType};

pub use checkpoints::PgCheckpoints;
pub use chunk_connection::PgChunkConnection;
pub use chunk_reader::PgChunks;
pub use conninfo::{ChannelBinding, ConnectOptions, Host, SslMode};
pub use contents::Contents;
pub use copies::PgCopies;
pub use database::Postgres;
pub use pattern::{PatternError, TablePattern};
pub use streaming::SpoolOptions;
pub use types::type_names;

/// What the source needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// How to reach the server.
    pub connect: ConnectOptions,
    /// Name of the pipeline; part of `application_name` and key of the checkpoint.
    pub pipeline: String,
    /// Slot name, at most 63 bytes of `a-z0-9_`.
    pub slot: String,
    /// Publication name.
    pub publication: String,
    /// Which tables.
    pub tables: Vec<TablePattern>,
    /// What to do about tables' replica identity.
    pub replica_identity: ReplicaIdentity,
    /// Schema of our own tables.
    pub checkpoint_schema: String,
    /// Whether rows that exist already are copied.
    pub copying: bool,
    /// How long slot creation may wait for running transactions.
    pub slot_create_timeout: Duration,
    /// Where large transactions are kept until they commit, if the server is to send them before.
    pub spool: Option<SpoolOptions>,
}

/// What setup does about replica identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaIdentity {
    /// Leave them alone; tables without a usable one are refused.
    Auto,
    /// Set FULL on every table.
    Full,
}
