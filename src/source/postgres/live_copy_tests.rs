//! Reading the rows that are there, against a real server.

use std::sync::Arc;
use std::time::Duration;

use rig::Cluster;

use super::chunk_connection::PgChunkConnection;
use super::chunk_reader::PgChunks;
use super::copies::PgCopies;
use super::live_tests::{Lab, inserts, row, shared};
use crate::checkpoint::{Checkpoint, CopiedRange, CopyState, CopyStore, PlannedStorage, Store, StoredCopy};
use crate::model::{Class, Lsn, Row, TableId, TableSchema, Value};
use crate::source::{BlockRange, ChunkConnection, ChunkReader, Part, ReadError, Storage};

/// A lab with a table set up for copying.
struct Copy {
    lab: Lab,
    chunks: PgChunks,
    schema: Arc<TableSchema>,
}

impl Copy {
    /// Makes the tables by `sql`; `table` is followed.
    async fn new(name: &str, table: &str, sql: &str) -> Copy {
        Copy::on(shared(), name, table, sql).await
    }

    async fn on(cluster: Arc<Cluster>, name: &str, table: &str, sql: &str) -> Copy {
        let mut lab = Lab::new(cluster, name, table).await;
        lab.options.copying = true;
        lab.sql(sql).await;
        let schema = lab.run().await.unwrap().ready.tables[0].clone();
        let chunks = PgChunks::new(lab.options.clone(), lab.checkpoints.clone());
        Copy { lab, chunks, schema }
    }

    async fn survey(&self) -> Vec<Storage> {
        self.chunks.survey(&self.schema).await.unwrap()
    }

    /// All rows of all storages, one part each.
    async fn everything(&self) -> Vec<Row> {
        let mut connection = self.chunks.connect().await.unwrap();
        let mut rows = Vec::new();
        for storage in self.survey().await {
            connection.begin().await.unwrap();
            connection.read(&self.schema, &whole(&storage)).await.unwrap();
            rows.extend(rest(&mut connection).await.unwrap());
        }
        rows
    }

    /// The rows of the inserts that the stream has not been asked for yet.
    async fn told(&self) -> Vec<Row> {
        inserts(&self.lab).await
    }
}

fn whole(storage: &Storage) -> Part {
    blocks(storage, 0, storage.blocks)
}

fn blocks(storage: &Storage, first: u32, end: u32) -> Part {
    Part::Blocks(BlockRange { storage: storage.id, incarnation: storage.incarnation, first, end })
}

/// What is left of a part.
pub(super) async fn rest(connection: &mut PgChunkConnection) -> Result<Vec<Row>, ReadError> {
    let mut rows = Vec::new();
    while let Some(piece) = connection.next(64 << 10).await? {
        assert!(!piece.rows.is_empty() && piece.bytes >= piece.rows.iter().map(Row::size).sum());
        rows.extend(piece.rows);
    }
    Ok(rows)
}

/// One column of each row, sorted.
pub(super) fn column(rows: &[Row], column: usize) -> Vec<String> {
    let text = |row: &Row| match row.column(column) {
        Value::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
        other => format!("{other:?}"),
    };
    let mut column: Vec<String> = rows.iter().map(text).collect();
    column.sort();
    column
}

/// The code of a failure.
fn code(error: &ReadError) -> &'static str {
    match error {
        ReadError::Failed(reason) => reason.code,
        ReadError::Rewritten => "rewritten",
        ReadError::Columns => "columns",
    }
}

