//! Transactions that come before they commit, and what the reader makes of them.

use std::collections::BTreeMap;

use super::*;
use crate::model::Change;
use crate::pgoutput::Timestamp;

const SPOOL: u64 = 1 << 30;

fn streaming() -> Setting {
    Setting { spool: Some(SPOOL), ..Setting::default() }
}

fn message(lsn: u64, message: &Message<'_>) -> Vec<u8> {
    encode::xlog_data(Lsn(lsn), &encode::message(message))
}

fn stream_start(xid: u32, first: bool) -> Vec<u8> {
    message(50, &Message::StreamStart { xid, first })
}

fn stream_stop() -> Vec<u8> {
    message(50, &Message::StreamStop)
}

fn stream_abort(xid: u32, subxid: u32) -> Vec<u8> {
    message(50, &Message::StreamAbort { xid, subxid, aborted: None })
}

fn stream_commit(xid: u32, lsn: u64) -> Vec<u8> {
    let (commit_lsn, end_lsn, committed) = (Lsn(lsn - 1), Lsn(lsn), Timestamp(0));
    message(lsn, &Message::StreamCommit { xid, commit_lsn, end_lsn, committed })
}

fn streamed_relation(xid: u32) -> Vec<u8> {
    let columns = vec![RelationColumn { key: true, name: "id", type_oid: 25, typmod: -1 }];
    let (namespace, name, identity) = ("public", "t", ReplicaIdentity::Default);
    message(50, &Message::Relation { xid: Some(xid), oid: 7, namespace, name, identity, columns })
}

fn streamed_insert(xid: u32, text: &str) -> Vec<u8> {
    let plain = encode::insert(7, &[Value::Text(text.as_bytes())]);
    message(50, &Message::Insert { xid: Some(xid), relation: 7, new: encode::new_tuple(&plain) })
}

fn ordinary(xid: u32, lsn: u64, described: bool, texts: &[String]) -> Vec<u8> {
    let mut bytes = message(lsn, &Message::Begin { final_lsn: Lsn(lsn - 1), committed: Timestamp(0), xid });
    bytes.extend((!described).then(relation).into_iter().flatten());
    texts.iter().for_each(|text| bytes.extend(data(&encode::insert(7, &[Value::Text(text.as_bytes())]))));
    let (commit_lsn, end_lsn, committed) = (Lsn(lsn - 1), Lsn(lsn), Timestamp(0));
    bytes.extend(message(lsn, &Message::Commit { commit_lsn, end_lsn, committed }));
    bytes
}

/// An event in short, values included.
fn told(event: &Event) -> String {
    match event {
        Event::Begin { commit_lsn, xid, .. } => format!("begin {xid} at {}", commit_lsn.0),
        Event::Schema(schema) => format!("schema {}", schema.columns.len()),
        Event::Change { change: Change::Insert { new }, .. } => match new.columns().next() {
            Some(Value::Text(text)) => format!("insert {}", String::from_utf8_lossy(text)),
            other => panic!("{other:?}"),
        },
        Event::Commit { end_lsn } => format!("commit {}", end_lsn.0),
        Event::Idle { lsn } => format!("idle {}", lsn.0),
        Event::Resumed { at } => format!("resumed {}", at.0),
        other => panic!("{other:?}"),
    }
}

impl<S: AsyncReadExt + AsyncWriteExt + Unpin> Rig<S> {
    /// Takes events until so many have come.
    async fn take(&mut self, count: usize) -> Vec<String> {
        let mut events = Vec::new();
        while events.len() < count {
            let block = timeout(PATIENCE, self.blocks.recv()).await;
            let block = block.unwrap_or_else(|_| panic!("only {events:?}")).expect("a block");
            events.extend(block.events.iter().map(told));
        }
        events
    }
}

/// A part of a transaction: rows of a subtransaction (or of the transaction itself) and of one within it.
#[derive(Clone, Debug)]
struct Section {
    sub: bool,
    rolled_back: bool,
    /// For each row its size, whether it belongs to the inner subtransaction, and whether a part of the stream ends
    /// behind it.
    rows: Vec<(usize, bool, bool)>,
}

#[derive(Clone, Debug)]
struct Transaction {
    streamed: bool,
    committed: bool,
    sections: Vec<Section>,
}

