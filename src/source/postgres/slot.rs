//! The replication slot: what it is, whether it can be used, and how it is made.
//!
//! In: `pg_replication_slots`. Out: [`Slot`], findings, a new slot. Always: a slot that exists is never dropped,
//! recreated or advanced. Not here: whether its position fits ours (`resume`). Start at [`inspect`].

use std::fmt::{self, Display};
use std::time::Duration;

use tokio_postgres::types::{PgLsn, ToSql};
use tokio_postgres::{Client, Statement, ToStatement};

use super::blocker::{self, Blocker};
use super::quote::literal;
use super::sqlstate::query_reason;
use crate::model::{Class, Lsn, Reason};
use crate::status::SlotHealth;

/// The code of a slot that someone reads from.
pub(super) const IN_USE: &str = "SLOT_IN_USE";

/// How long a cancelled slot creation may take to give up.
const CANCEL_GRACE: Duration = Duration::from_secs(10);

/// A slot as the server tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) logical: bool,
    pub(super) plugin: String,
    pub(super) database: String,
    pub(super) temporary: bool,
    pub(super) two_phase: bool,
    /// Who uses it now.
    pub(super) holder: Option<Holder>,
    pub(super) restart: Lsn,
    /// Position it has been told; [`Lsn::INVALID`] while it is being made.
    pub(super) confirmed: Lsn,
    /// `reserved`, `extended`, `unreserved`, `lost`; empty if the server does not say.
    pub(super) wal_status: String,
    pub(super) safe_bytes: Option<i64>,
    pub(super) retained_bytes: u64,
    /// Why the server invalidated it, where it says.
    pub(super) invalidated: Option<String>,
    /// Transactions decoded from it since it was made. Starts anew when statistics are reset or lost in a crash.
    pub(super) decoded: i64,
    /// Bytes of WAL a slot may hold back; `None` if there is no bound.
    pub(super) keep_bytes: Option<i64>,
    /// The server's transactions as this look saw them: while the text stays the same, none has ended.
    pub(super) transactions: String,
}

/// A backend that uses a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) pid: i32,
    pub(super) application: Option<String>,
    pub(super) address: Option<String>,
}

impl Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let application = self.application.as_deref().filter(|name| !name.is_empty()).unwrap_or("unknown");
        let address = self.address.as_deref().unwrap_or("a local or hidden address");
        write!(f, "process {} ({application}) from {address}", self.pid)
    }
}

impl Slot {
    /// Whether the WAL it needs is gone or the server invalidated it otherwise.
    pub(super) fn is_lost(&self) -> bool {
        self.wal_status == "lost" || self.invalidated.is_some()
    }

    /// Who uses it, if that is a session of this `application_name`.
    pub(super) fn holder_named(&self, application: &str) -> Option<&Holder> {
        self.holder.as_ref().filter(|holder| holder.application.as_deref() == Some(application))
    }

    /// For the status.
    pub(super) fn health(&self) -> SlotHealth {
        SlotHealth {
            wal_status: self.wal_status.clone(),
            active: self.holder.is_some(),
            restart_lsn: self.restart,
            confirmed_lsn: self.confirmed,
            retained_bytes: self.retained_bytes,
            safe_bytes: self.safe_bytes,
        }
    }
}

const SLOT: &str = "
    SELECT s.slot_type = 'logical', COALESCE(s.plugin::text, ''), COALESCE(s.database::text, ''), s.temporary,
           s.two_phase, s.active_pid, a.application_name, a.client_addr::text, s.restart_lsn, s.confirmed_flush_lsn,
           COALESCE(s.wal_status, ''), s.safe_wal_size,
           COALESCE(pg_catalog.pg_wal_lsn_diff(
               CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
                    ELSE pg_catalog.pg_current_wal_lsn() END, s.restart_lsn), 0)::bigint,
           COALESCE(t.total_txns, 0),
           (SELECT k.setting::bigint FROM pg_catalog.pg_settings k WHERE k.name = 'max_slot_wal_keep_size'),
           pg_catalog.pg_current_snapshot()::text";

const SLOT_FROM: &str = "
    FROM pg_catalog.pg_replication_slots s
         LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid
         LEFT JOIN pg_catalog.pg_stat_replication_slots t ON t.slot_name = s.slot_name
    WHERE s.slot_name = $1";

/// Reads a slot.
pub(super) async fn inspect(client: &Client, version: i32, name: &str) -> Result<Option<Slot>, Reason> {
    look(client, statement(version).as_str(), name).await
}

/// Makes the statement ready that reads a slot, for [`look`]s that come often.
pub(super) async fn prepare(client: &Client, version: i32) -> Result<Statement, Reason> {
    client.prepare(&statement(version)).await.map_err(|error| query_reason(&error, "reading the slot"))
}

