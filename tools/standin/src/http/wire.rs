//! HTTP/1.1 by hand: heads, bodies, answers, and connections that end as badly as ordered.
//!
//! Always: a body is read only when asked for; a connection closed with a body unread is reset by the kernel, as
//! StarRocks' frontend does to clients that push their body at it.
//! Not here: what a request means.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MAX_HEADERS: usize = 100;
const READ_BYTES: usize = 1 << 20;
/// Longest line of a chunked body's framing: a size with its extensions, or a trailer.
const CHUNK_LINE_BYTES_MAX: usize = 8 << 10;
/// Most trailers behind a chunked body.
const TRAILERS_MAX: usize = 100;

/// A request without its body.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) method: String,
    /// Path and query as sent.
    pub(crate) target: String,
    /// Segments of the path, decoded.
    pub(crate) path: Vec<String>,
    query: Vec<(String, String)>,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    /// 1 for HTTP/1.1.
    pub(crate) minor_version: u8,
}

/// Most bytes of a head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    /// Of the first line.
    pub(crate) line: usize,
    /// Of all headers.
    pub(crate) headers: usize,
}

impl HeadLimits {
    fn check(self, head: &Head, bytes: usize) -> io::Result<()> {
        // Method, path and `HTTP/1.1` with a blank between them.
        let line = head.method.len() + head.target.len() + 10;
        if line > self.line || bytes.saturating_sub(line) > self.headers { Err(too_long()) } else { Ok(()) }
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the head is too long")
}

/// How a request says its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
}

impl Head {
    /// A header's text; empty if absent. Bytes that are not UTF-8 are replaced.
    pub(crate) fn header(&self, name: &str) -> String {
        self.headers.iter().find(|(key, _)| key == name).map_or_else(String::new, |(_, value)| value.clone())
    }

    /// A parameter of the query; empty if absent.
    pub(crate) fn parameter(&self, name: &str) -> String {
        self.query.iter().find(|(key, _)| key == name).map_or_else(String::new, |(_, value)| value.clone())
    }

    /// All headers, for comparing two requests.
    pub(crate) fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    pub(crate) fn expects_continue(&self) -> bool {
        self.header("expect").eq_ignore_ascii_case("100-continue")
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header("content-length").parse().ok()
    }

    pub(crate) fn framing(&self) -> Framing {
        if self.header("transfer-encoding").to_ascii_lowercase().contains("chunked") {
            Framing::Chunked
        } else {
            Framing::Length(self.content_length().unwrap_or(0))
        }
    }

    fn wants_close(&self) -> bool {
        let connection = self.header("connection").to_ascii_lowercase();
        if self.minor_version == 0 { connection != "keep-alive" } else { connection == "close" }
    }

    /// User and password of Basic authentication, if they are there and readable.
    pub(crate) fn basic_auth(&self) -> Option<(String, String)> {
        use base64::Engine;
        let header = self.header("authorization");
        let (scheme, coded) = header.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let plain = base64::prelude::BASE64_STANDARD.decode(coded.trim()).ok()?;
        let plain = String::from_utf8(plain).ok()?;
        let (user, password) = plain.split_once(':')?;
        // `user@cluster` is accepted, the cluster ignored.
        let user = user.split('@').next().unwrap_or(user);
        Some((user.to_string(), password.to_string()))
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the connection ends with it.
    pub(crate) close: bool,
}

impl Answer {
    pub(crate) fn new(status: u16, content_type: Option<&str>, body: impl Into<Vec<u8>>) -> Answer {
        let headers = content_type.map(|value| ("Content-Type", value.to_string())).into_iter().collect();
        Answer { status, headers, body: body.into(), close: false }
    }

    pub(crate) fn json(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer::new(status, Some("application/json; charset=UTF-8"), body)
    }

    pub(crate) fn closing(mut self) -> Answer {
        self.close = true;
        self
    }
}

/// What a face does with a request.
#[derive(Debug)]
pub(crate) enum Reply {
    Answer(Answer),
    /// Reset the connection without an answer.
    Reset,
    /// Keep the connection open and never answer.
    Hang,
}

impl Reply {
    /// The connection ends with the answer.
    pub(crate) fn closing(self) -> Reply {
        match self {
            Reply::Answer(answer) => Reply::Answer(answer.closing()),
            other => other,
        }
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Reply {
        Reply::Answer(answer)
    }
}

/// A connection of a client.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    pub(crate) peer: SocketAddr,
    /// Bytes read and not used yet: `buffer[used..filled]`.
    buffer: Vec<u8>,
    used: usize,
    filled: usize,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, peer: SocketAddr) -> Connection {
        Connection { stream, peer, buffer: vec![0; 64 << 10], used: 0, filled: 0 }
    }

