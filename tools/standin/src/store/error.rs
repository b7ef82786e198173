//! What the catalog refuses, with the number and text the MySQL port sends.
//!
//! Always: `Display` is the whole text of the ERR packet (StarRocks source, `ErrorCode.java`, `SchemaChangeHandler.java`).
//! The HTTP ports word some of these differently and match on the variant.

/// A refused change of the catalog, or a name that is not in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// CREATE DATABASE of an existing one.
    #[error("Can't create database '{0}'; database exists")]
    DatabaseExists(String),
    /// DROP DATABASE of a missing one.
    #[error("Can't drop database '{0}'; database doesn't exist")]
    DatabaseMissing(String),
    /// A statement names a database that is not there.
    #[error("Getting analyzing error. Detail message: Unknown database '{0}'.")]
    UnknownDatabase(String),
    /// A statement names a table that is not there.
    #[error("Getting analyzing error. Detail message: Unknown table '{database}.{table}'.")]
    UnknownTable {
        /// Where it was looked for.
        database: String,
        /// What was looked for.
        table: String,
    },
    /// CREATE TABLE or RENAME to an existing name.
    #[error("Getting analyzing error. Detail message: Table '{0}' already exists.")]
    TableExists(String),
    /// Two columns of one name.
    #[error("Getting analyzing error. Detail message: Duplicate column name '{0}'.")]
    DuplicateColumn(String),
    /// RENAME COLUMN to a name in use.
    #[error("Duplicate column name '{0}'")]
    DuplicateColumnPlain(String),
    /// Anything else: semantic refusals, all under 1064.
    #[error("{0}")]
    Refused(String),
}

impl CatalogError {
    /// The MySQL error number as StarRocks numbers it.
    pub fn code(&self) -> u16 {
        match self {
            CatalogError::DatabaseExists(_) => 1007,
            CatalogError::DatabaseMissing(_) => 1008,
            CatalogError::UnknownDatabase(_) => 5501,
            CatalogError::UnknownTable { .. } => 5502,
            CatalogError::TableExists(_) => 1050,
            CatalogError::DuplicateColumn(_) | CatalogError::DuplicateColumnPlain(_) => 1060,
            CatalogError::Refused(_) => 1064,
        }
    }

    /// The five characters beside the number.
    pub fn sql_state(&self) -> &'static str {
        match self {
            CatalogError::UnknownDatabase(_) => "3F000",
            CatalogError::UnknownTable { .. } => "42602",
            CatalogError::TableExists(_) => "42S01",
            CatalogError::DuplicateColumn(_) | CatalogError::DuplicateColumnPlain(_) => "42S21",
            _ => "HY000",
        }
    }

    /// 1064 with a bare text, as DDL executors send it.
    pub fn refused(text: impl Into<String>) -> CatalogError {
        CatalogError::Refused(text.into())
    }

    /// 1064 in the analyzer's wording.
    pub fn analyzing(detail: impl std::fmt::Display) -> CatalogError {
        CatalogError::Refused(format!("Getting analyzing error. Detail message: {detail}."))
    }
}
