//! Who is in the way of a change that setup makes, in words.
//!
//! In: rows of `pg_stat_activity` and `pg_prepared_xacts`. Out: [`Blocker`]s, and the statements that end them.
//! Not here: finding them (`slot`, `locked`).

use tokio_postgres::Row;

/// A session or prepared transaction that something waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blocker {
    words: String,
    pid: Option<i32>,
}

fn known(text: Option<String>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

fn since(seconds: Option<i64>) -> String {
    seconds.map_or_else(|| "?".to_owned(), |seconds| seconds.to_string())
}

impl Blocker {
    /// From a row that begins with pid, user, database, application, state and the age of the transaction in seconds,
    /// as `pg_stat_activity` has them. Without a pid it is a prepared transaction.
    pub(super) fn session(row: &Row) -> Blocker {
        let pid: Option<i32> = row.get(0);
        let words = match pid {
            Some(pid) => format!(
                "process {pid} (user {}, database {}, application {}, {}, open for {} s)",
                known(row.get(1)),
                known(row.get(2)),
                known(row.get(3)),
                known(row.get(4)),
                since(row.get(5)),
            ),
            None => "a prepared transaction (see pg_prepared_xacts)".to_owned(),
        };
        Blocker { words, pid }
    }

    /// From a row with name, owner, database and age in seconds, as `pg_prepared_xacts` has them.
    pub(super) fn prepared(row: &Row) -> Blocker {
        let words = format!(
            "prepared transaction {:?} (owner {}, database {}, open for {} s)",
            row.get::<_, String>(0),
            known(row.get(1)),
            known(row.get(2)),
            since(row.get(3)),
        );
        Blocker { words, pid: None }
    }

    /// The same with what it holds.
    pub(super) fn holding(self, what: &str) -> Blocker {
        Blocker { words: format!("{} on {what}", self.words), ..self }
    }
}

/// All of them in words.
pub(super) fn words(blockers: &[Blocker]) -> String {
    let words: Vec<&str> = blockers.iter().map(|blocker| blocker.words.as_str()).collect();
    if words.is_empty() { "transactions that ended meanwhile".to_owned() } else { words.join("; ") }
}

/// The statements that end the sessions among them.
pub(super) fn end_sql(blockers: &[Blocker]) -> String {
    let ends = blockers.iter().filter_map(|blocker| blocker.pid);
    let sql: Vec<String> = ends.map(|pid| format!("SELECT pg_catalog.pg_terminate_backend({pid});")).collect();
    sql.join("\n")
}
