//! Statements over the frontends' MySQL port.
//!
//! Text queries only: StarRocks prepares nothing but SELECT. mysql_async is told what it would otherwise ask the
//! server on connecting, because StarRocks does not know every variable it asks for. The password does not travel in
//! clear (`mysql_native_password`), the statements do.

use std::collections::HashMap;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Value};
use secrecy::ExposeSecret;
use tokio::time::timeout;

use super::options::Options;
use super::reasons::{self, Code};
use crate::model::{EachRow, Reason};

/// Longest time for one statement.
const STATEMENT_TIME: Duration = Duration::from_secs(120);
/// Longest time until the first row of a large table.
const FIRST_ROW_TIME: Duration = Duration::from_secs(3600);
/// What the client would ask the server for: `max_allowed_packet` in bytes, `wait_timeout` in seconds.
const PACKET_MAX: usize = 32 << 20;
const WAIT_TIMEOUT: usize = 28_800;

/// A statement that did not work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SqlError {
    /// The server refused it.
    #[error("error {code}: {message}")]
    Server { code: u16, message: String },
    /// The connection broke or took too long.
    #[error("{0}")]
    Lost(String),
}

impl SqlError {
    /// Whether it says that a table or database is not there (StarRocks has its own codes for both).
    pub(super) fn is_missing(&self) -> bool {
        self.is_missing_database() || matches!(self, SqlError::Server { code: 5502 | 1146 | 1051, .. })
    }

    /// Whether it says that a database is not there.
    pub(super) fn is_missing_database(&self) -> bool {
        matches!(self, SqlError::Server { code: 5501 | 1049, .. })
    }

    /// Whether it says that a privilege is missing.
    pub(super) fn is_privilege(&self) -> bool {
        matches!(self, SqlError::Server { code: 5203 | 1044 | 1142 | 1227, .. })
    }

    /// Whether it says that the column is there already.
    pub(super) fn is_duplicate_column(&self) -> bool {
        let SqlError::Server { code, message } = self else { return false };
        *code == 1060 || message.contains("Can not add column which already exists")
    }

    /// As a reason about `object`; `doing` says what the statement was for. No statement here holds row values, so the
    /// server's text is told as it is.
    pub(super) fn reason(&self, options: &Options, object: &str, doing: &str) -> Reason {
        let message = format!("{doing}: {}", super::answer::one_line(&self.to_string()));
        match self {
            SqlError::Lost(_) => Code::Unreachable.reason(object, message),
            SqlError::Server { code: 1045, .. } => Code::Auth.reason(object, message),
            _ if self.is_privilege() => reasons::privilege(options, object, message),
            _ if self.is_missing_database() => Code::DatabaseMissing.reason(object, message),
            _ if self.is_missing() => Code::TableMissing.reason(object, message),
            // A schema change that still runs, and a leader that is just elected, pass by themselves.
            SqlError::Server { message: text, .. } if is_passing(text) => Code::Sql.reason(object, message),
            SqlError::Server { .. } => Code::Sql.waiting(object, message),
        }
    }
}

fn is_passing(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["in progress", "not master", "not leader", "timeout", "timed out", "no backend alive", "not ready"]
        .iter()
        .any(|part| text.contains(part))
}

/// One row of an answer. Column names compare without case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record(HashMap<String, String>);

impl Record {
    /// The column's text; `None` if it is NULL or missing.
    pub(super) fn get(&self, column: &str) -> Option<&str> {
        self.0.get(&column.to_ascii_lowercase()).map(String::as_str)
    }

