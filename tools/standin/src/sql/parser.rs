//! Reads a statement's tokens into a `Statement`.
//!
//! In: SQL text. Out: a `Statement` or StarRocks' syntax error with line and column.
//! Always: one statement per text; what stands behind it, other than one `;`, is refused.
//! Not here: whether names exist and values fit (`ddl`, `select`).
//! Start at `parse`. The grammar is StarRocks' (`StarRocks.g4`), cut down to what clients of a sink need.

use super::ast::*;
use super::error::SqlError;
use super::lexer::{Token, TokenKind, place, tokens};

// Words StarRocks does not take as a name unless quoted (docs, sql-reference/keywords.md), as far as they can stand
// where a name is expected.
const RESERVED: &[&str] = &[
    "ADD",
    "ALL",
    "ALTER",
    "ANALYZE",
    "AND",
    "ARRAY",
    "AS",
    "ASC",
    "BETWEEN",
    "BIGINT",
    "BITMAP",
    "BOTH",
    "BY",
    "CASE",
    "CHAR",
    "CHARACTER",
    "CHECK",
    "COLLATE",
    "COLUMN",
    "COMPACTION",
    "CONVERT",
    "CREATE",
    "CROSS",
    "CUBE",
    "CURRENT_DATE",
    "CURRENT_ROLE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "CURRENT_USER",
    "DATABASE",
    "DATABASES",
    "DECIMAL",
    "DECIMALV2",
    "DECIMAL32",
    "DECIMAL64",
    "DECIMAL128",
    "DEFAULT",
    "DEFERRED",
    "DELETE",
    "DENSE_RANK",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "DOUBLE",
    "DROP",
    "DUAL",
    "ELSE",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "FALSE",
    "FLOAT",
    "FOR",
    "FORCE",
    "FROM",
    "FULL",
    "FUNCTION",
    "GRANT",
    "GROUP",
    "GROUPING",
    "HAVING",
    "HLL",
    "IF",
    "IMMEDIATE",
    "IN",
    "INDEX",
    "INNER",
    "INSERT",
    "INT",
    "INTEGER",
    "INTERSECT",
    "INTO",
    "IS",
    "JOIN",
    "JSON",
    "KEY",
    "KEYS",
    "KILL",
    "LARGEINT",
    "LATERAL",
    "LEFT",
    "LIKE",
    "LIMIT",
    "LOAD",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "MAXVALUE",
    "MINUS",
    "MOD",
    "NOT",
    "NULL",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "PERCENTILE",
    "PRIMARY",
    "PROCEDURE",
    "QUALIFY",
    "RANGE",
    "RANK",
    "READ",
    "REGEXP",
    "RELEASE",
    "RENAME",
    "REPLACE",
    "REVOKE",
    "RIGHT",
    "RLIKE",
    "ROW",
    "ROWS",
    "SCHEMA",
    "SCHEMAS",
    "SELECT",
    "SET",
    "SHOW",
    "SMALLINT",
    "SYSTEM",
    "TABLE",
    "TERMINATED",
    "TEXT",
    "THEN",
    "TINYINT",
    "TO",
    "TRUE",
    "UNION",
    "UNIQUE",
    "UNSIGNED",
    "UPDATE",
    "USE",
    "USING",
    "VALUES",
    "VARCHAR",
    "WHEN",
    "WHERE",
    "WITH",
];

/// Whether StarRocks takes `word` as a name only in back-quotes.
pub fn is_reserved(word: &str) -> bool {
    RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(word))
}

/// The statement in `sql`.
pub fn parse(sql: &str) -> Result<Statement, SqlError> {
    let mut parser = Parser { sql, tokens: tokens(sql)?, at: 0, depth: 0 };
    parser.statement()
}

/// A literal standing alone in `text`, for tests and for DEFAULT values read back.
#[cfg(test)]
fn parse_literal(text: &str) -> Result<Literal, SqlError> {
    let mut parser = Parser { sql: text, tokens: tokens(text)?, at: 0, depth: 0 };
    parser.literal()
}

// Arrays inside arrays, at most: what is deeper than this is no statement but an attack on the stack.
const DEPTH_MAX: usize = 64;

