//! The frontend's HTTP port.
//!
//! In: heads of requests. Out: 307 to a backend or the leader, or an answer of its own.
//! Always: no body is read (StarRocks source, `LoadAction.java`, `RestBaseAction.java`, `GetStreamLoadState.java`).
//! Start at `handle`.

use std::sync::atomic::Ordering;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::answer::{Fields, frontend_failed, redirect, rest_failed, unauthorized};
use super::{Answer, Cluster, Connection, Head, Reply, transaction};
use crate::fault::{Action, Call, Place};

/// `URI.toASCIIString` leaves ASCII alone that is legal in a path; the request's own text is legal already.
const NON_ASCII: &AsciiSet = &CONTROLS.add(b' ');

/// Answers one request.
pub(super) async fn handle(cluster: &Cluster, index: usize, head: &Head, peer: &Connection) -> Reply {
    let path: Vec<&str> = head.path.iter().map(String::as_str).collect();
    match (head.method.as_str(), path.as_slice()) {
        ("GET", ["api", "health"]) => health().into(),
        ("GET", ["api", "v2", "feature"]) => feature(cluster).into(),
        ("PUT", ["api", database, table, "_stream_load"]) => {
            stream_load(cluster, index, head, peer, database, table).await
        }
        ("GET", ["api", database, "get_load_state"]) => {
            let action = cluster.fault(Call::LoadState, Place::Fe, None);
            if let Some(action) = &action
                && let Err(reply) = cluster.common_fault(action, Place::Fe).await
            {
                return reply;
            }
            load_state(cluster, index, head, peer, database).into()
        }
        ("POST", ["api", database, table, "_cancel"]) => cancel(cluster, index, head, peer, database, table).into(),
        ("PUT" | "POST", ["api", "transaction", op]) => transaction::frontend(cluster, index, head, peer, op).await,
        ("POST", ["api", "v1", "catalogs", ..]) => {
            Answer::new(404, Some("text/plain"), "starrocks-standin does not model SQL over HTTP").closing().into()
        }
        _ => Answer::new(404, Some("text/html"), "Not Found").closing().into(),
    }
}

fn health() -> Answer {
    let fields = Fields::default().number("online_backend_num", 1).number("total_backend_num", 1).text("status", "OK");
    Answer::json(200, fields.compact())
}

fn feature(cluster: &Cluster) -> Answer {
    let version = cluster.shared.store.settings().release.version();
    let version = serde_json::Value::from(version);
    Answer::json(200, format!("{{\"version\":{version},\"features\":[],\"status\":\"OK\"}}"))
}

async fn stream_load(
    cluster: &Cluster,
    index: usize,
    head: &Head,
    peer: &Connection,
    database: &str,
    table: &str,
) -> Reply {
    let action = cluster.fault(Call::StreamLoad, Place::Fe, Some(table));
    if let Some(action) = &action
        && let Err(reply) = cluster.common_fault(action, Place::Fe).await
    {
        return reply;
    }
    if let Some(text) = cluster.refused_user(head, peer) {
        return unauthorized(&text).closing().into();
    }
    if head.minor_version >= 1 && !head.expects_continue() {
        return ddl_failed("There is no 100-continue header").into();
    }
    // The leader plans merged loads.
    if head.header("enable_merge_commit").eq_ignore_ascii_case("true")
        && let Some(answer) = to_leader(cluster, index, head)
    {
        return answer.into();
    }
    if database.is_empty() {
        return ddl_failed("No database selected.").into();
    }
    if table.is_empty() {
        return ddl_failed("No table selected.").into();
    }
    // The frontend that is asked redirects, leader or not.
    to_backend(cluster, head, action.as_ref(), cluster.frontends.get(index).copied()).into()
}

fn ddl_failed(text: &str) -> Answer {
    frontend_failed(&format!("class com.starrocks.common.DdlException: {text}")).closing()
}

/// 307 to the backend, bent by a fault.
pub(super) fn to_backend(cluster: &Cluster, head: &Head, action: Option<&Action>, own_port: Option<u16>) -> Answer {
    let port = cluster.shared.ports.be_http;
    match action {
        Some(Action::WrongHost { host }) if host.contains(':') => redirect(Some(location(host, head))),
        Some(Action::WrongHost { host }) => redirect(Some(location(&format!("{host}:{port}"), head))),
        Some(Action::RedirectLoop) => {
            redirect(Some(location(&format!("{}:{}", cluster.host, own_port.unwrap_or(port)), head)))
        }
        Some(Action::NoLocation) => redirect(None),
        Some(Action::ClosedPort) => redirect(Some(location(&format!("{}:{}", cluster.host, closed_port()), head))),
        _ => redirect(Some(location(&format!("{}:{port}", cluster.host), head))),
    }
}

/// Always `http`, the request's path and query, no credentials.
fn location(authority: &str, head: &Head) -> String {
    format!("http://{authority}{}", utf8_percent_encode(&head.target, NON_ASCII))
}

/// A port nobody listens on: the system gives one out and takes it back.
fn closed_port() -> u16 {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    free.map_or(1, |address| address.port())
}

/// 307 to the leader, if this frontend is not it.
pub(super) fn to_leader(cluster: &Cluster, index: usize, head: &Head) -> Option<Answer> {
    // Relaxed: a number that stands for itself.
    if index == cluster.leader.load(Ordering::Relaxed) {
        return None;
    }
    Some(redirect(Some(location(&format!("{}:{}", cluster.host, cluster.leader_port()), head))))
}

fn load_state(cluster: &Cluster, index: usize, head: &Head, peer: &Connection, database: &str) -> Answer {
    if let Some(text) = cluster.refused_user(head, peer) {
        return unauthorized(&text);
    }
    if let Some(answer) = to_leader(cluster, index, head) {
        return answer;
    }
    let label = head.parameter("label");
    let store = &cluster.shared.store;
    let problem = match () {
        () if database.is_empty() => Some("No database selected.".to_string()),
        () if label.is_empty() => Some("No label selected.".to_string()),
        () if !store.has_database(database) => Some(format!("unknown database, database={database}")),
        () => None,
    };
    if let Some(text) = problem {
        return rest_failed(200, &text);
    }
    let state = store.label_state(database, &label);
    let fields = Fields::default()
        .text("state", state.state.map_or("UNKNOWN", |state| state.name()))
        .text("reason", &state.reason)
        .text("status", "OK")
        .text("code", "0")
        .text("msg", "Success")
        .text("message", "OK");
    Answer::json(200, fields.compact())
}

fn cancel(cluster: &Cluster, index: usize, head: &Head, peer: &Connection, database: &str, table: &str) -> Answer {
    if let Some(text) = cluster.refused_user(head, peer) {
        return unauthorized(&text);
    }
    if let Some(answer) = to_leader(cluster, index, head) {
        return answer;
    }
    let store = &cluster.shared.store;
    let label = head.parameter("label");
    let txn_id = store.label_state(database, &label).txn_id;
    let named = store.table(database, table).is_ok();
    let cancelled = named && txn_id.is_some_and(|txn_id| store.abort(database, txn_id, "user cancel"));
    if cancelled {
        let ok = Fields::default().text("status", "OK").text("code", "0").text("msg", "Success").text("message", "OK");
        Answer::json(200, ok.compact())
    } else {
        rest_failed(200, "stream load task cannot be cancelled: no running load has this label")
    }
}
