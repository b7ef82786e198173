//! What a table is: columns, key, and the rest of CREATE TABLE.
//!
//! In: a `NewTable` as DDL says it. Out: a `TableDef`, checked as StarRocks checks CREATE TABLE.
//! Always: key columns come first, in key order; column names are unique without regard to case.
//! Not here: rows (`rows`), changes of a table (`alter`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::CatalogError;
use super::types::SrType;

/// The four table models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TableModel {
    /// `PRIMARY KEY`.
    Primary,
    /// `DUPLICATE KEY`.
    Duplicate,
    /// `UNIQUE KEY`.
    Unique,
    /// `AGGREGATE KEY`.
    Aggregate,
}

impl TableModel {
    /// `information_schema.tables_config.TABLE_MODEL`.
    pub fn config_name(self) -> &'static str {
        match self {
            TableModel::Primary => "PRIMARY_KEYS",
            TableModel::Duplicate => "DUP_KEYS",
            TableModel::Unique => "UNIQUE_KEYS",
            TableModel::Aggregate => "AGG_KEYS",
        }
    }

    /// The key clause of SHOW CREATE TABLE: `PRIMARY KEY`.
    pub fn clause(self) -> &'static str {
        match self {
            TableModel::Primary => "PRIMARY KEY",
            TableModel::Duplicate => "DUPLICATE KEY",
            TableModel::Unique => "UNIQUE KEY",
            TableModel::Aggregate => "AGGREGATE KEY",
        }
    }

    /// `information_schema.columns.COLUMN_KEY` of a key column.
    pub fn column_key(self) -> &'static str {
        match self {
            TableModel::Primary => "PRI",
            TableModel::Duplicate => "DUP",
            TableModel::Unique => "UNI",
            TableModel::Aggregate => "AGG",
        }
    }
}

/// What a column gets where a statement or a partial update leaves it out. (A JSON load does not: it writes NULL.)
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ColumnDefault {
    /// A constant, as text of the column's type.
    Constant(String),
    /// `CURRENT_TIMESTAMP`.
    CurrentTimestamp,
    /// Another expression, as text. Known to SHOW; a row that needs it gets NULL.
    Expression(String),
}

/// How an AGGREGATE KEY table folds a value column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Aggregation {
    /// `SUM`.
    Sum,
    /// `MIN`.
    Min,
    /// `MAX`.
    Max,
    /// `REPLACE`.
    Replace,
    /// `REPLACE_IF_NOT_NULL`.
    ReplaceIfNotNull,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDef {
    /// Stays the same through RENAME and MODIFY; set by the store (0 in a definition that is not in it yet).
    pub id: u32,
    /// As written; compared without regard to case in SQL, with regard to case by JSON loads.
    pub name: String,
    /// The name it was created under, which RENAME leaves: no other column can be added under it. Set by the store.
    pub created_as: String,
    /// Its type.
    pub ty: SrType,
    /// Whether NULL is allowed. Key columns of a PRIMARY KEY table never allow it, whatever was written.
    pub nullable: bool,
    /// Whether it belongs to the key; set by the store from the key clause.
    pub key: bool,
    /// DEFAULT, if any.
    pub default: Option<ColumnDefault>,
    /// Of value columns in AGGREGATE KEY tables.
    pub aggregation: Option<Aggregation>,
    /// COMMENT; empty if none.
    pub comment: String,
    /// AUTO_INCREMENT: left out of a load's implicit column list.
    pub auto_increment: bool,
    /// The expression of a generated column: left out of a load's implicit column list; always NULL here.
    pub generated: Option<String>,
}

impl ColumnDef {
    /// A nullable column without default or comment.
    pub fn new(name: impl Into<String>, ty: SrType) -> ColumnDef {
        ColumnDef {
            id: 0,
            name: name.into(),
            created_as: String::new(),
            ty,
            nullable: true,
            key: false,
            default: None,
            aggregation: None,
            comment: String::new(),
            auto_increment: false,
            generated: None,
        }
    }

    /// The same, NOT NULL.
    pub fn not_null(mut self) -> ColumnDef {
        self.nullable = false;
        self
    }

    /// Whether `name` means this column in SQL.
    pub fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// DISTRIBUTED BY.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Distribution {
    /// `HASH(columns)`.
    Hash(Vec<String>),
    /// `RANDOM`.
    Random,
}

