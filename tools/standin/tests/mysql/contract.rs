//! What StarRocks answers on its MySQL port, row by row.
//!
//! Runs against the stand-in always, and unchanged against a real cluster when `STARROCKS_URL` names one
//! (`starrocks://user:password@host:8030/?sql_port=9030`): every row makes its own database and drops it again.
//! Each row names where the behaviour is written down in public and the release it holds for. A row marked
//! `stand_in_only` states a choice of the stand-in, or something a real cluster's answer cannot be compared with.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Row, Value};

use super::support::Target;

/// What the last statement of a row must answer.
enum Want {
    /// It succeeds.
    Done,
    /// An ERR packet with this code and a text holding this.
    Error(u16, &'static str),
    /// Exactly these rows; `NULL` is SQL NULL.
    Rows(&'static [&'static [&'static str]]),
    /// Rows whose named columns have these values; the row's order is kept.
    Named(&'static [&'static str], &'static [&'static [&'static str]]),
    /// Some row has this value in this column.
    Has(&'static str, &'static str),
    /// A result set with exactly these column labels.
    Labels(&'static [&'static str]),
}

struct Case {
    name: &'static str,
    /// Public source: page of docs.starrocks.io, file of github.com/StarRocks/starrocks.
    source: &'static str,
    /// First release it holds for.
    since: &'static str,
    /// Statements; all but the last must succeed.
    statements: &'static [&'static str],
    want: Want,
    stand_in_only: bool,
}

const fn case(
    name: &'static str,
    source: &'static str,
    since: &'static str,
    statements: &'static [&'static str],
    want: Want,
) -> Case {
    Case { name, source, since, statements, want, stand_in_only: false }
}

const fn ours(name: &'static str, source: &'static str, statements: &'static [&'static str], want: Want) -> Case {
    Case { name, source, since: "3.3", statements, want, stand_in_only: true }
}

const PK: &str = "CREATE TABLE t (k BIGINT NOT NULL, v INT NULL, s VARCHAR(10) NULL DEFAULT 'x' COMMENT 'text') \
                  PRIMARY KEY (k) DISTRIBUTED BY HASH(k) BUCKETS 1 PROPERTIES ('replication_num' = '1')";
const SORTED: &str = "CREATE TABLE t (k0 BIGINT, k1 DATETIME, v0 INT, v1 VARCHAR(100)) PRIMARY KEY (k0, k1) DISTRIBUTED \
                      BY HASH(k0) BUCKETS 1 ORDER BY (v0) PROPERTIES ('replication_num' = '1')";
const DUP: &str = "CREATE TABLE t (k0 BIGINT, k1 DATETIME, v0 BIGINT, v1 VARCHAR(100)) DUPLICATE KEY (k0, k1) DISTRIBUTED \
                   BY HASH(k0) BUCKETS 1 PROPERTIES ('replication_num' = '1')";
const WIDE: &str = "CREATE TABLE t (k INT NOT NULL, b BOOLEAN, t1 TINYINT, t2 SMALLINT, l LARGEINT, f FLOAT, d DOUBLE, \
                    n DECIMAL(38, 9), dt DATE, ts DATETIME, c CHAR(3), s STRING, j JSON, a ARRAY<INT>, vb VARBINARY) \
                    PRIMARY KEY (k) DISTRIBUTED BY HASH(k) BUCKETS 1 PROPERTIES ('replication_num' = '1')";

const ABNORMAL: &str = "test/sql/test_alter_table/R/test_alter_table_abnormal";
const ERROR_CODE: &str = "fe-core/.../common/ErrorCode.java";
const PARSER: &str = "fe-core/.../sql/common/ParserErrorMsg.java";
const ANALYZER: &str = "fe-core/.../sql/analyzer/CreateTableAnalyzer.java";
const RENAME: &str = "test/sql/test_column_rename/R/test_column_rename";
const COMMENT: &str = "test/sql/test_alter_table/R/test_alter_column_comment";
const SCHEMA: &str = "docs: sql-reference/information_schema";
const ALTER_DOCS: &str = "docs: sql-statements/table_bucket_part_index/ALTER_TABLE";
const CREATE_DOCS: &str = "docs: sql-statements/table_bucket_part_index/CREATE_TABLE";

const DDL: &[Case] = &[
    case(
        "create and describe",
        CREATE_DOCS,
        "3.3",
        &[PK, "DESC t"],
        Want::Rows(&[
            &["k", "bigint", "NO", "true", "NULL", ""],
            &["v", "int", "YES", "false", "NULL", ""],
            &["s", "varchar(10)", "YES", "false", "x", ""],
        ]),
    ),
    case(
        "SHOW COLUMNS says YES and NO",
        "docs: sql-statements/table_bucket_part_index/SHOW_FULL_COLUMNS",
        "3.3",
        &[PK, "SHOW COLUMNS FROM t"],
        Want::Rows(&[
            &["k", "bigint", "NO", "YES", "NULL", ""],
            &["v", "int", "YES", "NO", "NULL", ""],
            &["s", "varchar(10)", "YES", "NO", "x", ""],
        ]),
    ),
    case(
        "DESC prints the true types",
        "be/src/exec/schema_scanner, fe-type ScalarType.java",
        "3.3",
        &[WIDE, "DESC t"],
        Want::Named(
            &["Field", "Type"],
            &[
                &["k", "int"],
                &["b", "boolean"],
                &["t1", "tinyint"],
                &["t2", "smallint"],
                &["l", "largeint"],
                &["f", "float"],
                &["d", "double"],
                &["n", "decimal(38,9)"],
                &["dt", "date"],
                &["ts", "datetime"],
                &["c", "char(3)"],
                &["s", "varchar(65533)"],
                &["j", "json"],
                &["a", "array<int>"],
                &["vb", "varbinary"],
            ],
        ),
    ),
    case(
        "information_schema spells like MySQL",
        SCHEMA,
        "3.3",
        &[
            WIDE,
            "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, COLUMN_KEY FROM information_schema.columns WHERE \
         TABLE_SCHEMA = database() AND TABLE_NAME = 't' AND COLUMN_NAME IN ('k', 'b', 'l', 'n', 's', 'j') ORDER BY \
         ORDINAL_POSITION",
        ],
        Want::Rows(&[
            &["k", "int", "int(11)", "NO", "PRI"],
            &["b", "tinyint", "tinyint(1)", "YES", ""],
            &["l", "bigint unsigned", "bigint(20) unsigned", "YES", ""],
            &["n", "decimal", "decimal(38, 9)", "YES", ""],
            &["s", "varchar", "varchar(65533)", "YES", ""],
            &["j", "json", "json", "YES", ""],
        ]),
    ),
    case(
        "information_schema.tables_config",
        SCHEMA,
        "3.3",
        &[
            PK,
            "SELECT TABLE_NAME, TABLE_ENGINE, TABLE_MODEL, PRIMARY_KEY, DISTRIBUTE_KEY, DISTRIBUTE_TYPE, DISTRIBUTE_BUCKET FROM \
         information_schema.tables_config WHERE TABLE_SCHEMA = database()",
        ],
        Want::Rows(&[&["t", "OLAP", "PRIMARY_KEYS", "`k`", "`k`", "HASH", "1"]]),
    ),
    case(
        "information_schema.tables",
        SCHEMA,
        "3.3",
        &[PK, "SELECT TABLE_NAME, TABLE_TYPE, ENGINE FROM information_schema.tables WHERE TABLE_SCHEMA = database()"],
        Want::Rows(&[&["t", "BASE TABLE", "StarRocks"]]),
    ),
    case(
        "names of system tables have no case",
        SCHEMA,
        "3.3",
        &[PK, "SELECT table_name FROM INFORMATION_SCHEMA.TABLES WHERE table_schema = database()"],
        Want::Rows(&[&["t"]]),
    ),
    case(
        "the comment goes to information_schema",
        SCHEMA,
        "3.3",
        &[
            PK,
            "SELECT COLUMN_COMMENT, COLUMN_DEFAULT FROM information_schema.columns WHERE TABLE_SCHEMA = database() AND \
         COLUMN_NAME = 's'",
        ],
        Want::Rows(&[&["text", "x"]]),
    ),
    case(
        "IF NOT EXISTS",
        CREATE_DOCS,
        "3.3",
        &[PK, "CREATE TABLE IF NOT EXISTS t (k INT) PRIMARY KEY (k)"],
        Want::Done,
    ),
    case("1050", ERROR_CODE, "3.3", &[PK, PK], Want::Error(1050, "Table 't' already exists")),
    case(
        "1060 in CREATE",
        ANALYZER,
        "3.3",
        &["CREATE TABLE t (k INT, a INT, A INT) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')"],
        Want::Error(1060, "Duplicate column name 'A'"),
    ),
    case(
        "a key column must exist",
        "fe-core/.../sql/ast/KeysDesc.java",
        "3.3",
        &["CREATE TABLE t (k INT) PRIMARY KEY (x) PROPERTIES ('replication_num' = '1')"],
        Want::Error(1064, "Key column(x) doesn't exist"),
    ),
    case(
        "key columns come first",
        CREATE_DOCS,
        "3.3",
        &["CREATE TABLE t (v INT, k INT) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')"],
        Want::Error(1064, "Key columns"),
    ),
    case(
        "key columns come in order",
        CREATE_DOCS,
        "3.3",
        &["CREATE TABLE t (a INT, b INT) PRIMARY KEY (b, a) PROPERTIES ('replication_num' = '1')"],
        Want::Error(1064, "Key columns"),
    ),
    case(
        "a key column takes no NULL",
        ANALYZER,
        "3.3",
        &["CREATE TABLE t (k INT NULL) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')"],
        Want::Error(1064, "primary key column[k] cannot be nullable"),
    ),
    case(
        "no DECIMAL in a primary key",
        "docs: table_design/table_types/primary_key_table",
        "3.3",
        &["CREATE TABLE t (k DECIMAL(10, 2)) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')"],
        Want::Error(1064, "k"),
    ),
    case(
        "no CHAR in a primary key",
        "docs: table_design/table_types/primary_key_table",
        "3.3",
        &["CREATE TABLE t (k CHAR(4)) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')"],
        Want::Error(1064, "k"),
    ),
    case(
        "no DOUBLE in a primary key",
        "docs: table_design/table_types/primary_key_table",
        "3.3",
        &["CREATE TABLE t (k DOUBLE) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')"],
        Want::Error(1064, "k"),
    ),
    case(
        "a hash column of a primary key table is a key",
        CREATE_DOCS,
        "3.3",
        &["CREATE TABLE t (k INT, v INT) PRIMARY KEY (k) DISTRIBUTED BY HASH(v) PROPERTIES ('replication_num' = '1')"],
        Want::Error(1064, "v"),
    ),
    case(
        "a primary key table is not RANDOM",
        ANALYZER,
        "3.3",
        &["CREATE TABLE t (k INT) PRIMARY KEY (k) DISTRIBUTED BY RANDOM PROPERTIES ('replication_num' = '1')"],
        Want::Error(1064, "must use hash distribution"),
    ),
    case(
        "replicas need backends",
        CREATE_DOCS,
        "3.3",
        &["CREATE TABLE t (k INT) PRIMARY KEY (k) PROPERTIES ('replication_num' = '99')"],
        Want::Error(1064, "Table replication num should be less than"),
    ),
    case(
        "defaults are quoted",
        "fe-core/.../sql/parser/StarRocks.g4, defaultDesc",
        "3.3",
        &["CREATE TABLE t (k INT, v INT DEFAULT 0) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')"],
        Want::Error(1064, "Getting syntax error at line 1, column 37. Detail message: Unexpected input '0'"),
    ),
    case(
        "VARCHAR without length holds one byte",
        "fe-core/.../sql/ast/ColumnDef.java",
        "3.3",
        &["CREATE TABLE t (k INT, v VARCHAR) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')", "DESC t"],
        Want::Named(&["Field", "Type"], &[&["k", "int"], &["v", "varchar(1)"]]),
    ),
    case(
        "VARCHAR is bounded",
        "docs: sql-reference/data-types/string-type/VARCHAR",
        "3.3",
        &["CREATE TABLE t (k INT, v VARCHAR(1048577)) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')"],
        Want::Error(1064, "1048576"),
    ),
    case(
        "SHOW CREATE TABLE",
        COMMENT,
        "3.3",
        &[
            "CREATE TABLE t (k INT, v INT) PRIMARY KEY (k) DISTRIBUTED BY HASH(k) PROPERTIES ('replication_num' = '1')",
            "SHOW CREATE TABLE t",
        ],
        Want::Rows(&[&[
            "t",
            "CREATE TABLE `t` (\n  `k` int(11) NOT NULL COMMENT \"\",\n  `v` int(11) NULL COMMENT \"\"\n) \
         ENGINE=OLAP \nPRIMARY KEY(`k`)\nDISTRIBUTED BY HASH(`k`)\nPROPERTIES (\n\"compression\" = \"LZ4\",\n\
         \"enable_persistent_index\" = \"true\",\n\"fast_schema_evolution\" = \"true\",\n\"replicated_storage\" = \"true\",\n\
         \"replication_num\" = \"1\"\n);",
        ]]),
    ),
    case(
        "what SHOW CREATE prints can be run",
        COMMENT,
        "3.3",
        &[
            "CREATE TABLE u (\n  `k` bigint(20) NOT NULL COMMENT \"\",\n  `v` largeint(40) NULL DEFAULT \"7\" COMMENT \"a\"\n) \
         ENGINE=OLAP \nPRIMARY KEY(`k`)\nDISTRIBUTED BY HASH(`k`) BUCKETS 2 \nPROPERTIES (\n\"replication_num\" = \"1\"\n);",
        ],
        Want::Done,
    ),
];

