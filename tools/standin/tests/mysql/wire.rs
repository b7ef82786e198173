//! The MySQL port byte by byte: what a client library would hide.
//!
//! StarRocks, `mysql/MysqlHandshakePacket.java`, `mysql/MysqlProto.java`, `qe/ConnectProcessor.java`; the packets are in
//! the MySQL documentation, "Client/Server Protocol".

use sha1::{Digest, Sha1};
use starrocks_standin::store::{Release, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::Target;

const PROTOCOL_41: u32 = 1 << 9;
const SECURE_CONNECTION: u32 = 1 << 15;
const PLUGIN_AUTH: u32 = 1 << 19;
const CONNECT_WITH_DB: u32 = 1 << 3;
const DEPRECATE_EOF: u32 = 1 << 24;

/// A connection without a library.
struct Raw {
    stream: TcpStream,
    sequence: u8,
}

impl Raw {
    async fn open(target: &Target) -> (Self, Vec<u8>) {
        let stream = TcpStream::connect((target.host(), target.port())).await.expect("a connection");
        let mut raw = Self { stream, sequence: 0 };
        let greeting = raw.receive().await;
        (raw, greeting)
    }

    async fn receive(&mut self) -> Vec<u8> {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header).await.expect("a packet");
        let length = usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
        self.sequence = header[3].wrapping_add(1);
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.expect("its payload");
        payload
    }

    async fn send(&mut self, payload: &[u8]) {
        let length = (payload.len() as u32).to_le_bytes();
        let mut packet = vec![length[0], length[1], length[2], self.sequence];
        packet.extend_from_slice(payload);
        self.stream.write_all(&packet).await.expect("sent");
    }

    async fn command(&mut self, payload: &[u8]) {
        self.sequence = 0;
        self.send(payload).await;
    }

    /// Whether the server has closed.
    async fn is_closed(&mut self) -> bool {
        self.stream.read(&mut [0; 1]).await.unwrap_or(0) == 0
    }
}

fn scramble(greeting: &[u8]) -> Vec<u8> {
    let version = greeting[1..].iter().position(|byte| *byte == 0).expect("a version");
    let first = 1 + version + 1 + 4;
    // 8 bytes, filler, capabilities, character set, status, capabilities, length, 10 reserved.
    let second = first + 8 + 1 + 2 + 1 + 2 + 2 + 1 + 10;
    [&greeting[first..first + 8], &greeting[second..second + 12]].concat()
}

fn native(password: &str, scramble: &[u8]) -> Vec<u8> {
    let once = Sha1::digest(password);
    let salted = Sha1::digest([scramble, &Sha1::digest(once)].concat());
    once.iter().zip(salted).map(|(left, right)| left ^ right).collect()
}

fn login(capabilities: u32, answer: &[u8], tail: &[u8]) -> Vec<u8> {
    let mut payload = (capabilities | PROTOCOL_41 | SECURE_CONNECTION).to_le_bytes().to_vec();
    payload.extend_from_slice(&[0, 0, 0, 1, 33]);
    payload.extend_from_slice(&[0; 23]);
    payload.extend_from_slice(b"root\0");
    payload.push(answer.len() as u8);
    payload.extend_from_slice(answer);
    payload.extend_from_slice(tail);
    payload
}

async fn server(release: Release) -> Target {
    Target::stand_in(Settings { password: "secret".to_owned(), release, ..Settings::default() }).await
}

async fn logged_in(target: &Target) -> Raw {
    let (mut raw, greeting) = Raw::open(target).await;
    raw.send(&login(0, &native("secret", &scramble(&greeting)), b"")).await;
    assert_eq!(raw.receive().await[0], 0, "OK");
    raw
}

fn error(payload: &[u8]) -> (u16, String) {
    assert_eq!(payload[0], 0xFF, "{payload:?}");
    (u16::from_le_bytes([payload[1], payload[2]]), String::from_utf8_lossy(&payload[9..]).into_owned())
}

#[tokio::test]
async fn the_greeting_is_starrocks() {
    for (release, version) in [(Release::V3_3, "5.1.0"), (Release::V3_5, "8.0.33"), (Release::V4_1, "8.0.33")] {
        let (_raw, greeting) = Raw::open(&server(release).await).await;
        assert_eq!(greeting[0], 10, "protocol");
        assert!(greeting[1..].starts_with(format!("{version}\0").as_bytes()), "{release:?}");
        let rest = &greeting[1 + version.len() + 1 + 4 + 8 + 1..];
        let capabilities = u32::from_le_bytes([rest[0], rest[1], rest[5], rest[6]]);
        assert_eq!(rest[2], 33, "character set");
        assert_eq!(rest[3..5], [0, 0], "status flags");
        assert_eq!(rest[7], 21, "length of the scramble with its NUL");
        assert_eq!(capabilities & DEPRECATE_EOF, 0, "EOF packets stay");
        assert_ne!(capabilities & PLUGIN_AUTH, 0);
        assert_eq!(capabilities & (1 << 11), 0, "no TLS");
        assert!(greeting.ends_with(b"\0mysql_native_password\0"));
        assert!(!scramble(&greeting).contains(&0));
    }
}

#[tokio::test]
async fn another_plugin_is_asked_to_switch() {
    let target = server(Release::V3_5).await;
    for (password, want) in [("secret", 0), ("wrong", 0xFF)] {
        let (mut raw, greeting) = Raw::open(&target).await;
        raw.send(&login(PLUGIN_AUTH, &[7; 32], b"caching_sha2_password\0")).await;
        let switch = raw.receive().await;
        assert!(switch.starts_with(b"\xFEmysql_native_password\0"), "{switch:?}");
        let again = &switch[23..43];
        assert_eq!(again, scramble(&greeting));
        raw.send(&native(password, again)).await;
        assert_eq!(raw.receive().await[0], want, "{password}");
    }
}

