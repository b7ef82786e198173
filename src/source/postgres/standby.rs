//! What the server is told about our progress, and when.
//!
//! In: what was received, what may be confirmed, what the server asked for. Out: when the next standby status update
//! is due and its bytes. Always: nothing is confirmed that was not given to [`Feedback::confirm`], apart from the
//! position the stream started at; updates are never closer than [`GAP`], so that a server that asks without end gets
//! no endless stream of answers. Not here: the connection and the clock. Start at [`Feedback::due`].

use std::time::Duration;

use tokio::time::Instant;

use crate::model::Lsn;
use crate::pgoutput::Timestamp;

/// Least time between two updates.
const GAP: Duration = Duration::from_millis(100);

/// Longest time between two updates.
const PERIOD_MAX: Duration = Duration::from_secs(10);

/// PostgreSQL's default for `wal_sender_timeout`, taken where it is switched off.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// Shortest silence of the server that counts as a broken connection.
const SILENCE_MIN: Duration = Duration::from_secs(30);

/// How often the server may ask for an answer within [`FLOOD_TIME`] while it sends no change and nothing new is
/// confirmed. A server that shuts down asks again after each answer, ten times a second at our [`GAP`]; at any other
/// time it asks once in half of `wal_sender_timeout`.
const FLOOD: u32 = 20;

/// See [`FLOOD`].
const FLOOD_TIME: Duration = Duration::from_secs(3);

/// The times that follow from the server's `wal_sender_timeout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timings {
    /// Time between two updates if nothing else calls for one.
    pub(super) period: Duration,
    /// Silence of the server after which the connection counts as broken.
    pub(super) silence: Duration,
}

impl Timings {
    /// `None` stands for 0, which switches the server's timeout off.
    pub(super) fn from_wal_sender_timeout(timeout: Option<Duration>) -> Self {
        let timeout = timeout.filter(|timeout| !timeout.is_zero());
        let period = timeout.map_or(PERIOD_MAX, |timeout| (timeout / 3).min(PERIOD_MAX));
        Timings { period, silence: (timeout.unwrap_or(TIMEOUT_DEFAULT) * 2).max(SILENCE_MIN) }
    }
}

/// A standby status update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Update {
    /// The newest position received.
    pub(super) received: Lsn,
    /// Everything before it is durable and may be forgotten by the server.
    pub(super) confirmed: Lsn,
    /// Whether the server is to answer.
    pub(super) reply: bool,
}

impl Update {
    /// The CopyData message (PostgreSQL 18 documentation, 54.4 "Streaming Replication Protocol").
    pub(super) fn encode(self, now: Timestamp, into: &mut Vec<u8>) {
        into.extend_from_slice(b"d\0\0\0\x26r");
        for position in [self.received, self.confirmed, self.confirmed] {
            into.extend_from_slice(&position.0.to_be_bytes());
        }
        into.extend_from_slice(&now.0.to_be_bytes());
        into.push(self.reply.into());
    }
}

/// Keeps track of what the server knows and wants.
#[derive(Debug)]
pub(super) struct Feedback {
    timings: Timings,
    received: Lsn,
    confirmed: Lsn,
    /// What the last update confirmed.
    told: Lsn,
    /// When the last update was made; `None` before the first.
    told_at: Option<Instant>,
    /// The server wants an answer.
    asked: bool,
    /// When something last came.
    heard_at: Instant,
    /// Since when we listen; silence before that is our own doing.
    listening_since: Instant,
    asked_since: Instant,
    asked_times: u32,
}

impl Feedback {
    /// For a stream that starts at `start`: our own checkpoint or the slot's own position, and so durable.
    pub(super) fn new(timings: Timings, start: Lsn, now: Instant) -> Self {
        Feedback {
            timings,
            received: start,
            confirmed: start,
            told: start,
            told_at: None,
            asked: false,
            heard_at: now,
            listening_since: now,
            asked_since: now,
            asked_times: 0,
        }
    }

    /// Everything before this position may be confirmed. Never goes back.
    pub(super) fn confirm(&mut self, lsn: Lsn) {
        if lsn > self.confirmed {
            self.confirmed = lsn;
            self.asked_times = 0;
        }
    }

    /// Something came: what it reaches in the WAL, and whether it was a change.
    pub(super) fn received(&mut self, lsn: Lsn, change: bool) {
        self.received = self.received.max(lsn);
        if change {
            self.asked_times = 0;
        }
    }

    /// The server wants an answer. True if it asks so often that it must be shutting down.
    pub(super) fn asked(&mut self, now: Instant) -> bool {
        self.asked = true;
        if self.asked_times == 0 || now - self.asked_since > FLOOD_TIME {
            (self.asked_since, self.asked_times) = (now, 0);
        }
        self.asked_times += 1;
        self.asked_times > FLOOD
    }

