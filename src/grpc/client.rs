//! A client for our own command line.
//!
//! Always: every call ends in time, answered or not. Start at [`connect`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::failure;
use super::pb;
use super::pb::control_service_client::ControlServiceClient;
use super::pb::metrics_service_client::MetricsServiceClient;
use super::pb::status_service_client::StatusServiceClient;

/// Time for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// Time for an answer from memory.
const LOOK_MAX: Duration = Duration::from_secs(3);
/// Time for a command: longer than the server gives the engine to accept it.
const COMMAND_MAX: Duration = Duration::from_secs(10);
/// Bytes of an answer, at most; a status of ten thousand tables fits.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing listens there, or it does not answer in time.
    #[error("no sluicegate answers at {addr}")]
    Unreachable {
        /// The address asked.
        addr: SocketAddr,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The request does not fit now.
    #[error("{message}")]
    Refused {
        /// Stable, upper case, for programs: `TOO_EARLY`.
        code: String,
        /// One sentence.
        message: String,
    },
    /// The server failed to answer.
    #[error("the server answered {code}: {message}")]
    Failed {
        /// The gRPC code's name.
        code: String,
        /// One sentence.
        message: String,
    },
}

/// What a health name answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It works.
    Serving,
    /// It does not.
    NotServing,
    /// The server knows no such name.
    Unknown,
}

/// A command that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Whether it changed anything.
    pub changed: bool,
    /// The generation after it.
    pub generation: u64,
    /// One sentence for a person.
    pub message: String,
}

/// A connection to a running sluicegate.
#[derive(Clone, Debug)]
pub struct Client {
    addr: SocketAddr,
    channel: Channel,
}

/// Statuses as they come.
#[derive(Debug)]
pub struct StatusWatch {
    addr: SocketAddr,
    stream: Streaming<pb::WatchStatusResponse>,
}

/// Connects. An address to listen on everywhere is taken as this machine's own.
///
/// # Errors
/// [`ClientError::Unreachable`], within a second.
pub async fn connect(addr: SocketAddr) -> Result<Client, ClientError> {
    let addr = reachable(addr);
    let unreachable = |source: tonic::transport::Error| ClientError::Unreachable { addr, source: source.into() };
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).map_err(unreachable)?;
    match tokio::time::timeout(CONNECT_MAX, endpoint.connect()).await {
        Ok(Ok(channel)) => Ok(Client { addr, channel }),
        Ok(Err(error)) => Err(unreachable(error)),
        Err(elapsed) => Err(ClientError::Unreachable { addr, source: elapsed.into() }),
    }
}

fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