    /// The column's text, empty if it is NULL or missing.
    pub(super) fn text(&self, column: &str) -> &str {
        self.get(column).unwrap_or_default()
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Record {
    fn from(columns: [(&str, &str); N]) -> Self {
        Record(columns.into_iter().map(|(name, text)| (name.to_ascii_lowercase(), text.to_owned())).collect())
    }
}

/// A session.
#[derive(Debug)]
pub(super) struct Sql {
    conn: Conn,
}

impl Sql {
    /// Logs in at the first frontend that can be reached.
    ///
    /// # Errors
    /// Why none took us.
    pub(super) async fn connect(options: &Options) -> Result<Sql, Reason> {
        let password = options.current_password().map_err(|error| {
            Code::Auth.reason("", format!("the file with the sink's password cannot be read: {}", error.kind()))
        })?;
        let mut failures = Vec::new();
        for frontend in &options.frontends {
            let settings = OptsBuilder::default()
                .ip_or_hostname(frontend.host.clone())
                .tcp_port(options.sql_port)
                .user(Some(options.user.clone()))
                .pass(Some(password.expose_secret().to_owned()))
                .prefer_socket(false)
                .max_allowed_packet(Some(PACKET_MAX))
                .wait_timeout(Some(WAIT_TIMEOUT))
                .stmt_cache_size(0);
            let place = format!("{}:{}", frontend.host, options.sql_port);
            match limited(options.connect_timeout, Conn::new(settings)).await {
                Ok(conn) => return Ok(Sql { conn }),
                Err(error @ SqlError::Server { .. }) => {
                    return Err(error.reason(options, &place, "logging in over the MySQL protocol"));
                }
                Err(error) => failures.push(format!("{place}: {error}")),
            }
        }
        let message = format!("no frontend answers the MySQL protocol: {}", failures.join("; "));
        Err(Reason {
            remedy: "Check sql_port in SINK_URL (SINK_PORT) and that the port can be reached from here.".into(),
            ..Code::Unreachable.reason("", message)
        })
    }

    /// Runs a query.
    ///
    /// # Errors
    /// [`SqlError`].
    pub(super) async fn rows(&mut self, query: &str) -> Result<Vec<Record>, SqlError> {
        let rows: Vec<mysql_async::Row> = limited(STATEMENT_TIME, self.conn.query(query)).await?;
        Ok(rows.into_iter().map(record).collect())
    }

    /// Runs a query and hands on its rows one by one, as the server prints them. The time limit is that for the first
    /// row, and for each next one.
    ///
    /// # Errors
    /// [`SqlError`].
    pub(super) async fn each(&mut self, query: &str, each: EachRow<'_>) -> Result<(), SqlError> {
        let mut result = limited(FIRST_ROW_TIME, self.conn.query_iter(query)).await?;
        while let Some(row) = limited(STATEMENT_TIME, result.next()).await? {
            let values = row.unwrap_raw();
            let texts: Vec<Option<&[u8]>> = values.iter().map(text).collect();
            each(&texts);
        }
        limited(STATEMENT_TIME, result.drop_result()).await
    }

    /// Runs a statement whose result does not matter.
    ///
    /// # Errors
    /// [`SqlError`].
    pub(super) async fn run(&mut self, statement: &str) -> Result<(), SqlError> {
        self.run_within(STATEMENT_TIME, statement).await
    }

    /// Runs a statement that may take long, whose result does not matter.
    ///
    /// # Errors
    /// [`SqlError`].
    pub(super) async fn run_within(&mut self, limit: Duration, statement: &str) -> Result<(), SqlError> {
        limited(limit, self.conn.query_drop(statement)).await
    }
}

async fn limited<T>(limit: Duration, work: impl Future<Output = Result<T, mysql_async::Error>>) -> Result<T, SqlError> {
    match timeout(limit, work).await {
        Err(_) => Err(SqlError::Lost(format!("no answer within {} s", limit.as_secs_f32()))),
        Ok(Ok(done)) => Ok(done),
        Ok(Err(mysql_async::Error::Server(error))) => {
            Err(SqlError::Server { code: error.code, message: error.message })
        }
        Ok(Err(error)) => Err(SqlError::Lost(error.to_string())),
    }
}

/// The text protocol has no other values than these two.
fn text(value: &Option<Value>) -> Option<&[u8]> {
    match value {
        Some(Value::Bytes(bytes)) => Some(bytes),
        _ => None,
    }
}

fn record(row: mysql_async::Row) -> Record {
    let names: Vec<String> = row.columns_ref().iter().map(|c| c.name_str().to_ascii_lowercase()).collect();
    let texts = row.unwrap_raw().into_iter().map(|value| match value {
        Some(Value::Bytes(bytes)) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Some(Value::NULL) | None => None,
        // The text protocol has no others.
        Some(other) => Some(other.as_sql(true)),
    });
    Record(names.into_iter().zip(texts).filter_map(|(name, text)| Some((name, text?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Class;
    use crate::sink::starrocks::tests::options;

    #[test]
    fn errors_are_sorted_by_code() {
        let cases = [
            (1045, "Access denied for user 'root' (using password: YES)", "SINK_AUTH", Class::Wait),
            (5203, "Access denied; you need (at least one of) the ALTER privilege(s)", "SINK_PRIVILEGE", Class::Wait),
            (5501, "Unknown database 'shop'", "SINK_DATABASE_MISSING", Class::Wait),
            (5502, "Unknown table 'shop.orders'", "SINK_TABLE_MISSING", Class::Wait),
            (1064, "Getting syntax error at line 1, column 23.", "SINK_SQL", Class::Wait),
            (1064, "A schema change operation is in progress on the table t.", "SINK_SQL", Class::Retry),
        ];
        for (code, message, want, class) in cases {
            let reason = SqlError::Server { code, message: message.into() }.reason(&options(), "t", "doing it");
            assert_eq!((reason.code, reason.class), (want, class), "{code} {message}");
        }
        let lost = SqlError::Lost("reset".into()).reason(&options(), "t", "doing it");
        assert_eq!((lost.code, lost.class), ("SINK_UNREACHABLE", Class::Retry));
        let privilege = SqlError::Server { code: 5203, message: String::new() }.reason(&options(), "t", "doing it");
        assert!(privilege.sql.contains("GRANT SELECT, INSERT, DELETE, ALTER ON ALL TABLES IN DATABASE `shop`"));
    }
}
