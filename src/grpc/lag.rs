//! How far the target is behind, in bytes and in seconds.
//!
//! In: snapshots, one every second for [`Settled`]. Out: [`Lag`]. Always: zero when everything the server has sent is
//! durable and nothing more comes; it grows while reading is paused or the stream is down; never negative.
//!
//! The seconds answer "how old is what the target shows". The target shows everything committed up to the later of
//! two moments: the commit time of the newest durable transaction (by the source's clock), and the last moment at which
//! nothing was left to do (by ours). The second keeps the first change after a quiet night from counting as a night's
//! lag. Before either is known the age of the process stands in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::model::Lsn;
use crate::status::Snapshot;

/// How far behind, up to the server's end as it last told us.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Lag {
    /// Bytes of log between what was received and the server's end.
    pub(super) received_bytes: u64,
    /// Bytes of log between what is durable in the target and the server's end.
    pub(super) durable_bytes: u64,
    /// Bytes of log between what the server was told and the server's end.
    pub(super) confirmed_bytes: u64,
    /// Age of what the target shows, in seconds.
    pub(super) seconds: f64,
}

impl Lag {
    /// The lag that a snapshot shows.
    pub(super) fn of(snapshot: &Snapshot, settled: &Settled) -> Lag {
        let slot = snapshot.slot_health.as_ref().map_or(Lsn::INVALID, |slot| slot.confirmed_lsn);
        // Right after the start nothing is durable by our doing yet; the older positions say where we resume.
        let confirmed = known([snapshot.confirmed_lsn, slot, snapshot.checkpoint_lsn]);
        let durable = known([snapshot.durable_lsn, snapshot.checkpoint_lsn, confirmed]);
        let received = known([snapshot.received_lsn, durable]);
        let behind = |lsn: Lsn| if lsn == Lsn::INVALID { 0 } else { snapshot.server_lsn.bytes_since(lsn) };
        Lag {
            received_bytes: behind(received),
            durable_bytes: behind(durable),
            confirmed_bytes: behind(confirmed),
            seconds: settled.age(snapshot).as_secs_f64(),
        }
    }
}

fn known<const N: usize>(positions: [Lsn; N]) -> Lsn {
    positions.into_iter().find(|lsn| *lsn != Lsn::INVALID).unwrap_or(Lsn::INVALID)
}

/// Remembers when nothing was last left to do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settled {
    transactions: u64,
    rows: u64,
    at: Option<SystemTime>,
}

impl Settled {
    /// Takes note of a snapshot; to be called once a second.
    pub(super) fn observe(&mut self, snapshot: &Snapshot) {
        self.at = if self.holds(snapshot) { Some(snapshot.taken_at) } else { self.upheld(snapshot) };
        self.transactions = snapshot.transactions_received;
        self.rows = snapshot.rows_received;
    }

    /// Whether nothing is left to do: everything received is durable, and nothing came since the last look. Without
    /// the latter, a stream that catches up old transactions as fast as they come would look settled between two.
    fn holds(&self, snapshot: &Snapshot) -> bool {
        snapshot.source_connected
            && !snapshot.paused
            && snapshot.received_lsn != Lsn::INVALID
            && snapshot.durable_lsn >= snapshot.received_lsn
            && snapshot.pending_rows == 0
            && snapshot.transactions_received == self.transactions
            && snapshot.rows_received == self.rows
    }

    /// The settled moment as far as it still holds. A transaction that came after it and was committed before it shows
    /// that something was left to do after all: a stream just taken up again is silent until the first of many comes.
    fn upheld(&self, snapshot: &Snapshot) -> Option<SystemTime> {
        let newest = commit_time(snapshot.received_commit_micros);
        match (self.at, newest) {
            (Some(at), Some(newest)) if snapshot.transactions_received != self.transactions => Some(at.min(newest)),
            (at, _) => at,
        }
    }

    fn age(&self, snapshot: &Snapshot) -> Duration {
        if self.holds(snapshot) {
            return Duration::ZERO;
        }
        let shows = commit_time(snapshot.durable_commit_micros).max(self.upheld(snapshot));
        // A source whose clock runs ahead of ours would give a negative age.
        snapshot.taken_at.duration_since(shows.unwrap_or(snapshot.started_at)).unwrap_or_default()
    }
}

