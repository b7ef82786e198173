//! Statements as data: what the parser hands to the executor.
//!
//! Always: names are as written, without quotes; nothing here has been looked up.
//! Not here: queries. A SELECT stays text and is read by `select`.

/// `table` or `database.table`. A catalog in front has been dropped by the parser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    /// The database, if written.
    pub database: Option<String>,
    /// The table.
    pub table: String,
}

/// A type as written: `decimal(10, 2)`, `array<int>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeName {
    /// Lower case; `bigint unsigned` has `unsigned` left out after being refused.
    pub name: String,
    /// Numbers in brackets.
    pub arguments: Vec<u64>,
    /// The type inside `array<..>`.
    pub element: Option<Box<TypeName>>,
}

/// A constant in a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `NULL`.
    Null,
    /// `DEFAULT`, in VALUES only.
    Default,
    /// `true`, `false`.
    Boolean(bool),
    /// Digits as written, with a minus sign in front if there was one.
    Number(String),
    /// A string.
    Text(String),
    /// `x'..'`.
    Bytes(Vec<u8>),
    /// `[1, 2]`.
    Array(Vec<Literal>),
}

/// The default of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum DefaultValue {
    /// A constant; `Literal::Null` for `DEFAULT NULL`.
    Constant(Literal),
    /// `CURRENT_TIMESTAMP`, `(uuid())`: the text to print.
    Expression(String),
}

/// A column of CREATE TABLE, ADD COLUMN or MODIFY COLUMN.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: String,
    /// Its type.
    pub type_name: TypeName,
    /// `KEY` written at the column.
    pub key: bool,
    /// `SUM`, `REPLACE`, ...: upper case.
    pub aggregate: Option<String>,
    /// `NULL` / `NOT NULL`, if written.
    pub nullable: Option<bool>,
    /// `DEFAULT`, if written.
    pub default: Option<DefaultValue>,
    /// `AUTO_INCREMENT` written.
    pub auto_increment: bool,
    /// `AS (expression)` written.
    pub generated: bool,
    /// `COMMENT`, if written.
    pub comment: Option<String>,
    /// Byte offsets of its first and last token, for errors that name a place.
    pub range: (usize, usize),
}

/// The four table models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyModel {
    /// `PRIMARY KEY`.
    Primary,
    /// `DUPLICATE KEY`.
    Duplicate,
    /// `UNIQUE KEY`.
    Unique,
    /// `AGGREGATE KEY`.
    Aggregate,
}

/// `DISTRIBUTED BY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// Columns of HASH; none means RANDOM.
    pub hash_columns: Vec<String>,
    /// BUCKETS, if written.
    pub buckets: Option<u64>,
}

/// `CREATE TABLE`.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateTable {
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// The new table.
    pub name: TableName,
    /// Its columns.
    pub columns: Vec<ColumnDefinition>,
    /// ENGINE, as written.
    pub engine: Option<String>,
    /// The key clause.
    pub keys: Option<(KeyModel, Vec<String>)>,
    /// COMMENT.
    pub comment: Option<String>,
    /// The text behind PARTITION BY.
    pub partition_by: Option<String>,
    /// DISTRIBUTED BY.
    pub distribution: Option<Distribution>,
    /// ORDER BY.
    pub order_by: Vec<String>,
    /// PROPERTIES, in the order written.
    pub properties: Vec<(String, String)>,
}

/// `FIRST` or `AFTER c`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnPosition {
    /// `FIRST`.
    First,
    /// `AFTER` this column.
    After(String),
}

/// One clause of ALTER TABLE.
#[derive(Clone, Debug, PartialEq)]
pub enum AlterClause {
    /// `ADD COLUMN c T [FIRST | AFTER x]` or `ADD COLUMN (..)`.
    AddColumns(Vec<(ColumnDefinition, Option<ColumnPosition>)>),
    /// `DROP COLUMN c`.
    DropColumn(String),
    /// `MODIFY COLUMN c T ..`.
    ModifyColumn(ColumnDefinition, Option<ColumnPosition>),
    /// `MODIFY COLUMN c COMMENT '..'`.
    CommentColumn(String, String),
    /// `RENAME COLUMN a TO b`.
    RenameColumn(String, String),
    /// `RENAME t`.
    Rename(String),
    /// `SWAP WITH t`.
    Swap(String),
    /// `SET ("name" = "value")`.
    SetProperties(Vec<(String, String)>),
    /// `COMMENT = '..'`.
    Comment(String),
}

