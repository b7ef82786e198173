//! `information_schema`: the catalog as tables.
//!
//! In: the name of a system table. Out: its rows.
//! Always: columns in StarRocks' order (docs, sql-reference/information_schema; `schema_columns_scanner.cpp` and its
//! neighbours), spelled in upper case, names compared without case.
//! Not here: SHOW (`show`).

use crate::store::{ColumnDef, ColumnDefault, Distribution, LoadRecord, SrType, TableDef, TableModel, TxnState};

use super::Frontend;
use super::SYSTEM_DATABASES;
use super::error::SqlError;
use super::result::{Cell, Column, ColumnKind, text};
use super::select::TableData;

const NUMBER: ColumnKind = ColumnKind::BigInt;
const WORDS: ColumnKind = ColumnKind::VarChar;
const MOMENT: ColumnKind = ColumnKind::DateTime;

type Shape = &'static [(&'static str, ColumnKind)];

const TABLES: Shape = &[
    ("TABLE_CATALOG", WORDS),
    ("TABLE_SCHEMA", WORDS),
    ("TABLE_NAME", WORDS),
    ("TABLE_TYPE", WORDS),
    ("ENGINE", WORDS),
    ("VERSION", NUMBER),
    ("ROW_FORMAT", WORDS),
    ("TABLE_ROWS", NUMBER),
    ("AVG_ROW_LENGTH", NUMBER),
    ("DATA_LENGTH", NUMBER),
    ("MAX_DATA_LENGTH", NUMBER),
    ("INDEX_LENGTH", NUMBER),
    ("DATA_FREE", NUMBER),
    ("AUTO_INCREMENT", NUMBER),
    ("CREATE_TIME", MOMENT),
    ("UPDATE_TIME", MOMENT),
    ("CHECK_TIME", MOMENT),
    ("TABLE_COLLATION", WORDS),
    ("CHECKSUM", NUMBER),
    ("CREATE_OPTIONS", WORDS),
    ("TABLE_COMMENT", WORDS),
];

const COLUMNS: Shape = &[
    ("TABLE_CATALOG", WORDS),
    ("TABLE_SCHEMA", WORDS),
    ("TABLE_NAME", WORDS),
    ("COLUMN_NAME", WORDS),
    ("ORDINAL_POSITION", NUMBER),
    ("COLUMN_DEFAULT", WORDS),
    ("IS_NULLABLE", WORDS),
    ("DATA_TYPE", WORDS),
    ("CHARACTER_MAXIMUM_LENGTH", NUMBER),
    ("CHARACTER_OCTET_LENGTH", NUMBER),
    ("NUMERIC_PRECISION", NUMBER),
    ("NUMERIC_SCALE", NUMBER),
    ("DATETIME_PRECISION", NUMBER),
    ("CHARACTER_SET_NAME", WORDS),
    ("COLLATION_NAME", WORDS),
    ("COLUMN_TYPE", WORDS),
    ("COLUMN_KEY", WORDS),
    ("EXTRA", WORDS),
    ("PRIVILEGES", WORDS),
    ("COLUMN_COMMENT", WORDS),
    ("COLUMN_SIZE", NUMBER),
    ("DECIMAL_DIGITS", NUMBER),
    ("GENERATION_EXPRESSION", WORDS),
    ("SRS_ID", NUMBER),
];

const TABLES_CONFIG: Shape = &[
    ("TABLE_SCHEMA", WORDS),
    ("TABLE_NAME", WORDS),
    ("TABLE_ENGINE", WORDS),
    ("TABLE_MODEL", WORDS),
    ("PRIMARY_KEY", WORDS),
    ("PARTITION_KEY", WORDS),
    ("DISTRIBUTE_KEY", WORDS),
    ("DISTRIBUTE_TYPE", WORDS),
    ("DISTRIBUTE_BUCKET", NUMBER),
    ("SORT_KEY", WORDS),
    ("PROPERTIES", WORDS),
    ("TABLE_ID", NUMBER),
];

