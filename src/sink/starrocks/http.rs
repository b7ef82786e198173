//! One HTTP exchange at a time over libcurl, on threads that may block.
//!
//! In: where to, what, and perhaps a body that is made while it is sent. Out: status, `Location` and the start of the
//! answer, or what broke and whether a byte of the body had gone out by then. Always: redirects are not followed here,
//! proxies from the environment are not used, https is verified, the answer is cut at 64 KiB, nothing waits for ever.
//! An exchange whose caller is gone ends within a second. Not here: who may be talked to (`redirect`).

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use curl::easy::{Auth, Easy2, Handler, HttpVersion, List, ReadError, SeekResult, WriteError};
use secrecy::{ExposeSecret, SecretString};

use super::answer::{ANSWER_MAX, Answer};
use super::encode::{Body, EncodeError};
use super::options::Frontend;
use crate::failpoint;

/// Where distributions keep their root certificates.
const SYSTEM_CA: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Longest time in which an upload may not move.
const UPLOAD_IDLE: Duration = Duration::from_secs(120);
/// Bytes that libcurl takes from the body at once.
const UPLOAD_PIECE: usize = 256 << 10;
/// Longest `Location` kept, in bytes.
const LOCATION_MAX: usize = 8 << 10;

/// What to send.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: Method,
    /// Path and query, percent-encoded.
    pub(super) path: &'a str,
    /// Whole header lines.
    pub(super) headers: &'a [String],
    pub(super) credentials: Option<(&'a str, &'a SecretString)>,
    /// Longest time for everything.
    pub(super) total: Duration,
}

/// How to send it.
#[derive(Debug)]
pub(super) enum Method {
    Get,
    Post,
    /// PUT without a body.
    Put,
    /// PUT with a body. It is given back in the connection when the exchange is over.
    Upload(Box<Body>),
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u32,
    pub(super) location: Option<String>,
    /// The answer, at most its first 64 KiB.
    pub(super) body: Vec<u8>,
    /// Whether any byte of a request body had been handed to the connection.
    pub(super) body_begun: bool,
}

/// Why nothing useful came back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SendError {
    /// A row could not be encoded; the upload was broken off, so that the server loads nothing.
    #[error("{0}")]
    Encode(EncodeError),
    /// The server's certificate was not accepted. Nothing was sent.
    #[error("{0}")]
    Tls(String),
    /// The connection.
    #[error("{text}")]
    Transport { text: String, body_begun: bool },
}

/// Idle handles, each with the connections it keeps alive.
#[derive(Debug)]
pub(super) struct Pool {
    idle: Mutex<Vec<Easy2<Exchange>>>,
    connect_timeout: Duration,
    ca: Option<PathBuf>,
}

/// A handle in use.
#[derive(Debug)]
pub(super) struct Connection<'a> {
    easy: Easy2<Exchange>,
    pool: &'a Pool,
    cancelled: Arc<AtomicBool>,
}

/// Sets its flag when dropped.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        // Relaxed: the flag alone matters, it publishes nothing else.
        self.0.store(true, Relaxed);
    }
}

impl Pool {
    pub(super) fn new(connect_timeout: Duration, ca: Option<PathBuf>) -> Pool {
        let system = || SYSTEM_CA.iter().map(PathBuf::from).find(|path| path.exists());
        Pool { idle: Mutex::new(Vec::new()), connect_timeout, ca: ca.or_else(system) }
    }

    /// Whether there are root certificates to verify https with.
    pub(super) fn can_verify(&self) -> bool {
        self.ca.is_some()
    }

