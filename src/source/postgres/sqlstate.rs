//! What an error of the server means to us: one table for every connection we have.
//!
//! In: an error's SQLSTATE and what we had asked for. Out: a [`Reason`]. Always: the code decides; the text is looked
//! at only where one code stands for several things, and only for the words in `telling`. A message that may quote a
//! row's value is left out. Not here: errors of the network before a server answered (`transport`). Start at [`reason`].

use std::error::Error as _;

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::ErrorResponseBody;

use crate::model::{Class, Reason};

/// An error as the server reports it (PostgreSQL 18 documentation, 54.8 "Error and Notice Message Fields").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ServerError {
    /// SQLSTATE, five characters.
    pub(super) code: String,
    /// The message, in the server's language.
    pub(super) message: String,
    /// More about it; empty if there is none.
    pub(super) detail: String,
    /// The function of the server's source that reported it; in no language.
    pub(super) routine: String,
}

/// What we were doing when the server reported an error.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked<'a> {
    /// Logging in.
    Login {
        /// Where.
        place: &'a str,
    },
    /// Streaming from a slot, START_REPLICATION included.
    Stream {
        /// The slot.
        slot: &'a str,
        /// The publication.
        publication: &'a str,
    },
    /// Any other command.
    Query {
        /// What it was for, as in "reading the tables".
        doing: &'a str,
    },
}

impl ServerError {
    /// Reads the fields of a message. What cannot be read is left empty.
    pub(super) fn from_fields(body: &ErrorResponseBody) -> ServerError {
        let mut error = ServerError::default();
        let mut fields = body.fields();
        while let Ok(Some(field)) = fields.next() {
            let text = || String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'C' => error.code = text(),
                b'M' => error.message = text(),
                b'D' => error.detail = text(),
                b'R' => error.routine = text(),
                _ => {}
            }
        }
        error
    }

    /// The message, unless it may quote a value of a row: those of class 22 (data) and 23 (constraints) do.
    fn safe_message(&self) -> &str {
        if self.code.starts_with("22") || self.code.starts_with("23") { "" } else { &self.message }
    }

    fn says(&self, telling: &str) -> bool {
        self.message.contains(telling)
    }
}

/// The words of a message that tell apart what shares a code. English only; a server that speaks another language
/// gets the arm after.
mod telling {
    /// 08P01 of a pooler that does not know a startup parameter.
    pub(super) const POOLER: &str = "unsupported startup parameter";
    /// 55000: the slot belongs elsewhere.
    pub(super) const OTHER_DATABASE: &str = "was not created in this database";
    /// 55000: the slot is of another kind.
    pub(super) const PHYSICAL: &str = "physical replication slot";
    /// 55000: the server keeps too little in its WAL.
    pub(super) const WAL_LEVEL: &str = "wal_level";
    /// 55000: a standby cannot do this.
    pub(super) const STANDBY: &str = "recovery";
}

/// What an error means, and what to do about it.
pub(super) fn reason(error: &ServerError, asked: &Asked<'_>) -> Reason {
    let (code, class, remedy) = match *asked {
        Asked::Login { .. } => login(error),
        Asked::Stream { .. } => stream(error).unwrap_or_else(|| general(error)),
        Asked::Query { .. } => general(error),
    };
    let object = match (*asked, code) {
        (Asked::Login { place }, _) => place,
        (Asked::Stream { publication, .. }, "PUBLICATION_MISSING") => publication,
        (Asked::Stream { slot, .. }, code) if code.starts_with("SLOT_") => slot,
        _ => "",
    };
    let what = match *asked {
        Asked::Login { .. } => "the server refused the login",
        Asked::Stream { .. } => "the server ended the stream",
        Asked::Query { doing } => doing,
    };
    let mut message = format!("{what}: {} (SQLSTATE {})", error.safe_message(), error.code);
    if error.safe_message().is_empty() {
        message = format!("{what}: SQLSTATE {}", error.code);
    }
    // Why a slot is lost, and who holds it, stands here.
    if matches!(asked, Asked::Stream { .. }) && error.code.starts_with("55") && !error.detail.is_empty() {
        message = format!("{message}: {}", error.detail.trim_end_matches('.'));
    }
    Reason::new(code, class, object, message, remedy)
}

type Verdict = (&'static str, Class, &'static str);

