//! Why a stream ended, as a [`Reason`].

use std::io;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use postgres_protocol::message::backend::Message;

use super::framing::FramingError;
use super::sqlstate::{self, Asked, ServerError};
use crate::model::{Class, Reason};

/// The code of the reason that the server cannot decode or send the next change.
pub(super) const CANNOT_DECODE: &str = "SOURCE_CANNOT_DECODE";

/// The server ended the stream with an ErrorResponse of this body. What only a running stream can meet is decided
/// here: the server cannot decode or send what comes next, and could not at the next try either. The rest means what
/// it means at the start of a stream.
pub(super) fn refused(body: &[u8], asked: &Asked<'_>) -> Reason {
    let error = server_error(body);
    match error.code.as_str() {
        // A byte that the encoding does not have; a value too large to be sent (1 GiB as text); a broken page.
        // The text of the first two may quote a value, the code does not.
        "22021" | "22P05" | "54000" | "XX000" | "XX001" => Reason::new(
            CANNOT_DECODE,
            Class::Wait,
            "",
            format!("PostgreSQL cannot send the next change: SQLSTATE {}", error.code),
            "Look at the server's log for the change that fails. If it stays so, a new slot and a new copy of the \
             tables are needed.",
        ),
        _ => sqlstate::reason(&error, asked),
    }
}

/// The same for a stream that had asked for large transactions in parts: the server may well send them whole.
pub(super) fn refused_in_parts(refused: &Reason) -> Reason {
    Reason::new(
        "SOURCE_CANNOT_STREAM",
        Class::Retry,
        "",
        format!("{} while transactions are in progress; the stream is opened again without them", refused.message),
        "Nothing is lost: large transactions come after they have committed, until this one has passed.",
    )
}

/// The error in the body of an ErrorResponse; empty where it cannot be read.
pub(super) fn server_error(body: &[u8]) -> ServerError {
    let mut message = BytesMut::with_capacity(body.len() + 5);
    message.put_u8(b'E');
    message.put_u32(body.len() as u32 + 4);
    message.put_slice(body);
    match Message::parse(&mut message) {
        Ok(Some(Message::ErrorResponse(body))) => ServerError::from_fields(&body),
        _ => ServerError::default(),
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
            // SQLSTATE  code                  class          why
            ("57P01", "SOURCE_STOPPED", Class::Retry, "an administrator, or a slot over its limit"),
            ("55000", "SLOT_LOST", Class::Resync, "WAL the slot needed is gone"),
            ("42704", "PUBLICATION_MISSING", Class::Wait, "dropped while streaming"),
            ("42501", "SOURCE_PRIVILEGE", Class::Wait, "lost a right"),
            ("22021", "SOURCE_CANNOT_DECODE", Class::Wait, "a byte that the encoding does not have"),
            ("XX000", "SOURCE_CANNOT_DECODE", Class::Wait, "a value too large to be sent as text"),
        ];
        let asked = Asked::Stream { slot: "s", publication: "p" };
        for (sqlstate, code, class, why) in cases {
            let body = format!("SFATAL\0C{sqlstate}\0Mpublication \"p\" does not exist\0\0");
            let reason = refused(body.as_bytes(), &asked);
            assert_eq!((reason.code, reason.class), (code, class), "{sqlstate}: {why}");
        }
        assert_eq!(server_error(b"\xff"), ServerError::default());
        assert!(!refused(b"SFATAL\0C22021\0Msecret\0\0", &asked).message.contains("secret"));
    }
}
