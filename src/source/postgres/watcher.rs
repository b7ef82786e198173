//! Watches slot, publication and tables beside the stream, and notices when the server wants to stop.
//!
//! In: an ordinary connection of its own. Out: slot health and reasons in the meter; the reason why the stream must
//! end, when it must. Always: reads only. A server that is shut down closes ordinary connections at once and then
//! waits for replication connections until they have taken everything; so the end of ours is the sign to let go.
//! Not here: what the stream does about it. Start at [`watch()`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_postgres::{Client, Error, Statement};

use super::catalog::{self, Relation};
use super::client::Driver;
use super::publication::{self, Fingerprint};
use super::resume;
use super::selection::Selected;
use super::slot::{self, Slot};
use super::sqlstate::query_reason;
use super::{Identity, Options};
use crate::model::{Class, Reason, TableName};
use crate::status::SourceMeter;

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(2);

/// Every so many looks tables and publication are looked at too, if a transaction has ended since: that takes a dozen
/// statements, and a database has more to do than to tell its catalog.
const THOROUGH: u32 = 5;

/// The longest that one look may take before the connection counts as dead.
const PATIENCE: Duration = Duration::from_secs(30);

/// A slot is at risk when less than this part of what it may hold back is left.
const RISK_PART: i64 = 4;

const GAP_REMEDY: &str = "Start anew with the statements, and load the tables' rows again by other means.";

/// What is watched, as setup left it.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    slot: String,
    publication: String,
    checkpoint_schema: String,
    pipeline: String,
    version: i32,
    tables: BTreeMap<u32, Watched>,
    fingerprint: Fingerprint,
    decoded: Arc<AtomicI64>,
    period: Duration,
}

/// A table as setup left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Watched {
    name: TableName,
    key: Vec<String>,
    identity: Identity,
}

impl Watch {
    pub(super) fn new(options: &Options, version: i32, tables: &[Selected], fingerprint: Fingerprint) -> Self {
        let watched = |table: &Selected| Watched {
            name: table.relation.name.clone(),
            key: table.key.clone(),
            identity: table.identity,
        };
        Watch {
            slot: options.slot.clone(),
            publication: options.publication.clone(),
            checkpoint_schema: options.checkpoint_schema.clone(),
            pipeline: options.pipeline.clone(),
            version,
            tables: tables.iter().map(|table| (table.relation.id, watched(table))).collect(),
            fingerprint,
            decoded: Arc::default(),
            period: PERIOD,
        }
    }

    /// Notes how many transactions were decoded from the slot there.
    pub(super) fn counting(self, decoded: Arc<AtomicI64>) -> Self {
        Watch { decoded, ..self }
    }

    fn start_anew(&self, slot: Option<&str>) -> String {
        resume::start_anew(&self.checkpoint_schema, &self.pipeline, slot)
    }

    /// Looks that often.
    #[cfg(test)]
    pub(super) fn every(self, period: Duration) -> Self {
        Watch { period, ..self }
    }
}

/// Watches until the stream must end, and says why. `shutdown_notice` is true from the moment
/// the connection ended or cannot be used.
pub(super) async fn watch(
    (client, mut driver): (Client, Driver),
    watch: Watch,
    meter: SourceMeter,
    shutdown_notice: watch::Sender<bool>,
) -> Reason {
    let mut ticks = tokio::time::interval(watch.period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looker =
        Looker { client: &client, watch: &watch, meter: &meter, slot: None, seen: String::new(), looks: 0 };
    loop {
        let look = async {
            ticks.tick().await;
            tokio::time::timeout(PATIENCE, looker.look()).await
        };
        let reason = tokio::select! {
            biased;
            ended = &mut driver => closed(ended.ok().flatten().as_ref()),
            looked = look => match looked {
                Ok(Ok(())) => continue,
                Ok(Err(reason)) => reason,
                Err(_) => closed(None),
            },
        };
        driver.abort();
        // A gap is no sign of a shutdown; whatever else keeps us from looking may be one.
        if reason.class != Class::Resync {
            shutdown_notice.send_replace(true);
        }
        return reason;
    }
}

fn closed(error: Option<&Error>) -> Reason {
    match error {
        Some(error) => query_reason(error, "watching the source"),
        None => Reason::new(
            "SOURCE_UNREACHABLE",
            Class::Retry,
            "server",
            "watching the source: the connection ended or the server did not answer",
            "It is tried again until the server answers.",
        ),
    }
}

/// Looks again and again over one connection.
struct Looker<'a> {
    client: &'a Client,
    watch: &'a Watch,
    meter: &'a SourceMeter,
    /// Reads the slot; made ready at the first look.
    slot: Option<Statement>,
    /// The server's transactions before the last thorough look.
    seen: String,
    /// Looks since then.
    looks: u32,
}