fn transactions() -> impl Strategy<Value = Vec<Transaction>> {
    // Some rows are large, so that spools are longer than what is read at once.
    let row = (prop_oneof![9 => 1..200_usize, 1 => 20_000..90_000_usize], any::<bool>(), prop::bool::weighted(0.3));
    let section = (any::<bool>(), prop::bool::weighted(0.4), prop::collection::vec(row, 0..6))
        .prop_map(|(sub, rolled_back, rows)| Section { sub, rolled_back: sub && rolled_back, rows });
    let sections = prop::collection::vec(section, 0..5);
    let transaction = (prop::bool::weighted(0.7), prop::bool::weighted(0.8), sections)
        .prop_map(|(streamed, committed, sections)| Transaction { streamed, committed, sections });
    prop::collection::vec(transaction, 1..6)
}

/// What the server does with one transaction next.
enum Step {
    /// Sends a part of it: subtransaction and text of each row.
    Part(Vec<(u32, String)>),
    /// Tells that these subtransactions were rolled back.
    RolledBack(Vec<u32>),
    End,
}

/// A server that follows pgoutput's rules, and what must come of what it sends.
#[derive(Default)]
struct Server {
    sent: Vec<u8>,
    want: Vec<String>,
    lsn: u64,
    told: u64,
    /// Whether ordinary transactions may do without a description of the table (`schema_sent`).
    described: bool,
    /// Which streamed ones may (`streamed_txns`).
    described_in: BTreeMap<u32, bool>,
    schema_wanted: bool,
}

impl Transaction {
    fn xid(at: usize) -> u32 {
        1000 * (at as u32 + 1)
    }

    fn subxids(at: usize, section: usize) -> [u32; 2] {
        [1, 2].map(|inner| Self::xid(at) + 10 * (section as u32 + 1) + inner)
    }

    fn text(at: usize, section: usize, row: usize, size: usize) -> String {
        format!("{at}.{section}.{row}.{}", "x".repeat(size))
    }

    fn steps(&self, at: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut part = Vec::new();
        for (number, section) in self.sections.iter().enumerate() {
            let [outer, inner] = Self::subxids(at, number);
            for (row, (size, within, last)) in section.rows.iter().enumerate() {
                let xid = if !section.sub {
                    Self::xid(at)
                } else if *within {
                    inner
                } else {
                    outer
                };
                part.push((xid, Self::text(at, number, row, *size)));
                if *last {
                    steps.push(Step::Part(std::mem::take(&mut part)));
                }
            }
            if section.rolled_back {
                steps.push(Step::Part(std::mem::take(&mut part)));
                steps.push(Step::RolledBack(vec![inner, outer]));
            }
        }
        steps.extend([Step::Part(part), Step::End]);
        steps
    }

    /// What is left of it once it has committed.
    fn left(&self, at: usize) -> Vec<String> {
        let sections = self.sections.iter().enumerate().filter(|(_, section)| !section.rolled_back);
        let texts = |(number, section): (usize, &Section)| {
            let rows = section.rows.iter().enumerate();
            rows.map(|(row, (size, ..))| Self::text(at, number, row, *size)).collect::<Vec<_>>()
        };
        sections.flat_map(texts).collect()
    }
}

impl Server {
    fn keepalive(&mut self, within: bool) {
        self.sent.extend(encode::keepalive(Lsn(self.lsn + 5), false));
        if !within && self.lsn + 5 > self.told {
            self.told = self.lsn + 5;
            self.want.push(format!("idle {}", self.told));
        }
    }

    fn step(&mut self, at: usize, transaction: &Transaction, step: &Step, alive: bool) {
        let xid = Transaction::xid(at);
        match step {
            Step::Part(rows) => {
                let first = !self.described_in.contains_key(&xid);
                let mut described = *self.described_in.entry(xid).or_default();
                self.sent.extend(stream_start(xid, first));
                for (number, (subxid, text)) in rows.iter().enumerate() {
                    if !described {
                        self.sent.extend(streamed_relation(*subxid));
                        described = true;
                    }
                    if alive && number == 1 {
                        self.keepalive(true);
                    }
                    self.sent.extend(streamed_insert(*subxid, text));
                }
                self.described_in.insert(xid, described);
                self.sent.extend(stream_stop());
            }
            Step::RolledBack(subxids) => {
                subxids.iter().for_each(|subxid| self.sent.extend(stream_abort(xid, *subxid)));
                self.described_in.insert(xid, false);
            }
            Step::End if transaction.committed => {
                self.lsn += 10;
                self.sent.extend(stream_commit(xid, self.lsn));
                self.described |= self.described_in[&xid];
                self.commit(at, transaction);
            }
            Step::End => self.sent.extend(stream_abort(xid, xid)),
        }
    }

