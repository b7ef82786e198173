//! From the settings' values to each module's options.
//!
//! In: what `env` read. Out: [`Settings`], or every problem at once. Always: a setting that is wrong does not hide
//! what is wrong with the others. Not here: the grammar of one value (`vars`). Start at [`settings`].

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de};

use super::env::{Origin, Reading};
use super::problem::{Problem, Problems};
use super::value::{parse_address, parse_duration, parse_host_map, parse_hosts, parse_size, print_size};
use super::vars::{Fallback, VARS, var};
use super::{LogFormat, LogOptions, Settings, bad_values, effective};
use crate::engine::CopyMode;
use crate::sink::starrocks::{
    self, ArrayAs, ByteaAs, Compression, DEFAULT_SQL_PORT, DeleteMode, JsonAs, NumericAs, Policies, SinkUrl, TypeRules,
};
use crate::source::postgres::{self, ConnectOptions, ReplicaIdentity, TablePattern};
use crate::{engine, grpc, pipeline};

/// The values of all settings, as `envy` fills them: a field for each row of the table, its name in lower case.
///
/// By the time it is filled every value has been checked by its kind, so filling fails only where a field and its row
/// disagree. No `Debug`, because it holds secrets.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Values {
    source_url: Option<String>,
    source_password: Option<String>,
    tables: Option<String>,
    pipeline: String,
    slot: Option<String>,
    publication: Option<String>,
    #[serde(with = "ReplicaIdentityWord")]
    replica_identity: ReplicaIdentity,
    checkpoint_schema: String,
    #[serde(deserialize_with = "time")]
    slot_create_timeout: Duration,
    stream_large_transactions: bool,
    stream_spool_folder: Option<String>,
    #[serde(deserialize_with = "size")]
    stream_spool_bytes: u64,
    sink_url: Option<String>,
    sink_password: Option<String>,
    sink_user: Option<String>,
    sink_database: Option<String>,
    sink_port: Option<u16>,
    sink_tls_ca: Option<String>,
    #[serde(default, deserialize_with = "hosts")]
    sink_redirect_allow: Vec<String>,
    #[serde(default, deserialize_with = "host_map")]
    sink_redirect_map: Vec<(String, String)>,
    #[serde(with = "CompressionWord")]
    sink_compression: Compression,
    sink_parallelism: usize,
    #[serde(deserialize_with = "time")]
    sink_load_timeout: Duration,
    #[serde(deserialize_with = "time")]
    sink_connect_timeout: Duration,
    create_tables: bool,
    sink_replication_num: Option<u16>,
    delete_mode: Option<DeleteModeWord>,
    audit_columns: bool,
    audit_column_prefix: String,
    #[serde(with = "CopyModeWord")]
    snapshot: CopyMode,
    snapshot_parallelism: usize,
    #[serde(deserialize_with = "size")]
    snapshot_chunk_bytes: u64,
    #[serde(deserialize_with = "time")]
    snapshot_chunk_timeout: Duration,
    #[serde(default, deserialize_with = "some_time")]
    snapshot_max_replica_lag: Option<Duration>,
    #[serde(default, deserialize_with = "some_size")]
    snapshot_max_retained_wal: Option<u64>,
    #[serde(deserialize_with = "policies")]
    on_bad_value: Policies,
    #[serde(deserialize_with = "numeric_as")]
    numeric_as: NumericAs,
    #[serde(with = "JsonAsWord")]
    json_as: JsonAs,
    #[serde(with = "ArrayAsWord")]
    array_as: ArrayAs,
    #[serde(with = "ByteaAsWord")]
    bytea_as: ByteaAs,
    flush_size: u64,
    #[serde(default, deserialize_with = "some_size")]
    flush_bytes: Option<u64>,
    flush_interval_ms: u64,
    #[serde(deserialize_with = "size")]
    memory_budget: u64,
    #[serde(deserialize_with = "time")]
    checkpoint_interval: Duration,
    #[serde(deserialize_with = "time")]
    shutdown_grace: Duration,
    #[serde(deserialize_with = "address")]
    grpc_addr: SocketAddr,
    #[serde(deserialize_with = "address_or_off")]
    metrics_addr: Option<SocketAddr>,
    grpc_reflection: bool,
    #[serde(deserialize_with = "time")]
    max_lag: Duration,
    log: String,
    log_format: LogFormat,
}

#[derive(Deserialize)]
#[serde(remote = "ReplicaIdentity", rename_all = "lowercase")]
enum ReplicaIdentityWord {
    Auto,
    Full,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum DeleteModeWord {
    Soft,
    Hard,
}

#[derive(Deserialize)]
#[serde(remote = "Compression", rename_all = "lowercase")]
enum CompressionWord {
    None,
    Lz4,
    Zstd,
}

#[derive(Deserialize)]
#[serde(remote = "JsonAs", rename_all = "lowercase")]
enum JsonAsWord {
    Json,
    Varchar,
}

#[derive(Deserialize)]
#[serde(remote = "ArrayAs", rename_all = "lowercase")]
enum ArrayAsWord {
    Json,
    Array,
    Varchar,
}

#[derive(Deserialize)]
#[serde(remote = "ByteaAs", rename_all = "lowercase")]
enum ByteaAsWord {
    Varchar,
    Varbinary,
}

#[derive(Deserialize)]
#[serde(remote = "CopyMode", rename_all = "lowercase")]
enum CopyModeWord {
    Initial,
    Never,
    Only,
}

/// Reads a text with one of the grammars.
fn by<'de, D: Deserializer<'de>, T>(from: D, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, D::Error> {
    parse(&String::deserialize(from)?).map_err(de::Error::custom)
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    by(from, parse_duration)
}

fn some_time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    time(from).map(Some)
}

fn size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    by(from, parse_size)
}

fn some_size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    size(from).map(Some)
}

fn numeric_as<'de, D: Deserializer<'de>>(from: D) -> Result<NumericAs, D::Error> {
    by(from, NumericAs::parse)
}

fn hosts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    by(from, parse_hosts)
}

fn host_map<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, String)>, D::Error> {
    by(from, parse_host_map)
}

