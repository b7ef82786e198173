//! Stores positions, and lets the source tell its server of a position only after it is stored.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::warn;

use crate::checkpoint::{Checkpoint, Store};
use crate::failpoint;
use crate::model::{Class, Lsn, Reason};
use crate::pipeline::{Progress, pause};
use crate::snapshot::Unseen;
use crate::source::{ChunkReader, Source};
use crate::status::EngineMeter;

/// An idle position is stored once it lies this far ahead of the stored one: one WAL segment, so that an idle
/// database's slot holds back little.
const IDLE_BYTES: u64 = 16 << 20;
/// Or once this much time has passed and it lies further ahead than our own writing of the checkpoint moves it, or
/// storing the checkpoint would be a reason to store it again.
const IDLE_TIME: Duration = Duration::from_secs(60);
const IDLE_BYTES_LEAST: u64 = 64 << 10;

/// When the newest durable position is to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Now,
    At(Instant),
    Never,
}

/// Decides when to store. No clock of its own.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    interval: Duration,
    stored: Lsn,
    stored_at: Option<Instant>,
}

impl Schedule {
    fn due(&self, progress: Progress, now: Instant) -> Due {
        if progress.durable <= self.stored {
            return Due::Never;
        }
        let Some(last) = self.stored_at else { return Due::Now };
        let ahead = progress.durable.bytes_since(self.stored);
        let at = if progress.durable_rows > self.stored || ahead >= IDLE_BYTES {
            last + self.interval
        } else if ahead >= IDLE_BYTES_LEAST {
            last + IDLE_TIME.max(self.interval)
        } else {
            return Due::Never;
        };
        if at <= now { Due::Now } else { Due::At(at) }
    }
}

/// What an operator has switched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Switches {
    /// Whether reading changes is paused.
    pub(super) paused: bool,
    /// Whether the copy of existing rows is paused.
    pub(super) copy_paused: bool,
}

/// The operator's switches, as wished and as stored.
#[derive(Clone, Copy, Debug, Default)]
struct PauseSwitch {
    wanted: Switches,
    stored: Switches,
}

impl PauseSwitch {
    fn is_unsaved(self) -> bool {
        self.wanted != self.stored
    }
}

/// What the engine asks of the checkpointer.
#[derive(Debug)]
pub(super) enum Ask {
    /// Store the newest durable position and the pause switch now; answer whether it worked.
    Store {
        /// What the operator wants.
        switches: Switches,
        /// Where the answer goes.
        answer: oneshot::Sender<bool>,
    },
    /// The source is set up: storing can begin, or begin anew, from this stored position.
    Resume {
        /// What is stored.
        stored: Lsn,
        /// How the switches are stored.
        switches: Switches,
    },
}

/// The task that stores checkpoints.
pub(super) struct Checkpointer<S: Source> {
    pub(super) source: Arc<S>,
    /// Transactions that readers of the source may not see yet.
    pub(super) unseen: Unseen,
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) asks: mpsc::UnboundedReceiver<Ask>,
    pub(super) confirm: watch::Sender<Lsn>,
    pub(super) meter: Arc<EngineMeter>,
    pub(super) interval: Duration,
}

enum Wake {
    Moved,
    Asked(Ask),
    End,
}

impl<S: Source> Checkpointer<S> {
    /// Runs until the engine or the pipeline is gone.
    pub(super) async fn run(mut self) {
        let mut schedule = Schedule { interval: self.interval, stored: Lsn::INVALID, stored_at: None };
        let (mut ready, mut failures) = (false, 0);
        let mut pause_switch = PauseSwitch::default();
        let mut retry_at: Option<Instant> = None;
        loop {
            match self.wait(ready, pause_switch.is_unsaved(), &schedule, retry_at).await {
                Wake::End => return,
                Wake::Moved => {}
                Wake::Asked(Ask::Resume { stored, switches }) => {
                    (ready, retry_at) = (true, None);
                    pause_switch.stored = switches;
                    schedule.stored = schedule.stored.max(stored);
                    self.tell(schedule.stored);
                    continue;
                }
                Wake::Asked(Ask::Store { switches, answer }) => {
                    pause_switch.wanted = switches;
                    let lsn = self.progress.borrow().durable.max(schedule.stored);
                    // Before the first setup nothing can have moved, so there is nothing to store.
                    let stored = !ready || self.store(lsn, &mut pause_switch, &mut schedule).await;
                    // Whoever asked may have stopped waiting.
                    _ = answer.send(stored);
                    continue;
                }
            }
            let progress = *self.progress.borrow_and_update();
            let held_off = retry_at.is_some_and(|at| at > Instant::now());
            let due = pause_switch.is_unsaved() || schedule.due(progress, Instant::now()) == Due::Now;
            if ready && !held_off && due {
                let lsn = progress.durable.max(schedule.stored);
                if self.store(lsn, &mut pause_switch, &mut schedule).await {
                    (failures, retry_at) = (0, None);
                } else {
                    failures += 1;
                    retry_at = Some(Instant::now() + pause(Class::Retry, failures, fastrand::f64()));
                }
            }
        }
    }