const SCHEMATA: Shape = &[
    ("CATALOG_NAME", WORDS),
    ("SCHEMA_NAME", WORDS),
    ("DEFAULT_CHARACTER_SET_NAME", WORDS),
    ("DEFAULT_COLLATION_NAME", WORDS),
    ("SQL_PATH", WORDS),
];

const LOADS: Shape = &[
    ("ID", NUMBER),
    ("LABEL", WORDS),
    ("PROFILE_ID", WORDS),
    ("DB_NAME", WORDS),
    ("TABLE_NAME", WORDS),
    ("USER", WORDS),
    ("WAREHOUSE", WORDS),
    ("STATE", WORDS),
    ("PROGRESS", WORDS),
    ("TYPE", WORDS),
    ("PRIORITY", WORDS),
    ("SCAN_ROWS", NUMBER),
    ("SCAN_BYTES", NUMBER),
    ("FILTERED_ROWS", NUMBER),
    ("UNSELECTED_ROWS", NUMBER),
    ("SINK_ROWS", NUMBER),
    ("RUNTIME_DETAILS", WORDS),
    ("CREATE_TIME", MOMENT),
    ("LOAD_START_TIME", MOMENT),
    ("LOAD_COMMIT_TIME", MOMENT),
    ("LOAD_FINISH_TIME", MOMENT),
    ("PROPERTIES", WORDS),
    ("ERROR_MSG", WORDS),
    ("TRACKING_SQL", WORDS),
    ("REJECTED_RECORD_PATH", WORDS),
];

// Without rows here: nothing they could list is modelled.
const VIEWS: Shape = &[
    ("TABLE_CATALOG", WORDS),
    ("TABLE_SCHEMA", WORDS),
    ("TABLE_NAME", WORDS),
    ("VIEW_DEFINITION", WORDS),
    ("CHECK_OPTION", WORDS),
    ("IS_UPDATABLE", WORDS),
    ("DEFINER", WORDS),
    ("SECURITY_TYPE", WORDS),
    ("CHARACTER_SET_CLIENT", WORDS),
    ("COLLATION_CONNECTION", WORDS),
];
const MATERIALIZED_VIEWS: Shape = &[
    ("MATERIALIZED_VIEW_ID", WORDS),
    ("TABLE_SCHEMA", WORDS),
    ("TABLE_NAME", WORDS),
    ("REFRESH_TYPE", WORDS),
    ("IS_ACTIVE", WORDS),
    ("INACTIVE_REASON", WORDS),
    ("PARTITION_TYPE", WORDS),
    ("TABLE_ROWS", WORDS),
    ("MATERIALIZED_VIEW_DEFINITION", WORDS),
];
const ENGINES: Shape = &[
    ("ENGINE", WORDS),
    ("SUPPORT", WORDS),
    ("COMMENT", WORDS),
    ("TRANSACTIONS", WORDS),
    ("XA", WORDS),
    ("SAVEPOINTS", WORDS),
];
const TABLE_CONSTRAINTS: Shape = &[
    ("CONSTRAINT_CATALOG", WORDS),
    ("CONSTRAINT_SCHEMA", WORDS),
    ("CONSTRAINT_NAME", WORDS),
    ("TABLE_SCHEMA", WORDS),
    ("TABLE_NAME", WORDS),
    ("CONSTRAINT_TYPE", WORDS),
];

const ALL: &[(&str, Shape)] = &[
    ("columns", COLUMNS),
    ("engines", ENGINES),
    ("loads", LOADS),
    ("materialized_views", MATERIALIZED_VIEWS),
    ("schemata", SCHEMATA),
    ("table_constraints", TABLE_CONSTRAINTS),
    ("tables", TABLES),
    ("tables_config", TABLES_CONFIG),
    ("views", VIEWS),
];

/// Views StarRocks has beside them that speak of loads.
const NOT_MODELLED: &[&str] = &["stream_loads", "load_tracking_logs"];

/// Names of all system tables.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name)
}

