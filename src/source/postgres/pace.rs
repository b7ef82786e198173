//! When to hold off reading.
//!
//! The walsender sends after each change. On one machine its `send` also does the receiver's half of TCP, wake-up
//! included, so a reader that takes every change at once more than doubles what a change costs the server. While much
//! flows we therefore read in turns: drain until little comes, then [hold](HOLD_MAX) off for a moment. With a bounded
//! receive buffer the window closes during the hold, `send` only appends to the server's own buffer, and the next
//! drain takes it all in large segments. While little flows the first byte wakes the reader.
//!
//! How we know (PostgreSQL 15, 1,000,000 narrow inserts, server and reader on a core each, paired runs; thousand rows/s
//! and CPU seconds of the walsender): over loopback `pg_recvlogical -f /dev/null` 174 to 190 (4.2 to 5.1), held off
//! 367 to 497 (2.0 to 2.4); over veth, as between containers, 143 to 159 and 327, with [`BUFFER_FAR`] only 185. A
//! low-water mark alone leaves it to luck: it wakes the reader as soon as the window could close. A hold must last until
//! the window has closed, even at the slow rate at which the server sends before: with 5 ms at most, single-row
//! transactions stayed at 12.8 s of walsender per million rows, with 20 ms it is 6.3 (`scripts/bench.sh`, workload b).
//!
//! Always: a hold ends whether or not anything came, so the tail of a burst waits at most [`HOLD_MAX`], and of a short
//! burst a few milliseconds. Not here: the socket (`low_water`) and the clock. Start at [`Pace::read`].

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// The receive buffer where the server is [near] (the kernel doubles it). A smaller window closes sooner, but where the
/// machine is busy and we come late, the server waits for us longer.
pub(super) const BUFFER: usize = 128 * 1024;

/// The same elsewhere: what is under way during a round trip must fit too.
pub(super) const BUFFER_FAR: usize = 1024 * 1024;

/// A read of fewer bytes ends a drain, and so many since the last hold are worth a hold.
const SMALL: usize = 16 * 1024;

/// Longest hold: what the tail of a long burst may wait.
const HOLD_MAX: Duration = Duration::from_millis(20);

/// The first hold after a quiet moment; each may be twice as long as the one before.
const HOLD_FIRST: Duration = Duration::from_millis(5);

/// Shortest hold; timers are no finer.
const HOLD_MIN: Duration = Duration::from_millis(1);

/// Bytes a drain should bring. A faster stream is held off for a shorter time, so that the buffers never fill up and
/// stop the server.
const DRAIN: usize = 512 * 1024;

/// Bytes that came within this time are counted together.
const RECENT: Duration = Duration::from_millis(20);

/// Whether a round trip between two addresses must be short: the same machine, or the same small network, as that of
/// containers side by side.
pub(super) fn near(ours: IpAddr, theirs: IpAddr) -> bool {
    match (ours.to_canonical(), theirs.to_canonical()) {
        (ours, theirs) if ours == theirs || theirs.is_loopback() => true,
        (IpAddr::V4(ours), IpAddr::V4(theirs)) => ours.octets()[..3] == theirs.octets()[..3],
        (IpAddr::V6(ours), IpAddr::V6(theirs)) => ours.segments()[..4] == theirs.segments()[..4],
        _ => false,
    }
}

/// Decides on holds from what the reads bring.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes read since the last hold, or since `counted_from`.
    drained: usize,
    counted_from: Instant,
    hold: Duration,
    /// How long the next hold may be.
    longest: Duration,
    held_until: Option<Instant>,
}

impl Pace {
    /// Begins without a hold.
    pub(super) fn new(now: Instant) -> Self {
        Pace { drained: 0, counted_from: now, hold: HOLD_FIRST, longest: HOLD_FIRST, held_until: None }
    }

