//! The control port: faults, history and rows over HTTP and JSON, for tests in other languages and for people.
//!
//! StarRocks has no such port. It checks no password and must not be reachable from outside.
//! Routes are listed in the README. Start at `serve`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::fault::Fault;
use crate::http::{Answer, Cluster, Connection, Head, HeadLimits, accept};
use crate::server::Switch;
use crate::store::Settings;

const BODY_BYTES_MAX: u64 = 1 << 20;

/// Serves until dropped.
pub(crate) async fn serve(listener: TcpListener, cluster: Arc<Cluster>, switch: Arc<Switch>) {
    accept(listener, move |stream, peer| {
        let (cluster, switch) = (Arc::clone(&cluster), Arc::clone(&switch));
        async move {
            let mut connection = Connection::new(stream, peer);
            while let Some(head) = connection.head(HeadLimits { line: 4096, headers: 1 << 16 }).await? {
                if head.expects_continue() {
                    connection.send_continue().await?;
                }
                let mut body = Vec::new();
                let fits = head.content_length().is_none_or(|length| length <= BODY_BYTES_MAX);
                let whole = fits
                    && connection
                        .body(head.framing(), &mut |piece| {
                            body.extend_from_slice(piece);
                            (body.len() as u64) <= BODY_BYTES_MAX
                        })
                        .await?;
                let answer = match whole {
                    true => handle(&cluster, &switch, &head, &body).await,
                    false => problem(400, "the body is too long or does not end").closing(),
                };
                if !connection.reply(&head, answer.into()).await? {
                    break;
                }
            }
            Ok(())
        }
    })
    .await;
}

fn problem(status: u16, text: impl std::fmt::Display) -> Answer {
    Answer::json(status, json!({ "error": text.to_string() }).to_string())
}

fn fine(value: &Value) -> Answer {
    Answer::json(200, value.to_string())
}

async fn handle(cluster: &Cluster, switch: &Switch, head: &Head, body: &[u8]) -> Answer {
    let path: Vec<&str> = head.path.iter().map(String::as_str).collect();
    let store = &cluster.shared.store;
    let done = json!({ "status": "ok" });
    match (head.method.as_str(), path.as_slice()) {
        ("GET", ["ports"]) => fine(&json!({ "ports": cluster.shared.ports, "frontends": cluster.frontends })),
        ("GET", ["history"]) => fine(&json!(store.history())),
        ("GET", ["loads"]) => fine(&json!(store.loads())),
        ("GET", ["rows", database, table]) => rows(cluster, database, table),
        ("GET", ["versions", database, table]) => match store.versions(database, table) {
            Ok(versions) => fine(&json!({ "versions": versions })),
            Err(error) => problem(404, error),
        },
        ("GET", ["faults"]) => fine(&json!(cluster.faults.pending())),
        ("POST", ["faults"]) => match serde_json::from_slice::<Fault>(body) {
            Ok(fault) => {
                cluster.faults.add(fault);
                fine(&done)
            }
            Err(error) => problem(400, error),
        },
        ("DELETE", ["faults"]) => {
            cluster.faults.clear();
            fine(&done)
        }
        ("POST", ["config"]) => match serde_json::from_slice::<ConfigChange>(body) {
            Ok(change) => {
                store.change_settings(|settings| change.apply(settings));
                fine(&done)
            }
            Err(error) => problem(400, error),
        },
        ("POST", ["labels", "forget"]) => match serde_json::from_slice::<LabelsToForget>(body) {
            Ok(which) => fine(&json!({ "forgotten": store.forget_labels(&which.database, which.label.as_deref()) })),
            Err(error) => problem(400, error),
        },
        ("POST", ["labels", "sweep"]) => {
            store.sweep_labels();
            fine(&done)
        }
        ("POST", ["down"]) => {
            switch.set(false).await;
            fine(&done)
        }
        ("POST", ["up"]) => {
            switch.set(true).await;
            fine(&done)
        }
        ("POST", ["backend", "restart"]) => {
            cluster.restart_backend();
            fine(&done)
        }
        ("POST", ["backend", state @ ("stopping" | "running")]) => {
            // Relaxed: a switch that stands for itself.
            cluster.shutting_down.store(*state == "stopping", Ordering::Relaxed);
            fine(&done)
        }
        ("POST", ["leader", number]) => match number.parse() {
            Ok(frontend) if frontend < cluster.frontends.len() => {
                cluster.leader.store(frontend, Ordering::Relaxed);
                fine(&done)
            }
            _ => problem(400, "no such frontend"),
        },
        _ => problem(404, "no such route"),
    }
}

fn rows(cluster: &Cluster, database: &str, table: &str) -> Answer {
    match cluster.shared.store.scan(database, table) {
        Ok((def, rows)) => {
            let columns: Vec<_> = def.columns.iter().map(|column| &column.name).collect();
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            let rows: Vec<Vec<_>> =
                rows.iter().map(|row| row.iter().map(|cell| cell.print().map(text)).collect()).collect();
            fine(&json!({ "columns": columns, "rows": rows }))
        }
        Err(error) => problem(404, error),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LabelsToForget {
    database: String,
    label: Option<String>,
}

/// Settings that can be changed while the server runs; those left out stay.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConfigChange {
    label_keep_max_num: Option<usize>,
    label_keep_max_second: Option<u64>,
    label_sweep_ms: Option<u64>,
    running_txn_max: Option<usize>,
    tablet_versions_max: Option<u64>,
    compaction_score_max: Option<u64>,
    publish_ms: Option<u64>,
    compacted_versions_per_second: Option<u64>,
    alter_ms: Option<u64>,
    flush_rows: Option<usize>,
    preserve_delete_order: Option<bool>,
    shared_data: Option<bool>,
    body_bytes_max: Option<u64>,
    json_bytes_max: Option<u64>,
    user: Option<String>,
    password: Option<String>,
    discard: Option<bool>,
    version: Option<String>,
}

impl ConfigChange {
    fn apply(self, settings: &mut Settings) {
        fn set<T>(value: Option<T>, place: &mut T) {
            if let Some(value) = value {
                *place = value;
            }
        }
        set(self.label_keep_max_num, &mut settings.label_keep_max_num);
        set(self.label_keep_max_second.map(Duration::from_secs), &mut settings.label_keep);
        set(self.label_sweep_ms.map(Duration::from_millis), &mut settings.label_sweep_every);
        set(self.running_txn_max, &mut settings.running_txn_max);
        set(self.tablet_versions_max, &mut settings.tablet_versions_max);
        set(self.compaction_score_max, &mut settings.compaction_score_max);
        set(self.publish_ms.map(Duration::from_millis), &mut settings.publish_takes);
        set(self.compacted_versions_per_second, &mut settings.compacted_versions_per_second);
        set(self.alter_ms.map(Duration::from_millis), &mut settings.alter_takes);
        set(self.flush_rows, &mut settings.flush_rows);
        set(self.preserve_delete_order, &mut settings.preserve_delete_order);
        set(self.shared_data, &mut settings.shared_data);
        set(self.body_bytes_max, &mut settings.body_bytes_max);
        set(self.json_bytes_max, &mut settings.json_bytes_max);
        set(self.user, &mut settings.user);
        set(self.password, &mut settings.password);
        set(self.discard, &mut settings.discard);
        set(self.version.and_then(|text| text.parse().ok()), &mut settings.release);
    }
}
