//! Drives the copy of existing rows while changes flow: who reads what when, and what is stored of it.
//!
//! In: the tables as setup finds them, commands, what readers and the pipeline report. Out: requests to the pipeline,
//! progress in the store and the meter. Always: a part counts as copied only when its rows are durable; keys that must
//! be read again are stored before a position passes the changes that want them; a copy that stops, for whatever
//! reason, does not stop the changes. Not here: where rows go in (`pipeline`), reading (`source`), what is next
//! (`snapshot`). Start at [`Copier`]; `coordinator` decides, `reader` reads a part, `keeper` stores.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::CopyOptions;
use super::command::Refusal;
use crate::model::{Budget, Lsn, Reason, TableSchema};
use crate::pipeline::{CopyEvent, Pipeline};
use crate::source::{Ready, Source};
use crate::status::EngineMeter;

mod coordinator;
mod keeper;
mod reader;
mod strain;
mod table;

use coordinator::Coordinator;

/// How the copies stand as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Tables whose copies are still to go on.
    pub(super) pending: usize,
    /// Tables that cannot be copied, or whose copy a person ended.
    pub(super) left_out: usize,
    /// Grows when tables are to be looked up anew, as somebody changed them and the stream does not tell of it.
    pub(super) look_again: u64,
    /// One line for a person.
    pub(super) detail: String,
}

/// What became of a command.
pub(super) type Answer = Result<(bool, String), Refusal>;

/// What the engine asks of the coordinator.
#[derive(Debug)]
pub(super) enum Ask {
    /// Setup found these tables; takes up what is stored before the stream begins. Answers how many are to be copied.
    Prepare {
        tables: Vec<Arc<TableSchema>>,
        /// Whether a person paused the copy before the restart.
        paused: bool,
        /// Whether the pipeline begins anew, so that nothing that was copied counts.
        fresh: bool,
        answer: oneshot::Sender<Result<usize, Reason>>,
    },
    /// Whether changes flow. While they do not, nothing further is read.
    Flowing(bool),
    /// Copy these tables, all if none is named.
    Start { tables: Vec<String>, answer: oneshot::Sender<Answer> },
    /// Read nothing further, or go on.
    Pause { paused: bool, answer: oneshot::Sender<Answer> },
    /// End the copies of these tables, of all if none is named.
    Cancel { tables: Vec<String>, answer: oneshot::Sender<Answer> },
    /// Nothing more is begun.
    End,
}

/// What the coordinator is made of.
pub(super) struct Parts<S: Source> {
    pub(super) source: Arc<S>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) events: mpsc::UnboundedReceiver<CopyEvent>,
    pub(super) options: CopyOptions,
    pub(super) budget: Budget,
    /// The position that is stored as where a restart resumes.
    pub(super) stored: watch::Receiver<Lsn>,
    /// Whether reading changes is paused.
    pub(super) paused: watch::Receiver<bool>,
    pub(super) meter: Arc<EngineMeter>,
}

/// The engine's hold on the coordinator.
#[derive(Debug)]
pub(super) struct Copier {
    asks: mpsc::UnboundedSender<Ask>,
    standing: watch::Receiver<Standing>,
}

impl Copier {
    /// Starts a coordinator.
    pub(super) fn start<S: Source>(parts: Parts<S>) -> Copier {
        let (asks, asked) = mpsc::unbounded_channel();
        let (told, standing) = watch::channel(Standing::default());
        tokio::spawn(Coordinator::new(parts, asked, told).run());
        Copier { asks, standing }
    }

    /// How the copies stand.
    pub(super) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// For tasks that ask by [`prepare`].
    pub(super) fn asks(&self) -> mpsc::UnboundedSender<Ask> {
        self.asks.clone()
    }

    /// Asks, without waiting for an answer.
    pub(super) fn tell(&self, ask: Ask) {
        // The coordinator lives as long as the engine.
        drop(self.asks.send(ask));
    }

    /// Asks and waits for the answer.
    pub(super) async fn ask(&self, ask: impl FnOnce(oneshot::Sender<Answer>) -> Ask) -> Answer {
        let (answer, reply) = oneshot::channel();
        self.tell(ask(answer));
        reply.await.unwrap_or(Err(Refusal::Gone))
    }
}

/// Tells the coordinator what setup found, before changes flow: how many tables are to be copied.
///
/// # Errors
/// If what an earlier life stored cannot be read.
pub(super) async fn prepare(asks: &mpsc::UnboundedSender<Ask>, ready: &Ready) -> Result<usize, Reason> {
    let (answer, reply) = oneshot::channel();
    let Ready { tables, copy_paused, first, .. } = ready;
    drop(asks.send(Ask::Prepare { tables: tables.clone(), paused: *copy_paused, fresh: *first, answer }));
    reply.await.unwrap_or(Ok(0))
}