impl Client {
    /// Asks `grpc.health.v1` for a name.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn health(&mut self, service: &str) -> Result<Health, ClientError> {
        let request = within(LOOK_MAX, HealthCheckRequest { service: service.to_owned() });
        match HealthClient::new(self.channel.clone()).check(request).await {
            Ok(response) if response.get_ref().status() == ServingStatus::Serving => Ok(Health::Serving),
            Ok(_) => Ok(Health::NotServing),
            Err(status) if status.code() == Code::NotFound => Ok(Health::Unknown),
            Err(status) => Err(self.error(status)),
        }
    }

    /// The status now.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn status(&mut self) -> Result<pb::PipelineStatus, ClientError> {
        let request = within(LOOK_MAX, pb::GetStatusRequest {});
        let response = self.status_service().get_status(request).await.map_err(|status| self.error(status))?;
        Ok(response.into_inner().status.unwrap_or_default())
    }

    /// The status now and then again at this interval or sooner.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn watch_status(&mut self, interval: Duration) -> Result<StatusWatch, ClientError> {
        let interval_ms = u32::try_from(interval.as_millis()).unwrap_or(u32::MAX);
        // No time limit: it would end the stream too.
        let request = tonic::Request::new(pb::WatchStatusRequest { interval_ms });
        let response = self.status_service().watch_status(request).await.map_err(|status| self.error(status))?;
        Ok(StatusWatch { addr: self.addr, stream: response.into_inner() })
    }

    /// The numbers now.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn metrics(&mut self) -> Result<pb::Metrics, ClientError> {
        let request = within(LOOK_MAX, pb::GetMetricsRequest {});
        let mut service = MetricsServiceClient::new(self.channel.clone());
        let response = service.get_metrics(request).await.map_err(|status| self.error(status))?;
        Ok(response.into_inner().metrics.unwrap_or_default())
    }

    /// Stops reading.
    ///
    /// # Errors
    /// It was refused, or there is no answer.
    pub async fn pause(&mut self) -> Result<Accepted, ClientError> {
        let request = within(COMMAND_MAX, pb::PauseRequest::default());
        let response = self.control_service().pause(request).await.map_err(|status| self.error(status))?;
        Ok(accepted(response.into_inner().accepted))
    }

    /// Reads again.
    ///
    /// # Errors
    /// It was refused, or there is no answer.
    pub async fn resume(&mut self) -> Result<Accepted, ClientError> {
        let request = within(COMMAND_MAX, pb::ResumeRequest::default());
        let response = self.control_service().resume(request).await.map_err(|status| self.error(status))?;
        Ok(accepted(response.into_inner().accepted))
    }

    /// Ends the process within its shutdown grace.
    ///
    /// # Errors
    /// It was refused, or there is no answer.
    pub async fn stop(&mut self) -> Result<Accepted, ClientError> {
        let request = within(COMMAND_MAX, pb::StopRequest::default());
        let response = self.control_service().stop(request).await.map_err(|status| self.error(status))?;
        Ok(accepted(response.into_inner().accepted))
    }

    /// Loads everything that was read however long it takes, then ends the process.
    ///
    /// # Errors
    /// It was refused, or there is no answer.
    pub async fn drain_and_stop(&mut self) -> Result<Accepted, ClientError> {
        let request = within(COMMAND_MAX, pb::DrainAndStopRequest::default());
        let response = self.control_service().drain_and_stop(request).await.map_err(|status| self.error(status))?;
        Ok(accepted(response.into_inner().accepted))
    }

    /// Copies existing rows of these tables, of all if there are none.
    ///
    /// # Errors
    /// It was refused, or there is no answer.
    pub async fn start_snapshot(&mut self, tables: Vec<String>) -> Result<Accepted, ClientError> {
        let request = within(COMMAND_MAX, pb::StartSnapshotRequest { guard: None, tables });
        let response = self.control_service().start_snapshot(request).await.map_err(|status| self.error(status))?;
        Ok(accepted(response.into_inner().accepted))
    }

    /// Reads no further existing rows.
    ///
    /// # Errors
    /// It was refused, or there is no answer.
    pub async fn pause_snapshot(&mut self) -> Result<Accepted, ClientError> {
        let request = within(COMMAND_MAX, pb::PauseSnapshotRequest::default());
        let response = self.control_service().pause_snapshot(request).await.map_err(|status| self.error(status))?;
        Ok(accepted(response.into_inner().accepted))
    }

    /// Reads existing rows again.
    ///
    /// # Errors
    /// It was refused, or there is no answer.
    pub async fn resume_snapshot(&mut self) -> Result<Accepted, ClientError> {
        let request = within(COMMAND_MAX, pb::ResumeSnapshotRequest::default());
        let response = self.control_service().resume_snapshot(request).await.map_err(|status| self.error(status))?;
        Ok(accepted(response.into_inner().accepted))
    }

    /// Ends copies of these tables, of all that are being copied if there are none.
    ///
    /// # Errors
    /// It was refused, or there is no answer.
    pub async fn cancel_snapshot(&mut self, tables: Vec<String>) -> Result<Accepted, ClientError> {
        let request = within(COMMAND_MAX, pb::CancelSnapshotRequest { guard: None, tables });
        let response = self.control_service().cancel_snapshot(request).await.map_err(|status| self.error(status))?;
        Ok(accepted(response.into_inner().accepted))
    }

    fn control_service(&self) -> ControlServiceClient<Channel> {
        ControlServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    fn status_service(&self) -> StatusServiceClient<Channel> {
        StatusServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    fn error(&self, status: Status) -> ClientError {
        error(self.addr, status)
    }
}

impl StatusWatch {
    /// The next status; `None` once the server has ended the stream.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn next(&mut self) -> Result<Option<pb::PipelineStatus>, ClientError> {
        let message = self.stream.message().await.map_err(|status| error(self.addr, status))?;
        Ok(message.map(|response| response.status.unwrap_or_default()))
    }
}

fn within<T>(time: Duration, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(time);
    request
}

fn accepted(accepted: Option<pb::Accepted>) -> Accepted {
    let accepted = accepted.unwrap_or_default();
    Accepted { changed: accepted.changed, generation: accepted.generation, message: accepted.message }
}

fn error(addr: SocketAddr, status: Status) -> ClientError {
    if let Some(code) = failure::reason(&status) {
        return ClientError::Refused { code, message: status.message().to_owned() };
    }
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => {
            ClientError::Unreachable { addr, source: Box::new(status) }
        }
        code => ClientError::Failed { code: format!("{code:?}"), message: status.message().to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_everywhere_is_reached_here() {
        for (listens, want) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("10.0.0.1:1", "10.0.0.1:1"),
            ("[fe80::1]:1", "[fe80::1]:1"),
        ] {
            let listens: SocketAddr = listens.parse().expect("an address");
            assert_eq!(reachable(listens).to_string(), want);
        }
    }
}
