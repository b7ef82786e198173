//! Columns, types, defaults and constants.

use super::cursor::{DEPTH_MAX, Parser};
use crate::sql::ast::{ColumnDefinition, DefaultValue, Literal, TypeName};
use crate::sql::error::SqlError;
use crate::sql::lexer::TokenKind;

impl Parser<'_> {
    pub(super) fn column_definition(&mut self) -> Result<ColumnDefinition, SqlError> {
        let start = self.token().start;
        let name = self.name()?;
        let type_name = self.type_name()?;
        let mut column = ColumnDefinition {
            name,
            type_name,
            key: false,
            aggregate: None,
            nullable: None,
            default: None,
            auto_increment: false,
            generated: false,
            comment: None,
            range: (start, start),
        };
        if self.take_words(&["CHARACTER", "SET"]) || self.take_word("CHARSET") {
            self.name()?;
        }
        column.key = self.take_word("KEY");
        column.aggregate = self.aggregate();
        self.column_attributes(&mut column)?;
        column.range = (start, self.tokens[self.at.saturating_sub(1)].start);
        Ok(column)
    }

    pub(super) fn aggregate(&mut self) -> Option<String> {
        let known =
            ["SUM", "MAX", "MIN", "REPLACE", "HLL_UNION", "BITMAP_UNION", "PERCENTILE_UNION", "REPLACE_IF_NOT_NULL"];
        let found = known.iter().find(|word| self.token().is_word(word))?;
        self.advance();
        Some((*found).to_owned())
    }

    /// Nullability, then default or AUTO_INCREMENT or generation, then comment: the order is fixed.
    pub(super) fn column_attributes(&mut self, column: &mut ColumnDefinition) -> Result<(), SqlError> {
        if self.take_word("NULL") {
            column.nullable = Some(true);
        } else if self.take_words(&["NOT", "NULL"]) {
            column.nullable = Some(false);
        }
        if self.take_word("DEFAULT") {
            column.default = Some(self.default_value()?);
        } else if self.take_word("AUTO_INCREMENT") {
            column.auto_increment = true;
        } else if self.take_word("AS") {
            column.generated = true;
            self.text_until_closing();
        }
        if self.take_word("COMMENT") {
            column.comment = Some(self.text()?);
        }
        Ok(())
    }

    /// A string, NULL, CURRENT_TIMESTAMP or `(function())`. A bare number is none of them.
    pub(super) fn default_value(&mut self) -> Result<DefaultValue, SqlError> {
        if self.take_word("CURRENT_TIMESTAMP") {
            let mut text = "CURRENT_TIMESTAMP".to_owned();
            if self.take_symbol("(") {
                if !self.token().is_symbol(")") {
                    text = format!("CURRENT_TIMESTAMP({})", self.whole_number()?);
                }
                self.expect_symbol(")")?;
            }
            return Ok(DefaultValue::Expression(text));
        }
        if self.token().is_symbol("(") {
            let start = self.token().start;
            self.advance();
            self.text_until_closing();
            self.expect_symbol(")")?;
            let end = self.tokens[self.at.saturating_sub(1)].end;
            return Ok(DefaultValue::Expression(self.sql[start..end].to_owned()));
        }
        if self.take_word("NULL") {
            return Ok(DefaultValue::Constant(Literal::Null));
        }
        if matches!(self.token().kind, TokenKind::Text(_)) {
            return Ok(DefaultValue::Constant(Literal::Text(self.text()?)));
        }
        Err(self.unexpected("a string, 'NULL', 'CURRENT_TIMESTAMP', '('"))
    }

    pub(super) fn type_name(&mut self) -> Result<TypeName, SqlError> {
        let TokenKind::Word(word) = &self.token().kind else { return Err(self.unexpected("a type")) };
        let name = word.to_ascii_lowercase();
        self.advance();
        if name == "array" {
            self.expect_symbol("<")?;
            self.deeper()?;
            let element = self.type_name()?;
            self.close_angle()?;
            self.depth -= 1;
            return Ok(TypeName { name, arguments: Vec::new(), element: Some(Box::new(element)) });
        }
        let mut arguments = Vec::new();
        if self.take_symbol("(") {
            arguments.push(self.whole_number()?);
            while self.take_symbol(",") {
                arguments.push(self.whole_number()?);
            }
            self.expect_symbol(")")?;
        }
        let _signed = self.take_word("SIGNED");
        Ok(TypeName { name, arguments, element: None })
    }

    pub(super) fn deeper(&mut self) -> Result<(), SqlError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(self.unexpected("fewer arrays inside arrays")) } else { Ok(()) }
    }

    /// One `>`; `>>` closes two arrays, so half of it is left.
    pub(super) fn close_angle(&mut self) -> Result<(), SqlError> {
        if self.token().is_symbol(">>") {
            let index = self.at;
            self.tokens[index].kind = TokenKind::Symbol(">");
            self.tokens[index].start += 1;
            return Ok(());
        }
        self.expect_symbol(">")
    }

    pub(super) fn literal(&mut self) -> Result<Literal, SqlError> {
        if self.take_symbol("-") {
            let TokenKind::Number(number) = &self.token().kind else { return Err(self.unexpected("a number")) };
            let negative = Literal::Number(format!("-{number}"));
            self.advance();
            return Ok(negative);
        }
        let _plus = self.take_symbol("+");
        if self.token().is_symbol("[") || (self.token().is_word("ARRAY") && self.ahead(1).is_symbol("[")) {
            return self.array_literal();
        }
        let literal = match &self.token().kind {
            TokenKind::Number(number) => Literal::Number(number.clone()),
            TokenKind::Text(text) => Literal::Text(text.clone()),
            TokenKind::Hex(bytes) => Literal::Bytes(bytes.clone()),
            TokenKind::Word(word) if word.eq_ignore_ascii_case("null") => Literal::Null,
            TokenKind::Word(word) if word.eq_ignore_ascii_case("true") => Literal::Boolean(true),
            TokenKind::Word(word) if word.eq_ignore_ascii_case("false") => Literal::Boolean(false),
            TokenKind::Word(word) if word.eq_ignore_ascii_case("default") => Literal::Default,
            _ => return Err(self.unexpected("a constant")),
        };
        self.advance();
        Ok(literal)
    }

    pub(super) fn array_literal(&mut self) -> Result<Literal, SqlError> {
        let _word = self.take_word("ARRAY");
        self.expect_symbol("[")?;
        self.deeper()?;
        let mut elements = Vec::new();
        while !self.token().is_symbol("]") {
            elements.push(self.literal()?);
            if !self.take_symbol(",") {
                break;
            }
        }
        self.expect_symbol("]")?;
        self.depth -= 1;
        Ok(Literal::Array(elements))
    }
}
