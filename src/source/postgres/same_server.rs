//! Makes sure that a further connection reaches the server that setup looked at: several hosts, a failover or a moved
//! address may lead it elsewhere, where a snapshot's transactions are not the stream's.
//!
//! In: the answer to [`QUERY`]. Out: whether it is the same. Start at [`ServerId::check`].

use crate::model::{Class, Reason};

/// Asks who the server is, and in the same row how it cuts its log and how old it is: system identifier, timeline,
/// `wal_block_size`, `wal_segment_size` in bytes, `server_version_num`. A standby refuses, since it writes no log.
pub(super) const QUERY: &str = "
    SELECT (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),
           ('x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))
               ::bit(32)::integer::text,
           pg_catalog.current_setting('wal_block_size'),
           (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_segment_size'),
           pg_catalog.current_setting('server_version_num')";

/// Which server, and which of its histories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerId {
    /// `system_identifier`.
    pub(super) system: String,
    /// Timeline.
    pub(super) timeline: u32,
}

impl ServerId {
    /// # Errors
    /// If it is another.
    pub(super) fn check(&self, system: &str, timeline: u32) -> Result<(), Reason> {
        if (self.system.as_str(), self.timeline) == (system, timeline) {
            return Ok(());
        }
        let message = format!(
            "a connection reached system {system} on timeline {timeline}, which is not the server that was checked"
        );
        let remedy = "It is checked again. If several hosts are named, name only those of one cluster.";
        Err(Reason::new("SOURCE_MOVED", Class::Retry, "server", message, remedy))
    }
}
