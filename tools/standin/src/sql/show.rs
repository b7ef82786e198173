//! SHOW and DESC.
//!
//! In: parsed SHOW statements. Out: rows with StarRocks' column names, in its order (docs, SHOW statements;
//! `ShowExecutor.java`).
//! Always: LIKE is matched against the first column; WHERE, ORDER BY and LIMIT behind a SHOW are a query over its rows.
//! Not here: information_schema (`schema`).

use std::fmt::Write as _;

use crate::store::{Aggregation, AlterJob, ColumnDef, ColumnDefault, Distribution, TableDef, TableModel};

use super::ast::{Show, ShowKind, TableName};
use super::error::SqlError;
use super::result::{Cell, Column, ColumnKind, Outcome, ResultSet, text};
use super::schema::{self, default_text, moment, name_list};
use super::select::{self, is_like};
use super::{Executor, SYSTEM_DATABASES};

impl Executor<'_> {
    pub(super) fn show(&mut self, show: Show) -> Result<Outcome, SqlError> {
        let mut set = self.shown(&show.kind)?;
        if let Some(pattern) = &show.like {
            // SHOW ... LIKE compares without case (`PatternMatcher.java`, case insensitive by default).
            let pattern = pattern.to_lowercase();
            set.rows.retain(|row| {
                let first = row.first().and_then(Option::as_deref).unwrap_or_default();
                is_like(&String::from_utf8_lossy(first).to_lowercase(), &pattern)
            });
        }
        if show.tail.is_empty() {
            return Ok(Outcome::Rows(set));
        }
        Ok(Outcome::Rows(select::refine(set, &show.tail, self)?))
    }

    fn shown(&self, kind: &ShowKind) -> Result<ResultSet, SqlError> {
        match kind {
            ShowKind::Databases => Ok(single("Database", self.frontend.databases())),
            ShowKind::Catalogs => {
                let mut set = ResultSet::of_text(&["Catalog", "Type", "Comment"]);
                set.push_text([
                    "default_catalog",
                    "Internal",
                    "An internal catalog contains this cluster's self-managed tables.",
                ]);
                Ok(set)
            }
            ShowKind::Tables { full, database } => self.show_tables(*full, database.as_deref()),
            ShowKind::TableStatus { database } => self.show_table_status(database.as_deref()),
            ShowKind::CreateTable(name) => self.show_create_table(name),
            ShowKind::CreateDatabase(name) => self.show_create_database(name),
            ShowKind::Columns { full, table } => self.show_columns(*full, table),
            ShowKind::AlterTable { jobs, database } => self.show_alter(jobs, database.as_deref()),
            ShowKind::Frontends => Ok(self.show_frontends()),
            ShowKind::Backends => Ok(self.show_backends()),
            ShowKind::ComputeNodes => Ok(self.show_compute_nodes()),
            ShowKind::Variables => Ok(self.show_variables()),
            ShowKind::Load => Ok(ResultSet::of_text(&LOAD_COLUMNS)),
            ShowKind::Warnings => Ok(self.show_warnings()),
            ShowKind::Proc(path) => self.show_proc(path),
            ShowKind::Grants => Ok(self.show_grants()),
            ShowKind::ProcessList => Ok(self.show_process_list()),
            ShowKind::Collation => Ok(show_collation()),
            ShowKind::CharacterSet => Ok(show_character_set()),
            ShowKind::Engines => Ok(show_engines()),
            ShowKind::Index(table) => {
                let (database, table) = self.resolve(table)?;
                self.frontend.store.table(&database, &table)?;
                Ok(ResultSet::of_text(&INDEX_COLUMNS))
            }
            ShowKind::Status => Ok(ResultSet::of_text(&["Variable_name", "Value"])),
        }
    }

    // ---- databases and tables ----

    fn database_or(&self, written: Option<&str>) -> Result<String, SqlError> {
        let name = written.map(str::to_owned).or_else(|| self.session.database.clone());
        let name = name.ok_or_else(SqlError::no_database)?;
        if !self.frontend.has_database(&name) {
            return Err(SqlError::unknown_database(&name));
        }
        Ok(name)
    }

    fn table_names(&self, database: &str) -> Result<Vec<String>, SqlError> {
        if database.eq_ignore_ascii_case("information_schema") {
            return Ok(schema::names().map(str::to_owned).collect());
        }
        if SYSTEM_DATABASES.contains(&database) {
            return Ok(Vec::new());
        }
        Ok(self.frontend.store.tables(database)?.iter().map(|table| table.name.clone()).collect())
    }

    fn show_tables(&self, full: bool, written: Option<&str>) -> Result<ResultSet, SqlError> {
        let database = self.database_or(written)?;
        let kind = if database == "information_schema" { "SYSTEM VIEW" } else { "BASE TABLE" };
        let label = format!("Tables_in_{database}");
        let names = self.table_names(&database)?;
        if !full {
            return Ok(single(&label, names));
        }
        let mut set = ResultSet::of_text(&[&label, "Table_type"]);
        names.iter().for_each(|name| set.push_text([name, kind]));
        Ok(set)
    }

    fn show_table_status(&self, written: Option<&str>) -> Result<ResultSet, SqlError> {
        let database = self.database_or(written)?;
        let mut set = ResultSet::of_text(&[
            "Name",
            "Engine",
            "Version",
            "Row_format",
            "Rows",
            "Avg_row_length",
            "Data_length",
            "Max_data_length",
            "Index_length",
            "Data_free",
            "Auto_increment",
            "Create_time",
            "Update_time",
            "Check_time",
            "Collation",
            "Checksum",
            "Create_options",
            "Comment",
        ]);
        if SYSTEM_DATABASES.contains(&database.as_str()) {
            return Ok(set);
        }
        for table in self.frontend.store.tables(&database)? {
            let rows = self.frontend.store.row_count(&database, &table.name)?;
            let mut row = vec![text(&table.name), text("StarRocks"), None, None, text(rows.to_string())];
            row.extend([None, None, None, None, None, None, moment(table.created_ms), None, None]);
            row.extend([text("utf8_general_ci"), None, None, text(&table.comment)]);
            set.rows.push(row);
        }
        Ok(set)
    }

    fn show_create_database(&self, name: &str) -> Result<ResultSet, SqlError> {
        if !self.frontend.has_database(name) {
            return Err(SqlError::unknown_database(name));
        }
        let mut set = ResultSet::of_text(&["Database", "Create Database"]);
        set.push_text([name, &format!("CREATE DATABASE `{name}`")]);
        Ok(set)
    }

    fn show_create_table(&self, name: &TableName) -> Result<ResultSet, SqlError> {
        let (database, table) = self.resolve(name)?;
        let table = self.frontend.store.table(&database, &table)?;
        let mut set = ResultSet::of_text(&["Table", "Create Table"]);
        set.push_text([&table.name, &create_statement(&table)]);
        Ok(set)
    }

    // ---- columns ----

    pub(super) fn describe(&self, name: &TableName) -> Result<Outcome, SqlError> {
        let mut set = ResultSet::of_text(&["Field", "Type", "Null", "Key", "Default", "Extra"]);
        for (table, column) in self.columns(name)? {
            let key = if column.key { "true" } else { "false" };
            set.rows.push(vec![
                text(&column.name),
                text(column.ty.desc()),
                text(if column.nullable { "YES" } else { "NO" }),
                text(key),
                default_text(&column).map(String::into_bytes),
                text(extra(table, &column)),
            ]);
        }
        Ok(Outcome::Rows(set))
    }

    fn show_columns(&self, full: bool, name: &TableName) -> Result<ResultSet, SqlError> {
        let mut set = match full {
            true => ResultSet::of_text(&[
                "Field",
                "Type",
                "Collation",
                "Null",
                "Key",
                "Default",
                "Extra",
                "Privileges",
                "Comment",
            ]),
            false => ResultSet::of_text(&["Field", "Type", "Null", "Key", "Default", "Extra"]),
        };
        for (table, column) in self.columns(name)? {
            let null = text(if column.nullable { "YES" } else { "NO" });
            let key = text(if column.key { "YES" } else { "NO" });
            let mut row = vec![text(&column.name), text(column.ty.desc())];
            if full {
                row.push(text(""));
            }
            row.extend([null, key, default_text(&column).map(String::into_bytes), text(extra(table, &column))]);
            if full {
                row.extend([text(""), text(&column.comment)]);
            }
            set.rows.push(row);
        }
        Ok(set)
    }

    /// A table's columns with its model; system tables have columns too.
    fn columns(&self, name: &TableName) -> Result<Vec<(TableModel, ColumnDef)>, SqlError> {
        let (database, table) = self.resolve(name)?;
        if database.eq_ignore_ascii_case("information_schema") {
            let data = schema::system_table(self.frontend, &table)?;
            return Ok(data.columns.iter().map(|column| (TableModel::Duplicate, system_column(column))).collect());
        }
        let table = self.frontend.store.table(&database, &table)?;
        Ok(table.columns.iter().map(|column| (table.model, column.clone())).collect())
    }

    // ---- jobs ----

    fn show_alter(&self, jobs: &str, written: Option<&str>) -> Result<ResultSet, SqlError> {
        let database = self.database_or(written)?;
        let shared_data = self.frontend.store.settings().shared_data;
        let mut set = match jobs {
            "COLUMN" => ResultSet::of_text(&ALTER_COLUMNS),
            "ROLLUP" => ResultSet::of_text(&ROLLUP_COLUMNS),
            _ => ResultSet::of_text(&OPTIMIZE_COLUMNS),
        };
        if jobs != "COLUMN" {
            return Ok(set);
        }
        if shared_data {
            set.columns.push(Column::new("Warehouse", ColumnKind::VarChar));
        }
        if SYSTEM_DATABASES.contains(&database.as_str()) {
            return Ok(set);
        }
        for job in self.frontend.store.alter_jobs(&database)? {
            let mut row = alter_row(&job);
            if shared_data {
                row.push(text("default_warehouse"));
            }
            set.rows.push(row);
        }
        Ok(set)
    }

    // ---- cluster ----

    fn show_frontends(&self) -> ResultSet {
        let release = self.frontend.store.settings().release;
        let mut set = ResultSet::of_text(&[
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
        ]);
        let (http, query) = (self.frontend.http_port.to_string(), self.frontend.query_port.to_string());
        let now = now();
        set.push_text([
            "1",
            "127.0.0.1_9010_1",
            "127.0.0.1",
            "9010",
            &http,
            &query,
            "9020",
            "LEADER",
            "1",
            "true",
            "true",
            "1",
            &now,
            "true",
            "",
            &now,
            release.version(),
        ]);
        set
    }

    fn show_backends(&self) -> ResultSet {
        let settings = self.frontend.store.settings();
        let mut set = ResultSet::of_text(&BACKEND_COLUMNS);
        if settings.shared_data {
            let more = ["StarletPort", "WorkerId", "WarehouseName"];
            set.columns.extend(more.map(|name| Column::new(name, ColumnKind::VarChar)));
            return set;
        }
        let http = self.frontend.backend_http_port.to_string();
        let now = now();
        for number in 0..settings.backends {
            let id = (10_001 + number).to_string();
            set.push_text([
                &id,
                "127.0.0.1",
                "9050",
                "9060",
                &http,
                "8060",
                &now,
                &now,
                "true",
                "false",
                "false",
                "0",
                "0.000 B",
                "1.000 GB",
                "1.000 GB",
                "0.00 %",
                "0.00 %",
                "",
                settings.release.version(),
                "{\"lastSuccessReportTabletsTime\":\"N/A\"}",
                "1.000 GB",
                "0.00 %",
                "1",
                "1.000GB",
                "0",
                "0.00 %",
                "0.0 %",
                "N/A",
                "",
                "OK",
            ]);
        }
        set
    }

    fn show_compute_nodes(&self) -> ResultSet {
        let settings = self.frontend.store.settings();
        let mut set = ResultSet::of_text(&COMPUTE_NODE_COLUMNS);
        if !settings.shared_data {
            return set;
        }
        let http = self.frontend.backend_http_port.to_string();
        let now = now();
        for number in 0..settings.backends {
            let id = (10_001 + number).to_string();
            set.push_text([
                &id,
                "127.0.0.1",
                "9050",
                "9060",
                &http,
                "8060",
                &now,
                &now,
                "true",
                "false",
                "false",
                "",
                settings.release.version(),
                "1",
                "1.000GB",
                "0",
                "0.00 %",
                "0.0 %",
                "N/A",
                "OK",
                "9070",
                "1",
                "default_warehouse",
                "0",
            ]);
        }
        set
    }

    fn show_proc(&self, path: &str) -> Result<ResultSet, SqlError> {
        match path.trim_matches('/') {
            "backends" => Ok(self.show_backends()),
            "frontends" => Ok(self.show_frontends()),
            "compute_nodes" => Ok(self.show_compute_nodes()),
            _ => Err(SqlError::new(5001, "HY000", format!("Proc path '{path}' doesn't exist"))),
        }
    }

    // ---- session ----

    fn show_variables(&self) -> ResultSet {
        let mut set = ResultSet::of_text(&["Variable_name", "Value"]);
        for (name, value) in self.session.shown_variables(self.frontend) {
            set.push_text([&name, &value]);
        }
        set
    }

    fn show_warnings(&self) -> ResultSet {
        let mut set = ResultSet::of_text(&["Level", "Code", "Message"]);
        if let Some(error) = &self.session.last_error {
            set.push_text(["Error", &error.code.to_string(), &error.message]);
        }
        set
    }

    fn show_grants(&self) -> ResultSet {
        let user = format!("'{}'@'%'", self.session.user);
        let mut set = ResultSet::of_text(&["UserIdentity", "Catalog", "Grants"]);
        set.push_text([&user, "default_catalog", &format!("GRANT 'root' TO {user}")]);
        set
    }

    fn show_process_list(&self) -> ResultSet {
        let mut set = ResultSet::of_text(&[
            "ServerName",
            "Id",
            "User",
            "Host",
            "Db",
            "Command",
            "ConnectionStartTime",
            "Time",
            "State",
            "Info",
            "IsPending",
            "Warehouse",
        ]);
        let id = self.session.connection_id.to_string();
        let database = self.session.database.as_deref().unwrap_or("");
        set.push_text([
            "127.0.0.1",
            &id,
            &self.session.user,
            "127.0.0.1",
            database,
            "Query",
            &now(),
            "0",
            "OK",
            self.sql,
            "false",
            "default_warehouse",
        ]);
        set
    }
}