fn statement(version: i32) -> String {
    let invalidated = match version {
        170_000.. => "s.invalidation_reason::text",
        // It is set for every cause; `wal_status` says whether it was the usual one.
        160_000.. => {
            "CASE WHEN s.conflicting AND s.wal_status IS DISTINCT FROM 'lost' THEN 'conflict with recovery' END"
        }
        _ => "NULL::text",
    };
    format!("{SLOT}, {invalidated}{SLOT_FROM}")
}

/// Reads a slot by the statement for it.
pub(super) async fn look<S>(client: &Client, statement: &S, name: &str) -> Result<Option<Slot>, Reason>
where
    S: ToStatement + ?Sized,
{
    let row = client.query_opt(statement, &[&name]).await.map_err(|error| query_reason(&error, "reading the slot"))?;
    let lsn = |lsn: Option<PgLsn>| lsn.map_or(Lsn::INVALID, |lsn| Lsn(lsn.into()));
    Ok(row.map(|row| Slot {
        logical: row.get(0),
        plugin: row.get(1),
        database: row.get(2),
        temporary: row.get(3),
        two_phase: row.get(4),
        holder: row.get::<_, Option<i32>>(5).map(|pid| Holder { pid, application: row.get(6), address: row.get(7) }),
        restart: lsn(row.get(8)),
        confirmed: lsn(row.get(9)),
        wal_status: row.get(10),
        safe_bytes: row.get(11),
        retained_bytes: u64::try_from(row.get::<_, i64>(12)).unwrap_or(0),
        decoded: row.get(13),
        keep_bytes: row.get::<_, Option<i64>>(14).filter(|megabytes| *megabytes >= 0).map(|mb| mb << 20),
        transactions: row.get(15),
        invalidated: row.get(16),
    }))
}

/// The statement that drops a slot, for remedies.
pub(super) fn drop_sql(name: &str) -> String {
    format!("SELECT pg_catalog.pg_drop_replication_slot({});", literal(name))
}

/// What makes a slot unusable for us now, apart from its position. `start_anew` are statements that forget it.
pub(super) fn findings(name: &str, slot: &Slot, database: &str, start_anew: &str) -> Vec<Reason> {
    let mut findings = Vec::new();
    let unusable = [
        (!slot.logical, "is a physical slot".to_owned()),
        (slot.logical && slot.plugin != "pgoutput", format!("uses the plugin {}, not pgoutput", slot.plugin)),
        (slot.logical && slot.database != database, format!("belongs to database {}, not {database}", slot.database)),
        (slot.temporary, "is temporary and ends with its session".to_owned()),
        (slot.two_phase, "was made for two-phase commit".to_owned()),
    ];
    for (_, what) in unusable.iter().filter(|(found, _)| *found) {
        let message = format!("slot {name} {what}");
        let remedy = "Set SLOT to another name, or drop this slot if nobody needs it.";
        findings.push(Reason::new("SLOT_UNUSABLE", Class::Wait, name, message, remedy).with_sql(drop_sql(name)));
    }
    if findings.is_empty() && slot.is_lost() {
        findings.push(lost(name, slot, start_anew));
    }
    if let (true, Some(holder)) = (findings.is_empty(), &slot.holder) {
        findings.push(in_use(name, holder));
    }
    findings
}

/// The reason for an invalidated slot.
pub(super) fn lost(name: &str, slot: &Slot, start_anew: &str) -> Reason {
    let why = slot.invalidated.as_deref().unwrap_or("the WAL it needs was removed");
    let message = format!("slot {name} is lost ({why}): the changes after {} cannot be had any more", slot.confirmed);
    let remedy = "Start anew with the statements and load the tables' rows again. Raise max_slot_wal_keep_size (or \
                  idle_replication_slot_timeout) so that it does not happen again.";
    Reason::new("SLOT_LOST", Class::Resync, name, message, remedy).with_sql(start_anew)
}

fn in_use(name: &str, holder: &Holder) -> Reason {
    let message = format!("slot {name} is in use by {holder}");
    let remedy = "Stop the other reader. If it is a broken connection, the server ends it after wal_sender_timeout.";
    Reason::new(IN_USE, Class::Retry, name, message, remedy)
        .with_sql(format!("SELECT pg_catalog.pg_terminate_backend({});", holder.pid))
}

const BLOCKERS: &str = "
    SELECT a.pid, a.usename::text, a.datname::text, a.application_name, a.state,
           pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - a.xact_start)::bigint
    FROM pg_catalog.pg_stat_activity a
    WHERE a.pid <> $1 AND (a.pid = ANY(pg_catalog.pg_blocking_pids($1)) OR a.backend_xid IS NOT NULL)
    ORDER BY a.pid = ANY(pg_catalog.pg_blocking_pids($1)) DESC, a.xact_start
    LIMIT 5";

