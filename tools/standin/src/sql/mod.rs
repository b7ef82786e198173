//! SQL as a StarRocks frontend takes it: statements in, rows or a refusal out.
//!
//! In: one statement's text and the session it belongs to. Out: an `Outcome` or a `SqlError`.
//! Always: names of tables and databases compare with case, names of columns without; a refused statement changes
//! nothing.
//! Not here: packets (`mysql`), what a table holds and which changes it takes (`store`).
//! Start at `execute`; then `parser` for what is understood, `ddl`, `dml`, `show` and `select` for what it does.

pub mod ast;
mod ddl;
mod dml;
pub mod error;
pub mod lexer;
pub mod parser;
pub mod result;
mod schema;
mod select;
mod session;
mod show;

use std::sync::Arc;

use crate::store::Store;
use ast::{Literal, SetItem, Statement, TableName};
use error::SqlError;
use result::{Column, ColumnKind, Outcome, ResultSet};

pub use session::Session;

/// What statements need of the server.
pub struct Frontend {
    /// The catalog and its rows.
    pub store: Arc<Store>,
    /// Port of the frontend's HTTP server, for SHOW FRONTENDS.
    pub http_port: u16,
    /// Port of the backend's HTTP server, for SHOW BACKENDS.
    pub backend_http_port: u16,
    /// Port of the MySQL server, for SHOW FRONTENDS.
    pub query_port: u16,
}

/// Databases every StarRocks has.
pub const SYSTEM_DATABASES: [&str; 3] = ["_statistics_", "information_schema", "sys"];

impl Frontend {
    /// The version the handshake names.
    pub fn mysql_version(&self) -> String {
        self.store.settings().release.mysql_version().to_owned()
    }

    /// The password of a user, if there is such a user.
    pub fn password(&self, user: &str) -> Option<String> {
        let settings = self.store.settings();
        (settings.user == user).then_some(settings.password)
    }

    /// Whether there is such a database.
    pub fn has_database(&self, name: &str) -> bool {
        SYSTEM_DATABASES.contains(&name)
            || name.eq_ignore_ascii_case("information_schema")
            || self.store.has_database(name)
    }

    /// All databases by name.
    pub fn databases(&self) -> Vec<String> {
        let mut names = self.store.databases();
        names.extend(SYSTEM_DATABASES.map(str::to_owned));
        names.sort();
        names
    }
}

/// Runs one statement.
pub fn execute(frontend: &Frontend, session: &mut Session, sql: &str) -> Result<Outcome, SqlError> {
    let statement = parser::parse(sql);
    let reads_diagnostics = matches!(&statement, Ok(Statement::Show(show)) if show.kind == ast::ShowKind::Warnings);
    let outcome = statement.and_then(|statement| Executor { frontend, session, sql }.run(statement));
    if !reads_diagnostics {
        session.last_error = outcome.as_ref().err().cloned();
    }
    outcome
}

/// The columns a query will have, without running it. What only a value could tell is text.
pub fn describe(frontend: &Frontend, session: &mut Session, query: &str) -> Result<Vec<Column>, SqlError> {
    select::describe(query, &Executor { frontend, session, sql: query })
}

struct Executor<'a> {
    frontend: &'a Frontend,
    session: &'a mut Session,
    sql: &'a str,
}

