//! HTTP for probes and scrapers. Only GET, nothing changes anything, one answer a connection.

use std::convert::Infallible;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};

use super::board::Board;
use super::exposition::{self, CONTENT_TYPE_OPENMETRICS};
use super::health::Health;

/// Says with every answer that it is the last on its connection: scrapers and probes come seldom, and an idle
/// connection would keep a place from the next one. Answers are true only now, so nobody may keep them.
const ONE_ANSWER: [(HeaderName, &str); 2] = [(CONNECTION, "close"), (CACHE_CONTROL, "no-store")];

/// What the handlers look at.
#[derive(Clone, Debug)]
struct Sources {
    board: Board,
    health: Health,
}

/// The routes.
pub(super) fn router(board: Board, health: Health) -> Router {
    Router::new()
        .route("/metrics", only(get(metrics)))
        .route("/livez", only(get(|from: State<Sources>| probe(from, "liveness"))))
        .route("/readyz", only(get(|from: State<Sources>| probe(from, "control"))))
        .route("/replz", only(get(|from: State<Sources>| probe(from, "replication"))))
        .fallback(|| async { text(StatusCode::NOT_FOUND, "not found; there are /metrics, /livez, /readyz, /replz") })
        .with_state(Sources { board, health })
}

/// The route with an answer in words for other methods.
fn only(route: MethodRouter<Sources, Infallible>) -> MethodRouter<Sources, Infallible> {
    route.fallback(|| async { text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here") })
}

async fn probe(State(from): State<Sources>, name: &'static str) -> Response {
    match from.health.answer(name) {
        Some(Ok(())) => text(StatusCode::OK, "ok"),
        Some(Err(why)) => text(StatusCode::SERVICE_UNAVAILABLE, &why),
        None => text(StatusCode::NOT_FOUND, "no such health name"),
    }
}

async fn metrics(State(from): State<Sources>) -> Response {
    match exposition::text(&from.board.now(), &from.health) {
        Ok(body) => (ONE_ANSWER, [(CONTENT_TYPE, CONTENT_TYPE_OPENMETRICS)], body).into_response(),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written"),
    }
}

/// One line. Line breaks inside are shown as spaces, so that it stays one.
fn text(status: StatusCode, line: &str) -> Response {
    let mut body = line.replace(['\r', '\n'], " ");
    body.push('\n');
    (status, ONE_ANSWER, body).into_response()
}
