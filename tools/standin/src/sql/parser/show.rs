//! SET, SHOW, DESC and ADMIN SHOW.

use super::cursor::Parser;
use super::is_reserved;
use crate::sql::ast::{Literal, SetItem, Show, ShowKind, Statement, TableName};
use crate::sql::error::SqlError;
use crate::sql::lexer::TokenKind;

impl Parser<'_> {
    pub(super) fn set(&mut self) -> Result<Statement, SqlError> {
        self.advance();
        let mut items = vec![self.set_item()?];
        while self.take_symbol(",") {
            items.push(self.set_item()?);
        }
        Ok(Statement::Set(items))
    }

    pub(super) fn set_item(&mut self) -> Result<SetItem, SqlError> {
        let _scope = self.take_word("GLOBAL") || self.take_word("SESSION") || self.take_word("LOCAL");
        if self.take_word("NAMES") || self.take_words(&["CHARACTER", "SET"]) || self.take_word("CHARSET") {
            self.advance();
            if self.take_word("COLLATE") {
                self.advance();
            }
            return Ok(SetItem::NoEffect);
        }
        if self.take_word("TRANSACTION") {
            self.text_until(&[","]);
            return Ok(SetItem::NoEffect);
        }
        let name = match &self.token().kind {
            TokenKind::Variable(name) => {
                let name = name.clone();
                self.advance();
                name
            }
            _ => self.name()?,
        };
        if !self.take_symbol("=") && !self.take_symbol(":=") {
            return Err(self.unexpected("'='"));
        }
        let value = self.set_value()?;
        Ok(SetItem::Variable { name: plain_variable(&name), value })
    }

    pub(super) fn set_value(&mut self) -> Result<Literal, SqlError> {
        let start = self.at;
        let value = match &self.token().kind {
            TokenKind::Word(word) if !is_reserved(word) => {
                let value = Literal::Text(word.clone());
                self.advance();
                value
            }
            TokenKind::Word(word) if word.eq_ignore_ascii_case("on") => {
                self.advance();
                Literal::Text("ON".to_owned())
            }
            _ => self.literal().unwrap_or(Literal::Default),
        };
        let ended = self.is_end() || self.token().is_symbol(",") || self.token().is_symbol(";");
        if ended && self.at > start {
            return Ok(value);
        }
        // Only constants may be set (`SetStmtAnalyzer.java`).
        if self.is_end() {
            return Err(self.unexpected("a constant"));
        }
        Err(SqlError::analyzing("Set statement only support constant expr"))
    }

    pub(super) fn show(&mut self) -> Result<Statement, SqlError> {
        self.advance();
        let kind = self.show_kind()?;
        let mut like = None;
        if self.take_word("LIKE") {
            like = Some(self.text()?);
        }
        if !(self.is_end()
            || self.token().is_symbol(";")
            || ["WHERE", "ORDER", "LIMIT"].iter().any(|word| self.token().is_word(word)))
        {
            return Err(self.unexpected("<EOF>, ';', 'WHERE', 'LIKE'"));
        }
        let tail = self.rest()?;
        Ok(Statement::Show(Show { kind, like, tail }))
    }

    pub(super) fn show_kind(&mut self) -> Result<ShowKind, SqlError> {
        let full = self.take_word("FULL");
        let _scope = self.take_word("GLOBAL") || self.take_word("SESSION") || self.take_word("ALL");
        let first = match &self.token().kind {
            TokenKind::Word(word) => word.to_ascii_uppercase(),
            _ => String::new(),
        };
        if let Some(kind) = plain_show(&first) {
            self.advance();
            return Ok(kind);
        }
        if self.take_words(&["TABLE", "STATUS"]) {
            return Ok(ShowKind::TableStatus { database: self.written_database()? });
        }
        if self.take_words(&["COMPUTE", "NODES"]) {
            return Ok(ShowKind::ComputeNodes);
        }
        if self.take_words(&["CHARACTER", "SET"]) {
            return Ok(ShowKind::CharacterSet);
        }
        self.show_with_names(&first, full)
    }

    /// SHOW of something that is named: a table, a database, a path.
    pub(super) fn show_with_names(&mut self, first: &str, full: bool) -> Result<ShowKind, SqlError> {
        match first {
            "TABLES" => {
                self.advance();
                Ok(ShowKind::Tables { full, database: self.written_database()? })
            }
            "COLUMNS" | "FIELDS" => {
                self.advance();
                Ok(ShowKind::Columns { full, table: self.written_table()? })
            }
            "INDEX" | "INDEXES" | "KEYS" | "KEY" => {
                self.advance();
                Ok(ShowKind::Index(self.written_table()?))
            }
            "CREATE" => self.show_create(),
            "ALTER" => self.show_alter(),
            "LOAD" | "STREAM" => self.show_load(),
            "PROC" => {
                self.advance();
                Ok(ShowKind::Proc(self.text()?))
            }
            "GRANTS" => {
                self.advance();
                self.rest()?;
                Ok(ShowKind::Grants)
            }
            _ => Err(self.unexpected("'DATABASES', 'TABLES', 'COLUMNS', 'CREATE', 'ALTER', 'VARIABLES'")),
        }
    }

    pub(super) fn written_database(&mut self) -> Result<Option<String>, SqlError> {
        if self.take_word("FROM") || self.take_word("IN") {
            return Ok(Some(self.table_name()?.table));
        }
        Ok(None)
    }

    pub(super) fn written_table(&mut self) -> Result<TableName, SqlError> {
        if !self.take_word("FROM") && !self.take_word("IN") {
            return Err(self.unexpected("'FROM', 'IN'"));
        }
        let mut table = self.table_name()?;
        if let Some(database) = self.written_database()? {
            table.database = Some(database);
        }
        Ok(table)
    }

    pub(super) fn show_create(&mut self) -> Result<ShowKind, SqlError> {
        self.advance();
        if self.take_word("DATABASE") || self.take_word("SCHEMA") {
            return Ok(ShowKind::CreateDatabase(self.name()?));
        }
        if !self.take_word("TABLE") {
            return Err(self.unexpected("'TABLE', 'DATABASE'"));
        }
        Ok(ShowKind::CreateTable(self.table_name()?))
    }

    pub(super) fn show_alter(&mut self) -> Result<ShowKind, SqlError> {
        self.advance();
        self.expect_word("TABLE")?;
        for jobs in ["COLUMN", "ROLLUP", "OPTIMIZE"] {
            if self.take_word(jobs) {
                return Ok(ShowKind::AlterTable { jobs: jobs.to_owned(), database: self.written_database()? });
            }
        }
        Err(self.unexpected("'COLUMN', 'OPTIMIZE', 'ROLLUP'"))
    }

    pub(super) fn show_load(&mut self) -> Result<ShowKind, SqlError> {
        if self.take_word("STREAM") {
            self.expect_word("LOAD")?;
        } else {
            self.advance();
        }
        self.written_database()?;
        Ok(ShowKind::Load)
    }

    pub(super) fn describe(&mut self) -> Result<Statement, SqlError> {
        self.advance();
        let query = ["SELECT", "WITH", "INSERT", "DELETE", "UPDATE", "VERBOSE", "COSTS", "LOGICAL", "ANALYZE"];
        if query.iter().any(|word| self.token().is_word(word)) {
            return Ok(Statement::Explain(self.rest()?));
        }
        let table = self.table_name()?;
        // `DESC t ALL` also lists materialized indexes; there are none.
        let _all = self.take_word("ALL");
        Ok(Statement::Describe(table))
    }

    pub(super) fn admin(&mut self) -> Result<Statement, SqlError> {
        self.advance();
        if !self.take_words(&["SHOW", "FRONTEND", "CONFIG"]) {
            return Err(SqlError::not_modelled("ADMIN statements other than ADMIN SHOW FRONTEND CONFIG"));
        }
        let like = if self.take_word("LIKE") { Some(self.text()?) } else { None };
        Ok(Statement::AdminShowConfig(like))
    }
}

/// SHOW statements of one word.
fn plain_show(word: &str) -> Option<ShowKind> {
    Some(match word {
        "DATABASES" | "SCHEMAS" => ShowKind::Databases,
        "FRONTENDS" => ShowKind::Frontends,
        "BACKENDS" => ShowKind::Backends,
        "VARIABLES" => ShowKind::Variables,
        "WARNINGS" | "ERRORS" => ShowKind::Warnings,
        "PROCESSLIST" => ShowKind::ProcessList,
        "COLLATION" => ShowKind::Collation,
        "CHARSET" => ShowKind::CharacterSet,
        "ENGINES" => ShowKind::Engines,
        "CATALOGS" => ShowKind::Catalogs,
        "STATUS" => ShowKind::Status,
        _ => return None,
    })
}

/// `@@session.x`, `@@x`, `session.x` -> `x`, lower case.
pub fn plain_variable(name: &str) -> String {
    let name = name.trim_start_matches('@').to_ascii_lowercase();
    for scope in ["session.", "global.", "local."] {
        if let Some(rest) = name.strip_prefix(scope) {
            return rest.to_owned();
        }
    }
    name
}
