//! The database is never held up, and neither is whoever stops us.

use std::time::{Duration, Instant};

use crate::world::World;

const TABLE: &str = "CREATE TABLE t (id bigint PRIMARY KEY, note text)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fast_shutdown_is_not_held_up_although_the_sink_is_down_and_rows_wait() {
    let world = World::new(TABLE).await;
    let sidecar = world.streaming().await;
    world.sql("INSERT INTO shop.t VALUES (1, 'arrives')").await;
    world.equal(&sidecar).await;
    world.standin.down().await;
    world.sql("INSERT INTO shop.t SELECT n, 'waits' FROM generate_series(2, 1000) n").await;
    world.until(&sidecar, "rows wait", |status| status.number("pending_events") >= 999.0).await;
    let start = Instant::now();
    world.cluster.down("fast", 5).expect("PostgreSQL stops within 5 s");
    println!("PostgreSQL stopped after {:?}", start.elapsed());
    world.standin.up().await;
    world.cluster.up().unwrap();
    let mut world = world;
    world.client = world.cluster.client().await.unwrap();
    assert_eq!(world.equal(&sidecar).await, 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fast_shutdown_with_a_healthy_sink_is_quick_and_work_goes_on_afterwards() {
    let mut world = World::new(TABLE).await;
    let sidecar = world.streaming().await;
    for round in 1..=2 {
        world.sql(&format!("INSERT INTO shop.t VALUES ({round}, 'x')")).await;
        world.cluster.down("fast", 5).expect("PostgreSQL stops within 5 s");
        world.cluster.up().unwrap();
        world.client = world.cluster.client().await.unwrap();
        assert_eq!(world.equal(&sidecar).await, round);
    }
    world.cluster.down("immediate", 5).unwrap();
    world.cluster.up().unwrap();
    world.client = world.cluster.client().await.unwrap();
    world.sql("INSERT INTO shop.t VALUES (3, 'after a crash of the server')").await;
    assert_eq!(world.equal(&sidecar).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_drains_and_ends_with_code_0_and_the_slot_stays() {
    let world = World::new(TABLE).await;
    let mut sidecar = world.streaming().await;
    world.sql("INSERT INTO shop.t SELECT n, repeat('x', 100) FROM generate_series(1, 5000) n").await;
    let end = world.wal_end().await;
    world.until(&sidecar, "it was read", |status| status.lsn("current_lsn") >= end).await;
    sidecar.terminate().unwrap();
    let ended = sidecar.wait(Duration::from_secs(15)).unwrap().expect("it ends within the grace");
    assert_eq!(ended.code(), Some(0), "log:\n{}", world.logged());
    let comparison = world.compare().await;
    assert_eq!((comparison.rows, comparison.differences), (5000, vec![]), "what was read had been handed over");
    assert!(world.confirmed().await >= end, "and the server was told");
    assert_eq!(world.text("SELECT count(*)::text FROM pg_replication_slots").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_with_the_sink_down_ends_in_time_and_nothing_is_lost() {
    let mut world = World::new(TABLE).await;
    world.set("SHUTDOWN_GRACE", "2s");
    let mut sidecar = world.streaming().await;
    world.standin.down().await;
    let before = world.wal_end().await;
    world.sql("INSERT INTO shop.t SELECT n, 'waits' FROM generate_series(1, 100) n").await;
    world.until(&sidecar, "rows wait", |status| status.number("pending_events") >= 100.0).await;
    sidecar.terminate().unwrap();
    let ended = sidecar.wait(Duration::from_secs(15)).unwrap().expect("it ends soon after the grace");
    assert_eq!(ended.code(), Some(0), "log:\n{}", world.logged());
    assert!(world.confirmed().await <= before, "nothing was confirmed that is not in the sink");
    world.standin.up().await;
    let sidecar = world.streaming().await;
    assert_eq!(world.equal(&sidecar).await, 100);
}
