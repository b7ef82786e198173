//! Reads a statement's tokens into a `Statement`.
//!
//! In: SQL text. Out: a `Statement` or StarRocks' syntax error with line and column.
//! Always: one statement per text; what stands behind it, other than one `;`, is refused.
//! Not here: whether names exist and values fit (`ddl`, `select`).
//! Start at `parse`, then `Parser::statement`. The grammar is StarRocks' (`StarRocks.g4`), cut down to what clients of
//! a sink need.

mod alter;
mod columns;
mod cursor;
mod data;
mod show;

use cursor::Parser;

use super::ast::*;
use super::error::SqlError;
use super::lexer::{TokenKind, tokens};

pub use show::plain_variable;

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

impl Parser<'_> {
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