const PREPARED: &str = "
    SELECT p.gid, p.owner::text, p.database::text,
           pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - p.prepared)::bigint
    FROM pg_catalog.pg_prepared_xacts p ORDER BY p.prepared LIMIT 5";

/// Makes the slot and tells its first position. Waits at most `patience` for the transactions that run now, since
/// the server waits for all of them; then gives up, leaves no slot behind, and names them.
///
/// `statement_timeout` does not end that wait and cancelling does, so `observer`, a second connection of the same
/// role, cancels it.
pub(super) async fn create(worker: &Client, observer: &Client, name: &str, patience: Duration) -> Result<Lsn, Reason> {
    let make = |error| query_reason(&error, "creating the slot");
    let row = worker.query_one("SELECT pg_catalog.pg_backend_pid()", &[]).await.map_err(make)?;
    let pid: i32 = row.get(0);
    let statement = "SELECT lsn FROM pg_catalog.pg_create_logical_replication_slot($1, 'pgoutput')";
    let parameters: [&(dyn ToSql + Sync); 1] = [&name];
    let creation = worker.query_one(statement, &parameters);
    tokio::pin!(creation);
    let first = |row: tokio_postgres::Row| Lsn(row.get::<_, PgLsn>(0).into());
    if let Ok(done) = tokio::time::timeout(patience, &mut creation).await {
        return done.map(first).map_err(make);
    }
    let blockers = blockers(observer, pid).await?;
    let cancel = "SELECT pg_catalog.pg_cancel_backend($1)";
    observer.execute(cancel, &[&pid]).await.map_err(|error| query_reason(&error, "cancelling the slot's creation"))?;
    let ended = async {
        let ended = creation.await;
        if ended.is_err() {
            // The server tells the error before it drops what it had begun. The next answer comes after that; if none
            // comes, the session has ended and has cleaned up as well.
            _ = worker.simple_query("SELECT").await;
        }
        ended
    };
    match tokio::time::timeout(CANCEL_GRACE, ended).await {
        // It came through in the last moment.
        Ok(Ok(row)) => Ok(first(row)),
        _ => Err(blocked(name, patience, &blockers)),
    }
}

async fn blockers(observer: &Client, pid: i32) -> Result<Vec<Blocker>, Reason> {
    let read = |error| query_reason(&error, "finding what blocks the slot's creation");
    let sessions = observer.query(BLOCKERS, &[&pid]).await.map_err(read)?;
    let prepared = observer.query(PREPARED, &[]).await.map_err(read)?;
    Ok(sessions.iter().map(Blocker::session).chain(prepared.iter().map(Blocker::prepared)).collect())
}

fn blocked(name: &str, patience: Duration, blockers: &[Blocker]) -> Reason {
    let list = blocker::words(blockers);
    let message = format!("slot {name} could not be made within {} s: it waits for {list}", patience.as_secs());
    let remedy = "Let these transactions end, or end them. It is tried again.";
    Reason::new("SLOT_CREATE_BLOCKED", Class::Retry, name, message, remedy).with_sql(blocker::end_sql(blockers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_obstacle_is_named() {
        let fine = || Slot {
            logical: true,
            plugin: "pgoutput".into(),
            database: "d".into(),
            wal_status: "reserved".into(),
            ..Slot::default()
        };
        type Change = fn(&mut Slot);
        let holder = |slot: &mut Slot| {
            slot.holder = Some(Holder { pid: 7, application: Some("other".into()), address: None });
        };
        let cases: [(&str, Change, &[&str]); 11] = [
            ("fine", |_| (), &[]),
            ("extended", |s| s.wal_status = "extended".into(), &[]),
            ("physical", |s| (s.logical, s.plugin) = (false, String::new()), &["SLOT_UNUSABLE"]),
            ("plugin", |s| s.plugin = "test_decoding".into(), &["SLOT_UNUSABLE"]),
            ("database", |s| s.database = "e".into(), &["SLOT_UNUSABLE"]),
            ("temporary", |s| s.temporary = true, &["SLOT_UNUSABLE"]),
            ("two-phase", |s| s.two_phase = true, &["SLOT_UNUSABLE"]),
            ("lost", |s| s.wal_status = "lost".into(), &["SLOT_LOST"]),
            ("invalidated", |s| s.invalidated = Some("idle_timeout".into()), &["SLOT_LOST"]),
            ("in use", holder, &["SLOT_IN_USE"]),
            (
                "lost with another plugin",
                |s| (s.plugin, s.wal_status) = ("x".into(), "lost".into()),
                &["SLOT_UNUSABLE"],
            ),
        ];
        for (case, change, want) in cases {
            let mut slot = fine();
            change(&mut slot);
            let got: Vec<&str> = findings("s", &slot, "d", "").iter().map(|reason| reason.code).collect();
            assert_eq!(got, want, "{case}");
        }
    }
}