const LOAD_COLUMNS: [&str; 18] = [
    "JobId",
    "Label",
    "State",
    "Progress",
    "Type",
    "Priority",
    "ScanRows",
    "FilteredRows",
    "UnselectedRows",
    "SinkRows",
    "EtlInfo",
    "TaskInfo",
    "ErrorMsg",
    "CreateTime",
    "EtlStartTime",
    "EtlFinishTime",
    "LoadStartTime",
    "LoadFinishTime",
];
const INDEX_COLUMNS: [&str; 12] = [
    "Table",
    "Non_unique",
    "Key_name",
    "Seq_in_index",
    "Column_name",
    "Collation",
    "Cardinality",
    "Sub_part",
    "Packed",
    "Null",
    "Index_type",
    "Comment",
];
const ALTER_COLUMNS: [&str; 13] = [
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
];
const ROLLUP_COLUMNS: [&str; 12] = [
    "JobId",
    "TableName",
    "CreateTime",
    "FinishedTime",
    "BaseIndexName",
    "RollupIndexName",
    "RollupId",
    "TransactionId",
    "State",
    "Msg",
    "Progress",
    "Timeout",
];
const OPTIMIZE_COLUMNS: [&str; 10] = [
    "JobId",
    "TableName",
    "CreateTime",
    "FinishTime",
    "Operation",
    "TransactionId",
    "State",
    "Msg",
    "Progress",
    "Timeout",
];
const BACKEND_COLUMNS: [&str; 30] = [
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
];
const COMPUTE_NODE_COLUMNS: [&str; 24] = [
    "ComputeNodeId",
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
    "ErrMsg",
    "Version",
    "CpuCores",
    "MemLimit",
    "NumRunningQueries",
    "MemUsedPct",
    "CpuUsedPct",
    "DataCacheMetrics",
    "StatusCode",
    "StarletPort",
    "WorkerId",
    "WarehouseName",
    "TabletNum",
];