#[tokio::test]
async fn copied_rows_are_what_the_stream_sends() {
    let copy = Copy::new(
        "copied",
        "public.t",
        "SET search_path = public; CREATE DOMAIN price AS numeric(10, 2); CREATE TYPE mood AS ENUM ('so', 'la la');
         CREATE TYPE pair AS (a int, b text);
         CREATE TABLE public.t (c char(5), gone int, k timestamptz, body text, n numeric, p price, f float8, r real,
             b bytea, i interval, j json, jb jsonb, m mood, a int[], at text[], x bool, u uuid, d date, ts timestamp,
             money money, bits bit varying, net inet, rg int4range, pt point, cp pair,
             g int GENERATED ALWAYS AS (1) STORED, \"O'dd \"\"é\" int, PRIMARY KEY (k, c));
         ALTER TABLE t DROP COLUMN gone; ALTER TABLE t ADD late text DEFAULT E'late\\n';
         ALTER TABLE t ALTER body SET STORAGE EXTERNAL",
    )
    .await;
    copy.lab
        .sql(
            "SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'; SET bytea_output = 'escape';
             SET IntervalStyle = 'iso_8601'; SET search_path = public;
             INSERT INTO t (c, k, body, n, p, f, r, b, i, j, jb, m, a, at, x, u, d, ts, money, bits, net, rg, pt, cp)
             VALUES
             ('a''b\\', '2024-02-29 23:30+00', repeat('x', 100000), 1.50, 2, 0.1, 'NaN', '\\x00ff5c', '1 day 2:03',
              '{ \"a\" : \"\\\\n\" }', '{\"z\":1,\"a\":null}', 'la la', '{1,NULL}', E'{\"a\\tb\",\"\\\\\\\\\"}', true,
              'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '0044-03-15 BC', 'infinity', 12.5, B'0101', '10.0.0.1/8',
              '[1,5)', '(1,2.5)', '(1,\"a,b\")'),
             ('é', 'infinity', E'\\\\N\\t\\n\\r\\b\\f\\v\\\\', 'NaN', NULL, '-Infinity', 1e-30, '', '-178000000 years',
              'null', NULL, NULL, '{}', '{}', false, NULL, '5874897-12-31', '294276-12-31 23:59:59.999999', NULL, B'',
              '::1', 'empty', NULL, NULL),
             ('', '-infinity', '', '-Infinity', 0, 1e308, -0.0, '\\x5c4e', NULL, '[1,\"\\u00e9\"]', '[]', 'so',
              '[0:1]={1,2}', '{NULL,\"NULL\",\"\"}', NULL, NULL, 'infinity', '-infinity', -1, NULL, NULL, NULL, NULL,
              '(,)');
             INSERT INTO t (c, k, n, \"O'dd \"\"é\", late) VALUES ('n', '2000-01-01+00', 1e-20, 7, NULL)",
        )
        .await;
    let (mut told, mut copied) = (copy.told().await, copy.everything().await);
    assert_eq!(told.len(), 4);
    let by_key = |row: &Row| format!("{:?}", row.column(0));
    told.sort_by_key(by_key);
    copied.sort_by_key(by_key);
    for (at, (told, copied)) in told.iter().zip(&copied).enumerate() {
        let columns: Vec<_> = told.columns().zip(copied.columns()).collect();
        assert!(columns.iter().all(|(told, copied)| told == copied), "row {at}: {columns:?}");
    }
    assert!(told == copied);
    // The same rows by their keys, of which one is nowhere.
    let mut keys: Vec<Row> = told.iter().map(|row| row.only(&copy.schema.key)).collect();
    keys.push(row(&["2024-02-29 23:30:00+00", "zz   "]));
    let mut connection = copy.chunks.connect().await.unwrap();
    connection.begin().await.unwrap();
    connection.read(&copy.schema, &Part::Keys(keys.into())).await.unwrap();
    let mut found = rest(&mut connection).await.unwrap();
    found.sort_by_key(by_key);
    assert!(found == told);
    copy.lab.forget().await;
}

#[tokio::test]
async fn parts_of_a_table_make_up_the_whole() {
    let copy = Copy::new(
        "pieces",
        "public.t",
        "CREATE TABLE public.t (id int PRIMARY KEY, body text) WITH (fillfactor = 20);
         ALTER TABLE public.t ALTER body SET STORAGE EXTERNAL;
         INSERT INTO public.t SELECT i, repeat('x', i % 7) FROM generate_series(1, 20000) i;
         UPDATE public.t SET body = repeat('y', 1000000) WHERE id = 777",
    )
    .await;
    let [storage] = &copy.survey().await[..] else { panic!("one storage") };
    assert!(storage.blocks > 100 && storage.bytes > u64::from(storage.blocks) * 8192, "{storage:?}");
    let mut connection = copy.chunks.connect().await.unwrap();
    let (mut rows, mut largest) = (Vec::new(), 0);
    for first in (0..storage.blocks).step_by(97) {
        connection.begin().await.unwrap();
        let part = blocks(storage, first, (first + 97).min(storage.blocks));
        connection.read(&copy.schema, &part).await.unwrap();
        while let Some(piece) = connection.next(16 << 10).await.unwrap() {
            assert!(piece.bytes <= 32 << 10 || piece.rows.len() == 1, "{} bytes", piece.bytes);
            largest = largest.max(piece.bytes);
            rows.extend(piece.rows);
        }
    }
    let mut ids: Vec<u32> = column(&rows, 0).iter().map(|id| id.parse().unwrap()).collect();
    ids.sort_unstable();
    assert!(ids.iter().copied().eq(1..=20_000), "each row once");
    assert!(largest > 1_000_000);
    // A part beyond the end has no rows, and one that is given up leaves the connection good.
    connection.begin().await.unwrap();
    connection.read(&copy.schema, &blocks(storage, storage.blocks, u32::MAX)).await.unwrap();
    assert!(rest(&mut connection).await.unwrap().is_empty());
    for _ in 0..2 {
        connection.begin().await.unwrap();
        connection.read(&copy.schema, &whole(storage)).await.unwrap();
        connection.next(1).await.unwrap().unwrap();
        connection.give_up().await.unwrap();
        connection.give_up().await.unwrap();
    }
    connection.begin().await.unwrap();
    connection.begin().await.unwrap();
    connection.read(&copy.schema, &whole(storage)).await.unwrap();
    connection.next(1).await.unwrap().unwrap();
    connection.begin().await.unwrap();
    connection.read(&copy.schema, &whole(storage)).await.unwrap();
    assert_eq!(rest(&mut connection).await.unwrap().len(), 20_000);
    copy.lab.forget().await;
}

#[tokio::test]
async fn a_part_that_is_given_up_midway_is_left_quickly() {
    let copy = Copy::new(
        "given_up",
        "public.t",
        "CREATE TABLE public.t (id int PRIMARY KEY, body text);
         INSERT INTO public.t SELECT i, repeat('x', 1800) FROM generate_series(1, 40000) i",
    )
    .await;
    let storage = copy.survey().await.remove(0);
    let mut connection = copy.chunks.connect().await.unwrap();
    connection.begin().await.unwrap();
    connection.read(&copy.schema, &whole(&storage)).await.unwrap();
    connection.next(1 << 20).await.unwrap().unwrap();
    connection.give_up().await.unwrap();
    // Whatever became of the session, its lock goes.
    copy.lab.sql("SET lock_timeout = '30s'; ALTER TABLE public.t ADD more int").await;
    connection.begin().await.unwrap();
    connection.read(&copy.schema, &whole(&storage)).await.unwrap();
    assert_eq!(rest(&mut connection).await.unwrap().len(), 40_000);
    drop(connection);
    copy.lab.forget().await;
}

#[tokio::test]
async fn leaves_are_read_by_the_columns_of_their_root() {
    let copy = Copy::new(
        "leaves",
        "public.p",
        "CREATE TABLE public.p (id int, d int, body text, g int GENERATED ALWAYS AS (7) STORED, PRIMARY KEY (d, id))
             PARTITION BY LIST (d);
         CREATE TABLE public.p1 PARTITION OF public.p FOR VALUES IN (1);
         CREATE SCHEMA \"Odd\"; CREATE TABLE \"Odd\".\"p'2\" (x int, body text, g int GENERATED ALWAYS AS (7) STORED,
             d int NOT NULL, id int NOT NULL, PRIMARY KEY (d, id));
         ALTER TABLE \"Odd\".\"p'2\" DROP COLUMN x;
         ALTER TABLE public.p ATTACH PARTITION \"Odd\".\"p'2\" FOR VALUES IN (2);
         CREATE TABLE public.p3 PARTITION OF public.p FOR VALUES IN (3) PARTITION BY RANGE (id);
         CREATE TABLE public.p3a PARTITION OF public.p3 FOR VALUES FROM (0) TO (100);
         CREATE TABLE public.p3b PARTITION OF public.p3 DEFAULT",
    )
    .await;
    copy.lab
        .sql(
            "INSERT INTO public.p VALUES (1, 1, 'one'), (2, 2, 'two'), (3, 3, 'three'), (400, 3, 'four'), (5, 2, NULL)",
        )
        .await;
    assert_eq!(copy.survey().await.len(), 4);
    let sorted = |mut rows: Vec<Row>| {
        rows.sort_by_key(|row| format!("{:?}", row.columns().collect::<Vec<_>>()));
        rows
    };
    let told = sorted(copy.told().await);
    assert_eq!(told.len(), 5);
    assert!(sorted(copy.everything().await) == told);
    let mut connection = copy.chunks.connect().await.unwrap();
    connection.begin().await.unwrap();
    let keys: Vec<Row> = told.iter().map(|row| row.only(&copy.schema.key)).collect();
    connection.read(&copy.schema, &Part::Keys(keys.into())).await.unwrap();
    assert!(sorted(rest(&mut connection).await.unwrap()) == told);
    copy.lab.forget().await;
}

#[tokio::test]
async fn filters_and_column_lists_of_the_publication_hold() {
    let table = "CREATE TABLE public.t (id int PRIMARY KEY, secret text, v text)";
    let partial =
        "CREATE PUBLICATION filtered_pub FOR TABLE public.t (id, v) WHERE (id % 2 = 1 AND v IS DISTINCT FROM 'x')";
    if rig::major().unwrap() < 15 {
        let copy = Copy::new("filtered", "public.t", table).await;
        assert_eq!(copy.lab.refused(partial).await, "42601", "version 14 knows neither");
        copy.lab.forget().await;
        return;
    }
    let copy = Copy::new("filtered", "public.t", &format!("{table}; {partial}")).await;
    copy.lab
        .sql("INSERT INTO public.t SELECT i, 'secret', CASE WHEN i % 5 > 0 THEN 'v' || i END FROM generate_series(1, 9) i")
        .await;
    let (told, copied) = (copy.told().await, copy.everything().await);
    assert_eq!(column(&copied, 0), ["1", "3", "5", "7", "9"]);
    assert!(copied == told);
    let keys: Vec<Row> = ["1", "2", "5"].iter().map(|id| row(&[id])).collect();
    let mut connection = copy.chunks.connect().await.unwrap();
    connection.begin().await.unwrap();
    connection.read(&copy.schema, &Part::Keys(keys.into())).await.unwrap();
    assert_eq!(column(&rest(&mut connection).await.unwrap(), 0), ["1", "5"]);
    copy.lab.forget().await;
}

#[tokio::test]
async fn a_changed_table_is_noticed() {
    let fresh = "DROP TABLE IF EXISTS public.t, public.u; CREATE TABLE public.t (id int PRIMARY KEY, v text);
                 INSERT INTO public.t SELECT i, 'v' FROM generate_series(1, 1000) i";
    // what happens after the moment is fixed, the end of blocks, the end of keys; empty: read
    let cases = [
        ("VACUUM FULL public.t", "rewritten", "rewritten"),
        ("TRUNCATE public.t", "rewritten", "rewritten"),
        ("ALTER TABLE public.t ALTER id TYPE bigint", "rewritten", "rewritten"),
        ("DROP TABLE public.t", "rewritten", "TABLE_DROPPED"),
        ("ALTER TABLE public.t RENAME v TO w", "columns", "columns"),
        ("ALTER TABLE public.t DROP v", "columns", "columns"),
        ("ALTER TABLE public.t ADD w text DEFAULT 'x'", "", ""),
        ("ALTER TABLE public.t RENAME TO u; CREATE TABLE public.t (LIKE public.u)", "", ""),
    ];
    let copy = Copy::new("changed", "public.t", fresh).await;
    let mut connection = copy.chunks.connect().await.unwrap();
    for (change, blocks_end, keys_end) in cases {
        for (by_keys, want) in [(false, blocks_end), (true, keys_end)] {
            copy.lab.sql(fresh).await;
            let id: u32 = copy.lab.admin.query_one("SELECT 'public.t'::regclass::oid", &[]).await.unwrap().get(0);
            let schema = Arc::new(TableSchema { id: TableId(id), ..TableSchema::clone(&copy.schema) });
            let storage = copy.chunks.survey(&schema).await.unwrap().remove(0);
            let part = if by_keys { Part::Keys(vec![row(&["5"])].into()) } else { whole(&storage) };
            connection.begin().await.unwrap();
            for statement in change.split("; ") {
                copy.lab.sql(statement).await;
            }
            let mut read = connection.read(&schema, &part).await.map(|()| Vec::new());
            if read.is_ok() {
                read = rest(&mut connection).await;
            }
            match (read, want) {
                (Ok(rows), "") => assert_eq!(rows.len(), if by_keys { 1 } else { 1000 }, "{change}"),
                (read, want) => assert_eq!(code(&read.unwrap_err()), want, "{change}, by keys: {by_keys}"),
            }
        }
    }
    copy.lab.forget().await;
}

#[tokio::test]
async fn what_is_read_is_what_its_moment_sees() {
    let copy = Copy::new("moment", "public.t", "CREATE TABLE public.t (id int PRIMARY KEY, v text)").await;
    let lab = &copy.lab;
    lab.sql("INSERT INTO public.t VALUES (1, 'old'), (2, 'old')").await;
    let xid = async || -> u64 { lab.text("SELECT pg_current_xact_id()::text").await.parse().unwrap() };
    lab.sql("BEGIN; UPDATE public.t SET v = 'open' WHERE id = 1").await;
    let open = xid().await;
    let mut connection = copy.chunks.connect().await.unwrap();
    let point = connection.begin().await.unwrap();
    assert!(!point.sees.sees(open as u32) && point.sees.oldest_running() <= open);
    lab.sql("COMMIT").await;
    let end: Lsn = lab.text("SELECT pg_current_wal_insert_lsn()::text").await.parse().unwrap();
    assert!(point.position < end);
    let storage = copy.survey().await.remove(0);
    connection.read(&copy.schema, &whole(&storage)).await.unwrap();
    assert_eq!(column(&rest(&mut connection).await.unwrap(), 1), ["old", "old"]);
    let point = connection.begin().await.unwrap();
    assert!(point.sees.sees(open as u32) && point.position >= end);
    assert!(copy.chunks.visibility().await.unwrap().sees(open as u32));
    connection.read(&copy.schema, &whole(&storage)).await.unwrap();
    assert_eq!(column(&rest(&mut connection).await.unwrap(), 1), ["old", "open"]);
    lab.forget().await;
}

#[tokio::test]
async fn a_commit_that_waits_for_a_standby_is_told_but_not_seen() {
    let cluster = Arc::new(Cluster::start(&[]).unwrap());
    let copy =
        Copy::on(cluster.clone(), "waiting", "public.t", "CREATE TABLE public.t (id int PRIMARY KEY, v text)").await;
    let lab = &copy.lab;
    let writer = Arc::new(super::client::connect_sql(&lab.options.connect, "writer").await.unwrap().0);
    // As a user's, not as ours.
    writer.batch_execute("SET synchronous_commit = on").await.unwrap();
    lab.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await;
    lab.sql("SELECT pg_reload_conf()").await;
    // The checkpointer puts the setting in force some time after it was told to; commits before that do not wait.
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')::text";
    let one = async |id: usize| {
        let begin = format!("BEGIN; INSERT INTO public.t VALUES ({id}, 'x')");
        writer.batch_execute(&begin).await.unwrap();
        let xid: String = writer.query_one("SELECT pg_current_xact_id()::text", &[]).await.unwrap().get(0);
        let writer = writer.clone();
        let commit = tokio::spawn(async move { writer.batch_execute("COMMIT").await });
        while !commit.is_finished() && lab.text(waits).await != "true" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (xid.parse::<u64>().unwrap(), commit)
    };
    let waiting = async {
        for seen in 0.. {
            match one(seen).await {
                (_, commit) if commit.is_finished() => commit.await.unwrap().unwrap(),
                (xid, commit) => return (seen, xid, commit),
            }
        }
        unreachable!("the numbers do not end")
    };
    let (seen, xid, commit) = tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap();
    assert_eq!(copy.told().await.len(), seen + 1, "the stream has it");
    let mut connection = copy.chunks.connect().await.unwrap();
    let point = connection.begin().await.unwrap();
    assert!(!point.sees.sees(xid as u32), "{}", point.sees);
    let storage = copy.survey().await.remove(0);
    connection.read(&copy.schema, &whole(&storage)).await.unwrap();
    assert_eq!(rest(&mut connection).await.unwrap().len(), seen);
    // Our own commits wait for nobody.
    tokio::time::timeout(Duration::from_secs(20), copy.chunks.nudge()).await.unwrap().unwrap();
    assert!(!copy.chunks.visibility().await.unwrap().sees(xid as u32));
    lab.sql("ALTER SYSTEM RESET synchronous_standby_names").await;
    lab.sql("SELECT pg_reload_conf()").await;
    commit.await.unwrap().unwrap();
    let point = connection.begin().await.unwrap();
    assert!(point.sees.sees(xid as u32), "{}", point.sees);
    connection.read(&copy.schema, &whole(&storage)).await.unwrap();
    connection.give_up().await.unwrap();
    lab.forget().await;
}

#[tokio::test]
async fn a_nudge_moves_the_log_to_the_disk() {
    let cluster = Arc::new(Cluster::start(&["wal_writer_delay = 10s", "autovacuum = off"]).unwrap());
    let copy = Copy::on(cluster, "nudged", "public.t", "CREATE TABLE public.t (id int PRIMARY KEY)").await;
    copy.lab.sql("BEGIN; INSERT INTO public.t VALUES (1)").await;
    let mut connection = copy.chunks.connect().await.unwrap();
    let point = connection.begin().await.unwrap();
    let flushed = async || -> Lsn {
        let (client, _driver) = super::client::connect_sql(&copy.lab.options.connect, "look").await.unwrap();
        let row = client.query_one("SELECT pg_current_wal_flush_lsn()::text", &[]).await.unwrap();
        row.get::<_, String>(0).parse().unwrap()
    };
    assert!(flushed().await < point.position, "something lies unflushed");
    copy.chunks.nudge().await.unwrap();
    assert!(flushed().await > point.position);
    copy.lab.sql("ROLLBACK").await;
    copy.lab.forget().await;
}

#[tokio::test]
async fn what_stands_against_a_copy_is_named() {
    let mut lab = Lab::of_role(shared(), "against", "against_role", "public.p").await;
    lab.options.copying = true;
    lab.sql(
        "CREATE TABLE public.p (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE SCHEMA hidden; CREATE TABLE hidden.p1 PARTITION OF public.p FOR VALUES FROM (0) TO (10);
         GRANT SELECT ON public.p TO against_role; GRANT CREATE ON DATABASE against TO against_role;
         CREATE PUBLICATION against_pub FOR TABLE public.p WITH (publish_via_partition_root = true)",
    )
    .await;
    let told = lab.against_copies().await;
    // The table's changes are replicated nevertheless.
    let schema = lab.run().await.unwrap().ready.tables[0].clone();
    let chunks = PgChunks::new(lab.options.clone(), lab.checkpoints.clone());
    let reason = chunks.survey(&schema).await.unwrap_err();
    let named = (reason.code, reason.class, reason.object.as_str());
    assert_eq!(named, ("SOURCE_PRIVILEGE", Class::Wait, "table hidden.p1"));
    assert_eq!(told, std::slice::from_ref(&reason), "`check` says the same before");
    lab.sql(&reason.sql).await;
    assert_eq!(lab.against_copies().await, []);
    let storage = chunks.survey(&schema).await.unwrap().remove(0);

    lab.sql("ALTER TABLE hidden.p1 ENABLE ROW LEVEL SECURITY; INSERT INTO public.p VALUES (1)").await;
    let reason = chunks.survey(&schema).await.unwrap_err();
    assert_eq!((reason.code, reason.object.as_str()), ("ROW_SECURITY", "hidden.p1"));
    let mut connection = chunks.connect().await.unwrap();
    connection.begin().await.unwrap();
    let hidden = match connection.read(&schema, &whole(&storage)).await {
        Ok(()) => rest(&mut connection).await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(code(&hidden), "SOURCE_PRIVILEGE", "no row is left out silently");
    lab.sql(&reason.sql).await;
    chunks.survey(&schema).await.unwrap();

    lab.sql("BEGIN; LOCK TABLE hidden.p1").await;
    let mut connection = chunks.connect().await.unwrap();
    connection.begin().await.unwrap();
    let locked = connection.read(&schema, &whole(&storage)).await.unwrap_err();
    assert_eq!(code(&locked), "SOURCE_BUSY", "a lock is not waited for long");
    lab.sql("ROLLBACK; DROP TABLE public.p").await;
    assert_eq!(chunks.survey(&schema).await.unwrap_err().code, "TABLE_DROPPED");
    lab.forget().await;
}

fn planned(id: u32, incarnation: u32) -> PlannedStorage {
    PlannedStorage { id, incarnation, blocks: u32::MAX, bytes: 1 << 40, rows_estimate: 7 }
}

fn copied(storage: u32, incarnation: u32, first: u32, end: u32, rows: u64) -> CopiedRange {
    CopiedRange { storage, incarnation, first, end, rows, bytes: rows * 10 }
}

#[tokio::test]
async fn progress_is_kept() {
    let copy =
        Copy::new("progress", "shop.orders", "CREATE SCHEMA shop; CREATE TABLE shop.orders (id int PRIMARY KEY)").await;
    let lab = &copy.lab;
    let store = PgCopies::new(&lab.options, lab.checkpoints.clone());
    assert_eq!(store.load().await.unwrap(), []);
    let (table, other) = (TableId(4_000_000_000), TableId(7));
    let plan = StoredCopy {
        table,
        state: CopyState::Copying,
        again: true,
        since: Lsn(0x16_B374_D848),
        barrier: 1 << 40,
        storages: vec![planned(8, 1), planned(9, 2)],
        copied: Vec::new(),
        repairs: Vec::new(),
    };
    let before: u64 = lab.text("SELECT pg_current_xact_id()::text").await.parse().unwrap();
    let barrier = store.begin(&plan).await.unwrap();
    assert!(barrier > before, "{barrier} {before}");
    store.begin(&StoredCopy { table: other, ..plan.clone() }).await.unwrap();
    assert_eq!(store.load().await.unwrap()[1], plan, "as it was given, without ranges and keys");

    // Ranges that touch become one, also where they come twice or out of order.
    for (first, end) in [(0, 10), (20, 30), (10, 20), (10, 20), (0, 30), (40, 50), (50, u32::MAX), (40, 50)] {
        store.copied(table, copied(8, 1, first, end, 5)).await.unwrap();
    }
    store.copied(table, copied(9, 2, 0, 1, 1)).await.unwrap();
    store.copied(other, copied(8, 1, 30, 40, 1)).await.unwrap();
    let keys = [row(&["1"]), row(&["2", "\0\u{e9}"]), row(&["3"])];
    store.add_repairs(table, &keys[..2]).await.unwrap();
    store.add_repairs(table, &keys).await.unwrap();
    store.add_repairs(other, &keys[..1]).await.unwrap();
    store.repaired(table, &keys[..1]).await.unwrap();
    store.repaired(table, &keys[..1]).await.unwrap();
    let load = async || {
        let mut stored = store.load().await.unwrap();
        stored.iter_mut().for_each(|copy| copy.repairs.sort_by_key(|key| key.as_bytes().to_vec()));
        stored
    };
    let stored = load().await;
    let ranges = vec![copied(8, 1, 0, 30, 15), copied(8, 1, 40, u32::MAX, 10), copied(9, 2, 0, 1, 1)];
    let mut repairs = vec![keys[2].clone(), keys[1].clone()];
    repairs.sort_by_key(|key| key.as_bytes().to_vec());
    assert_eq!(stored[1], StoredCopy { copied: ranges.clone(), repairs: repairs.clone(), ..plan.clone() });
    assert_eq!(stored[0].repairs, keys[..1]);

    // A storage that was rewritten begins anew, the others do not.
    let changed = StoredCopy {
        state: CopyState::Repairing,
        barrier: 3,
        storages: vec![planned(8, 5), planned(9, 2)],
        ..stored[1].clone()
    };
    store.change(&changed).await.unwrap();
    assert_eq!(load().await[1], StoredCopy { copied: ranges[2..].to_vec(), ..changed.clone() });
    let full = StoredCopy { state: CopyState::Cancelled, copied: ranges.clone(), ..changed };
    assert!(store.begin(&full).await.unwrap() > barrier);
    assert_eq!(load().await[1], full, "in place of what was there");

    // What was stored on another slot or history is no progress.
    lab.sql("UPDATE sluicegate.snapshot_tables SET lineage = 'another' WHERE table_id = 7").await;
    assert_eq!(load().await, [full]);
    store.finished(table).await.unwrap();
    store.finished(table).await.unwrap();
    let left = "SELECT concat((SELECT count(*) FROM sluicegate.snapshot_tables), ' ',
                              (SELECT count(*) FROM sluicegate.snapshot_chunks), ' ',
                              (SELECT count(*) FROM sluicegate.snapshot_repairs))";
    assert_eq!(lab.text(left).await, "1 1 1", "those of the other table");
    lab.sql("UPDATE sluicegate.snapshot_tables SET format = 99").await;
    assert_eq!(store.load().await.unwrap_err().code, "CHECKPOINT_FORMAT");
    lab.forget().await;
}

#[tokio::test]
async fn a_finished_table_is_complete_for_good() {
    let copy = Copy::new(
        "finished",
        "public.*",
        "CREATE TABLE public.a (id int PRIMARY KEY); CREATE TABLE public.b (id int PRIMARY KEY);
         INSERT INTO public.a VALUES (1); INSERT INTO public.b VALUES (1)",
    )
    .await;
    let lab = &copy.lab;
    let incomplete = async || lab.checkpoints.load().await.unwrap().unwrap().incomplete_tables;
    let ready = lab.run().await.unwrap().ready;
    assert!(ready.tables.iter().all(|table| !table.complete) && incomplete().await.len() == 2);
    assert!(!ready.notes.iter().any(|note| note.contains("not copied")), "{:?}", ready.notes);
    let store = PgCopies::new(&lab.options, lab.checkpoints.clone());
    store.finished(ready.tables[0].id).await.unwrap();
    assert_eq!(incomplete().await, [ready.tables[1].id.0]);
    let kept = lab.checkpoints.load().await.unwrap().unwrap();
    lab.checkpoints.save(&Checkpoint { lsn: Lsn(kept.lsn.0 + 8), ..kept }).await.unwrap();
    assert_eq!(incomplete().await, [ready.tables[1].id.0], "no later checkpoint takes it back");
    let ready = lab.run().await.unwrap().ready;
    assert_eq!(ready.tables.iter().map(|table| table.complete).collect::<Vec<_>>(), [true, false]);
    lab.forget().await;
}