struct Parser<'a> {
    sql: &'a str,
    tokens: Vec<Token>,
    at: usize,
    /// Arrays open around the current token.
    depth: usize,
}

impl Parser<'_> {
    // ---- tokens ----

    fn token(&self) -> &Token {
        // The lexer always ends with End, and `advance` stays on it.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn ahead(&self, count: usize) -> &Token {
        &self.tokens[(self.at + count).min(self.tokens.len() - 1)]
    }

    fn advance(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    fn unexpected(&self, similar: &str) -> SqlError {
        let token = self.token();
        let (line, column) = place(self.sql, token.start);
        let text = if token.kind == TokenKind::End { "<EOF>" } else { &self.sql[token.start..token.end] };
        SqlError::syntax(line, column, format!("Unexpected input '{text}', the most similar input is {{{similar}}}"))
    }

    fn is_end(&self) -> bool {
        self.token().kind == TokenKind::End
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.token().is_word(word);
        if found {
            self.advance();
        }
        found
    }

    fn take_words(&mut self, words: &[&str]) -> bool {
        let found = words.iter().enumerate().all(|(index, word)| self.ahead(index).is_word(word));
        if found {
            words.iter().for_each(|_| self.advance());
        }
        found
    }

    fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = self.token().is_symbol(symbol);
        if found {
            self.advance();
        }
        found
    }

    fn expect_word(&mut self, word: &str) -> Result<(), SqlError> {
        if self.take_word(word) { Ok(()) } else { Err(self.unexpected(&format!("'{word}'"))) }
    }

    fn expect_symbol(&mut self, symbol: &str) -> Result<(), SqlError> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(self.unexpected(&format!("'{symbol}'"))) }
    }

    /// A name: quoted, or a word that is not reserved.
    fn name(&mut self) -> Result<String, SqlError> {
        let name = match &self.token().kind {
            TokenKind::Name(name) => name.clone(),
            TokenKind::Word(word) if !is_reserved(word) => word.clone(),
            _ => return Err(self.unexpected("a legal identifier")),
        };
        self.advance();
        Ok(name)
    }

    fn names_in_brackets(&mut self) -> Result<Vec<String>, SqlError> {
        self.expect_symbol("(")?;
        let mut names = vec![self.name()?];
        while self.take_symbol(",") {
            names.push(self.name()?);
        }
        self.expect_symbol(")")?;
        Ok(names)
    }

    fn table_name(&mut self) -> Result<TableName, SqlError> {
        let mut parts = vec![self.name()?];
        while self.take_symbol(".") {
            parts.push(self.name()?);
        }
        let table = parts.pop().unwrap_or_default();
        Ok(TableName { database: parts.pop(), table })
    }

    fn text(&mut self) -> Result<String, SqlError> {
        let TokenKind::Text(text) = &self.token().kind else { return Err(self.unexpected("a string")) };
        let text = text.clone();
        self.advance();
        Ok(text)
    }

    fn whole_number(&mut self) -> Result<u64, SqlError> {
        let number = match &self.token().kind {
            TokenKind::Number(text) => text.parse().ok(),
            _ => None,
        };
        let Some(number) = number else { return Err(self.unexpected("INTEGER_VALUE")) };
        self.advance();
        Ok(number)
    }

    fn if_exists(&mut self) -> Result<bool, SqlError> {
        if !self.take_word("IF") {
            return Ok(false);
        }
        self.expect_word("EXISTS")?;
        Ok(true)
    }

    fn if_not_exists(&mut self) -> Result<bool, SqlError> {
        if !self.take_word("IF") {
            return Ok(false);
        }
        self.expect_word("NOT")?;
        self.expect_word("EXISTS")?;
        Ok(true)
    }

    /// Text from the current token to the end, without the closing `;`; the position moves to the end.
    fn rest(&mut self) -> Result<String, SqlError> {
        let start = self.token().start;
        while !self.is_end() && !self.token().is_symbol(";") {
            self.advance();
        }
        let end = self.token().start;
        Ok(self.sql[start.min(end)..end].trim_end().to_owned())
    }

    /// Text up to (not with) the first of `stops` outside brackets.
    fn text_until(&mut self, stops: &[&str]) -> String {
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

    // ---- statements ----

    fn statement(&mut self) -> Result<Statement, SqlError> {
        while self.take_symbol(";") {}
        let statement = self.statement_body()?;
        while self.take_symbol(";") {}
        if self.is_end() { Ok(statement) } else { Err(self.unexpected("<EOF>, ';'")) }
    }

    fn statement_body(&mut self) -> Result<Statement, SqlError> {
        let first = match &self.token().kind {
            TokenKind::Word(word) => word.to_ascii_uppercase(),
            TokenKind::Symbol("(") => "(".to_owned(),
            _ => String::new(),
        };
        match first.as_str() {
            "SELECT" | "WITH" | "VALUES" | "(" => Ok(Statement::Query(self.rest()?)),
            "CREATE" => self.create(),
            "DROP" => self.drop(),
            "ALTER" => self.alter(),
            "TRUNCATE" => {
                self.advance();
                self.expect_word("TABLE")?;
                Ok(Statement::Truncate(self.table_name()?))
            }
            "USE" => {
                self.advance();
                let name = self.table_name()?;
                Ok(Statement::Use(name.table))
            }
            "SET" => self.set(),
            "SHOW" => self.show(),
            "DESC" | "DESCRIBE" | "EXPLAIN" => self.describe(),
            "ADMIN" => self.admin(),
            "KILL" => {
                self.advance();
                let _scope = self.take_word("QUERY") || self.take_word("CONNECTION");
                Ok(Statement::Kill(self.whole_number()?))
            }
            "INSERT" => self.insert(),
            "DELETE" => self.delete(),
            "UPDATE" => self.update(),
            "BEGIN" | "COMMIT" | "ROLLBACK" => {
                self.advance();
                let _work = self.take_word("WORK");
                Ok(Statement::TransactionControl)
            }
            "START" => {
                self.advance();
                self.expect_word("TRANSACTION")?;
                self.rest()?;
                Ok(Statement::TransactionControl)
            }
            "CANCEL" => self.cancel(),
            // Statements StarRocks has, for things there are none of here.
            "GRANT" | "REVOKE" | "ANALYZE" | "REFRESH" | "SUBMIT" | "EXPORT" | "LOAD" | "BACKUP" | "RESTORE"
            | "RECOVER" | "INSTALL" | "EXECUTE" => Err(SqlError::not_modelled(format!("{first} statements"))),
            _ => Err(self.unexpected("'SELECT', 'CREATE', 'ALTER', 'DROP', 'INSERT', 'SHOW', 'SET', '(', ';'")),
        }
    }

    fn create(&mut self) -> Result<Statement, SqlError> {
        self.advance();
        if self.take_word("DATABASE") || self.take_word("SCHEMA") {
            let if_not_exists = self.if_not_exists()?;
            let name = self.table_name()?.table;
            if self.take_word("PROPERTIES") {
                self.properties()?;
            }
            return Ok(Statement::CreateDatabase { if_not_exists, name });
        }
        if !self.take_word("TABLE") {
            return Err(self.other_object("CREATE"));
        }
        let if_not_exists = self.if_not_exists()?;
        let name = self.table_name()?;
        if self.take_word("LIKE") {
            return Ok(Statement::CreateTableLike { if_not_exists, name, like: self.table_name()? });
        }
        self.create_table(if_not_exists, name)
    }

    fn create_table(&mut self, if_not_exists: bool, name: TableName) -> Result<Statement, SqlError> {
        self.expect_symbol("(")?;
        let mut columns = vec![self.column_definition()?];
        while self.take_symbol(",") {
            // An index definition is read over: the stand-in has no use for indexes.
            if self.token().is_word("INDEX") {
                self.text_until_closing();
                continue;
            }
            columns.push(self.column_definition()?);
        }
        self.expect_symbol(")")?;
        let mut create = CreateTable {
            if_not_exists,
            name,
            columns,
            engine: None,
            keys: None,
            comment: None,
            partition_by: None,
            distribution: None,
            order_by: Vec::new(),
            properties: Vec::new(),
        };
        self.table_clauses(&mut create)?;
        Ok(Statement::CreateTable(create))
    }

    /// Moves to the `,` or `)` that ends a list item.
    fn text_until_closing(&mut self) {
        let mut depth = 0_i64;
        while !self.is_end() {
            let token = self.token();
            if depth == 0 && (token.is_symbol(",") || token.is_symbol(")")) {
                return;
            }
            if token.is_symbol("(") {
                depth += 1;
            } else if token.is_symbol(")") {
                depth -= 1;
            }
            self.advance();
        }
    }

    /// The clauses behind the column list; their order is fixed (docs, CREATE TABLE).
    fn table_clauses(&mut self, create: &mut CreateTable) -> Result<(), SqlError> {
        if self.take_word("ENGINE") {
            self.expect_symbol("=")?;
            create.engine = Some(self.engine_name()?);
        }
        create.keys = self.key_clause()?;
        if self.take_word("COMMENT") {
            let _equals = self.take_symbol("=");
            create.comment = Some(self.text()?);
        }
        if self.take_words(&["PARTITION", "BY"]) {
            let text = self.text_until(&["DISTRIBUTED", "ORDER", "PROPERTIES"]);
            if text.is_empty() {
                return Err(self.unexpected("'RANGE', 'LIST', '(', a legal identifier"));
            }
            create.partition_by = Some(text);
        }
        if self.take_words(&["DISTRIBUTED", "BY"]) {
            create.distribution = Some(self.distribution()?);
        }
        if self.take_words(&["ORDER", "BY"]) {
            create.order_by = self.names_in_brackets()?;
        }
        if self.take_word("PROPERTIES") {
            create.properties = self.properties()?;
        }
        Ok(())
    }

    fn engine_name(&mut self) -> Result<String, SqlError> {
        if let TokenKind::Text(text) = &self.token().kind {
            let text = text.clone();
            self.advance();
            return Ok(text);
        }
        self.name()
    }

    fn key_clause(&mut self) -> Result<Option<(KeyModel, Vec<String>)>, SqlError> {
        let models = [
            ("PRIMARY", KeyModel::Primary),
            ("DUPLICATE", KeyModel::Duplicate),
            ("UNIQUE", KeyModel::Unique),
            ("AGGREGATE", KeyModel::Aggregate),
        ];
        for (word, model) in models {
            if self.take_word(word) {
                self.expect_word("KEY")?;
                return Ok(Some((model, self.names_in_brackets()?)));
            }
        }
        Ok(None)
    }

    fn distribution(&mut self) -> Result<Distribution, SqlError> {
        let hash_columns = if self.take_word("HASH") {
            self.names_in_brackets()?
        } else {
            self.expect_word("RANDOM")?;
            Vec::new()
        };
        let buckets = if self.take_word("BUCKETS") { Some(self.whole_number()?) } else { None };
        Ok(Distribution { hash_columns, buckets })
    }

    fn properties(&mut self) -> Result<Vec<(String, String)>, SqlError> {
        self.expect_symbol("(")?;
        let mut properties = Vec::new();
        loop {
            let name = match &self.token().kind {
                TokenKind::Text(_) => self.text()?,
                _ => self.name()?,
            };
            self.expect_symbol("=")?;
            properties.push((name, self.text()?));
            if !self.take_symbol(",") {
                break;
            }
        }
        self.expect_symbol(")")?;
        Ok(properties)
    }

    // ---- columns ----

    fn column_definition(&mut self) -> Result<ColumnDefinition, SqlError> {
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

    fn aggregate(&mut self) -> Option<String> {
        let known =
            ["SUM", "MAX", "MIN", "REPLACE", "HLL_UNION", "BITMAP_UNION", "PERCENTILE_UNION", "REPLACE_IF_NOT_NULL"];
        let found = known.iter().find(|word| self.token().is_word(word))?;
        self.advance();
        Some((*found).to_owned())
    }

    /// Nullability, then default or AUTO_INCREMENT or generation, then comment: the order is fixed.
    fn column_attributes(&mut self, column: &mut ColumnDefinition) -> Result<(), SqlError> {
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
    fn default_value(&mut self) -> Result<DefaultValue, SqlError> {
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

    fn type_name(&mut self) -> Result<TypeName, SqlError> {
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

    fn deeper(&mut self) -> Result<(), SqlError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(self.unexpected("fewer arrays inside arrays")) } else { Ok(()) }
    }

    /// One `>`; `>>` closes two arrays, so half of it is left.
    fn close_angle(&mut self) -> Result<(), SqlError> {
        if self.token().is_symbol(">>") {
            let index = self.at;
            self.tokens[index].kind = TokenKind::Symbol(">");
            self.tokens[index].start += 1;
            return Ok(());
        }
        self.expect_symbol(">")
    }

    fn literal(&mut self) -> Result<Literal, SqlError> {
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

    fn array_literal(&mut self) -> Result<Literal, SqlError> {
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

    // ---- drop, alter ----

    /// The refusal of CREATE, DROP or ALTER of something other than tables and databases.
    fn other_object(&self, verb: &str) -> SqlError {
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

    fn cancel(&mut self) -> Result<Statement, SqlError> {
        self.advance();
        self.expect_word("ALTER")?;
        self.expect_word("TABLE")?;
        self.expect_word("COLUMN")?;
        self.expect_word("FROM")?;
        Ok(Statement::CancelAlter(self.table_name()?))
    }

    fn drop(&mut self) -> Result<Statement, SqlError> {
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

    fn alter(&mut self) -> Result<Statement, SqlError> {
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

    fn alter_clause(&mut self) -> Result<AlterClause, SqlError> {
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

    fn add_columns(&mut self) -> Result<AlterClause, SqlError> {
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
    fn no_rollup(&mut self) -> Result<(), SqlError> {
        if self.token().is_word("TO") || self.token().is_word("IN") || self.token().is_word("FROM") {
            return Err(SqlError::not_modelled("rollups"));
        }
        Ok(())
    }

    fn column_position(&mut self) -> Result<Option<ColumnPosition>, SqlError> {
        if self.take_word("FIRST") {
            return Ok(Some(ColumnPosition::First));
        }
        if self.take_word("AFTER") {
            return Ok(Some(ColumnPosition::After(self.name()?)));
        }
        Ok(None)
    }

    fn modify_column(&mut self) -> Result<AlterClause, SqlError> {
        if self.ahead(1).is_word("COMMENT") {
            let name = self.name()?;
            self.advance();
            return Ok(AlterClause::CommentColumn(name, self.text()?));
        }
        let column = self.column_definition()?;
        Ok(AlterClause::ModifyColumn(column, self.column_position()?))
    }

    // ---- session ----

    fn set(&mut self) -> Result<Statement, SqlError> {
        self.advance();
        let mut items = vec![self.set_item()?];
        while self.take_symbol(",") {
            items.push(self.set_item()?);
        }
        Ok(Statement::Set(items))
    }

    fn set_item(&mut self) -> Result<SetItem, SqlError> {
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

    fn set_value(&mut self) -> Result<Literal, SqlError> {
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

    // ---- show ----

    fn show(&mut self) -> Result<Statement, SqlError> {
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

    fn show_kind(&mut self) -> Result<ShowKind, SqlError> {
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
    fn show_with_names(&mut self, first: &str, full: bool) -> Result<ShowKind, SqlError> {
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

    fn written_database(&mut self) -> Result<Option<String>, SqlError> {
        if self.take_word("FROM") || self.take_word("IN") {
            return Ok(Some(self.table_name()?.table));
        }
        Ok(None)
    }

    fn written_table(&mut self) -> Result<TableName, SqlError> {
        if !self.take_word("FROM") && !self.take_word("IN") {
            return Err(self.unexpected("'FROM', 'IN'"));
        }
        let mut table = self.table_name()?;
        if let Some(database) = self.written_database()? {
            table.database = Some(database);
        }
        Ok(table)
    }

    fn show_create(&mut self) -> Result<ShowKind, SqlError> {
        self.advance();
        if self.take_word("DATABASE") || self.take_word("SCHEMA") {
            return Ok(ShowKind::CreateDatabase(self.name()?));
        }
        if !self.take_word("TABLE") {
            return Err(self.unexpected("'TABLE', 'DATABASE'"));
        }
        Ok(ShowKind::CreateTable(self.table_name()?))
    }

    fn show_alter(&mut self) -> Result<ShowKind, SqlError> {
        self.advance();
        self.expect_word("TABLE")?;
        for jobs in ["COLUMN", "ROLLUP", "OPTIMIZE"] {
            if self.take_word(jobs) {
                return Ok(ShowKind::AlterTable { jobs: jobs.to_owned(), database: self.written_database()? });
            }
        }
        Err(self.unexpected("'COLUMN', 'OPTIMIZE', 'ROLLUP'"))
    }

    fn show_load(&mut self) -> Result<ShowKind, SqlError> {
        if self.take_word("STREAM") {
            self.expect_word("LOAD")?;
        } else {
            self.advance();
        }
        self.written_database()?;
        Ok(ShowKind::Load)
    }

    fn describe(&mut self) -> Result<Statement, SqlError> {
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

    fn admin(&mut self) -> Result<Statement, SqlError> {
        self.advance();
        if !self.take_words(&["SHOW", "FRONTEND", "CONFIG"]) {
            return Err(SqlError::not_modelled("ADMIN statements other than ADMIN SHOW FRONTEND CONFIG"));
        }
        let like = if self.take_word("LIKE") { Some(self.text()?) } else { None };
        Ok(Statement::AdminShowConfig(like))
    }

    // ---- data ----

    fn insert(&mut self) -> Result<Statement, SqlError> {
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

    fn value_row(&mut self) -> Result<Vec<Literal>, SqlError> {
        self.expect_symbol("(")?;
        let mut row = vec![self.literal()?];
        while self.take_symbol(",") {
            row.push(self.literal()?);
        }
        self.expect_symbol(")")?;
        Ok(row)
    }

    fn delete(&mut self) -> Result<Statement, SqlError> {
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

    fn condition(&mut self) -> Result<String, SqlError> {
        let condition = self.rest()?;
        if condition.is_empty() { Err(self.unexpected("an expression")) } else { Ok(condition) }
    }

    fn update(&mut self) -> Result<Statement, SqlError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &[&str] = &[
        "CREATE DATABASE IF NOT EXISTS `a b` PROPERTIES (\"replication_num\" = \"1\")",
        "CREATE TABLE IF NOT EXISTS `d`.`t` (`id` BIGINT NOT NULL COMMENT \"it's\", `n` VARCHAR(765) NULL DEFAULT 'x', \
         doc JSON, p DECIMAL(38, 9), a ARRAY<ARRAY<INT>>, ts DATETIME DEFAULT CURRENT_TIMESTAMP(6), INDEX i (n) USING \
         BITMAP) ENGINE=OLAP PRIMARY KEY (`id`) COMMENT 'c' PARTITION BY RANGE(id) (PARTITION p1 VALUES LESS THAN \
         (\"1\")) DISTRIBUTED BY HASH(`id`) BUCKETS 4 ORDER BY (n) PROPERTIES (\"replication_num\" = \"1\", 'a' = 'b');",
        "CREATE TABLE a LIKE b",
        "DROP TABLE IF EXISTS default_catalog.d.t FORCE",
        "DROP DATABASE d",
        "ALTER TABLE t ADD COLUMN c INT DEFAULT '1' AFTER b, ADD COLUMN (d INT, e ARRAY<STRING> NULL), DROP COLUMN x, \
         MODIFY COLUMN y BIGINT FIRST, MODIFY COLUMN z COMMENT 'q', RENAME COLUMN a TO b",
        "ALTER TABLE t SWAP WITH u",
        "ALTER TABLE t RENAME u",
        "ALTER TABLE t SET (\"in_memory\" = \"false\")",
        "TRUNCATE TABLE d.t",
        "SET NAMES utf8mb4, autocommit = 1, @@session.sql_mode = '', x = -1, y = ON",
        "SHOW ALTER TABLE COLUMN FROM d WHERE TableName = 't' ORDER BY CreateTime DESC LIMIT 1",
        "SHOW FULL COLUMNS FROM t FROM d LIKE 'a%'",
        "SHOW CREATE TABLE d.t",
        "SHOW VARIABLES LIKE 'x'",
        "DESC t ALL",
        "EXPLAIN SELECT 1",
        "ADMIN SHOW FRONTEND CONFIG LIKE 'run_mode'",
        "INSERT INTO t (a, b) VALUES (1, 'x'), (-2.5, NULL), (DEFAULT, [1, [2]])",
        "INSERT INTO t WITH LABEL l SELECT 1",
        "DELETE FROM t WHERE a = 1",
        "UPDATE t SET a = (b + 1), c = 'WHERE' WHERE d IN (1, 2)",
        "KILL QUERY 7",
        "CANCEL ALTER TABLE COLUMN FROM d.t",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "START TRANSACTION READ ONLY",
    ];

    #[test]
    fn valid_statements_are_read() {
        for sql in VALID {
            if let Err(error) = parse(sql) {
                panic!("{sql}: {error}");
            }
        }
    }

    #[test]
    fn every_prefix_is_an_error_or_a_statement() {
        for sql in VALID {
            for end in 0..sql.len() {
                // Either answer is right; what is tested is that there is one.
                let _answer = parse(&sql[..end]);
            }
        }
    }

    #[test]
    fn errors_name_the_place() {
        let cases = [
            ("reserved word", "CREATE DATABASE LIKE", "line 1, column 16. Detail message: Unexpected input 'LIKE'"),
            ("no IF NOT EXISTS for columns", "ALTER TABLE t ADD COLUMN IF NOT EXISTS c INT", "column 25"),
            ("not SQL", "elect 1", "line 1, column 0. Detail message: Unexpected input 'elect'"),
            ("two statements", "TRUNCATE TABLE a; TRUNCATE TABLE b", "Unexpected input 'TRUNCATE'"),
            ("clause order", "CREATE TABLE t (a INT) DISTRIBUTED BY HASH(a) PRIMARY KEY (a)", "'PRIMARY'"),
            ("second line", "CREATE TABLE t\n(a INT NOT)", "line 2, column 7"),
            (
                "a default is quoted",
                "CREATE TABLE t (a INT DEFAULT 0)",
                "column 30. Detail message: Unexpected input '0'",
            ),
            ("attributes in order", "CREATE TABLE t (a INT COMMENT 'x' NOT NULL)", "Unexpected input 'NOT'"),
            ("not modelled", "CREATE VIEW v AS SELECT 1", "does not model CREATE VIEW"),
            ("not too deep", &format!("INSERT INTO t VALUES ({})", "[".repeat(100_000)), "fewer arrays inside arrays"),
            ("nor in types", &format!("CREATE TABLE t (a {})", "ARRAY<".repeat(100_000)), "fewer arrays inside arrays"),
            ("signs do not nest", &format!("INSERT INTO t VALUES ({}1)", "- ".repeat(100_000)), "Unexpected input '-'"),
            ("constant only", "SET sql_mode=(SELECT 1)", "Set statement only support constant expr"),
        ];
        for (name, sql, want) in cases {
            let error = parse(sql).expect_err(name);
            assert_eq!(error.code, 1064, "{name}");
            assert!(error.message.contains(want), "{name}: {}", error.message);
        }
    }

    #[test]
    fn literals_keep_their_digits() {
        let cases = [
            ("-12345678901234567890.123", Literal::Number("-12345678901234567890.123".into())),
            ("'a''b'", Literal::Text("a'b".into())),
            ("x'00ff'", Literal::Bytes(vec![0, 255])),
            ("[1, null]", Literal::Array(vec![Literal::Number("1".into()), Literal::Null])),
            ("true", Literal::Boolean(true)),
        ];
        for (text, want) in cases {
            assert_eq!(parse_literal(text).expect(text), want, "{text}");
        }
    }
}