    fn whole(&mut self, at: usize, transaction: &Transaction) {
        if transaction.committed {
            self.lsn += 10;
            let texts = transaction.left(at);
            self.sent.extend(ordinary(Transaction::xid(at), self.lsn, self.described || texts.is_empty(), &texts));
            self.described |= !texts.is_empty();
            self.commit(at, transaction);
        }
    }

    fn commit(&mut self, at: usize, transaction: &Transaction) {
        self.want.push(format!("begin {} at {}", Transaction::xid(at), self.lsn - 1));
        for text in transaction.left(at) {
            self.want.extend((!self.schema_wanted).then(|| "schema 1".to_owned()));
            self.schema_wanted = true;
            self.want.push(format!("insert {text}"));
        }
        self.want.push(format!("commit {}", self.lsn));
        self.told = self.told.max(self.lsn);
    }

    /// Sends all of them, in an order that `turns` decides.
    fn send(&mut self, transactions: &[Transaction], turns: &[(prop::sample::Index, bool)]) {
        let mut left: Vec<_> = transactions.iter().enumerate().map(|(at, t)| (at, t, t.steps(at), 0)).collect();
        let mut turns = turns.iter().cycle();
        while !left.is_empty() {
            let (turn, alive) = turns.next().unwrap();
            let chosen = turn.index(left.len());
            let (at, transaction, steps, next) = &mut left[chosen];
            let over = if transaction.streamed {
                self.step(*at, transaction, &steps[*next], *alive);
                *next += 1;
                *next == steps.len()
            } else {
                self.whole(*at, transaction);
                true
            };
            if over {
                left.remove(chosen);
            }
            if *alive {
                self.keepalive(false);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn streamed_transactions_come_out_as_if_they_had_come_whole(
        transactions in transactions(),
        turns in prop::collection::vec((any::<prop::sample::Index>(), prop::bool::weighted(0.2)), 1..24),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        blocks in 1..4_usize,
    ) {
        let mut server = Server { lsn: 100, ..Server::default() };
        server.send(&transactions, &turns);
        let Server { sent, want, lsn, .. } = server;
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(sent.len().max(1))).chain([sent.len()]).collect();
        cuts.sort_unstable();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (events, spooled, left) = runtime.block_on(async {
            let Rig { mut server, blocks: mut out, status, task, folder, notice: _notice, stop, confirm: _c, paused: _p, .. } =
                unix(Setting { budget: 256 << 10, blocks, ..streaming() });
            let send = async {
                let mut from = 0;
                for cut in cuts {
                    server.write_all(&sent[from..cut]).await.unwrap();
                    from = cut;
                }
                // Nothing comes behind it: what was sent is all there.
                server.write_all(&ordinary(7, lsn + 100, true, &[])).await.unwrap();
            };
            let take = async {
                let mut events = Vec::new();
                let last = format!("commit {}", lsn + 100);
                while events.last() != Some(&last) {
                    let block = timeout(PATIENCE, out.recv()).await;
                    let block = block.unwrap_or_else(|_| panic!("only {events:?}")).expect("a block");
                    events.extend(block.events.iter().map(told));
                }
                events
            };
            let ((), events) = tokio::join!(send, take);
            let spooled = status.snapshot().spool_bytes;
            stop.send_replace(true);
            drop(server);
            drop(task.await);
            (events, spooled, std::fs::read_dir(folder.unwrap().path()).unwrap().count())
        });
        let end = [format!("begin 7 at {}", lsn + 99), format!("commit {}", lsn + 100)];
        let want: Vec<String> = [vec!["resumed 10".to_owned()], want, end.to_vec()].concat();
        prop_assert_eq!(events, want);
        prop_assert_eq!((spooled, left), (0, 0), "nothing is kept of what has ended");
    }
}

#[tokio::test]
async fn a_replay_waits_for_memory_and_room_while_the_server_hears_from_us() {
    const BUDGET: usize = 256 << 10;
    let mut rig = unix(Setting { budget: BUDGET, blocks: 1, ..streaming() });
    rig.send(&[stream_start(5, true), streamed_relation(5)].concat()).await;
    for row in 0..200 {
        rig.send(&streamed_insert(5, &format!("{row}.{}", "x".repeat(10_000)))).await;
    }
    rig.send(&stream_stop()).await;
    assert_eq!(rig.take(1).await, ["resumed 10"]);
    let held = timeout(PATIENCE, async {
        while rig.status.snapshot().spool_bytes < 2_000_000 {
            tokio::task::yield_now().await;
        }
        rig.budget.take(BUDGET).await
    });
    let held = held.await.expect("what is put aside holds no memory");
    rig.send(&[stream_commit(5, 100), encode::keepalive(Lsn(900), false)].concat()).await;
    for lsn in [60, 61, 62] {
        rig.confirm.send_replace(Lsn(lsn));
        assert!(rig.confirmed(lsn).await.received < Lsn(900), "nothing behind the commit is looked at");
    }
    assert!(rig.blocks.try_recv().is_err(), "without memory nothing is replayed");
    drop(held);
    rig.until("Idle { lsn: Lsn(900) }").await;
    assert_eq!((rig.status.snapshot().spool_bytes, rig.status.snapshot().streamed_transactions), (0, 1));
}

#[tokio::test]
async fn a_replay_can_be_paused_and_stopped() {
    let mut rig = unix(Setting { budget: 256 << 10, blocks: 1, ..streaming() });
    let rows: Vec<u8> = (0..100).flat_map(|_| streamed_insert(5, &"x".repeat(10_000))).collect();
    rig.send(&[stream_start(5, true), streamed_relation(5), rows, stream_stop(), stream_commit(5, 100)].concat()).await;
    assert_eq!(rig.take(1).await, ["resumed 10"]);
    rig.paused.send_replace(true);
    rig.confirm.send_replace(Lsn(60));
    rig.confirmed(60).await;
    rig.paused.send_replace(false);
    rig.take(2).await;
    rig.stop.send_replace(true);
    assert_eq!(rig.last_word().await, Lsn(60), "a transaction that is not all there confirms nothing");
    drop(rig.server.shutdown().await);
    timeout(PATIENCE, &mut rig.task).await.unwrap().unwrap().unwrap();
    assert_eq!(rig.status.snapshot().spool_bytes, 0);
}

#[tokio::test]
async fn a_row_larger_than_what_is_read_at_once_comes_through_a_spool() {
    let mut rig = unix(Setting { budget: 256 << 10, ..streaming() });
    let large = "y".repeat(3 * MIB);
    let rows = [streamed_insert(5, "a"), streamed_insert(5, &large), streamed_insert(5, "b")].concat();
    rig.send(&[stream_start(5, true), streamed_relation(5)].concat()).await;
    rig.send(&[rows, stream_stop(), stream_commit(5, 100)].concat()).await;
    let large = format!("insert {large}");
    let want = ["resumed 10", "begin 5 at 99", "schema 1", "insert a", large.as_str(), "insert b", "commit 100"];
    assert_eq!(rig.take(want.len()).await, want);
}

#[tokio::test]
async fn what_cannot_be_kept_ends_the_stream_and_is_noted() {
    type Spoil = fn(&Rig<UnixStream>);
    let remove: Spoil = |rig| std::fs::remove_dir(rig.folder.as_ref().unwrap().path()).unwrap();
    let cases: [(&str, u64, Spoil, &str); 2] = [
        ("the bound", 100_000, |_| (), "STREAM_SPOOL_FULL"),
        ("no folder any more", SPOOL, remove, "STREAM_SPOOL_UNUSABLE"),
    ];
    for (name, bytes_max, spoil, code) in cases {
        let mut rig = unix(Setting { spool: Some(bytes_max), ..Setting::default() });
        spoil(&rig);
        rig.send(&ordinary(3, 70, false, &["before".to_owned()])).await;
        let before = rig.take(5).await;
        assert_eq!(before[3], "insert before", "{name}");
        assert!(rig.given_up.is_past(Lsn(1)), "{name}");
        let rows: Vec<u8> = (0..20).flat_map(|_| streamed_insert(5, &"x".repeat(10_000))).collect();
        let part = [stream_start(5, true), streamed_relation(5), rows, stream_stop()].concat();
        // The reader may be gone before it has taken all of it.
        drop(rig.server.write_all(&part).await);
        let reason = rig.ended().await.unwrap_err();
        assert_eq!((reason.code, reason.class), (code, crate::model::Class::Retry), "{name}");
        let past = [70, 71].map(|from| rig.given_up.is_past(Lsn(from)));
        assert_eq!(past, [false, true], "{name}: asked for again once the stream starts behind what was received");
        assert_eq!((rig.status.snapshot().spool_given_up, rig.status.snapshot().spool_bytes), (1, 0), "{name}");
    }
}

/// What is sent for a position before the start, and where keepalives have moved it since, are no reason to ask again.
#[tokio::test]
async fn the_stream_after_one_that_was_given_up_is_whole_wherever_it_starts() {
    let part = || {
        let rows: Vec<u8> = (0..20).flat_map(|_| streamed_insert(5, &"x".repeat(10_000))).collect();
        [stream_start(5, true), streamed_relation(5), rows, stream_stop()].concat()
    };
    let cases = [
        ("a transaction that began before the start", Lsn(500), part(), Lsn(500)),
        ("a keepalive before it", Lsn(10), [encode::keepalive(Lsn(900), false), part()].concat(), Lsn(900)),
        (
            "a keepalive within it",
            Lsn(10),
            [stream_start(5, true), encode::keepalive(Lsn(900), false), stream_stop(), part()].concat(),
            Lsn(900),
        ),
    ];
    for (name, start, sent, from) in cases {
        let mut rig = unix(Setting { spool: Some(100_000), start, ..Setting::default() });
        // The reader may be gone before it has taken all of it.
        drop(rig.server.write_all(&sent).await);
        assert_eq!(rig.ended().await.unwrap_err().code, "STREAM_SPOOL_FULL", "{name}");
        let past = [from, Lsn(from.0 + 1)].map(|from| rig.given_up.is_past(from));
        assert_eq!(past, [false, true], "{name}");
    }
}

#[tokio::test]
async fn what_is_rolled_back_makes_room() {
    let mut rig = unix(Setting { spool: Some(100_000), ..Setting::default() });
    for xid in 0..20 {
        let row = streamed_insert(xid, &"x".repeat(60_000));
        rig.send(&[stream_start(xid, true), row, stream_stop(), stream_abort(xid, xid)].concat()).await;
    }
    for xid in 20..40 {
        let row = streamed_insert(xid, &"x".repeat(60_000));
        rig.send(&[stream_start(xid, true), streamed_relation(xid), row, stream_stop()].concat()).await;
        rig.send(&stream_commit(xid, u64::from(xid) * 10)).await;
    }
    rig.until(&committed(390)).await;
}

#[tokio::test]
async fn parts_without_what_comes_before_are_refused() {
    let start = || stream_start(5, true);
    let begin = || begin(90);
    let cases = [
        ("a later part", stream_start(5, false), "without what comes before"),
        ("a commit of nothing", stream_commit(5, 90), "without what comes before"),
        ("a part within a part", [start(), stream_start(6, true)].concat(), "Stream Start within a part"),
        ("an end of no part", stream_stop(), "Stream Stop outside of a part"),
        ("a commit within a part", [start(), stream_commit(5, 90)].concat(), "Stream Commit within a part"),
        ("a part within a transaction", [begin(), start()].concat(), "Stream Start inside of"),
        ("a transaction within a part", [start(), begin()].concat(), "Begin within a part"),
        (
            "after a rollback",
            [start(), stream_stop(), stream_abort(5, 5), stream_commit(5, 90)].concat(),
            "without what",
        ),
    ];
    for (name, bytes, want) in cases {
        let mut rig = unix(streaming());
        rig.send(&bytes).await;
        let take = async { while rig.blocks.recv().await.is_some() {} };
        timeout(PATIENCE, take).await.unwrap();
        let reason = rig.ended().await.unwrap_err();
        assert!(reason.code == "STREAM_UNREADABLE" && reason.message.contains(want), "{name}: {reason:?}");
    }
}

/// A description of the table with so many columns.
fn described(xid: Option<u32>, columns: &[&'static str]) -> Vec<u8> {
    let column = |name: &&'static str| RelationColumn { key: *name == "id", name, type_oid: 25, typmod: -1 };
    let columns = columns.iter().map(column).collect();
    let (namespace, name, identity) = ("public", "t", ReplicaIdentity::Default);
    message(50, &Message::Relation { xid, oid: 7, namespace, name, identity, columns })
}

fn row(xid: Option<u32>, values: &[&str]) -> Vec<u8> {
    let values: Vec<Value<'_>> = values.iter().map(|value| Value::Text(value.as_bytes())).collect();
    let plain = encode::insert(7, &values);
    message(50, &Message::Insert { xid, relation: 7, new: encode::new_tuple(&plain) })
}

#[tokio::test]
async fn the_description_that_was_sent_last_holds_whichever_transaction_commits_last() {
    let (narrow, wide) = (["id"], ["id", "more"]);
    let whole = |xid: u32, lsn: u64, inside: Vec<u8>| {
        let begin = message(lsn, &Message::Begin { final_lsn: Lsn(lsn - 1), committed: Timestamp(0), xid });
        [begin, inside, commit(lsn)].concat()
    };
    let part = |xid, first, inside: Vec<u8>| [stream_start(xid, first), inside, stream_stop()].concat();
    let older = || part(5, true, [described(Some(5), &narrow), row(Some(5), &["a"])].concat());
    let newer = || whole(6, 100, [described(None, &wide), row(None, &["b", "-"])].concat());
    // The server knows that it has sent the wide one, and sends it no more.
    let last = || whole(7, 300, row(None, &["c", "-"]));
    let cases: [(&str, Vec<Vec<u8>>, &[&str]); 4] = [
        (
            "described before the other, committed behind it",
            vec![older(), newer(), stream_commit(5, 200), last()],
            &[
                "begin 6 at 99",
                "schema 2",
                "insert b",
                "commit 100",
                "begin 5 at 199",
                "schema 1",
                "insert a",
                "schema 2",
                "commit 200",
                "begin 7 at 299",
                "insert c",
                "commit 300",
            ],
        ),
        (
            "described again behind the other",
            vec![
                older(),
                newer(),
                part(5, false, [described(Some(5), &wide), row(Some(5), &["d", "-"])].concat()),
                stream_commit(5, 200),
                last(),
            ],
            &[
                "begin 6 at 99",
                "schema 2",
                "insert b",
                "commit 100",
                "begin 5 at 199",
                "schema 1",
                "insert a",
                "schema 2",
                "insert d",
                "commit 200",
                "begin 7 at 299",
                "insert c",
                "commit 300",
            ],
        ),
        (
            "described behind the other",
            vec![
                whole(6, 100, [described(None, &narrow), row(None, &["b"])].concat()),
                part(5, true, [described(Some(5), &wide), row(Some(5), &["a", "-"])].concat()),
                stream_commit(5, 200),
                last(),
            ],
            &[
                "begin 6 at 99",
                "schema 1",
                "insert b",
                "commit 100",
                "begin 5 at 199",
                "schema 2",
                "insert a",
                "commit 200",
                "begin 7 at 299",
                "insert c",
                "commit 300",
            ],
        ),
        (
            "described and rolled back",
            vec![
                newer(),
                part(5, true, [described(Some(5), &narrow), row(Some(5), &["a"])].concat()),
                stream_abort(5, 5),
                last(),
            ],
            &["begin 6 at 99", "schema 2", "insert b", "commit 100", "begin 7 at 299", "insert c", "commit 300"],
        ),
    ];
    for (name, messages, want) in cases {
        let mut rig = unix(streaming());
        rig.send(&messages.concat()).await;
        assert_eq!(rig.take(want.len() + 1).await[1..], *want, "{name}");
    }
}

#[tokio::test]
async fn what_the_server_cannot_send_in_parts_is_asked_for_whole() {
    let mut error = vec![b'E'];
    let body = b"SERROR\0CXX000\0Mcould not map filenode\0\0";
    error.extend((body.len() as u32 + 4).to_be_bytes());
    error.extend(body);
    for (spool, code) in [(None, "SOURCE_CANNOT_DECODE"), (Some(SPOOL), "SOURCE_CANNOT_STREAM")] {
        let mut rig = unix(Setting { spool, ..Setting::default() });
        rig.send(&transaction(60, &[1])).await;
        rig.until(&committed(60)).await;
        rig.send(&error).await;
        assert_eq!(rig.ended().await.unwrap_err().code, code);
        assert_eq!([50, 51].map(|from| rig.given_up.is_past(Lsn(from))), [spool.is_none(), true]);
    }
}
