//! DROP, ALTER TABLE and CANCEL ALTER TABLE.

use super::cursor::Parser;
use crate::sql::ast::{AlterClause, ColumnPosition, Statement};
use crate::sql::error::SqlError;

impl Parser<'_> {
    /// The refusal of CREATE, DROP or ALTER of something other than tables and databases.
    pub(super) fn other_object(&self, verb: &str) -> SqlError {
        let known = [
            "VIEW",
            "MATERIALIZED",
            "EXTERNAL",
            "USER",
            "ROLE",
            "RESOURCE",
            "FUNCTION",
            "GLOBAL",
            "INDEX",
            "CATALOG",
            "FILE",
            "ROUTINE",
            "PIPE",
            "STORAGE",
            "WAREHOUSE",
            "TEMPORARY",
            "REPOSITORY",
            "SYSTEM",
            "OR",
            "DATABASE",
        ];
        match known.iter().find(|word| self.token().is_word(word)) {
            Some(word) => SqlError::not_modelled(format!("{verb} {word}")),
            None => self.unexpected("'TABLE', 'DATABASE'"),
        }
    }

    pub(super) fn cancel(&mut self) -> Result<Statement, SqlError> {
        self.advance();
        self.expect_word("ALTER")?;
        self.expect_word("TABLE")?;
        self.expect_word("COLUMN")?;
        self.expect_word("FROM")?;
        Ok(Statement::CancelAlter(self.table_name()?))
    }

    pub(super) fn drop(&mut self) -> Result<Statement, SqlError> {
        self.advance();
        if self.take_word("DATABASE") || self.take_word("SCHEMA") {
            let if_exists = self.if_exists()?;
            let name = self.table_name()?.table;
            let _force = self.take_word("FORCE");
            return Ok(Statement::DropDatabase { if_exists, name });
        }
        if !self.take_word("TABLE") {
            return Err(self.other_object("DROP"));
        }
        let if_exists = self.if_exists()?;
        let name = self.table_name()?;
        let _force = self.take_word("FORCE");
        Ok(Statement::DropTable { if_exists, name })
    }

    pub(super) fn alter(&mut self) -> Result<Statement, SqlError> {
        self.advance();
        if !self.take_word("TABLE") {
            return Err(self.other_object("ALTER"));
        }
        let name = self.table_name()?;
        let mut clauses = vec![self.alter_clause()?];
        while self.take_symbol(",") {
            clauses.push(self.alter_clause()?);
        }
        Ok(Statement::AlterTable { name, clauses })
    }

    pub(super) fn alter_clause(&mut self) -> Result<AlterClause, SqlError> {
        if self.take_word("ADD") {
            self.expect_word("COLUMN")?;
            return self.add_columns();
        }
        if self.take_word("DROP") {
            self.expect_word("COLUMN")?;
            let name = self.name()?;
            self.no_rollup()?;
            return Ok(AlterClause::DropColumn(name));
        }
        if self.take_word("MODIFY") {
            self.expect_word("COLUMN")?;
            return self.modify_column();
        }
        if self.take_words(&["RENAME", "COLUMN"]) {
            let from = self.name()?;
            let _to = self.take_word("TO") || self.take_word("AS");
            return Ok(AlterClause::RenameColumn(from, self.name()?));
        }
        if self.take_word("RENAME") {
            return Ok(AlterClause::Rename(self.name()?));
        }
        if self.take_words(&["SWAP", "WITH"]) {
            return Ok(AlterClause::Swap(self.name()?));
        }
        if self.take_word("SET") {
            return Ok(AlterClause::SetProperties(self.properties()?));
        }
        if self.take_word("COMMENT") {
            self.expect_symbol("=")?;
            return Ok(AlterClause::Comment(self.text()?));
        }
        Err(self.unexpected("'ADD', 'DROP', 'MODIFY', 'RENAME', 'SET', 'SWAP'"))
    }

    pub(super) fn add_columns(&mut self) -> Result<AlterClause, SqlError> {
        let mut columns = Vec::new();
        if self.take_symbol("(") {
            columns.push((self.column_definition()?, None));
            while self.take_symbol(",") {
                columns.push((self.column_definition()?, None));
            }
            self.expect_symbol(")")?;
        } else {
            let column = self.column_definition()?;
            columns.push((column, self.column_position()?));
        }
        self.no_rollup()?;
        Ok(AlterClause::AddColumns(columns))
    }

    /// `TO rollup`, `IN rollup`, `FROM rollup`: StarRocks' rollups are not modelled, so any of them is a wrong name.
    pub(super) fn no_rollup(&mut self) -> Result<(), SqlError> {
        if self.token().is_word("TO") || self.token().is_word("IN") || self.token().is_word("FROM") {
            return Err(SqlError::not_modelled("rollups"));
        }
        Ok(())
    }

    pub(super) fn column_position(&mut self) -> Result<Option<ColumnPosition>, SqlError> {
        if self.take_word("FIRST") {
            return Ok(Some(ColumnPosition::First));
        }
        if self.take_word("AFTER") {
            return Ok(Some(ColumnPosition::After(self.name()?)));
        }
        Ok(None)
    }

    pub(super) fn modify_column(&mut self) -> Result<AlterClause, SqlError> {
        if self.ahead(1).is_word("COMMENT") {
            let name = self.name()?;
            self.advance();
            return Ok(AlterClause::CommentColumn(name, self.text()?));
        }
        let column = self.column_definition()?;
        Ok(AlterClause::ModifyColumn(column, self.column_position()?))
    }
}