#[tokio::test]
async fn logins_are_refused_with_reasons() {
    let target = server(Release::V3_5).await;
    let (mut raw, _) = Raw::open(&target).await;
    raw.send(&login(0, b"", b"")).await;
    let want = (1045, "Access denied for user 'root' (using password: NO)".to_owned());
    assert_eq!(error(&raw.receive().await), want);
    assert!(raw.is_closed().await);

    let (mut raw, greeting) = Raw::open(&target).await;
    raw.send(&login(CONNECT_WITH_DB, &native("secret", &scramble(&greeting)), b"nowhere\0")).await;
    assert_eq!(error(&raw.receive().await), (5501, "Unknown database 'nowhere'".to_owned()));

    // A client older than MySQL 4.1.
    let (mut raw, _) = Raw::open(&target).await;
    raw.send(&[5, 0, 0, 0, 0]).await;
    assert_eq!(error(&raw.receive().await).0, 1251);
}

#[tokio::test]
async fn results_end_with_eof_packets() {
    let target = server(Release::V3_5).await;
    let mut raw = logged_in(&target).await;
    raw.command(b"\x03SELECT 1 AS one, NULL AS nothing").await;
    assert_eq!(raw.receive().await, [2], "column count");
    for name in ["one", "nothing"] {
        let column = raw.receive().await;
        assert!(column.windows(name.len()).any(|part| part == name.as_bytes()), "{column:?}");
    }
    assert_eq!(raw.receive().await[0], 0xFE, "EOF behind the columns");
    assert_eq!(raw.receive().await, [1, b'1', 0xFB], "the row");
    let eof = raw.receive().await;
    assert_eq!((eof[0], eof.len()), (0xFE, 5), "EOF behind the rows");
}

/// Code and part of the text; `None` for OK.
type Refusal = Option<(u16, &'static str)>;

#[tokio::test]
async fn commands_are_answered_or_refused() {
    let cases: &[(&str, &[u8], Refusal)] = &[
        ("PING", b"\x0E", None),
        ("INIT_DB", b"\x02information_schema", None),
        ("INIT_DB of nothing", b"\x02nowhere", Some((5501, "Unknown database 'nowhere'"))),
        ("RESET_CONNECTION", b"\x1F", None),
        ("STMT_RESET", b"\x1A\x01\0\0\0", None),
        ("STATISTICS", b"\x09", Some((1064, "Unsupported command(Statistics)"))),
        ("PROCESS_KILL", b"\x0C\x01\0\0\0", Some((1064, "Unsupported command(Kill)"))),
        ("SET_OPTION", b"\x1B\0\0", Some((1064, "Unsupported command(Set option)"))),
        ("no command", b"\xC8", Some((1047, "Unknown command"))),
        ("not UTF-8", b"\x03SELECT '\xFF'", Some((1064, "the statement is not UTF-8"))),
        ("two statements", b"\x03SELECT 1; SELECT 2", Some((1064, "Unexpected input 'SELECT'"))),
        ("FIELD_LIST of nothing", b"\x04missing\0", Some((5502, "Unknown table 'information_schema.missing'"))),
    ];
    let target = server(Release::V3_5).await;
    let mut raw = logged_in(&target).await;
    for (name, payload, refusal) in cases {
        raw.command(payload).await;
        let answer = raw.receive().await;
        match refusal {
            None => assert_eq!(answer[0], 0, "{name}: {answer:?}"),
            Some((code, text)) => {
                let (found, message) = error(&answer);
                assert!(found == *code && message.contains(text), "{name}: {found} {message}");
            }
        }
    }
    raw.command(b"\x01").await;
    assert!(raw.is_closed().await, "QUIT");
}

#[tokio::test]
async fn broken_packets_end_the_connection_and_nothing_else() {
    let target = server(Release::V3_5).await;
    let cases: &[(&str, &[u8])] = &[
        ("wrong sequence", &[1, 0, 0, 9, 0x0E]),
        ("empty command", &[0, 0, 0, 0]),
        ("cut STMT_EXECUTE", &[3, 0, 0, 0, 0x17, 1, 0]),
        ("cut STMT_CLOSE", &[2, 0, 0, 0, 0x19, 1]),
        ("cut CHANGE_USER", &[4, 0, 0, 0, 0x11, b'a', 0, 99]),
    ];
    for (name, bytes) in cases {
        let mut raw = logged_in(&target).await;
        raw.stream.write_all(bytes).await.expect("sent");
        assert!(raw.is_closed().await, "{name}");
    }
    // The server still serves.
    let mut raw = logged_in(&target).await;
    raw.command(b"\x0E").await;
    assert_eq!(raw.receive().await[0], 0);
}

#[tokio::test]
async fn change_user_logs_in_again() {
    let target = server(Release::V3_5).await;
    let (mut raw, greeting) = Raw::open(&target).await;
    let answer = native("secret", &scramble(&greeting));
    raw.send(&login(0, &answer, b"")).await;
    assert_eq!(raw.receive().await[0], 0, "OK");
    let mut payload = b"\x11root\0".to_vec();
    payload.push(answer.len() as u8);
    payload.extend_from_slice(&answer);
    payload.extend_from_slice(b"information_schema\0\x21\0mysql_native_password\0");
    raw.command(&payload).await;
    assert_eq!(raw.receive().await[0], 0, "OK");
    raw.command(b"\x03SELECT database()").await;
    let answers = [raw.receive().await, raw.receive().await, raw.receive().await, raw.receive().await];
    assert!(answers[3].ends_with(b"information_schema"), "{answers:?}");
}