impl Executor<'_> {
    fn run(&mut self, statement: Statement) -> Result<Outcome, SqlError> {
        match statement {
            Statement::CreateDatabase { .. }
            | Statement::DropDatabase { .. }
            | Statement::CreateTable(_)
            | Statement::CreateTableLike { .. }
            | Statement::DropTable { .. }
            | Statement::AlterTable { .. }
            | Statement::Truncate(_)
            | Statement::CancelAlter(_) => self.run_ddl(statement),
            Statement::Use(name) => {
                self.session.use_database(self.frontend, &name)?;
                Ok(Outcome::done())
            }
            Statement::Set(items) => self.set(items),
            Statement::Show(show) => self.show(show),
            Statement::Describe(table) => self.describe(&table),
            Statement::Explain(query) => self.explain(&query),
            Statement::AdminShowConfig(like) => Ok(self.admin_show_config(like.as_deref())),
            Statement::Kill(id) => Err(SqlError::new(1094, "HY000", format!("Unknown thread id: {id}"))),
            Statement::Query(query) => self.query(&query).map(Outcome::Rows),
            Statement::Insert(insert) => self.insert(insert),
            Statement::Delete { table, condition } => self.delete(&table, &condition),
            Statement::Update { table, assignments, condition } => self.update(&table, &assignments, &condition),
            Statement::TransactionControl => Ok(Outcome::done()),
        }
    }

    /// Database and table of a name; 1046 when neither name nor session has a database.
    fn resolve(&self, name: &TableName) -> Result<(String, String), SqlError> {
        let database = name.database.clone().or_else(|| self.session.database.clone());
        Ok((database.ok_or_else(SqlError::no_database)?, name.table.clone()))
    }

    fn set(&mut self, items: Vec<SetItem>) -> Result<Outcome, SqlError> {
        for item in items {
            if let SetItem::Variable { name, value } = item {
                self.session.set_variable(&name, value)?;
            }
        }
        Ok(Outcome::done())
    }

    fn query(&self, query: &str) -> Result<ResultSet, SqlError> {
        if let Some(set) = self.counted(query)? {
            return Ok(set);
        }
        select::run(query, self)
    }

    /// `SELECT count(*) FROM t` without copying the table.
    fn counted(&self, query: &str) -> Result<Option<ResultSet>, SqlError> {
        let found = lexer::tokens(query)?;
        let head = |at: usize| found.get(at);
        let name = |at: usize| match head(at).map(|token| &token.kind) {
            Some(lexer::TokenKind::Word(name) | lexer::TokenKind::Name(name)) => Some(name.clone()),
            _ => None,
        };
        let is_count = head(0).is_some_and(|token| token.is_word("SELECT"))
            && head(1).is_some_and(|token| token.is_word("COUNT"))
            && ["(", "*", ")"]
                .iter()
                .zip(2..)
                .all(|(symbol, at)| head(at).is_some_and(|token| token.is_symbol(symbol)))
            && head(5).is_some_and(|token| token.is_word("FROM"));
        let table = match (is_count, found.len()) {
            (true, 8) => TableName { database: None, table: name(6).unwrap_or_default() },
            (true, 10) if found[7].is_symbol(".") => {
                TableName { database: name(6), table: name(8).unwrap_or_default() }
            }
            _ => return Ok(None),
        };
        let (database, table) = self.resolve(&table)?;
        if !self.frontend.store.has_database(&database) || table.is_empty() {
            return Ok(None);
        }
        let count = self.frontend.store.row_count(&database, &table)?;
        let label = &query[found[1].start..found[4].end];
        Ok(Some(ResultSet {
            columns: vec![Column::new(label, ColumnKind::BigInt)],
            rows: vec![vec![Some(count.to_string().into_bytes())]],
        }))
    }

    fn explain(&self, query: &str) -> Result<Outcome, SqlError> {
        // Checked like the query itself, then answered without a plan: there is none to show.
        if query.get(..6).is_some_and(|word| word.eq_ignore_ascii_case("SELECT")) {
            self.query(query)?;
        }
        let mut set = ResultSet::of_text(&["Explain String"]);
        set.push_text(["starrocks-standin has no query planner"]);
        Ok(Outcome::Rows(set))
    }

    fn admin_show_config(&self, like: Option<&str>) -> Outcome {
        let settings = self.frontend.store.settings();
        let run_mode = if settings.shared_data { "shared_data" } else { "shared_nothing" };
        let configs = [
            ("default_replication_num", settings.default_replication_num.to_string(), "short", "true"),
            ("empty_load_as_error", "true".to_owned(), "boolean", "true"),
            ("label_keep_max_num", settings.label_keep_max_num.to_string(), "int", "true"),
            ("label_keep_max_second", settings.label_keep.as_secs().to_string(), "int", "true"),
            ("max_running_txn_num_per_db", settings.running_txn_max.to_string(), "int", "true"),
            ("run_mode", run_mode.to_owned(), "String", "false"),
            ("stream_load_default_timeout_second", settings.load_timeout.as_secs().to_string(), "int", "true"),
        ];
        let mut set = ResultSet::of_text(&["Key", "AliasNames", "Value", "Type", "IsMutable", "Comment"]);
        for (name, value, kind, mutable) in &configs {
            if like.is_none_or(|pattern| select::is_like(name, pattern)) {
                set.push_text([name, "[]", value, kind, mutable, ""]);
            }
        }
        Outcome::Rows(set)
    }
}