const ALTER: &[Case] = &[
    case(
        "ADD COLUMN",
        ALTER_DOCS,
        "3.3",
        &[PK, "ALTER TABLE t ADD COLUMN c INT NULL DEFAULT '5'", "DESC t"],
        Want::Rows(&[
            &["k", "bigint", "NO", "true", "NULL", ""],
            &["v", "int", "YES", "false", "NULL", ""],
            &["s", "varchar(10)", "YES", "false", "x", ""],
            &["c", "int", "YES", "false", "5", ""],
        ]),
    ),
    case(
        "ADD COLUMN (several) and AFTER",
        ALTER_DOCS,
        "3.3",
        &[PK, "ALTER TABLE t ADD COLUMN (c INT, d DATE)", "ALTER TABLE t ADD COLUMN e INT AFTER k", "DESC t"],
        Want::Named(&["Field"], &[&["k"], &["e"], &["v"], &["s"], &["c"], &["d"]]),
    ),
    case(
        "a new column's default fills old rows",
        ALTER_DOCS,
        "3.3",
        &[PK, "INSERT INTO t VALUES (1, 2, 'a')", "ALTER TABLE t ADD COLUMN c INT NULL DEFAULT '5'", "SELECT * FROM t"],
        Want::Rows(&[&["1", "2", "a", "5"]]),
    ),
    case(
        "no IF NOT EXISTS for columns",
        "fe-core/.../sql/parser/StarRocks.g4",
        "3.3",
        &[PK, "ALTER TABLE t ADD COLUMN IF NOT EXISTS c INT"],
        Want::Error(1064, "Getting syntax error at line 1, column 25. Detail message: Unexpected input 'IF'"),
    ),
    case(
        "adding a key column twice",
        ABNORMAL,
        "3.5",
        &[SORTED, "ALTER TABLE t ADD COLUMN k0 FLOAT"],
        Want::Error(1064, "Can not add column which already exists in"),
    ),
    case(
        "adding a value column twice",
        ABNORMAL,
        "3.3",
        &[SORTED, "ALTER TABLE t ADD COLUMN v0 BIGINT"],
        Want::Error(1064, "Can not add column which already exists in"),
    ),
    case(
        "adding a column twice to a DUPLICATE KEY table",
        ABNORMAL,
        "3.3",
        &[DUP, "ALTER TABLE t ADD COLUMN v2 BIGINT, ADD COLUMN v0 BIGINT"],
        Want::Error(1064, "Can not add column which already exists in base table: v0"),
    ),
    case(
        "one statement, one name, two types",
        ABNORMAL,
        "3.3",
        &[SORTED, "ALTER TABLE t ADD COLUMN v2 BIGINT, ADD COLUMN v2 FLOAT"],
        Want::Error(1064, "Repeatedly add same column with different definition: v2"),
    ),
    case(
        "no key column is added",
        ABNORMAL,
        "3.3",
        &[SORTED, "ALTER TABLE t ADD column k2 SMALLINT KEY"],
        Want::Error(
            1064,
            "Column definition is wrong. Cannot specify aggregate function 'REPLACE' for key column 'k2'",
        ),
    ),
    case(
        "NOT NULL wants a default",
        "fe-core/.../sql/analyzer/AlterTableClauseAnalyzer.java",
        "3.3",
        &[PK, "ALTER TABLE t ADD COLUMN c INT NOT NULL"],
        Want::Error(1064, "Field 'c' is not null but doesn't have a default value"),
    ),
    case(
        "key columns stay",
        ABNORMAL,
        "3.3",
        &[SORTED, "ALTER TABLE t DROP COLUMN k1"],
        Want::Error(1064, "Can not drop key column in primary data model table"),
    ),
    case(
        "sort columns stay",
        ABNORMAL,
        "3.3",
        &[SORTED, "ALTER TABLE t DROP COLUMN v0"],
        Want::Error(1064, "Can not drop sort column in primary data model table"),
    ),
    case(
        "a missing column",
        ABNORMAL,
        "3.3",
        &[SORTED, "ALTER TABLE t DROP COLUMN v100"],
        Want::Error(1064, "Column does not exists: v100"),
    ),
    case(
        "a refused clause refuses all",
        ABNORMAL,
        "3.3",
        &[DUP, "ALTER TABLE t DROP COLUMN v0, DROP COLUMN v100"],
        Want::Error(1064, "Column does not exists: v100"),
    ),
    case(
        "DROP COLUMN",
        ALTER_DOCS,
        "3.3",
        &[PK, "ALTER TABLE t DROP COLUMN v", "DESC t"],
        Want::Named(&["Field"], &[&["k"], &["s"]]),
    ),
    case(
        "key types stay",
        ABNORMAL,
        "3.3",
        &[SORTED, "ALTER TABLE t MODIFY COLUMN k0 LARGEINT"],
        Want::Error(1064, "Can not modify key column: k0 for primary key table"),
    ),
    case(
        "sort column types stay",
        ABNORMAL,
        "3.3",
        &[SORTED, "ALTER TABLE t MODIFY COLUMN v0 BIGINT"],
        Want::Error(1064, "Can not modify sort column in primary data model table"),
    ),
    case(
        "VARCHAR grows",
        ALTER_DOCS,
        "3.3",
        &[PK, "ALTER TABLE t MODIFY COLUMN s VARCHAR(20) DEFAULT 'x'", "DESC t"],
        Want::Named(&["Field", "Type"], &[&["k", "bigint"], &["v", "int"], &["s", "varchar(20)"]]),
    ),
    case(
        "a default stays",
        "fe-core/.../catalog/Column.java",
        "3.3",
        &[PK, "ALTER TABLE t MODIFY COLUMN s VARCHAR(20)"],
        Want::Error(1064, "Can not change default value"),
    ),
    case(
        "VARCHAR does not shrink",
        "fe-core/.../alter/SchemaChangeHandler.java",
        "3.3",
        &[PK, "ALTER TABLE t MODIFY COLUMN s VARCHAR(5) DEFAULT 'x'"],
        Want::Error(1064, "Cannot shorten string length"),
    ),
    case(
        "INT does not become SMALLINT",
        "fe-core/.../alter/SchemaChangeTypeCompatibility.java",
        "3.3",
        &[PK, "ALTER TABLE t MODIFY COLUMN v SMALLINT"],
        Want::Error(1064, "Can not change"),
    ),
    case(
        "NULL does not become NOT NULL",
        "fe-core/.../alter/SchemaChangeHandler.java",
        "3.3",
        &[PK, "ALTER TABLE t MODIFY COLUMN v INT NOT NULL"],
        Want::Error(1064, "Can not change from nullable to non-nullable"),
    ),
    case(
        "RENAME COLUMN",
        RENAME,
        "3.5",
        &[PK, "ALTER TABLE t RENAME COLUMN v TO w", "DESC t"],
        Want::Named(&["Field"], &[&["k"], &["w"], &["s"]]),
    ),
    case(
        "RENAME COLUMN to a used name",
        RENAME,
        "3.5",
        &[PK, "ALTER TABLE t RENAME COLUMN v TO s"],
        Want::Error(1060, "Duplicate column name 's'"),
    ),
    case(
        "column comments",
        COMMENT,
        "4.1",
        &[
            PK,
            "ALTER TABLE t MODIFY COLUMN v COMMENT 'new'",
            "SELECT COLUMN_COMMENT FROM information_schema.columns WHERE TABLE_SCHEMA = database() AND COLUMN_NAME = 'v'",
        ],
        Want::Rows(&[&["new"]]),
    ),
    case(
        "TRUNCATE",
        "docs: sql-statements/table_bucket_part_index/TRUNCATE_TABLE",
        "3.3",
        &[PK, "INSERT INTO t VALUES (1, 2, 'a')", "TRUNCATE TABLE t", "SELECT count(*) FROM t"],
        Want::Rows(&[&["0"]]),
    ),
    case(
        "SWAP",
        "docs: sql-statements/table_bucket_part_index/ALTER_TABLE",
        "3.3",
        &[
            PK,
            "CREATE TABLE u LIKE t",
            "INSERT INTO t VALUES (1, 2, 'a')",
            "ALTER TABLE t SWAP WITH u",
            "SELECT count(*) FROM u",
        ],
        Want::Rows(&[&["1"]]),
    ),
    case("RENAME", ALTER_DOCS, "3.3", &[PK, "ALTER TABLE t RENAME u", "SHOW TABLES"], Want::Rows(&[&["u"]])),
    case(
        "a finished job is listed",
        "docs: sql-statements/table_bucket_part_index/SHOW_ALTER",
        "3.3",
        &[
            PK,
            "ALTER TABLE t ADD COLUMN c INT",
            "SHOW ALTER TABLE COLUMN WHERE TableName = 't' ORDER BY CreateTime DESC LIMIT 1",
        ],
        Want::Named(&["TableName", "State"], &[&["t", "FINISHED"]]),
    ),
];

