//! The frontend's HTTP face: answers from the head alone, redirects loads, and closes every connection.
//!
//! Order of checks and texts: StarRocks source, `LoadAction.java`, `RestBaseAction.java`, `GetStreamLoadState.java`.

use std::io;
use std::sync::Arc;

use super::{Connection, Request, Response};
use crate::Shared;
use crate::fault::Action;
use crate::store::TxnState;

/// Serves one connection: one request, one answer, closed.
pub(crate) async fn serve(mut connection: Connection, shared: Arc<Shared>) -> io::Result<()> {
    let Some(request) = connection.request().await? else { return Ok(()) };
    let mut response = answer(&request, &shared);
    response.headers.push(("Connection", "close".to_string()));
    connection.answer(&response).await?;
    connection.close().await;
    Ok(())
}

fn answer(request: &Request, shared: &Shared) -> Response {
    let segments = request.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (request.method.as_str(), segments.as_slice()) {
        ("GET", ["api", "health"]) => {
            let backends = shared.store.settings().backends;
            let body =
                format!("{{\"online_backend_num\":{backends},\"total_backend_num\":{backends},\"status\":\"OK\"}}");
            Response::json(200, body)
        }
        ("GET", ["api", "v2", "feature"]) => {
            let version = shared.store.settings().release.version();
            Response::json(200, format!("{{\"version\":\"{version}\",\"features\":[],\"status\":\"OK\"}}"))
        }
        ("PUT", ["api", database, table, "_stream_load"]) => load(request, shared, database, table),
        ("GET", ["api", database, "get_load_state"]) => {
            authorized(request, shared, || state(request, shared, database))
        }
        ("POST", ["api", database, _, "_cancel"]) => authorized(request, shared, || cancel(request, shared, database)),
        _ => Response { status: 404, headers: Vec::new(), body: String::new() },
    }
}

fn authorized(request: &Request, shared: &Shared, then: impl FnOnce() -> Response) -> Response {
    let settings = shared.store.settings();
    match request.credentials() {
        Some((user, password)) if user == settings.user && password == settings.password => then(),
        Some((user, _)) => unauthorized(&format!("Access denied for {user}@127.0.0.1")),
        None => unauthorized("Need auth information."),
    }
}

fn unauthorized(text: &str) -> Response {
    let body = format!("{{\"status\":\"FAILED\",\"code\":\"1\",\"msg\":\"{text}\",\"message\":\"{text}\"}}");
    let mut response = Response::json(401, body);
    response.headers.push(("WWW-Authenticate", "Basic realm=\"\"".to_string()));
    response
}

/// A refusal by the frontend: HTTP 200, upper-case status, two keys, two blanks of indent.
fn refused(text: &str) -> Response {
    let body = serde_json::json!({ "Status": "FAILED", "Message": format!("class com.starrocks.common.DdlException: {text}") });
    Response::json(200, serde_json::to_string_pretty(&body).unwrap_or_default())
}

fn load(request: &Request, shared: &Shared, database: &str, table: &str) -> Response {
    authorized(request, shared, || {
        let expects = request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"));
        if request.version >= 1 && !expects {
            return refused("There is no 100-continue header");
        }
        if database.is_empty() {
            return refused("No database selected.");
        }
        if table.is_empty() {
            return refused("No table selected.");
        }
        if shared.store.settings().backends == 0 {
            return refused("No backend alive.");
        }
        match shared.faults.strike(table, true) {
            Some(Action::Http(status, body)) => Response { status, headers: Vec::new(), body },
            Some(Action::Location(location)) => redirect(location),
            _ => {
                let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
                redirect(format!("http://127.0.0.1:{}{}{query}", shared.ports.be_http, request.path))
            }
        }
    })
}

fn redirect(location: String) -> Response {
    let mut headers = vec![("Content-Type", "text/html".to_string())];
    if !location.is_empty() {
        headers.push(("Location", location));
    }
    Response { status: 307, headers, body: String::new() }
}

fn state(request: &Request, shared: &Shared, database: &str) -> Response {
    let failed = |text: &str| {
        let body = serde_json::json!({ "state": null, "reason": null, "status": "FAILED", "code": "1", "msg": text, "message": text });
        Response::json(200, body.to_string())
    };
    let Some(label) = request.parameter("label").filter(|label| !label.is_empty()) else {
        return failed("No label selected.");
    };
    if !shared.store.has_database(database) {
        return failed(&format!("unknown database, database={database}"));
    }
    let known = shared.store.label_state(database, &label);
    let state = known.state.map_or("UNKNOWN", TxnState::name);
    let body = serde_json::json!({
        "state": state, "reason": known.reason, "status": "OK", "code": "0", "msg": "Success", "message": "OK"
    });
    Response::json(200, body.to_string())
}

fn cancel(request: &Request, shared: &Shared, database: &str) -> Response {
    let label = request.parameter("label").unwrap_or_default();
    let known = shared.store.label_state(database, &label);
    let cancelled = match (known.txn_id, known.state) {
        (Some(txn_id), Some(TxnState::Prepare | TxnState::Prepared)) => {
            shared.store.abort(database, txn_id, "User Cancelled")
        }
        _ => false,
    };
    let (status, text) = match cancelled {
        true => ("OK", "Success".to_string()),
        false => ("FAILED", format!("class com.starrocks.common.UserException: label {label} is not running")),
    };
    let code = if cancelled { "0" } else { "1" };
    let body = serde_json::json!({ "status": status, "code": code, "msg": text, "message": text });
    Response::json(200, body.to_string())
}
