//! A scripted server at the other end of a socket, and what the reader makes of it.

use std::sync::Arc;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::streaming::{GivenUp, SpoolOptions};
use super::super::tables::{Identity, KnownTable, Tables, WireType};
use super::*;
use crate::model::{Budget, Column, ColumnType, TableId, TableName, TableSchema, Value};
use crate::pgoutput::{Message, Reader as Fields, RelationColumn, ReplicaIdentity, encode};
use crate::status::Status;

mod streamed;

const MIB: usize = 1 << 20;

/// Long enough for any machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running reader, the server's end of its socket, and the hands on its ends.
struct Rig<S> {
    server: S,
    blocks: mpsc::Receiver<Block>,
    budget: Budget,
    confirm: watch::Sender<Lsn>,
    paused: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    notice: watch::Sender<bool>,
    status: Status,
    given_up: GivenUp,
    /// Where transactions in progress are kept.
    folder: Option<tempfile::TempDir>,
    task: JoinHandle<Result<(), Reason>>,
    events: Vec<String>,
    unread: BytesMut,
}

struct Setting {
    start: Lsn,
    /// What may be confirmed when the stream starts.
    confirm: Lsn,
    budget: usize,
    blocks: usize,
    paused: bool,
    timings: Timings,
    /// Most bytes of transactions in progress, if they are asked for.
    spool: Option<u64>,
}

impl Default for Setting {
    fn default() -> Self {
        Setting {
            start: Lsn(10),
            confirm: Lsn::INVALID,
            budget: 64 * MIB,
            blocks: 64,
            paused: false,
            timings: Timings::from_wal_sender_timeout(None),
            spool: None,
        }
    }
}

/// What the reader told the server: the positions received and confirmed, and whether it wants an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    received: Lsn,
    confirmed: Lsn,
    reply: bool,
}

async fn tcp(setting: Setting) -> Rig<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    server.set_nodelay(true).unwrap();
    Rig::start(server, Copying { socket: Socket::Tcp(client), buffer: BytesMut::new() }, setting)
}

fn unix(setting: Setting) -> Rig<UnixStream> {
    let (server, client) = UnixStream::pair().unwrap();
    Rig::start(server, Copying { socket: Socket::Unix(client), buffer: BytesMut::new() }, setting)
}

fn tables() -> Arc<Tables> {
    let schema = TableSchema {
        id: TableId(7),
        name: TableName { schema: "public".into(), name: "t".into() },
        target: "t".into(),
        columns: vec![Column { name: "id".into(), ty: ColumnType::Text, nullable: false }],
        key: vec![0],
        complete: true,
    };
    let types = vec![WireType { oid: 25, typmod: -1 }];
    Arc::new(Tables::from_iter([KnownTable { schema: Arc::new(schema), types, identity: Identity::Default }]))
}

impl<S: AsyncReadExt + AsyncWriteExt + Unpin> Rig<S> {
    fn start(server: S, copying: Copying, setting: Setting) -> Self {
        let budget = Budget::new(setting.budget);
        let (status, meters) = Status::new("p", "s", "p", budget.clone());
        let (sender, blocks) = mpsc::channel(setting.blocks);
        let (confirm, confirms) = watch::channel(setting.confirm);
        let (paused, pauses) = watch::channel(setting.paused);
        let (stop, stops) = watch::channel(false);
        let (notice, shutdown_notice) = watch::channel(false);
        let ends = Ends { blocks: sender, budget: budget.clone(), confirm: confirms, paused: pauses, stop: stops };
        let given_up = GivenUp::default();
        let folder = setting.spool.map(|_| tempfile::tempdir().unwrap());
        let streaming = folder.as_ref().zip(setting.spool).map(|(folder, bytes_max)| {
            let options = SpoolOptions { folder: folder.path().to_owned(), bytes_max };
            Streaming::new(&options, setting.start, given_up.clone(), meters.source.clone()).unwrap()
        });
        let stream = Stream {
            copying,
            start: setting.start,
            slot: "s".into(),
            publication: "p".into(),
            decoder: Decoder::new(tables()),
            ends,
            meter: meters.source,
            timings: setting.timings,
            shutdown_notice,
            streaming,
        };
        let task = tokio::spawn(run(stream));
        let (events, unread) = (Vec::new(), BytesMut::new());
        Rig { server, blocks, budget, confirm, paused, stop, notice, status, given_up, folder, task, events, unread }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.server.write_all(bytes).await.unwrap();
    }