const ERRORS: &[Case] = &[
    case("5502", ERROR_CODE, "3.3", &["SELECT * FROM no_such_table"], Want::Error(5502, "Unknown table '")),
    case("5502 in DESC", ERROR_CODE, "3.3", &["DESC no_such_table"], Want::Error(5502, "Unknown table")),
    case("5502 in TRUNCATE", ERROR_CODE, "3.3", &["TRUNCATE TABLE no_such_table"], Want::Error(5502, "no_such_table")),
    case("table names have case", CREATE_DOCS, "3.3", &[PK, "SELECT * FROM T"], Want::Error(5502, "T")),
    case(
        "5501",
        ERROR_CODE,
        "3.3",
        &["SELECT * FROM no_such_db.t"],
        Want::Error(5501, "Unknown database 'no_such_db'"),
    ),
    case("5501 in USE", ERROR_CODE, "3.3", &["USE no_such_db"], Want::Error(5501, "Unknown database 'no_such_db'")),
    case(
        "1007",
        ERROR_CODE,
        "3.3",
        &["CREATE DATABASE information_schema"],
        Want::Error(1007, "Can't create database 'information_schema'; database exists"),
    ),
    case(
        "1008",
        ERROR_CODE,
        "3.3",
        &["DROP DATABASE no_such_db"],
        Want::Error(1008, "Can't drop database 'no_such_db'; database doesn't exist"),
    ),
    case("DROP IF EXISTS", CREATE_DOCS, "3.3", &["DROP DATABASE IF EXISTS no_such_db"], Want::Done),
    case(
        "1064 from the parser",
        PARSER,
        "3.3",
        &["elect 1"],
        Want::Error(
            1064,
            "Getting syntax error at line 1, column 0. Detail message: Unexpected input 'elect', the most similar input is {",
        ),
    ),
    case(
        "1064 from the analyzer",
        PARSER,
        "3.3",
        &[PK, "SELECT nothing_such FROM t"],
        Want::Error(1064, "Getting analyzing error"),
    ),
    case(
        "a reserved word is no name",
        "docs: sql-reference/keywords",
        "3.3",
        &["CREATE DATABASE LIKE"],
        Want::Error(1064, "Getting syntax error at line 1, column 16. Detail message: Unexpected input '"),
    ),
    case(
        "SET wants constants",
        "fe-core/.../sql/analyzer/SetStmtAnalyzer.java",
        "3.3",
        &["SET sql_mode=(SELECT CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES'))"],
        Want::Error(1064, "Set statement only support constant expr"),
    ),
    case(
        "SET of session variables",
        "docs: sql-reference/System_variable",
        "3.3",
        &["SET query_timeout = 300, autocommit = 1", "SET NAMES utf8mb4", "SELECT @@query_timeout"],
        Want::Rows(&[&["300"]]),
    ),
    case(
        "INSERT names a column that is not there",
        RENAME,
        "3.3",
        &[PK, "INSERT INTO t (k, w) VALUES (1, 2)"],
        Want::Error(1064, "Unknown column 'w' in 't'"),
    ),
    case(
        "INSERT with too few values",
        ERROR_CODE,
        "3.5",
        &[PK, "INSERT INTO t (k, v) VALUES (1)"],
        Want::Error(5604, "Inserted target column count: 2 doesn't match select/value column count: 1"),
    ),
    case(
        "max_allowed_packet",
        "docs: sql-reference/System_variable",
        "3.3",
        &["SELECT @@max_allowed_packet"],
        Want::Rows(&[&["33554432"]]),
    ),
    case(
        "wait_timeout",
        "docs: sql-reference/System_variable",
        "3.3",
        &["SELECT @@wait_timeout"],
        Want::Rows(&[&["28800"]]),
    ),
    case(
        "version() is MySQL's",
        "docs: sql-functions/utility-functions/version",
        "3.3",
        &["SELECT version()"],
        Want::Rows(&[&["5.1.0"]]),
    ),
    ours(
        "ADMIN SHOW FRONTEND CONFIG",
        "docs: administration/management/FE_configuration",
        &["ADMIN SHOW FRONTEND CONFIG LIKE 'run_mode'"],
        Want::Named(&["Key", "Value"], &[&["run_mode", "shared_nothing"]]),
    ),
    case(
        "SHOW FRONTENDS",
        "docs: sql-statements/cluster-management/nodes_processes/SHOW_FRONTENDS",
        "3.3",
        &["SHOW FRONTENDS"],
        Want::Labels(&[
            "Id",
            "Name",
            "IP",
            "EditLogPort",
            "HttpPort",
            "QueryPort",
            "RpcPort",
            "Role",
            "ClusterId",
            "Join",
            "Alive",
            "ReplayedJournalId",
            "LastHeartbeat",
            "IsHelper",
            "ErrMsg",
            "StartTime",
            "Version",
        ]),
    ),
    ours(
        "SHOW BACKENDS",
        "docs: sql-statements/cluster-management/nodes_processes/SHOW_BACKENDS",
        &["SHOW BACKENDS"],
        Want::Labels(&[
            "BackendId",
            "IP",
            "HeartbeatPort",
            "BePort",
            "HttpPort",
            "BrpcPort",
            "LastStartTime",
            "LastHeartbeat",
            "Alive",
            "SystemDecommissioned",
            "ClusterDecommissioned",
            "TabletNum",
            "DataUsedCapacity",
            "AvailCapacity",
            "TotalCapacity",
            "UsedPct",
            "MaxDiskUsedPct",
            "ErrMsg",
            "Version",
            "Status",
            "DataTotalCapacity",
            "DataUsedPct",
            "CpuCores",
            "MemLimit",
            "NumRunningQueries",
            "MemUsedPct",
            "CpuUsedPct",
            "DataCacheMetrics",
            "Location",
            "StatusCode",
        ]),
    ),
    case(
        "information_schema.loads",
        "docs: sql-reference/information_schema/loads",
        "3.5",
        &["SELECT * FROM information_schema.loads WHERE LABEL = 'no such label'"],
        Want::Labels(&[
            "ID",
            "LABEL",
            "PROFILE_ID",
            "DB_NAME",
            "TABLE_NAME",
            "USER",
            "WAREHOUSE",
            "STATE",
            "PROGRESS",
            "TYPE",
            "PRIORITY",
            "SCAN_ROWS",
            "SCAN_BYTES",
            "FILTERED_ROWS",
            "UNSELECTED_ROWS",
            "SINK_ROWS",
            "RUNTIME_DETAILS",
            "CREATE_TIME",
            "LOAD_START_TIME",
            "LOAD_COMMIT_TIME",
            "LOAD_FINISH_TIME",
            "PROPERTIES",
            "ERROR_MSG",
            "TRACKING_SQL",
            "REJECTED_RECORD_PATH",
        ]),
    ),
    case(
        "information_schema.columns",
        SCHEMA,
        "3.5",
        &["SELECT * FROM information_schema.columns WHERE TABLE_SCHEMA = 'none'"],
        Want::Labels(&[
            "TABLE_CATALOG",
            "TABLE_SCHEMA",
            "TABLE_NAME",
            "COLUMN_NAME",
            "ORDINAL_POSITION",
            "COLUMN_DEFAULT",
            "IS_NULLABLE",
            "DATA_TYPE",
            "CHARACTER_MAXIMUM_LENGTH",
            "CHARACTER_OCTET_LENGTH",
            "NUMERIC_PRECISION",
            "NUMERIC_SCALE",
            "DATETIME_PRECISION",
            "CHARACTER_SET_NAME",
            "COLLATION_NAME",
            "COLUMN_TYPE",
            "COLUMN_KEY",
            "EXTRA",
            "PRIVILEGES",
            "COLUMN_COMMENT",
            "COLUMN_SIZE",
            "DECIMAL_DIGITS",
            "GENERATION_EXPRESSION",
            "SRS_ID",
        ]),
    ),
];