fn now() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let printed = moment(i64::try_from(now.as_millis()).unwrap_or(0)).unwrap_or_default();
    String::from_utf8_lossy(&printed).into_owned()
}

fn single(label: &str, values: Vec<String>) -> ResultSet {
    let mut set = ResultSet::of_text(&[label]);
    set.rows = values.into_iter().map(|value| vec![Some(value.into_bytes())]).collect();
    set
}

fn system_column(column: &Column) -> ColumnDef {
    use crate::store::SrType;
    let ty = match column.kind {
        ColumnKind::BigInt => SrType::BigInt,
        ColumnKind::DateTime => SrType::DateTime,
        _ => SrType::Varchar(2048),
    };
    ColumnDef::new(column.name.clone(), ty)
}

fn aggregation_name(aggregation: Aggregation) -> &'static str {
    match aggregation {
        Aggregation::Sum => "SUM",
        Aggregation::Min => "MIN",
        Aggregation::Max => "MAX",
        Aggregation::Replace => "REPLACE",
        Aggregation::ReplaceIfNotNull => "REPLACE_IF_NOT_NULL",
    }
}

/// The Extra of DESC: the aggregation of an AGGREGATE KEY table's value column.
fn extra(model: TableModel, column: &ColumnDef) -> &'static str {
    match column.aggregation {
        Some(aggregation) if model == TableModel::Aggregate => aggregation_name(aggregation),
        _ => "",
    }
}

