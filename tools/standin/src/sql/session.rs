//! What one connection remembers: user, database, variables.
//!
//! Always: a variable that was never set has the value StarRocks ships with.
//! Not here: statements (`super::execute`).

use std::collections::HashMap;

use super::Frontend;
use super::ast::Literal;
use super::error::SqlError;

/// A connection's state.
#[derive(Clone, Debug)]
pub struct Session {
    /// `connection_id()`.
    pub connection_id: u32,
    /// Who logged in.
    pub user: String,
    /// The database of unqualified names.
    pub database: Option<String>,
    variables: HashMap<String, Literal>,
    /// The last statement's error, for SHOW WARNINGS.
    pub last_error: Option<SqlError>,
}

// Name and value as `SHOW VARIABLES` prints them on a fresh StarRocks (`SessionVariable.java`, `GlobalVariable.java`),
// cut down to what clients read.
const DEFAULTS: &[(&str, &str)] = &[
    ("auto_increment_increment", "1"),
    ("autocommit", "true"),
    ("character_set_client", "utf8"),
    ("character_set_connection", "utf8"),
    ("character_set_database", "utf8"),
    ("character_set_results", "utf8"),
    ("character_set_server", "utf8"),
    ("collation_connection", "utf8_general_ci"),
    ("collation_database", "utf8_general_ci"),
    ("collation_server", "utf8_general_ci"),
    ("enable_insert_strict", "true"),
    ("enable_profile", "false"),
    ("foreign_key_checks", "true"),
    ("init_connect", ""),
    ("insert_max_filter_ratio", "0.0"),
    ("insert_timeout", "14400"),
    ("interactive_timeout", "3600"),
    ("language", "/starrocks/share/english/"),
    ("license", "Apache License 2.0"),
    ("lower_case_table_names", "0"),
    ("max_allowed_packet", "33554432"),
    ("net_buffer_length", "16384"),
    ("net_read_timeout", "60"),
    ("net_write_timeout", "60"),
    ("performance_schema", "false"),
    ("pipeline_dop", "0"),
    ("query_cache_size", "1048576"),
    ("query_cache_type", "0"),
    ("query_mem_limit", "0"),
    ("query_timeout", "300"),
    ("socket", ""),
    ("sql_mode", "ONLY_FULL_GROUP_BY"),
    ("sql_safe_updates", "0"),
    ("sql_select_limit", "9223372036854775807"),
    ("system_time_zone", "UTC"),
    ("time_zone", "UTC"),
    ("transaction_isolation", "REPEATABLE-READ"),
    ("transaction_read_only", "0"),
    ("tx_isolation", "REPEATABLE-READ"),
    ("tx_read_only", "0"),
    ("unique_checks", "true"),
    ("version", ""),
    ("version_comment", ""),
    ("wait_timeout", "28800"),
];

// Set by the server only.
const READ_ONLY: &[&str] = &["version", "version_comment", "license", "language", "system_time_zone", "socket"];

impl Session {
    /// A fresh connection.
    pub fn new(connection_id: u32) -> Self {
        Self { connection_id, user: String::new(), database: None, variables: HashMap::new(), last_error: None }
    }

    /// `USE`, COM_INIT_DB and the database of a login.
    pub fn use_database(&mut self, frontend: &Frontend, name: &str) -> Result<(), SqlError> {
        // `catalog.database` is taken; there is one catalog.
        let name = name.strip_prefix("default_catalog.").unwrap_or(name);
        if !frontend.has_database(name) {
            return Err(SqlError::unknown_database_plain(name));
        }
        self.database = Some(name.to_owned());
        Ok(())
    }

    /// A variable's value; `None` if StarRocks knows no such variable.
    pub fn variable(&self, frontend: &Frontend, name: &str) -> Option<Literal> {
        if let Some(value) = self.variables.get(name) {
            return Some(value.clone());
        }
        let settings = frontend.store.settings();
        match name {
            "version" => return Some(Literal::Text(settings.release.mysql_version().to_owned())),
            "version_comment" => return Some(Literal::Text(settings.release.version().to_owned())),
            _ => {}
        }
        let (_, value) = DEFAULTS.iter().find(|(known, _)| *known == name)?;
        Some(match *value {
            "true" => Literal::Boolean(true),
            "false" => Literal::Boolean(false),
            text if text.parse::<i64>().is_ok() => Literal::Number(text.to_owned()),
            text => Literal::Text(text.to_owned()),
        })
    }

    /// `SET name = value`.
    pub fn set_variable(&mut self, name: &str, value: Literal) -> Result<(), SqlError> {
        if !DEFAULTS.iter().any(|(known, _)| *known == name) {
            let text = format!(
                "Unknown system variable '{name}', the most similar variables are {{'query_timeout', 'wait_timeout', \
                 'time_zone'}}"
            );
            return Err(SqlError::new(1193, "HY000", format!("Getting analyzing error. Detail message: {text}.")));
        }
        if READ_ONLY.contains(&name) {
            return Err(SqlError::new(1621, "HY000", format!("Variable '{name}' is a read only variable")));
        }
        if value == Literal::Default {
            self.variables.remove(name);
        } else {
            self.variables.insert(name.to_owned(), value);
        }
        Ok(())
    }

    /// All variables as SHOW VARIABLES prints them, by name.
    pub fn shown_variables(&self, frontend: &Frontend) -> Vec<(String, String)> {
        let shown = |name: &str| match self.variable(frontend, name) {
            Some(Literal::Boolean(flag)) => flag.to_string(),
            Some(Literal::Number(text) | Literal::Text(text)) => text,
            _ => String::new(),
        };
        DEFAULTS.iter().map(|(name, _)| ((*name).to_owned(), shown(name))).collect()
    }
}
