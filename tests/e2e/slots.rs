//! Gaps are told, never passed: what happens to slot, publication and identity behind our back.

use rig::Sidecar;

use crate::world::World;

const TABLE: &str = "CREATE TABLE t (id bigint PRIMARY KEY, note text)";

async fn with_one_row() -> (World, Sidecar) {
    let world = World::new(TABLE).await;
    let sidecar = world.streaming().await;
    world.sql("INSERT INTO shop.t VALUES (1, 'before')").await;
    world.equal(&sidecar).await;
    (world, sidecar)
}

async fn drop_slot(world: &World) {
    // The walsender takes a moment to let go of the slot.
    let query = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots";
    for _ in 0..200 {
        if world.client.batch_execute(query).await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the slot cannot be dropped");
}

async fn rows_in_target(world: &World) -> usize {
    let comparison = world.compare().await;
    comparison.rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_slot_is_a_gap_with_a_remedy() {
    let (world, mut sidecar) = with_one_row().await;
    sidecar.kill().unwrap();
    drop_slot(&world).await;
    world.sql("INSERT INTO shop.t VALUES (2, 'in the gap')").await;
    let sidecar = world.start();
    let status = world.until_reason(&sidecar, &["SLOT_MISSING"]).await;
    assert_ne!(status.text("stage"), "CDC");
    assert!(status.text("reasons").contains("remedy"));
    assert_eq!(rows_in_target(&world).await, 1, "nothing was skipped silently");
    assert_eq!(world.text("SELECT count(*)::text FROM pg_replication_slots").await, "0", "no slot was made instead");
    let (code, _) = sidecar.command(&["health", "--service", "replication"]).unwrap();
    assert_eq!(code, Some(1));
    let (code, _) = sidecar.command(&["health"]).unwrap();
    assert_eq!(code, Some(0), "the process itself lives");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_dropped_while_we_run_is_a_gap_too() {
    let (world, sidecar) = with_one_row().await;
    world.sql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots").await;
    drop_slot(&world).await;
    world.until_reason(&sidecar, &["SLOT_MISSING"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recreated_slot_is_recognised() {
    let (world, mut sidecar) = with_one_row().await;
    sidecar.kill().unwrap();
    drop_slot(&world).await;
    world.sql("INSERT INTO shop.t VALUES (2, 'in the gap')").await;
    let slot = world.text("SELECT slot::text FROM sluicegate.checkpoints").await;
    world.sql(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")).await;
    let sidecar = world.start();
    world.until_reason(&sidecar, &["SLOT_RECREATED", "SLOT_AHEAD"]).await;
    let ours = world.confirmed().await;
    world.sql("INSERT INTO shop.t VALUES (3, 'after the gap')").await;
    world.until_reason(&sidecar, &["SLOT_RECREATED", "SLOT_AHEAD"]).await;
    assert_eq!(world.confirmed().await, ours, "nothing was acknowledged");
    assert_eq!(rows_in_target(&world).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_advanced_slot_is_recognised() {
    let (world, mut sidecar) = with_one_row().await;
    sidecar.kill().unwrap();
    world.sql("INSERT INTO shop.t VALUES (2, 'in the gap')").await;
    let advance = "SELECT pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) FROM pg_replication_slots";
    for _ in 0..200 {
        if world.client.batch_execute(advance).await.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let sidecar = world.start();
    world.until_reason(&sidecar, &["SLOT_AHEAD"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_publication_is_told() {
    let (world, sidecar) = with_one_row().await;
    let name = world.text("SELECT pubname::text FROM pg_publication").await;
    world.sql(&format!("DROP PUBLICATION \"{name}\"; INSERT INTO shop.t VALUES (2, 'unpublished')")).await;
    world.until_reason(&sidecar, &["PUBLICATION_MISSING", "PUBLICATION_CHANGED"]).await;
    assert_eq!(rows_in_target(&world).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_that_was_gone_for_a_moment_is_told_and_stays_told() {
    let (world, mut sidecar) = with_one_row().await;
    let name = world.text("SELECT pubname::text FROM pg_publication").await;
    // Up to version 17 the stream ends with an error; from 18 on the server leaves the row out without a word.
    world.sql(&format!("DROP PUBLICATION \"{name}\"")).await;
    world.sql("INSERT INTO shop.t VALUES (2, 'unpublished')").await;
    world.sql(&format!("CREATE PUBLICATION \"{name}\" FOR TABLE shop.t")).await;
    world.until_reason(&sidecar, &["PUBLICATION_CHANGED"]).await;
    sidecar.kill().unwrap();
    world.sql("INSERT INTO shop.t VALUES (3, 'published')").await;
    let sidecar = world.start();
    let status = world.until_reason(&sidecar, &["PUBLICATION_CHANGED"]).await;
    assert_ne!(status.text("stage"), "CDC");
    assert_eq!(rows_in_target(&world).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_left_the_publication_for_a_moment_is_told() {
    let (world, mut sidecar) = with_one_row().await;
    sidecar.kill().unwrap();
    let name = world.text("SELECT pubname::text FROM pg_publication").await;
    world.sql(&format!("ALTER PUBLICATION \"{name}\" DROP TABLE shop.t")).await;
    world.sql("INSERT INTO shop.t VALUES (2, 'unpublished')").await;
    world.sql(&format!("ALTER PUBLICATION \"{name}\" ADD TABLE shop.t")).await;
    let sidecar = world.start();
    world.until_reason(&sidecar, &["PUBLICATION_CHANGED"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_cluster_behind_the_same_address_is_refused() {
    let (world, mut sidecar) = with_one_row().await;
    sidecar.kill().unwrap();
    let checkpoint = world.text("SELECT row_to_json(c)::text FROM sluicegate.checkpoints c").await;
    world.sql("UPDATE sluicegate.checkpoints SET system_id = '1'").await;
    assert!(checkpoint.contains("system_id"));
    let sidecar = world.start();
    world.until_reason(&sidecar, &["SOURCE_CHANGED"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_sidecars_on_one_slot_the_second_waits_and_takes_over() {
    let (mut world, mut first) = with_one_row().await;
    let address = format!("127.0.0.1:{}", rig::free_port().unwrap());
    let second = world.start_with(&[("GRPC_ADDR", &address), ("METRICS_ADDR", "off")]);
    world.until_reason(&second, &["SLOT_IN_USE"]).await;
    world.sql("INSERT INTO shop.t VALUES (2, 'by the first')").await;
    world.equal(&first).await;
    first.kill().unwrap();
    // Whoever compares asks the one that runs.
    world.set("GRPC_ADDR", &address);
    world.until(&second, "it takes over", |status| status.text("stage") == "CDC").await;
    world.sql("INSERT INTO shop.t VALUES (3, 'by the second')").await;
    assert_eq!(world.equal(&second).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keepalive_confirms_nothing_that_waits() {
    let mut world = World::with(&["wal_sender_timeout = 2s"], TABLE).await;
    world.set("CHECKPOINT_INTERVAL", "100ms");
    let mut sidecar = world.streaming().await;
    world.standin.down().await;
    let before = world.wal_end().await;
    world.sql("INSERT INTO shop.t SELECT n, 'waits' FROM generate_series(1, 10) n").await;
    world.until(&sidecar, "rows wait", |status| status.number("pending_events") >= 10.0).await;
    // Several keepalives with a later position of the server come and are answered.
    for _ in 0..3 {
        world.sql("SELECT pg_logical_emit_message(false, 'other', 'work'); SELECT pg_switch_wal()").await;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    assert!(world.confirmed().await <= before, "a position past waiting rows was confirmed");
    assert_eq!(
        world.text("SELECT active::text FROM pg_replication_slots").await,
        "true",
        "and the server heard from us"
    );
    sidecar.kill().unwrap();
    world.standin.up().await;
    let sidecar = world.streaming().await;
    assert_eq!(world.equal(&sidecar).await, 10);
}