    /// Bytes came.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
    }

    /// We begin to listen again after a time in which we did not.
    pub(super) fn listening(&mut self, now: Instant) {
        self.listening_since = now;
    }

    /// When the silence of a server we listen to has lasted too long.
    pub(super) fn silent_at(&self) -> Instant {
        self.heard_at.max(self.listening_since) + self.timings.silence
    }

    /// How long that is.
    pub(super) fn silence(&self) -> Duration {
        self.timings.silence
    }

    /// When the next update is due.
    pub(super) fn due(&self, now: Instant) -> Instant {
        let Some(told_at) = self.told_at else { return now };
        let soon = self.asked || self.confirmed > self.told;
        told_at + if soon { GAP.min(self.timings.period) } else { self.timings.period }
    }

    /// The update to send now. It asks for an answer if nothing came since the last one: a server that hears from us
    /// in time has no reason of its own to say anything.
    pub(super) fn update(&mut self, now: Instant) -> Update {
        let reply = self.told_at.is_some_and(|told_at| self.heard_at <= told_at);
        self.told = self.confirmed;
        self.told_at = Some(now);
        self.asked = false;
        Update { received: self.received.max(self.confirmed), confirmed: self.confirmed, reply }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgoutput::Reader;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn times_follow_from_the_servers_timeout() {
        let cases = [
            // timeout in ms   period   silence
            (None, 10_000, 120_000),
            (Some(0), 10_000, 120_000),
            (Some(60_000), 10_000, 120_000),
            (Some(6_000), 2_000, 30_000),
            (Some(150), 50, 30_000),
            (Some(3_600_000), 10_000, 7_200_000),
        ];
        for (timeout, period, silence) in cases {
            let want = Timings { period: MS * period, silence: MS * silence };
            assert_eq!(Timings::from_wal_sender_timeout(timeout.map(|ms| MS * ms)), want, "{timeout:?}");
        }
    }

    #[test]
    fn an_update_is_laid_out_as_specified() {
        let mut bytes = Vec::new();
        let update = Update { received: Lsn(0x0102), confirmed: Lsn(0x0101), reply: true };
        update.encode(Timestamp(9), &mut bytes);
        let mut reader = Reader::behind_tag("standby status update", &bytes[5..]);
        assert_eq!((bytes[0], bytes[5]), (b'd', b'r'));
        assert_eq!(u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize, bytes.len() - 1);
        let positions = ["write", "flush", "apply"].map(|field| reader.lsn(field).unwrap());
        assert_eq!(positions, [Lsn(0x0102), Lsn(0x0101), Lsn(0x0101)]);
        assert_eq!(reader.timestamp("time"), Ok(Timestamp(9)));
        assert_eq!((reader.u8("reply"), reader.end()), (Ok(1), Ok(())));
    }

    #[test]
    fn updates_are_due_by_period_by_progress_and_by_request_but_never_too_close() {
        let start = Instant::now();
        let at = |ms: u32| start + MS * ms;
        let mut feedback = Feedback::new(Timings::from_wal_sender_timeout(Some(MS * 6_000)), Lsn(50), start);
        assert_eq!(feedback.due(at(0)), at(0), "the first at once");
        assert_eq!(feedback.update(at(0)), Update { received: Lsn(50), confirmed: Lsn(50), reply: false });
        assert_eq!(feedback.due(at(1)), at(2_000), "by period");
        feedback.heard(at(3));
        feedback.received(Lsn(80), true);
        assert_eq!(feedback.due(at(4)), at(2_000), "what was only received can wait");
        feedback.confirm(Lsn(70));
        assert_eq!(feedback.due(at(4)), at(100), "by progress");
        assert_eq!(feedback.update(at(500)), Update { received: Lsn(80), confirmed: Lsn(70), reply: false });
        feedback.confirm(Lsn(60));
        assert_eq!(feedback.due(at(501)), at(2_500), "never back");
        feedback.asked(at(501));
        assert_eq!(feedback.due(at(501)), at(600), "by request");
        assert_eq!(feedback.update(at(600)).confirmed, Lsn(70));
        assert!(feedback.update(at(2_600)).reply, "nothing came since the last update");
        feedback.confirm(Lsn(90));
        let idle = feedback.update(at(2_700));
        assert_eq!((idle.received, idle.confirmed), (Lsn(90), Lsn(90)));
    }

    #[test]
    fn a_server_that_asks_without_end_is_shutting_down() {
        let start = Instant::now();
        let flood = |ms: u32, times: u32, between: &dyn Fn(&mut Feedback, u32)| {
            let mut feedback = Feedback::new(Timings::from_wal_sender_timeout(None), Lsn(1), start);
            (0..times).any(|time| {
                between(&mut feedback, time);
                feedback.asked(start + MS * ms * time)
            })
        };
        assert!(flood(0, 21, &|_, _| ()), "at once");
        assert!(flood(100, 21, &|_, _| ()), "after each of our answers");
        assert!(!flood(0, 20, &|_, _| ()), "not often enough");
        assert!(!flood(200, 1_000, &|_, _| ()), "not densely enough");
        assert!(!flood(0, 1_000, &|feedback, time| feedback.confirm(Lsn(u64::from(time) + 2))), "progress");
        assert!(!flood(0, 1_000, &|feedback, _| feedback.received(Lsn(1), true)), "changes come");
    }
}