impl select::Tables for Executor<'_> {
    fn table(
        &self,
        database: Option<&str>,
        name: &str,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<select::TableData, SqlError> {
        let written = TableName { database: database.map(str::to_owned), table: name.to_owned() };
        let (database, table) = self.resolve(&written)?;
        if database.eq_ignore_ascii_case("information_schema") {
            return schema::system_table(self.frontend, &table);
        }
        if !self.frontend.has_database(&database) {
            return Err(SqlError::unknown_database(&database));
        }
        if SYSTEM_DATABASES.contains(&database.as_str()) {
            return Err(SqlError::unknown_table(&database, &table));
        }
        dml::export(&self.frontend.store, &database, &table, wanted)
    }

    fn variable(&self, name: &str) -> Option<Literal> {
        self.session.variable(self.frontend, name)
    }

    fn facts(&self) -> select::SessionFacts {
        let release = self.frontend.store.settings().release;
        select::SessionFacts {
            database: self.session.database.clone(),
            user: self.session.user.clone(),
            starrocks_version: release.version().to_owned(),
            // The function is older than the handshake's disguise and kept its value.
            mysql_version: "5.1.0".to_owned(),
            connection_id: self.session.connection_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Settings;

    const STATEMENTS: &[&str] = &[
        "CREATE TABLE u (k INT NOT NULL COMMENT 'x', a ARRAY<VARCHAR(3)>, ts DATETIME DEFAULT CURRENT_TIMESTAMP) ENGINE=OLAP \
         PRIMARY KEY (k) COMMENT 'c' DISTRIBUTED BY HASH(k) BUCKETS 2 ORDER BY (ts) PROPERTIES ('replication_num' = '1')",
        "ALTER TABLE t ADD COLUMN (c INT DEFAULT '1', d DECIMAL(10, 2)), DROP COLUMN v, MODIFY COLUMN s VARCHAR(30)",
        "ALTER TABLE t RENAME COLUMN v TO w, MODIFY COLUMN s COMMENT 'x'",
        "INSERT INTO t (k, v, s) VALUES (1, -2, 'x''y'), (2, NULL, DEFAULT)",
        "UPDATE t SET v = v * 2 + 1, s = concat(s, '!') WHERE k IN (SELECT k FROM t WHERE v IS NOT NULL)",
        "DELETE FROM t WHERE k BETWEEN 1 AND 2 OR s LIKE '%\\%'",
        "WITH w AS (SELECT DISTINCT `v`, CAST(k AS DECIMAL(10,2)) c FROM d.t) SELECT *, @@autocommit, now() FROM w JOIN t ON \
         w.v = t.v WHERE x'00' <> s GROUP BY 1 HAVING count(*) >= .5e3 ORDER BY 2 DESC LIMIT 3",
        "SHOW FULL COLUMNS FROM t FROM d WHERE Field LIKE 'k%' ORDER BY Type LIMIT 1",
        "SET NAMES utf8mb4, @@session.sql_mode = '', autocommit = 1",
        "SELECT TABLE_NAME, count(*) FROM information_schema.columns WHERE TABLE_SCHEMA = database() GROUP BY TABLE_NAME",
    ];

    fn frontend() -> Frontend {
        let store = Arc::new(Store::new(Settings::default()));
        Frontend { store, http_port: 1, backend_http_port: 2, query_port: 3 }
    }

    fn prepared(frontend: &Frontend) -> Session {
        let mut session = Session::new(1);
        for statement in [
            "CREATE DATABASE d",
            "USE d",
            "CREATE TABLE t (k INT, v INT, s VARCHAR(20)) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')",
            "INSERT INTO t VALUES (1, 2, 'a'), (2, NULL, NULL)",
        ] {
            execute(frontend, &mut session, statement).expect(statement);
        }
        session
    }

    /// Cut anywhere and with any byte replaced, a statement is executed or refused.
    #[test]
    fn damaged_statements_do_not_panic() {
        let frontend = frontend();
        let mut session = prepared(&frontend);
        for statement in STATEMENTS {
            for at in (0..statement.len()).filter(|at| statement.is_char_boundary(*at)) {
                let _answer = execute(&frontend, &mut session, &statement[..at]);
                for other in ["'", "(", ")", "`", ",", "*", "ä", ""] {
                    let damaged = format!("{}{other}{}", &statement[..at], &statement[at + 1..]);
                    let _answer = execute(&frontend, &mut session, &damaged);
                }
            }
        }
    }

    #[test]
    fn a_refused_statement_is_remembered_for_show_errors() {
        let frontend = frontend();
        let mut session = prepared(&frontend);
        assert!(execute(&frontend, &mut session, "SELECT * FROM missing").is_err());
        let Ok(Outcome::Rows(set)) = execute(&frontend, &mut session, "SHOW ERRORS") else { panic!("no rows") };
        let cell = |text: &str| Some(text.as_bytes().to_vec());
        let message = cell("Getting analyzing error. Detail message: Unknown table 'd.missing'.");
        assert_eq!(set.rows, [vec![cell("Error"), cell("5502"), message]]);
    }

    #[test]
    fn loads_are_listed_with_their_states() {
        let frontend = frontend();
        let mut session = prepared(&frontend);
        let store = &frontend.store;
        let rejected = store.begin("d", &["t"], "rejected", 60_000).expect("begun");
        assert!(store.abort("d", rejected, "too many filtered rows"));
        let done = store.begin("d", &["t"], "done", 60_000).expect("begun");
        let counts = crate::store::Counts { total: 3, loaded: 2, filtered: 1, ..Default::default() };
        store.commit("d", done, Vec::new(), counts).expect("committed");
        store.begin("d", &["t"], "open", 60_000).expect("begun");
        let query = "SELECT LABEL, STATE, TABLE_NAME, SCAN_ROWS, SINK_ROWS, FILTERED_ROWS, ERROR_MSG FROM \
                     information_schema.loads WHERE DB_NAME = 'd' ORDER BY ID";
        let Ok(Outcome::Rows(set)) = execute(&frontend, &mut session, query) else { panic!("no rows") };
        let printed: Vec<String> = set
            .rows
            .iter()
            .map(|row| {
                let cell = |cell: &result::Cell| {
                    cell.as_ref().map_or("NULL".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
                };
                row.iter().map(cell).collect::<Vec<_>>().join("|")
            })
            .collect();
        assert_eq!(
            printed,
            [
                "rejected|CANCELLED|t|0|0|0|too many filtered rows",
                "done|FINISHED|t|3|2|1|NULL",
                "open|LOADING|t|0|0|0|NULL",
            ]
        );
    }
}