fn commit_time(micros: u64) -> Option<SystemTime> {
    (micros > 0).then(|| UNIX_EPOCH + Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::board::tests::quiet;

    const START: u64 = 1_700_000_000;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(START + seconds)
    }

    /// A caught-up snapshot taken so many seconds after the start.
    fn caught_up(seconds: u64) -> Snapshot {
        Snapshot {
            taken_at: at(seconds),
            started_at: at(0),
            source_connected: true,
            received_lsn: Lsn(1000),
            durable_lsn: Lsn(1000),
            server_lsn: Lsn(1000),
            ..quiet()
        }
    }

    fn commit(seconds: u64) -> u64 {
        (START + seconds) * 1_000_000
    }

    #[test]
    fn seconds_are_the_age_of_what_the_target_shows() {
        // name, snapshots observed one after the other (the last is asked), seconds
        let cases: Vec<(&str, Vec<Snapshot>, f64)> = vec![
            ("quiet", vec![caught_up(1), caught_up(2)], 0.0),
            (
                "nothing received yet since the start",
                vec![Snapshot { received_lsn: Lsn(0), durable_lsn: Lsn(0), ..caught_up(7) }],
                7.0,
            ),
            (
                "a change after a quiet night counts from when it could have come",
                vec![caught_up(1), caught_up(50_000), Snapshot { pending_rows: 1, ..caught_up(50_001) }],
                1.0,
            ),
            (
                "steady traffic: since the newest durable commit",
                vec![
                    Snapshot { transactions_received: 5, durable_commit_micros: commit(9), ..caught_up(10) },
                    Snapshot { transactions_received: 9, durable_commit_micros: commit(10), ..caught_up(12) },
                ],
                2.0,
            ),
            (
                "catching up an old backlog is not settled between two transactions",
                vec![
                    Snapshot { transactions_received: 5, durable_commit_micros: commit(0), ..caught_up(3600) },
                    Snapshot { transactions_received: 6, durable_commit_micros: commit(1), ..caught_up(3601) },
                ],
                3600.0,
            ),
            (
                "a stream taken up again after an hour is silent before it tells how much it missed",
                vec![
                    caught_up(3599),
                    caught_up(3600),
                    Snapshot {
                        transactions_received: 1,
                        received_commit_micros: commit(2),
                        durable_commit_micros: commit(1),
                        ..caught_up(3601)
                    },
                    Snapshot {
                        transactions_received: 9,
                        received_commit_micros: commit(8),
                        durable_commit_micros: commit(7),
                        ..caught_up(3602)
                    },
                ],
                3595.0,
            ),
            ("paused", vec![caught_up(5), Snapshot { paused: true, ..caught_up(65) }], 60.0),
            ("stream down", vec![caught_up(5), Snapshot { source_connected: false, ..caught_up(35) }], 30.0),
            (
                "the source's clock runs ahead",
                vec![Snapshot { pending_rows: 1, durable_commit_micros: commit(900), ..caught_up(10) }],
                0.0,
            ),
        ];
        for (name, mut seen, want) in cases {
            let last = seen.pop().expect("each case ends with the snapshot to ask");
            let mut settled = Settled::default();
            seen.iter().for_each(|snapshot| settled.observe(snapshot));
            assert_eq!(Lag::of(&last, &settled).seconds, want, "{name}");
        }
    }

    #[test]
    fn bytes_reach_to_the_servers_end() {
        let server = Snapshot { server_lsn: Lsn(5000), received_lsn: Lsn(0), durable_lsn: Lsn(0), ..caught_up(1) };
        // name, received, durable, checkpoint, confirmed, want (received, durable, confirmed)
        let cases = [
            ("nothing known", 0, 0, 0, 0, (0, 0, 0)),
            ("all known", 4000, 3000, 2500, 2000, (1000, 2000, 3000)),
            ("just started: the checkpoint stands in", 0, 0, 2500, 0, (2500, 2500, 2500)),
            ("past the end as last told", 6000, 6000, 6000, 6000, (0, 0, 0)),
        ];
        for (name, received, durable, checkpoint, confirmed, want) in cases {
            let snapshot = Snapshot {
                received_lsn: Lsn(received),
                durable_lsn: Lsn(durable),
                checkpoint_lsn: Lsn(checkpoint),
                confirmed_lsn: Lsn(confirmed),
                ..server.clone()
            };
            let lag = Lag::of(&snapshot, &Settled::default());
            assert_eq!((lag.received_bytes, lag.durable_bytes, lag.confirmed_bytes), want, "{name}");
        }
    }
}