const VARCHAR_KEY: &str = "CREATE TABLE t (k VARCHAR(10), v INT) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')";

const KEYS: &[Case] = &[
    case(
        "a VARCHAR key grows",
        ALTER_DOCS,
        "3.3",
        &[VARCHAR_KEY, "ALTER TABLE t MODIFY COLUMN k VARCHAR(20)", "DESC t"],
        Want::Named(
            &["Field", "Type", "Null", "Key"],
            &[&["k", "varchar(20)", "NO", "true"], &["v", "int", "YES", "false"]],
        ),
    ),
    case(
        "a VARCHAR key does not shrink",
        "fe-core/.../alter/SchemaChangeHandler.java",
        "3.3",
        &[VARCHAR_KEY, "ALTER TABLE t MODIFY COLUMN k VARCHAR(5)"],
        Want::Error(1064, ""),
    ),
    case(
        "every type that fits a key",
        "docs: table_design/table_types/primary_key_table",
        "3.3",
        &[
            "CREATE TABLE t (a BOOLEAN, b TINYINT, c SMALLINT, d INT, e BIGINT, f LARGEINT, g VARCHAR(10), h DATE, i DATETIME) \
         PRIMARY KEY (a, b, c, d, e, f, g, h, i) PROPERTIES ('replication_num' = '1')",
        ],
        Want::Done,
    ),
    case(
        "no FLOAT in a primary key",
        "docs: table_design/table_types/primary_key_table",
        "3.3",
        &["CREATE TABLE t (k FLOAT) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')"],
        Want::Error(1064, "k"),
    ),
    case(
        "no VARBINARY in a primary key",
        "docs: table_design/table_types/primary_key_table",
        "3.3",
        &["CREATE TABLE t (k VARBINARY) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')"],
        Want::Error(1064, "k"),
    ),
    case(
        "no JSON in a primary key",
        "docs: table_design/table_types/primary_key_table",
        "3.3",
        &["CREATE TABLE t (k JSON) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')"],
        Want::Error(1064, "k"),
    ),
    case(
        "no ARRAY in a primary key",
        "docs: table_design/table_types/primary_key_table",
        "3.3",
        &["CREATE TABLE t (k ARRAY<INT>) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')"],
        Want::Error(1064, "k"),
    ),
    case(
        "a renamed column's name is not free at once",
        "test/sql/test_column_rename/R/test_column_rename2",
        "3.5",
        &[PK, "ALTER TABLE t RENAME COLUMN v TO w", "ALTER TABLE t ADD COLUMN v INT"],
        Want::Error(1064, "Can not add column which already exists in column id: v"),
    ),
    case(
        "one statement adds and drops",
        ABNORMAL,
        "3.3",
        &[SORTED, "ALTER TABLE t ADD COLUMN v2 BIGINT, DROP COLUMN v2", "DESC t"],
        Want::Named(
            &["Field", "Type", "Null", "Key"],
            &[
                &["k0", "bigint", "NO", "true"],
                &["k1", "datetime", "NO", "true"],
                &["v0", "int", "YES", "false"],
                &["v1", "varchar(100)", "YES", "false"],
            ],
        ),
    ),
    case(
        "without a key clause the leading columns are a DUPLICATE KEY",
        ANALYZER,
        "3.3",
        &[
            "CREATE TABLE t (a INT, b INT, c DOUBLE) PROPERTIES ('replication_num' = '1')",
            "SELECT TABLE_MODEL, DISTRIBUTE_TYPE FROM information_schema.tables_config WHERE TABLE_SCHEMA = database()",
        ],
        Want::Rows(&[&["DUP_KEYS", "RANDOM"]]),
    ),
    case(
        "duplicates stay",
        "docs: table_design/table_types/duplicate_key_table",
        "3.3",
        &[DUP, "INSERT INTO t VALUES (1, '2024-01-01', 1, 'a'), (1, '2024-01-01', 1, 'a')", "SELECT count(*) FROM t"],
        Want::Rows(&[&["2"]]),
    ),
    case(
        "UNIQUE KEY replaces",
        "docs: table_design/table_types/unique_key_table",
        "3.3",
        &[
            "CREATE TABLE t (k INT, v INT) UNIQUE KEY (k) DISTRIBUTED BY HASH(k) PROPERTIES ('replication_num' = '1')",
            "INSERT INTO t VALUES (1, 1)",
            "INSERT INTO t VALUES (1, 2)",
            "SELECT * FROM t",
        ],
        Want::Rows(&[&["1", "2"]]),
    ),
];

const STATES: &[Case] = &[
    case(
        "a hash column stays",
        "fe-core/.../alter/SchemaChangeHandler.java",
        "3.3",
        &[
            "CREATE TABLE t (k INT, v INT) DUPLICATE KEY (k) DISTRIBUTED BY HASH(v) BUCKETS 1 PROPERTIES ('replication_num' = '1')",
            "ALTER TABLE t DROP COLUMN v",
        ],
        Want::Error(1064, "Distribution column[v] cannot be dropped. index[t]"),
    ),
    case(
        "NOT NULL may become NULL",
        "fe-core/.../catalog/Column.java",
        "3.3",
        &[
            PK,
            "ALTER TABLE t ADD COLUMN c INT NOT NULL DEFAULT '1'",
            "ALTER TABLE t MODIFY COLUMN c INT NULL DEFAULT '1'",
        ],
        Want::Done,
    ),
    case(
        "a partition column of a primary key table is a key",
        "docs: table_design/table_types/primary_key_table",
        "3.3",
        &[
            "CREATE TABLE t (k INT, d DATE) PRIMARY KEY (k) PARTITION BY date_trunc('day', d) DISTRIBUTED BY HASH(k) PROPERTIES \
         ('replication_num' = '1')",
        ],
        Want::Error(1064, ""),
    ),
    case(
        "a partition clause is shown again",
        CREATE_DOCS,
        "3.3",
        &[
            "CREATE TABLE t (k INT, d DATE) PRIMARY KEY (k, d) PARTITION BY date_trunc('day', d) DISTRIBUTED BY HASH(k) PROPERTIES \
         ('replication_num' = '1')",
            "SELECT PRIMARY_KEY FROM information_schema.tables_config WHERE TABLE_SCHEMA = database()",
        ],
        Want::Rows(&[&["`k`, `d`"]]),
    ),
    case(
        "the sort key is listed",
        SCHEMA,
        "3.3",
        &[SORTED, "SELECT SORT_KEY, PRIMARY_KEY FROM information_schema.tables_config WHERE TABLE_SCHEMA = database()"],
        Want::Rows(&[&["`v0`", "`k0`, `k1`"]]),
    ),
    ours(
        "system databases stay",
        ERROR_CODE,
        &["DROP DATABASE information_schema"],
        Want::Error(5203, "Access denied"),
    ),
    case(
        "ADD COLUMN to a missing table",
        ERROR_CODE,
        "3.3",
        &["ALTER TABLE nothing ADD COLUMN c INT"],
        Want::Error(5502, "nothing"),
    ),
    case("DROP TABLE of a missing table", ERROR_CODE, "3.3", &["DROP TABLE nothing"], Want::Error(5502, "nothing")),
    case("DROP TABLE IF EXISTS", ERROR_CODE, "3.3", &["DROP TABLE IF EXISTS nothing"], Want::Done),
    case(
        "CREATE TABLE in a missing database",
        ERROR_CODE,
        "3.3",
        &["CREATE TABLE no_such_db.t (k INT) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')"],
        Want::Error(5501, "no_such_db"),
    ),
    case(
        "RENAME to a used name",
        "fe-core/.../server/LocalMetastore.java",
        "3.3",
        &[PK, "CREATE TABLE u LIKE t", "ALTER TABLE t RENAME u"],
        Want::Error(1064, "Table name[u] is already used"),
    ),
];

