//! What arrives: values, unchanged large values, keys, truncates, and values the target cannot hold.

use rig::fault::{Action, Fault};

use crate::world::World;

const LARGE: &str = "CREATE TABLE t (id bigint PRIMARY KEY, small integer, large text);
    ALTER TABLE t ALTER COLUMN large SET STORAGE EXTERNAL";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_large_value_stays_what_it_is_however_the_row_changes() {
    let mut world = World::new(LARGE).await;
    world.set("SNAPSHOT", "never");
    world.sql("INSERT INTO shop.t VALUES (0, 1, repeat('before the start ', 1000))").await;
    let sidecar = world.streaming().await;
    let rows = "INSERT INTO shop.t SELECT n, n, repeat(md5(n::text), 200) FROM generate_series(1, 8) n";
    world.sql(rows).await;
    world.equal_but(&sidecar, 0).await;
    let changes = [
        "UPDATE shop.t SET small = 100 WHERE id IN (0, 1)",
        "UPDATE shop.t SET id = 12 WHERE id = 2",
        "BEGIN; UPDATE shop.t SET small = 5 WHERE id = 3; UPDATE shop.t SET id = 13 WHERE id = 3; COMMIT",
        "BEGIN; UPDATE shop.t SET id = 14 WHERE id = 4; UPDATE shop.t SET small = 6 WHERE id = 14;
         UPDATE shop.t SET id = 4 WHERE id = 14; COMMIT",
        "BEGIN; UPDATE shop.t SET id = 15 WHERE id = 5; DELETE FROM shop.t WHERE id = 15; COMMIT",
        "BEGIN; INSERT INTO shop.t VALUES (20, 1, repeat('new ', 2000)); UPDATE shop.t SET small = 2 WHERE id = 20; COMMIT",
        "BEGIN; DELETE FROM shop.t WHERE id = 6; UPDATE shop.t SET id = 6 WHERE id = 7; COMMIT",
        "UPDATE shop.t SET small = NULL, large = NULL WHERE id = 8",
    ];
    for change in changes {
        world.sql(change).await;
    }
    assert_eq!(world.equal(&sidecar).await, 8, "the row from before the start came whole as well");
    world.sql("ALTER TABLE shop.t REPLICA IDENTITY FULL; UPDATE shop.t SET small = 7, id = id + 100").await;
    world.equal(&sidecar).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_every_kind_and_truncates_arrive_in_order() {
    let world = World::new(
        "CREATE TABLE pair (a uuid, b text, n integer, PRIMARY KEY (b, a));
         CREATE TABLE day (d date PRIMARY KEY, n numeric(30, 10));
         CREATE TABLE \"Odd name\" (\"Id\" bigint PRIMARY KEY, \"select\" text, \"ünï \"\"q\" text)",
    )
    .await;
    let sidecar = world.streaming().await;
    world.sql("INSERT INTO shop.pair SELECT gen_random_uuid(), 'k' || n % 3, n FROM generate_series(1, 300) n").await;
    world.sql("INSERT INTO shop.day SELECT DATE '2024-01-01' + n, n / 7.0 FROM generate_series(1, 300) n").await;
    world.sql("INSERT INTO shop.\"Odd name\" SELECT n, '\\N', E'tab\\t' || n FROM generate_series(1, 50) n").await;
    world.sql("UPDATE shop.pair SET b = 'moved' WHERE n % 10 = 0; DELETE FROM shop.pair WHERE n % 7 = 0").await;
    world.equal(&sidecar).await;
    world
        .sql(
            "BEGIN; INSERT INTO shop.day VALUES ('2030-01-01', 1); TRUNCATE shop.day, shop.pair;
               INSERT INTO shop.day VALUES ('2031-01-01', 2); COMMIT",
        )
        .await;
    assert_eq!(world.equal(&sidecar).await, 51);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_does_not_fit_blocks_its_table_alone_until_it_fits() {
    let world = World::new(
        "CREATE TABLE narrow (id bigint PRIMARY KEY, note text); CREATE TABLE other (id bigint PRIMARY KEY)",
    )
    .await;
    let sidecar = world.streaming().await;
    world.sql("INSERT INTO shop.narrow VALUES (1, 'short'); INSERT INTO shop.other VALUES (1)").await;
    world.equal(&sidecar).await;
    world.target("ALTER TABLE shop.narrow MODIFY COLUMN note VARCHAR(1048576) NULL").await;
    drop(sidecar);
    world.target("DROP TABLE shop.narrow").await;
    world
        .target(
            "CREATE TABLE shop.narrow (id BIGINT NOT NULL, note VARCHAR(10) NULL) PRIMARY KEY (id) \
         DISTRIBUTED BY HASH(id) PROPERTIES (\"replication_num\" = \"1\")",
        )
        .await;
    let sidecar = world.streaming().await;
    world.sql("INSERT INTO shop.narrow VALUES (2, 'a canary value far too long for the column')").await;
    world.sql("INSERT INTO shop.narrow VALUES (3, 'after it')").await;
    let status = world.until_reason(&sidecar, &["VALUE_OUT_OF_RANGE"]).await;
    assert_eq!(status.table_state("shop.narrow"), "BLOCKED");
    assert!(status.text("reasons").contains("note"), "the column is named");
    world.sql("INSERT INTO shop.other SELECT n FROM generate_series(2, 100) n").await;
    world.until_count(&sidecar, "other", 100).await;
    let before = world.confirmed().await;
    world.target("ALTER TABLE shop.narrow MODIFY COLUMN note VARCHAR(100) NULL").await;
    world.sql("DELETE FROM shop.narrow WHERE id = 1").await;
    assert_eq!(world.equal(&sidecar).await, 102, "it went on by itself");
    world.until(&sidecar, "the block is over", |status| status.table_state("shop.narrow") == "STREAMING").await;
    world.until_confirmed(before + 1).await;
    assert!(!world.logged().contains("canary value"), "a row's value was logged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_do_not_fit_become_null_where_that_is_the_policy() {
    let mut world = World::new("CREATE TABLE t (id bigint PRIMARY KEY, at timestamp, n integer)").await;
    world.set("ON_BAD_VALUE", "null");
    let sidecar = world.streaming().await;
    world.sql("INSERT INTO shop.t VALUES (1, 'infinity', 1), (2, '2024-01-01', 2), (3, '0044-03-15 BC', 3)").await;
    let end = world.wal_end().await;
    world.until(&sidecar, "all is durable", |status| status.lsn("durable_lsn") >= end).await;
    let found = world.target("SELECT id, at, n FROM shop.t ORDER BY id").await;
    assert_eq!(found, ["1 NULL 1", "2 2024-01-01 00:00:00 2", "3 NULL 3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_filters_rows_although_told_not_to_is_not_believed() {
    let world = World::new("CREATE TABLE t (id bigint PRIMARY KEY)").await;
    let sidecar = world.streaming().await;
    world.sql("INSERT INTO shop.t VALUES (1)").await;
    world.equal(&sidecar).await;
    world.standin.faults().add(Fault::next(Action::FilterRows { rows: 1 }).on("t"));
    let before = world.wal_end().await;
    world.sql("INSERT INTO shop.t SELECT n FROM generate_series(2, 10) n").await;
    world.until_reason(&sidecar, &["SINK_FILTERED_ROWS"]).await;
    assert!(world.confirmed().await <= before, "nothing was acknowledged");
    assert_eq!(world.equal(&sidecar).await, 10, "the next try is whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_giant_transaction_and_a_giant_row_pass_in_little_memory() {
    let mut world = World::new("CREATE TABLE t (id bigint PRIMARY KEY, note text)").await;
    world.set("MEMORY_BUDGET", "4MiB");
    world.set("FLUSH_BYTES", "1MiB");
    let sidecar = world.streaming().await;
    world.sql("INSERT INTO shop.t SELECT n, repeat('x', 50) FROM generate_series(1, 200000) n").await;
    world
        .sql(
            "BEGIN; INSERT INTO shop.t VALUES (-1, 'small'); INSERT INTO shop.t VALUES (-2, repeat('y', 1000000));
               UPDATE shop.t SET note = 'changed' WHERE id <= 50000; COMMIT",
        )
        .await;
    assert_eq!(world.equal(&sidecar).await, 200_002);
    let status = std::fs::read_to_string(format!("/proc/{}/status", sidecar.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: usize = peak.trim().trim_end_matches("kB").trim().parse().unwrap();
    println!("peak {peak} kB");
    assert!(peak < 64 << 10, "memory does not grow with the transaction: peak {peak} kB");
}
