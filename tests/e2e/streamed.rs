//! Large transactions that PostgreSQL sends while they run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rig::Sidecar;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::world::{PATIENCE, World};

const TABLES: &str = "
    CREATE TABLE t (id bigint PRIMARY KEY, n integer NOT NULL, note text, large text);
    ALTER TABLE t ALTER COLUMN large SET STORAGE EXTERNAL;
    CREATE TABLE u (id bigint PRIMARY KEY, n integer NOT NULL)";

/// Least that a server can be told to keep in memory: everything here is large to it.
const SMALL_MEMORY: &str = "logical_decoding_work_mem = 64kB";

async fn world() -> World {
    let mut world = World::with(&[SMALL_MEMORY], TABLES).await;
    let spool = world.folder.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    world.set("STREAM_LARGE_TRANSACTIONS", "true");
    world.set("STREAM_SPOOL_FOLDER", spool.to_str().unwrap());
    world
}

fn left_on_disk(world: &World) -> usize {
    std::fs::read_dir(world.folder.path().join("spool")).unwrap().count()
}

/// How many transactions the server sent in parts, and how many it wrote to its own disk.
async fn streamed_and_spilled(world: &World) -> (i64, i64) {
    let query = "SELECT coalesce(sum(stream_txns), 0)::bigint, coalesce(sum(spill_txns), 0)::bigint
                 FROM pg_stat_replication_slots";
    let row = world.client.query_one(query, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

/// Waits until the server has sent a part of a transaction that has not committed.
async fn until_streamed(world: &World, more_than: i64) {
    let start = Instant::now();
    while streamed_and_spilled(world).await.0 <= more_than {
        assert!(start.elapsed() < PATIENCE, "nothing came in parts; log:\n{}", world.logged());
        sleep(Duration::from_millis(20)).await;
    }
}

fn insert(from: u64, rows: u64) -> String {
    format!(
        "INSERT INTO shop.t SELECT {from} + n, n, 'note ' || n || repeat('x', 200), CASE WHEN n % 50 = 0 THEN \
         repeat(md5(n::text), 100) END FROM generate_series(1, {rows}) n"
    )
}

/// The statements of one large transaction on rows of its own, from `base` on.
fn transaction(random: &mut fastrand::Rng, base: u64, fresh: &mut u64) -> Vec<String> {
    let mut statements = vec!["BEGIN".to_owned()];
    let own = format!("id BETWEEN {base} AND {base} + 499999");
    for _ in 0..random.u32(2..9) {
        let rows = random.u64(200..600);
        let from = base + *fresh;
        *fresh += rows;
        let update = format!("UPDATE shop.t SET n = n + 1 WHERE {own} AND n % 3 = {}", random.u32(0..3));
        statements.push(match random.u32(0..9) {
            0..3 => insert(from, rows),
            3 => update,
            4 => format!("DELETE FROM shop.t WHERE {own} AND n % 7 = {}", random.u32(0..7)),
            5 => format!("SAVEPOINT s; {}; ROLLBACK TO s", insert(from, rows)),
            6 => format!(
                "SAVEPOINT s; {}; SAVEPOINT r; {update}; RELEASE r; SAVEPOINT q; {update}; ROLLBACK TO s",
                insert(from, rows)
            ),
            7 => format!("SAVEPOINT s; {update}; UPDATE shop.u SET n = n + 1 WHERE id = {base}; RELEASE s"),
            _ => format!(
                "DO $$ BEGIN FOR i IN 1..{rows} LOOP BEGIN
                     INSERT INTO shop.t VALUES ({from} + i, i, repeat('y', 300), NULL);
                     IF i % 3 = 0 THEN RAISE EXCEPTION 'not this one'; END IF;
                 EXCEPTION WHEN raise_exception THEN NULL; END; END LOOP; END $$"
            ),
        });
    }
    // Keys move, with large values that stay as they are.
    statements.push(format!("UPDATE shop.t SET id = id + 500000 WHERE {own} AND n % 50 = 0"));
    statements.push(if random.u32(0..5) == 0 { "ROLLBACK" } else { "COMMIT" }.to_owned());
    statements
}

/// Clients whose large transactions run side by side until told to stop, and one with small ones.
struct Traffic {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Traffic {
    async fn start(world: &World, seed: u64, clients: u64, pause_max: u64) -> Traffic {
        let stop = Arc::new(AtomicBool::new(false));
        let mut running = Vec::new();
        for number in 1..=clients {
            let base = number * 1_000_000;
            world.sql(&format!("INSERT INTO shop.u VALUES ({base}, 0)")).await;
            let (client, stop) = (world.cluster.client().await.unwrap(), stop.clone());
            running.push(tokio::spawn(async move {
                let (mut random, mut fresh) = (fastrand::Rng::with_seed(seed * 100 + number), 0);
                while !stop.load(Relaxed) {
                    for statement in transaction(&mut random, base, &mut fresh) {
                        client.batch_execute(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
                        sleep(Duration::from_millis(random.u64(0..pause_max))).await;
                    }
                    // Tables that grow without end make each turn slower.
                    let trim = format!("DELETE FROM shop.t WHERE id BETWEEN {base} AND {base} + 999999 AND n % 2 = 0");
                    client.batch_execute(&trim).await.unwrap();
                }
            }));
        }
        let (client, stop_too) = (world.cluster.client().await.unwrap(), stop.clone());
        running.push(tokio::spawn(async move {
            for id in 1.. {
                if stop_too.load(Relaxed) {
                    break;
                }
                client.execute("INSERT INTO shop.u VALUES ($1, 1)", &[&(id as i64)]).await.unwrap();
                sleep(Duration::from_millis(3)).await;
            }
        }));
        Traffic { stop, clients: running }
    }

    async fn end(self) {
        self.stop.store(true, Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_interleave_arrive_as_they_committed() {
    let world = world().await;
    let sidecar = world.streaming().await;
    let traffic = Traffic::start(&world, 1, 4, 30).await;
    sleep(Duration::from_secs(6)).await;
    traffic.end().await;
    assert!(world.equal(&sidecar).await > 500, "there was something to compare");
    let (streamed, spilled) = streamed_and_spilled(&world).await;
    assert!(streamed > 10, "{streamed} came in parts, {spilled} did not");
    assert_eq!(left_on_disk(&world), 0);
    assert_eq!(world.compare().await.differences, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_in_the_middle_lose_nothing_and_leave_nothing_on_disk() {
    let world = world().await;
    world.streaming().await.kill().unwrap();
    let traffic = Traffic::start(&world, 2, 3, 30).await;
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..8 {
        let mut sidecar = world.start();
        // The moment itself is what is random here.
        sleep(Duration::from_millis(random.u64(300..3000))).await;
        sidecar.kill().unwrap();
        assert_eq!(left_on_disk(&world), 0, "values on disk");
    }
    // One more, surely with a transaction half here.
    let holder = world.cluster.client().await.unwrap();
    let mut sidecar = world.streaming().await;
    let before = streamed_and_spilled(&world).await.0;
    holder.batch_execute(&format!("BEGIN; {}", insert(900_000_000, 2_000))).await.unwrap();
    until_streamed(&world, before).await;
    sidecar.kill().unwrap();
    holder.batch_execute(&format!("{}; COMMIT", insert(900_100_000, 2_000))).await.unwrap();
    let sidecar = world.streaming().await;
    traffic.end().await;
    assert!(world.equal(&sidecar).await > 4_000);
    let kept = "SELECT count(*) FROM shop.t WHERE id > 900000000 AND sluice_is_deleted = 0";
    assert_eq!(world.target(kept).await, ["4000"]);
    world.no_secret_was_logged();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_an_open_transaction_is_confirmed_and_nothing_of_an_ended_one_is_loaded() {
    let world = world().await;
    let sidecar = world.streaming().await;
    let holder = world.cluster.client().await.unwrap();
    holder.batch_execute(&format!("BEGIN; {}", insert(0, 2_000))).await.unwrap();
    until_streamed(&world, 0).await;
    // Others pass it, and are confirmed.
    world.sql("INSERT INTO shop.u VALUES (1, 1)").await;
    world.until_count(&sidecar, "u", 1).await;
    world.until_confirmed(world.wal_end().await).await;
    assert_eq!(world.target("SELECT count(*) FROM shop.t").await, ["0"]);
    holder.batch_execute("COMMIT").await.unwrap();
    assert_eq!(world.equal(&sidecar).await, 2_001);
    let (streamed, _) = streamed_and_spilled(&world).await;
    holder.batch_execute(&format!("BEGIN; DELETE FROM shop.t; {}", insert(50_000, 2_000))).await.unwrap();
    until_streamed(&world, streamed).await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    world.sql("UPDATE shop.t SET n = -n WHERE id < 10").await;
    assert_eq!(world.equal(&sidecar).await, 2_001);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_changes_within_a_transaction_is_followed() {
    let world = world().await;
    let sidecar = world.streaming().await;
    world.sql(&insert(0, 500)).await;
    world.equal(&sidecar).await;
    world.target("ALTER TABLE shop.t ADD COLUMN extra INT NULL").await;
    world.target("ALTER TABLE shop.t ADD COLUMN never INT NULL").await;
    let rows = |from: u64, extra: &str| {
        format!(
            "INSERT INTO shop.t SELECT {from} + n, n, repeat('z', 300), NULL{extra} FROM generate_series(1, 1000) n"
        )
    };
    let statements = [
        "BEGIN".to_owned(),
        insert(10_000, 1_000),
        "ALTER TABLE shop.t ADD COLUMN extra integer DEFAULT 42".to_owned(),
        rows(40_000, ", n"),
        "TRUNCATE shop.u; INSERT INTO shop.u SELECT n, n FROM generate_series(1, 3000) n".to_owned(),
        "COMMIT".to_owned(),
    ];
    for statement in statements {
        world.sql(&statement).await;
    }
    world.sql("UPDATE shop.t SET n = n + 1, extra = 5 WHERE id % 10 = 0").await;
    world.sql("UPDATE shop.t SET extra = 6").await;
    assert_eq!(world.equal(&sidecar).await, 2_500 + 3_000);
    // A description that goes with its subtransaction. The server may stumble over the second ALTER behind it (seen with
    // 15); what it cannot send in parts then comes whole.
    let statements = [
        "BEGIN".to_owned(),
        format!("SAVEPOINT s; ALTER TABLE shop.t ADD COLUMN never integer; {}; ROLLBACK TO s", rows(20_000, ", n, 7")),
        rows(30_000, ", n"),
        "ALTER TABLE shop.t ADD COLUMN never integer DEFAULT 43".to_owned(),
        rows(50_000, ", n, n"),
        "COMMIT".to_owned(),
    ];
    for statement in statements {
        world.sql(&statement).await;
    }
    world.sql("UPDATE shop.t SET never = 6").await;
    assert_eq!(world.equal(&sidecar).await, 4_500 + 3_000);
    // Rolled back as a whole: what it said of the table never held.
    drop(sidecar);
    let sidecar = world.streaming().await;
    let (before, _) = streamed_and_spilled(&world).await;
    world.sql(&format!("BEGIN; ALTER TABLE shop.t DROP COLUMN note; UPDATE shop.t SET n = 0; {}", "ROLLBACK")).await;
    world.sql("UPDATE shop.t SET n = n + 1").await;
    assert_eq!(world.equal(&sidecar).await, 4_500 + 3_000);
    assert!(streamed_and_spilled(&world).await.0 > before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_for_the_spool_comes_whole() {
    let mut world = world().await;
    world.set("STREAM_SPOOL_BYTES", "1MiB");
    let sidecar = world.streaming().await;
    let spilled = streamed_and_spilled(&world).await.1;
    world.sql(&insert(0, 20_000)).await;
    assert_eq!(world.equal(&sidecar).await, 20_000);
    assert!(world.logged().contains("STREAM_SPOOL_FULL"), "{}", world.logged());
    assert!(streamed_and_spilled(&world).await.1 > spilled, "the server kept it itself");
    assert_eq!(left_on_disk(&world), 0);
    // A folder that is gone is found out when the stream is opened.
    drop(sidecar);
    std::fs::remove_dir(world.folder.path().join("spool")).unwrap();
    let sidecar = world.streaming().await;
    world.sql(&insert(100_000, 2_000)).await;
    assert_eq!(world.equal(&sidecar).await, 22_000);
    assert!(world.logged().contains("STREAM_SPOOL_FOLDER takes no file"), "{}", world.logged());
}

async fn copied(world: &World) -> Sidecar {
    let sidecar = world.start();
    world.until(&sidecar, "the copy is done", |status| status.text("stage") == "CDC").await;
    sidecar
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_copy_of_existing_rows_runs_beside_them() {
    let mut world = world().await;
    world.set("SNAPSHOT_CHUNK_BYTES", "256KiB");
    world.sql(&insert(100_000_000, 10_000)).await;
    let traffic = Traffic::start(&world, 5, 2, 200).await;
    let sidecar = copied(&world).await;
    sleep(Duration::from_secs(2)).await;
    traffic.end().await;
    world.equal(&sidecar).await;
    assert!(streamed_and_spilled(&world).await.0 > 0);
    assert_eq!(world.compare().await.differences, [""; 0]);
}