fn login(error: &ServerError) -> Verdict {
    const AUTH: &str =
        "Check user, password and the server's pg_hba.conf; the password file is read again at each attempt.";
    match error.code.as_str() {
        "28000" | "28P01" => ("SOURCE_AUTH", Class::Wait, AUTH),
        "42501" => ("SOURCE_AUTH", Class::Wait, "Give the role the attribute REPLICATION and CONNECT on the database."),
        "42704" => (
            "SOURCE_ERROR",
            Class::Retry,
            "The server does not know one of the session settings that are sent; PostgreSQL 14 or later is needed.",
        ),
        _ => general(error),
    }
}

fn stream(error: &ServerError) -> Option<Verdict> {
    Some(match error.code.as_str() {
        "55006" => (
            "SLOT_IN_USE",
            Class::Retry,
            "Another session reads from the slot. It is freed once that session ends, or wal_sender_timeout after its \
             client vanished.",
        ),
        // The routine is named in no language; the message would be.
        "42704" if error.routine == "get_publication_oid" || error.says("publication") => {
            ("PUBLICATION_MISSING", Class::Wait, "What to do is told once the server has been looked at again.")
        }
        "42704" => (
            "SLOT_MISSING",
            Class::Resync,
            "Changes since the last checkpoint are gone with the slot; only a new copy of the tables can replace them.",
        ),
        "55000" if error.says(telling::OTHER_DATABASE) || error.says(telling::PHYSICAL) => {
            ("SLOT_UNUSABLE", Class::Wait, "Name another slot, or drop this one if nothing else needs it.")
        }
        "55000" if error.says(telling::WAL_LEVEL) => {
            ("SOURCE_WAL_LEVEL", Class::Wait, "Set wal_level = logical and restart the server.")
        }
        "55000" => (
            "SLOT_LOST",
            Class::Resync,
            "The server has removed WAL the slot needed; only a new copy of the tables can replace it. Raise \
             max_slot_wal_keep_size.",
        ),
        _ => return None,
    })
}

fn general(error: &ServerError) -> Verdict {
    match error.code.as_str() {
        "28000" | "28P01" => ("SOURCE_AUTH", Class::Wait, "Check user, password and the server's pg_hba.conf."),
        "42501" => ("SOURCE_PRIVILEGE", Class::Wait, "Grant the role what the message names."),
        "08P01" if error.says(telling::POOLER) => (
            "SOURCE_POOLER",
            Class::Wait,
            "A connection pooler answers there, and logical replication does not pass through it. Give the address of \
             the PostgreSQL server itself.",
        ),
        "25006" => (
            "SOURCE_IS_STANDBY",
            Class::Wait,
            "Give the address of the primary: the checkpoint is written to the source.",
        ),
        "55000" if error.says(telling::STANDBY) => {
            ("SOURCE_IS_STANDBY", Class::Wait, "Give the address of the primary.")
        }
        "53300" | "53400" => (
            "SOURCE_LIMIT",
            Class::Wait,
            "Raise the setting that is used up (max_connections, max_wal_senders, max_replication_slots, or the limit \
             of role or database), or end what uses it.",
        ),
        "53100" | "53200" => ("SOURCE_FULL", Class::Retry, "The server lacks disk space or memory."),
        "57P03" => ("SOURCE_STARTING", Class::Retry, "The server is starting up or shutting down; it is tried again."),
        "57P01" | "57P02" | "57P05" => {
            ("SOURCE_STOPPED", Class::Retry, "The server ended the session; it is tried again.")
        }
        "3D000" | "57P04" => ("SOURCE_DATABASE_MISSING", Class::Wait, "Check the name of the database, or create it."),
        "40001" | "40P01" | "55P03" | "57014" => {
            ("SOURCE_BUSY", Class::Retry, "Another session was in the way; it is tried again.")
        }
        code if code.starts_with("08") => ("SOURCE_UNREACHABLE", Class::Retry, UNREACHABLE),
        _ => ("SOURCE_ERROR", Class::Retry, "The server's log may say more; it is tried again."),
    }
}

/// What to do about a server that cannot be reached.
pub(super) const UNREACHABLE: &str = "Check that the server runs and listens there, and that nothing on the way blocks \
     it; it is tried again.";

