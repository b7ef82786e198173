//! Which transactions a read of the source sees.

use std::fmt;
use std::str::FromStr;

/// A snapshot by transaction ids, as PostgreSQL's `pg_snapshot` describes one (documentation, 9.27 "Transaction ID
/// and Snapshot Information Functions"). Whether a reader sees a transaction is decided by this alone: a commit is in
/// the log before readers see it, under synchronous replication for as long as the standby takes to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visibility {
    xmin: u64,
    xmax: u64,
    /// Sorted, top-level ids only.
    running: Vec<u64>,
}

/// The text is no snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a snapshot (xmin:xmax:running,…)")]
pub struct ParseVisibilityError(String);

impl Visibility {
    /// Every transaction below this one is over.
    pub fn oldest_running(&self) -> u64 {
        self.xmin
    }

    /// Whether a transaction is visible, or was rolled back. Takes the id as the log has it, without its epoch: the
    /// source never has ids in use that lie 2^31 apart or more.
    pub fn sees(&self, xid: u32) -> bool {
        let xid = self.widen(xid);
        xid < self.xmin || (xid < self.xmax && self.running.binary_search(&xid).is_err())
    }

    /// The id with its epoch: the one nearest to this snapshot's end.
    fn widen(&self, xid: u32) -> u64 {
        let distance = xid.wrapping_sub(self.xmax as u32) as i32;
        self.xmax.saturating_add_signed(distance.into())
    }
}

impl FromStr for Visibility {
    type Err = ParseVisibilityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (xmin, rest) = text.split_once(':')?;
            let (xmax, running) = rest.split_once(':')?;
            let running = running.split(',').filter(|id| !id.is_empty()).map(|id| id.parse().ok());
            let mut running: Vec<u64> = running.collect::<Option<_>>()?;
            running.sort_unstable();
            Some(Visibility { xmin: xmin.parse().ok()?, xmax: xmax.parse().ok()?, running })
        };
        read().ok_or_else(|| ParseVisibilityError(text.to_owned()))
    }
}

impl fmt::Display for Visibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        self.running.iter().enumerate().try_for_each(|(at, id)| write!(f, "{}{id}", if at == 0 { "" } else { "," }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_seen_by_its_id_alone() {
        let epoch = 3_u64 << 32;
        let around = format!("{}:{}:{}", epoch - 2, epoch + 2, epoch - 1);
        let cases = [
            ("10:20:10,14", 9, true, "below all that run"),
            ("10:20:10,14", 10, false, "runs"),
            ("10:20:10,14", 13, true, "is over"),
            ("10:20:14,10", 14, false, "runs, whatever the order"),
            ("10:20:10,14", 20, false, "not yet known"),
            ("727:727:", 727, false, "its commit waits for a standby"),
            (&around, u32::MAX, false, "runs, in the epoch before"),
            (&around, u32::MAX - 2, true, "below all that run"),
            (&around, 1, true, "over, in the epoch that begins"),
            (&around, 2, false, "not yet known"),
        ];
        for (text, xid, want, why) in cases {
            let seen: Visibility = text.parse().unwrap();
            assert_eq!(seen.sees(xid), want, "{why}");
        }
    }

    #[test]
    fn what_is_no_snapshot_is_refused_and_others_print_as_they_came() {
        for bad in ["", "1", "1:2", "a:2:", "1:2:x", "1:2:3,y"] {
            assert!(bad.parse::<Visibility>().is_err(), "{bad:?}");
        }
        for good in ["727:727:", "10:20:10,14"] {
            assert_eq!(good.parse::<Visibility>().unwrap().to_string(), good);
        }
    }
}
