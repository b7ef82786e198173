//! Whether the source has room for a copy beside its own work.

use std::time::Duration;

use crate::engine::CopyOptions;
use crate::model::{Class, Reason};
use crate::status::SlotHealth;

/// The part of what the server keeps for a slot that must be free.
const FREE_PART: u64 = 5;

/// Why nothing further should be read now; `None` if it may.
pub(super) fn strained(options: &CopyOptions, slot: Option<&SlotHealth>, lag: Option<Duration>) -> Option<Reason> {
    if let (Some(max), Some(lag)) = (options.replica_lag_max, lag)
        && lag > max
    {
        let message = format!(
            "a physical replica of the source is {} s behind, more than {} s: no further rows are copied",
            lag.as_secs(),
            max.as_secs()
        );
        return Some(reason("SNAPSHOT_REPLICA_LAG", message));
    }
    let slot = slot?;
    if let Some(max) = options.retained_wal_max
        && slot.retained_bytes > max
    {
        let (retained, max) = (slot.retained_bytes >> 20, max >> 20);
        let message =
            format!("our slot holds back {retained} MiB of WAL, more than {max} MiB: no further rows are copied");
        return Some(reason("SNAPSHOT_SLOT_WAL", message));
    }
    let safe = u64::try_from(slot.safe_bytes?).unwrap_or(0);
    // What the server keeps for a slot is what it holds back already and what is still safe.
    let kept = safe.saturating_add(slot.retained_bytes);
    (options.retained_wal_max.is_none() && safe < kept / FREE_PART).then(|| {
        let message = format!(
            "{} MiB of WAL are left before our slot is in danger, less than a fifth of what the server keeps: no \
             further rows are copied",
            safe >> 20
        );
        reason("SNAPSHOT_SLOT_WAL", message)
    })
}

fn reason(code: &'static str, message: String) -> Reason {
    Reason::new(code, Class::Retry, "snapshot", message, "It goes on by itself. Changes are replicated meanwhile.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::CopyMode;

    #[test]
    fn a_copy_waits_while_the_source_is_short_of_something() {
        let options = |lag: Option<u64>, wal: Option<u64>| CopyOptions {
            mode: CopyMode::Initial,
            parallelism: 1,
            chunk_bytes: 1,
            chunk_time_max: Duration::ZERO,
            replica_lag_max: lag.map(Duration::from_secs),
            retained_wal_max: wal,
            versions: true,
        };
        let slot = |retained_bytes, safe_bytes| SlotHealth { retained_bytes, safe_bytes, ..SlotHealth::default() };
        let mib = |n: i64| n << 20;
        let cases = [
            (options(None, None), None, Some(999), None, "no bounds"),
            (options(Some(10), None), None, Some(10), None, "a replica at its bound"),
            (options(Some(10), None), None, Some(11), Some("SNAPSHOT_REPLICA_LAG"), "behind it"),
            (options(Some(10), None), None, None, None, "no replica"),
            (options(None, None), Some(slot(1 << 40, None)), None, None, "a server that keeps everything"),
            (options(None, None), Some(slot(80 << 20, Some(mib(20)))), None, None, "a fifth is free"),
            (options(None, None), Some(slot(81 << 20, Some(mib(19)))), None, Some("SNAPSHOT_SLOT_WAL"), "less is"),
            (options(None, None), Some(slot(99, Some(-5))), None, Some("SNAPSHOT_SLOT_WAL"), "in danger already"),
            (options(None, Some(100)), Some(slot(100, Some(1))), None, None, "a bound of one's own"),
            (options(None, Some(100)), Some(slot(101, None)), None, Some("SNAPSHOT_SLOT_WAL"), "and above it"),
        ];
        for (options, slot, lag, want, why) in cases {
            let found = strained(&options, slot.as_ref(), lag.map(Duration::from_secs));
            assert_eq!(found.map(|reason| reason.code), want, "{why}");
        }
    }
}