/// A system table, whole.
pub(super) fn system_table(frontend: &Frontend, name: &str) -> Result<TableData, SqlError> {
    if let Some(known) = NOT_MODELLED.iter().find(|known| known.eq_ignore_ascii_case(name)) {
        return Err(SqlError::not_modelled(format!("information_schema.{known}")));
    }
    let Some((known, shape)) = ALL.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) else {
        return Err(SqlError::unknown_table("information_schema", name));
    };
    let columns = shape.iter().map(|(column, kind)| Column {
        name: (*column).to_owned(),
        table: (*known).to_owned(),
        database: "information_schema".to_owned(),
        kind: *kind,
    });
    let rows = match *known {
        "columns" => column_rows(frontend),
        "loads" => load_rows(frontend),
        "schemata" => frontend.databases().iter().map(|name| schema_row(name)).collect(),
        "tables" => table_rows(frontend),
        "tables_config" => config_rows(frontend),
        _ => Vec::new(),
    };
    Ok(TableData { columns: columns.collect(), rows })
}

fn number(value: impl ToString) -> Cell {
    Some(value.to_string().into_bytes())
}

/// Milliseconds since 1970 as StarRocks prints DATETIME.
pub(super) fn moment(milliseconds: i64) -> Cell {
    crate::store::Cell::DateTime(milliseconds.div_euclid(1000) * 1_000_000).print()
}

/// Every user table with its database.
fn user_tables(frontend: &Frontend) -> Vec<(String, std::sync::Arc<TableDef>)> {
    let mut all = Vec::new();
    for database in frontend.store.databases() {
        // A database dropped meanwhile has no tables.
        for table in frontend.store.tables(&database).unwrap_or_default() {
            all.push((database.clone(), table));
        }
    }
    all
}

fn schema_row(name: &str) -> Vec<Cell> {
    vec![text("def"), text(name), text("utf8"), text("utf8_general_ci"), None]
}

fn table_rows(frontend: &Frontend) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for (database, table) in user_tables(frontend) {
        let count = frontend.store.row_count(&database, &table.name).unwrap_or(0);
        let created = moment(table.created_ms);
        rows.push(table_row(&database, &table.name, "BASE TABLE", "StarRocks", number(count), created, &table.comment));
    }
    for name in names() {
        rows.push(table_row(SYSTEM_DATABASES[1], name, "SYSTEM VIEW", "MEMORY", None, None, ""));
    }
    rows
}

fn table_row(
    database: &str,
    table: &str,
    kind: &str,
    engine: &str,
    count: Cell,
    created: Cell,
    comment: &str,
) -> Vec<Cell> {
    let mut row = vec![text("def"), text(database), text(table), text(kind), text(engine), None, None, count];
    row.extend([number(0), number(0), None, None, None, None, created.clone(), created, None]);
    row.extend([text("utf8_general_ci"), None, None, text(comment)]);
    row
}

fn column_rows(frontend: &Frontend) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for (database, table) in user_tables(frontend) {
        for (at, column) in table.columns.iter().enumerate() {
            rows.push(column_row(&database, &table, at, column));
        }
    }
    rows
}

fn column_row(database: &str, table: &TableDef, at: usize, column: &ColumnDef) -> Vec<Cell> {
    let length = match &column.ty {
        SrType::Char(bytes) | SrType::Varchar(bytes) => number(bytes),
        _ => None,
    };
    let (precision, scale) = precision(&column.ty);
    let key = if column.key { table.model.column_key() } else { "" };
    let size = length.clone().or_else(|| precision.clone());
    vec![
        None,
        text(database),
        text(&table.name),
        text(&column.name),
        number(at + 1),
        default_text(column).map(String::into_bytes),
        text(if column.nullable { "YES" } else { "NO" }),
        text(column.ty.data_type()),
        length.clone(),
        length,
        precision,
        scale.clone(),
        None,
        None,
        None,
        text(column.ty.column_type()),
        text(key),
        text(""),
        text(""),
        text(&column.comment),
        size,
        scale,
        text(column.generated.as_deref().unwrap_or("")),
        None,
    ]
}

