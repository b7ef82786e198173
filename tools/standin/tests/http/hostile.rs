//! A client that means harm: no panic, no hang, no memory without end.

use starrocks_standin::{Options, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{LOGIN, load, make_table, talk};

async fn server() -> Server {
    let server = Server::start(Options::default()).await.expect("start");
    make_table(&server);
    server
}

/// The server still loads.
async fn is_well(server: &Server, after: &str) {
    let answer = load(server, "", r#"{"id":1}"#).await.unwrap_or_default();
    assert!(answer.contains("\"Status\": \"Success\""), "after {after}: {answer}");
}

#[tokio::test]
async fn framing_that_cannot_be_trusted_ends_the_connection() {
    let load = format!("PUT /api/d/t/_stream_load HTTP/1.1\r\n{LOGIN}format: json\r\n");
    let rows = [
        (format!("{load}Content-Length: -5\r\n\r\n{{}}"), "a negative length"),
        (format!("{load}Content-Length: +8\r\n\r\n{{\"id\":1}}"), "a length with a sign"),
        (format!("{load}Content-Length: 8\r\nContent-Length: 9\r\n\r\n{{\"id\":1}}"), "two lengths"),
        (format!("{load}Content-Length: 18446744073709551616\r\n\r\n{{}}"), "a length of 2^64"),
        (format!("{load}Content-Length: 8, 8\r\n\r\n{{\"id\":1}}"), "a list of lengths"),
        (format!("{load}Transfer-Encoding: chunked\r\n\r\n-1\r\n"), "a negative chunk"),
        (format!("{load}Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n"), "a chunk of 2^64"),
        (format!("{load}Transfer-Encoding: chunked\r\n\r\n{}", "f".repeat(100_000)), "a chunk's size without end"),
        (format!("{load}Transfer-Encoding: chunked\r\n\r\n0\r\n{}", "a: b\r\n".repeat(1000)), "trailers without end"),
        (format!("{load}{}\r\n", "a: b\r\n".repeat(1000)), "headers without end"),
        (format!("PUT /{} HTTP/1.1\r\n\r\n", "x".repeat(2 << 20)), "a first line without end"),
        ("\0".repeat(1000), "zero bytes"),
    ];
    let server = server().await;
    for (request, why) in rows {
        for port in [server.ports().be_http, server.ports().fe_http] {
            let answer = talk(port, &request).await.unwrap_or_default();
            assert!(!answer.contains("Success"), "{why}: {answer}");
        }
        is_well(&server, why).await;
    }
}

#[tokio::test]
async fn lengths_that_no_memory_holds_are_refused_or_waited_for() {
    let server = server().await;
    for length in ["18446744073709551615", "9223372036854775807", "1000000000000"] {
        for path in ["/api/d/t/_stream_load", "/api/nonsense", "/api/transaction/load"] {
            let request = format!("PUT {path} HTTP/1.1\r\n{LOGIN}Content-Length: {length}\r\n\r\n1,");
            let mut stream = TcpStream::connect(("127.0.0.1", server.ports().be_http)).await.expect("connect");
            stream.write_all(request.as_bytes()).await.expect("write");
            stream.shutdown().await.expect("no more bytes");
            let mut answer = Vec::new();
            // A reset instead of an answer is fine as well.
            let ended = stream.read_to_end(&mut answer).await;
            assert!(ended.is_err() || !String::from_utf8_lossy(&answer).contains("Success"), "{path} {length}");
            is_well(&server, length).await;
        }
    }
}

#[tokio::test]
async fn requests_sent_at_once_are_answered_in_order() {
    let server = server().await;
    let one = |label: &str, end: &str| {
        format!(
            "PUT /api/d/t/_stream_load HTTP/1.1\r\n{LOGIN}format: json\r\nlabel: {label}\r\n{end}Content-Length: \
             8\r\n\r\n{{\"id\":1}}"
        )
    };
    let all = format!("{}{}{}", one("a", ""), one("b", ""), one("c", "Connection: close\r\n"));
    let answer = talk(server.ports().be_http, &all).await.unwrap_or_default();
    let places: Vec<_> = ["a", "b", "c"].iter().map(|label| answer.find(&format!("\"Label\": \"{label}\""))).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{answer}");
    assert_eq!(answer.matches("\"Status\": \"Success\"").count(), 3, "{answer}");
}

#[tokio::test]
async fn a_head_and_a_body_byte_by_byte() {
    let server = server().await;
    let request = format!(
        "PUT /api/d/t/_stream_load HTTP/1.1\r\n{LOGIN}format: json\r\nConnection: close\r\nTransfer-Encoding: \
         chunked\r\n\r\n8;x=y\r\n{{\"id\":1}}\r\n0\r\nt: u\r\n\r\n"
    );
    let mut stream = TcpStream::connect(("127.0.0.1", server.ports().be_http)).await.expect("connect");
    stream.set_nodelay(true).expect("set");
    for byte in request.bytes() {
        stream.write_all(&[byte]).await.expect("write");
        tokio::task::yield_now().await;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    assert!(answer.contains("\"Status\": \"Success\""), "{answer}");
}

#[tokio::test]
async fn bodies_that_would_break_a_parser_fail_their_load_only() {
    let deep = |open: &str, close: &str, depth: usize| format!("{}{}", open.repeat(depth), close.repeat(depth));
    let rows = [
        (String::new(), "nothing"),
        (deep("[", "]", 100_000), "arrays 100000 deep"),
        ("[".repeat(1_000_000), "a million brackets that never close"),
        (format!("{{\"id\":1,\"v\":{}}}", deep("{\"a\":", "}", 100_000)), "objects 100000 deep"),
        (format!("{{\"id\":1,\"v\":{}}}", "{\"a\":".repeat(100_000)), "objects that never close"),
        ("{\"id\":1,\"v\":\"\\".to_owned(), "an escape cut off"),
        ("{\"id\":1,\"v\":\"\\ud800\"}{".to_owned(), "half a surrogate pair"),
        (format!("{{\"id\":{}}}", "9".repeat(1_000_000)), "a number of a million digits"),
        (format!("{{\"id\":1e{}}}", "9".repeat(100_000)), "an exponent of 100000 digits"),
    ];
    let server = server().await;
    for (body, why) in rows {
        let answer = load(&server, "", &body).await.unwrap_or_default();
        assert!(answer.contains("\"Status\": \"Fail\""), "{why}: {answer}");
        is_well(&server, why).await;
    }
}

#[tokio::test]
async fn headers_that_would_break_a_planner_fail_their_load_only() {
    let calls = "parse_json(".repeat(50_000);
    let rows = [
        ("columns", format!("id,v={calls}id{}", ")".repeat(50_000))),
        ("columns", "(".repeat(100_000)),
        ("columns", "=".repeat(100_000)),
        ("columns", "'".to_owned()),
        ("columns", "\"".to_owned()),
        ("jsonpaths", "[".repeat(100_000)),
        ("jsonpaths", r#"["$["]"#.to_owned()),
        ("jsonpaths", r#"["$['"]"#.to_owned()),
        ("json_root", "$[99999999999999999999999]".to_owned()),
        ("column_separator", "\\x".to_owned()),
        ("column_separator", "\\xé".to_owned()),
        ("timeout", "-1".to_owned()),
        ("max_filter_ratio", "nan".to_owned()),
        ("label", "x".repeat(500_000)),
    ];
    let server = server().await;
    for (name, value) in rows {
        let request = format!(
            "PUT /api/d/t/_stream_load HTTP/1.1\r\n{LOGIN}format: json\r\n{name}: {value}\r\nConnection: \
             close\r\nContent-Length: 8\r\n\r\n{{\"id\":1}}"
        );
        let start: String = value.chars().take(20).collect();
        let answer = talk(server.ports().be_http, &request).await.unwrap_or_default();
        assert!(answer.contains("\"Status\": \"Fail\""), "{name}: {start}: {answer}");
        is_well(&server, &start).await;
    }
}