impl Looker<'_> {
    /// One look. The error is why the stream must end.
    async fn look(&mut self) -> Result<(), Reason> {
        let (client, watch) = (self.client, self.watch);
        let statement = match &self.slot {
            Some(statement) => statement,
            None => self.slot.insert(slot::prepare(client, watch.version).await?),
        };
        let slot = slot::look(client, statement, &watch.slot).await?;
        judge_slot(watch, slot.as_ref(), self.meter)?;
        let now = slot.map(|slot| slot.transactions).unwrap_or_default();
        if self.is_due(&now) {
            self.look_thoroughly().await?;
            (self.seen, self.looks) = (now, 0);
        }
        Ok(())
    }

    /// Whether tables and publication are to be looked at. Where no transaction has ended, nothing has changed.
    fn is_due(&mut self, transactions: &str) -> bool {
        self.looks += 1;
        self.seen.is_empty() || self.looks >= THOROUGH && self.seen != transactions
    }

    async fn look_thoroughly(&self) -> Result<(), Reason> {
        let Looker { client, watch, meter, .. } = *self;
        let ids: Vec<u32> = watch.tables.keys().copied().collect();
        let read = async {
            let relations = catalog::by_id(client, &ids).await?;
            let fingerprint = publication::fingerprint(client, watch.version, &watch.publication, &ids).await?;
            Ok((relations, fingerprint))
        };
        let (relations, fingerprint) = catalog::at_one_moment(client, read).await?;
        judge_tables(watch, &relations, meter);
        judge_publication(watch, &relations, &fingerprint)
    }
}

fn judge_slot(watch: &Watch, slot: Option<&Slot>, meter: &SourceMeter) -> Result<(), Reason> {
    let name = &watch.slot;
    let Some(slot) = slot else {
        let message = format!("slot {name} is gone");
        let reason = Reason::new("SLOT_MISSING", Class::Resync, name, message, GAP_REMEDY);
        return Err(reason.with_sql(watch.start_anew(None)));
    };
    meter.slot_health(slot.health());
    if slot.is_lost() {
        return Err(slot::lost(name, slot, &watch.start_anew(Some(name))));
    }
    // The counter of a slot that was made anew starts at 0; the highest one seen is what tells.
    watch.decoded.fetch_max(slot.decoded, Relaxed);
    match at_risk(name, slot) {
        Some(reason) => drop(meter.raise(reason)),
        None => meter.clear(|reason| reason.code == "SLOT_AT_RISK"),
    }
    Ok(())
}

/// The reason if the slot may soon be lost, or the server's disk fill because of it.
fn at_risk(name: &str, slot: &Slot) -> Option<Reason> {
    let retained = slot.retained_bytes;
    let left = match (slot.safe_bytes, slot.keep_bytes) {
        (Some(safe), Some(keep)) if safe < keep / RISK_PART => format!(", and is lost after {} more", safe.max(0)),
        _ if matches!(slot.wal_status.as_str(), "extended" | "unreserved") => String::new(),
        _ => return None,
    };
    let message = format!("slot {name} holds back {retained} bytes of WAL ({}){left}", slot.wal_status);
    let remedy = "See why the pipeline is behind (sink, pause, long transactions in the source), or raise \
                  max_slot_wal_keep_size.";
    Some(Reason::new("SLOT_AT_RISK", Class::Retry, name, message, remedy))
}