/// What SHOW shows.
#[derive(Clone, Debug, PartialEq)]
pub enum ShowKind {
    /// `SHOW DATABASES` / `SCHEMAS`.
    Databases,
    /// `SHOW [FULL] TABLES [FROM d]`.
    Tables {
        /// With the type.
        full: bool,
        /// FROM.
        database: Option<String>,
    },
    /// `SHOW TABLE STATUS [FROM d]`.
    TableStatus {
        /// FROM.
        database: Option<String>,
    },
    /// `SHOW CREATE TABLE t`.
    CreateTable(TableName),
    /// `SHOW CREATE DATABASE d`.
    CreateDatabase(String),
    /// `SHOW [FULL] COLUMNS FROM t`.
    Columns {
        /// With comment and privileges.
        full: bool,
        /// The table.
        table: TableName,
    },
    /// `SHOW ALTER TABLE COLUMN | ROLLUP | OPTIMIZE [FROM d]`.
    AlterTable {
        /// Which jobs: `COLUMN`, `ROLLUP`, `OPTIMIZE`.
        jobs: String,
        /// FROM.
        database: Option<String>,
    },
    /// `SHOW FRONTENDS`.
    Frontends,
    /// `SHOW BACKENDS`.
    Backends,
    /// `SHOW COMPUTE NODES`.
    ComputeNodes,
    /// `SHOW [SESSION | GLOBAL] VARIABLES`.
    Variables,
    /// `SHOW LOAD`, `SHOW STREAM LOAD`: always empty, as StarRocks does not list plain loads there.
    Load,
    /// `SHOW WARNINGS` / `ERRORS`.
    Warnings,
    /// `SHOW PROC 'path'`.
    Proc(String),
    /// `SHOW GRANTS`.
    Grants,
    /// `SHOW PROCESSLIST`.
    ProcessList,
    /// `SHOW COLLATION`.
    Collation,
    /// `SHOW CHARACTER SET`.
    CharacterSet,
    /// `SHOW ENGINES`.
    Engines,
    /// `SHOW CATALOGS`.
    Catalogs,
    /// `SHOW INDEX FROM t`.
    Index(TableName),
    /// `SHOW STATUS`.
    Status,
}

/// `SHOW .. [LIKE 'x'] [WHERE ..] [ORDER BY ..] [LIMIT ..]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Show {
    /// What.
    pub kind: ShowKind,
    /// LIKE.
    pub like: Option<String>,
    /// The text from WHERE, ORDER BY or LIMIT on.
    pub tail: String,
}

/// `INSERT INTO t [(columns)] VALUES .. | SELECT ..`.
#[derive(Clone, Debug, PartialEq)]
pub struct Insert {
    /// The table.
    pub table: TableName,
    /// The columns named.
    pub columns: Vec<String>,
    /// VALUES; `None` when `query` holds a SELECT.
    pub rows: Vec<Vec<Literal>>,
    /// The text of the SELECT.
    pub query: Option<String>,
    /// `WITH LABEL`.
    pub label: Option<String>,
}

/// One assignment of SET.
#[derive(Clone, Debug, PartialEq)]
pub enum SetItem {
    /// `SET [GLOBAL] name = value`.
    Variable {
        /// Lower case, without `@@` and scope.
        name: String,
        /// The value.
        value: Literal,
    },
    /// `SET NAMES x`, `SET CHARACTER SET x`, `SET TRANSACTION ..`: accepted and without effect.
    NoEffect,
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// `CREATE DATABASE`.
    CreateDatabase {
        /// `IF NOT EXISTS`.
        if_not_exists: bool,
        /// Its name.
        name: String,
    },
    /// `DROP DATABASE`.
    DropDatabase {
        /// `IF EXISTS`.
        if_exists: bool,
        /// Its name.
        name: String,
    },
    /// `CREATE TABLE`.
    CreateTable(CreateTable),
    /// `CREATE TABLE a LIKE b`.
    CreateTableLike {
        /// `IF NOT EXISTS`.
        if_not_exists: bool,
        /// The new table.
        name: TableName,
        /// The pattern.
        like: TableName,
    },
    /// `DROP TABLE`.
    DropTable {
        /// `IF EXISTS`.
        if_exists: bool,
        /// The table.
        name: TableName,
    },
    /// `ALTER TABLE`.
    AlterTable {
        /// The table.
        name: TableName,
        /// Clauses in order.
        clauses: Vec<AlterClause>,
    },
    /// `TRUNCATE TABLE`.
    Truncate(TableName),
    /// `CANCEL ALTER TABLE COLUMN FROM t`.
    CancelAlter(TableName),
    /// `USE d`.
    Use(String),
    /// `SET ..`.
    Set(Vec<SetItem>),
    /// `SHOW ..`.
    Show(Show),
    /// `DESC t`.
    Describe(TableName),
    /// `EXPLAIN query`: the query's text.
    Explain(String),
    /// `ADMIN SHOW FRONTEND CONFIG [LIKE 'x']`.
    AdminShowConfig(Option<String>),
    /// `KILL [QUERY | CONNECTION] n`.
    Kill(u64),
    /// A query: its text.
    Query(String),
    /// `INSERT`.
    Insert(Insert),
    /// `DELETE FROM t WHERE ..`.
    Delete {
        /// The table.
        table: TableName,
        /// The text behind WHERE.
        condition: String,
    },
    /// `UPDATE t SET .. WHERE ..`.
    Update {
        /// The table.
        table: TableName,
        /// Column and the text of its expression.
        assignments: Vec<(String, String)>,
        /// The text behind WHERE.
        condition: String,
    },
    /// BEGIN, COMMIT, ROLLBACK: accepted; each statement is its own transaction.
    TransactionControl,
}