    /// Bytes were read. True if reading is to be held off from now on, until [`Pace::held_until`].
    pub(super) fn read(&mut self, bytes: usize, now: Instant) -> bool {
        if now - self.counted_from > RECENT && bytes < SMALL {
            (self.drained, self.counted_from) = (0, now);
            self.longest = HOLD_FIRST;
        }
        self.drained += bytes;
        if bytes >= SMALL || self.drained < SMALL {
            return false;
        }
        let wanted = self.hold.as_secs_f64() * DRAIN as f64 / self.drained as f64;
        self.hold = Duration::from_secs_f64(wanted.min(1.0)).clamp(HOLD_MIN, self.longest);
        self.longest = (self.longest * 2).min(HOLD_MAX);
        self.held_until = Some(now + self.hold);
        (self.drained, self.counted_from) = (0, now + self.hold);
        true
    }

    /// When the hold ends, if there is one.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.held_until
    }

    /// Ends the hold.
    pub(super) fn release(&mut self) {
        self.held_until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    #[test]
    fn what_is_near_is_told_by_addresses() {
        let cases = [
            ("127.0.0.1", "127.0.0.1", true),
            ("::1", "::1", true),
            ("::ffff:127.0.0.1", "::ffff:127.0.0.1", true),
            ("10.0.0.5", "10.0.0.5", true),
            ("172.18.0.3", "172.18.0.2", true),
            ("172.18.0.3", "172.18.1.2", false),
            ("fd00::3", "fd00::2", true),
            ("fd00:0:0:1::3", "fd00::2", false),
            ("10.0.0.5", "203.0.113.9", false),
        ];
        for (ours, theirs, want) in cases {
            assert_eq!(near(ours.parse().unwrap(), theirs.parse().unwrap()), want, "{ours} {theirs}");
        }
    }

    /// Reads of (microseconds since the one before, bytes), and for how many microseconds each makes us hold off.
    fn holds(reads: &[(u64, usize)]) -> Vec<u128> {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        let mut hold = |(after, bytes): &(u64, usize)| {
            now += Duration::from_micros(*after);
            let held = pace.read(*bytes, now);
            let until = pace.held_until();
            assert_eq!(held, until.is_some());
            pace.release();
            until.map_or(0, |until| {
                let hold = until - now;
                now = until;
                hold.as_micros()
            })
        };
        reads.iter().map(&mut hold).collect()
    }

    #[test]
    fn holds_follow_what_the_reads_bring() {
        type Case<'a> = (&'a str, &'a [(u64, usize)], &'a [u128]);
        let cases: &[Case<'_>] = &[
            ("a lone large transaction is drained", &[(0, 400 * KIB), (9, 300 * KIB)], &[0, 0]),
            ("then the rest is waited for", &[(0, 400 * KIB), (9, KIB)], &[0, 5000]),
            ("small ones far apart are never held", &[(30_000, 15 * KIB); 3], &[0, 0, 0]),
            ("small ones in a row are", &[(10, 6 * KIB); 6], &[0, 0, 5000, 0, 0, 10_000]),
            (
                "longer while it goes on",
                &[(10, 16 * KIB), (10, 1), (10, 16 * KIB), (10, 1), (10, 16 * KIB), (10, 1), (10, 16 * KIB), (10, 1)],
                &[0, 5000, 0, 10_000, 0, 20_000, 0, 20_000],
            ),
            (
                "from the start after a quiet moment",
                &[(0, 16 * KIB), (9, 1), (9, 16 * KIB), (9, 1), (30_000, 1), (9, 16 * KIB), (9, 1)],
                &[0, 5000, 0, 10_000, 0, 0, 5000],
            ),
            ("a fast stream is held shorter", &[(0, 1024 * KIB), (9, 1)], &[0, 2499]),
            ("and shorter, down to a bound", &[(0, 2048 * KIB), (9, 1), (9, 2048 * KIB), (9, 1)], &[0, 1249, 0, 1000]),
            (
                "a slower one longer again",
                &[(0, 1024 * KIB), (9, 1), (9, 300 * KIB), (9, 1), (9, 100 * KIB), (9, 1)],
                &[0, 2499, 0, 4266, 0, 20_000],
            ),
        ];
        for (name, reads, want) in cases {
            assert_eq!(holds(reads), *want, "{name}");
        }
    }
}
