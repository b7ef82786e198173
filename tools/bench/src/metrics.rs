//! The sidecar's own numbers, as its metrics page tells them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::Failure;

/// What the page said.
#[derive(Debug, Default)]
pub(crate) struct Numbers(BTreeMap<String, f64>);

impl Numbers {
    /// Reads the page.
    pub(crate) fn fetch(address: &str) -> Result<Numbers, Failure> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        let number = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(Numbers(page.lines().filter_map(number).collect()))
    }

    /// The sum of all whose name begins so.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.0.iter().filter(|(key, _)| key.starts_with(name)).map(|(_, value)| value).sum()
    }
}
