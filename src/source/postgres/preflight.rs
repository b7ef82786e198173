//! What the server and our role must allow before anything is made.
//!
//! In: one connection. Out: [`Server`] as plain data, and what is wrong with it. Always: reads only; every finding
//! is told, not only the first. Not here: tables, publication, slot. Start at [`inspect`].

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

use super::quote::identifier;
use super::sqlstate::query_reason;
use crate::model::{Class, Lsn, Reason};

/// The oldest server that is supported, as `server_version_num` tells it.
const OLDEST: i32 = 140_000;

/// Facts of the server, the database and our role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// `server_version_num`: 150018 is 15.18.
    pub(super) version: i32,
    pub(super) wal_level: String,
    /// From version 19 on: the level in force, which rises by itself when a slot is made.
    pub(super) effective_wal_level: Option<String>,
    pub(super) in_recovery: bool,
    /// Megabytes of WAL a slot may hold back; `None` if there is no bound.
    pub(super) slot_keep_mb: Option<i64>,
    /// Seconds after which an unused slot is invalidated; `None` if never.
    pub(super) slot_idle_seconds: Option<i64>,
    pub(super) encoding: String,
    pub(super) database: String,
    /// `system_identifier` of the cluster.
    pub(super) system_id: String,
    pub(super) timeline: i32,
    /// End of the WAL that is safe on disk.
    pub(super) flushed: Lsn,
    pub(super) slots: Limit,
    pub(super) senders: Limit,
    pub(super) role: String,
    /// Superuser, REPLICATION, or what stands for it on managed servers.
    pub(super) may_replicate: bool,
    /// May create schemas and publications in this database.
    pub(super) may_create: bool,
}

/// How much of a server-wide limit is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) used: i64,
    pub(super) max: i64,
}

impl Limit {
    fn reached(self) -> bool {
        self.used >= self.max
    }
}