    /// The next event, in words. Blocks are let go once their events are taken.
    async fn event(&mut self) -> String {
        while self.events.is_empty() {
            let block = timeout(PATIENCE, self.blocks.recv()).await.expect("a block in time").expect("a block");
            self.events = block.events.iter().rev().map(|event| format!("{event:?}")).collect();
        }
        self.events.pop().unwrap()
    }

    /// Passes events until one is as wanted.
    async fn until(&mut self, wanted: &str) {
        while self.event().await != wanted {}
    }

    /// The next message from the reader: tag and body.
    async fn message(&mut self) -> (u8, Vec<u8>) {
        loop {
            let found = framing::find(&self.unread, 1).unwrap();
            if found.messages == 1 {
                let message = self.unread.split_to(found.bytes);
                return (message[0], message[5..].to_vec());
            }
            let read = timeout(PATIENCE, self.server.read_buf(&mut self.unread)).await.expect("a message in time");
            assert!(read.unwrap() > 0, "the reader closed the connection");
        }
    }

    async fn told(&mut self) -> Told {
        let message = self.message().await;
        Self::read_update(message)
    }

    /// What the last update before the reader's CopyDone confirms.
    async fn last_word(&mut self) -> Lsn {
        let mut confirmed = Lsn::INVALID;
        loop {
            match self.message().await {
                (b'c', _) => return confirmed,
                update => confirmed = Self::read_update(update).confirmed,
            }
        }
    }

    fn read_update((tag, body): (u8, Vec<u8>)) -> Told {
        assert_eq!((tag, body[0]), (b'd', b'r'));
        let mut fields = Fields::behind_tag("status", &body);
        let [received, confirmed, applied] = ["write", "flush", "apply"].map(|field| fields.lsn(field).unwrap());
        assert_eq!(confirmed, applied);
        let reply = body[body.len() - 1] == 1;
        Told { received, confirmed, reply }
    }

    /// Passes updates until one confirms the position.
    async fn confirmed(&mut self, lsn: u64) -> Told {
        loop {
            let told = self.told().await;
            if told.confirmed == Lsn(lsn) {
                return told;
            }
            assert!(told.confirmed < Lsn(lsn), "{told:?} confirms more than {lsn}");
        }
    }

    async fn ended(&mut self) -> Result<(), Reason> {
        timeout(PATIENCE, &mut self.task).await.expect("an end in time").unwrap()
    }
}

fn data(message: &[u8]) -> Vec<u8> {
    encode::xlog_data(Lsn(50), message)
}

fn begin(lsn: u64) -> Vec<u8> {
    data(&encode::message(&Message::Begin { final_lsn: Lsn(lsn), committed: Default::default(), xid: 1 }))
}

fn relation() -> Vec<u8> {
    let columns = vec![RelationColumn { key: true, name: "id", type_oid: 25, typmod: -1 }];
    let identity = ReplicaIdentity::Default;
    data(&encode::message(&Message::Relation { xid: None, oid: 7, namespace: "public", name: "t", identity, columns }))
}

fn insert(size: usize) -> Vec<u8> {
    data(&encode::insert(7, &[Value::Text(&vec![b'x'; size])]))
}

fn commit(lsn: u64) -> Vec<u8> {
    let message = Message::Commit { commit_lsn: Lsn(lsn), end_lsn: Lsn(lsn), committed: Default::default() };
    data(&encode::message(&message))
}

/// A transaction with rows of these sizes.
fn transaction(lsn: u64, rows: &[usize]) -> Vec<u8> {
    let rows = rows.iter().flat_map(|size| insert(*size)).collect();
    [begin(lsn), relation(), rows, commit(lsn)].concat()
}

fn committed(lsn: u64) -> String {
    format!("Commit {{ end_lsn: Lsn({lsn}) }}")
}

