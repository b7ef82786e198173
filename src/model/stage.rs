//! Where the whole and each table stand.

/// The stage of the engine. `engine::lifecycle` holds the transitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stage {
    /// Settings are read, servers start.
    Init,
    /// Both sides are checked and made ready; tried again until it succeeds.
    Setup,
    /// Existing rows are copied while changes flow.
    Snapshot,
    /// Changes flow.
    Cdc,
    /// Asked to stop: what is in flight is finished.
    Draining,
    /// Everything is handed over.
    Stopped,
}

impl Stage {
    /// All stages in order of their numbers.
    pub const ALL: [Stage; 6] =
        [Stage::Init, Stage::Setup, Stage::Snapshot, Stage::Cdc, Stage::Draining, Stage::Stopped];

    /// Upper-case name: `CDC`.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Init => "INIT",
            Stage::Setup => "SETUP",
            Stage::Snapshot => "SNAPSHOT",
            Stage::Cdc => "CDC",
            Stage::Draining => "DRAINING",
            Stage::Stopped => "STOPPED",
        }
    }
}

/// The state of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TableState {
    /// Not started.
    Pending,
    /// Its existing rows are being copied.
    Copying,
    /// Rows that moved during the copy are read again.
    Repairing,
    /// Its changes flow.
    Streaming,
    /// It waits for a person; other tables go on.
    Blocked,
}

impl TableState {
    /// All states in order of their numbers.
    pub const ALL: [TableState; 5] =
        [TableState::Pending, TableState::Copying, TableState::Repairing, TableState::Streaming, TableState::Blocked];

    /// Upper-case name: `STREAMING`.
    pub fn name(self) -> &'static str {
        match self {
            TableState::Pending => "PENDING",
            TableState::Copying => "COPYING",
            TableState::Repairing => "REPAIRING",
            TableState::Streaming => "STREAMING",
            TableState::Blocked => "BLOCKED",
        }
    }
}
