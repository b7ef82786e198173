//! Serves both ports until told to end.

use std::future::Future;
use std::io;
use std::time::Duration;

use axum::http::{HeaderValue, Response};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_health::pb::health_server::HealthServer;

use super::board::Board;
use super::control::Control;
use super::health::Health;
use super::listen::{Connection, Port};
use super::pb::control_service_server::ControlServiceServer;
use super::pb::health_service_server::HealthServiceServer;
use super::pb::metrics_service_server::MetricsServiceServer;
use super::pb::status_service_server::StatusServiceServer;
use super::views::Views;
use super::{Listeners, Options, http, pb};
use crate::engine::Handle;
use crate::status::Status;

/// Bytes of a request, at most. The longest sensible one names a few thousand tables.
const REQUEST_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a request's headers, at most.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// Calls and streams at once on one connection, at most.
const STREAMS_MAX: u32 = 64;
/// Streams a client may open and cancel before they were looked at; more end the connection.
const PENDING_RESETS_MAX: usize = 20;
/// Time without a sign of life after which a client is asked for one.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// Time a client has for that sign.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time until a call is answered, or a stream begins.
const CALL_MAX: Duration = Duration::from_secs(30);
/// Time clients have to take their last answers when the server ends.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Serving ended although nobody asked for it.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The gRPC server.
    #[error("serving gRPC")]
    Grpc(#[source] tonic::transport::Error),
    /// The HTTP server.
    #[error("serving HTTP")]
    Http(#[source] io::Error),
    /// The descriptors for reflection are not usable.
    #[error("reading the descriptors for gRPC reflection")]
    Reflection(#[source] tonic_reflection::server::Error),
}

/// Answers on both ports until `shutdown` is ready; streams then end and clients get two seconds for their last
/// answers.
///
/// # Errors
/// Serving ended by itself.
pub async fn serve(
    listeners: Listeners,
    options: Options,
    status: Status,
    handle: Handle,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    tracing::info!(grpc = %listeners.grpc_addr(), http = ?listeners.http_addr(), "control surface is up");
    let (closing, closed) = watch::channel(false);
    let board = Board::start(status, closed);
    let health = Health::new(board.clone(), options.lag_max);
    let grpc = serve_grpc(listeners.grpc, routes(&options, &board, &health, handle)?, board.clone());
    let http = serve_http(listeners.http, board, health);
    let servers = async { tokio::try_join!(grpc, http).map(|_| ()) };
    tokio::pin!(servers);
    tokio::select! {
        ended = &mut servers => return ended,
        () = shutdown => {}
    }
    closing.send_replace(true);
    // Who does not take its answer by then does not get it: an idle client must not hold up the end of the process.
    timeout(LAST_ANSWERS, servers).await.unwrap_or(Ok(()))
}

fn routes(options: &Options, board: &Board, health: &Health, handle: Handle) -> Result<Routes, ServeError> {
    let views = Views(board.clone());
    let control = Control::new(handle, board.clone());
    let mut routes = Routes::new(HealthServer::new(health.clone()).max_decoding_message_size(REQUEST_BYTES_MAX))
        .add_service(HealthServiceServer::new(health.clone()).max_decoding_message_size(REQUEST_BYTES_MAX))
        .add_service(ControlServiceServer::new(control).max_decoding_message_size(REQUEST_BYTES_MAX))
        .add_service(StatusServiceServer::new(views.clone()).max_decoding_message_size(REQUEST_BYTES_MAX))
        .add_service(MetricsServiceServer::new(views).max_decoding_message_size(REQUEST_BYTES_MAX));
    if options.reflection {
        let v1 = reflection().build_v1().map_err(ServeError::Reflection)?;
        // Older clients, such as grpcurl before 1.8.8, ask only this one.
        let v1alpha = reflection().build_v1alpha().map_err(ServeError::Reflection)?;
        routes = routes
            .add_service(v1.max_decoding_message_size(REQUEST_BYTES_MAX))
            .add_service(v1alpha.max_decoding_message_size(REQUEST_BYTES_MAX));
    }
    Ok(routes.into_axum_router().layer(axum::middleware::map_response(say_exhausted)).into())
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// A request above the size limit ends with RESOURCE_EXHAUSTED as gRPC asks (status codes, grpc.github.io); tonic
/// says OUT_OF_RANGE, which nothing else here does.
async fn say_exhausted<B>(mut response: Response<B>) -> Response<B> {
    const OUT_OF_RANGE: &str = "11";
    const RESOURCE_EXHAUSTED: HeaderValue = HeaderValue::from_static("8");
    if let Some(code) = response.headers_mut().get_mut("grpc-status")
        && code == OUT_OF_RANGE
    {
        *code = RESOURCE_EXHAUSTED;
    }
    response
}

async fn serve_grpc(port: Port, routes: Routes, board: Board) -> Result<(), ServeError> {
    let mut server = Server::builder()
        .timeout(CALL_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT));
    let router = server.add_routes(routes);
    router.serve_with_incoming_shutdown(connections(port), board.closed()).await.map_err(ServeError::Grpc)
}

fn connections(port: Port) -> ReceiverStream<Result<Connection, io::Error>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let handing_over = async {
            while let Ok(room) = sender.reserve().await {
                room.send(Ok(port.next().await));
            }
        };
        tokio::select! {
            () = handing_over => {}
            () = sender.closed() => {}
        }
    });
    ReceiverStream::new(receiver)
}

async fn serve_http(port: Option<Port>, board: Board, health: Health) -> Result<(), ServeError> {
    let Some(port) = port else { return Ok(()) };
    let closed = board.clone();
    axum::serve(port, http::router(board, health))
        .with_graceful_shutdown(async move { closed.closed().await })
        .await
        .map_err(ServeError::Http)
}