    /// Runs `work` on a thread that may block. If the caller goes away, its exchange is broken off.
    pub(super) async fn run<T, F>(self: &Arc<Self>, work: F) -> T
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection<'_>) -> T + Send + 'static,
    {
        let cancelled = Arc::new(AtomicBool::new(false));
        let guard = CancelOnDrop(cancelled.clone());
        let pool = self.clone();
        let job = tokio::task::spawn_blocking(move || {
            let idle = pool.lock().pop();
            let easy = idle.unwrap_or_else(|| Easy2::new(Exchange::default()));
            let mut connection = Connection { easy, pool: &pool, cancelled };
            let done = work(&mut connection);
            let easy = connection.easy;
            pool.lock().push(easy);
            done
        });
        let done = job.await;
        drop(guard);
        match done.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(done) => done,
            Err(Ok(panic)) => resume_unwind(panic),
            // Only a runtime that is being shut down cancels such a job, and it will not look at us again.
            Err(Err(_)) => std::future::pending().await,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Easy2<Exchange>>> {
        // A push or pop is one call, so a panic elsewhere cannot leave the list half-written.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection<'_> {
    /// Sends and receives.
    ///
    /// # Errors
    /// [`SendError`]. An answer that came although sending broke is no error.
    pub(super) fn send(&mut self, to: &Frontend, request: Request<'_>) -> Result<Response, SendError> {
        let (method, upload) = match request.method {
            Method::Get => ("GET", None),
            Method::Post => ("POST", None),
            Method::Put => ("PUT", None),
            Method::Upload(body) => ("PUT", Some(*body)),
        };
        *self.easy.get_mut() = Exchange { body: upload, cancelled: self.cancelled.clone(), ..Exchange::default() };
        let told = self
            .tell_place(to, request.path, request.total)
            .and_then(|()| self.tell_request(method, request.headers, request.credentials));
        let performed = told.and_then(|()| self.easy.perform());
        self.outcome(performed)
    }

    /// The body of the last upload, as far as it was read.
    pub(super) fn take_body(&mut self) -> Option<Body> {
        self.easy.get_mut().body.take()
    }

    /// Forgets the last request; where the next one goes, how, and how long it may take.
    fn tell_place(&mut self, to: &Frontend, path: &str, total: Duration) -> Result<(), curl::Error> {
        let easy = &mut self.easy;
        // Keeps the open connections.
        easy.reset();
        easy.url(&format!("{}://{to}{path}", if to.https { "https" } else { "http" }))?;
        easy.path_as_is(true)?;
        easy.http_version(HttpVersion::V11)?;
        // An empty proxy switches those of the environment off.
        easy.proxy("")?;
        easy.noproxy("*")?;
        easy.follow_location(false)?;
        easy.signal(false)?;
        easy.tcp_nodelay(true)?;
        easy.tcp_keepalive(true)?;
        easy.connect_timeout(self.pool.connect_timeout)?;
        easy.timeout(total)?;
        easy.progress(true)?;
        if to.https {
            if let Some(ca) = &self.pool.ca {
                easy.cainfo(ca)?;
            }
            easy.ssl_verify_peer(true)?;
            easy.ssl_verify_host(true)?;
        }
        Ok(())
    }

    /// What is sent.
    fn tell_request(
        &mut self,
        method: &str,
        headers: &[String],
        credentials: Option<(&str, &SecretString)>,
    ) -> Result<(), curl::Error> {
        let upload = self.easy.get_ref().body.is_some();
        let easy = &mut self.easy;
        if let Some((user, password)) = credentials {
            let mut basic = Auth::new();
            basic.basic(true);
            easy.http_auth(&basic)?;
            easy.username(user)?;
            easy.password(password.expose_secret())?;
        }
        let mut list = List::new();
        for header in headers {
            list.append(header)?;
        }
        if upload {
            easy.upload(true)?;
            easy.upload_buffer_size(UPLOAD_PIECE)?;
            list.append("Transfer-Encoding: chunked")?;
            // libcurl would add its own for large bodies.
            list.append("Expect:")?;
        } else {
            easy.custom_request(method)?;
            list.append("Content-Length: 0")?;
        }
        easy.http_headers(list)
    }

    fn outcome(&mut self, performed: Result<(), curl::Error>) -> Result<Response, SendError> {
        let text = performed.as_ref().err().map(described);
        let exchange = self.easy.get_mut();
        let response = Response {
            status: exchange.status,
            location: exchange.location.take(),
            body: std::mem::take(&mut exchange.answer),
            body_begun: exchange.begun,
        };
        if let Some(error) = exchange.failed.take() {
            return Err(SendError::Encode(error));
        }
        let Err(error) = performed else { return Ok(response) };
        // The server may answer and close before it has read the whole body; what it said counts.
        if response.status >= 300 || Answer::read(&response.body).is_some() {
            return Ok(response);
        }
        let text = match exchange.stalled {
            true => "the upload did not move".to_owned(),
            false => text.unwrap_or_default(),
        };
        match error.is_peer_failed_verification() || error.is_ssl_cacert_badfile() || error.is_ssl_certproblem() {
            true => Err(SendError::Tls(text)),
            false => Err(SendError::Transport { text, body_begun: response.body_begun }),
        }
    }
}

/// libcurl's words. They may name a host, never a credential.
fn described(error: &curl::Error) -> String {
    match error.extra_description() {
        Some(extra) if !extra.is_empty() => format!("{} ({extra})", error.description()),
        _ => error.description().to_owned(),
    }
}

/// What libcurl calls back while an exchange runs.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    body: Option<Body>,
    failed: Option<EncodeError>,
    begun: bool,
    status: u32,
    location: Option<String>,
    answer: Vec<u8>,
    cancelled: Arc<AtomicBool>,
    /// Bytes sent and when that number last grew.
    moved: Option<(u64, Instant)>,
    stalled: bool,
}

impl Handler for Exchange {
    fn header(&mut self, data: &[u8]) -> bool {
        let line = String::from_utf8_lossy(data);
        let line = line.trim_end();
        if let Some(rest) = line.strip_prefix("HTTP/") {
            let status = rest.split_ascii_whitespace().nth(1).and_then(|status| status.parse().ok());
            // An interim answer is none.
            self.status = status.filter(|status| *status >= 200).unwrap_or(0);
            if self.begun && self.status != 0 {
                failpoint::hit("after_send");
            }
            self.location = None;
        } else if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("location")
            && value.len() <= LOCATION_MAX
        {
            self.location = Some(value.trim().to_owned());
        }
        true
    }

    fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        let room = ANSWER_MAX - self.answer.len();
        self.answer.extend_from_slice(&data[..data.len().min(room)]);
        // Taking less than was offered ends the exchange.
        Ok(data.len().min(room))
    }

    fn read(&mut self, data: &mut [u8]) -> Result<usize, ReadError> {
        let Some(body) = &mut self.body else { return Ok(0) };
        // A complete answer to a body that is still on its way: the rest is not wanted. Ending it would be a lie.
        if !body.is_done() && Answer::read(&self.answer).is_some() {
            return Err(ReadError::Abort);
        }
        if self.begun {
            failpoint::hit("mid_body");
        }
        match body.read(data) {
            Ok(length) => {
                self.begun |= length > 0;
                Ok(length)
            }
            Err(error) => {
                self.failed = Some(error);
                Err(ReadError::Abort)
            }
        }
    }

    fn seek(&mut self, whence: std::io::SeekFrom) -> SeekResult {
        // A kept connection that the server had closed: libcurl sends the same body again over a new one. The label
        // makes that safe.
        match (&mut self.body, whence) {
            (Some(body), std::io::SeekFrom::Start(0)) => {
                body.rewind();
                SeekResult::Ok
            }
            _ => SeekResult::Fail,
        }
    }

    fn progress(&mut self, _: f64, _: f64, _: f64, sent: f64) -> bool {
        // Relaxed: see `CancelOnDrop`.
        if self.cancelled.load(Relaxed) {
            return false;
        }
        let uploading = self.body.as_ref().is_some_and(|body| !body.is_done());
        let now = Instant::now();
        match self.moved {
            Some((before, since)) if uploading && before == sent as u64 => {
                self.stalled = now.duration_since(since) > UPLOAD_IDLE;
                !self.stalled
            }
            _ => {
                self.moved = Some((sent as u64, now));
                true
            }
        }
    }
}