/// CREATE TABLE as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTable {
    /// The table's name.
    pub name: String,
    /// Columns in order; `id` and `key` are set by the store.
    pub columns: Vec<ColumnDef>,
    /// The key clause; `None` makes a DUPLICATE KEY table over the leading columns.
    pub keys: Option<(TableModel, Vec<String>)>,
    /// ORDER BY; empty = the key.
    pub sort_key: Vec<String>,
    /// The text behind PARTITION BY. Partitions are not modelled: the text is only shown again.
    pub partition_by: Option<String>,
    /// DISTRIBUTED BY; `None` = hash of the key, or random for DUPLICATE KEY.
    pub distribution: Option<Distribution>,
    /// BUCKETS; `None` = chosen by the server.
    pub buckets: Option<u32>,
    /// COMMENT; empty if none.
    pub comment: String,
    /// PROPERTIES as written.
    pub properties: Vec<(String, String)>,
}

/// A table as the catalog keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDef {
    /// Unique in the server.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Columns; the first `key_columns` are the key.
    pub columns: Vec<ColumnDef>,
    /// Its model.
    pub model: TableModel,
    /// How many leading columns are the key.
    pub key_columns: usize,
    /// ORDER BY; empty = the key.
    pub sort_key: Vec<String>,
    /// The text behind PARTITION BY.
    pub partition_by: Option<String>,
    /// DISTRIBUTED BY.
    pub distribution: Distribution,
    /// BUCKETS; `None` = chosen by the server.
    pub buckets: Option<u32>,
    /// All properties SHOW CREATE TABLE prints, defaults included, by name.
    pub properties: BTreeMap<String, String>,
    /// COMMENT; empty if none.
    pub comment: String,
    /// Counts schema changes, from 0.
    pub schema_version: u32,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// The id the next added column gets.
    pub next_column_id: u32,
}

impl TableDef {
    /// Place of a column by its name in SQL (without regard to case).
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.is_called(name))
    }

    /// Key columns in order.
    pub fn key(&self) -> &[ColumnDef] {
        &self.columns[..self.key_columns]
    }

    /// Whether rows are unique by key (every model but DUPLICATE KEY).
    pub fn is_keyed(&self) -> bool {
        self.model != TableModel::Duplicate
    }
}

/// Where and how a table is made: what the checks need to know of the server.
pub(super) struct Site {
    pub(super) shared_data: bool,
    pub(super) default_replication_num: u32,
    pub(super) backends: u32,
}

/// Checks a CREATE TABLE and fills in what it left out.
pub(super) fn define(new: NewTable, id: u64, created_ms: i64, site: &Site) -> Result<TableDef, CatalogError> {
    check_columns(&new.columns)?;
    let (model, key) = match &new.keys {
        Some((model, key)) => (*model, key.clone()),
        None => (TableModel::Duplicate, implicit_key(&new.columns)),
    };
    let columns = keyed_columns(new.columns, model, &key)?;
    check_sort_key(&new.sort_key, &columns)?;
    let distribution = distribution(new.distribution, model, &key, &columns)?;
    Ok(TableDef {
        id,
        name: new.name,
        next_column_id: columns.len() as u32,
        columns,
        model,
        key_columns: key.len(),
        sort_key: new.sort_key,
        partition_by: new.partition_by,
        distribution,
        buckets: new.buckets,
        properties: properties(new.properties, model, site)?,
        comment: new.comment,
        schema_version: 0,
        created_ms,
    })
}

/// Names a PRIMARY KEY table keeps for itself (StarRocks source, `Column.java` and `FeNameFormat.java`).
const RESERVED_COLUMNS: [&str; 3] = ["__op", "__row", "___count___"];

/// `^[^\0=<>!\*]{1,1024}$` and not reserved.
pub(super) fn check_column_name(name: &str) -> Result<(), CatalogError> {
    let shape = (1..=1024).contains(&name.chars().count()) && !name.contains(['\0', '=', '<', '>', '!', '*']);
    if !shape {
        return Err(CatalogError::analyzing(format!("Incorrect column name '{name}'")));
    }
    if RESERVED_COLUMNS.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        return Err(CatalogError::analyzing(format!(
            "Column name [{name}] is a system reserved name. Please choose a different one"
        )));
    }
    Ok(())
}

fn check_columns(columns: &[ColumnDef]) -> Result<(), CatalogError> {
    if columns.is_empty() {
        return Err(CatalogError::analyzing("Table must have at least one column"));
    }
    for (at, column) in columns.iter().enumerate() {
        check_column_name(&column.name)?;
        if columns[..at].iter().any(|earlier| earlier.is_called(&column.name)) {
            return Err(CatalogError::DuplicateColumn(column.name.clone()));
        }
    }
    Ok(())
}

