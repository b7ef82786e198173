//! Why something does not go on, and what to do about it.

use std::fmt;

/// What may be done about a problem, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// It passes by itself: tried again for ever with growing pauses.
    Retry,
    /// A person must act. We stay up, look again every few seconds and go on once it is cured.
    Wait,
    /// Changes are missing and cannot come from the stream. Like `Wait`, and only an explicit decision repairs it.
    Resync,
    /// The settings are wrong; the process ends with exit code 78.
    Config,
    /// Sluicegate itself is wrong; the process reports it and ends.
    Bug,
}

/// A problem with a stable code, what it is about, and its remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Stable, upper case, for programs: `SLOT_LOST`.
    pub code: &'static str,
    /// What may be done.
    pub class: Class,
    /// What it is about: a table, a slot, a setting. Empty if the whole.
    pub object: String,
    /// What happened, one sentence, lower case, no final period. Never holds row values or secrets.
    pub message: String,
    /// What to do about it, one or two sentences.
    pub remedy: String,
    /// Statements to paste, empty if none help.
    pub sql: String,
}

impl Reason {
    /// A reason without statements to paste.
    pub fn new(
        code: &'static str,
        class: Class,
        object: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Reason {
            code,
            class,
            object: object.into(),
            message: message.into(),
            remedy: remedy.into(),
            sql: String::new(),
        }
    }

    /// Adds statements to paste.
    #[must_use]
    pub fn with_sql(mut self, sql: impl Into<String>) -> Self {
        self.sql = sql.into();
        self
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Reason {}
