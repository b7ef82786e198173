//! How long to wait before trying again, and when to leave the sink alone. Decisions take the time as an argument.

use std::time::{Duration, Instant};

use crate::model::Class;

/// Now, by the runtime's clock, so that a test that moves that clock moves every timer here.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);
const PERSON_FIRST: Duration = Duration::from_secs(5);
const PERSON_LONGEST: Duration = Duration::from_secs(60);

/// The pause before try number `attempt` (1 is the first retry), doubling up to a bound; `spread` in 0..1 takes off up
/// to a quarter, so that many do not come back at once. Problems that wait for a person are looked at less often.
pub(crate) fn pause(class: Class, attempt: u32, spread: f64) -> Duration {
    let (first, longest) = match class {
        Class::Retry | Class::Bug => (FIRST, LONGEST),
        Class::Wait | Class::Resync | Class::Config => (PERSON_FIRST, PERSON_LONGEST),
    };
    let doubled = first.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    doubled.min(longest).mul_f64(1.0 - 0.25 * spread.clamp(0.0, 1.0))
}

/// Stops calls to a sink that keeps failing: after 4 failures in a row they pause 1 s, doubling to 30 s, and one call
/// at a time finds out whether it is back.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    closed_until: Option<Instant>,
}

const FAILURES: u32 = 4;

impl Breaker {
    /// How long a call must wait now. Zero lets it through; while the breaker is open it also makes the calls behind
    /// it wait, so that one call probes.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        let Some(until) = self.closed_until else { return Duration::ZERO };
        let wait = until.saturating_duration_since(now);
        if wait.is_zero() {
            self.closed_until = Some(now + self.length());
        }
        wait
    }

    /// A call got an answer.
    pub(super) fn succeeded(&mut self) {
        *self = Breaker::default();
    }

    /// A call got none.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES {
            self.closed_until = Some(now + self.length());
        }
    }

    /// Whether calls pause.
    pub(super) fn is_open(&self) -> bool {
        self.closed_until.is_some()
    }

    fn length(&self) -> Duration {
        let doubled = self.failures.saturating_sub(FAILURES).min(8);
        Duration::from_secs(1 << doubled).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound() {
        let cases = [
            (Class::Retry, 1, 0.0, 200),
            (Class::Retry, 2, 0.0, 400),
            (Class::Retry, 2, 1.0, 300),
            (Class::Retry, 9, 0.0, 30_000),
            (Class::Retry, u32::MAX, 0.0, 30_000),
            (Class::Wait, 1, 0.0, 5_000),
            (Class::Resync, 30, 0.0, 60_000),
        ];
        for (class, attempt, spread, want) in cases {
            assert_eq!(pause(class, attempt, spread), Duration::from_millis(want), "{class:?} {attempt} {spread}");
        }
    }

    #[test]
    fn the_breaker_opens_probes_and_closes() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut breaker = Breaker::default();
        (0..3).for_each(|_| breaker.failed(start));
        assert_eq!((breaker.is_open(), breaker.wait(start)), (false, Duration::ZERO));
        breaker.failed(start);
        assert_eq!((breaker.is_open(), breaker.wait(start)), (true, Duration::from_secs(1)));
        assert_eq!(breaker.wait(at(1)), Duration::ZERO, "one call probes");
        assert_eq!(breaker.wait(at(1)), Duration::from_secs(1), "the next waits for its outcome");
        breaker.failed(at(1));
        assert_eq!(breaker.wait(at(1)), Duration::from_secs(2));
        (0..20).for_each(|_| breaker.failed(at(3)));
        assert_eq!(breaker.wait(at(3)), Duration::from_secs(30));
        breaker.succeeded();
        assert_eq!((breaker.is_open(), breaker.wait(at(3))), (false, Duration::ZERO));
    }
}
