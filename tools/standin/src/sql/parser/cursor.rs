//! The parser's place in the tokens, and the small things statements are made of: names, lists, strings, numbers.
//!
//! Always: the place never leaves the tokens; a refusal names the line and column it stands at.

use super::is_reserved;
use crate::sql::ast::TableName;
use crate::sql::error::SqlError;
use crate::sql::lexer::{Token, TokenKind, place};

// Arrays inside arrays, at most: what is deeper than this is no statement but an attack on the stack.
pub(super) const DEPTH_MAX: usize = 64;

pub(super) struct Parser<'a> {
    pub(super) sql: &'a str,
    pub(super) tokens: Vec<Token>,
    pub(super) at: usize,
    /// Arrays open around the current token.
    pub(super) depth: usize,
}

impl Parser<'_> {
    pub(super) fn token(&self) -> &Token {
        // The lexer always ends with End, and `advance` stays on it.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    pub(super) fn ahead(&self, count: usize) -> &Token {
        &self.tokens[(self.at + count).min(self.tokens.len() - 1)]
    }

    pub(super) fn advance(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    pub(super) fn unexpected(&self, similar: &str) -> SqlError {
        let token = self.token();
        let (line, column) = place(self.sql, token.start);
        let text = if token.kind == TokenKind::End { "<EOF>" } else { &self.sql[token.start..token.end] };
        SqlError::syntax(line, column, format!("Unexpected input '{text}', the most similar input is {{{similar}}}"))
    }

    pub(super) fn is_end(&self) -> bool {
        self.token().kind == TokenKind::End
    }

    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let found = self.token().is_word(word);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn take_words(&mut self, words: &[&str]) -> bool {
        let found = words.iter().enumerate().all(|(index, word)| self.ahead(index).is_word(word));
        if found {
            words.iter().for_each(|_| self.advance());
        }
        found
    }

    pub(super) fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = self.token().is_symbol(symbol);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<(), SqlError> {
        if self.take_word(word) { Ok(()) } else { Err(self.unexpected(&format!("'{word}'"))) }
    }

    pub(super) fn expect_symbol(&mut self, symbol: &str) -> Result<(), SqlError> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(self.unexpected(&format!("'{symbol}'"))) }
    }

    /// A name: quoted, or a word that is not reserved.
    pub(super) fn name(&mut self) -> Result<String, SqlError> {
        let name = match &self.token().kind {
            TokenKind::Name(name) => name.clone(),
            TokenKind::Word(word) if !is_reserved(word) => word.clone(),
            _ => return Err(self.unexpected("a legal identifier")),
        };
        self.advance();
        Ok(name)
    }

    pub(super) fn names_in_brackets(&mut self) -> Result<Vec<String>, SqlError> {
        self.expect_symbol("(")?;
        let mut names = vec![self.name()?];
        while self.take_symbol(",") {
            names.push(self.name()?);
        }
        self.expect_symbol(")")?;
        Ok(names)
    }

    pub(super) fn table_name(&mut self) -> Result<TableName, SqlError> {
        let mut parts = vec![self.name()?];
        while self.take_symbol(".") {
            parts.push(self.name()?);
        }
        let table = parts.pop().unwrap_or_default();
        Ok(TableName { database: parts.pop(), table })
    }

    pub(super) fn text(&mut self) -> Result<String, SqlError> {
        let TokenKind::Text(text) = &self.token().kind else { return Err(self.unexpected("a string")) };
        let text = text.clone();
        self.advance();
        Ok(text)
    }

    pub(super) fn whole_number(&mut self) -> Result<u64, SqlError> {
        let number = match &self.token().kind {
            TokenKind::Number(text) => text.parse().ok(),
            _ => None,
        };
        let Some(number) = number else { return Err(self.unexpected("INTEGER_VALUE")) };
        self.advance();
        Ok(number)
    }

    pub(super) fn if_exists(&mut self) -> Result<bool, SqlError> {
        if !self.take_word("IF") {
            return Ok(false);
        }
        self.expect_word("EXISTS")?;
        Ok(true)
    }

    pub(super) fn if_not_exists(&mut self) -> Result<bool, SqlError> {
        if !self.take_word("IF") {
            return Ok(false);
        }
        self.expect_word("NOT")?;
        self.expect_word("EXISTS")?;
        Ok(true)
    }

    /// Text from the current token to the end, without the closing `;`; the position moves to the end.
    pub(super) fn rest(&mut self) -> Result<String, SqlError> {
        let start = self.token().start;
        while !self.is_end() && !self.token().is_symbol(";") {
            self.advance();
        }
        let end = self.token().start;
        Ok(self.sql[start.min(end)..end].trim_end().to_owned())
    }

    /// Text up to (not with) the first of `stops` outside brackets.
    pub(super) fn text_until(&mut self, stops: &[&str]) -> String {
        let start = self.token().start;
        let mut depth = 0_i64;
        while !self.is_end() {
            let token = self.token();
            if depth == 0
                && (token.is_symbol(";")
                    || stops.iter().any(|stop| token.is_word(stop) || (*stop == "," && token.is_symbol(","))))
            {
                break;
            }
            if token.is_symbol("(") {
                depth += 1;
            } else if token.is_symbol(")") {
                depth -= 1;
            }
            self.advance();
        }
        let end = self.token().start;
        self.sql[start.min(end)..end].trim_end().to_owned()
    }
}
