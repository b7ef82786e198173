//! An HTTP client that does only what it is told: no redirects, no waiting for `100 Continue`.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// Interim `100 Continue` answers seen before it.
    pub(crate) continues: usize,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// Host, port, path and query of `Location`.
    pub(crate) fn location(&self) -> (String, String) {
        let rest = self.header("location").strip_prefix("http://").expect("Location is absolute and http");
        let (address, path) = rest.split_once('/').expect("Location has a path");
        (address.to_owned(), format!("/{path}"))
    }
}

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: &str) -> Client {
        let stream = TcpStream::connect(address).await.unwrap_or_else(|error| panic!("connect to {address}: {error}"));
        Client { stream, buffer: Vec::new() }
    }

    /// Sends a request with `Content-Length`, unless the headers say how the body ends.
    pub(crate) async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
        headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
        let framed = |(name, _): &(&str, &str)| {
            name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding")
        };
        if !headers.iter().any(framed) {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        self.write(format!("{text}\r\n").as_bytes()).await;
        self.write(body).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("write the request");
    }

    /// Tells the server that no more will come.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.expect("shut the sending side down");
    }

    /// Waits for `100 Continue`.
    pub(crate) async fn interim(&mut self) {
        let end = self.until(b"\r\n\r\n").await.expect("an interim answer");
        let head = String::from_utf8_lossy(&self.take(end + 4)).into_owned();
        assert!(head.starts_with("HTTP/1.1 100"), "{head}");
    }

    /// The next answer; `None` when the connection ends before one.
    pub(crate) async fn response(&mut self) -> Option<Response> {
        let mut continues = 0;
        loop {
            let end = self.until(b"\r\n\r\n").await?;
            let head = String::from_utf8_lossy(&self.take(end + 4)).into_owned();
            let mut lines = head.lines();
            let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
            if status == 100 {
                continues += 1;
                continue;
            }
            let pair = |line: &str| line.split_once(':').map(|(k, v)| (k.to_ascii_lowercase(), v.trim().to_owned()));
            let headers: Vec<_> = lines.filter_map(pair).collect();
            let mut response = Response { status, headers, body: String::new(), continues };
            response.body = self.body(&response).await?;
            return Some(response);
        }
    }

    /// Whether the server has closed the connection; waits until it has or sends more.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !matches!(self.stream.read(&mut [0; 1]).await, Ok(1))
    }

    async fn body(&mut self, response: &Response) -> Option<String> {
        if response.header("transfer-encoding").contains("chunked") {
            let mut body = Vec::new();
            loop {
                let end = self.until(b"\r\n").await?;
                let line = String::from_utf8_lossy(&self.take(end + 2)).into_owned();
                let size = usize::from_str_radix(line.trim(), 16).ok()?;
                let chunk = self.exactly(size + 2).await?;
                if size == 0 {
                    return Some(String::from_utf8_lossy(&body).into_owned());
                }
                body.extend_from_slice(&chunk[..size]);
            }
        }
        match response.header("content-length").parse() {
            Ok(length) => Some(String::from_utf8_lossy(&self.exactly(length).await?).into_owned()),
            Err(_) => {
                while self.fill().await {}
                let rest = self.buffer.len();
                Some(String::from_utf8_lossy(&self.take(rest)).into_owned())
            }
        }
    }

    async fn until(&mut self, end: &[u8]) -> Option<usize> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return Some(at);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill().await {
                return None;
            }
        }
        Some(self.take(count))
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        self.buffer.drain(..count).collect()
    }

    async fn fill(&mut self) -> bool {
        let mut piece = [0; 4096];
        match self.stream.read(&mut piece).await {
            Ok(read) if read > 0 => {
                self.buffer.extend_from_slice(&piece[..read]);
                true
            }
            _ => false,
        }
    }
}

/// One request on a connection of its own.
pub(crate) async fn request(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Response> {
    let mut client = Client::connect(address).await;
    client.send(method, path, headers, body).await;
    client.response().await
}