const NAMES: &[Case] = &[
    case(
        "a column name may hold blanks and dots",
        CREATE_DOCS,
        "3.3",
        &[
            "CREATE TABLE `a b.c` (`k 1` INT, `Ünï` INT) PRIMARY KEY (`k 1`) PROPERTIES ('replication_num' = '1')",
            "DESC `a b.c`",
        ],
        Want::Named(&["Field"], &[&["k 1"], &["Ünï"]]),
    ),
    case(
        "column names have no case",
        CREATE_DOCS,
        "3.3",
        &[PK, "INSERT INTO t (K, V) VALUES (1, 2)", "SELECT V FROM t WHERE K = 1"],
        Want::Rows(&[&["2"]]),
    ),
    case(
        "not every sign fits a column name",
        "fe-core/.../common/FeNameFormat.java",
        "3.3",
        &["CREATE TABLE t (k INT, `a=b` INT) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')"],
        Want::Error(1064, "a=b"),
    ),
    case(
        "__op is reserved",
        "fe-core/.../common/FeNameFormat.java",
        "3.3",
        &["CREATE TABLE t (k INT, __op INT) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')"],
        Want::Error(1064, "__op"),
    ),
    case(
        "a database name begins with a letter",
        "fe-core/.../common/FeNameFormat.java",
        "3.3",
        &["CREATE DATABASE `1a`"],
        Want::Error(1102, "Incorrect database name '1a'"),
    ),
    case(
        "SHOW DATABASES",
        "docs: sql-statements/Database/SHOW_DATABASES",
        "3.3",
        &["SHOW DATABASES LIKE 'information%'"],
        Want::Rows(&[&["information_schema"]]),
    ),
    case(
        "SHOW DATABASES has one label",
        "docs: sql-statements/Database/SHOW_DATABASES",
        "3.3",
        &["SHOW DATABASES"],
        Want::Labels(&["Database"]),
    ),
    case(
        "SHOW FULL COLUMNS",
        "docs: sql-statements/table_bucket_part_index/SHOW_FULL_COLUMNS",
        "3.3",
        &[PK, "SHOW FULL COLUMNS FROM t"],
        Want::Labels(&["Field", "Type", "Collation", "Null", "Key", "Default", "Extra", "Privileges", "Comment"]),
    ),
    case(
        "SHOW ALTER TABLE COLUMN",
        "docs: sql-statements/table_bucket_part_index/SHOW_ALTER",
        "3.3",
        &["SHOW ALTER TABLE COLUMN"],
        Want::Labels(&[
            "JobId",
            "TableName",
            "CreateTime",
            "FinishTime",
            "IndexName",
            "IndexId",
            "OriginIndexId",
            "SchemaVersion",
            "TransactionId",
            "State",
            "Msg",
            "Progress",
            "Timeout",
        ]),
    ),
    case(
        "schemata",
        SCHEMA,
        "3.3",
        &["SELECT SCHEMA_NAME FROM information_schema.schemata WHERE SCHEMA_NAME = 'information_schema'"],
        Want::Rows(&[&["information_schema"]]),
    ),
    case(
        "SHOW VARIABLES",
        "docs: sql-reference/System_variable",
        "3.3",
        &["SHOW VARIABLES LIKE 'max_allowed_packet'"],
        Want::Rows(&[&["max_allowed_packet", "33554432"]]),
    ),
    case(
        "an unknown variable",
        ERROR_CODE,
        "3.3",
        &["SET no_such_variable = 1"],
        Want::Error(1193, "no_such_variable"),
    ),
    case(
        "COMMIT and ROLLBACK are taken",
        "docs: sql-reference/System_variable",
        "3.3",
        &["COMMIT", "ROLLBACK"],
        Want::Done,
    ),
];

const QUERIES: &[Case] = &[
    case(
        "values come out as StarRocks prints them",
        "docs: sql-reference/data-types",
        "3.3",
        &[
            WIDE,
            "INSERT INTO t VALUES (1, true, -128, 32767, 170141183460469231731687303715884105727, 1.5, 0.1, \
         '12345678901234567890123456789.123456789', '2024-02-29', '2024-02-29 01:02:03.123456', 'abc', 'it''s', \
         '{\"a\": 1}', [1, 2], 'raw')",
            "SELECT k, b, t1, t2, l, f, d, n, dt, ts, c, s, a, vb FROM t",
        ],
        Want::Rows(&[&[
            "1",
            "1",
            "-128",
            "32767",
            "170141183460469231731687303715884105727",
            "1.5",
            "0.1",
            "12345678901234567890123456789.123456789",
            "2024-02-29",
            "2024-02-29 01:02:03.123456",
            "abc",
            "it's",
            "[1,2]",
            "raw",
        ]]),
    ),
    case(
        "DECIMAL compares, sums and rounds exactly",
        "docs: sql-reference/data-types/numeric/DECIMAL",
        "3.3",
        &[
            "CREATE TABLE t (k INT, n DECIMAL(38, 2)) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')",
            "INSERT INTO t VALUES (1, '9.00'), (2, '10.00'), (3, '99999999999999999999.01'), (4, '0.10')",
            "SELECT sum(n), max(n), min(n), count(*) FROM t WHERE n > 0.1",
        ],
        Want::Rows(&[&["100000000000000000018.01", "99999999999999999999.01", "9.00", "3"]]),
    ),
    case(
        "LARGEINT orders as a number",
        "docs: sql-reference/data-types/numeric/LARGEINT",
        "3.3",
        &[
            "CREATE TABLE t (k LARGEINT) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')",
            "INSERT INTO t VALUES (9), (-10), (100000000000000000000)",
            "SELECT k FROM t WHERE k < 100000000000000000000 ORDER BY k",
        ],
        Want::Rows(&[&["-10"], &["9"]]),
    ),
    case(
        "an upsert replaces the row",
        "docs: table_design/table_types/primary_key_table",
        "3.3",
        &[PK, "INSERT INTO t VALUES (1, 1, 'a')", "INSERT INTO t (k, v) VALUES (1, 2)", "SELECT * FROM t"],
        Want::Rows(&[&["1", "2", "x"]]),
    ),
    case(
        "DELETE",
        "docs: sql-statements/table_bucket_part_index/DELETE",
        "3.3",
        &[PK, "INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b')", "DELETE FROM t WHERE v > 1", "SELECT k FROM t"],
        Want::Rows(&[&["1"]]),
    ),
    case(
        "UPDATE",
        "docs: sql-statements/table_bucket_part_index/UPDATE",
        "3.3",
        &[
            PK,
            "INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b')",
            "UPDATE t SET v = v + 10, s = 'z' WHERE k = 2",
            "SELECT * FROM t ORDER BY k",
        ],
        Want::Rows(&[&["1", "1", "a"], &["2", "12", "z"]]),
    ),
    case(
        "UPDATE of what is older than a version, and only that",
        "docs: sql-statements/table_bucket_part_index/UPDATE, sql-functions/date-time-functions/utc_timestamp",
        "3.3",
        &[
            "CREATE TABLE a (k INT, gone BOOLEAN, at DATETIME, version BIGINT) PRIMARY KEY (k) \
             PROPERTIES ('replication_num' = '1')",
            "INSERT INTO a VALUES (1, false, NULL, 4), (2, false, NULL, 5), (3, true, NULL, 4), (4, NULL, NULL, NULL)",
            "UPDATE a SET `gone` = true, `at` = utc_timestamp(), `version` = 5 \
             WHERE (`version` < 5 OR `version` IS NULL) AND (`gone` = false OR `gone` IS NULL)",
            "SELECT k, gone, version, at > '2020-01-01 00:00:00' FROM a ORDER BY k",
        ],
        Want::Rows(&[&["1", "1", "5", "1"], &["2", "0", "5", "NULL"], &["3", "1", "4", "NULL"], &["4", "1", "5", "1"]]),
    ),
    case(
        "DELETE of what is older than a version, and only that",
        "docs: sql-statements/table_bucket_part_index/DELETE",
        "3.3",
        &[
            PK,
            "INSERT INTO t VALUES (1, 4, 'a'), (2, 5, 'b'), (3, NULL, 'c')",
            "DELETE FROM t WHERE (`v` < 5 OR `v` IS NULL)",
            "SELECT k FROM t",
        ],
        Want::Rows(&[&["2"]]),
    ),
    case(
        "joins, groups, CASE",
        "docs: sql-statements/table_bucket_part_index/SELECT",
        "3.3",
        &[
            PK,
            "CREATE TABLE `u u` (k INT, t BIGINT) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')",
            "INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b')",
            "INSERT INTO `u u` VALUES (1, 1), (2, 1), (3, 2), (4, 9)",
            "SELECT x.s, count(*) n, CASE WHEN sum(y.k) > 2 THEN \"many\" ELSE 'few' END c FROM t x JOIN `u u` y ON x.k = y.t \
         GROUP BY x.s HAVING count(*) > 0 ORDER BY n DESC, x.s LIMIT 2",
        ],
        Want::Rows(&[&["a", "2", "many"], &["b", "1", "many"]]),
    ),
    case(
        "LIKE has case",
        "docs: sql-functions/like-predicate-functions/like",
        "3.3",
        &[
            PK,
            "INSERT INTO t VALUES (1, 1, 'Abc'), (2, 2, 'abc'), (3, 3, 'a%c')",
            "SELECT k FROM t WHERE s LIKE 'a\\%%'",
        ],
        Want::Rows(&[&["3"]]),
    ),
    case(
        "labels are as written",
        "fe-core/.../sql/ast/SelectListItem.java",
        "3.3",
        &[PK, "SELECT k, v AS w, count(*) FROM t GROUP BY k, v"],
        Want::Labels(&["k", "w", "count(*)"]),
    ),
    case(
        "two databases in one query",
        "docs: sql-statements/table_bucket_part_index/SELECT",
        "3.3",
        &[
            PK,
            "INSERT INTO t VALUES (1, 2, 'a')",
            "SELECT x.v, c.DATA_TYPE FROM t x JOIN information_schema.columns c ON c.COLUMN_NAME = 'v' WHERE c.TABLE_SCHEMA = \
         database() AND c.TABLE_NAME = 't'",
        ],
        Want::Rows(&[&["2", "int"]]),
    ),
    case(
        "subqueries, UNION, WITH, DISTINCT",
        "docs: sql-statements/table_bucket_part_index/SELECT",
        "3.3",
        &[
            PK,
            "INSERT INTO t VALUES (1, 2, 'a'), (2, 2, 'b'), (3, 3, 'c')",
            "WITH w AS (SELECT DISTINCT v FROM t) SELECT v n FROM w WHERE v IN (SELECT k FROM t) UNION ALL SELECT count(DISTINCT v) \
         FROM (SELECT * FROM t) z ORDER BY n LIMIT 5",
        ],
        Want::Rows(&[&["2"], &["2"], &["3"]]),
    ),
    case(
        "DECIMAL groups by value and keeps its digits",
        "docs: sql-reference/data-types/numeric/DECIMAL",
        "3.3",
        &[
            "CREATE TABLE t (k INT, n DECIMAL(20, 3)) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')",
            "INSERT INTO t VALUES (1, 1.5), (2, '1.500'), (3, -7)",
            "SELECT n, count(*) FROM t WHERE n BETWEEN -10 AND 2 GROUP BY n ORDER BY n",
        ],
        Want::Rows(&[&["-7.000", "1"], &["1.500", "2"]]),
    ),
    case(
        "avg of DECIMAL and of INT",
        "docs: sql-functions/aggregate-functions/avg",
        "3.3",
        &[
            "CREATE TABLE t (k INT, n DECIMAL(10, 2)) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')",
            "INSERT INTO t VALUES (1, '1.00'), (2, '2.00')",
            "SELECT avg(n), avg(k) FROM t",
        ],
        Want::Rows(&[&["1.50000000", "1.5"]]),
    ),
    case(
        "sum of nothing is NULL",
        "docs: sql-functions/aggregate-functions/sum",
        "3.3",
        &[PK, "SELECT sum(v), count(v), max(s) FROM t"],
        Want::Rows(&[&["NULL", "0", "NULL"]]),
    ),
    case(
        "INSERT SELECT",
        "docs: sql-statements/loading_unloading/INSERT",
        "3.3",
        &[
            PK,
            "CREATE TABLE u LIKE t",
            "INSERT INTO t VALUES (1, 2, 'a'), (2, NULL, NULL)",
            "INSERT INTO u SELECT * FROM t",
            "SELECT * FROM u ORDER BY k",
        ],
        Want::Rows(&[&["1", "2", "a"], &["2", "NULL", "NULL"]]),
    ),
    case(
        "a value that does not fit refuses the INSERT",
        "docs: sql-statements/loading_unloading/INSERT",
        "3.3",
        &[PK, "INSERT INTO t VALUES (1, 2, 'more than ten bytes')"],
        Want::Error(5610, "Insert has filtered data"),
    ),
    case(
        "a column without default must be named",
        ERROR_CODE,
        "3.3",
        &[
            "CREATE TABLE t (k INT, v INT NOT NULL) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')",
            "INSERT INTO t (k) VALUES (1)",
        ],
        Want::Error(5002, "'v' must be explicitly mentioned in column permutation"),
    ),
    ours(
        "databases may have SQLite's names",
        CREATE_DOCS,
        &[
            "CREATE DATABASE IF NOT EXISTS main",
            "CREATE TABLE main.x (k INT) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')",
            "INSERT INTO main.x VALUES (5)",
            "SELECT main.x.k FROM main.x",
        ],
        Want::Rows(&[&["5"]]),
    ),
    case("division is not whole", "docs: sql-reference/Operators", "3.3", &["SELECT 7 / 2"], Want::Rows(&[&["3.5"]])),
    case(
        "DATETIME compares with a date",
        "docs: sql-reference/data-types/date-types/DATETIME",
        "3.3",
        &[
            "CREATE TABLE t (k INT, ts DATETIME) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')",
            "INSERT INTO t VALUES (1, '2024-01-01 00:00:00'), (2, '2024-01-01 00:00:00.5')",
            "SELECT k FROM t WHERE ts = '2024-01-01'",
        ],
        Want::Rows(&[&["1"]]),
    ),
];

