//! What a refused statement looks like on the wire: a code, an SQLSTATE and a text.
//!
//! In: the reason. Out: `SqlError`, which the MySQL port sends as one ERR packet.
//! Always: codes and texts are StarRocks', not MySQL's: an unknown table is 5502 and not 1146, and everything the
//! parser or analyzer refuses is 1064 unless it has a number of its own
//! (StarRocks, `fe/fe-core/.../common/ErrorCode.java` and `.../sql/common/ParserErrorMsg.java`).
//! Start at `SqlError`.

use std::fmt::Display;

/// A refused statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code} ({state}): {message}")]
pub struct SqlError {
    /// MySQL error number, as StarRocks numbers it.
    pub code: u16,
    /// Five characters.
    pub state: &'static str,
    /// The text for people.
    pub message: String,
}

impl SqlError {
    /// Any code with its own text.
    pub fn new(code: u16, state: &'static str, message: impl Into<String>) -> Self {
        Self { code, state, message: message.into() }
    }

    /// 1064 with a bare text, as DDL executors send it (`SchemaChangeHandler.java`).
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(1064, "HY000", message)
    }

    /// 1064 from the analyzer.
    pub fn analyzing(detail: impl Display) -> Self {
        Self::new(1064, "HY000", analyzing_text(detail))
    }

    /// 1064 from the analyzer, with the places of the first and last token it is about.
    pub fn analyzing_range(from: (usize, usize), to: (usize, usize), detail: impl Display) -> Self {
        let (from_line, from_column, to_line, to_column) = (from.0, from.1, to.0, to.1);
        Self::refused(format!(
            "Getting analyzing error from line {from_line}, column {from_column} to line {to_line}, column \
             {to_column}. Detail message: {detail}."
        ))
    }

    /// 1064 from the parser; `column` counts characters from 0, as ANTLR does.
    pub fn syntax(line: usize, column: usize, detail: impl Display) -> Self {
        Self::new(
            1064,
            "HY000",
            format!("Getting syntax error at line {line}, column {column}. Detail message: {detail}."),
        )
    }

    /// 1046: the statement needs a database and the session has none.
    pub fn no_database() -> Self {
        Self::new(1046, "3D000", analyzing_text("No database selected"))
    }

    /// 5501, from the analyzer.
    pub fn unknown_database(name: &str) -> Self {
        Self::new(5501, "3F000", analyzing_text(format!("Unknown database '{name}'")))
    }

    /// 5501 as `USE` and the handshake send it: without the analyzer's preface.
    pub fn unknown_database_plain(name: &str) -> Self {
        Self::new(5501, "3F000", format!("Unknown database '{name}'"))
    }

    /// 5502, from the analyzer; `database` may be empty.
    pub fn unknown_table(database: &str, table: &str) -> Self {
        Self::new(5502, "42602", analyzing_text(format!("Unknown table '{database}.{table}'")))
    }

    /// 1295: only queries can be prepared.
    pub fn not_preparable() -> Self {
        Self::new(1295, "HY000", "This command is not supported in the prepared statement protocol yet")
    }

    /// 1045. StarRocks writes the user's name alone, without the host.
    pub fn access_denied(user: &str, with_password: bool) -> Self {
        let using = if with_password { "YES" } else { "NO" };
        Self::new(1045, "28000", format!("Access denied for user '{user}' (using password: {using})"))
    }

    /// What this stand-in does not model and StarRocks might.
    pub fn not_modelled(what: impl Display) -> Self {
        Self::new(1064, "HY000", format!("starrocks-standin does not model {what}"))
    }
}

fn analyzing_text(detail: impl Display) -> String {
    format!("Getting analyzing error. Detail message: {detail}.")
}

impl From<crate::store::CatalogError> for SqlError {
    fn from(error: crate::store::CatalogError) -> Self {
        Self::new(error.code(), error.sql_state(), error.to_string())
    }
}
