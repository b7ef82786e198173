//! Positions between records of the log.
//!
//! In: a position as the server tells it, which may be where the next record's bytes would start. Out: the position
//! at which the stream says that the record before ended. Start at [`WalLayout::end_of_last`].

use tokio_postgres::Client;

use super::sqlstate::query_reason;
use crate::model::{Lsn, Reason};

/// Header of a page of the log (`SizeOfXLogShortPHD` of PostgreSQL's xlog_internal.h).
const PAGE_HEADER: u64 = 24;

/// Header of the first page of a segment (`SizeOfXLogLongPHD`).
const SEGMENT_HEADER: u64 = 40;

/// How a server's log is cut, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WalLayout {
    /// `wal_block_size`.
    pub(super) page: u64,
    /// `wal_segment_size`.
    pub(super) segment: u64,
}

impl WalLayout {
    /// Asks the server.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub(super) async fn of(client: &Client) -> Result<WalLayout, Reason> {
        let statement = "SELECT pg_catalog.current_setting('wal_block_size')::int8, setting::int8
                         FROM pg_catalog.pg_settings WHERE name = 'wal_segment_size'";
        let row = client.query_one(statement, &[]).await;
        let row = row.map_err(|error| query_reason(&error, "asking how the log is cut"))?;
        Ok(WalLayout { page: row.get::<_, i64>(0) as u64, segment: row.get::<_, i64>(1) as u64 })
    }

    /// Where the last record before `insert` ended. A record that fills its page ends at the page's end, and the next
    /// starts behind the next page's header: nothing is between, but the numbers differ.
    pub(super) fn end_of_last(self, insert: Lsn) -> Lsn {
        let Lsn(at) = insert;
        if self.segment > 0 && at % self.segment == SEGMENT_HEADER {
            Lsn(at - SEGMENT_HEADER)
        } else if self.page > 0 && at % self.page == PAGE_HEADER && at % self.segment.max(1) > self.page {
            Lsn(at - PAGE_HEADER)
        } else {
            insert
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_a_header_means_before_it() {
        let layout = WalLayout { page: 8192, segment: 1 << 24 };
        let cases = [
            (0x100_0028, 0x100_0000, "a segment's first page"),
            (0x100_0018, 0x100_0018, "within its header: no such position"),
            (0x100_2018, 0x100_2000, "another page"),
            (0x100_2028, 0x100_2028, "a record there"),
            (0x100_2000, 0x100_2000, "a page's start"),
            (0x100_1234, 0x100_1234, "within a page"),
            (0x2_0000_0028, 0x2_0000_0000, "beyond four gigabytes"),
            (0x2018, 0x2000, "in the first segment"),
            (0x2030, 0x2030, "a record in its second page"),
            (0x2000, 0x2000, "that page's start"),
        ];
        for (at, want, case) in cases {
            assert_eq!(layout.end_of_last(Lsn(at)), Lsn(want), "{case}");
        }
    }
}