fn alter_row(job: &AlterJob) -> Vec<Cell> {
    vec![
        text(job.job_id.to_string()),
        text(&job.table),
        moment(job.created_ms),
        job.finished_ms.and_then(moment),
        text(&job.table),
        text(job.index_id.to_string()),
        text(job.origin_index_id.to_string()),
        // Version and hash; there is no hash here.
        text(format!("{}:0", job.schema_version)),
        text(job.transaction_id.to_string()),
        text(job.state.name()),
        text(&job.message),
        text(job.progress.map_or("N/A".to_owned(), |percent| format!("{percent}%"))),
        text(job.timeout_s.to_string()),
    ]
}

/// The column line of SHOW CREATE TABLE and of the refusal to add a column that exists.
fn column_line(model: TableModel, column: &ColumnDef) -> String {
    let mut line = format!("`{}` {}", column.name, column.ty.show_create());
    if let Some(aggregation) = column.aggregation.filter(|_| model == TableModel::Aggregate && !column.key) {
        let _ = write!(line, " {}", aggregation_name(aggregation));
    }
    line.push_str(if column.nullable { " NULL" } else { " NOT NULL" });
    match &column.default {
        Some(ColumnDefault::Constant(text)) => {
            let _ = write!(line, " DEFAULT \"{}\"", escaped(text));
        }
        Some(ColumnDefault::CurrentTimestamp) => line.push_str(" DEFAULT CURRENT_TIMESTAMP"),
        Some(ColumnDefault::Expression(text)) => {
            let _ = write!(line, " DEFAULT {text}");
        }
        None => {}
    }
    let _ = write!(line, " COMMENT \"{}\"", escaped(&column.comment));
    line
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// The statement SHOW CREATE TABLE prints, blanks included.
fn create_statement(table: &TableDef) -> String {
    let columns: Vec<String> =
        table.columns.iter().map(|column| format!("  {}", column_line(table.model, column))).collect();
    let key = name_list(table.key().iter().map(|column| column.name.as_str()));
    let mut statement = format!(
        "CREATE TABLE `{}` (\n{}\n) ENGINE=OLAP \n{}({key})\n",
        table.name,
        columns.join(",\n"),
        table.model.clause()
    );
    if !table.comment.is_empty() {
        let _ = writeln!(statement, "COMMENT \"{}\"", escaped(&table.comment));
    }
    if let Some(partition) = &table.partition_by {
        let _ = writeln!(statement, "PARTITION BY {partition}");
    }
    match &table.distribution {
        Distribution::Hash(columns) => {
            let _ = write!(statement, "DISTRIBUTED BY HASH({})", name_list(columns.iter().map(String::as_str)));
        }
        Distribution::Random => statement.push_str("DISTRIBUTED BY RANDOM"),
    }
    match table.buckets {
        Some(buckets) => {
            let _ = writeln!(statement, " BUCKETS {buckets} ");
        }
        None => statement.push('\n'),
    }
    if !table.sort_key.is_empty() {
        let _ = writeln!(statement, "ORDER BY({})", name_list(table.sort_key.iter().map(String::as_str)));
    }
    let properties: Vec<String> =
        table.properties.iter().map(|(name, value)| format!("\"{name}\" = \"{}\"", escaped(value))).collect();
    let _ = write!(statement, "PROPERTIES (\n{}\n);", properties.join(",\n"));
    statement
}

fn show_collation() -> ResultSet {
    let mut set = ResultSet::of_text(&["Collation", "Charset", "Id", "Default", "Compiled", "Sortlen"]);
    set.push_text(["utf8_general_ci", "utf8", "33", "Yes", "Yes", "1"]);
    set
}

fn show_character_set() -> ResultSet {
    let mut set = ResultSet::of_text(&["Charset", "Description", "Default collation", "Maxlen"]);
    set.push_text(["utf8", "UTF-8 Unicode", "utf8_general_ci", "3"]);
    set
}

fn show_engines() -> ResultSet {
    let mut set = ResultSet::of_text(&["Engine", "Support", "Comment", "Transactions", "XA", "Savepoints"]);
    set.push_text(["OLAP", "YES", "Default storage engine of StarRocks", "NO", "NO", "NO"]);
    set
}
