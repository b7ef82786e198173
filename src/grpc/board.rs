//! What every answer is made from: the newest snapshot with the lag and the rates that take more than one to tell.
//!
//! In: [`Status`]. Out: [`Sample`]s, looked up at any time or waited for. Always: a look never waits for anyone, and
//! looking costs the data path nothing. Start at [`Board::start`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::lag::{Lag, Settled};
use super::process::Process;
use super::rates::{History, Mark, Rates};
use crate::status::{Snapshot, Status};

/// Time between two looks. Whatever depends on time alone, such as a heartbeat that stays away, is seen this late.
const TICK: Duration = Duration::from_secs(1);

/// Everything there is to tell at one moment.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// The numbers and reasons.
    pub(super) snapshot: Snapshot,
    /// How far behind.
    pub(super) lag: Lag,
    /// How fast.
    pub(super) rates: Rates,
    /// Memory and processor, up to a second old.
    pub(super) process: Process,
}

/// What changes only with time.
#[derive(Clone, Debug, Default)]
struct Tick {
    settled: Settled,
    rates: Rates,
    process: Process,
}

/// Answers from the newest numbers. Clones answer the same.
#[derive(Clone, Debug)]
pub(super) struct Board {
    status: Status,
    tick: watch::Receiver<Arc<Tick>>,
    closing: watch::Receiver<bool>,
}

impl Board {
    /// Starts looking once a second until `closing` turns true.
    pub(super) fn start(status: Status, closing: watch::Receiver<bool>) -> Board {
        let (sender, tick) = watch::channel(Arc::default());
        let board = Board { status: status.clone(), tick, closing };
        let closed = board.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = closed.closed() => {}
                () = keep_looking(&status, &sender) => {}
            }
        });
        board
    }

    /// Everything now.
    pub(super) fn now(&self) -> Sample {
        let tick = self.tick.borrow().clone();
        let snapshot = self.status.snapshot();
        let lag = Lag::of(&snapshot, &tick.settled);
        Sample { snapshot, lag, rates: tick.rates, process: tick.process }
    }

    /// Wakes when a stage, pause, state, connection or the list of reasons changes.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.status.watch()
    }

    /// Ready once the server is to end.
    pub(super) async fn closed(&self) {
        // An error means that the server is gone already.
        let _ = self.closing.clone().wait_for(|closing| *closing).await;
    }
}

async fn keep_looking(status: &Status, sender: &watch::Sender<Arc<Tick>>) {
    let started = Instant::now();
    let mut timer = interval(TICK);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut settled, mut history) = (Settled::default(), History::default());
    loop {
        timer.tick().await;
        let snapshot = status.snapshot();
        let process = Process::read();
        settled.observe(&snapshot);
        history.push(Mark {
            at: started.elapsed(),
            rows_durable: snapshot.rows_durable,
            rows_received: snapshot.rows_received,
            cpu: process.cpu,
        });
        sender.send_replace(Arc::new(Tick { settled, rates: history.rates(), process }));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::Budget;

    /// A snapshot of a process that has done nothing yet.
    pub(in crate::grpc) fn quiet() -> Snapshot {
        Status::new("p", "p_slot", "p_pub", Budget::new(1 << 20)).0.snapshot()
    }

    /// A board that nobody looks at on time's account, and what ends it.
    pub(in crate::grpc) fn still() -> (Board, watch::Sender<bool>) {
        let (status, _) = Status::new("p", "p_slot", "p_pub", Budget::new(1 << 20));
        let (closing, closed) = watch::channel(false);
        (Board { status, tick: watch::channel(Arc::default()).1, closing: closed }, closing)
    }

    /// A sample of that snapshot.
    pub(in crate::grpc) fn sample(snapshot: Snapshot) -> Sample {
        let lag = Lag::of(&snapshot, &Settled::default());
        Sample { snapshot, lag, rates: Rates::default(), process: Process::default() }
    }
}