/// What an error of an ordinary connection means. `doing` says what it happened to, as in "reading the tables".
pub(super) fn query_reason(error: &tokio_postgres::Error, doing: &str) -> Reason {
    if let Some(db) = error.as_db_error() {
        let error = ServerError {
            code: db.code().code().to_owned(),
            message: db.message().to_owned(),
            detail: db.detail().unwrap_or_default().to_owned(),
            routine: db.routine().unwrap_or_default().to_owned(),
        };
        return reason(&error, &Asked::Query { doing });
    }
    let network = error.source().is_some_and(|source| source.is::<std::io::Error>());
    if error.is_closed() || network {
        let message = format!("{doing}: the connection to the source is lost");
        return Reason::new("SOURCE_UNREACHABLE", Class::Retry, "", message, UNREACHABLE);
    }
    let message = format!("{doing}: {error}");
    Reason::new("SOURCE_ERROR", Class::Retry, "", message, "It is tried again.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_reason() {
        let login = Asked::Login { place: "db:5432" };
        let stream = Asked::Stream { slot: "s", publication: "p" };
        let query = Asked::Query { doing: "reading" };
        use Class::{Resync, Retry, Wait};
        let cases = [
            (login, "28P01", "password authentication failed", "SOURCE_AUTH", Wait, "db:5432"),
            (login, "28000", "no pg_hba.conf entry", "SOURCE_AUTH", Wait, "db:5432"),
            (login, "53300", "sorry, too many clients already", "SOURCE_LIMIT", Wait, "db:5432"),
            (login, "57P03", "the database system is starting up", "SOURCE_STARTING", Retry, "db:5432"),
            (login, "3D000", "database \"x\" does not exist", "SOURCE_DATABASE_MISSING", Wait, "db:5432"),
            (login, "08P01", "unsupported startup parameter: replication", "SOURCE_POOLER", Wait, "db:5432"),
            (login, "08P01", "invalid startup packet", "SOURCE_UNREACHABLE", Retry, "db:5432"),
            (stream, "55006", "slot is active for PID 7", "SLOT_IN_USE", Retry, "s"),
            (stream, "42704", "replication slot \"s\" does not exist", "SLOT_MISSING", Resync, "s"),
            (stream, "42704", "publication \"p\" does not exist", "PUBLICATION_MISSING", Wait, "p"),
            (stream, "55000", "can no longer get changes", "SLOT_LOST", Resync, "s"),
            (stream, "55000", "slot \"s\" was not created in this database", "SLOT_UNUSABLE", Wait, "s"),
            (stream, "55000", "logical decoding requires wal_level >= logical", "SOURCE_WAL_LEVEL", Wait, ""),
            (stream, "53300", "number of requested standby connections", "SOURCE_LIMIT", Wait, ""),
            (stream, "57P01", "terminating connection", "SOURCE_STOPPED", Retry, ""),
            (query, "42501", "permission denied for table t", "SOURCE_PRIVILEGE", Wait, ""),
            (query, "25006", "cannot execute INSERT in a read-only transaction", "SOURCE_IS_STANDBY", Wait, ""),
            (query, "40P01", "deadlock detected", "SOURCE_BUSY", Retry, ""),
            (query, "XX000", "odd", "SOURCE_ERROR", Retry, ""),
        ];
        for (asked, code, message, want, class, object) in cases {
            let error = ServerError { code: code.into(), message: message.into(), ..ServerError::default() };
            let got = reason(&error, &asked);
            assert_eq!((got.code, got.class, got.object.as_str()), (want, class, object), "{code} {message}");
            assert!(got.message.contains(message) && got.message.contains(code), "{got}");
        }
    }

    #[test]
    fn a_missing_publication_is_recognised_in_any_language() {
        let error = ServerError {
            code: "42704".into(),
            message: "Publikation »p« existiert nicht".into(),
            routine: "get_publication_oid".into(),
            ..ServerError::default()
        };
        let got = reason(&error, &Asked::Stream { slot: "s", publication: "p" });
        assert_eq!(got.code, "PUBLICATION_MISSING");
    }

    #[test]
    fn values_of_rows_stay_out() {
        for code in ["22P02", "23505"] {
            let error = ServerError {
                code: code.into(),
                message: "invalid input: \"canary\"".into(),
                detail: "Key (a)=(canary) already exists.".into(),
                ..ServerError::default()
            };
            for asked in [Asked::Query { doing: "writing" }, Asked::Stream { slot: "s", publication: "p" }] {
                let got = reason(&error, &asked);
                assert!(!format!("{got:?}").contains("canary"), "{got:?}");
            }
        }
    }
}