fn policies<'de, D: Deserializer<'de>>(from: D) -> Result<Policies, D::Error> {
    by(from, bad_values::parse)
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    by(from, parse_address)
}

fn address_or_off<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    by(from, |text| if text == "off" { Ok(None) } else { parse_address(text).map(Some) })
}

/// Fills [`Values`] with what was found and, elsewhere, with the defaults.
fn values(reading: &Reading) -> Result<Values, envy::Error> {
    let pairs = VARS.iter().filter_map(|var| {
        let value = match (reading.found.get(var.name), var.default) {
            (Some(found), _) => found.value.clone(),
            (None, Fallback::Value(value)) => value.to_owned(),
            (None, Fallback::Required | Fallback::Depends(_)) => return None,
        };
        Some((var.name.to_owned(), value))
    });
    envy::from_iter(pairs)
}

/// Makes the options of every module.
pub(super) fn settings(mut reading: Reading) -> Result<Settings, Problems> {
    let values = match values(&reading) {
        Ok(values) => values,
        Err(error) => {
            reading.problem("the table of settings", format!("does not fit its fields: {error}"));
            return Err(reading.into_problems());
        }
    };
    check_together(&values, &mut reading);
    let pipeline = values.pipeline.clone();
    let flush = flush(&values, &mut reading);
    let source = source(&values, &mut reading);
    let sink = sink(&values, &mut reading);
    let (Some(source), Some(sink), true) = (source, sink, reading.problems.is_empty()) else {
        return Err(reading.into_problems());
    };
    let mut settings = Settings {
        engine: engine::Options {
            memory_budget: usize::try_from(values.memory_budget).unwrap_or(usize::MAX),
            checkpoint_interval: values.checkpoint_interval,
            shutdown_grace: values.shutdown_grace,
            flush,
            copying: engine::CopyOptions {
                mode: values.snapshot,
                parallelism: values.snapshot_parallelism,
                chunk_bytes: values.snapshot_chunk_bytes,
                chunk_time_max: values.snapshot_chunk_timeout,
                replica_lag_max: values.snapshot_max_replica_lag,
                retained_wal_max: values.snapshot_max_retained_wal,
                versions: values.audit_columns,
            },
        },
        grpc: grpc::Options {
            grpc_addr: values.grpc_addr,
            http_addr: values.metrics_addr,
            lag_max: values.max_lag,
            reflection: values.grpc_reflection,
        },
        log: LogOptions { filter: values.log, format: values.log_format },
        source,
        sink,
        pipeline,
        notes: Vec::new(),
        effective: Vec::new(),
    };
    settings.effective = effective::list(&settings, &reading);
    settings.notes = reading.notes;
    Ok(settings)
}

impl Reading {
    fn into_problems(mut self) -> Problems {
        let place = |problem: &Problem| {
            let bare = problem.name.strip_suffix("_FILE").unwrap_or(&problem.name);
            let is_row = |name: &str| name == problem.name || name == bare;
            VARS.iter()
                .position(|var| is_row(var.name) || var.aliases.iter().any(|alias| is_row(alias.name)))
                .unwrap_or(VARS.len())
        };
        self.problems.sort_by_key(place);
        self.problems.dedup();
        Problems { list: self.problems, notes: self.notes }
    }

    /// The variable that a setting's value came from, or the setting's own name.
    fn variable(&self, name: &str) -> String {
        self.found.get(name).map_or(name, |found| found.origin.variable(name)).to_owned()
    }

    /// The file that a setting's value came from, if it came from one.
    fn file_of(&self, name: &str) -> Option<PathBuf> {
        match &self.found.get(name)?.origin {
            Origin::File { path, .. } => Some(path.clone()),
            Origin::Default | Origin::Variable(_) | Origin::Within(_) => None,
        }
    }

    /// Whether a setting is set, rightly or wrongly: a wrong one has its own problem already.
    fn is_missing(&self, name: &str) -> bool {
        let row = var(name);
        let names = || std::iter::once(row.name).chain(row.aliases.iter().map(|alias| alias.name));
        !self.found.contains_key(name)
            && !self.problems.iter().any(|problem| {
                names().any(|name| problem.name == name || problem.name.strip_suffix("_FILE") == Some(name))
            })
    }

    fn require(&mut self, name: &str, hint: &str) {
        if self.is_missing(name) {
            self.problem(name, format!("is not set: {hint}"));
        }
    }
}

/// What single values cannot tell.
fn check_together(values: &Values, reading: &mut Reading) {
    if !values.audit_columns {
        if values.delete_mode == Some(DeleteModeWord::Soft) {
            let name = reading.variable("DELETE_MODE");
            reading.problem(
                &name,
                "is soft, which marks deleted rows in an audit column, but AUDIT_COLUMNS is false; set \
                 DELETE_MODE=hard or keep the audit columns",
            );
        }
        if reading.found.contains_key("AUDIT_COLUMN_PREFIX") {
            reading.notes.push("AUDIT_COLUMN_PREFIX has no effect: AUDIT_COLUMNS is false".to_owned());
        }
    }
    if let Some(metrics_addr) = values.metrics_addr
        && metrics_addr.port() != 0
        && overlap(metrics_addr, values.grpc_addr)
    {
        let name = reading.variable("METRICS_ADDR");
        reading.problem(&name, format!("and GRPC_ADDR both take port {}; give them two", metrics_addr.port()));
    }
    if !values.grpc_addr.ip().is_loopback() {
        reading.notes.push(format!(
            "GRPC_ADDR is {}: whoever reaches it can pause and stop the pipeline, it asks for no credentials",
            values.grpc_addr
        ));
    }
}

/// Whether two addresses cannot both be listened at.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

const FLUSH_BYTES_USUAL: u64 = 16 << 20;