fn judge_publication(watch: &Watch, relations: &[Relation], now: &Fingerprint) -> Result<(), Reason> {
    // A dropped table leaves the publication too, and is told as TABLE_DROPPED.
    let alive: BTreeMap<u32, TableName> =
        relations.iter().filter_map(|r| Some((r.id, watch.tables.get(&r.id)?.name.clone()))).collect();
    let gaps = now.gaps_since(&watch.fingerprint, &alive);
    if gaps.is_empty() {
        return Ok(());
    }
    let start_anew = watch.start_anew(Some(&watch.slot));
    Err(publication::changed(&watch.publication, &gaps, GAP_REMEDY, &start_anew))
}

const TABLE_CODES: [&str; 4] = ["TABLE_DROPPED", "TABLE_RENAMED", "KEY_CHANGED", "IDENTITY_CHANGED"];

fn judge_tables(watch: &Watch, relations: &[Relation], meter: &SourceMeter) {
    let reasons = table_reasons(&watch.tables, relations);
    let found: BTreeSet<(&str, &str)> = reasons.iter().map(|reason| (reason.code, reason.object.as_str())).collect();
    meter.clear(|reason| TABLE_CODES.contains(&reason.code) && !found.contains(&(reason.code, reason.object.as_str())));
    for reason in reasons {
        let Reason { code, object, message, remedy, .. } = reason.clone();
        if meter.raise(reason) {
            tracing::warn!(code, object, remedy, "{message}");
        }
    }
}

/// What has happened to tables that the stream alone does not tell.
fn table_reasons(tables: &BTreeMap<u32, Watched>, relations: &[Relation]) -> Vec<Reason> {
    let by_id: BTreeMap<u32, &Relation> = relations.iter().map(|relation| (relation.id, relation)).collect();
    let mut reasons = Vec::new();
    for (id, table) in tables {
        let object = table.name.to_string();
        let mut reason = |code, message: String, remedy: &str| {
            reasons.push(Reason::new(code, Class::Wait, object.as_str(), message, remedy));
        };
        let Some(relation) = by_id.get(id) else {
            let message = format!("table {object} was dropped; the target keeps its rows");
            reason("TABLE_DROPPED", message, "Take it out of TABLES, or restart if it was created again.");
            continue;
        };
        if relation.name != table.name {
            let message = format!("table {object} is now called {}", relation.name);
            let remedy = "Rename it back; or put NEW=>OLD into TABLES, so that the target table stays, and restart.";
            reason("TABLE_RENAMED", message, remedy);
        }
        // Another identity that gives the same key changes nothing for the target.
        let key = catalog::key(relation.identity, &relation.indexes).map(|index| &index.columns);
        if key == Some(&table.key) {
            continue;
        }
        if relation.identity != table.identity {
            let message = format!(
                "the replica identity of {object} was changed from {:?} to {:?}, which is not the key of the target",
                table.identity, relation.identity
            );
            reason("IDENTITY_CHANGED", message, "Change it back, or restart to check it anew.");
        } else {
            let now = key.map_or_else(|| "none".to_owned(), |key| key.join(", "));
            let message = format!("the key of {object} was {} and is now: {now}", table.key.join(", "));
            reason("KEY_CHANGED", message, "Change it back: the target's key cannot follow.");
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_in_danger_is_told_early() {
        // wal_status, bytes left, bytes it may hold back, whether it is at risk
        let cases = [
            ("reserved", None, None, false),
            ("reserved", Some(90), Some(100), false),
            ("reserved", Some(25), Some(100), false),
            ("reserved", Some(24), Some(100), true),
            ("reserved", Some(-1), Some(100), true),
            ("extended", None, None, true),
            ("unreserved", Some(0), Some(100), true),
            ("", None, None, false),
        ];
        for (wal_status, safe_bytes, keep_bytes, want) in cases {
            let slot = Slot { wal_status: wal_status.into(), safe_bytes, keep_bytes, ..Slot::default() };
            let reason = at_risk("s", &slot);
            assert_eq!(reason.is_some(), want, "{slot:?}");
            // It is told early; nothing is wrong yet that would make the service unfit.
            assert!(reason.is_none_or(|reason| reason.class == Class::Retry));
        }
    }
}