    /// The next request's head; `None` when the client is done. A head that is no HTTP is an error.
    pub(crate) async fn head(&mut self, limits: HeadLimits) -> io::Result<Option<Head>> {
        let mut seen = 0;
        loop {
            // A head ends with a line: without a new one there is nothing to parse again.
            let unread = &self.buffer[self.used..self.filled];
            let worth = seen == 0 || memchr::memchr(b'\n', &unread[seen..]).is_some();
            seen = unread.len();
            if worth && let Some((head, taken)) = parse_head(unread)? {
                self.used += taken;
                limits.check(&head, taken)?;
                return Ok(Some(head));
            }
            if seen > limits.line.saturating_add(limits.headers) {
                return Err(too_long());
            }
            if self.fill().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Hands the body to `take` piece by piece. `Ok(false)`: the connection ended before the body did. `take` returns
    /// false to stop early.
    pub(crate) async fn body(
        &mut self,
        framing: Framing,
        take: &mut (dyn FnMut(&[u8]) -> bool + Send),
    ) -> io::Result<bool> {
        match framing {
            Framing::Length(length) => self.counted(length, take).await,
            Framing::Chunked => self.chunked(take).await,
        }
    }

    async fn counted(&mut self, mut left: u64, take: &mut (dyn FnMut(&[u8]) -> bool + Send)) -> io::Result<bool> {
        while left > 0 {
            if self.used == self.filled && self.fill().await? == 0 {
                return Ok(false);
            }
            let end = self.filled.min(self.used.saturating_add(usize::try_from(left).unwrap_or(usize::MAX)));
            let go_on = take(&self.buffer[self.used..end]);
            left -= (end - self.used) as u64;
            self.used = end;
            if !go_on {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn chunked(&mut self, take: &mut (dyn FnMut(&[u8]) -> bool + Send)) -> io::Result<bool> {
        loop {
            let Some(line) = self.line().await? else { return Ok(false) };
            let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
            let size = std::str::from_utf8(digits).ok().and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
            let size = size.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a chunk without a size"))?;
            if size == 0 {
                for _ in 0..TRAILERS_MAX {
                    if self.line().await?.is_none_or(|trailer| trailer.is_empty()) {
                        return Ok(true);
                    }
                }
                return Err(io::Error::new(io::ErrorKind::InvalidData, "too many trailers"));
            }
            if !self.counted(size, take).await? || self.line().await?.is_none() {
                return Ok(false);
            }
        }
    }

    async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer[self.used..self.filled]) {
                let line = self.buffer[self.used..self.used + end].trim_ascii_end().to_vec();
                self.used += end + 1;
                return Ok(Some(line));
            }
            if self.filled - self.used > CHUNK_LINE_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line of the chunked framing is too long"));
            }
            if self.fill().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Reads more; 0 at the end of the stream.
    async fn fill(&mut self) -> io::Result<usize> {
        if self.used == self.filled {
            self.used = 0;
            self.filled = 0;
        } else if self.used > 0 && self.filled == self.buffer.len() {
            self.buffer.copy_within(self.used..self.filled, 0);
            self.filled -= self.used;
            self.used = 0;
        }
        if self.filled == self.buffer.len() {
            self.buffer.resize((self.buffer.len() * 2).max(READ_BYTES), 0);
        }
        let read = self.stream.read(&mut self.buffer[self.filled..]).await?;
        self.filled += read;
        // A reader that fills the buffer at once is sending a large body: read it in large pieces.
        if read == self.buffer.len() && read < READ_BYTES {
            let filled = self.filled;
            self.buffer.resize(READ_BYTES.max(filled), 0);
        }
        Ok(read)
    }

    pub(crate) async fn send_continue(&mut self) -> io::Result<()> {
        self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await
    }

    /// Sends the answer, or does what else was ordered. `true`: the connection goes on.
    pub(crate) async fn reply(&mut self, head: &Head, reply: Reply) -> io::Result<bool> {
        match reply {
            Reply::Answer(answer) => {
                let close = answer.close || head.wants_close();
                self.send(&answer, close).await?;
                Ok(!close)
            }
            Reply::Reset => {
                self.reset()?;
                Ok(false)
            }
            Reply::Hang => {
                std::future::pending::<()>().await;
                Ok(false)
            }
        }
    }

    async fn send(&mut self, answer: &Answer, close: bool) -> io::Result<()> {
        let mut text = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
        for (name, value) in &answer.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n", answer.body.len()));
        text.push_str(if close { "Connection: close\r\n\r\n" } else { "Connection: keep-alive\r\n\r\n" });
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&answer.body);
        self.stream.write_all(&bytes).await
    }

    /// Makes the close that follows a reset.
    fn reset(&self) -> io::Result<()> {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
    }
}

fn parse_head(bytes: &[u8]) -> io::Result<Option<(Head, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let httparse::Status::Complete(taken) = request.parse(bytes).map_err(invalid)? else { return Ok(None) };
    let target = request.path.unwrap_or("/").to_string();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(value))
    };
    let head = Head {
        method: request.method.unwrap_or_default().to_string(),
        path: path.split('/').skip(1).map(decoded).collect(),
        query: query.split('&').filter(|text| !text.is_empty()).map(pair).collect(),
        headers: request
            .headers
            .iter()
            .map(|header| {
                let value = String::from_utf8_lossy(header.value).trim().to_string();
                (header.name.to_ascii_lowercase(), value)
            })
            .collect(),
        minor_version: request.version.unwrap_or(1),
        target,
    };
    check_lengths(&head)?;
    Ok(Some((head, taken)))
}

/// A length that is no number, or two that differ, leave no way to tell where the next request begins.
fn check_lengths(head: &Head) -> io::Result<()> {
    let mut lengths = head.headers.iter().filter(|(name, _)| name == "content-length").map(|(_, value)| value);
    let Some(first) = lengths.next() else { return Ok(()) };
    let number = first.bytes().all(|byte| byte.is_ascii_digit()) && first.parse::<u64>().is_ok();
    if number && lengths.all(|other| other == first) {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the Content-Length is not one number"))
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Status",
    }
}
