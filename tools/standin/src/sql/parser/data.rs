//! INSERT, DELETE and UPDATE.

use super::cursor::Parser;
use crate::sql::ast::{Insert, Literal, Statement};
use crate::sql::error::SqlError;

impl Parser<'_> {
    pub(super) fn insert(&mut self) -> Result<Statement, SqlError> {
        self.advance();
        if self.token().is_word("OVERWRITE") {
            return Err(SqlError::not_modelled("INSERT OVERWRITE"));
        }
        self.expect_word("INTO")?;
        let table = self.table_name()?;
        let mut label = None;
        if self.take_words(&["WITH", "LABEL"]) {
            label = Some(self.name()?);
        }
        let mut columns = Vec::new();
        if self.token().is_symbol("(") && !self.ahead(1).is_word("SELECT") {
            columns = self.names_in_brackets()?;
        }
        let mut insert = Insert { table, columns, rows: Vec::new(), query: None, label };
        if !self.take_word("VALUES") {
            if !self.token().is_word("SELECT") && !self.token().is_word("WITH") && !self.token().is_symbol("(") {
                return Err(self.unexpected("'VALUES', 'SELECT', '('"));
            }
            insert.query = Some(self.rest()?);
            return Ok(Statement::Insert(insert));
        }
        loop {
            insert.rows.push(self.value_row()?);
            if !self.take_symbol(",") {
                return Ok(Statement::Insert(insert));
            }
        }
    }

    pub(super) fn value_row(&mut self) -> Result<Vec<Literal>, SqlError> {
        self.expect_symbol("(")?;
        let mut row = vec![self.literal()?];
        while self.take_symbol(",") {
            row.push(self.literal()?);
        }
        self.expect_symbol(")")?;
        Ok(row)
    }

    pub(super) fn delete(&mut self) -> Result<Statement, SqlError> {
        self.advance();
        self.expect_word("FROM")?;
        let table = self.table_name()?;
        if !self.take_word("WHERE") {
            if self.is_end() || self.token().is_symbol(";") {
                return Err(SqlError::analyzing("Delete must specify where clause to prevent full table delete"));
            }
            return Err(self.unexpected("'WHERE', <EOF>"));
        }
        Ok(Statement::Delete { table, condition: self.condition()? })
    }

    pub(super) fn condition(&mut self) -> Result<String, SqlError> {
        let condition = self.rest()?;
        if condition.is_empty() { Err(self.unexpected("an expression")) } else { Ok(condition) }
    }

    pub(super) fn update(&mut self) -> Result<Statement, SqlError> {
        self.advance();
        let table = self.table_name()?;
        self.expect_word("SET")?;
        let mut assignments = Vec::new();
        loop {
            let column = self.name()?;
            self.expect_symbol("=")?;
            let expression = self.text_until(&["WHERE", ","]);
            if expression.is_empty() {
                return Err(self.unexpected("an expression"));
            }
            assignments.push((column, expression));
            if !self.take_symbol(",") {
                break;
            }
        }
        if !self.take_word("WHERE") {
            return Err(SqlError::analyzing("must specify where clause to prevent full table update"));
        }
        Ok(Statement::Update { table, assignments, condition: self.condition()? })
    }
}
