//! What control planes and signals may ask of the engine.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::model::Stage;

/// A wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Stop reading. What has been read is still loaded; the connection and its feedback stay. Survives a restart.
    Pause,
    /// Read again.
    Resume,
    /// Stop reading, load everything that was read however long it takes, store and confirm the position, end.
    DrainAndStop,
    /// Like a signal: drain, but within the shutdown grace. The slot stays.
    Stop,
    /// Change settings that can change while running. `None` keeps.
    Reload {
        /// Rows in one flush unit.
        flush_rows: Option<u64>,
        /// Bytes in one flush unit.
        flush_bytes: Option<u64>,
        /// Least time between flushes.
        flush_interval: Option<Duration>,
    },
    /// Copy existing rows, of tables that are copied already once more.
    StartCopy {
        /// Names as `schema.name`; all if empty.
        tables: Vec<String>,
    },
    /// Read no further existing rows; changes flow on. Survives a restart.
    PauseCopy,
    /// Read existing rows again.
    ResumeCopy,
    /// End copies before they are finished. Survives a restart.
    CancelCopy {
        /// Names as `schema.name`; all that are being copied if empty.
        tables: Vec<String>,
    },
}

impl Command {
    /// Lower-case name for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Pause => "pause",
            Command::Resume => "resume",
            Command::DrainAndStop => "drain and stop",
            Command::Stop => "stop",
            Command::Reload { .. } => "reload",
            Command::StartCopy { .. } => "start a snapshot",
            Command::PauseCopy => "pause the snapshot",
            Command::ResumeCopy => "resume the snapshot",
            Command::CancelCopy { .. } => "cancel a snapshot",
        }
    }
}

/// A command that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it changed anything (pausing twice does not).
    pub changed: bool,
    /// The generation after it.
    pub generation: u64,
    /// One sentence for a person.
    pub message: String,
}

/// A command that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It will fit later.
    #[error("cannot {command} in stage {}: it is too early", stage.name())]
    TooEarly {
        /// The command's name.
        command: &'static str,
        /// The stage it came in.
        stage: Stage,
    },
    /// It will not fit again.
    #[error("cannot {command} in stage {}: it is too late", stage.name())]
    TooLate {
        /// The command's name.
        command: &'static str,
        /// The stage it came in.
        stage: Stage,
    },
    /// A setting's value is out of range.
    #[error("{setting} {problem}")]
    BadSetting {
        /// Which.
        setting: &'static str,
        /// What is wrong, with the range.
        problem: String,
    },
    /// There is no such table among those that are replicated.
    #[error("{table} is not replicated by this pipeline; name tables as schema.name, as the status shows them")]
    UnknownTable {
        /// The name that was asked for.
        table: String,
    },
    /// The engine is gone.
    #[error("the engine has ended")]
    Gone,
}

/// A command and where its answer goes.
#[derive(Debug)]
pub struct Request {
    /// What is asked.
    pub command: Command,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Result<Outcome, Refusal>>,
}

/// The engine's end of the command channel.
pub type Inbox = mpsc::Receiver<Request>;

/// Sends commands. Clones send to the same engine.
#[derive(Clone, Debug)]
pub struct Handle(mpsc::Sender<Request>);

impl Handle {
    /// A channel for commands.
    pub fn new() -> (Handle, Inbox) {
        let (sender, inbox) = mpsc::channel(16);
        (Handle(sender), inbox)
    }

    /// Sends a command and waits until it was accepted or refused (not until it is carried out).
    ///
    /// # Errors
    /// A [`Refusal`].
    pub async fn send(&self, command: Command) -> Result<Outcome, Refusal> {
        let (answer, reply) = oneshot::channel();
        self.0.send(Request { command, answer }).await.map_err(|_| Refusal::Gone)?;
        reply.await.map_err(|_| Refusal::Gone)?
    }
}