fn flush(values: &Values, reading: &mut Reading) -> pipeline::Options {
    let most = values.memory_budget / 4;
    if values.flush_bytes.is_some_and(|bytes| bytes > most) {
        let name = reading.variable("FLUSH_BYTES");
        let (budget, most) = (print_size(values.memory_budget), print_size(most));
        reading.problem(
            &name,
            format!(
                "is more than {most}, a quarter of MEMORY_BUDGET={budget}; set it to {most} or less, or raise \
                 MEMORY_BUDGET"
            ),
        );
    }
    pipeline::Options {
        flush_rows: values.flush_size,
        flush_bytes: values.flush_bytes.unwrap_or(FLUSH_BYTES_USUAL.min(most)),
        flush_interval: Duration::from_millis(values.flush_interval_ms),
    }
}

fn source(values: &Values, reading: &mut Reading) -> Option<postgres::Options> {
    reading.require(
        "SOURCE_URL",
        "where PostgreSQL is, such as postgres://app@localhost:5432/shop; `postgres://` alone takes it from the PG* \
         variables",
    );
    reading.require("TABLES", "which tables to replicate, such as orders,shop.customers,crm.*");
    let tables = tables(values, reading);
    let connect = connect(values, reading);
    Some(postgres::Options {
        connect: connect?,
        pipeline: values.pipeline.clone(),
        slot: values.slot.clone().unwrap_or_else(|| format!("{}_slot", values.pipeline)),
        publication: values.publication.clone().unwrap_or_else(|| format!("{}_pub", values.pipeline)),
        tables: tables?,
        replica_identity: values.replica_identity,
        checkpoint_schema: values.checkpoint_schema.clone(),
        copying: values.snapshot != CopyMode::Never,
        slot_create_timeout: values.slot_create_timeout,
        spool: values.stream_large_transactions.then(|| postgres::SpoolOptions {
            folder: values
                .stream_spool_folder
                .clone()
                .or_else(|| reading.foreign("TMPDIR"))
                .map_or_else(|| PathBuf::from("/tmp"), PathBuf::from),
            bytes_max: values.stream_spool_bytes,
        }),
    })
}

/// The table list without repetitions; no two tables may want one name in the target.
fn tables(values: &Values, reading: &mut Reading) -> Option<Vec<TablePattern>> {
    // The list was read once when its value was checked, so this cannot fail.
    let written = TablePattern::parse_list(values.tables.as_deref()?).ok()?;
    let mut tables: Vec<TablePattern> = Vec::with_capacity(written.len());
    let mut by_target: HashMap<String, TablePattern> = HashMap::new();
    let mut by_name: HashMap<(String, Option<String>), TablePattern> = HashMap::new();
    for pattern in written {
        let name = (pattern.schema.clone(), pattern.table.clone());
        match by_name.get(&name) {
            Some(known) if *known == pattern => continue,
            Some(_) => {
                reading.problem("TABLES", format!("names {} twice, with different targets", show(&pattern)));
                continue;
            }
            None => by_name.insert(name, pattern.clone()),
        };
        if let Some(target) = pattern.target.as_ref().or(pattern.table.as_ref()) {
            if let Some(other) = by_target.get(target) {
                let (a, b) = (show(other), show(&pattern));
                reading.problem(
                    "TABLES",
                    format!("sends both {a} and {b} to {target}; give one another name, such as {b}=>{target}_2"),
                );
            }
            by_target.insert(target.clone(), pattern.clone());
        }
        tables.push(pattern);
    }
    Some(tables)
}

fn show(pattern: &TablePattern) -> String {
    format!("{}.{}", pattern.schema, pattern.table.as_deref().unwrap_or("*"))
}

fn connect(values: &Values, reading: &mut Reading) -> Option<ConnectOptions> {
    for name in reading.unreadable("PG") {
        reading.problem(&name, "is not UTF-8");
    }
    let url = values.source_url.as_deref()?;
    let name = reading.variable("SOURCE_URL");
    let own = values.source_password.as_deref();
    // Our own password takes the place of libpq's, so those are not to be seen by the URL's reader.
    let parsed = ConnectOptions::parse(url, &|name: &str| match name {
        "PGPASSWORD" | "PGPASSFILE" if own.is_some() => None,
        _ => reading.foreign(name),
    });
    let mut connect = match parsed {
        Ok(connect) => connect,
        Err(problems) => {
            for problem in problems {
                reading.problem(&name, format!("cannot be used: {problem}"));
            }
            return None;
        }
    };
    let notes = connect.notes.iter().map(|note| format!("{name}: {note}"));
    reading.notes.extend(notes);
    if let Some(own) = own {
        put_password(&mut connect.password, own, &name, "SOURCE_PASSWORD", reading);
        connect.password_file = reading.file_of("SOURCE_PASSWORD");
    }
    Some(connect.for_pipeline(&values.pipeline))
}

/// Puts a password in its place, unless the URL has another one.
fn put_password(place: &mut Option<SecretString>, value: &str, url: &str, name: &str, reading: &mut Reading) {
    if place.as_ref().is_some_and(|known| known.expose_secret() != value) {
        let name = reading.variable(name);
        reading.problem(&name, format!("differs from the password in {url}; keep one of them"));
    }
    *place = Some(SecretString::from(value));
}