/// Sends small transactions one by one, so densely that reading is held off again and again, and takes each.
async fn burst(rig: &mut Rig<TcpStream>) {
    for lsn in 100..200 {
        rig.send(&transaction(lsn, &[1000; 6])).await;
        rig.until(&committed(lsn)).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_split_of_the_bytes_gives_the_same_events(
        rows in proptest::collection::vec(proptest::collection::vec(0..300_usize, 0..4), 1..5),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
    ) {
        let mut bytes = Vec::new();
        for (rows, lsn) in rows.iter().zip((100..).step_by(10)) {
            bytes.extend(transaction(lsn, rows));
            bytes.extend(encode::keepalive(Lsn(lsn + 5), false));
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).chain([bytes.len()]).collect();
        cuts.sort_unstable();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let count = rows.iter().map(|rows| rows.len() + 3).sum::<usize>() + 2;
        let events = runtime.block_on(async {
            let mut rig = unix(Setting::default());
            let mut sent = 0;
            for cut in cuts {
                rig.send(&bytes[sent..cut]).await;
                sent = cut;
                // On the one thread there is, this lets the reader take the piece before the next is sent.
                for _ in 0..8 {
                    tokio::task::yield_now().await;
                }
            }
            let mut events = Vec::new();
            for _ in 0..count {
                events.push(rig.event().await);
            }
            events
        });
        let mut want = vec!["Resumed { at: Lsn(10) }".to_owned()];
        for (at, (rows, lsn)) in rows.iter().zip((100..).step_by(10)).enumerate() {
            want.push(format!("Begin {{ commit_lsn: Lsn({lsn}), commit_micros: 946684800000000, xid: 1 }}"));
            let schema = &tables().get(7).unwrap().schema.clone();
            want.extend((at == 0).then(|| format!("Schema({schema:?})")));
            let row = |size| format!("Change {{ table: TableId(7), change: Insert {{ new: Row(1 columns, {size} bytes) }} }}");
            want.extend(rows.iter().map(|size| row(size + 7)));
            want.extend([committed(lsn), format!("Idle {{ lsn: Lsn({}) }}", lsn + 5)]);
        }
        prop_assert_eq!(events, want);
    }
}

#[tokio::test]
async fn the_tail_of_a_burst_comes_though_reading_was_held_off() {
    let mut rig = tcp(Setting::default()).await;
    burst(&mut rig).await;
    let much: Vec<u8> = (300..330).flat_map(|lsn| transaction(lsn, &[1000; 50])).collect();
    let (server, blocks) = (&mut rig.server, &mut rig.blocks);
    let send = async {
        server.write_all(&much).await.unwrap();
        server.write_all(&transaction(400, &[1])).await.unwrap();
    };
    let take = async {
        loop {
            let block = timeout(PATIENCE, blocks.recv()).await.expect("the tail in time").unwrap();
            if matches!(block.events.last(), Some(Event::Commit { end_lsn: Lsn(400) })) {
                break;
            }
        }
    };
    tokio::join!(send, take);
}

#[tokio::test]
async fn a_keepalive_is_answered_though_reading_was_held_off() {
    let mut rig = tcp(Setting::default()).await;
    burst(&mut rig).await;
    rig.send(&encode::keepalive(Lsn(500), true)).await;
    rig.until("Idle { lsn: Lsn(500) }").await;
    while rig.told().await.received != Lsn(500) {}
}

#[tokio::test]
async fn the_server_hears_from_us_whatever_holds_up_reading() {
    let cases = [
        ("nothing", Setting::default()),
        ("a pause", Setting { paused: true, ..Setting::default() }),
        ("no memory", Setting { budget: MIB, ..Setting::default() }),
        ("no room", Setting { blocks: 1, ..Setting::default() }),
    ];
    for (name, setting) in cases {
        let mut rig = tcp(setting).await;
        let held = (name == "no memory").then(|| rig.budget.try_take(MIB).unwrap());
        let first = rig.told().await;
        assert_eq!(first, Told { received: Lsn(10), confirmed: Lsn::INVALID, reply: false }, "{name}");
        // The second block finds the channel full of the first, `Resumed`.
        rig.send(&transaction(100, &[1])).await;
        for lsn in [60, 61, 62] {
            rig.confirm.send_replace(Lsn(lsn));
            rig.confirmed(lsn).await;
        }
        assert_eq!(rig.status.snapshot().confirmed_lsn, Lsn(62), "{name}");
        drop(held);
        rig.paused.send_replace(false);
        rig.until(&committed(100)).await;
        rig.notice.send_replace(true);
        assert_eq!(rig.ended().await.unwrap_err().code, "SOURCE_SHUTTING_DOWN", "{name}");
        assert!(!rig.status.snapshot().source_connected);
    }
}

#[tokio::test]
async fn a_stop_is_heeded_whatever_holds_up_reading() {
    let cases = [
        ("nothing", Setting::default()),
        ("a pause", Setting { paused: true, ..Setting::default() }),
        ("no memory", Setting { budget: MIB, ..Setting::default() }),
        ("no room", Setting { blocks: 1, ..Setting::default() }),
    ];
    for (name, setting) in cases {
        let mut rig = tcp(setting).await;
        let _held = (name == "no memory").then(|| rig.budget.try_take(MIB).unwrap());
        rig.send(&transaction(100, &[1])).await;
        rig.confirm.send_replace(Lsn(99));
        rig.stop.send_replace(true);
        assert_eq!(rig.last_word().await, Lsn(99), "{name}: the last word is the newest position");
        rig.send(&[&transaction(110, &[1]), b"c\0\0\0\x04C\0\0\0\x0bCOPY 0\0Z\0\0\0\x05I".as_slice()].concat()).await;
        assert_eq!(rig.message().await, (b'X', vec![]), "{name}");
        assert_eq!(rig.ended().await, Ok(()), "{name}");
    }
}

#[tokio::test]
async fn the_last_word_carries_what_is_confirmed_together_with_the_stop() {
    let mut rig = tcp(Setting::default()).await;
    // Now the reader waits, and will find both at once.
    rig.told().await;
    rig.confirm.send_replace(Lsn(90));
    rig.stop.send_replace(true);
    assert_eq!(rig.last_word().await, Lsn(90));
}

#[tokio::test]
async fn nothing_but_what_is_durable_is_confirmed_wherever_the_stream_starts() {
    let mut rig = tcp(Setting { start: Lsn(5000), confirm: Lsn(50), ..Setting::default() }).await;
    rig.send(&transaction(6000, &[1, 2])).await;
    rig.until(&committed(6000)).await;
    rig.send(&encode::keepalive(Lsn(7000), true)).await;
    rig.until("Idle { lsn: Lsn(7000) }").await;
    loop {
        let told = rig.told().await;
        assert!(told.confirmed <= Lsn(50), "{told:?}");
        if told.received == Lsn(7000) {
            assert_eq!(told.confirmed, Lsn(50));
            break;
        }
    }
    rig.confirm.send_replace(Lsn(6000));
    rig.confirmed(6000).await;
}

#[tokio::test]
async fn a_server_that_does_not_end_the_copy_is_left() {
    let mut rig = unix(Setting::default());
    rig.stop.send_replace(true);
    assert_eq!(rig.ended().await, Ok(()));
}

#[tokio::test]
async fn a_silent_server_is_asked_and_then_given_up() {
    let timings = Timings { period: Duration::from_millis(50), silence: Duration::from_millis(500) };
    let mut rig = unix(Setting { timings, ..Setting::default() });
    assert_eq!(rig.ended().await.unwrap_err().code, "SOURCE_SILENT");
    assert!(!rig.told().await.reply, "the first is not answered anyway");
    assert!(rig.told().await.reply);
}

#[tokio::test]
async fn what_ends_the_stream_is_named_after_what_came_before() {
    let error = b"E\0\0\0\x1cSFATAL\0C57P01\0Mgoing\0\0\0\0";
    let cases: [(&str, Vec<u8>, &str); 8] = [
        ("the server's error", error.to_vec(), "SOURCE_STOPPED"),
        ("CommandComplete at shutdown", b"C\0\0\0\x0bCOPY 0\0".to_vec(), "SOURCE_SHUTTING_DOWN"),
        ("CopyDone", b"c\0\0\0\x04".to_vec(), "SOURCE_STREAM_ENDED"),
        ("requests without end", encode::keepalive(Lsn(1), true).repeat(21), "SOURCE_SHUTTING_DOWN"),
        ("an unknown tag", b"?\0\0\0\x04".to_vec(), "STREAM_UNREADABLE"),
        ("an impossible length", b"d\xff\xff\xff\xff".to_vec(), "STREAM_UNREADABLE"),
        ("an unknown envelope", encode::copy_data(b"?"), "STREAM_UNREADABLE"),
        ("half a message", encode::copy_data(b"w"), "STREAM_UNREADABLE"),
    ];
    for (name, bytes, code) in cases {
        let mut rig = unix(Setting::default());
        rig.send(&[transaction(100, &[1]), bytes].concat()).await;
        if name != "requests without end" {
            rig.until(&committed(100)).await;
        }
        assert_eq!(rig.ended().await.unwrap_err().code, code, "{name}");
    }
    let mut rig = tcp(Setting::default()).await;
    rig.send(&transaction(100, &[1])).await;
    rig.server.shutdown().await.unwrap();
    rig.until(&committed(100)).await;
    assert_eq!(rig.ended().await.unwrap_err().code, "SOURCE_STREAM_ENDED", "the end of the connection");
}

#[tokio::test]
async fn a_message_larger_than_the_budget_waits_for_all_of_it_and_gives_it_back() {
    let mut rig = tcp(Setting { budget: MIB, ..Setting::default() }).await;
    assert_eq!(rig.event().await, "Resumed { at: Lsn(10) }");
    rig.send(&[begin(100), relation()].concat()).await;
    let first = rig.blocks.recv().await.unwrap();
    let (server, blocks, confirm, status) = (&mut rig.server, &mut rig.blocks, &rig.confirm, &rig.status);
    let large = insert(3 * MIB);
    let send = async {
        server.write_all(&large).await.unwrap();
        server.write_all(&commit(100)).await.unwrap();
    };
    let take = async {
        // As long as the first block is held, the large message is not even read.
        confirm.send_replace(Lsn(77));
        while status.snapshot().confirmed_lsn != Lsn(77) {
            tokio::task::yield_now().await;
        }
        assert!(blocks.try_recv().is_err());
        drop(first);
        let block = timeout(PATIENCE, blocks.recv()).await.expect("the row in time").unwrap();
        assert!(matches!(block.events[..], [Event::Change { .. }]));
        assert!(block.bytes > 3 * MIB);
        drop(block);
        timeout(PATIENCE, blocks.recv()).await.expect("the commit in time").unwrap()
    };
    let ((), last) = tokio::join!(send, take);
    assert!(matches!(last.events[..], [Event::Commit { .. }]));
    drop(last);
    assert_eq!(rig.budget.used(), 0);
}

#[tokio::test]
async fn bytes_that_came_with_the_answer_to_the_start_are_not_lost() {
    let (server, client) = UnixStream::pair().unwrap();
    let bytes = transaction(100, &[1, 2]);
    let (early, late) = bytes.split_at(bytes.len() / 2);
    let copying = Copying { socket: Socket::Unix(client), buffer: BytesMut::from(early) };
    let mut rig = Rig::start(server, copying, Setting::default());
    rig.send(late).await;
    rig.until(&committed(100)).await;
}

#[test]
fn the_memory_of_a_large_message_is_not_kept() {
    const GULP: usize = 1000;
    // A message, what came behind it, and how much room the buffer may have left.
    for (bytes, behind, room_max) in [(50_000, 10, 64), (GULP + 1, 0, 0), (GULP, 10, 100_000)] {
        let mut buffer = BytesMut::with_capacity(100_000);
        buffer.extend_from_slice(&vec![7; bytes + behind]);
        let frame = take_frame(&mut buffer, bytes, GULP);
        assert_eq!((frame.len(), buffer.len()), (bytes, behind));
        assert!(buffer.capacity() <= room_max, "{bytes}: {}", buffer.capacity());
    }
}