/// Without a key clause the leading columns that can be sorted are the key, at most three and 36 bytes.
fn implicit_key(columns: &[ColumnDef]) -> Vec<String> {
    let sortable = |ty: &SrType| {
        !matches!(ty, SrType::Float | SrType::Double | SrType::Json | SrType::Array(_) | SrType::VarBinary(_))
    };
    columns.iter().take_while(|column| sortable(&column.ty)).take(3).map(|column| column.name.clone()).collect()
}

fn keyed_columns(
    mut columns: Vec<ColumnDef>,
    model: TableModel,
    key: &[String],
) -> Result<Vec<ColumnDef>, CatalogError> {
    for (at, name) in key.iter().enumerate() {
        if !columns.iter().any(|column| column.is_called(name)) {
            return Err(CatalogError::analyzing(format!("Key column({name}) doesn't exist.")));
        }
        if !columns.get(at).is_some_and(|column| column.is_called(name)) {
            return Err(CatalogError::analyzing(
                "Key columns must be the first few columns of the schema and the order  of the key columns must be \
                 consistent with the order of the schema",
            ));
        }
    }
    for (at, column) in columns.iter_mut().enumerate() {
        column.id = at as u32;
        column.created_as = column.name.clone();
        column.key = at < key.len();
        if column.key && model == TableModel::Primary {
            if !column.ty.fits_primary_key() {
                return Err(CatalogError::analyzing(format!(
                    "primary key column({}) type not support: {}",
                    column.name,
                    column.ty.error_name()
                )));
            }
            column.nullable = false;
        }
        if !column.key && model == TableModel::Aggregate && column.aggregation.is_none() {
            return Err(CatalogError::analyzing(format!("Column({}) must have aggregate type", column.name)));
        }
        if let Some(ColumnDefault::Constant(text)) = &column.default {
            super::convert::default_cell(text, column)
                .map_err(|_| CatalogError::analyzing(format!("Invalid default value for '{}': {text}", column.name)))?;
        }
    }
    Ok(columns)
}

fn check_sort_key(sort_key: &[String], columns: &[ColumnDef]) -> Result<(), CatalogError> {
    match sort_key.iter().find(|name| !columns.iter().any(|column| column.is_called(name))) {
        Some(name) => Err(CatalogError::analyzing(format!("Unknown column '{name}' does not exist"))),
        None => Ok(()),
    }
}

fn distribution(
    written: Option<Distribution>,
    model: TableModel,
    key: &[String],
    columns: &[ColumnDef],
) -> Result<Distribution, CatalogError> {
    match written {
        None if model == TableModel::Duplicate => Ok(Distribution::Random),
        None => Ok(Distribution::Hash(key.to_vec())),
        Some(Distribution::Random) if model == TableModel::Primary || model == TableModel::Unique => {
            let text = format!("{} must use hash distribution", model.config_name());
            Err(CatalogError::analyzing(text))
        }
        Some(Distribution::Hash(names)) => {
            for name in &names {
                let Some(column) = columns.iter().find(|column| column.is_called(name)) else {
                    return Err(CatalogError::analyzing(format!("Distribution column({name}) doesn't exist.")));
                };
                if !column.key && model != TableModel::Duplicate {
                    return Err(CatalogError::analyzing(format!("Distribution column[{name}] is not key column")));
                }
            }
            Ok(Distribution::Hash(names))
        }
        Some(Distribution::Random) => Ok(Distribution::Random),
    }
}

/// Properties with the defaults SHOW CREATE TABLE shows.
fn properties(
    written: Vec<(String, String)>,
    model: TableModel,
    site: &Site,
) -> Result<BTreeMap<String, String>, CatalogError> {
    let replication = if site.shared_data { 1 } else { site.default_replication_num };
    let mut all = BTreeMap::from([
        ("compression".to_string(), "LZ4".to_string()),
        ("fast_schema_evolution".to_string(), "true".to_string()),
        ("replicated_storage".to_string(), "true".to_string()),
        ("replication_num".to_string(), replication.to_string()),
    ]);
    if model == TableModel::Primary {
        all.insert("enable_persistent_index".to_string(), "true".to_string());
    }
    all.extend(written);
    let replication: u32 = all["replication_num"]
        .parse()
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| CatalogError::analyzing("Replication num should larger than 0"))?;
    if !site.shared_data && replication > site.backends {
        return Err(CatalogError::refused(format!(
            "Table replication num should be less than of equal to the number of available BE nodes. You can change \
             this default by setting the replication_num table properties. Current alive backend is [{}]. ",
            (0..site.backends).map(|at| (10_001 + at).to_string()).collect::<Vec<_>>().join(", ")
        )));
    }
    Ok(all)
}