fn sink(values: &Values, reading: &mut Reading) -> Option<starrocks::Options> {
    reading.require("SINK_URL", "where StarRocks is, such as starrocks://loader@localhost:8030/shop?sql_port=9030");
    let name = reading.variable("SINK_URL");
    let url = match SinkUrl::parse(values.sink_url.as_deref()?) {
        Ok(url) => url,
        Err(problems) => {
            problems.into_iter().for_each(|problem| reading.problem(&name, problem));
            return None;
        }
    };
    let user = either(url.user, values.sink_user.clone(), "SINK_USER", &name, reading);
    let database = either(url.database, values.sink_database.clone(), "SINK_DATABASE", &name, reading);
    let sql_port = either(url.sql_port, values.sink_port, "SINK_PORT", &name, reading);
    for (missing, setting, part) in
        [(user.is_none(), "SINK_USER", "user"), (database.is_none(), "SINK_DATABASE", "database")]
    {
        if missing {
            reading.require(setting, &format!("{name} names no {part} either"));
        }
    }
    let mut password = url.password;
    if let Some(own) = &values.sink_password {
        put_password(&mut password, own, &name, "SINK_PASSWORD", reading);
    }
    if values.sink_tls_ca.is_some() && !url.frontends.iter().any(|frontend| frontend.https) {
        reading.problem("SINK_TLS_CA", format!("is set, but no address in {name} is https"));
    }
    Some(starrocks::Options {
        frontends: url.frontends,
        sql_port: sql_port.unwrap_or(DEFAULT_SQL_PORT),
        user: user?,
        password: password.unwrap_or_else(|| SecretString::from("")),
        password_file: reading.file_of("SINK_PASSWORD"),
        database: database?,
        create_tables: values.create_tables,
        replication_num: values.sink_replication_num,
        audit_prefix: values.audit_columns.then(|| values.audit_column_prefix.clone()),
        delete_mode: match values.delete_mode {
            Some(DeleteModeWord::Hard) => DeleteMode::Hard,
            Some(DeleteModeWord::Soft) => DeleteMode::Soft,
            None if values.audit_columns => DeleteMode::Soft,
            None => DeleteMode::Hard,
        },
        on_bad_value: values.on_bad_value,
        types: TypeRules {
            numeric: values.numeric_as,
            json: values.json_as,
            array: values.array_as,
            bytea: values.bytea_as,
        },
        load_timeout: values.sink_load_timeout,
        connect_timeout: values.sink_connect_timeout,
        compression: values.sink_compression,
        parallelism: values.sink_parallelism,
        redirect_allow: values.sink_redirect_allow.clone(),
        redirect_map: values.sink_redirect_map.clone(),
        tls_ca: values.sink_tls_ca.clone().map(Into::into),
        pipeline: values.pipeline.clone(),
    })
}

/// A part that may stand in the URL or in a variable of its own; if in both, they must agree.
fn either<T: PartialEq>(
    in_url: Option<T>,
    alone: Option<T>,
    setting: &str,
    url: &str,
    reading: &mut Reading,
) -> Option<T> {
    if in_url.is_some() && alone.is_some() && in_url != alone {
        let name = reading.variable(setting);
        reading.problem(&name, format!("differs from what {url} says; keep one of them"));
    }
    in_url.or(alone)
}

