//! Why a stream ended, as a [`Reason`].

use std::io;
use std::time::Duration;

use super::framing::FramingError;
use crate::model::{Class, Reason};

/// What the server says in an ErrorResponse (PostgreSQL 18 documentation, 54.8 "Error and Notice Message Fields").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ServerError {
    /// SQLSTATE; empty if it was not told.
    pub(super) sqlstate: String,
    /// The primary message.
    pub(super) message: String,
}

impl ServerError {
    /// Reads the body of an ErrorResponse. Takes what there is: a broken one is no worse than the error it tells.
    pub(super) fn read(body: &[u8]) -> Self {
        let mut error = ServerError::default();
        for field in body.split(|byte| *byte == 0) {
            match field.split_first() {
                Some((b'C', text)) => error.sqlstate = String::from_utf8_lossy(text).into_owned(),
                Some((b'M', text)) => error.message = String::from_utf8_lossy(text).into_owned(),
                _ => {}
            }
        }
        error
    }
}

impl From<ServerError> for Reason {
    /// Decides by the SQLSTATE alone (PostgreSQL documentation, appendix A): texts differ between versions.
    fn from(error: ServerError) -> Reason {
        let ServerError { sqlstate, message } = error;
        let (code, class, remedy) = match sqlstate.as_str() {
            "42704" => (
                "PUBLICATION_MISSING",
                Class::Wait,
                "The publication must exist at the position being read: if it was dropped and created again, a new \
                 slot and a new copy are needed.",
            ),
            "42501" | "28000" | "28P01" => {
                ("SOURCE_AUTH", Class::Wait, "Give the role LOGIN, REPLICATION and the rights it had.")
            }
            "22021" | "22P05" | "XX000" | "XX001" | "54000" => (
                "SOURCE_CANNOT_DECODE",
                Class::Wait,
                "PostgreSQL itself cannot send what comes next. Look at its log; if it stays so, a new slot and a \
                 new copy are needed.",
            ),
            "55006" => ("SLOT_IN_USE", Class::Retry, "Another session reads the slot; it is tried again."),
            "57P01" | "57P02" | "57P03" => {
                ("SOURCE_STREAM_ENDED", Class::Retry, "The server ended the session; it is opened again by itself.")
            }
            _ => (
                "SOURCE_STREAM_ENDED",
                Class::Retry,
                "It is opened again by itself; if this repeats, look at the slot in pg_replication_slots and at the \
                 server's log.",
            ),
        };
        let sqlstate = if sqlstate.is_empty() { "no SQLSTATE" } else { &sqlstate };
        let told = format!("PostgreSQL ended the stream: {message} ({sqlstate})");
        Reason::new(code, class, "", told, remedy)
    }
}

fn ended(message: String) -> Reason {
    Reason::new("SOURCE_STREAM_ENDED", Class::Retry, "", message, "It is opened again by itself.")
}

/// The connection broke.
pub(super) fn broken(error: &io::Error) -> Reason {
    ended(format!("the replication connection broke: {error}"))
}

/// The server closed the connection without a word.
pub(super) fn closed() -> Reason {
    ended("PostgreSQL closed the replication connection without giving a reason".to_owned())
}

/// The server ended the copy that nobody asked it to end.
pub(super) fn copy_done() -> Reason {
    ended("PostgreSQL stopped sending changes".to_owned())
}

/// Whoever takes the changes is gone.
pub(super) fn unwanted() -> Reason {
    ended("nobody takes the changes any more".to_owned())
}

/// Nothing came for that long, although an answer was asked for.
pub(super) fn silent(limit: Duration) -> Reason {
    let seconds = limit.as_secs();
    let message = format!("nothing came from PostgreSQL for {seconds} s, not even an answer");
    Reason::new(
        "SOURCE_SILENT",
        Class::Retry,
        "",
        message,
        "The connection is opened again by itself; if this repeats, look for a firewall or proxy that drops it.",
    )
}

/// The server wants to stop and waits for us.
pub(super) fn shutting_down() -> Reason {
    Reason::new(
        "SOURCE_SHUTTING_DOWN",
        Class::Retry,
        "",
        "PostgreSQL is shutting down; the connection was closed so as not to hold it up",
        "Nothing is to be done: the stream goes on once the server is back.",
    )
}

/// The bytes make no sense.
pub(super) fn unreadable(message: String) -> Reason {
    Reason::new(
        "STREAM_UNREADABLE",
        Class::Wait,
        "",
        message,
        "Look for something between Sluicegate and PostgreSQL that alters the stream; else report this.",
    )
}

impl From<FramingError> for Reason {
    fn from(error: FramingError) -> Reason {
        unreadable(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_error_is_classified_by_its_sqlstate() {
        let cases = [
            // SQLSTATE  code                    class          why
            ("57P01", "SOURCE_STREAM_ENDED", Class::Retry, "an administrator, or a slot over its limit"),
            ("57P03", "SOURCE_STREAM_ENDED", Class::Retry, "the server starts or stops"),
            ("55000", "SOURCE_STREAM_ENDED", Class::Retry, "what is wrong shows when it is opened again"),
            ("55006", "SLOT_IN_USE", Class::Retry, "another session reads the slot"),
            ("42704", "PUBLICATION_MISSING", Class::Wait, "dropped while streaming"),
            ("42501", "SOURCE_AUTH", Class::Wait, "lost a right"),
            ("22021", "SOURCE_CANNOT_DECODE", Class::Wait, "a byte that the encoding does not have"),
            ("XX000", "SOURCE_CANNOT_DECODE", Class::Wait, "a value too large to be sent as text"),
            ("", "SOURCE_STREAM_ENDED", Class::Retry, "no SQLSTATE at all"),
        ];
        for (sqlstate, code, class, why) in cases {
            let body = format!("SFATAL\0C{sqlstate}\0Mtext of it\0Ddetail\0\0");
            let reason = Reason::from(ServerError::read(body.as_bytes()));
            assert_eq!((reason.code, reason.class), (code, class), "{sqlstate}: {why}");
            assert!(reason.message.contains("text of it") && !reason.message.contains("detail"), "{reason}");
        }
        assert_eq!(ServerError::read(b"\xff"), ServerError::default());
    }
}