fn printed(value: &Value) -> String {
    match value {
        Value::NULL => "NULL".to_owned(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => other.as_sql(true),
    }
}

async fn run(connection: &mut Conn, case: &Case) -> Result<(), String> {
    let (last, before) = case.statements.split_last().expect("a case has a statement");
    for statement in before {
        connection.query_drop(*statement).await.map_err(|error| format!("{statement}: {error}"))?;
    }
    let answer = async {
        let mut result = connection.query_iter(*last).await?;
        let labels: Vec<String> = result.columns_ref().iter().map(|column| column.name_str().into_owned()).collect();
        let rows: Vec<Row> = result.collect().await?;
        Ok::<_, mysql_async::Error>((labels, rows))
    };
    check(answer.await, &case.want)
}

fn check(answer: Result<(Vec<String>, Vec<Row>), mysql_async::Error>, want: &Want) -> Result<(), String> {
    let (labels, rows) = match (answer, want) {
        (Err(mysql_async::Error::Server(error)), Want::Error(code, text)) => {
            let fits = error.code == *code && error.message.contains(text);
            return if fits { Ok(()) } else { Err(format!("got {}: {}", error.code, error.message)) };
        }
        (Err(error), _) => return Err(format!("failed: {error}")),
        (Ok(_), Want::Error(code, _)) => return Err(format!("succeeded, wanted error {code}")),
        (Ok(answer), _) => answer,
    };
    let texts = |row: &Row, index: usize| row.as_ref(index).map(printed).unwrap_or_default();
    match want {
        Want::Done | Want::Error(..) => Ok(()),
        Want::Labels(wanted) if labels == *wanted => Ok(()),
        Want::Labels(_) => Err(format!("labels are {labels:?}")),
        Want::Rows(wanted) => {
            let found: Vec<Vec<String>> =
                rows.iter().map(|row| (0..row.len()).map(|index| texts(row, index)).collect()).collect();
            if found == *wanted { Ok(()) } else { Err(format!("rows are {found:?}")) }
        }
        Want::Has(name, value) => {
            let at = labels.iter().position(|label| label == name).unwrap_or(usize::MAX);
            let found: Vec<String> = rows.iter().map(|row| texts(row, at)).collect();
            if found.iter().any(|text| text == value) { Ok(()) } else { Err(format!("{name} is {found:?}")) }
        }
        Want::Named(names, wanted) => {
            let place = |name: &&str| labels.iter().position(|label| label == name).unwrap_or(usize::MAX);
            let found: Vec<Vec<String>> =
                rows.iter().map(|row| names.iter().map(|name| texts(row, place(name))).collect()).collect();
            if found == *wanted { Ok(()) } else { Err(format!("of {labels:?} rows are {found:?}")) }
        }
    }
}

async fn run_all(cases: &[Case]) {
    let target = Target::from_environment().await;
    let mut failures = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        if target.is_real() && case.stand_in_only {
            continue;
        }
        let database = format!("contract_{}_{number}", std::process::id());
        let mut connection = target.connect(None).await;
        connection.query_drop(format!("CREATE DATABASE {database}")).await.expect("CREATE DATABASE");
        connection.query_drop(format!("USE {database}")).await.expect("USE");
        if let Err(problem) = run(&mut connection, case).await {
            failures.push(format!("{} (since {}, {}): {problem}", case.name, case.since, case.source));
        }
        connection.query_drop(format!("DROP DATABASE {database} FORCE")).await.expect("DROP DATABASE");
        connection.disconnect().await.expect("QUIT");
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[tokio::test]
async fn ddl() {
    run_all(DDL).await;
}

#[tokio::test]
async fn alter() {
    run_all(ALTER).await;
}

#[tokio::test]
async fn errors_and_metadata() {
    run_all(ERRORS).await;
}

#[tokio::test]
async fn queries() {
    run_all(QUERIES).await;
}

#[tokio::test]
async fn keys_and_models() {
    run_all(KEYS).await;
}

#[tokio::test]
async fn states_and_missing_things() {
    run_all(STATES).await;
}

#[tokio::test]
async fn names_and_lists() {
    run_all(NAMES).await;
}

const CHAR_TABLE: &str = "CREATE TABLE t (k INT, c CHAR(5), n DECIMAL(10, 2), v INT) PRIMARY KEY (k) DISTRIBUTED BY \
                          HASH(k) BUCKETS 1 PROPERTIES ('replication_num' = '1')";
const MATRIX: &str = "fe-core/.../alter/SchemaChangeTypeCompatibility.java";
const SHOW_ALTER_DOCS: &str = "docs: sql-statements/table_bucket_part_index/SHOW_ALTER";

/// Changes of columns beyond the plain ones: lengths, digits, words of refusals.
const CHANGES: &[Case] = &[
    case("CHAR grows", MATRIX, "3.3", &[CHAR_TABLE, "ALTER TABLE t MODIFY COLUMN c CHAR(9)"], Want::Done),
    case("CHAR becomes VARCHAR", MATRIX, "3.3", &[CHAR_TABLE, "ALTER TABLE t MODIFY COLUMN c VARCHAR(5)"], Want::Done),
    case(
        "CHAR does not shrink",
        MATRIX,
        "3.3",
        &[CHAR_TABLE, "ALTER TABLE t MODIFY COLUMN c CHAR(4)"],
        Want::Error(1064, "Cannot shorten string length"),
    ),
    case(
        "CHAR does not become a shorter VARCHAR",
        MATRIX,
        "3.3",
        &[CHAR_TABLE, "ALTER TABLE t MODIFY COLUMN c VARCHAR(4)"],
        Want::Error(1064, "Cannot shorten string length"),
    ),
    case(
        "DECIMAL keeps its scale",
        MATRIX,
        "3.3",
        &[CHAR_TABLE, "ALTER TABLE t MODIFY COLUMN n DECIMAL(10, 1)"],
        Want::Error(1064, "Can not change"),
    ),
    case(
        "DECIMAL keeps its whole digits",
        MATRIX,
        "3.3",
        &[CHAR_TABLE, "ALTER TABLE t MODIFY COLUMN n DECIMAL(10, 3)"],
        Want::Error(1064, "Can not change"),
    ),
    case("DECIMAL grows", MATRIX, "3.3", &[CHAR_TABLE, "ALTER TABLE t MODIFY COLUMN n DECIMAL(11, 3)"], Want::Done),
    case(
        "DECIMAL does not fit a short VARCHAR",
        MATRIX,
        "3.3",
        &[CHAR_TABLE, "ALTER TABLE t MODIFY COLUMN n VARCHAR(5)"],
        Want::Error(1064, "Can not change"),
    ),
    case(
        "INT does not become DECIMAL",
        MATRIX,
        "3.3",
        &[CHAR_TABLE, "ALTER TABLE t MODIFY COLUMN v DECIMAL(20, 2)"],
        Want::Error(1064, "Can not change INT to DECIMAL"),
    ),
    case(
        "the refusal names both types",
        MATRIX,
        "3.3",
        &[CHAR_TABLE, "ALTER TABLE t MODIFY COLUMN v SMALLINT"],
        Want::Error(1064, "Can not change INT to SMALLINT"),
    ),
    case(
        "a key type stays, but for longer VARCHAR",
        "fe-core/.../alter/SchemaChangeHandler.java",
        "3.5",
        &[PK, "ALTER TABLE t MODIFY COLUMN k LARGEINT"],
        Want::Error(1064, "Can not modify key column: k for primary key table except for increasing varchar length"),
    ),
    case(
        "no IF EXISTS for columns",
        "fe-core/.../sql/parser/StarRocks.g4",
        "3.3",
        &[PK, "ALTER TABLE t DROP COLUMN IF EXISTS v"],
        Want::Error(1064, "Getting syntax error at line 1, column 26"),
    ),
    case(
        "a partition column stays",
        "fe-core/.../alter/SchemaChangeHandler.java",
        "3.3",
        &[
            "CREATE TABLE t (k INT, d DATE) DUPLICATE KEY (k) PARTITION BY date_trunc('day', d) DISTRIBUTED BY HASH(k) BUCKETS \
             1 PROPERTIES ('replication_num' = '1')",
            "ALTER TABLE t DROP COLUMN d",
        ],
        Want::Error(1064, "Partition column[d] cannot be dropped. index[t]"),
    ),
    case(
        "dropped and added again",
        ALTER_DOCS,
        "3.3",
        &[
            PK,
            "INSERT INTO t VALUES (1, 2, 'a')",
            "ALTER TABLE t DROP COLUMN v",
            "ALTER TABLE t ADD COLUMN v INT",
            "SELECT v FROM t",
        ],
        Want::Rows(&[&["NULL"]]),
    ),
    case(
        "RENAME COLUMN keeps the values",
        RENAME,
        "3.5",
        &[PK, "INSERT INTO t VALUES (1, 2, 'a')", "ALTER TABLE t RENAME COLUMN v TO w", "SELECT w FROM t"],
        Want::Rows(&[&["2"]]),
    ),
    case(
        "SWAP goes both ways",
        ALTER_DOCS,
        "3.3",
        &[
            PK,
            "CREATE TABLE u LIKE t",
            "INSERT INTO t VALUES (1, 2, 'a')",
            "INSERT INTO u VALUES (3, 4, 'b'), (5, 6, 'c')",
            "ALTER TABLE t SWAP WITH u",
            "SELECT count(*) FROM t UNION ALL SELECT count(*) FROM u",
        ],
        Want::Rows(&[&["2"], &["1"]]),
    ),
    case(
        "a job has a day's time",
        SHOW_ALTER_DOCS,
        "3.3",
        &[PK, "ALTER TABLE t ADD COLUMN c INT", "SHOW ALTER TABLE COLUMN"],
        Want::Named(&["TableName", "IndexName", "State", "Msg", "Timeout"], &[&["t", "t", "FINISHED", "", "86400"]]),
    ),
];

const CATALOG: &[Case] = &[
    case(
        "COLUMN_KEY tells the model",
        SCHEMA,
        "3.3",
        &[
            PK,
            "CREATE TABLE d (k INT, v INT) DUPLICATE KEY (k) DISTRIBUTED BY HASH(k) PROPERTIES ('replication_num' = '1')",
            "CREATE TABLE u (k INT, v INT) UNIQUE KEY (k) DISTRIBUTED BY HASH(k) PROPERTIES ('replication_num' = '1')",
            "CREATE TABLE a (k INT, v INT SUM) AGGREGATE KEY (k) DISTRIBUTED BY HASH(k) PROPERTIES ('replication_num' = '1')",
            "SELECT TABLE_NAME, COLUMN_KEY FROM information_schema.columns WHERE TABLE_SCHEMA = database() AND COLUMN_NAME IN \
             ('k', 'v') ORDER BY TABLE_NAME, ORDINAL_POSITION",
        ],
        Want::Rows(&[
            &["a", "AGG"],
            &["a", ""],
            &["d", "DUP"],
            &["d", ""],
            &["t", "PRI"],
            &["t", ""],
            &["u", "UNI"],
            &["u", ""],
        ]),
    ),
    case(
        "TABLE_MODEL and PRIMARY_KEY",
        SCHEMA,
        "3.5",
        &[
            PK,
            "CREATE TABLE d (k INT, v INT) DUPLICATE KEY (k) DISTRIBUTED BY HASH(k) PROPERTIES ('replication_num' = '1')",
            "CREATE TABLE u (k INT, v INT) UNIQUE KEY (k) DISTRIBUTED BY HASH(k) PROPERTIES ('replication_num' = '1')",
            "CREATE TABLE a (k INT, v INT SUM) AGGREGATE KEY (k) DISTRIBUTED BY HASH(k) PROPERTIES ('replication_num' = '1')",
            "SELECT TABLE_NAME, TABLE_MODEL, PRIMARY_KEY FROM information_schema.tables_config WHERE TABLE_SCHEMA = \
             database() ORDER BY TABLE_NAME",
        ],
        Want::Rows(&[
            &["a", "AGG_KEYS", ""],
            &["d", "DUP_KEYS", ""],
            &["t", "PRIMARY_KEYS", "`k`"],
            &["u", "UNIQUE_KEYS", "`k`"],
        ]),
    ),
    case(
        "information_schema.tables_config has these columns",
        SCHEMA,
        "3.5",
        &["SELECT * FROM information_schema.tables_config WHERE TABLE_SCHEMA = 'none'"],
        Want::Labels(&[
            "TABLE_SCHEMA",
            "TABLE_NAME",
            "TABLE_ENGINE",
            "TABLE_MODEL",
            "PRIMARY_KEY",
            "PARTITION_KEY",
            "DISTRIBUTE_KEY",
            "DISTRIBUTE_TYPE",
            "DISTRIBUTE_BUCKET",
            "SORT_KEY",
            "PROPERTIES",
            "TABLE_ID",
        ]),
    ),
    case(
        "PROPERTIES is JSON",
        SCHEMA,
        "3.3",
        &[
            PK,
            "SELECT count(*) FROM information_schema.tables_config WHERE TABLE_SCHEMA = database() AND PROPERTIES LIKE \
             '{%\"replication_num\":\"1\"%}'",
        ],
        Want::Rows(&[&["1"]]),
    ),
    case(
        "TABLE_CATALOG is NULL, places count from 1",
        SCHEMA,
        "3.3",
        &[
            PK,
            "SELECT TABLE_CATALOG, COLUMN_NAME, ORDINAL_POSITION, IS_NULLABLE FROM information_schema.columns WHERE \
             TABLE_SCHEMA = database() ORDER BY ORDINAL_POSITION",
        ],
        Want::Rows(&[&["NULL", "k", "1", "NO"], &["NULL", "v", "2", "YES"], &["NULL", "s", "3", "YES"]]),
    ),
    case(
        "lengths and digits",
        SCHEMA,
        "3.3",
        &[
            "CREATE TABLE t (k INT, s VARCHAR(10), n DECIMAL(10, 2)) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')",
            "SELECT COLUMN_NAME, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, COLUMN_SIZE, DECIMAL_DIGITS FROM \
             information_schema.columns WHERE TABLE_SCHEMA = database() AND COLUMN_NAME <> 'k' ORDER BY ORDINAL_POSITION",
        ],
        Want::Rows(&[&["s", "10", "NULL", "NULL", "10", "NULL"], &["n", "NULL", "10", "2", "10", "2"]]),
    ),
    case(
        "arrays in information_schema",
        "be/src/exec/schema_scanner/schema_columns_scanner.cpp",
        "3.5",
        &[
            WIDE,
            "SELECT DATA_TYPE, COLUMN_TYPE FROM information_schema.columns WHERE TABLE_SCHEMA = database() AND COLUMN_NAME = 'a'",
        ],
        Want::Rows(&[&["array", "array<int(11)>"]]),
    ),
    case(
        "STRING and VARCHAR(65533) are one",
        SCHEMA,
        "3.3",
        &[
            "CREATE TABLE t (k INT, a STRING, b VARCHAR(65533)) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')",
            "SELECT DISTINCT DATA_TYPE, COLUMN_TYPE FROM information_schema.columns WHERE TABLE_SCHEMA = database() AND \
             COLUMN_NAME IN ('a', 'b')",
        ],
        Want::Rows(&[&["varchar", "varchar(65533)"]]),
    ),
    case(
        "SHOW TABLES of another database",
        "docs: sql-statements/table_bucket_part_index/SHOW_TABLES",
        "3.3",
        &["SHOW TABLES FROM information_schema LIKE 'tables_config'"],
        Want::Rows(&[&["tables_config"]]),
    ),
    case(
        "SHOW TABLES names the database",
        "docs: sql-statements/table_bucket_part_index/SHOW_TABLES",
        "3.3",
        &["SHOW TABLES FROM information_schema"],
        Want::Labels(&["Tables_in_information_schema"]),
    ),
    case(
        "a database that exists is 1007",
        ERROR_CODE,
        "3.3",
        &["CREATE DATABASE IF NOT EXISTS contract_twice", "CREATE DATABASE contract_twice"],
        Want::Error(1007, "Can't create database 'contract_twice'; database exists"),
    ),
    case("and can be dropped", ERROR_CODE, "3.3", &["DROP DATABASE contract_twice FORCE"], Want::Done),
    case("5502 in DROP", ERROR_CODE, "3.3", &["DROP TABLE no_such_table"], Want::Error(5502, "Unknown table")),
    case(
        "a frontend has a role",
        "docs: sql-statements/cluster-management/nodes_processes/SHOW_FRONTENDS",
        "3.3",
        &["SELECT 1", "SHOW FRONTENDS"],
        Want::Has("Role", "LEADER"),
    ),
    ours(
        "what is not modelled says so",
        SCHEMA,
        &["SELECT * FROM information_schema.stream_loads"],
        Want::Error(1064, "starrocks-standin does not model information_schema.stream_loads"),
    ),
    ours(
        "what is not modelled says so, too",
        SCHEMA,
        &["SELECT * FROM information_schema.load_tracking_logs"],
        Want::Error(1064, "starrocks-standin does not model information_schema.load_tracking_logs"),
    ),
];

#[tokio::test]
async fn changes_of_columns() {
    run_all(CHANGES).await;
}

#[tokio::test]
async fn the_catalog_told() {
    run_all(CATALOG).await;
}

/// From one type to which others MODIFY COLUMN leads (`SchemaChangeTypeCompatibility.java`, 3.3 and later).
const TYPE_CHANGES: &[(&str, &[&str])] = &[
    ("BOOLEAN", &[]),
    ("TINYINT", &["SMALLINT", "INT", "BIGINT", "LARGEINT", "DOUBLE", "VARCHAR(64)"]),
    ("SMALLINT", &["INT", "BIGINT", "LARGEINT", "DOUBLE", "VARCHAR(64)"]),
    ("INT", &["BIGINT", "LARGEINT", "DOUBLE", "DATE", "VARCHAR(64)"]),
    ("BIGINT", &["LARGEINT", "DOUBLE", "VARCHAR(64)"]),
    ("LARGEINT", &["VARCHAR(64)"]),
    ("FLOAT", &["DOUBLE", "VARCHAR(64)"]),
    ("DOUBLE", &["VARCHAR(64)"]),
    ("DECIMAL(10, 2)", &["DECIMAL(20, 4)", "VARCHAR(64)"]),
    ("DECIMAL(20, 4)", &["VARCHAR(64)"]),
    ("DATE", &["DATETIME"]),
    ("DATETIME", &["DATE"]),
    ("CHAR(5)", &["VARCHAR(64)"]),
    (
        "VARCHAR(64)",
        &[
            "TINYINT",
            "SMALLINT",
            "INT",
            "BIGINT",
            "LARGEINT",
            "FLOAT",
            "DOUBLE",
            "DECIMAL(10, 2)",
            "DECIMAL(20, 4)",
            "DATE",
            "JSON",
        ],
    ),
    ("JSON", &["VARCHAR(64)"]),
    ("VARBINARY", &[]),
];

#[tokio::test]
async fn type_changes_follow_the_matrix() {
    let target = Target::from_environment().await;
    let database = format!("contract_{}_matrix", std::process::id());
    let mut connection = target.connect(None).await;
    connection.query_drop(format!("CREATE DATABASE {database}")).await.expect("CREATE DATABASE");
    connection.query_drop(format!("USE {database}")).await.expect("USE");
    let mut failures = Vec::new();
    for (at, (from, allowed)) in TYPE_CHANGES.iter().enumerate() {
        for (number, (to, _)) in TYPE_CHANGES.iter().enumerate().filter(|(_, (to, _))| to != from) {
            let table = format!("t_{at}_{number}");
            let create = format!(
                "CREATE TABLE {table} (k INT, v {from}) PRIMARY KEY (k) DISTRIBUTED BY HASH(k) BUCKETS 1 PROPERTIES \
                 ('replication_num' = '1')"
            );
            connection.query_drop(create).await.expect("CREATE TABLE");
            let answer = connection.query_drop(format!("ALTER TABLE {table} MODIFY COLUMN v {to}")).await;
            match (allowed.contains(to), answer) {
                (true, Ok(())) => {}
                (true, Err(error)) => failures.push(format!("{from} to {to}: {error}")),
                (false, Ok(())) => failures.push(format!("{from} to {to} was accepted")),
                (false, Err(mysql_async::Error::Server(error))) if error.code == 1064 => {}
                (false, Err(error)) => failures.push(format!("{from} to {to} is refused with {error}")),
            }
        }
    }
    connection.query_drop(format!("DROP DATABASE {database} FORCE")).await.expect("DROP DATABASE");
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

// ---- the protocol itself ----

#[tokio::test]
async fn a_wrong_password_is_1045() {
    let target = Target::from_environment().await;
    let options: Opts =
        OptsBuilder::from_opts(target.options(None)).user(Some("root")).pass(Some("certainly wrong")).into();
    let error = Conn::new(options).await.expect_err("refused");
    let mysql_async::Error::Server(error) = error else { panic!("{error}") };
    assert_eq!(error.code, 1045);
    assert!(error.message.starts_with("Access denied for user 'root'"), "{}", error.message);
    assert!(error.message.ends_with("(using password: YES)"), "{}", error.message);
}

#[tokio::test]
async fn without_a_database_names_are_1046() {
    let target = Target::from_environment().await;
    let mut connection = target.connect(None).await;
    for statement in ["SELECT * FROM t", "SHOW TABLES", "DESC t", "CREATE TABLE t (k INT) PRIMARY KEY (k)"] {
        let error = connection.query_drop(statement).await.expect_err(statement);
        let mysql_async::Error::Server(error) = error else { panic!("{error}") };
        assert_eq!((error.code, error.message.contains("No database selected")), (1046, true), "{statement}: {error}");
    }
}

#[tokio::test]
async fn only_queries_can_be_prepared() {
    let target = Target::from_environment().await;
    let mut connection = target.connect(None).await;
    let answer: Option<(i64, String)> =
        connection.exec_first("SELECT ? + 1, ?", (41_i64, "it's")).await.expect("a prepared query");
    assert_eq!(answer, Some((42, "it's".to_owned())));
    let error = connection.prep("CREATE DATABASE never_made").await.expect_err("refused");
    let mysql_async::Error::Server(error) = error else { panic!("{error}") };
    assert_eq!(error.code, 1295, "{error}");
    // The connection lives on.
    connection.ping().await.expect("PING");
    connection.reset().await.expect("RESET_CONNECTION");
}

#[tokio::test]
async fn versions_are_what_clients_expect() {
    let target = Target::from_environment().await;
    let mut connection = target.connect(None).await;
    let rows: Option<(String, String)> =
        connection.query_first("SELECT current_version(), @@version_comment").await.expect("versions");
    let (version, comment) = rows.expect("one row");
    assert_eq!(version, comment);
    let release = version.split(['-', ' ']).next().unwrap_or_default();
    assert_eq!(release.split('.').count(), 3, "{version}");
    // 5.1.0 up to 3.4, 8.0.33 from 3.5 on.
    assert!([(5, 1, 0), (8, 0, 33)].contains(&connection.server_version()), "{:?}", connection.server_version());
}