/// The address in `GRPC_ADDR` alone.
pub(super) fn grpc_addr(mut reading: Reading) -> Result<SocketAddr, Problems> {
    let row = var("GRPC_ADDR");
    let text = match (reading.found.get(row.name), row.default) {
        (Some(found), _) => found.value.clone(),
        (None, Fallback::Value(value)) => value.to_owned(),
        (None, Fallback::Required | Fallback::Depends(_)) => String::new(),
    };
    match parse_address(&text) {
        Ok(address) if address.port() == 0 => {
            let name = reading.variable(row.name);
            reading.problem(&name, "has port 0, so the port was chosen at the start: name it with --addr");
            Err(reading.into_problems())
        }
        Ok(address) if reading.problems.is_empty() => Ok(address),
        Ok(_) => Err(reading.into_problems()),
        Err(problem) => {
            reading.problem(row.name, problem);
            Err(reading.into_problems())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::{Effective, HIDDEN};
    use crate::sink::starrocks::{BadClass, Policy};

    const MINIMAL: &[(&str, &str)] = &[
        ("SOURCE_URL", "postgres://app@pg:5432/shop?sslmode=disable"),
        ("SINK_URL", "starrocks://loader@fe:8030/shop"),
        ("TABLES", "orders"),
    ];

    /// The minimal settings, with some replaced, added, or (where the value is empty) removed.
    fn with(changes: &[(&str, &str)]) -> Vec<(String, String)> {
        let kept = MINIMAL.iter().filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        kept.chain(changes).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn read(changes: &[(&str, &str)]) -> Settings {
        Settings::from_env(&with(changes)).unwrap_or_else(|problems| panic!("{changes:?}: {problems}"))
    }

    fn problems(changes: &[(&str, &str)]) -> Vec<String> {
        let problems = Settings::from_env(&with(changes)).err().map_or(Vec::new(), |problems| problems.list);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_row_of_the_table_has_a_field_and_every_field_a_row() {
        let mut reading = Reading::default();
        for var in VARS {
            let value = var.kind.canonical(var.example).unwrap_or_else(|_| var.example.to_owned());
            let found = super::super::env::Found { value, origin: Origin::Default };
            reading.found.insert(var.name, found);
        }
        // An unknown name is refused by `deny_unknown_fields`; a field without a row would be missing.
        values(&reading).map(|_| ()).unwrap();
        values(&Reading::default()).map(|_| ()).unwrap();
        let fields = include_str!("options.rs").split("struct Values {").nth(1).unwrap().split("\n}").next().unwrap();
        for var in VARS {
            assert!(fields.contains(&format!("    {}: ", var.name.to_lowercase())), "{}", var.name);
        }
        assert_eq!(fields.lines().filter(|line| line.ends_with(',') && !line.contains('#')).count(), VARS.len());
    }

    #[test]
    fn three_settings_are_enough() {
        let settings = read(&[]);
        let Settings { source, sink, engine, grpc, log, pipeline, notes, .. } = settings;
        assert_eq!(
            (pipeline.as_str(), source.pipeline.as_str(), sink.pipeline.as_str()),
            ("sluicegate", "sluicegate", "sluicegate")
        );
        assert_eq!((source.slot.as_str(), source.publication.as_str()), ("sluicegate_slot", "sluicegate_pub"));
        assert_eq!((source.checkpoint_schema.as_str(), source.replica_identity), ("sluicegate", ReplicaIdentity::Auto));
        assert_eq!((sink.user.as_str(), sink.database.as_str(), sink.sql_port), ("loader", "shop", 9030));
        assert_eq!((sink.password.expose_secret(), sink.password_file), ("", None));
        assert_eq!((sink.delete_mode, sink.audit_prefix.as_deref()), (DeleteMode::Soft, Some("sluice_")));
        assert_eq!((sink.create_tables, sink.replication_num), (true, None));
        assert_eq!(sink.on_bad_value, Policies::all(Policy::Block));
        assert_eq!(sink.types, TypeRules::default());
        assert_eq!(
            (engine.memory_budget, engine.flush.flush_bytes, engine.flush.flush_rows),
            (64 << 20, 16 << 20, 500_000)
        );
        assert_eq!(
            (engine.flush.flush_interval, engine.checkpoint_interval),
            (Duration::from_secs(1), Duration::from_secs(1))
        );
        assert_eq!(engine.shutdown_grace, Duration::from_secs(8));
        let copying = engine.copying;
        assert_eq!((copying.mode, copying.parallelism, copying.chunk_bytes), (CopyMode::Initial, 4, 8 << 20));
        assert_eq!((copying.replica_lag_max, copying.retained_wal_max), (None, None));
        assert_eq!(grpc.grpc_addr.to_string(), "127.0.0.1:50051");
        assert_eq!(grpc.http_addr.map(|addr| addr.to_string()).as_deref(), Some("127.0.0.1:9464"));
        assert_eq!((grpc.lag_max, grpc.reflection), (Duration::from_secs(300), true));
        assert_eq!(log, LogOptions { filter: "info".into(), format: LogFormat::Auto });
        assert_eq!(notes, [""; 0]);
    }

    #[test]
    fn the_older_sidecars_environment_works() {
        let settings = Settings::from_env(&vec![
            ("SOURCE_TYPE", "postgres"),
            ("DATABASE_URL", "postgres://app:pw@pg:5432/shop"),
            ("SLOT_NAME", "dbmazz_slot"),
            ("PUBLICATION_NAME", "dbmazz_pub"),
            ("TABLES", "orders,order_items"),
            ("SINK_TYPE", "starrocks"),
            ("STARROCKS_URL", "http://starrocks:8030"),
            ("STARROCKS_PORT", "9030"),
            ("STARROCKS_DB", "shop"),
            ("STARROCKS_USER", "root"),
            ("STARROCKS_PASS", ""),
            ("FLUSH_SIZE", "1000"),
            ("FLUSH_INTERVAL_MS", "500"),
            ("GRPC_PORT", "50055"),
            ("DO_SNAPSHOT", "false"),
            ("RUST_LOG", "debug"),
        ])
        .unwrap();
        assert_eq!(
            (settings.source.slot.as_str(), settings.source.publication.as_str()),
            ("dbmazz_slot", "dbmazz_pub")
        );
        assert_eq!((settings.sink.user.as_str(), settings.sink.database.as_str()), ("root", "shop"));
        assert_eq!(settings.grpc.grpc_addr.to_string(), "127.0.0.1:50055");
        assert_eq!(settings.log.filter, "debug");
        let old_names = settings.notes.iter().filter(|note| note.contains(" is an old name"));
        assert_eq!(old_names.count(), 11, "{:#?}", settings.notes);
    }

    #[test]
    fn settings_reach_the_options_they_are_for() {
        let settings = read(&[
            ("PIPELINE", "p1"),
            ("TABLES", " orders , shop.orders => o2, shop.*, orders "),
            ("REPLICA_IDENTITY", "FULL"),
            ("CHECKPOINT_SCHEMA", "ops"),
            ("SLOT_CREATE_TIMEOUT", "10m"),
            ("STREAM_LARGE_TRANSACTIONS", "yes"),
            ("STREAM_SPOOL_FOLDER", "/var/spool/s"),
            ("STREAM_SPOOL_BYTES", "2GiB"),
            ("SINK_URL", "starrocks://loader:pw@fe1:8030,fe2:8031/shop?sql_port=9031"),
            ("SINK_REDIRECT_ALLOW", "be1, be2"),
            ("SINK_REDIRECT_MAP", "127.0.0.1=starrocks"),
            ("SINK_COMPRESSION", "Zstd"),
            ("SINK_PARALLELISM", "3"),
            ("SINK_LOAD_TIMEOUT", "30s"),
            ("SINK_CONNECT_TIMEOUT", "500ms"),
            ("CREATE_TABLES", "no"),
            ("SINK_REPLICATION_NUM", "1"),
            ("DELETE_MODE", "hard"),
            ("AUDIT_COLUMN_PREFIX", "a_"),
            ("SNAPSHOT", "only"),
            ("SNAPSHOT_PARALLELISM", "2"),
            ("SNAPSHOT_CHUNK_BYTES", "1MiB"),
            ("SNAPSHOT_CHUNK_TIMEOUT", "5s"),
            ("SNAPSHOT_MAX_REPLICA_LAG", "10s"),
            ("SNAPSHOT_MAX_RETAINED_WAL", "1GiB"),
            ("ON_BAD_VALUE", "Null, numeric_range=clamp"),
            ("NUMERIC_AS", "DECIMAL( 38 , 9 )"),
            ("JSON_AS", "varchar"),
            ("ARRAY_AS", "array"),
            ("BYTEA_AS", "varbinary"),
            ("FLUSH_SIZE", "10"),
            ("FLUSH_BYTES", "1MiB"),
            ("FLUSH_INTERVAL_MS", "5"),
            ("MEMORY_BUDGET", "8MiB"),
            ("CHECKPOINT_INTERVAL", "2s"),
            ("SHUTDOWN_GRACE", "1m"),
            ("METRICS_ADDR", "off"),
            ("GRPC_REFLECTION", "0"),
            ("MAX_LAG", "1s"),
            ("LOG_FORMAT", "JSON"),
        ]);
        let Settings { source, sink, engine, grpc, log, .. } = settings;
        assert_eq!(source.slot, "p1_slot");
        assert_eq!(source.tables.iter().map(show).collect::<Vec<_>>(), ["public.orders", "shop.orders", "shop.*"]);
        assert_eq!(source.tables[1].target.as_deref(), Some("o2"));
        assert_eq!((source.replica_identity, source.checkpoint_schema.as_str()), (ReplicaIdentity::Full, "ops"));
        assert_eq!(source.slot_create_timeout, Duration::from_secs(600));
        let spool = postgres::SpoolOptions { folder: "/var/spool/s".into(), bytes_max: 2 << 30 };
        assert_eq!(source.spool, Some(spool));
        assert_eq!((sink.frontends.len(), sink.sql_port, sink.password.expose_secret()), (2, 9031, "pw"));
        assert_eq!(
            (sink.redirect_allow, sink.redirect_map),
            (vec!["be1".into(), "be2".into()], vec![("127.0.0.1".into(), "starrocks".into())])
        );
        assert_eq!(
            (sink.compression, sink.parallelism, sink.load_timeout, sink.connect_timeout),
            (Compression::Zstd, 3, Duration::from_secs(30), Duration::from_millis(500))
        );
        assert_eq!((sink.create_tables, sink.replication_num, sink.delete_mode), (false, Some(1), DeleteMode::Hard));
        let copying = engine::CopyOptions {
            mode: CopyMode::Only,
            parallelism: 2,
            chunk_bytes: 1 << 20,
            chunk_time_max: Duration::from_secs(5),
            replica_lag_max: Some(Duration::from_secs(10)),
            retained_wal_max: Some(1 << 30),
            versions: true,
        };
        assert_eq!(engine.copying, copying);
        assert_eq!(sink.audit_prefix.as_deref(), Some("a_"));
        let policies = Policies::all(Policy::Null).with(BadClass::NumericRange, Policy::Clamp);
        assert_eq!(Some(sink.on_bad_value), policies);
        let types = TypeRules {
            numeric: NumericAs::Decimal { precision: 38, scale: 9 },
            json: JsonAs::Varchar,
            array: ArrayAs::Array,
            bytea: ByteaAs::Varbinary,
        };
        assert_eq!(sink.types, types);
        assert_eq!((engine.flush.flush_rows, engine.flush.flush_bytes), (10, 1 << 20));
        assert_eq!((engine.flush.flush_interval, engine.memory_budget), (Duration::from_millis(5), 8 << 20));
        assert_eq!(
            (engine.checkpoint_interval, engine.shutdown_grace),
            (Duration::from_secs(2), Duration::from_secs(60))
        );
        assert_eq!((grpc.http_addr, grpc.reflection, grpc.lag_max), (None, false, Duration::from_secs(1)));
        assert_eq!(log.format, LogFormat::Json);
    }

    #[test]
    fn what_depends_on_other_settings_follows_them() {
        let flush_bytes = |budget: &str| read(&[("MEMORY_BUDGET", budget)]).engine.flush.flush_bytes;
        assert_eq!((flush_bytes("32MiB"), flush_bytes("64MiB"), flush_bytes("1GiB")), (8 << 20, 16 << 20, 16 << 20));
        let bare = read(&[("AUDIT_COLUMNS", "false")]).sink;
        assert_eq!((bare.audit_prefix, bare.delete_mode), (None, DeleteMode::Hard));
        let hard = read(&[("AUDIT_COLUMNS", "false"), ("DELETE_MODE", "hard")]).sink;
        assert_eq!((hard.audit_prefix, hard.delete_mode), (None, DeleteMode::Hard));
        let sink = read(&[
            ("SINK_URL", "http://fe:8030"),
            ("SINK_USER", "u"),
            ("SINK_PASSWORD", "pw"),
            ("SINK_DATABASE", "d"),
            ("SINK_PORT", "9999"),
        ])
        .sink;
        assert_eq!((sink.user.as_str(), sink.database.as_str(), sink.sql_port), ("u", "d", 9999));
        assert_eq!(sink.password.expose_secret(), "pw");
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let all = Settings::from_env(&vec![
            ("FLUSH_SIZE", "10k"),
            ("SINK_ULR", "x"),
            ("MAX_LAG", "5"),
            ("AUDIT_COLUMNS", "no"),
            ("DELETE_MODE", "soft"),
            ("SLOT_NAME", "s"),
        ])
        .unwrap_err();
        let names: Vec<&str> = all.list.iter().map(|problem| problem.name.as_str()).collect();
        assert_eq!(names, ["SOURCE_URL", "TABLES", "SINK_URL", "DELETE_MODE", "FLUSH_SIZE", "MAX_LAG", "SINK_ULR"]);
        assert_eq!(all.notes.len(), 1);
        assert!(all.to_string().starts_with("7 problems with the settings\n  - SOURCE_URL is not set: "), "{all}");
    }

    #[test]
    fn contradictions_are_problems() {
        let cases: &[(&[(&str, &str)], &[&str])] = &[
            (
                &[("AUDIT_COLUMNS", "false"), ("DELETE_MODE", "soft")],
                &["DELETE_MODE is soft, which marks deleted rows in an audit column, but AUDIT_COLUMNS is false; set \
                   DELETE_MODE=hard or keep the audit columns"],
            ),
            (
                &[("FLUSH_BYTES", "32MiB")],
                &["FLUSH_BYTES is more than 16MiB, a quarter of MEMORY_BUDGET=64MiB; set it to 16MiB or less, or \
                     raise MEMORY_BUDGET"],
            ),
            (&[("METRICS_ADDR", "0.0.0.0:50051")], &["METRICS_ADDR and GRPC_ADDR both take port 50051; give them two"]),
            (&[("GRPC_PORT", "9464")], &["METRICS_ADDR and GRPC_ADDR both take port 9464; give them two"]),
            (
                &[("SINK_URL", "http://fe"), ("SINK_PASSWORD", "CANARY")],
                &[
                    "SINK_USER is not set: SINK_URL names no user either",
                    "SINK_DATABASE is not set: SINK_URL names no database either",
                ],
            ),
            (
                &[("SINK_USER", "other"), ("SINK_DATABASE", "shop"), ("SINK_PORT", "9030")],
                &["SINK_USER differs from what SINK_URL says; keep one of them"],
            ),
            (
                &[("SINK_URL", "starrocks://u:CANARY@fe/d"), ("STARROCKS_PASS", "CANARY2")],
                &["STARROCKS_PASS differs from the password in SINK_URL; keep one of them"],
            ),
            (
                &[("SOURCE_URL", "postgres://u:CANARY@h/d"), ("SOURCE_PASSWORD", "CANARY2")],
                &["SOURCE_PASSWORD differs from the password in SOURCE_URL; keep one of them"],
            ),
            (&[("SINK_TLS_CA", "Cargo.toml")], &["SINK_TLS_CA is set, but no address in SINK_URL is https"]),
            (
                &[("TABLES", "a.orders,b.orders")],
                &["TABLES sends both a.orders and b.orders to orders; give one another name, such as \
                   b.orders=>orders_2"],
            ),
            (&[("TABLES", "a,a=>b")], &["TABLES names public.a twice, with different targets"]),
            (&[("SINK_USER", "")], &[]),
            (&[("GRPC_ADDR", "127.0.0.1:0"), ("METRICS_ADDR", "127.0.0.1:0")], &[]),
            (&[("SINK_URL", "starrocks://u:pw@fe/d"), ("SINK_PASSWORD", "pw")], &[]),
            (&[("TABLES", "a.orders,b.orders=>b_orders,a.orders")], &[]),
        ];
        for (changes, want) in cases {
            assert_eq!(problems(changes), *want, "{changes:?}");
        }
    }

    #[test]
    fn a_wrong_value_is_one_problem_and_not_also_a_missing_one() {
        assert_eq!(problems(&[("TABLES", "a,,b")]).len(), 1);
        assert_eq!(problems(&[("SOURCE_URL", ""), ("SOURCE_URL_FILE", "/does/not/exist")]).len(), 1);
        assert_eq!(problems(&[("SINK_URL", ""), ("STARROCKS_URL", "ftp://fe")]).len(), 1);
    }

    #[test]
    fn ten_thousand_tables_are_read() {
        let list = (0..10_000).map(|n| format!("s.t{n}")).collect::<Vec<_>>().join(",");
        assert_eq!(read(&[("TABLES", &list)]).source.tables.len(), 10_000);
    }

    #[test]
    fn an_open_control_port_is_noted() {
        let notes = read(&[("GRPC_ADDR", "0.0.0.0:50051"), ("METRICS_ADDR", "0.0.0.0:9464")]).notes;
        assert_eq!(notes.len(), 1);
        assert!(notes[0].contains("it asks for no credentials"), "{notes:?}");
    }

    #[test]
    fn password_files_are_kept_to_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pw");
        std::fs::write(&path, "CANARY\n").unwrap();
        let text = path.to_str().unwrap();
        let settings = read(&[("SOURCE_PASSWORD_FILE", text), ("SINK_PASSWORD_FILE", text)]);
        assert_eq!(settings.source.connect.password_file.as_ref(), Some(&path));
        assert_eq!(settings.source.connect.password.as_ref().map(ExposeSecret::expose_secret), Some("CANARY"));
        assert_eq!(settings.sink.password_file.as_ref(), Some(&path));
        assert_eq!(settings.sink.password.expose_secret(), "CANARY");
    }

    fn effective<'a>(settings: &'a Settings, name: &str) -> &'a Effective {
        settings.effective.iter().find(|effective| effective.name == name).unwrap()
    }

    #[test]
    fn what_is_in_force_is_shown_with_its_origin() {
        let settings = read(&[
            ("SINK_URL", "starrocks://loader:CANARY@fe:8030/shop?sql_port=9031"),
            ("SOURCE_PASSWORD", "CANARY"),
            ("RUST_LOG", "debug"),
            ("SLOT_NAME", "s"),
            ("MAX_LAG", "60s"),
        ]);
        let cases = [
            ("SOURCE_PASSWORD", Some(HIDDEN), "SOURCE_PASSWORD"),
            ("SINK_URL", Some("starrocks://fe:8030"), "SINK_URL"),
            ("SINK_PASSWORD", Some(HIDDEN), "part of SINK_URL"),
            ("SINK_USER", Some("loader"), "part of SINK_URL"),
            ("SINK_DATABASE", Some("shop"), "part of SINK_URL"),
            ("SINK_PORT", Some("9031"), "part of SINK_URL"),
            ("SLOT", Some("s"), "SLOT_NAME"),
            ("PUBLICATION", Some("sluicegate_pub"), "default"),
            ("LOG", Some("debug"), "RUST_LOG"),
            ("MAX_LAG", Some("1m"), "MAX_LAG"),
            ("FLUSH_BYTES", Some("16MiB"), "default"),
            ("SINK_TLS_CA", None, "default"),
        ];
        for (name, value, origin) in cases {
            let shown = effective(&settings, name);
            assert_eq!((shown.value.as_deref(), shown.origin.to_string().as_str()), (value, origin), "{name}");
        }
        assert_eq!(settings.effective.len(), VARS.len());
        let none = read(&[]);
        assert_eq!(
            (&effective(&none, "SINK_PASSWORD").value, &effective(&none, "SOURCE_PASSWORD").value),
            (&None, &None)
        );
        assert_eq!(effective(&none, "SINK_PORT").origin, Origin::Default);
    }

    #[test]
    fn what_is_shown_means_the_same_when_read_again() {
        let settings = read(&[
            ("SINK_URL", "starrocks+https://loader@fe1,[::1]:8030/sh%20op?sql_port=9031"),
            ("TABLES", r#"shop.*,"Odd ""Name""" => x"#),
            ("SINK_REDIRECT_MAP", "127.0.0.1:8040=[::1]:8040"),
            ("MEMORY_BUDGET", "100MB"),
            ("AUDIT_COLUMNS", "false"),
        ]);
        let shown = |settings: &Settings| -> Vec<(&'static str, String)> {
            settings.effective.iter().filter_map(|one| Some((one.name, one.value.clone()?))).collect()
        };
        let again = Settings::from_env(&shown(&settings)).unwrap();
        assert_eq!(shown(&again), shown(&settings));
        assert_eq!(again.source.tables, settings.source.tables);
        assert_eq!(again.sink.frontends, settings.sink.frontends);
    }

    #[test]
    fn a_client_needs_the_address_alone() {
        let addr = |vars: &[(&str, &str)]| crate::config::grpc_addr(&vars.to_vec()).map(|addr| addr.to_string());
        assert_eq!(addr(&[]).as_deref(), Ok("127.0.0.1:50051"));
        assert_eq!(addr(&[("GRPC_ADDR", "[::1]:1"), ("FLUSH_SIZE", "x"), ("SINK_X", "")]).as_deref(), Ok("[::1]:1"));
        assert_eq!(addr(&[("GRPC_PORT", "7")]).as_deref(), Ok("127.0.0.1:7"));
        assert_eq!(addr(&[("GRPC_ADDR", "x")]).unwrap_err().list[0].name, "GRPC_ADDR");
        assert_eq!(addr(&[("GRPC_ADDR", "127.0.0.1:0")]).unwrap_err().list[0].name, "GRPC_ADDR");
    }

    const CANARY: &str = "c4n4ry-5ecret";

    /// Everything that `from_env` can say.
    fn everything_said(vars: &Vec<(String, String)>) -> String {
        match Settings::from_env(vars) {
            Ok(settings) => format!("{settings:?} {settings:#?}"),
            Err(problems) => format!("{problems} {problems:?} {problems:#?}"),
        }
    }

    #[test]
    fn secrets_are_in_nothing_that_is_said() {
        let wrong: &[(&str, &str)] = &[("FLUSH_SIZE", "x")];
        let places = [
            ("SOURCE_URL", format!("postgres://app:{CANARY}@pg/shop")),
            ("SOURCE_URL", format!("postgres://app:{CANARY}@pg:99999/shop")),
            ("SOURCE_URL", format!("postgres://app:{CANARY}%zz@pg/shop")),
            ("SOURCE_URL", format!("postgres://app:x/{CANARY}@pg/shop")),
            ("SOURCE_URL", format!("postgres://app:x@{CANARY}@pg/shop")),
            ("SOURCE_URL", format!("postgres://app:x#{CANARY}@pg/shop")),
            ("SOURCE_URL", format!("postgres://app:x?{CANARY}@pg/shop")),
            ("SOURCE_URL", format!("postgres://pg/shop?user=app&password={CANARY}")),
            ("SOURCE_URL", format!("postgres://pg/shop?pasword={CANARY}")),
            ("SOURCE_URL", format!("mysql://app:{CANARY}@pg/shop")),
            ("SOURCE_URL", format!("app:{CANARY}@pg/shop")),
            ("SOURCE_URL", format!("host=pg user=app password={CANARY}")),
            ("SOURCE_PASSWORD", CANARY.to_owned()),
            ("PGPASSWORD", CANARY.to_owned()),
            ("SINK_URL", format!("starrocks://loader:{CANARY}@fe:8030/shop")),
            ("SINK_URL", format!("starrocks://loader:{CANARY}@fe:8030:1/shop")),
            ("SINK_URL", format!("http://loader:x/{CANARY}@fe:8030/shop")),
            ("SINK_URL", format!("http://loader:x@{CANARY}@fe:8030/shop")),
            ("SINK_URL", format!("starrocks://fe:8030/shop?password={CANARY}")),
            ("SINK_URL", format!("loader:{CANARY}@fe:8030/shop")),
            ("SINK_URL", format!("jdbc:mysql://loader:{CANARY}@fe:9030/shop")),
            ("SINK_PASSWORD", CANARY.to_owned()),
            ("STARROCKS_PASS", CANARY.to_owned()),
            ("SINK_PASSWROD", CANARY.to_owned()),
            ("SINK_SNOWFLAKE_PASSWORD", CANARY.to_owned()),
        ];
        for (name, value) in &places {
            for extra in [&[], wrong] {
                let changes: Vec<(&str, &str)> =
                    std::iter::once((*name, value.as_str())).chain(extra.iter().copied()).collect();
                let said = everything_said(&with(&changes));
                assert!(!said.contains(CANARY), "{name}={value}: {said}");
            }
        }
    }

    fn any_name() -> impl Strategy<Value = String> {
        let known: Vec<String> = VARS
            .iter()
            .flat_map(|var| std::iter::once(var.name).chain(var.aliases.iter().map(|alias| alias.name)))
            .flat_map(|name| [name.to_owned(), format!("{name}_FILE")])
            .collect();
        prop_oneof![
            3 => proptest::sample::select(known),
            1 => "(SINK|SOURCE|FLUSH|GRPC|PG)_?[A-Z_]{0,12}",
            1 => "\\PC{0,12}",
        ]
    }

    fn any_value() -> impl Strategy<Value = String> {
        let examples: Vec<String> = VARS.iter().map(|var| var.example.to_owned()).collect();
        prop_oneof![
            3 => proptest::sample::select(examples),
            2 => "[0-9]{1,6}(s|ms|MiB|kB|)?",
            2 => "(postgres|starrocks|http)://[a-z:@/?=&%,#.0-9\\[\\]]{0,30}",
            1 => "\\PC{0,20}",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_environment_panics(vars in proptest::collection::vec((any_name(), any_value()), 0..12)) {
            let all: Vec<_> = with(&[]).into_iter().chain(vars.clone()).collect();
            let _ = (Settings::from_env(&vars), Settings::from_env(&all), crate::config::grpc_addr(&vars));
        }

        #[test]
        fn what_is_said_never_holds_a_password(
            user in "[a-z]{1,8}",
            before in "[!-~]{0,6}",
            vars in proptest::collection::vec((any_name(), any_value()), 0..4),
        ) {
            let secrets = [
                ("SOURCE_URL", format!("postgres://{user}:{before}{CANARY}@pg/shop")),
                ("SINK_URL", format!("starrocks://{user}:{before}{CANARY}@fe/shop")),
                ("SOURCE_PASSWORD", format!("{before}{CANARY}")),
                ("SINK_PASSWORD", format!("{before}{CANARY}")),
            ];
            for (name, value) in &secrets {
                let mut all = with(&[(name, value)]);
                all.extend(vars.iter().cloned());
                let said = everything_said(&all);
                prop_assert!(!said.contains(CANARY), "{}={}: {}", name, value, said);
            }
        }
    }
}