const SERVER: &str = "
    WITH wal AS (
        SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
                    ELSE pg_catalog.pg_current_wal_flush_lsn() END AS flushed,
               -- The log's file name tells the timeline that is written now; pg_control_checkpoint lags behind a
               -- promotion, but is all a standby has.
               CASE WHEN pg_catalog.pg_is_in_recovery()
                    THEN (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint())
                    ELSE ('x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))
                         ::bit(32)::integer END AS timeline
    )
    SELECT pg_catalog.current_setting('server_version_num')::integer,
           pg_catalog.current_setting('wal_level'),
           pg_catalog.current_setting('effective_wal_level', true),
           pg_catalog.pg_is_in_recovery(),
           (SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size'),
           (SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'idle_replication_slot_timeout'),
           pg_catalog.current_setting('server_encoding'),
           pg_catalog.current_database()::text,
           (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),
           wal.timeline, wal.flushed,
           (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots),
           pg_catalog.current_setting('max_replication_slots')::bigint,
           (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication),
           pg_catalog.current_setting('max_wal_senders')::bigint,
           current_user::text,
           (SELECT r.rolsuper OR r.rolreplication FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)
               OR EXISTS (SELECT FROM pg_catalog.pg_roles m
                          WHERE m.rolname IN ('rds_replication', 'rds_superuser')
                            AND pg_catalog.pg_has_role(m.oid, 'MEMBER')),
           pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')
    FROM wal";

/// Reads the version, as `server_version_num` tells it. First of all, because older servers cannot answer the rest.
///
/// # Errors
/// If the server is too old, or cannot be asked.
pub(super) async fn version(client: &Client) -> Result<i32, Reason> {
    let statement = "SELECT pg_catalog.current_setting('server_version_num')::integer";
    let row = client.query_one(statement, &[]).await.map_err(|error| query_reason(&error, "asking for the version"))?;
    let version = row.get(0);
    too_old(version).map_or(Ok(version), Err)
}

fn too_old(version: i32) -> Option<Reason> {
    if version >= OLDEST {
        return None;
    }
    let message = format!("the server is version {}; {} is the oldest that works", version / 10_000, OLDEST / 10_000);
    Some(Reason::new("SOURCE_VERSION", Class::Wait, "server", message, "Upgrade the server."))
}

/// Reads the facts.
pub(super) async fn inspect(client: &Client) -> Result<Server, Reason> {
    let row =
        client.query_one(SERVER, &[]).await.map_err(|error| query_reason(&error, "reading the server's settings"))?;
    let flushed: Option<PgLsn> = row.get(10);
    Ok(Server {
        version: row.get(0),
        wal_level: row.get(1),
        effective_wal_level: row.get(2),
        in_recovery: row.get(3),
        slot_keep_mb: row.get::<_, Option<i64>>(4).filter(|megabytes| *megabytes >= 0),
        slot_idle_seconds: row.get::<_, Option<i64>>(5).filter(|seconds| *seconds > 0),
        encoding: row.get(6),
        database: row.get(7),
        system_id: row.get(8),
        timeline: row.get(9),
        flushed: flushed.map_or(Lsn::INVALID, |lsn| Lsn(lsn.into())),
        slots: Limit { used: row.get(11), max: row.get(12) },
        senders: Limit { used: row.get(13), max: row.get(14) },
        role: row.get(15),
        may_replicate: row.get(16),
        may_create: row.get(17),
    })
}

/// What is wrong. `slot_exists`: no free slot is needed then; `slot_active`: no free sender either.
pub(super) fn findings(server: &Server, slot_exists: bool, slot_active: bool) -> Vec<Reason> {
    let wait = |code, object: &str, message: String, remedy: &str, sql: String| {
        Reason::new(code, Class::Wait, object, message, remedy).with_sql(sql)
    };
    let mut findings = Vec::new();
    if server.in_recovery {
        let message = "the server is a standby: publication and checkpoint cannot be written there".to_owned();
        let remedy = "Name the primary in SOURCE_URL. A standby that is promoted is taken up by itself.";
        findings.push(wait("SOURCE_IS_STANDBY", "server", message, remedy, String::new()));
    }
    let rises_by_itself = server.effective_wal_level.is_some() && server.wal_level == "replica";
    if server.wal_level != "logical" && !rises_by_itself {
        let message = format!("wal_level is {}, and row changes need logical", server.wal_level);
        let remedy = "Set it and restart PostgreSQL (on managed servers: their parameter for logical replication).";
        let sql = "ALTER SYSTEM SET wal_level = 'logical';".to_owned();
        findings.push(wait("SOURCE_WAL_LEVEL", "wal_level", message, remedy, sql));
    }
    if !server.may_replicate {
        let message = format!("role {} may not replicate", server.role);
        let remedy = "Let a superuser run the statement (on Amazon RDS: GRANT rds_replication TO the role).";
        let sql = format!("ALTER ROLE {} REPLICATION;", identifier(&server.role));
        findings.push(wait("SOURCE_PRIVILEGE", "REPLICATION", message, remedy, sql));
    }
    let limits = [
        ("max_replication_slots", server.slots, !slot_exists, "Drop slots that nobody uses, or raise it"),
        ("max_wal_senders", server.senders, !slot_active, "End replication that nobody uses, or raise it"),
    ];
    for (setting, limit, needed, remedy) in limits {
        if needed && limit.reached() {
            let message = format!("all {} of {setting} are in use", limit.max);
            let remedy = format!("{remedy} and restart PostgreSQL.");
            let sql = format!("ALTER SYSTEM SET {setting} = {};", limit.max.max(5) * 2);
            findings.push(wait("SOURCE_LIMIT", setting, message, &remedy, sql));
        }
    }
    findings
}

/// What a person should know.
pub(super) fn notes(server: &Server) -> Vec<String> {
    let mut notes = Vec::new();
    notes.push(match server.slot_keep_mb {
        Some(megabytes) => format!(
            "max_slot_wal_keep_size is {megabytes} MB: if we are away or behind for longer than that much WAL, the \
             slot is lost"
        ),
        None => "max_slot_wal_keep_size has no bound: if we are away for long, WAL fills the server's disk".to_owned(),
    });
    if let Some(seconds) = server.slot_idle_seconds {
        notes
            .push(format!("idle_replication_slot_timeout is {seconds} s: if we are away for longer, the slot is lost"));
    }
    if server.encoding == "SQL_ASCII" {
        notes.push(
            "the database's encoding is SQL_ASCII: the server checks no text, and values that are not UTF-8 follow \
             ON_BAD_VALUE"
                .to_owned(),
        );
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine() -> Server {
        Server {
            version: 150_018,
            wal_level: "logical".into(),
            effective_wal_level: None,
            in_recovery: false,
            slot_keep_mb: Some(1024),
            slot_idle_seconds: None,
            encoding: "UTF8".into(),
            database: "d".into(),
            system_id: "7".into(),
            timeline: 1,
            flushed: Lsn(100),
            slots: Limit { used: 0, max: 10 },
            senders: Limit { used: 0, max: 10 },
            role: "r".into(),
            may_replicate: true,
            may_create: true,
        }
    }

    #[test]
    fn servers_before_14_are_refused_in_plain_words() {
        let told = |version| too_old(version).map(|reason| format!("{} {}", reason.code, reason.message));
        let thirteen = "SOURCE_VERSION the server is version 13; 14 is the oldest that works";
        let cases = [(90_624, true), (130_022, true), (140_000, false), (190_000, false)];
        assert_eq!(told(130_022).as_deref(), Some(thirteen));
        for (version, refused) in cases {
            assert_eq!(told(version).is_some(), refused, "{version}");
        }
    }

    #[test]
    fn each_obstacle_is_named() {
        type Change = fn(&mut Server);
        // what is changed, whether the slot exists and is active, codes and objects
        let cases: [(Change, bool, bool, &[&str]); 11] = [
            (|_| (), false, false, &[]),
            (|s| s.wal_level = "replica".into(), false, false, &["SOURCE_WAL_LEVEL wal_level"]),
            (|s| (s.wal_level, s.effective_wal_level) = ("replica".into(), Some("replica".into())), false, false, &[]),
            (
                |s| (s.wal_level, s.effective_wal_level) = ("minimal".into(), Some("minimal".into())),
                false,
                false,
                &["SOURCE_WAL_LEVEL wal_level"],
            ),
            (|s| s.in_recovery = true, false, false, &["SOURCE_IS_STANDBY server"]),
            (|s| s.may_replicate = false, true, true, &["SOURCE_PRIVILEGE REPLICATION"]),
            (|s| s.slots.used = 10, false, false, &["SOURCE_LIMIT max_replication_slots"]),
            (|s| s.slots.used = 10, true, false, &[]),
            (|s| s.senders.used = 10, true, false, &["SOURCE_LIMIT max_wal_senders"]),
            (|s| s.senders.used = 10, true, true, &[]),
            (
                |s| (s.slots.used, s.senders.used, s.in_recovery) = (10, 10, true),
                false,
                false,
                &["SOURCE_IS_STANDBY server", "SOURCE_LIMIT max_replication_slots", "SOURCE_LIMIT max_wal_senders"],
            ),
        ];
        for (number, (change, exists, active, want)) in cases.into_iter().enumerate() {
            let mut server = fine();
            change(&mut server);
            let got: Vec<String> =
                findings(&server, exists, active).iter().map(|r| format!("{} {}", r.code, r.object)).collect();
            assert_eq!(got, want, "case {number}");
        }
    }
}
