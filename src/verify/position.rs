//! Waits until the pipeline has passed a position.
//!
//! In: what the running pipeline and the source's checkpoint say. Out: whether that is enough. Always: without a word
//! from the pipeline only what is stored counts. Start at [`Verifier::passes`]; [`Judge`] decides, without a clock.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Progress, Sidecar, Step, Stop, Verifier};
use crate::model::{Class, Lsn, Reason};
use crate::sink;
use crate::source::{self, Standing};

/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What a blocked table keeps back cannot be waited for. The other tables are loaded within this time of being
/// received, most likely: a difference is looked at twice.
const BLOCKED_SETTLE: Duration = Duration::from_secs(3);

/// Decides whether a position is passed.
#[derive(Clone, Copy, Debug)]
struct Judge {
    want: Lsn,
    settle: Duration,
    /// What was stored when it last moved, and since when everything wanted was received and nothing moved.
    stored: Option<Lsn>,
    still_since: Option<Instant>,
}

impl Judge {
    fn new(want: Lsn, settle: Duration) -> Self {
        Judge { want, settle, stored: None, still_since: None }
    }

    fn still(&mut self, received: bool, long: Duration, now: Instant) -> bool {
        if !received {
            self.still_since = None;
            return false;
        }
        now.duration_since(*self.still_since.get_or_insert(now)) >= long
    }

    fn by_pipeline(&mut self, progress: &Progress, now: Instant) -> bool {
        let held = !progress.blocked.is_empty() && progress.received >= self.want;
        progress.durable >= self.want || self.still(held, BLOCKED_SETTLE, now)
    }

    /// A position without rows is seldom stored, so that the stored one may stay behind for ever. What was received and
    /// holds rows is stored soon after they are durable.
    fn by_source(&mut self, standing: &Standing, now: Instant) -> bool {
        if standing.stored != self.stored {
            (self.stored, self.still_since) = (standing.stored, None);
        }
        let received = standing.received.is_some_and(|received| received >= self.want);
        standing.stored.is_some_and(|stored| stored >= self.want) || self.still(received, self.settle, now)
    }
}

impl<S: source::Reader, T: sink::Reader, C: Sidecar> Verifier<'_, S, T, C> {
    /// Waits until everything before a position is in the target.
    pub(super) async fn passes(&self, want: Lsn) -> Result<(), Stop> {
        let start = Instant::now();
        let mut judge = Judge::new(want, self.options.settle);
        loop {
            let (passed, at, why) = match self.sidecar.ask().await {
                Some(progress) => (judge.by_pipeline(&progress, Instant::now()), Some(progress.durable), Why::Slow),
                None => {
                    let standing = self.source.standing().await.map_err(Stop::All)?;
                    (judge.by_source(&standing, Instant::now()), standing.stored, Why::of(&standing))
                }
            };
            if passed {
                return Ok(());
            }
            if start.elapsed() >= self.options.patience {
                return Err(Stop::All(not_passed(want, at, self.options.patience, why)));
            }
            (self.watch)(Step::Waiting { want, at });
            sleep(LOOK_AGAIN).await;
        }
    }
}

/// Why a position is not passed, as far as can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Slow,
    Paused,
    NotRunning,
    NeverRan,
}

impl Why {
    fn of(standing: &Standing) -> Why {
        match standing {
            Standing { stored: None, .. } => Why::NeverRan,
            Standing { paused: true, .. } => Why::Paused,
            Standing { received: None, .. } => Why::NotRunning,
            Standing { .. } => Why::Slow,
        }
    }
}

fn not_passed(want: Lsn, at: Option<Lsn>, patience: Duration, why: Why) -> Reason {
    let at = at.map_or_else(|| "nowhere yet".to_owned(), |at| format!("at {at}"));
    let message = format!(
        "the pipeline is {at} and did not come to {want}, which the source has reached, within {} s",
        patience.as_secs()
    );
    let remedy = match why {
        Why::Slow => {
            "See `sluicegate status` for what holds it up, or give it more time with --timeout. If it is paused, resume it."
        }
        Why::Paused => "It is paused: `sluicegate resume`, then compare again.",
        Why::NotRunning => {
            "Nobody streams from its slot: start `sluicegate run` with the same settings, then compare again."
        }
        Why::NeverRan => {
            "It never stored a position: start `sluicegate run` with the same settings, then compare again."
        }
    };
    Reason::new("VERIFY_POSITION", Class::Wait, "", message, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANT: Lsn = Lsn(100);
    const SETTLE: Duration = Duration::from_secs(6);

    #[test]
    fn the_pipelines_word_counts_at_once_and_blocked_tables_are_not_waited_for() {
        let blocked = vec![("shop.t".to_owned(), "why".to_owned())];
        let now = Instant::now();
        let mut judge = Judge::new(WANT, SETTLE);
        let mut ask = |received, durable, blocked: &[(String, String)], seconds| {
            let progress = Progress { received: Lsn(received), durable: Lsn(durable), blocked: blocked.to_vec() };
            judge.by_pipeline(&progress, now + Duration::from_secs(seconds))
        };
        let cases = [
            (120, 99, &[][..], 0, false),
            (120, 99, &[], 60, false),
            (120, 100, &[], 60, true),
            (99, 50, &blocked, 61, false),
            (100, 50, &blocked, 70, false),
            (100, 50, &blocked, 72, false),
            (100, 50, &blocked, 73, true),
        ];
        for (received, durable, blocked, seconds, want) in cases {
            assert_eq!(ask(received, durable, blocked, seconds), want, "{received} {durable} after {seconds} s");
        }
    }

    #[test]
    fn without_the_pipeline_what_is_stored_counts_or_that_nothing_is_left_to_store() {
        let now = Instant::now();
        let mut judge = Judge::new(WANT, SETTLE);
        let mut ask = |stored: Option<u64>, received: Option<u64>, seconds| {
            let standing = Standing { stored: stored.map(Lsn), received: received.map(Lsn), paused: false };
            judge.by_source(&standing, now + Duration::from_secs(seconds))
        };
        let cases = [
            (None, None, 0, false),
            (Some(50), None, 30, false),
            (Some(50), Some(100), 31, false),
            (Some(60), Some(100), 37, false),
            (Some(60), Some(100), 42, false),
            (Some(60), Some(100), 43, true),
            (Some(60), Some(99), 44, false),
            (Some(60), None, 60, false),
            (Some(100), None, 60, true),
        ];
        for (stored, received, seconds, want) in cases {
            assert_eq!(ask(stored, received, seconds), want, "{stored:?} {received:?} after {seconds} s");
        }
    }

    #[test]
    fn what_to_do_follows_from_what_is_known() {
        let standing = |stored: Option<u64>, received: Option<u64>, paused| Standing {
            stored: stored.map(Lsn),
            received: received.map(Lsn),
            paused,
        };
        let cases = [
            (standing(None, None, false), Why::NeverRan, "never stored"),
            (standing(Some(1), None, false), Why::NotRunning, "sluicegate run"),
            (standing(Some(1), Some(1), true), Why::Paused, "resume"),
            (standing(Some(1), Some(1), false), Why::Slow, "status"),
        ];
        for (standing, want, says) in cases {
            assert_eq!(Why::of(&standing), want);
            let reason = not_passed(WANT, standing.stored, SETTLE, want);
            assert!(reason.remedy.contains(says), "{}", reason.remedy);
        }
    }
}