    async fn wait(&mut self, ready: bool, unsaved: bool, schedule: &Schedule, retry_at: Option<Instant>) -> Wake {
        let due = match schedule.due(*self.progress.borrow(), Instant::now()) {
            _ if !ready => None,
            _ if unsaved => Some(retry_at.unwrap_or_else(|| Instant::now() + schedule.interval)),
            Due::Now => Some(retry_at.unwrap_or_else(Instant::now)),
            Due::At(at) => Some(at.max(retry_at.unwrap_or(at))),
            Due::Never => None,
        };
        let timer = async {
            match due {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ask = self.asks.recv() => ask.map_or(Wake::End, Wake::Asked),
            changed = self.progress.changed() => changed.map_or(Wake::End, |()| Wake::Moved),
            () = timer => Wake::Moved,
        }
    }

    /// Stores a position, then lets the server be told of it. The order is what nothing is lost by.
    async fn store(&self, lsn: Lsn, pause_switch: &mut PauseSwitch, schedule: &mut Schedule) -> bool {
        let wanted = pause_switch.wanted;
        let Some(checkpoint) = self.source.checkpoint_at(lsn, wanted.paused) else { return false };
        let unseen = self.still_unseen().await;
        let checkpoint = Checkpoint { unseen, copy_paused: wanted.copy_paused, ..checkpoint };
        failpoint::hit("before_checkpoint");
        match self.source.checkpoints().save(&checkpoint).await {
            Ok(()) => {
                schedule.stored = lsn;
                schedule.stored_at = Some(Instant::now());
                pause_switch.stored = wanted;
                failpoint::hit("before_ack");
                self.tell(lsn);
                failpoint::hit("after_ack");
                self.meter.clear(|reason| reason.object == OBJECT);
                true
            }
            Err(reason) => {
                let reason = Reason { object: OBJECT.to_owned(), ..reason };
                let (code, message) = (reason.code, reason.message.clone());
                if self.meter.raise(reason) {
                    warn!(code, "cannot store the checkpoint: {message}");
                }
                false
            }
        }
    }

    /// The transactions that were processed and may be invisible to readers. All that are not known to be visible, if
    /// the source cannot be asked.
    async fn still_unseen(&self) -> Vec<u32> {
        if !self.unseen.list().is_empty()
            && let Ok(sees) = self.source.chunks().visibility().await
        {
            self.unseen.learn(&sees);
        }
        self.unseen.list()
    }

    fn tell(&self, lsn: Lsn) {
        self.meter.checkpoint(lsn);
        self.confirm.send_if_modified(|confirmed| {
            let moves = lsn > *confirmed;
            if moves {
                *confirmed = lsn;
            }
            moves
        });
    }
}

/// What reasons of storing are about.
const OBJECT: &str = "checkpoint";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_stored_when_it_is_worth_it() {
        let last = Instant::now();
        let schedule = Schedule { interval: Duration::from_secs(1), stored: Lsn(1000), stored_at: Some(last) };
        let rows = |lsn| Progress { durable: Lsn(lsn), durable_rows: Lsn(lsn) };
        let idle = |lsn| Progress { durable: Lsn(lsn), durable_rows: Lsn(1000) };
        let seconds = Duration::from_secs;
        let cases = [
            (rows(1000), seconds(100), Due::Never, "nothing moved"),
            (rows(1001), seconds(1), Due::Now, "rows, and the interval is over"),
            (rows(1001), seconds(0), Due::At(last + seconds(1)), "rows, but too soon"),
            (idle(1000 + 64), seconds(999), Due::Never, "our own checkpoint moved it"),
            (idle(1000 + IDLE_BYTES_LEAST), seconds(59), Due::At(last + seconds(60)), "others write a little"),
            (idle(1000 + IDLE_BYTES_LEAST), seconds(60), Due::Now, "others write a little, for a minute"),
            (idle(1000 + IDLE_BYTES), seconds(1), Due::Now, "others write a lot"),
        ];
        for (progress, passed, want, why) in cases {
            assert_eq!(schedule.due(progress, last + passed), want, "{why}");
        }
        let first = Schedule { stored_at: None, ..schedule };
        assert_eq!(first.due(idle(2000), last), Due::Now, "the first of a process");
    }
}