/// NUMERIC_PRECISION and NUMERIC_SCALE (`ScalarType.java`).
fn precision(ty: &SrType) -> (Cell, Cell) {
    let both = |precision: u8, scale: u8| (number(precision), number(scale));
    match ty {
        SrType::TinyInt => both(3, 0),
        SrType::SmallInt => both(5, 0),
        SrType::Int => both(10, 0),
        SrType::BigInt => both(19, 0),
        SrType::LargeInt => both(39, 0),
        SrType::Float => both(7, 7),
        SrType::Double => both(15, 15),
        SrType::Decimal { precision, scale } => both(*precision, *scale),
        _ => (None, None),
    }
}

/// A column's default as DESC and information_schema show it.
pub(super) fn default_text(column: &ColumnDef) -> Option<String> {
    match column.default.as_ref()? {
        ColumnDefault::Constant(text) | ColumnDefault::Expression(text) => Some(text.clone()),
        ColumnDefault::CurrentTimestamp => Some("CURRENT_TIMESTAMP".to_owned()),
    }
}

/// `` `a`, `b` ``.
pub(super) fn name_list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn config_rows(frontend: &Frontend) -> Vec<Vec<Cell>> {
    let engine = if frontend.store.settings().shared_data { "CLOUD_NATIVE" } else { "OLAP" };
    user_tables(frontend).iter().map(|(database, table)| config_row(engine, database, table)).collect()
}

fn config_row(engine: &str, database: &str, table: &TableDef) -> Vec<Cell> {
    let key = name_list(table.key().iter().map(|column| column.name.as_str()));
    let has_key = matches!(table.model, TableModel::Primary | TableModel::Unique);
    let (distribution, columns) = match &table.distribution {
        Distribution::Hash(columns) => ("HASH", name_list(columns.iter().map(String::as_str))),
        Distribution::Random => ("RANDOM", String::new()),
    };
    let sort_key = match table.sort_key.is_empty() {
        true => key.clone(),
        false => name_list(table.sort_key.iter().map(String::as_str)),
    };
    vec![
        text(database),
        text(&table.name),
        text(engine),
        text(table.model.config_name()),
        text(if has_key { key.as_str() } else { "" }),
        text(table.partition_by.as_deref().unwrap_or("")),
        text(columns),
        text(distribution),
        number(table.buckets.unwrap_or(0)),
        text(sort_key),
        text(serde_json::to_string(&table.properties).unwrap_or_default()),
        number(table.id),
    ]
}

fn load_rows(frontend: &Frontend) -> Vec<Vec<Cell>> {
    let user = frontend.store.settings().user;
    frontend.store.loads().iter().map(|load| load_row(&user, load)).collect()
}

/// One load (docs, information_schema.loads). States are those of loads, not of transactions.
fn load_row(user: &str, load: &LoadRecord) -> Vec<Cell> {
    let (state, progress) = match load.state {
        TxnState::Visible => ("FINISHED", "100%"),
        TxnState::Aborted => ("CANCELLED", "0%"),
        TxnState::Committed => ("COMMITTED", "100%"),
        TxnState::Prepared => ("PREPARED", "100%"),
        TxnState::Prepare => ("LOADING", "0%"),
    };
    let kind = if load.multi_table { "STREAM LOAD MULTI STATEMENT" } else { "STREAM LOAD" };
    let counts = &load.counts;
    vec![
        number(load.txn_id),
        text(&load.label),
        text(""),
        text(&load.database),
        text(load.tables.join(",")),
        text(user),
        text("default_warehouse"),
        text(state),
        text(progress),
        text(kind),
        text("NORMAL"),
        number(counts.total),
        number(counts.bytes),
        number(counts.filtered),
        number(counts.unselected),
        number(counts.loaded),
        text("{}"),
        moment(load.begun_ms),
        moment(load.begun_ms),
        load.committed_ms.and_then(moment),
        load.finished_ms.and_then(moment),
        text("{}"),
        Some(load.reason.clone().into_bytes()).filter(|reason| !reason.is_empty()),
        None,
        None,
    ]
}
